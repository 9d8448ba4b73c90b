//! The help of `recoup`: the list of commands by group, and examples at the end of each command's help.
//!
//! A test runs every example against the simulator.

use clap::Subcommand;
use clap::builder::styling::{Effects, Style};

use super::Command;

/// The style of headings in clap's own help.
const HEADING: Style = Style::new().effects(Effects::BOLD.insert(Effects::UNDERLINE));
const NAME: Style = Style::new().effects(Effects::BOLD);

/// Every command, in the group under which `recoup --help` lists it.
const GROUPS: [(&str, &[&str]); 8] = [
    ("Everyday", &["lookup", "retract", "verify", "status", "open"]),
    ("Many refunds", &["refunds", "reconcile", "watch", "file"]),
    ("Corrections", &["adjust", "cancel-reward", "mistake"]),
    ("Index", &["crawl", "quota"]),
    ("Service", &["serve", "schedule", "webhook", "notify", "user", "approval", "mcp"]),
    ("Records", &["audit", "backup", "move", "ledger", "forget"]),
    ("Set up", &["init", "config", "doctor", "store", "completions", "man"]),
    ("Try", &["demo", "simulate"]),
];

/// The purpose of an example, and its command line.
pub type Example = (&'static str, &'static str);

/// The examples of each command.
pub const EXAMPLES: [(&str, &[Example]); 34] = [
    (
        "init",
        &[
            ("Write recoup.toml by answering three questions, then check it", "recoup init"),
            (
                "Without a terminal, with the token in a file",
                "recoup init --tenant acme --account-sid IRabc123 --token-file /etc/recoup/token",
            ),
        ],
    ),
    (
        "config",
        &[
            ("Every setting, its value, and where it comes from", "recoup config show"),
            ("One JSON object for each setting", "recoup config show --json"),
        ],
    ),
    (
        "doctor",
        &[
            ("Check everything before the first crawl", "recoup doctor"),
            ("For a monitor: one JSON object for each check", "recoup doctor --json --fields check,ok"),
        ],
    ),
    (
        "store",
        &[
            ("The tables, and the rights of a role, as SQL", "recoup store init --role recoup_service"),
            ("The same, and run it", "recoup store init --role recoup_service --apply"),
        ],
    ),
    (
        "crawl",
        &[
            ("What each source costs; reads nothing", "recoup crawl --plan"),
            ("Build the index, or refresh it", "recoup crawl"),
            ("At night, within a part of the quota", "recoup crawl --until 06:00 --max-requests 5000"),
        ],
    ),
    (
        "quota",
        &[
            ("Why recoup waits for a host", "recoup quota clear --dry-run"),
            ("End an implausible wait", "recoup quota clear --host advocate --yes"),
        ],
    ),
    (
        "lookup",
        &[
            ("What is known of an order", "recoup lookup 1001"),
            ("Ask the vendor if the index does not have it", "recoup lookup 1001 --live"),
            (
                "Many orders, one ID on each line, as JSON",
                "recoup lookup - --json --fields order_id,verdict < orders.txt",
            ),
        ],
    ),
    (
        "retract",
        &[
            ("All checks, and nothing sent", "recoup retract 1001 --dry-run"),
            (
                "Retract an order without a question",
                "recoup retract 1001 --ticket 4711 --reason \"refunded in full\" --yes",
            ),
            ("Plan a shop's export, to be looked at first", "recoup retract --file refunds.csv --plan plan.csv"),
        ],
    ),
    (
        "verify",
        &[
            ("Read every open retraction once", "recoup verify"),
            ("Follow them until none is open, for an hour at most", "recoup verify --wait 1h"),
        ],
    ),
    (
        "status",
        &[
            ("How fresh the index is, and what is open", "recoup status"),
            ("One retraction with all its events", "recoup status --retraction 1"),
            ("For a timer: exit 1 if something needs attention", "recoup status --check --max-age 26h"),
        ],
    ),
    (
        "refunds",
        &[
            ("What a shop's file proves about each order", "recoup refunds check refunds.csv --all"),
            ("The formats that recoup recognises", "recoup refunds formats"),
        ],
    ),
    (
        "reconcile",
        &[
            ("Which refunds are still rewarded", "recoup reconcile refunds.csv"),
            ("The same, with every row in a file", "recoup reconcile refunds.csv --out reconciled.csv"),
        ],
    ),
    (
        "watch",
        &[
            (
                "Watch the refunds that are not found yet",
                "recoup retract --file refunds.csv --watch-missing --out outcomes.csv --yes",
            ),
            ("Refunded orders that are not in the index yet", "recoup watch list"),
        ],
    ),
    (
        "file",
        &[
            ("Write the vendor's reversal file into this folder", "recoup file write 1003 --out . --ticket 4712 --yes"),
            ("Read how the vendor processed it", "recoup file check"),
            ("A line that was not handed in after all", "recoup file release 2 --ticket 4712"),
        ],
    ),
    (
        "adjust",
        &[
            ("One item came back; nothing is sent", "recoup adjust 1002 --quantity SKU-1=0 --dry-run"),
            ("The order is worth less now", "recoup adjust 1002 --amount 0.50 --ticket 4713 --yes"),
        ],
    ),
    (
        "cancel-reward",
        &[
            (
                "All checks, and nothing sent",
                "recoup cancel-reward REWARD_ID --ticket 4714 --reason \"left over\" --dry-run",
            ),
            ("Cancel it", "recoup cancel-reward REWARD_ID --ticket 4714 --reason \"left over\" --yes"),
        ],
    ),
    (
        "mistake",
        &[
            ("Record it, and see what to issue again", "recoup mistake 1 --ticket 4715 --reason \"not refunded\""),
            ("The same, with the accounts", "recoup mistake 1 --ticket 4715 --show-account"),
        ],
    ),
    (
        "approval",
        &[
            ("A second person above 20 orders, and for overrides", "recoup approval limits --count 20 --overrides"),
            ("What waits for approval", "recoup approval list"),
        ],
    ),
    (
        "user",
        &[
            ("Add an administrator; prints a password, once", "recoup user add ann --role admin"),
            (
                "A token for a helpdesk; prints it, once",
                "recoup user token add ann --name helpdesk --scope lookup --scope retract",
            ),
            ("Every change, and who made it", "recoup user log"),
        ],
    ),
    (
        "serve",
        &[
            ("The page at http://127.0.0.1:8080", "recoup serve"),
            (
                "For other machines, with TLS",
                "recoup serve --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem",
            ),
        ],
    ),
    ("open", &[("Open the page in a browser", "recoup open"), ("Only its address", "recoup open --print")]),
    (
        "mcp",
        &[
            ("Speak to an assistant in the name of ann", "recoup mcp --as ann"),
            ("In the name of the user that --os-user links to yours", "recoup mcp"),
        ],
    ),
    (
        "schedule",
        &[
            ("When each job runs, and how it ended", "recoup schedule list"),
            ("Refresh the index now", "recoup schedule run refresh"),
        ],
    ),
    (
        "webhook",
        &[
            (
                "Have the vendor name changed accounts",
                "recoup webhook subscribe --url https://recoup.example.com/webhooks/advocate --yes",
            ),
            ("The tenant's subscriptions", "recoup webhook list"),
        ],
    ),
    (
        "notify",
        &[
            ("Send a test by every channel that is set", "recoup notify test"),
            ("One JSON object for each channel", "recoup notify test --json"),
        ],
    ),
    (
        "audit",
        &[
            ("Was the ledger altered?", "recoup audit verify"),
            ("Compare it with the head on a receipt", "recoup audit verify --head HASH"),
            ("Every event as a table", "recoup audit export --format csv --out audit.csv"),
        ],
    ),
    (
        "backup",
        &[
            ("Copy index and ledger into a folder", "recoup backup backups"),
            ("Keep the newest two weeks", "recoup backup backups --keep 14"),
        ],
    ),
    (
        "move",
        &[
            ("What would be moved to a server", "recoup move recoup.db @/etc/recoup/database --dry-run"),
            ("Move it, without a question", "recoup move recoup.db @/etc/recoup/database --yes"),
        ],
    ),
    (
        "ledger",
        &[
            ("After a restore, with a question", "recoup ledger accept --ticket OPS-1"),
            ("The same without a question", "recoup ledger accept --ticket OPS-1 --reason \"disk failed\" --yes"),
        ],
    ),
    (
        "forget",
        &[
            ("Remove a person's account", "recoup forget ann@example.com --ticket DSR-7 --yes"),
            ("What was removed, as JSON", "recoup forget ann@example.com --ticket DSR-7 --yes --json"),
        ],
    ),
    (
        "completions",
        &[
            ("For this bash", "source <(recoup completions bash)"),
            ("For every bash", "recoup completions bash > recoup.bash"),
        ],
    ),
    (
        "man",
        &[("Read the main page", "recoup man > recoup.1"), ("Write a page for each command", "recoup man --out man")],
    ),
    (
        "demo",
        &[
            ("The whole job in a minute, without an account", "recoup demo"),
            ("Fewer participants, and other data", "recoup demo --participants 500 --seed 7"),
        ],
    ),
    (
        "simulate",
        &[
            ("Both vendor APIs on any free port", "recoup simulate"),
            ("On one port, with fewer participants", "recoup simulate --port 8090 --participants 500"),
        ],
    ),
];

