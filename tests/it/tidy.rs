//! Tests of the house rules: layering, file sizes, where each library may be used, and what the documentation must
//! have.
//!
//! The rules read source as text, without comments and quoted text. Each house rule is a function from text to
//! complaints. The test [`every_rule_can_fail`] gives each rule a text that breaks the rule, because a rule that cannot
//! fail checks nothing.

mod book;
mod documentation;
mod reference_pages;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, named_modules, says};

/// The modules that each module may name. `commands`, `main` and `lib` may name every module. `commands`, `main` and
/// `lib` are not in the table, so no other module may name them.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("error", &[]),
    ("clock", &[]),
    ("crash", &[]),
    ("signal", &[]),
    ("memory", &[]),
    ("report", &["error"]),
    ("out_file", &["error"]),
    ("extract", &["model", "error"]),
    ("refunds", &["model", "error", "clock", "out_file"]),
    ("vendor", &["model", "error", "clock", "extract"]),
    ("store", &["model", "error", "clock", "extract", "crash"]),
    ("version", &[]),
    ("cli", &["access", "config", "schedule", "refunds", "retract", "version"]),
    ("config", &["vendor", "notify", "model", "error", "extract", "refunds", "retract", "schedule", "store"]),
    ("access", &["store", "model", "error"]),
    ("notify", &["vendor", "store", "model", "error", "clock"]),
    ("schedule", &["store", "model", "error", "clock"]),
    ("webhook", &["vendor", "store", "extract", "model", "error", "clock"]),
    (
        "serve",
        &[
            "access", "vendor", "store", "extract", "model", "error", "clock", "report", "lookup", "retract",
            "records", "refunds", "status", "schedule", "webhook", "notify",
        ],
    ),
    (
        "mcp",
        &[
            "access", "vendor", "store", "extract", "model", "error", "clock", "report", "lookup", "retract",
            "records", "serve",
        ],
    ),
    ("crawl", &["vendor", "store", "extract", "model", "error", "clock", "crash", "report"]),
    ("lookup", &["vendor", "store", "extract", "model", "error", "clock", "report"]),
    (
        "retract",
        &["vendor", "store", "extract", "model", "error", "clock", "crash", "report", "lookup", "refunds", "out_file"],
    ),
    ("records", &["store", "model", "error", "clock", "report", "retract", "refunds", "out_file"]),
    ("reconcile", &["store", "model", "error", "clock", "report", "lookup", "retract", "refunds"]),
    ("status", &["store", "model", "error", "clock", "report", "retract", "out_file"]),
    ("quota", &["store", "model", "error", "clock", "report"]),
    ("doctor", &["vendor", "store", "extract", "model", "error", "clock", "report", "retract", "config"]),
    ("demo", &["vendor", "store", "extract", "model", "error", "clock", "report", "crawl", "lookup", "retract"]),
];

/// Each entry: words, and the only files that may contain them.
const ONLY_IN: &[(&[&str], &[&str], &str)] = &[
    (&["rusqlite", "tokio_postgres"], &["store/db/"], "only the executor knows the drivers"),
    (
        &["open_with_flags"],
        &["store/db/file.rs"],
        "files are opened in one place, which spares the locks of those that are open",
    ),
    (
        &["reqwest"],
        &["vendor/", "notify/webhook.rs", "serve/health_check.rs"],
        "only vendor speaks HTTP; notices and the health check have clients of their own",
    ),
    (&["lettre"], &["notify/smtp.rs"], "only notices are sent by e-mail"),
    (
        &["hyper", "hyper_util"],
        &["vendor/http/", "serve/listen.rs"],
        "only vendor speaks HTTP, and only the service serves",
    ),
    (&["axum", "askama"], &["serve/"], "only serve knows pages"),
    (
        &["println", "eprintln", "print!", "eprint!", "stdout", "stderr"],
        &["report.rs", "report/"],
        "only report prints",
    ),
    (&["comfy_table", "anstream", "anstyle", "indicatif"], &["report.rs"], "only report knows a terminal"),
    (
        &["env::var", "env::vars", "env::var_os", "env::vars_os", "env::{"],
        &["config/"],
        "only config reads the environment",
    ),
    (&["ExitCode"], &["main.rs"], "only main makes exit codes"),
    (&["process::exit"], &["signal.rs"], "only main makes exit codes; a second signal is the one exception"),
    (&["process::abort"], &["crash.rs"], "only a crash point dies on purpose"),
    (&["rmcp"], &["mcp/"], "only mcp knows the assistants' protocol"),
    (&["BrandWriter", "RewardCanceller"], &["vendor/", "retract/"], "only retract may change anything at the vendor"),
];

