//! Replaces the command line's flags in texts for the page and the API.
//!
//! Errors and findings are written for the command line and mention its flags. The page has form fields, and the API
//! has JSON fields and query parameters. This module converts every text for the page and the API, without I/O, so that
//! the text mentions no flag.

use super::batch::Batch;
use super::file_options::FIELDS;
use super::routes::Audience;
use super::ui_text::with_times;
use crate::retract::receipt::{Entry, Receipt};

/// Flags with a special name: flag, name on the page, name in the API. The words of any other flag become its name:
/// `order-column` becomes “order column” or `order_column`.
const NAMES: &[(&str, &str, &str)] = &[
    ("override", "the box for the stop", "`overrides`"),
    ("yes", "the box that you have read it", "`plan`"),
    ("action-id", "the action", "`action_id`"),
    ("all", "all actions", "`all`"),
    ("disposition", "the disposition code", "`disposition`"),
    ("reason", "the reason", "`reason`"),
    ("ticket", "the ticket", "`ticket`"),
    ("max-index-age", "the setting [retract] max_index_age", "the setting [retract] max_index_age"),
    ("max-count", "the setting [retract] max_count", "the setting [retract] max_count"),
    ("max-value", "the setting [retract] max_value", "the setting [retract] max_value"),
    ("database", "the setting database", "the setting database"),
    ("profile", "the profile", "the profile"),
];

/// Replaces each flag by its name on the page or in the API.
///
/// A command in backticks is for a person with a shell. Therefore a command in backticks stays, and its flags lose only
/// their dashes: `recoup crawl --full` becomes "`recoup crawl` with full".
pub fn without_flags(text: &str, audience: Audience) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    let mut place = Place::Sentence;
    while let Some(next) = rest.chars().next() {
        let continues_word = result.ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '"');
        if let Some(flag) = flag_at(rest).filter(|_| !continues_word) {
            if place == Place::Command {
                result.truncate(result.trim_end().len());
                result.push_str("` with ");
                place = Place::CommandFlags;
            }
            if place == Place::CommandFlags {
                result.push_str(flag);
            } else {
                let name = name_of(flag, audience);
                // The text may already have backticks around the flag.
                result.push_str(if result.ends_with('`') { name.trim_matches('`') } else { &name });
            }
            rest = &rest[2 + flag.len()..];
            continue;
        }
        rest = &rest[next.len_utf8()..];
        match (next, place) {
            ('`', Place::CommandFlags) => {
                place = Place::Sentence;
                continue;
            }
            ('`', Place::Command) => place = Place::Sentence,
            ('`', Place::Sentence) if rest.starts_with("recoup ") => place = Place::Command,
            _ => {}
        }
        result.push(next);
    }
    result
}

/// The position in a text at which a flag was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Sentence,
    /// The flag is inside a command in backticks, before the command's first flag.
    Command,
    CommandFlags,
}

/// Returns the flag's name if the text starts with a flag.
fn flag_at(text: &str) -> Option<&str> {
    let name = text.strip_prefix("--")?;
    let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(name.len());
    let name = name[..end].trim_end_matches('-');
    (name.len() > 1 && !name.starts_with('-')).then_some(name)
}

fn name_of(flag: &str, audience: Audience) -> String {
    let known = NAMES.iter().find(|(name, ..)| *name == flag);
    match (audience, known) {
        (Audience::Api, Some((.., api))) => (*api).to_owned(),
        (Audience::Api, None) => format!("`{}`", flag.replace('-', "_")),
        (_, Some((_, page, _))) => (*page).to_owned(),
        (_, None) => format!("“{}”", flag.replace('-', " ")),
    }
}

pub fn receipt_for_api(mut receipt: Receipt) -> Receipt {
    receipt.retractions = receipt.retractions.into_iter().map(|entry| entry_for(entry, Audience::Api)).collect();
    if let Some(error) = &mut receipt.error {
        error.message = without_flags(&error.message, Audience::Api);
        error.hint = error.hint.as_deref().map(|hint| without_flags(hint, Audience::Api));
    }
    receipt
}

/// Replaces flags in a receipt entry by names. For the API, the entry's events keep the ledger's text.
pub fn entry_for(mut entry: Entry, audience: Audience) -> Entry {
    let events = entry.events.iter_mut().filter(|_| audience == Audience::Page).map(|event| &mut event.message);
    let findings = entry.findings.iter_mut().map(|finding| &mut finding.remedy);
    for text in [&mut entry.message].into_iter().chain(findings).chain(&mut entry.check).chain(events) {
        *text = without_flags(text, audience);
        if audience == Audience::Page {
            *text = with_times(text);
        }
    }
    entry
}

pub(super) fn batch_for_api(mut batch: Batch) -> Batch {
    batch.message = batch.message.map(|message| without_flags(&message, Audience::Api));
    batch
}

/// Replaces the flags for reading a file by query parameters of the API or labels of the upload form. Removes a clause
/// about `recoup refunds`, because `recoup refunds` needs a terminal.
pub(super) fn with_file_fields(text: &str, audience: Audience) -> String {
    let clauses = text.split("; ").filter(|clause| !clause.contains("`recoup refunds "));
    let mut text = clauses.collect::<Vec<_>>().join("; ").replace("VALUE[,VALUE]", "VALUE");
    for (name, label) in FIELDS {
        let flag = format!("--{}", name.replace('_', "-"));
        let (shown, separator) = match audience {
            Audience::Api => (name.to_owned(), "="),
            _ if label.is_empty() => (format!("“{}”", name.replace('_', " ")), " "),
            _ => (format!("“{label}”"), " "),
        };
        let mut result = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once(&flag) {
            result.push_str(before);
            let is_longer = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
            result.push_str(if is_longer { &flag } else { &shown });
            rest = after;
            if let Some(value) = after.strip_prefix(' ').filter(|_| !is_longer) {
                let is_value = !["or ", "if ", "and "].iter().any(|word| value.starts_with(word));
                result.push_str(if is_value { separator } else { " " });
                rest = value;
            }
        }
        result.push_str(rest);
        text = result;
    }
    text
}