/// Returns the examples of a command as text for the end of its help.
pub(super) fn examples(command: &str) -> String {
    let list = EXAMPLES.into_iter().filter(|(name, _)| *name == command).flat_map(|(_, list)| list);
    let lines: Vec<String> = list.map(|(what, line)| format!("\n  # {what}\n  {line}")).collect();
    format!("{HEADING}Examples:{HEADING:#}{}", lines.concat())
}

/// Returns the template of `recoup --help`, because clap can only list commands without groups.
pub(super) fn template() -> String {
    let known = Command::augment_subcommands(clap::Command::new("recoup"));
    let about = |name: &str| known.find_subcommand(name).and_then(clap::Command::get_about).map(ToString::to_string);
    let line = |name: &&str| format!("  {NAME}{name:<14}{NAME:#} {}\n", about(name).unwrap_or_default());
    let group = |(title, names): (&str, &[&str])| {
        format!("\n{HEADING}{title}:{HEADING:#}\n{}", names.iter().map(line).collect::<String>())
    };
    format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}\n`recoup help COMMAND` describes a command, with \
         examples.\n\n{HEADING}Options:{HEADING:#}\n{{options}}{{after-help}}",
        GROUPS.map(group).concat()
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    fn commands() -> BTreeSet<String> {
        let names = crate::cli::Cli::command();
        names.get_subcommands().map(|command| command.get_name().to_owned()).filter(|name| name != "help").collect()
    }

    #[test]
    fn every_command_is_in_one_group_and_fits_80_columns() {
        let listed: Vec<&str> = GROUPS.into_iter().flat_map(|(_, names)| names).copied().collect();
        assert_eq!(listed.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), commands());
        assert_eq!(listed.len(), commands().len(), "a command is in two groups");
        let help = crate::cli::Cli::command().render_help().to_string();
        for (group, names) in GROUPS {
            assert!(help.contains(&format!("\n{group}:\n")), "{help}");
            for name in names {
                let line = help.lines().find(|line| line.starts_with(&format!("  {name} "))).unwrap_or_default();
                assert!((17..=80).contains(&line.chars().count()) && !line.ends_with(' '), "{name}: {line:?}");
            }
        }
    }

    #[test]
    fn the_help_of_every_command_ends_with_two_or_three_examples() {
        for name in commands() {
            let (_, list) = EXAMPLES.into_iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}"));
            assert!((2..=3).contains(&list.len()), "{name}");
            let mut command = crate::cli::Cli::command();
            let help = command.find_subcommand_mut(&name).expect("a command").render_help().to_string();
            let (what, line) = list.last().expect("an example");
            assert!(help.trim_end().ends_with(&format!("# {what}\n  {line}")), "{help}");
        }
    }
}
