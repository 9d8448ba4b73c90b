//! README lists every module, command, flag and setting, and no others.

use std::collections::BTreeSet;

use clap::CommandFactory;
use recoup::cli::Cli;

use super::source::says;
use super::{dependencies_with_reasons, none, read};

/// Every module is in lib.rs, and every module of lib.rs has its line in README's code map.
fn map_of_modules(lib: &str, readme: &str) -> Vec<String> {
    let declared = lib.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    declared
        .filter(|name| !readme.contains(&format!("| `{name}` |")) && !readme.contains(&format!("| `{name}/` |")))
        .map(|name| format!("README's code map has no {name}"))
        .collect()
}

/// What README shows as code: fenced blocks and spans in backticks.
fn code_in(readme: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for (n, block) in readme.split("```").enumerate() {
        if n % 2 == 1 {
            parts.extend(block.lines().skip(1));
        } else {
            parts.extend(block.split('`').skip(1).step_by(2));
        }
    }
    parts
}

/// README and the program agree: every command and flag is in README, and README has no other.
fn commands_and_flags(commands: &[String], flags: &[String], all_flags: &[String], readme: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let code = code_in(readme);
    for name in commands.iter().filter(|name| !code.iter().any(|part| says(part, &format!("recoup {name}")))) {
        complaints.push(format!("README does not have recoup {name}"));
    }
    let shown: BTreeSet<String> = code.iter().copied().flat_map(flags_in).collect();
    for flag in flags.iter().filter(|flag| !shown.contains(*flag)) {
        complaints.push(format!("README does not have --{flag}"));
    }
    // cargo's own, and those of the benches, are in the blocks that build, test and measure.
    let foreign =
        ["release", "features", "locked", "path", "bench", "rounds", "links", "kills", "test", "ignored", "workspace"];
    for flag in shown.iter().filter(|flag| !all_flags.contains(flag) && !foreign.contains(&flag.as_str())) {
        complaints.push(format!("README has --{flag}, which does not exist"));
    }
    for part in code {
        for (at, _) in part.match_indices("recoup ") {
            let before = part[..at].chars().next_back();
            let word: String = part[at + 7..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            let word = word.trim_end_matches('-');
            let whole =
                before.is_none_or(|c| !c.is_alphanumeric() && !"-_./".contains(c) || part[..at].ends_with("bin/"));
            if whole && !word.is_empty() && !word.starts_with('-') && !commands.iter().any(|known| known == word) {
                complaints.push(format!("README has recoup {word}, which does not exist"));
            }
        }
    }
    complaints
}

fn flags_in(part: &str) -> Vec<String> {
    let starts =
        part.match_indices("--").filter(|(at, _)| !part[..*at].ends_with(|c: char| c == '-' || c.is_alphanumeric()));
    starts
        .map(|(at, _)| part[at + 2..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect::<String>())
        .filter(|flag| !flag.is_empty() && !flag.starts_with('-'))
        .collect()
}

/// Every key of recoup.toml and every variable of the environment is in README.
fn settings_in_readme(config: &str, readme: &str) -> Vec<String> {
    let tables =
        config.split_once("\ntables! {").and_then(|(_, rest)| rest.split_once("\n}")).map_or("", |(body, _)| body);
    let keys = tables.lines().filter_map(|line| line.trim().split_once(": ")).filter(|(_, kind)| kind.ends_with(','));
    let mut names: BTreeSet<String> = keys.map(|(name, _)| name.to_owned()).collect();
    for (at, _) in config.match_indices("\"RECOUP_") {
        let name: String = config[at + 1..].chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        // Arms a crash point in a test build; nobody sets it elsewhere.
        if name != "RECOUP_CRASH_AT" {
            names.insert(name);
        }
    }
    if names.is_empty() {
        return vec!["config/ has no keys that this rule can find".to_owned()];
    }
    let code = code_in(readme);
    let missing = names.into_iter().filter(|name| !code.iter().any(|part| says(part, name)));
    missing.map(|name| format!("README does not have {name}")).collect()
}

fn long_flags(command: &clap::Command, deep: bool) -> Vec<String> {
    let own = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| arg.get_long());
    let mut flags: Vec<String> = own.map(str::to_owned).collect();
    // The simulator has many for tests; README names the notable ones, `--help` all.
    for sub in command.get_subcommands().filter(|sub| deep || sub.get_name() != "simulate") {
        flags.extend(long_flags(sub, deep));
    }
    flags
}

#[test]
fn readme_has_every_module_command_flag_and_setting_and_no_other() {
    let readme = read("README.md");
    let mut command = Cli::command();
    command.build();
    let named = command.get_subcommands().map(|sub| sub.get_name().to_owned());
    let commands: Vec<String> = named.filter(|name| name != "help").collect();
    let flags: Vec<String> =
        long_flags(&command, false).into_iter().filter(|flag| flag != "help" && flag != "version").collect();
    let mut complaints = commands_and_flags(&commands, &flags, &long_flags(&command, true), &readme);
    complaints.extend(map_of_modules(&read("src/lib.rs"), &readme));
    complaints.extend(settings_in_readme(&[read("src/config/file.rs"), read("src/config/mod.rs")].concat(), &readme));
    none(&complaints);
}

#[test]
fn every_rule_about_readme_can_fail() {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let check =
        |readme: &str| commands_and_flags(&names(&["crawl"]), &names(&["full"]), &names(&["full", "port"]), readme);
    for (readme, complaints) in [
        ("`recoup crawl --full`", 0),
        ("```sh\nrecoup crawl --full --port 0\ncargo test --features x\n```", 0),
        ("recoup crawl --full, but not as code", 2),
        ("`recoup crawl`", 1),
        ("`recoup crawl --full` and `--fuller`", 1),
        ("`recoup crawl --full` and `recoup serve`", 1),
        ("`recoup crawl --full`; `my-recoup serve`", 0),
    ] {
        assert_eq!(check(readme).len(), complaints, "{readme}: {:?}", check(readme));
    }
    assert_eq!(map_of_modules("pub mod api;\npub mod store;", "| `api/` | HTTP |").len(), 1);
    assert_eq!(
        dependencies_with_reasons("[dependencies]\na = \"1\" # why\nb = \"1\"\nc = \"1\" #\n[x]\nd = 1\n").len(),
        2
    );
    let config =
        "x\ntables! {\n    struct T {\n        page_size: u32,\n        rate: Rate,\n    }\n}\n get(\"RECOUP_X\")";
    assert_eq!(settings_in_readme(config, "`page_size` rate `RECOUP_X`"), ["README does not have rate"]);
    assert_eq!(settings_in_readme("", "").len(), 1);
}