/// Removes the clauses of a hint that still mention a flag, because neither the page nor the API has a field for such a
/// flag. Returns `None` if no clause is left.
pub(super) fn without_flag_clauses(hint: &str) -> Option<String> {
    let is_flag = |word: &str| {
        let name = word.trim_start_matches(['`', '(']).strip_prefix("--");
        name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let clauses: Vec<&str> = hint.split("; ").filter(|clause| !clause.split(' ').any(is_flag)).collect();
    Some(clauses.join("; ")).filter(|hint| !hint.is_empty())
}

/// Converts a hint about a refund file: its flags become fields of the upload form or parameters of the API.
pub(super) fn file_hint(hint: &str, audience: Audience) -> Option<String> {
    without_flag_clauses(&with_file_fields(hint, audience))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Audience; 2] = [Audience::Page, Audience::Api];

    /// Returns `true` if a text mentions a flag.
    fn names_a_flag(text: &str) -> bool {
        text.match_indices("--").any(|(at, _)| {
            !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '"')
                && text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase())
                && text[at + 3..].starts_with(|c: char| c.is_ascii_lowercase() || c == '-')
        })
    }

    #[test]
    fn a_flag_gets_its_name_on_the_page_and_in_the_api() {
        for (text, page, api) in [
            ("nothing to change -- here -", "nothing to change -- here -", "nothing to change -- here -"),
            ("order \"--yes\" is a--all", "order \"--yes\" is a--all", "order \"--yes\" is a--all"),
            (
                "talk to them; or override it with --override redeemed; nothing was sent",
                "talk to them; or override it with the box for the stop redeemed; nothing was sent",
                "talk to them; or override it with `overrides` redeemed; nothing was sent",
            ),
            (
                "name one with --action-id ID, or take all back with --all",
                "name one with the action ID, or take all back with all actions",
                "name one with `action_id` ID, or take all back with `all`",
            ),
            ("say it: --order-column NAME.", "say it: “order column” NAME.", "say it: `order_column` NAME."),
            ("(`--force`)", "(`“force”`)", "(`force`)"),
            (
                "run `recoup crawl --from-raw`, or --force",
                "run `recoup crawl` with from-raw, or “force”",
                "run `recoup crawl` with from-raw, or `force`",
            ),
            (
                "`recoup retract ORDER --resend --reason TEXT`: `recoup verify`",
                "`recoup retract ORDER` with resend reason TEXT: `recoup verify`",
                "`recoup retract ORDER` with resend reason TEXT: `recoup verify`",
            ),
        ] {
            assert_eq!(without_flags(text, Audience::Page), page);
            assert_eq!(without_flags(text, Audience::Api), api);
        }
    }

    /// The test reads the whole source, so that it also tests new texts.
    #[test]
    fn no_text_of_the_source_shows_a_flag_on_the_page_or_in_the_api() {
        let mut seen = 0;
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder of the source") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    for line in
                        std::fs::read_to_string(&path).expect("UTF-8").lines().filter(|line| line.contains("--"))
                    {
                        seen += usize::from(names_a_flag(line));
                        for audience in BOTH {
                            let fit = without_flags(&line.replace('"', " "), audience);
                            assert!(!names_a_flag(&fit), "{}: {fit}", path.display());
                        }
                    }
                }
            }
        }
        assert!(seen > 50, "{seen} lines name a flag");
    }

    #[test]
    fn a_hint_about_a_file_names_query_parameters_or_labels() {
        for (hint, api, page) in [
            (
                "say which it is: --format stripe or --format paypal",
                "say which it is: format=stripe or format=paypal",
                "say which it is: “Format” stripe or “Format” paypal",
            ),
            (
                "explain columns without --format, or with --format list",
                "explain columns without format, or with format=list",
                "explain columns without “Format”, or with “Format” list",
            ),
            (
                "name any other with --order-column NAME; `recoup refunds formats` lists the exports that are recognised",
                "name any other with order_column=NAME",
                "name any other with “Column with the order IDs” NAME",
            ),
            (
                "all lack it: --order-prefix '#', not --strip-order-prefix",
                "all lack it: order_prefix='#', not strip_order_prefix",
                "all lack it: “What the order IDs of the file lack in front” '#', not “What the order IDs of the file have in front \
                 and the vendor does not know”",
            ),
            (
                "name them with --refunded-when VALUE[,VALUE]",
                "name them with refunded_when=VALUE",
                "name them with “refunded when” VALUE",
            ),
            ("--formats and --yes stay", "--formats and --yes stay", "--formats and --yes stay"),
        ] {
            assert_eq!(with_file_fields(hint, Audience::Api), api);
            assert_eq!(with_file_fields(hint, Audience::Page), page);
        }
        assert_eq!(without_flag_clauses("a plan is carried out by --apply"), None);
        assert_eq!(
            without_flag_clauses("send less -- or split it; use `--force`").as_deref(),
            Some("send less -- or split it")
        );
    }

    proptest! {
        #[test]
        fn no_result_names_a_flag(text in "([-`\" a-z]|--[a-z]{2,4}|recoup |\\PC){0,24}") {
            for audience in BOTH {
                let fit = without_flags(&text, audience);
                prop_assert!(!names_a_flag(&fit), "{:?} became {:?}", text, fit);
            }
        }
    }
}