/// The folders of code that an assistant reaches.
const FOR_ASSISTANTS: &[&str] = &["mcp/", "commands/mcp.rs", "retract/propose.rs"];

/// The types that send or approve. Sending needs the settings of a client that writes, which only `writer_options`
/// returns.
const SENDS: &[&str] = &[
    "WriterSettings",
    "CancellerSettings",
    "ActionSettings",
    "writer_options",
    "writer",
    "BrandWriter",
    "RewardCanceller",
    "Sender",
    "dispatch",
    "send",
    "carry_out",
    "decide",
    "set_policy",
    "retract::run",
    "retract::adjust",
    "retract::batch",
    "retract::cancel",
    "retract::file",
    "retract::verify",
    "serve::run",
    "retract::*",
];

/// Files without I/O, clock, thread or `async`.
const PURE: &[&str] = &[
    "model.rs",
    "model/",
    "error.rs",
    "extract/",
    "vendor/retry.rs",
    "vendor/modification.rs",
    "vendor/credential_format.rs",
    "access/role.rs",
    "access/throttle.rs",
    "retract/proof.rs",
    "retract/checks.rs",
    "retract/deadlines.rs",
    "retract/match_submissions.rs",
    "retract/poll_schedule.rs",
    "retract/plan_fingerprint.rs",
    "retract/several.rs",
    "schedule/trigger.rs",
    "webhook/verify.rs",
    "crawl/plan/cost.rs",
    "crawl/modified_walk.rs",
    "crawl/offset_walk.rs",
    "crawl/offset_walk/prefetch.rs",
    "crawl/page_size.rs",
    "reconcile/classification.rs",
    "reconcile/durations.rs",
    "reconcile/reward_value.rs",
    "refunds/amount.rs",
    "refunds/csv_injection.rs",
    "refunds/columns.rs",
    "refunds/spreadsheet_damage.rs",
    "refunds/dates.rs",
    "refunds/decide.rs",
    "refunds/decision.rs",
    "refunds/column_mapping.rs",
    "refunds/formats/",
    "refunds/json_table.rs",
    "refunds/unclear_columns.rs",
    "refunds/row_problem.rs",
    "refunds/reversal_file.rs",
    "refunds/row.rs",
    "refunds/syntax.rs",
    "refunds/csv_table.rs",
    "refunds/outcome_file.rs",
];

/// Words of I/O, clocks and threads that a file of `PURE` must not contain.
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

/// SQL that PostgreSQL does not know, and the replacement.
const NOT_PORTABLE: &[(&str, &str)] = &[
    ("INSERT OR", "ON CONFLICT (…)"),
    ("ON CONFLICT DO UPDATE", "ON CONFLICT (…) DO UPDATE"),
    (" IS ?", "IS NOT DISTINCT FROM"),
    ("iif(", "CASE"),
    ("-?", "CAST(?1 AS BIGINT), or a parameter of its own"),
    ("CROSS JOIN", "JOIN"),
    ("last_insert_", "RETURNING id"),
    ("rowid", "RETURNING id"),
    ("json_", "parameters, and parsing in Rust"),
    ("NOT INDEXED", "a column that no index has"),
    ("LIMIT -1", "a subquery"),
    ("GLOB ", "LIKE"),
];

/// Files that may use SQLite's own SQL: the executor's statements about files, and tests that damage a file.
const ONE_ENGINE: &[&str] = &["store/db/", "store/ledger/tests.rs"];

const MOST_LINES: usize = 600;

