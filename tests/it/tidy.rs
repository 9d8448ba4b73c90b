//! The layering, the sizes and the promises of README, held by a test.
//!
//! Source is read as text, without comments and without what stands in quotes. Every rule is a function from text to
//! complaints, and [`every_rule_can_fail`] feeds each one something that breaks it: a rule that cannot fail holds nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use recoup::cli::Cli;

/// Which modules each module may name. What is not in the list may be named by nobody but `commands`, which is the glue.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("error", &[]),
    ("clock", &[]),
    ("crash", &[]),
    ("signal", &[]),
    ("simulator", &[]),
    ("report", &["error"]),
    ("extract", &["model", "error"]),
    ("refunds", &["model", "error", "clock"]),
    ("api", &["model", "error", "clock", "extract"]),
    ("store", &["model", "error", "clock", "extract", "crash"]),
    ("cli", &["config", "simulator", "retract"]),
    ("config", &["api", "cli", "model", "error", "extract", "retract", "store"]),
    ("crawl", &["api", "store", "extract", "model", "error", "clock", "crash", "report"]),
    ("lookup", &["api", "store", "extract", "model", "error", "clock", "report"]),
    ("retract", &["api", "store", "extract", "model", "error", "clock", "crash", "report", "lookup", "refunds"]),
    ("records", &["store", "model", "error", "clock", "report", "retract", "refunds"]),
    ("reconcile", &["store", "model", "error", "clock", "report", "lookup", "retract", "refunds"]),
    ("status", &["store", "model", "error", "clock", "report", "retract"]),
    ("doctor", &["api", "store", "extract", "model", "error", "clock", "report", "retract", "config", "commands"]),
    (
        "demo",
        &[
            "api",
            "store",
            "extract",
            "model",
            "error",
            "clock",
            "report",
            "crawl",
            "lookup",
            "retract",
            "simulator",
            "commands",
        ],
    ),
];

/// Words, and the only places that may say them.
const ONLY_IN: &[(&[&str], &[&str], &str)] = &[
    (&["rusqlite"], &["store/"], "only store speaks SQL"),
    (&["reqwest"], &["api/"], "only api speaks HTTP"),
    (&["hyper", "hyper_util"], &["simulator/"], "only the simulator serves"),
    (&["println", "eprintln", "print!", "eprint!", "stdout", "stderr"], &["report.rs"], "only report prints"),
    (&["comfy_table", "anstream", "anstyle", "indicatif"], &["report.rs"], "only report knows a terminal"),
    (
        &["env::var", "env::vars", "env::var_os", "env::vars_os", "env::{"],
        &["config/"],
        "only config reads the environment",
    ),
    (&["ExitCode"], &["main.rs"], "only main makes exit codes"),
    (&["process::exit"], &["signal.rs"], "only main makes exit codes; a second signal is the one exception"),
    (&["process::abort"], &["crash.rs"], "only a crash point dies on purpose"),
    (&["BrandWriter", "RewardCanceller"], &["api/", "retract/"], "only retract may change anything at the vendor"),
];

/// Files that only compute.
const PURE: &[&str] = &[
    "model.rs",
    "model/",
    "error.rs",
    "extract/",
    "api/retry.rs",
    "api/modification.rs",
    "retract/judge.rs",
    "retract/verdict.rs",
    "retract/windows.rs",
    "retract/reconcile.rs",
    "retract/schedule.rs",
    "crawl/auto/price.rs",
    "crawl/walk.rs",
    "reconcile/class.rs",
    "reconcile/hours.rs",
    "reconcile/worth.rs",
    "refunds/amount.rs",
    "refunds/cells.rs",
    "refunds/columns.rs",
    "refunds/damage.rs",
    "refunds/dates.rs",
    "refunds/format.rs",
    "refunds/ndjson.rs",
    "refunds/problem.rs",
    "refunds/reversal_file.rs",
    "refunds/row.rs",
    "refunds/table.rs",
    "refunds/write.rs",
];

/// What a file that only computes must not say.
const IMPURE: &[&str] = &[
    "async",
    "await",
    "tokio",
    "fs",
    "net",
    "std::io",
    "File",
    "env",
    "thread",
    "Instant",
    "SystemTime",
    "Clock",
    "Timestamp::now",
    "tracing",
];

const MOST_LINES: usize = 600;

/// One source file.
struct Source {
    /// Below `src`, with `/`.
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: code_of(text) }
    }

    /// The first part of the path: the module as lib.rs lists it.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }

    /// `src/x.rs` and `src/x/mod.rs`, where `super` is the crate.
    fn is_top(&self) -> bool {
        !self.path.contains('/') || self.path == format!("{}/mod.rs", self.module())
    }
}

