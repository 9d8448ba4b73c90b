//! Re-extraction: extracts the links from the stored rewards again, with the current mapping and without the network.
//!
//! Re-extraction reads the stored rewards in batches, with one transaction for each batch. If a re-extraction is
//! interrupted, a user can repeat it with the same result. Re-extraction changes links and their counts, but never a
//! reward or its reading time. Re-extraction updates the gaps of the run that answers use. While a re-extraction is in
//! progress, the run that answers use is not complete.

use tokio_util::sync::CancellationToken;

use super::{CrawlResult, NO_LINKS, UNREADABLE, interrupted, missing_run, no_links_error, take_lock};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::{self, Mapping};
use crate::model::counted;
use crate::report::Report;
use crate::store::index::{Index, Reextracted, Run, RunState};
use crate::store::{Identity, Place};

/// The number of rewards per transaction.
const BATCH: usize = 2000;
/// The gap of a run while some of its links are from the previous mapping.
const IN_PROGRESS: &str = "a re-extraction is in progress: some links are still those of the previous mapping";

/// Extracts the links of every stored reward again.
pub async fn run(
    index_place: &Place,
    identity: &Identity,
    mapping: &Mapping,
    wait_for_lock: bool,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<CrawlResult> {
    let began = clock.now();
    let lock = take_lock(index_place, wait_for_lock, clock, stop, report).await?;
    let mut index = Index::open(index_place, identity)?;
    index.fence(&lock);
    let Some(run) = index.newest_run()? else {
        return Err(
            Error::new(Kind::NotIndexed, "there are no rewards to extract from").hint("run `recoup crawl` first")
        );
    };
    let finished = index.newest_finished_run()?;
    if let Some(finished) = &finished {
        let mut gaps = gaps_of_other_causes(finished);
        gaps.push(IN_PROGRESS.to_owned());
        index.set_gaps(finished.run, &gaps)?;
    }
    let progress = report.progress("rewards extracted");
    let (mut after, mut done, mut orders, mut unreadable) = (0, 0, 0_u64, 0);
    loop {
        if stop.is_cancelled() {
            return Err(interrupted(
                "run `recoup crawl --from-raw` again: it starts over; until then, answers say that a re-extraction is in \
                 progress",
            ));
        }
        let rewards = index.raw_after(after, BATCH)?;
        let Some((last, _, _)) = rewards.last() else { break };
        after = *last;
        done += rewards.len() as u64;
        let mut batch = Vec::with_capacity(rewards.len());
        for (row, account, raw) in &rewards {
            // A stored reward that cannot be read keeps its links, and the gap counts it.
            let Ok(extracted) = extract::read(raw, account, mapping) else {
                unreadable += 1;
                continue;
            };
            orders += u64::from(extracted.order_path.is_some());
            unreadable += extracted.unreadable;
            batch.push(Reextracted { row: *row, extracted });
        }
        index.reextract(&batch)?;
        progress.show(done, Some(run.rewards().max(done)), "");
        // Lets the runtime handle Ctrl-C, because nothing else in this loop yields to it.
        tokio::task::yield_now().await;
    }
    drop(progress);
    let no_links = if done > 0 && orders == 0 { Some(no_links_error(&index, &run)?) } else { None };
    if let Some(finished) = &finished {
        let mut gaps = gaps_of_other_causes(finished);
        if unreadable > 0 {
            gaps.push(format!("{} {UNREADABLE}", counted(unreadable, "value")));
        }
        if no_links.is_some() {
            gaps.push(NO_LINKS.to_owned());
        }
        index.set_gaps(finished.run, &gaps)?;
    }
    if let Some(error) = no_links {
        return Err(error);
    }
    let shown = finished.as_ref().unwrap_or(&run).run;
    let state = index.run(shown)?.ok_or_else(missing_run)?;
    let mut result = CrawlResult::new(&state, clock.now().duration_since(began).as_secs_f64());
    "raw".clone_into(&mut result.source);
    result.requests = 0;
    if run.state == RunState::Running {
        let unfinished = format!("run {} is unfinished; its rewards so far were extracted again", run.run);
        if finished.is_some() {
            report.note(format!("{unfinished}; `recoup crawl` resumes it"));
        } else {
            result.unfinished = true;
            result.gaps = vec![unfinished];
        }
    }
    Ok(result)
}

/// Returns the gaps of a run that do not depend on the mapping.
fn gaps_of_other_causes(run: &Run) -> Vec<String> {
    let of_mapping = |gap: &String| gap == NO_LINKS || gap == IN_PROGRESS || gap.ends_with(UNREADABLE);
    run.gaps.iter().filter(|gap| !of_mapping(gap)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tempfile::TempDir;

    use super::*;
    use crate::error::Result;
    use crate::model::AccountId;
    use crate::store::index::{NewRun, ReadReward};

    struct Fixture {
        dir: TempDir,
        identity: Identity,
        stop: CancellationToken,
    }

    impl Fixture {
        /// Creates an index with one reward for a test. `finished` is the list of gaps of the index's run; `None`
        /// leaves the run unfinished.
        fn new(finished: Option<&[&str]>) -> Self {
            let identity = Identity::of_a_test();
            let fixture = Self { dir: TempDir::new().expect("a folder"), identity, stop: CancellationToken::new() };
            let at = Timestamp::UNIX_EPOCH;
            let mut index = fixture.index();
            let (run, _) = index.begin_run(NewRun::of("participants"), at).expect("begins");
            let (account, raw) = (AccountId::new("a"), r#"{"id": "r", "orderId": "o", "ref": "x", "odd": 1.5}"#);
            let extracted = extract::read(raw, &account, &Mapping::default()).expect("a reward");
            index.record_live(&account, vec![ReadReward::new(extracted, raw)], 0, at).expect("records");
            if let Some(gaps) = finished {
                let gaps: Vec<String> = gaps.iter().map(|gap| (*gap).to_owned()).collect();
                index.finish_run(run, &gaps, at).expect("ends");
            }
            fixture
        }

        fn index(&self) -> Index {
            Index::open(self.dir.path().join("recoup.db"), &self.identity).expect("opens")
        }

        async fn extract(&self, path: &str) -> Result<CrawlResult> {
            let mapping = Mapping::new(&[path.to_owned()], &[]).expect("a path");
            let index = self.dir.path().join("recoup.db");
            let report = Report::new(true, true);
            super::run(&index.into(), &self.identity, &mapping, false, &Clock::system(), &self.stop, &report).await
        }

        fn gaps(&self) -> (bool, Vec<String>) {
            let run = self.index().newest_run().expect("reads").expect("one");
            (run.complete, run.gaps)
        }
    }

    #[tokio::test]
    async fn a_mapping_that_finds_nothing_opens_a_gap_and_a_good_one_closes_it() {
        let fixture = Fixture::new(Some(&[]));
        assert_eq!(fixture.extract("$.nothing").await.expect_err("loud").kind, Kind::NoLinks);
        assert_eq!(fixture.gaps(), (false, vec![NO_LINKS.to_owned()]));
        let result = fixture.extract("$.odd").await.expect_err("still none");
        assert_eq!(result.kind, Kind::NoLinks);
        assert_eq!(fixture.gaps(), (false, vec![format!("1 value {UNREADABLE}"), NO_LINKS.to_owned()]));
        let result = fixture.extract("$.ref").await.expect("a mapping that fits");
        assert!(result.complete && result.gaps.is_empty() && result.unreadable == 0, "{result:?}");
        assert_eq!(fixture.gaps(), (true, Vec::new()));
    }

    #[tokio::test]
    async fn a_gap_of_another_cause_stays() {
        let fixture = Fixture::new(Some(&["3 accounts could not be read", NO_LINKS, IN_PROGRESS]));
        let result = fixture.extract("$.ref").await.expect("a mapping that fits");
        assert_eq!((result.complete, result.gaps), (false, vec!["3 accounts could not be read".to_owned()]));
    }

    #[tokio::test]
    async fn an_interrupted_extraction_leaves_the_run_in_doubt() {
        let fixture = Fixture::new(Some(&[]));
        fixture.stop.cancel();
        assert_eq!(fixture.extract("$.ref").await.expect_err("stopped").kind, Kind::Interrupted);
        assert_eq!(fixture.gaps(), (false, vec![IN_PROGRESS.to_owned()]));
    }

    #[tokio::test]
    async fn an_unfinished_run_is_reported_as_unfinished() {
        let fixture = Fixture::new(None);
        let result = fixture.extract("$.ref").await.expect("extracted");
        assert!(!result.complete && !result.gaps.is_empty(), "{result:?}");
        assert!(result.hint().contains("resume"), "{}", result.hint());
        assert_eq!(fixture.gaps(), (false, Vec::new()), "the crawl sets the gaps when it finishes");
    }
}