fn layering(file: &Source) -> Vec<String> {
    if ["commands", "main", "lib"].contains(&file.module()) {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_NAME.iter().find(|(module, _)| *module == file.module()) else {
        return vec![format!("{}: the layering table has no line for {}", file.path, file.module())];
    };
    let wrong = named_modules(file).into_iter().filter(|name| !allowed.contains(&name.as_str()));
    wrong.map(|name| format!("{}: {} may not name {name}", file.path, file.module())).collect()
}

/// Returns the modules in a dependency circle, and the modules between circles. To find the circles, the function
/// removes modules without a dependency and modules on which nothing depends, until only circles are left.
fn circles(files: &[Source]) -> Vec<String> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        graph.entry(file.module().to_owned()).or_default().extend(named_modules(file));
    }
    loop {
        let sources: BTreeSet<String> = graph.keys().cloned().collect();
        let targets: BTreeSet<String> = graph.values().flatten().cloned().collect();
        for names in graph.values_mut() {
            names.retain(|name| sources.contains(name));
        }
        graph.retain(|module, names| !names.is_empty() && targets.contains(module));
        if graph.len() == sources.len() {
            break;
        }
    }
    let edges = graph.iter().flat_map(|(module, names)| names.iter().map(move |name| (module, name)));
    edges.map(|(module, name)| format!("in a circle: {module} names {name}")).collect()
}

