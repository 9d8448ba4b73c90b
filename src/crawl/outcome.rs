//! What a run came to, for a script and for a person.

use serde::Serialize;

use crate::model::time_left::duration;
use crate::report::grouped;
use crate::store::index::{FindingCount, Run, RunKey};

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The run.
    pub run: RunKey,
    /// `participants`, `graphql` or `export`; `raw` for an extraction without the network.
    pub source: String,
    /// The run had been begun before.
    pub resumed: bool,
    /// The run has not come to its end: only an extraction can say so.
    #[serde(skip)]
    pub unfinished: bool,
    /// Accounts read.
    pub accounts: u64,
    /// Accounts known; the same unless some could not be read.
    pub accounts_known: u64,
    /// Accounts that were found to be gone.
    pub accounts_gone: u64,
    /// Accounts that were forgotten on purpose and stay out: no gap.
    pub accounts_forgotten: u64,
    /// Only what changed since an earlier run was read; all other figures speak of both together.
    pub refresh: bool,
    /// Rewards read in this run alone.
    pub rewards_refreshed: u64,
    /// Requests sent, over all processes of the run.
    pub requests: u64,
    /// Of these, for accounts that were due by age alone.
    pub requests_reread: u64,
    /// Rewards read.
    pub rewards: u64,
    /// Links found.
    pub links: u64,
    /// What rewards offered, by kind and path.
    pub coverage: Kinds,
    /// Accounts that could not be read.
    pub failed_accounts: u64,
    /// Rewards without an id, and participants without an account.
    pub unusable: u64,
    /// IDs that JSON had damaged.
    pub unreadable: u64,
    /// Walks over the list of participants.
    pub sweeps: u64,
    /// Every known account was read and nothing is in doubt.
    pub complete: bool,
    /// What is in doubt, as sentences.
    pub gaps: Vec<String>,
    /// How long this process took.
    pub seconds: f64,
}

/// Rewards by what they offered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Kinds {
    /// One order ID and one ActionId.
    pub both: u64,
    /// An order ID only.
    pub order_only: u64,
    /// An ActionId only.
    pub action_only: u64,
    /// Neither.
    pub neither: u64,
    /// Several of one.
    pub ambiguous: u64,
    /// The same by path.
    pub paths: Vec<FindingCount>,
}

/// What is in doubt about a run, as sentences.
#[derive(Debug, Default)]
pub(super) struct Gaps(Vec<String>);

impl Gaps {
    /// So many of something: nothing where there is none. The sentence begins with a plural.
    pub(super) fn count(&mut self, count: u64, text: &str) {
        match count {
            0 => {}
            1 => self.0.push(format!("1 {}", one(text))),
            _ => self.0.push(format!("{} {text}", grouped(count))),
        }
    }

    pub(super) fn say(&mut self, sentence: String) {
        self.0.push(sentence);
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// The sentence of a gap for one: "account could not be read", "account is listed …".
fn one(text: &str) -> String {
    let Some((noun, rest)) = text.split_once("s ") else { return text.to_owned() };
    let verb = |many: &str, single: &str| rest.strip_prefix(many).map(|rest| format!("{single} {rest}"));
    let rest = verb("are ", "is").or_else(|| verb("were ", "was")).unwrap_or_else(|| rest.to_owned());
    format!("{noun} {rest}")
}

impl Outcome {
    pub(super) fn new(run: &Run, seconds: f64) -> Self {
        let count =
            |kind: &str| run.coverage.iter().filter(|found| found.kind == kind).map(|found| found.rewards).sum();
        Self {
            run: run.run,
            source: run.source.clone(),
            resumed: false,
            unfinished: false,
            accounts: run.accounts_read,
            accounts_known: run.accounts_known,
            accounts_gone: 0,
            accounts_forgotten: run.accounts_forgotten,
            refresh: run.is_refresh(),
            rewards_refreshed: run.rewards_of_its_own,
            requests: run.requests,
            requests_reread: run.requests_reread,
            rewards: run.rewards(),
            links: run.links(),
            coverage: Kinds {
                both: count("both"),
                order_only: count("order_only"),
                action_only: count("action_only"),
                neither: count("neither"),
                ambiguous: count("ambiguous"),
                paths: run.coverage.clone(),
            },
            failed_accounts: run.accounts_failed,
            unusable: run.rewards_unusable,
            unreadable: run.values_unreadable,
            sweeps: 0,
            complete: run.complete,
            gaps: run.gaps.clone(),
            seconds,
        }
    }

    /// What to do about an outcome that is not complete.
    pub fn hint(&self) -> &'static str {
        if self.unfinished {
            "run `recoup crawl`: it goes on where it was"
        } else if self.failed_accounts > 0 {
            "`recoup status --failed-accounts` lists them; the next `recoup crawl` reads them again"
        } else if self.source == "graphql" || self.source == "export" {
            "`recoup crawl --full` reads everything again"
        } else {
            "the next `recoup crawl` reads everything again"
        }
    }

    /// The outcome for a person.
    pub fn describe(&self) -> String {
        let mut lines = Vec::new();
        if self.refresh {
            let reread = match self.requests_reread {
                0 => String::new(),
                requests => format!(", {} of them for accounts that were due by age", grouped(requests)),
            };
            lines.push(format!(
                "refreshed: {} rewards read in {} requests{reread}",
                grouped(self.rewards_refreshed),
                grouped(self.requests)
            ));
        }
        lines.extend([
            format!(
                "{} of {} accounts read, {} rewards, {} links, in {}",
                grouped(self.accounts),
                grouped(self.accounts_known),
                grouped(self.rewards),
                grouped(self.links),
                duration(self.seconds),
            ),
            format!(
                "rewards with order and action {}, order only {}, action only {}, neither {}, ambiguous {}",
                grouped(self.coverage.both),
                grouped(self.coverage.order_only),
                grouped(self.coverage.action_only),
                grouped(self.coverage.neither),
                grouped(self.coverage.ambiguous),
            ),
        ]);
        for path in self.coverage.paths.iter().filter(|path| path.kind != "neither").take(10) {
            let order = path.order_path.as_deref().unwrap_or("none");
            let action = path.action_path.as_deref().unwrap_or("none");
            lines.push(format!("  {}: order at {order}, action at {action}", grouped(path.rewards)));
        }
        if self.accounts_gone > 0 {
            lines.push(format!("{} accounts are gone; their rewards stay, marked", grouped(self.accounts_gone)));
        }
        if self.accounts_forgotten > 0 {
            let s = if self.accounts_forgotten == 1 { "" } else { "s" };
            lines.push(format!("{} account{s} forgotten, and left out", grouped(self.accounts_forgotten)));
        }
        lines.extend(self.gaps.iter().map(|gap| format!("incomplete: {gap}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::one;

    #[test]
    fn one_is_said_as_one() {
        for (many, single) in [
            ("accounts could not be read", "account could not be read"),
            ("accounts are listed but unknown to Get Rewards", "account is listed but unknown to Get Rewards"),
            ("accounts were not read", "account was not read"),
            ("rewards without an id could not be kept", "reward without an id could not be kept"),
        ] {
            assert_eq!(one(many), single);
        }
    }
}
