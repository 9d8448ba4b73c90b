//! Extracts links again from the rewards as they came, with the mapping of today. No network.
//!
//! Goes over the rewards by row in batches, each its own transaction, and gives the same result however often it is
//! interrupted and begun again. It changes links and what is counted of them, never a reward or when it was read. What is in
//! doubt about the run that answers rest on follows, both ways; from the first batch to the last, that run is in doubt.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{NO_LINKS, Outcome, UNREADABLE, interrupted, no_orders, take_lock};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::{self, Mapping};
use crate::report::{Report, grouped};
use crate::store::Identity;
use crate::store::index::{Index, Reextracted, Run, RunState};

/// Rewards in one batch.
const BATCH: usize = 2000;
/// The gap of a run whose links are partly those of the mapping before.
const UNDER_WAY: &str = "an extraction is under way: some links are still those of the mapping before";

/// Runs over every kept reward.
pub async fn run(
    index_path: &Path,
    identity: &Identity,
    mapping: &Mapping,
    wait_for_lock: bool,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<Outcome> {
    let began = clock.now();
    let _lock = take_lock(index_path, wait_for_lock, clock, stop, report).await?;
    let mut index = Index::open(index_path, identity)?;
    let Some(run) = index.newest_run()? else {
        return Err(
            Error::new(Kind::NotIndexed, "there are no rewards to extract from").hint("run `recoup crawl` first")
        );
    };
    let finished = index.newest_finished_run()?;
    if let Some(finished) = &finished {
        let mut gaps = lasting(finished);
        gaps.push(UNDER_WAY.to_owned());
        index.set_gaps(finished.run, &gaps)?;
    }
    let progress = report.progress("rewards extracted");
    let (mut after, mut done, mut orders, mut unreadable) = (0, 0, 0_u64, 0);
    loop {
        if stop.is_cancelled() {
            return Err(interrupted(
                "run `recoup crawl --from-raw` again: it begins anew; until then, answers say that an extraction is under way",
            ));
        }
        let raw = index.raw_after(after, BATCH)?;
        let Some((last, _, _)) = raw.last() else { break };
        after = *last;
        done += raw.len() as u64;
        let mut batch = Vec::with_capacity(raw.len());
        for (row, account, raw) in &raw {
            // An earlier recoup kept rewards that contradict themselves: their links stay as they are, and the gap is named.
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
        // Ctrl-C is noticed by the runtime, which this loop would otherwise keep to itself.
        tokio::task::yield_now().await;
    }
    drop(progress);
    let no_orders = if done > 0 && orders == 0 { Some(no_orders(&index, &run)?) } else { None };
    if let Some(finished) = &finished {
        let mut gaps = lasting(finished);
        if unreadable > 0 {
            gaps.push(format!("{} {UNREADABLE}", grouped(unreadable)));
        }
        if no_orders.is_some() {
            gaps.push(NO_LINKS.to_owned());
        }
        index.set_gaps(finished.run, &gaps)?;
    }
    if let Some(error) = no_orders {
        return Err(error);
    }
    let shown = finished.as_ref().unwrap_or(&run).run;
    let state = index.run(shown)?.ok_or_else(super::lost_run)?;
    let mut outcome = Outcome::new(&state, clock.now().duration_since(began).as_secs_f64());
    "raw".clone_into(&mut outcome.source);
    outcome.requests = 0;
    if run.state == RunState::Running {
        let unfinished = format!("run {} is unfinished, and its rewards so far were extracted again", run.run);
        if finished.is_some() {
            report.note(format!("{unfinished}; `recoup crawl` goes on with it"));
        } else {
            outcome.unfinished = true;
            outcome.gaps = vec![unfinished];
        }
    }
    Ok(outcome)
}

/// What is in doubt about a run whatever the mapping.
fn lasting(run: &Run) -> Vec<String> {
    let of_mapping = |gap: &String| gap == NO_LINKS || gap == UNDER_WAY || gap.ends_with(UNREADABLE);
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

    struct Bench {
        dir: TempDir,
        identity: Identity,
        stop: CancellationToken,
    }

    impl Bench {
        /// An index with one reward, of a run that has ended with these gaps, or has not.
        fn new(finished: Option<&[&str]>) -> Self {
            let identity = Identity::of_a_test();
            let bench = Self { dir: TempDir::new().expect("a folder"), identity, stop: CancellationToken::new() };
            let at = Timestamp::UNIX_EPOCH;
            let mut index = bench.index();
            let (run, _) = index.begin_run(NewRun::of("participants"), at).expect("begins");
            let (account, raw) = (AccountId::new("a"), r#"{"id": "r", "orderId": "o", "ref": "x", "odd": 1.5}"#);
            let extracted = extract::read(raw, &account, &Mapping::default()).expect("a reward");
            index.record_live(&account, vec![ReadReward::new(extracted, raw)], 0, at).expect("records");
            if let Some(gaps) = finished {
                let gaps: Vec<String> = gaps.iter().map(|gap| (*gap).to_owned()).collect();
                index.finish_run(run, &gaps, at).expect("ends");
            }
            bench
        }

        fn index(&self) -> Index {
            Index::open(&self.dir.path().join("recoup.db"), &self.identity).expect("opens")
        }

        async fn extract(&self, path: &str) -> Result<Outcome> {
            let mapping = Mapping::new(&[path.to_owned()], &[]).expect("a path");
            let index = self.dir.path().join("recoup.db");
            let report = Report::new(true, true);
            super::run(&index, &self.identity, &mapping, false, &Clock::system(), &self.stop, &report).await
        }

        fn gaps(&self) -> (bool, Vec<String>) {
            let run = self.index().newest_run().expect("reads").expect("one");
            (run.complete, run.gaps)
        }
    }

    #[tokio::test]
    async fn a_mapping_that_finds_nothing_opens_the_gap_and_a_good_one_closes_it() {
        let bench = Bench::new(Some(&[]));
        assert_eq!(bench.extract("$.nothing").await.expect_err("loud").kind, Kind::NoLinks);
        assert_eq!(bench.gaps(), (false, vec![NO_LINKS.to_owned()]));
        let outcome = bench.extract("$.odd").await.expect_err("still none");
        assert_eq!(outcome.kind, Kind::NoLinks);
        assert_eq!(bench.gaps(), (false, vec![format!("1 {UNREADABLE}"), NO_LINKS.to_owned()]));
        let outcome = bench.extract("$.ref").await.expect("a mapping that fits");
        assert!(outcome.complete && outcome.gaps.is_empty() && outcome.unreadable == 0, "{outcome:?}");
        assert_eq!(bench.gaps(), (true, Vec::new()));
    }

    #[tokio::test]
    async fn a_gap_that_is_not_the_mapping_s_stays() {
        let bench = Bench::new(Some(&["3 accounts could not be read", NO_LINKS, UNDER_WAY]));
        let outcome = bench.extract("$.ref").await.expect("a mapping that fits");
        assert_eq!((outcome.complete, outcome.gaps), (false, vec!["3 accounts could not be read".to_owned()]));
    }

    #[tokio::test]
    async fn an_interrupted_extraction_leaves_the_run_in_doubt() {
        let bench = Bench::new(Some(&[]));
        bench.stop.cancel();
        assert_eq!(bench.extract("$.ref").await.expect_err("stopped").kind, Kind::Interrupted);
        assert_eq!(bench.gaps(), (false, vec![UNDER_WAY.to_owned()]));
    }

    #[tokio::test]
    async fn an_unfinished_run_is_said_to_be_unfinished() {
        let bench = Bench::new(None);
        let outcome = bench.extract("$.ref").await.expect("extracted");
        assert!(!outcome.complete && !outcome.gaps.is_empty(), "{outcome:?}");
        assert!(outcome.hint().contains("goes on"), "{}", outcome.hint());
        assert_eq!(bench.gaps(), (false, Vec::new()), "the crawl says what is in doubt when it ends");
    }
}