fn words_in_their_place(file: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    // Tests inside the crate may print and may use lower layers.
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

/// Both database engines share one SQL text.
fn portable_sql(file: &Source) -> Vec<String> {
    if file.module() != "store" || file.is_in(ONE_ENGINE) {
        return Vec::new();
    }
    let is_sql =
        |text: &&String| ["SELECT", "INSERT", "UPDATE", "DELETE", "WHERE"].iter().any(|word| text.contains(word));
    let mut complaints = Vec::new();
    for sql in file.literals.iter().filter(is_sql) {
        let lower = sql.to_lowercase();
        for (wrong, instead) in NOT_PORTABLE.iter().filter(|(wrong, _)| lower.contains(&wrong.to_lowercase())) {
            complaints.push(format!("{}: {wrong}: say {instead}: {sql}", file.path));
        }
        // In PostgreSQL a bare `user` is current_user, so a condition on it would be true or false for every row.
        // `window` is a reserved word too.
        for (word, instead) in [("user", "user_name"), ("window", "window_number")] {
            if says(&lower, word) {
                complaints.push(format!("{}: {word}: say {instead}: {sql}", file.path));
            }
        }
        // In PostgreSQL the sum of a bigint column is numeric.
        if lower.matches("sum(").count()
            > lower.matches("cast(sum(").count() + lower.matches("cast(coalesce(sum(").count()
        {
            complaints.push(format!("{}: SUM: say CAST(SUM(…) AS BIGINT): {sql}", file.path));
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

/// An assistant can neither send nor approve.
fn assistants_only_propose(file: &Source) -> Vec<String> {
    if !file.is_in(FOR_ASSISTANTS) {
        return Vec::new();
    }
    let found = SENDS.iter().filter(|word| says(&file.code, word));
    found.map(|word| format!("{}: {word}: an assistant proposes, and a person sends", file.path)).collect()
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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a file of the project can be read")
}

/// Returns the source files of a folder.
fn sources_in(folder: &str) -> Vec<Source> {
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
    let top = root().join(folder);
    let mut paths = Vec::new();
    walk(&top, &mut paths);
    paths.sort();
    let load = |path: &PathBuf| {
        let name = path.strip_prefix(&top).expect("below src").to_string_lossy().replace('\\', "/");
        Source::new(&name, &fs::read_to_string(path).expect("UTF-8"))
    };
    paths.iter().map(load).collect()
}

fn sources() -> Vec<Source> {
    sources_in("src")
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
fn the_module_graph_has_no_circle() {
    none(&circles(&sources()));
}

#[test]
fn libraries_are_used_only_where_allowed() {
    none(&sources().iter().flat_map(words_in_their_place).collect::<Vec<_>>());
}

#[test]
fn sql_is_written_for_both_engines() {
    none(&sources().iter().flat_map(portable_sql).collect::<Vec<_>>());
}

#[test]
fn pure_files_have_no_input_and_no_output() {
    none(&sources().iter().flat_map(purity).collect::<Vec<_>>());
}

#[test]
fn no_code_that_an_assistant_reaches_can_send_or_approve() {
    none(&sources().iter().flat_map(assistants_only_propose).collect::<Vec<_>>());
}

#[test]
fn every_file_has_a_header_and_at_most_600_lines() {
    let all = [sources(), sources_in("simulator/src")];
    none(&all.iter().flatten().flat_map(shape).collect::<Vec<_>>());
}

#[test]
fn every_dependency_has_a_reason() {
    none(&dependencies_with_reasons(&read("Cargo.toml")));
    none(&dependencies_with_reasons(&read("simulator/Cargo.toml")));
}

/// Returns the documents that a text cites as `docs/….md`.
fn missing_documents(path: &str, text: &str) -> Vec<String> {
    let cited = text.match_indices(".md").filter_map(|(end, _)| {
        let start =
            text[..end].rfind(|c: char| !c.is_ascii_alphanumeric() && !"-_./".contains(c)).map_or(0, |at| at + 1);
        Some(&text[start..end + 3]).filter(|name| name.len() > 3)
    });
    let is_missing = |name: &&str| !root().join(name.trim_start_matches('/')).exists();
    cited.filter(is_missing).map(|name| format!("{path} cites {name}, which is not in the repository")).collect()
}

#[test]
fn no_file_cites_a_missing_document() {
    let all = [sources(), sources_in("simulator/src"), sources_in("tests/it"), sources_in("benches")];
    let cited = |file: &Source| missing_documents(&file.path, &file.text);
    // The tests of the rules contain text that breaks them, so these files are exempt.
    let has_samples = |file: &&Source| ["tidy.rs", "tidy/book.rs"].contains(&file.path.as_str());
    none(&all.iter().flatten().filter(|file| !has_samples(file)).flat_map(cited).collect::<Vec<_>>());
    assert_eq!(missing_documents("x.rs", "see `docs/nowhere.md` §3, `README.md`, and `advocate-api.md`").len(), 2);
}

#[test]
fn the_simulator_depends_on_nothing_of_recoup() {
    // recoup and the simulator share no code, because one misreading of the vendor's documents must not be on both
    // sides of a test.
    assert!(!says(&read("simulator/Cargo.toml"), "recoup"));
}

#[test]
fn every_rule_can_fail() {
    type Rule = fn(&Source) -> Vec<String>;
    let long = format!("//! A file.\n{}", "\n".repeat(MOST_LINES));
    // Each entry: the rule, the file, its text, and whether the rule must complain.
    let table: &[(Rule, &str, &str, bool)] = &[
        (layering, "vendor/mod.rs", "use crate::store::Index;", true),
        (layering, "store/mod.rs", "use crate::vendor;", true),
        (layering, "crawl/mod.rs", "use crate::{error::{Error, Kind}, lookup};", true),
        (layering, "crawl/mod.rs", "use crate::{error::{Error, Kind}, store};", false),
        (layering, "model/decimal.rs", "fn f() { crate::vendor::x() }", true),
        (layering, "model/decimal.rs", "use crate::model::budget;", false),
        (layering, "lookup.rs", "use super::retract;", true),
        (layering, "model/decimal.rs", "use super::vendor;", false),
        (layering, "helpers.rs", "", true),
        (layering, "lookup.rs", "// use crate::retract;\n/* crate::retract /* */ */", false),
        (words_in_their_place, "crawl/mod.rs", "use rusqlite::Connection;", true),
        (words_in_their_place, "store/index/mod.rs", "use rusqlite::Connection;", true),
        (words_in_their_place, "store/ledger/mod.rs", "use rusqlite::Connection;", true),
        (words_in_their_place, "store/db/mod.rs", "use rusqlite::Connection;", false),
        (words_in_their_place, "store/index/mod.rs", "Connection::open_with_flags(path, flags)", true),
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
        (words_in_their_place, "doctor.rs", "vendor::RewardCanceller::new()", true),
        (words_in_their_place, "retract/cancel.rs", "use crate::vendor::RewardCanceller;", false),
        (words_in_their_place, "vendor/tests/x.rs", "eprintln!()", false),
        (portable_sql, "store/access/users.rs", "x(\"INSERT OR REPLACE INTO users\")", true),
        (portable_sql, "store/access/users.rs", "x(\"UPDATE x SET y = 1 WHERE z IS ?1\")", true),
        (portable_sql, "store/access/users.rs", "x(\"SELECT value FROM json_each(?1)\")", true),
        (
            portable_sql,
            "store/access/users.rs",
            "x(\"INSERT INTO x VALUES (1) ON CONFLICT DO UPDATE SET y = 1\")",
            true,
        ),
        (portable_sql, "store/access/users.rs", "x(\"DELETE FROM sessions WHERE user = ?1\")", true),
        (portable_sql, "store/access/users.rs", "x(r#\"SELECT t.user FROM tokens t\"#)", true),
        (portable_sql, "store/budget.rs", "x(\"SELECT SUM(requests) FROM budget_minutes\")", true),
        (portable_sql, "store/budget.rs", "x(\"SELECT CAST(SUM(requests) AS BIGINT) FROM budget_minutes\")", false),
        (portable_sql, "store/access/users.rs", "x(\"DELETE FROM sessions WHERE user_name = ?1\") // IS ?1", false),
        (portable_sql, "store/budget.rs", "x(\"SELECT window FROM budgets\")", true),
        (portable_sql, "store/index/mod.rs", "x(\"INSERT OR REPLACE INTO runs\")", true),
        (portable_sql, "store/db/open.rs", "x(\"SELECT rowid FROM sqlite_master WHERE x IS ?1\")", false),
        (purity, "vendor/retry.rs", "async fn f() {}", true),
        (purity, "extract/mod.rs", "std::fs::read(path)", true),
        (purity, "model.rs", "fn f<'a>(x: &'a str) { tokio::spawn(x) }", true),
        (purity, "model.rs", "//! no async here\nfn f<'a>(asynchronous: &'a str) {}", false),
        (purity, "lookup.rs", "async fn f() {}", false),
        (assistants_only_propose, "mcp/actions.rs", "retract::run(ctx, writer, request)", true),
        (assistants_only_propose, "mcp/actions.rs", "use crate::retract::WriterSettings;", true),
        (assistants_only_propose, "mcp/mod.rs", "ledger.decide(id, Stage::Approved)", true),
        (assistants_only_propose, "commands/mcp.rs", "settings.writer_options(None)", true),
        (assistants_only_propose, "retract/propose.rs", "Sender::new(ctx, settings)", true),
        (assistants_only_propose, "mcp/actions.rs", "retract::propose(ctx, request) // decide", false),
        (assistants_only_propose, "retract/mod.rs", "use send::Sender;", false),
        (shape, "lookup.rs", "use x;", true),
        (shape, "lookup.rs", &long, true),
        (shape, "lookup.rs", "//! A file.\n", false),
    ];
    // Each entry: the files of a dependency graph, and whether it has a circle.
    let graphs: &[(&[(&str, &str)], bool)] = &[
        (&[("cli/mod.rs", "use crate::config;"), ("config/mod.rs", "use crate::{cli::Cli, error::Error};")], true),
        (&[("a.rs", ""), ("doctor.rs", "use crate::commands::End;"), ("commands/mod.rs", "use super::doctor;")], true),
        (
            &[
                ("crawl.rs", "use crate::store;"),
                ("store.rs", "use crate::lookup;"),
                ("lookup.rs", "crate::crawl::run()"),
            ],
            true,
        ),
        (
            &[("crawl.rs", "use crate::store;"), ("lookup.rs", "use crate::store;"), ("store.rs", "use crate::error;")],
            false,
        ),
    ];
    for (files, wrong) in graphs {
        let complaints = circles(&files.iter().map(|(path, text)| Source::new(path, text)).collect::<Vec<_>>());
        assert_eq!(!complaints.is_empty(), *wrong, "{files:?}: {complaints:?}");
    }
    for (rule, path, text, wrong) in table {
        let complaints = rule(&Source::new(path, text));
        assert_eq!(!complaints.is_empty(), *wrong, "{path}: {text:.80}: {complaints:?}");
    }
}
