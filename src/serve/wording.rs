//! The words of an error or a remedy, as they fit where they are read.
//!
//! Errors and findings are written for the command line and name its flags. The page has fields and boxes, and the API has fields, so
//! no text of the core reaches either without passing through here, and nothing that passes through here still names a flag. Pure.

use crate::retract::receipt::{Entry, Receipt};
use crate::serve::batch::Batch;

/// Where a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surface {
    /// The page.
    Page,
    /// The JSON API.
    Api,
}

/// Flags that are called something else elsewhere: the flag, what the page calls it, what the API calls it. Any other flag is called
/// by its own words: `order-column` is “order column” and `order_column`.
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

/// The text without any flag of the command line: each is called what it is called there.
///
/// A command in backticks is for whoever has a shell: `recoup crawl --full` is said as "`recoup crawl` with full".
pub(super) fn fitted(text: &str, surface: Surface) -> String {
    let mut fit = String::with_capacity(text.len());
    let mut rest = text;
    let mut place = Place::Sentence;
    while let Some(next) = rest.chars().next() {
        let follows = fit.ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '"');
        if let Some(flag) = flag_at(rest).filter(|_| !follows) {
            if place == Place::Command {
                fit.truncate(fit.trim_end().len());
                fit.push_str("` with ");
                place = Place::Flags;
            }
            if place == Place::Flags {
                fit.push_str(flag);
            } else {
                // The flag may stand in backticks of its own.
                let name = name_of(flag, surface);
                fit.push_str(if fit.ends_with('`') { name.trim_matches('`') } else { &name });
            }
            rest = &rest[2 + flag.len()..];
            continue;
        }
        rest = &rest[next.len_utf8()..];
        match (next, place) {
            ('`', Place::Flags) => {
                place = Place::Sentence;
                continue;
            }
            ('`', Place::Command) => place = Place::Sentence,
            ('`', Place::Sentence) if rest.starts_with("recoup ") => place = Place::Command,
            _ => {}
        }
        fit.push(next);
    }
    fit
}

/// Where in a text a flag stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Sentence,
    /// In a command in backticks.
    Command,
    /// In the same, behind its first flag.
    Flags,
}

/// The name of the flag that a text begins with.
fn flag_at(text: &str) -> Option<&str> {
    let name = text.strip_prefix("--")?;
    let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(name.len());
    let name = name[..end].trim_end_matches('-');
    (name.len() > 1 && !name.starts_with('-')).then_some(name)
}

fn name_of(flag: &str, surface: Surface) -> String {
    let known = NAMES.iter().find(|(name, ..)| *name == flag);
    match (surface, known) {
        (Surface::Page, Some((_, page, _))) => (*page).to_owned(),
        (Surface::Page, None) => format!("“{}”", flag.replace('-', " ")),
        (Surface::Api, Some((.., api))) => (*api).to_owned(),
        (Surface::Api, None) => format!("`{}`", flag.replace('-', "_")),
    }
}

/// A receipt for the API.
pub(super) fn fit_receipt(mut receipt: Receipt) -> Receipt {
    receipt.retractions = receipt.retractions.into_iter().map(fit_entry).collect();
    if let Some(error) = &mut receipt.error {
        error.message = fitted(&error.message, Surface::Api);
        error.hint = error.hint.as_deref().map(|hint| fitted(hint, Surface::Api));
    }
    receipt
}

/// One retraction for the API. Events are what the ledger has, word for word.
pub(super) fn fit_entry(mut entry: Entry) -> Entry {
    entry.message = fitted(&entry.message, Surface::Api);
    for finding in &mut entry.findings {
        finding.remedy = fitted(&finding.remedy, Surface::Api);
    }
    for step in &mut entry.check {
        *step = fitted(step, Surface::Api);
    }
    entry
}

/// A batch for the API.
pub(super) fn fit_batch(mut batch: Batch) -> Batch {
    batch.message = batch.message.map(|message| fitted(&message, Surface::Api));
    batch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Surface; 2] = [Surface::Page, Surface::Api];

    /// Whether a text names a flag.
    fn names_a_flag(text: &str) -> bool {
        text.match_indices("--").any(|(at, _)| {
            !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '"')
                && text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase())
                && text[at + 3..].starts_with(|c: char| c.is_ascii_lowercase() || c == '-')
        })
    }

    #[test]
    fn a_flag_is_called_what_it_is_called_where_it_is_read() {
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
            assert_eq!(fitted(text, Surface::Page), page);
            assert_eq!(fitted(text, Surface::Api), api);
        }
    }

    /// Every text in the source that names a flag: the ones that exist, and those that are written later.
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
                        for surface in BOTH {
                            let fit = fitted(&line.replace('"', " "), surface);
                            assert!(!names_a_flag(&fit), "{}: {fit}", path.display());
                        }
                    }
                }
            }
        }
        assert!(seen > 50, "{seen} lines name a flag");
    }

    proptest! {
        #[test]
        fn nothing_that_was_fitted_names_a_flag(text in "([-`\" a-z]|--[a-z]{2,4}|recoup |\\PC){0,24}") {
            for surface in BOTH {
                let fit = fitted(&text, surface);
                prop_assert!(!names_a_flag(&fit), "{:?} became {:?}", text, fit);
            }
        }
    }
}
