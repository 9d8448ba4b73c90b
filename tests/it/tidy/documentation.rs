//! Tests that the documentation has every module, command, flag and setting of the program, and no others.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use recoup::cli::Cli;

use super::source::says;
use super::{dependencies_with_reasons, none, read, root};

/// Every module of `lib.rs` has its line in the module table of ARCHITECTURE.md.
fn map_of_modules(lib: &str, architecture: &str) -> Vec<String> {
    let declared = lib.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    declared
        .filter(|name| {
            !architecture.contains(&format!("| `{name}` |")) && !architecture.contains(&format!("| `{name}/` |"))
        })
        .map(|name| format!("the module table of ARCHITECTURE.md has no {name}"))
        .collect()
}

/// Returns the fenced code blocks and the code spans of a document.
fn code_in(docs: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for (n, block) in docs.split("```").enumerate() {
        if n % 2 == 1 {
            parts.extend(block.lines().skip(1));
        } else {
            parts.extend(block.split('`').skip(1).step_by(2));
        }
    }
    parts
}

/// Every command and flag is in the documentation, and the documentation has no other.
fn commands_and_flags(commands: &[String], flags: &[String], all_flags: &[String], docs: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let code = code_in(docs);
    for name in commands.iter().filter(|name| !code.iter().any(|part| says(part, &format!("recoup {name}")))) {
        complaints.push(format!("the documentation does not have recoup {name}"));
    }
    let shown: BTreeSet<String> = code.iter().copied().flat_map(flags_in).collect();
    for flag in flags.iter().filter(|flag| !shown.contains(*flag)) {
        complaints.push(format!("the documentation does not have --{flag}"));
    }
    // Flags of cargo, of the benchmarks, and of the programs that install packages.
    let foreign = [
        "release",
        "features",
        "locked",
        "path",
        "bench",
        "rounds",
        "links",
        "kills",
        "test",
        "lib",
        "ignored",
        "workspace",
        "no-default-features",
        "timings",
        "ignore-missing",
        "now",
        "rm",
        "read-only",
        "cap-drop",
        "security-opt",
        "health-cmd",
    ];
    for flag in shown.iter().filter(|flag| !all_flags.contains(flag) && !foreign.contains(&flag.as_str())) {
        complaints.push(format!("the documentation has --{flag}, which does not exist"));
    }
    for part in code {
        for (at, _) in part.match_indices("recoup ") {
            let before = part[..at].chars().next_back();
            let word: String = part[at + 7..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            let word = word.trim_end_matches('-');
            let whole =
                before.is_none_or(|c| !c.is_alphanumeric() && !"-_./".contains(c) || part[..at].ends_with("bin/"));
            if whole && !word.is_empty() && !word.starts_with('-') && !commands.iter().any(|known| known == word) {
                complaints.push(format!("the documentation has recoup {word}, which does not exist"));
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

/// The documentation has every key of recoup.toml and every environment variable.
fn settings_in_docs(config: &str, docs: &str) -> Vec<String> {
    let tables =
        config.split_once("\ntables! {").and_then(|(_, rest)| rest.split_once("\n}")).map_or("", |(body, _)| body);
    let keys = tables.lines().filter_map(|line| line.trim().split_once(": ")).filter(|(_, kind)| kind.ends_with(','));
    let mut names: BTreeSet<String> = keys.map(|(name, _)| name.to_owned()).collect();
    for (at, _) in config.match_indices("\"RECOUP_") {
        let name: String = config[at + 1..].chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        // `RECOUP_CRASH_AT` arms a crash point in a test build; users never set it.
        if name != "RECOUP_CRASH_AT" {
            names.insert(name);
        }
    }
    if names.is_empty() {
        return vec!["config/ has no keys that this rule can find".to_owned()];
    }
    let code = code_in(docs);
    let missing = names.into_iter().filter(|name| !code.iter().any(|part| says(part, name)));
    missing.map(|name| format!("the documentation does not have {name}")).collect()
}

/// Every check of `checks.rs` has a row in the table of docs/retraction.md.
fn checks(source: &str, docs: &str) -> Vec<String> {
    let body = source.split("impl Check {").nth(1).and_then(|rest| rest.split("pub fn overridable").next());
    let names: Vec<&str> =
        body.unwrap_or_default().split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    if names.is_empty() {
        return vec!["checks.rs has no checks that this rule can find".to_owned()];
    }
    let first_cells: Vec<&str> = docs.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    let missing = names.into_iter().filter(|name| !first_cells.iter().any(|cell| cell.contains(&format!("`{name}`"))));
    missing.map(|name| format!("the table of checks in docs/retraction.md has no {name}")).collect()
}

/// Returns the links in the document at `path` that lead to a missing file of the repository.
fn broken_links(path: &Path, text: &str) -> Vec<String> {
    let folder = path.parent().expect("a document is in a folder");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let files = targets.filter_map(|target| target.split('#').next()).filter(|target| !target.is_empty());
    let broken = files.filter(|target| !target.contains("://") && !folder.join(target).exists());
    broken.map(|target| format!("{}: the link to {target} leads nowhere", path.display())).collect()
}

/// Returns every Markdown document at the top of the repository and below `docs/`.
pub(super) fn documents() -> Vec<PathBuf> {
    let mut folders = vec![root().join("docs")];
    let mut found: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
        .map(|name| root().join(name))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the project can be read") {
            let path = entry.expect("an entry of the project can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_link_in_the_documentation_leads_to_a_file() {
    let broken = documents().into_iter().flat_map(|path| {
        let text = fs::read_to_string(&path).expect("a document can be read");
        broken_links(&path, &text)
    });
    none(&broken.collect::<Vec<_>>());
    let here = root().join("README.md");
    assert_eq!(broken_links(&here, "[a](docs/nowhere.html#x), [b](https://example.com), [c](#c)").len(), 1);
}

fn long_flags(command: &clap::Command, deep: bool) -> Vec<String> {
    let own = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| arg.get_long());
    let mut flags: Vec<String> = own.map(str::to_owned).collect();
    // docs/simulator.md names only the notable flags of the simulator; `simulate --help` has all.
    for sub in command.get_subcommands().filter(|sub| deep || sub.get_name() != "simulate") {
        flags.extend(long_flags(sub, deep));
    }
    flags
}

/// Returns README and the pages of `docs/`, without subfolders. The page of commands is excluded, because it is
/// generated from the flags and proves nothing.
fn user_docs() -> String {
    let readme = root().join("README.md");
    let commands = root().join("docs/commands.md");
    let is_page = |path: &PathBuf| *path != commands && path.parent() == Some(&root().join("docs"));
    let pages = documents().into_iter().filter(|path| *path == readme || is_page(path));
    pages.map(|path| fs::read_to_string(path).expect("a document can be read")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_documentation_has_every_module_command_flag_and_setting_and_no_other() {
    let docs = user_docs();
    let mut command = Cli::command();
    command.build();
    let named = command.get_subcommands().map(|sub| sub.get_name().to_owned());
    let commands: Vec<String> = named.filter(|name| name != "help").collect();
    let flags: Vec<String> =
        long_flags(&command, false).into_iter().filter(|flag| flag != "help" && flag != "version").collect();
    let mut complaints = commands_and_flags(&commands, &flags, &long_flags(&command, true), &docs);
    complaints.extend(map_of_modules(&read("src/lib.rs"), &read("ARCHITECTURE.md")));
    complaints.extend(settings_in_docs(&[read("src/config/file.rs"), read("src/config/mod.rs")].concat(), &docs));
    none(&complaints);
}

#[test]
fn every_rule_about_the_documentation_can_fail() {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let check = |docs: &str| commands_and_flags(&names(&["crawl"]), &names(&["full"]), &names(&["full", "port"]), docs);
    for (docs, complaints) in [
        ("`recoup crawl --full`", 0),
        ("```sh\nrecoup crawl --full --port 0\ncargo test --features x\n```", 0),
        ("recoup crawl --full, but not as code", 2),
        ("`recoup crawl`", 1),
        ("`recoup crawl --full` and `--fuller`", 1),
        ("`recoup crawl --full` and `recoup serve`", 1),
        ("`recoup crawl --full`; `my-recoup serve`", 0),
    ] {
        assert_eq!(check(docs).len(), complaints, "{docs}: {:?}", check(docs));
    }
    assert_eq!(map_of_modules("pub mod api;\npub mod store;", "| `api/` | HTTP |").len(), 1);
    assert_eq!(
        dependencies_with_reasons("[dependencies]\na = \"1\" # why\nb = \"1\"\nc = \"1\" #\n[x]\nd = 1\n").len(),
        2
    );
    let config =
        "x\ntables! {\n    struct T {\n        page_size: u32,\n        rate: Rate,\n    }\n}\n get(\"RECOUP_X\")";
    assert_eq!(settings_in_docs(config, "`page_size` rate `RECOUP_X`"), ["the documentation does not have rate"]);
    assert_eq!(settings_in_docs("", "").len(), 1);
}

#[test]
fn the_documentation_has_every_check() {
    none(&checks(&read("src/retract/checks.rs"), &read("docs/retraction.md")));
    let source = "impl Check { => \"a\", => \"b\" pub fn overridable";
    assert_eq!(checks(source, "| `a` | x |").len(), 1);
    assert_eq!(checks("", "| `a` | x |").len(), 1);
}