/// The text without comments, and with everything in quotes taken out.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(b"//") {
            at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            at += block_comment(rest);
        } else if let Some(length) = raw_string(rest, code.last().copied()) {
            code.extend_from_slice(b"\"\"");
            at += length;
        } else if rest[0] == b'"' {
            code.extend_from_slice(b"\"\"");
            at += quoted(rest, b'"');
        } else if rest[0] == b'\'' && is_char(rest) {
            code.extend_from_slice(b"''");
            at += quoted(rest, b'\'');
        } else {
            code.push(rest[0]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of `r"…"` or `r#"…"#` at the start; `before` tells it from the end of an identifier.
fn raw_string(rest: &[u8], before: Option<u8>) -> Option<usize> {
    if rest[0] != b'r' || before.is_some_and(|b| (b.is_ascii_alphanumeric() && b != b'b') || b == b'_') {
        return None;
    }
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = &rest[2 + hashes..];
    let length = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    Some((2 + hashes + length + end.len()).min(rest.len()))
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character, not a lifetime.
fn is_char(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(b) if b.is_ascii() => rest.get(2) == Some(&b'\''),
        Some(_) => true,
        None => false,
    }
}

/// Whether the word stands in the code as a whole: `stderr` is not in `use_stderr`.
fn says(code: &str, word: &str) -> bool {
    let part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    code.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).map(|n| code.as_bytes()[n]);
        let after = code.as_bytes().get(at + word.len()).copied();
        let open_end = word.ends_with(|c: char| c.is_alphanumeric());
        before.is_none_or(|b| !part(b)) && (!open_end || after.is_none_or(|b| !part(b)))
    })
}

/// The modules of the crate that a file names by `crate::…`, or by `super::…` where that is the crate.
fn named_modules(file: &Source) -> BTreeSet<String> {
    let mut roots = vec!["crate::"];
    if file.is_top() {
        roots.push("super::");
    }
    let mut names = BTreeSet::new();
    for root in roots {
        for (at, _) in file.code.match_indices(root) {
            let rest = file.code[at + root.len()..].trim_start();
            match rest.strip_prefix('{') {
                Some(list) => names.extend(heads_of(list)),
                None => names.extend(identifier(rest)),
            }
        }
    }
    names.retain(|name| MAY_NAME.iter().any(|(module, _)| module == name) || name == "commands");
    names.remove(file.module());
    names
}

