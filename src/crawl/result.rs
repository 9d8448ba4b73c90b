//! The result of a crawl, as JSON for scripts and as text for people.

use serde::Serialize;

use crate::model::time_left::duration;
use crate::model::{counted, grouped};
use crate::store::index::{PatternCount, Run, RunKey};

/// The result of a crawl or of a re-extraction. For a refresh, all counts but `rewards_refreshed` and the requests
/// include the runs that it refreshes.
#[derive(Debug, Clone, Serialize)]
pub struct CrawlResult {
    pub run: RunKey,
    /// The source of the run: `participants`, `graphql` or `export` for a crawl; `raw` for a re-extraction.
    pub source: String,
    pub resumed: bool,
    /// `true` if a re-extraction ran on an unfinished run.
    #[serde(skip)]
    pub unfinished: bool,
    /// The number of accounts that the run has read.
    pub accounts: u64,
    pub accounts_known: u64,
    /// The number of accounts that this run found to be missing at the vendor.
    pub accounts_gone: u64,
    /// The number of accounts that recoup was told to forget. The absence of a forgotten account is not a gap.
    pub accounts_forgotten: u64,
    pub refresh: bool,
    /// The number of rewards that this run itself has read.
    pub rewards_refreshed: u64,
    /// The number of requests that all processes of the run have sent.
    pub requests: u64,
    /// The number of requests for accounts that the run read again only because of their age.
    pub requests_reread: u64,
    pub rewards: u64,
    pub links: u64,
    pub coverage: LinkCounts,
    /// The number of accounts that the run failed to read.
    pub failed_accounts: u64,
    /// The number of rewards without an ID and participants without an account.
    pub unusable: u64,
    /// The number of values under the key of an order ID or ActionId that recoup cannot read exactly.
    pub unreadable: u64,
    /// How often the run has read the list of participants.
    pub sweeps: u64,
    /// `true` if the run has read every known account and `gaps` is empty.
    pub complete: bool,
    /// The reasons why the index may lack rewards, each as a sentence.
    pub gaps: Vec<String>,
    /// The duration of the crawl's process, in seconds.
    pub seconds: f64,
}

/// The number of rewards by the IDs that the rewards contain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LinkCounts {
    /// The number of rewards with one order ID and one ActionId.
    pub both: u64,
    pub order_only: u64,
    pub action_only: u64,
    pub neither: u64,
    /// The number of rewards with several order IDs or several ActionIds.
    pub ambiguous: u64,
    /// The counts of rewards and links for each pair of JSON paths.
    pub paths: Vec<PatternCount>,
}

/// Collects the reasons why a run may lack rewards, as sentences.
#[derive(Debug, Default)]
pub(super) struct Gaps(Vec<String>);

impl Gaps {
    /// Adds a gap of `count` items to the run; adds none if `count` is 0. The `text` of the gap must begin with a
    /// plural noun.
    pub(super) fn count(&mut self, count: u64, text: &str) {
        match count {
            0 => {}
            1 => self.0.push(format!("1 {}", singular(text))),
            _ => self.0.push(format!("{} {text}", grouped(count))),
        }
    }

    pub(super) fn add(&mut self, sentence: String) {
        self.0.push(sentence);
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// Converts the text of a gap to the singular: "accounts were not read" becomes "account was not read".
fn singular(text: &str) -> String {
    let Some((noun, rest)) = text.split_once("s ") else { return text.to_owned() };
    let verb = |many: &str, single: &str| rest.strip_prefix(many).map(|rest| format!("{single} {rest}"));
    let rest = verb("are ", "is").or_else(|| verb("were ", "was")).unwrap_or_else(|| rest.to_owned());
    format!("{noun} {rest}")
}

impl CrawlResult {
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
            coverage: LinkCounts {
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

    /// Returns advice for a crawl result that is not complete.
    pub fn hint(&self) -> &'static str {
        if self.unfinished {
            "run `recoup crawl` to resume it"
        } else if self.failed_accounts > 0 {
            "`recoup status --failed-accounts` lists them; the next `recoup crawl` reads them again"
        } else if self.source == "graphql" || self.source == "export" {
            "`recoup crawl --full` reads everything again"
        } else {
            "the next `recoup crawl` reads everything again"
        }
    }

    /// Returns the crawl result as text.
    pub fn describe(&self) -> String {
        let mut lines = Vec::new();
        if self.refresh {
            let reread = match self.requests_reread {
                0 => String::new(),
                requests => format!(", {} of them for accounts that were due by age", grouped(requests)),
            };
            lines.push(format!(
                "refreshed: {} read in {}{reread}",
                counted(self.rewards_refreshed, "reward"),
                counted(self.requests, "request")
            ));
        }
        lines.extend([
            format!(
                "{} of {} read, {}, {}, in {}",
                grouped(self.accounts),
                counted(self.accounts_known, "account"),
                counted(self.rewards, "reward"),
                counted(self.links, "link"),
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
            let gone = counted(self.accounts_gone, "account");
            lines.push(format!("no longer at the vendor: {gone}; the rewards stay in the index, marked as gone"));
        }
        if self.accounts_forgotten > 0 {
            lines.push(format!("{} forgotten, and left out", counted(self.accounts_forgotten, "account")));
        }
        lines.extend(self.gaps.iter().map(|gap| format!("incomplete: {gap}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::singular;

    #[test]
    fn a_gap_of_one_thing_is_in_the_singular() {
        for (many, one) in [
            ("accounts could not be read", "account could not be read"),
            ("accounts are listed but unknown to Get Rewards", "account is listed but unknown to Get Rewards"),
            ("accounts were not read", "account was not read"),
            ("rewards without an ID could not be kept", "reward without an ID could not be kept"),
        ] {
            assert_eq!(singular(many), one);
        }
    }
}
