//! What a batch is at present: its stage in words, its counts by the ledger, and whether it waits for a person.
//!
//! The counts need the plan, the outcomes and the ledger. They are cached until the ledger changes or a run ends, because the
//! list and the start page need the counts of every batch.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use super::{Batch, Outcomes, Stage};
use crate::error::{Error, Kind, Result};
use crate::retract::batch::Outcome;
use crate::serve::app::App;

/// The counts of applied batches, by ID.
#[derive(Default)]
pub(super) struct CountCache(Mutex<HashMap<String, (CountedAt, Counts)>>);

/// The state on which the counts of a batch depend.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CountedAt {
    /// The hash of the ledger's newest event; `None` without a ledger.
    head: Option<String>,
    ended_at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) struct Counts {
    by_code: BTreeMap<String, u64>,
    open: u64,
    left: u64,
    sent: usize,
}

impl Counts {
    pub(in crate::serve) fn of(outcomes: &Outcomes) -> Self {
        Self { by_code: outcomes.counts(), open: outcomes.open(), left: outcomes.left(), sent: outcomes.sent }
    }
}

impl CountCache {
    fn get(&self, id: &str, at: &CountedAt) -> Option<Counts> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.get(id).filter(|(of, _)| of == at).map(|(_, counts)| counts.clone())
    }

    fn set(&self, id: &str, at: CountedAt, counts: Counts) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), (at, counts));
    }

    pub(super) fn remove(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl Batch {
    /// Replaces the counts of a batch by the counts of its present outcomes.
    pub(in crate::serve) fn set_counts(&mut self, counts: Counts) {
        (self.counts, self.open, self.left, self.sent) = (counts.by_code, counts.open, counts.left, counts.sent);
    }

    /// Returns a batch that cannot be read, with the reason.
    pub(in crate::serve) fn unreadable(self, error: &Error) -> Self {
        Self { stage: Stage::Unreadable, broken_off: false, message: Some(super::sentence(error)), ..self }
    }

    /// Describes the stage of a batch for people. An applied batch is *done* only if every row was attempted and its outcome is final.
    pub(in crate::serve) fn words(&self) -> String {
        if self.broken_off {
            return "broken off".to_owned();
        }
        if self.stage != Stage::Done {
            return self.stage.as_str().to_owned();
        }
        let failed = self.rows_with(&[Outcome::Failed]);
        let counts = [(self.open, "open"), (self.left, "not attempted"), (failed, "failed")];
        let words: Vec<String> = counts
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| format!("{} {word}", crate::model::grouped(n)))
            .collect();
        if words.is_empty() { "done".to_owned() } else { words.join(", ") }
    }

    /// Returns the CSS class of the stage.
    pub(in crate::serve) fn tone(&self) -> &'static str {
        match self.stage {
            _ if self.broken_off => "bad",
            Stage::Failed | Stage::Unreadable => "bad",
            Stage::Done if self.rows_with(&[Outcome::Failed, Outcome::Unconfirmed, Outcome::Unknown]) > 0 => "bad",
            Stage::Done if self.open == 0 && self.left == 0 => "good",
            _ => "open",
        }
    }

    /// Returns `true` if a person must act on this batch or wait for it.
    pub(in crate::serve) fn is_unfinished(&self) -> bool {
        match self.stage {
            Stage::Done => self.left > 0,
            Stage::Failed => self.broken_off,
            _ => true,
        }
    }

    fn rows_with(&self, outcomes: &[Outcome]) -> u64 {
        outcomes.iter().filter_map(|outcome| self.counts.get(&outcome.code())).sum()
    }
}

impl App {
    /// Returns all batches in their present stages, newest first. A batch that cannot be read is in the list, with the reason.
    pub(in crate::serve) fn present_batches(&self) -> Result<impl DoubleEndedIterator<Item = Batch> + '_> {
        Ok(self.batches.list()?.into_iter().filter_map(|stored| self.present_batch(stored)))
    }

    /// Returns a listed batch in its present stage; `None` if it was removed since it was listed.
    pub(in crate::serve) fn present_batch(&self, stored: Batch) -> Option<Batch> {
        if stored.stage == Stage::Unreadable {
            return Some(stored);
        }
        match self.batch_with_open(&stored.id) {
            Ok(batch) => Some(batch),
            Err(error) => match self.batches.batch(&stored.id) {
                Err(gone) if gone.kind == Kind::NotIndexed => None,
                _ => Some(stored.unreadable(&error)),
            },
        }
    }

    /// Replaces the counts of an applied batch by those of its present outcomes.
    pub(super) fn count_outcomes(&self, batch: &mut Batch) -> Result<()> {
        if !matches!(batch.stage, Stage::Applying | Stage::Done) {
            return Ok(());
        }
        let head = self.ledger.with(|ledger| ledger.map(|ledger| Ok(ledger.head()?.hash)).transpose())?;
        let at = CountedAt { head, ended_at: batch.ended_at.clone() };
        let is_final = batch.stage == Stage::Done && at.ended_at.is_some();
        if let Some(counts) = self.batches.counted.get(&batch.id, &at).filter(|_| is_final) {
            batch.set_counts(counts);
            return Ok(());
        }
        let plan = self.plan_of_batch(&batch.id)?;
        let plan =
            plan.ok_or_else(|| Error::new(Kind::Storage, format!("the plan of batch {} is missing", batch.id)))?;
        if let Some(outcomes) = self.outcomes(batch, &plan)? {
            let counts = Counts::of(&outcomes);
            if is_final {
                self.batches.counted.set(&batch.id, at, counts.clone());
            }
            batch.set_counts(counts);
        }
        Ok(())
    }
}