/// The first name of each part of `a::{b, c}, d}`.
fn heads_of(list: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(identifier(list[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

fn layering(file: &Source) -> Vec<String> {
    let Some((_, allowed)) = MAY_NAME.iter().find(|(module, _)| *module == file.module()) else { return Vec::new() };
    let wrong = named_modules(file).into_iter().filter(|name| !allowed.contains(&name.as_str()));
    wrong.map(|name| format!("{}: {} may not name {name}", file.path, file.module())).collect()
}

fn words_in_their_place(file: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    // A test inside the crate may print, and may look at a module from below.
    if file.path.ends_with("/tests.rs") || file.path.contains("/tests/") {
        return complaints;
    }
    for (words, places, why) in ONLY_IN {
        for word in words.iter().filter(|word| !file.is_in(places) && says(&file.code, word)) {
            complaints.push(format!("{}: {word}: {why}", file.path));
        }
    }
    complaints
}

fn purity(file: &Source) -> Vec<String> {
    if !file.is_in(PURE) {
        return Vec::new();
    }
    let found = IMPURE.iter().filter(|word| says(&file.code, word));
    found.map(|word| format!("{}: {word}: this file only computes", file.path)).collect()
}

fn shape(file: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    if !file.text.starts_with("//! ") {
        complaints.push(format!("{}: a file opens with //! and says what it is", file.path));
    }
    let lines = file.text.lines().count();
    if lines > MOST_LINES {
        complaints.push(format!("{}: {lines} lines hold a second idea (at most {MOST_LINES})", file.path));
    }
    complaints
}

/// Every module is in lib.rs, and every module of lib.rs has its line in README's code map.
fn map_of_modules(lib: &str, readme: &str) -> Vec<String> {
    let declared = lib.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    declared
        .filter(|name| !readme.contains(&format!("| `{name}` |")) && !readme.contains(&format!("| `{name}/` |")))
        .map(|name| format!("README's code map has no {name}"))
        .collect()
}

fn dependencies_with_reasons(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut complaints = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim();
        } else if section.ends_with("dependencies]")
            && line.contains('=')
            && line.split_once("# ").is_none_or(|(_, why)| why.trim().is_empty())
        {
            complaints.push(format!("Cargo.toml: {line:?} does not say what it is for"));
        }
    }
    complaints
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
    let foreign = ["release", "features", "locked", "path", "bench", "rounds", "links", "kills", "test", "ignored"];
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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a file of the project can be read")
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the project can be read") {
            let path = entry.expect("an entry of the project can be read").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let top = root().join("src");
    let mut paths = Vec::new();
    walk(&top, &mut paths);
    paths.sort();
    let load = |path: &PathBuf| {
        let name = path.strip_prefix(&top).expect("below src").to_string_lossy().replace('\\', "/");
        Source::new(&name, &fs::read_to_string(path).expect("UTF-8"))
    };
    paths.iter().map(load).collect()
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

fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_layering_holds() {
    let files = sources();
    assert!(files.len() > 50, "the walk found the sources");
    none(&files.iter().flat_map(layering).collect::<Vec<_>>());
}

#[test]
fn every_word_is_in_its_place() {
    none(&sources().iter().flat_map(words_in_their_place).collect::<Vec<_>>());
}

#[test]
fn what_only_computes_has_no_input_and_no_output() {
    none(&sources().iter().flat_map(purity).collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is_and_is_not_too_long() {
    none(&sources().iter().flat_map(shape).collect::<Vec<_>>());
}

#[test]
fn every_dependency_says_what_it_is_for() {
    none(&dependencies_with_reasons(&read("Cargo.toml")));
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
    complaints.extend(settings_in_readme(&(read("src/config/file.rs") + &read("src/config/mod.rs")), &readme));
    none(&complaints);
}

#[test]
fn every_rule_can_fail() {
    type Rule = fn(&Source) -> Vec<String>;
    let long = format!("//! A file.\n{}", "\n".repeat(MOST_LINES));
    // The rule, the file, what it says, and whether that is wrong.
    let table: &[(Rule, &str, &str, bool)] = &[
        (layering, "api/mod.rs", "use crate::store::Index;", true),
        (layering, "store/mod.rs", "use crate::api;", true),
        (layering, "crawl/mod.rs", "use crate::{error::{Error, Kind}, lookup};", true),
        (layering, "crawl/mod.rs", "use crate::{error::{Error, Kind}, store};", false),
        (layering, "simulator/wire.rs", "fn f() { crate::api::x() }", true),
        (layering, "simulator/wire.rs", "use crate::simulator::names;", false),
        (layering, "lookup.rs", "use super::retract;", true),
        (layering, "simulator/wire.rs", "use super::api;", false),
        (layering, "lookup.rs", "// use crate::retract;\n/* crate::retract /* */ */", false),
        (words_in_their_place, "crawl/mod.rs", "use rusqlite::Connection;", true),
        (words_in_their_place, "store/index/mod.rs", "use rusqlite::Connection;", false),
        (words_in_their_place, "doctor.rs", "reqwest::get(url)", true),
        (words_in_their_place, "commands/mod.rs", "println!(\"x\")", true),
        (words_in_their_place, "commands/mod.rs", "write!(std::io::stderr(), \"x\")", true),
        (words_in_their_place, "signal.rs", "eprintln!()", true),
        (
            words_in_their_place,
            "main.rs",
            "error.use_stderr(); let x = \"println!\"; let y = r#\"println! \" \"#;",
            false,
        ),
        (words_in_their_place, "lookup.rs", "std::env::var(\"X\")", true),
        (words_in_their_place, "lookup.rs", "use std::env::{self, var};", true),
        (words_in_their_place, "lookup.rs", "let quote = '\"'; std::env::vars_os()", true),
        (words_in_their_place, "main.rs", "std::env::args_os()", false),
        (words_in_their_place, "commands/mod.rs", "fn f() -> ExitCode {}", true),
        (words_in_their_place, "commands/mod.rs", "std::process::exit(1)", true),
        (words_in_their_place, "signal.rs", "std::process::exit(130)", false),
        (words_in_their_place, "crawl/mod.rs", "BrandWriter::new()", true),
        (words_in_their_place, "doctor.rs", "api::RewardCanceller::new()", true),
        (words_in_their_place, "retract/cancel.rs", "use crate::api::RewardCanceller;", false),
        (words_in_their_place, "api/tests/x.rs", "eprintln!()", false),
        (purity, "api/retry.rs", "async fn f() {}", true),
        (purity, "extract/mod.rs", "std::fs::read(path)", true),
        (purity, "model.rs", "fn f<'a>(x: &'a str) { tokio::spawn(x) }", true),
        (purity, "model.rs", "//! no async here\nfn f<'a>(asynchronous: &'a str) {}", false),
        (purity, "lookup.rs", "async fn f() {}", false),
        (shape, "lookup.rs", "use x;", true),
        (shape, "lookup.rs", &long, true),
        (shape, "lookup.rs", "//! A file.\n", false),
    ];
    for (rule, path, text, wrong) in table {
        let complaints = rule(&Source::new(path, text));
        assert_eq!(!complaints.is_empty(), *wrong, "{path}: {text:.80}: {complaints:?}");
    }
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
