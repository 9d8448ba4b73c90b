//! Tests of the book's reference pages: the pages of commands and settings say what the program says.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory};
use recoup::cli::Cli;
use recoup::cli::help::EXAMPLES;

use super::{read, root};
use crate::support::{Home, Sim};

const COMMANDS: &str = "docs/commands.md";

/// Returns a help text as Markdown for one cell of a table.
fn in_a_cell(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    // Markdown reads `<` outside of backticks as HTML.
    if !words.contains('`') {
        words = words.replace('<', "&lt;");
    }
    words
}

fn argument(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let named = arg.get_long().map(|long| format!("{short}--{long}"));
    let takes_values = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let values: Vec<String> = arg.get_value_names().into_iter().flatten().map(|name| format!("<{name}>")).collect();
    let parts: Vec<String> = named.into_iter().chain(values.into_iter().filter(|_| takes_values)).collect();
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut means = in_a_cell(&help);
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_values && !defaults.is_empty() {
        write!(means, "; default `{}`", defaults.join(" ")).expect("text");
    }
    let possible: Vec<_> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if takes_values && !possible.is_empty() {
        write!(means, "; one of {}", possible.join(", ")).expect("text");
    }
    if matches!(arg.get_action(), ArgAction::Append) && !help.contains("repeat") {
        means.push_str("; may repeat");
    }
    format!("| `{}` | {means} |\n", in_a_cell_of_code(&parts.join(" ")))
}

fn in_a_cell_of_code(text: &str) -> String {
    text.replace('|', "\\|")
}

fn table(arguments: &[&Arg], heading: &str) -> String {
    let rows: String = arguments.iter().map(|arg| argument(arg)).collect();
    if rows.is_empty() { rows } else { format!("\n| {heading} | means |\n|---|---|\n{rows}") }
}

/// Returns a command and its subcommands.
fn section(command: &Command, name: &str, page: &mut String) {
    let depth = "#".repeat(name.split(' ').count());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    // The first paragraph of the help is a title without a full stop.
    let sentence = |text: &str| format!("{}.", in_a_cell(text).trim_end_matches('.'));
    let about: Vec<String> = about.split("\n\n").map(sentence).collect();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    write!(page, "\n{depth} {name}\n\n{}\n\n```text\n{usage}\n```\n", about.join("\n\n")).expect("text");
    let is_own = |arg: &&Arg| {
        !arg.is_global_set() && !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
    };
    page.push_str(&table(&command.get_arguments().filter(is_own).collect::<Vec<_>>(), "argument"));
    let short = name.trim_start_matches("recoup ");
    for (_, list) in EXAMPLES.iter().filter(|(known, _)| *known == short) {
        let lines: Vec<String> = list.iter().map(|(what, line)| format!("# {what}\n{line}\n")).collect();
        write!(page, "\n```sh\n{}```\n", lines.join("\n")).expect("text");
    }
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        section(sub, &format!("{name} {}", sub.get_name()), page);
    }
}

/// Returns the page of commands, generated from the definitions of the flags.
fn commands_page() -> String {
    let mut whole = Cli::command();
    whole.build();
    let mut page = String::from(
        "# Commands\n\nEvery command with its arguments. This page is generated from the program, as `recoup help COMMAND` and the man pages are. \
         The examples run in the tests.\n",
    );
    page.push_str("\n## For every command\n");
    let global: Vec<&Arg> = whole.get_arguments().filter(|arg| arg.is_global_set() && !arg.is_hide_set()).collect();
    page.push_str(&table(&global, "option"));
    for command in whole.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        section(command, &format!("recoup {}", command.get_name()), &mut page);
    }
    page
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a developer asks for a new page by a variable")]
fn the_page_of_commands_is_generated_from_the_program() {
    let page = commands_page();
    for part in ["## recoup retract", "### recoup user token add", "--disposition", "recoup demo --participants 500"] {
        assert!(page.contains(part), "{part}");
    }
    if std::env::var_os("TEST_DOCS").is_some() {
        std::fs::write(root().join(COMMANDS), &page).expect("written");
    }
    let committed = read(COMMANDS);
    let differing = page.lines().zip(committed.lines()).find(|(now, then)| now != then);
    assert!(
        page == committed,
        "{COMMANDS} is outdated, `TEST_DOCS=1 cargo test --test it page_of_commands` writes it: {differing:?}"
    );
}

/// Returns the keys of `recoup.toml` in the settings page, each with the table cell of its default.
fn documented_settings(page: &str) -> Vec<(String, String)> {
    let table = page.split("## recoup.toml").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let mut tables = vec![String::new()];
    let mut settings = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let named: Vec<&str> = cells[0].split('`').skip(1).step_by(2).collect();
        let sections: Vec<String> =
            named.iter().filter_map(|name| Some(format!("{}.", name.strip_prefix('[')?.strip_suffix(']')?))).collect();
        if !sections.is_empty() {
            tables = sections;
        } else if !cells[0].starts_with("| …") {
            tables = vec![String::new()];
        }
        for key in named.iter().filter(|name| !name.starts_with('[')) {
            settings.extend(tables.iter().map(|table| (format!("{table}{key}"), cells[1].to_owned())));
        }
    }
    settings
}

#[test]
fn the_page_of_settings_has_every_key_with_its_default_and_no_other() {
    let sim = Sim::start(&["--participants", "1"]);
    let home = Home::new(&sim);
    home.configure("");
    let shown = home.check(&["config", "show", "--json"], 0).objects();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let program: Vec<(String, Option<String>)> = shown
        .iter()
        // The first object of `config show` is the configuration file itself.
        .filter(|one| one["key"] != "configuration file")
        .map(|one| (text(&one["key"]).expect("a key"), text(&one["value"]).filter(|_| one["source"] == "default")))
        .collect();
    assert!(program.len() > 80, "{}", program.len());
    let page = documented_settings(&read("docs/settings.md"));
    let mut complaints = Vec::new();
    for (key, default) in &program {
        match page.iter().find(|(known, _)| known == key) {
            None => complaints.push(format!("the page has no {key}")),
            // The settings page describes a default in words if it depends on another setting or is a path.
            Some((_, cell)) if cell.contains("as above") || cell.contains(" if ") => {}
            Some((_, cell)) => {
                if let Some(default) = default.as_ref().filter(|default| !cell.contains(default.as_str())) {
                    complaints.push(format!("{key} is {default} by default, and the page says {cell}"));
                }
            }
        }
    }
    for (key, _) in
        page.iter().filter(|(key, _)| key != "refund_format.NAME" && !program.iter().any(|(known, _)| known == key))
    {
        complaints.push(format!("the page has {key}, which is no setting"));
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
    let sample = "## recoup.toml\n| `a`, `b` | – | x |\n| `[t]` `c` | 1 | x |\n| … `d` | 2 | x |\n\n## Profiles\n| `e` | 3 | x |";
    let keys: Vec<String> = documented_settings(sample).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "b", "t.c", "t.d"]);
}
