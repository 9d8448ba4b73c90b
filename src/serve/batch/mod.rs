//! Batches at the page and the API: a file of refunds goes up, a plan is shown, a lead carries it out, the outcomes come down.
//!
//! Each batch is three files in a folder of its own beside the ledger: what it is, its plan, its outcomes. They lie under a
//! number that is made here, never under the name that somebody gave. A batch whose process died is found as *broken off* and can
//! be carried out again: the ledger knows what was sent. Nothing here may send what its plan does not say.

mod shelf;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use shelf::{Part, Shelf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::app::App;
use crate::access::Who;
use crate::error::{Error, Kind, Result};
use crate::report::Report;
use crate::retract::overrides::Override;
use crate::store::ProcessLock;

/// Bytes of an upload at most.
pub(super) const UPLOAD_AT_MOST: usize = 10 * 1024 * 1024;

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Every row is being checked; nothing is sent.
    Planning,
    /// The plan is there; nothing was sent.
    Planned,
    /// It is being carried out.
    Applying,
    /// A second person must approve it; nothing was sent.
    Waiting,
    /// It was carried out; the outcomes are there.
    Done,
    /// It could not be planned; nothing was sent.
    Failed,
}

impl Stage {
    /// The words for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Planned => "planned",
            Self::Applying => "applying",
            Self::Waiting => "waiting for approval",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// One batch.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Batch {
    /// Its number, made here.
    pub(super) id: String,
    /// Who brought the file.
    pub(super) person: String,
    /// When, RFC 3339.
    pub(super) created_at: String,
    /// Where it stands.
    pub(super) stage: Stage,
    /// Nobody is at it, although somebody was: the process has died.
    #[serde(default, skip_deserializing)]
    pub(super) broken_off: bool,
    /// How far it is.
    #[serde(default, skip_deserializing)]
    pub(super) progress: String,
    /// What ended it, or what it waits for.
    pub(super) message: Option<String>,
    /// Rows of the file.
    pub(super) rows: usize,
    /// Orders that would be sent.
    pub(super) orders: usize,
    /// What their standing rewards are worth, by unit.
    pub(super) value: BTreeMap<String, i64>,
    /// Rows by what is to be done with them, and then by their outcome.
    pub(super) counts: BTreeMap<String, u64>,
    /// What was sent.
    pub(super) sent: usize,
    /// What is asked for with it.
    #[serde(flatten)]
    pub(super) terms: Terms,
}

/// What is asked for all rows that do not say it themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Terms {
    /// The code that goes to the vendor as it is; `RETRACTION` where it is left out.
    pub(super) disposition: Option<String>,
    /// Why, in a person's words.
    pub(super) reason: Option<String>,
    /// A ticket.
    pub(super) ticket: Option<String>,
    /// Stops to go on in spite of.
    #[serde(default)]
    pub(super) overrides: Vec<Override>,
}

impl App {
    /// Takes a file of refunds, and begins to plan it.
    pub(super) fn begin_batch(self: &Arc<Self>, who: &Who, upload: Vec<u8>, terms: Terms) -> Result<Batch> {
        // What cannot be read at all is said at once.
        let refunds = work::read(&upload)?;
        let batch = Batch {
            id: self.shelf.new_id(self.clock.now())?,
            person: who.name.clone(),
            created_at: format!("{:.0}", self.clock.now()),
            stage: Stage::Planning,
            broken_off: false,
            progress: String::new(),
            message: None,
            rows: refunds.rows.len(),
            orders: 0,
            value: BTreeMap::new(),
            counts: BTreeMap::new(),
            sent: 0,
            terms,
        };
        self.shelf.sweep(self.clock.now());
        self.at_batch(who, batch.clone(), async move |app, who, batch, report| {
            match work::plan(&app.desk, who, &upload, batch, report).await {
                Ok(plan) => {
                    app.shelf.put(&batch.id, shelf::Part::Plan, &plan)?;
                    batch.stage = Stage::Planned;
                }
                Err(error) => {
                    batch.stage = Stage::Failed;
                    batch.message = Some(said(&error));
                }
            }
            Ok(())
        })?;
        Ok(batch)
    }

    /// Carries a plan out, in the name of whoever asked for it.
    pub(super) fn apply_batch(self: &Arc<Self>, who: &Who, id: &str) -> Result<Batch> {
        let mut batch = self.batch(id)?;
        let goes = matches!(batch.stage, Stage::Planned | Stage::Waiting | Stage::Done) || batch.broken_off;
        if !goes || batch.stage == Stage::Failed || (batch.broken_off && batch.stage == Stage::Planning) {
            let stage = batch.stage.as_str();
            return Err(Error::new(Kind::Refused, format!("batch {id} is {stage}; nothing was sent"))
                .hint("a plan is carried out once it is there; bring the file again where it broke off"));
        }
        (batch.stage, batch.broken_off, batch.message) = (Stage::Applying, false, None);
        self.at_batch(who, batch.clone(), async move |app, who, batch, report| {
            let plan = app.shelf.get(&batch.id, shelf::Part::Plan)?;
            match work::apply(&app.desk, who, &plan, batch, report).await {
                Ok(outcomes) => {
                    app.shelf.put(&batch.id, shelf::Part::Outcomes, &outcomes)?;
                    batch.stage = Stage::Done;
                }
                Err(error) => {
                    let waits = error.kind == Kind::NeedsApproval;
                    batch.stage = if waits { Stage::Waiting } else { Stage::Planned };
                    batch.message = Some(said(&error));
                }
            }
            Ok(())
        })?;
        Ok(batch)
    }

    /// One batch, as it stands.
    pub(super) fn batch(&self, id: &str) -> Result<Batch> {
        let mut batch = self.shelf.batch(id)?;
        if matches!(batch.stage, Stage::Planning | Stage::Applying) {
            match self.shelf.report(id) {
                Some(report) => batch.progress = report.latest(),
                // Another process may be at it.
                None => batch.broken_off = ProcessLock::try_take(&self.shelf.path(id), "batch")?.is_some(),
            }
        }
        Ok(batch)
    }

    /// Works at a batch behind the request, alone; what comes of it is on the shelf.
    fn at_batch(
        self: &Arc<Self>,
        who: &Who,
        mut batch: Batch,
        work: impl AsyncFnOnce(&App, &Who, &mut Batch, &Report) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let path = self.shelf.path(&batch.id);
        let lock = ProcessLock::try_take(&path, "batch")?.ok_or_else(|| {
            Error::new(Kind::Busy, format!("somebody is at batch {} already", batch.id)).hint("watch it on its page")
        })?;
        self.shelf.keep(&batch)?;
        let report = Arc::new(Report::silent());
        self.shelf.begun(&batch.id, Arc::clone(&report));
        let (app, who, runtime) = (Arc::clone(self), who.clone(), tokio::runtime::Handle::current());
        self.tasks.spawn_blocking(move || {
            let done = runtime.block_on(work(&app, &who, &mut batch, &report));
            if let Err(error) = &done {
                batch.message = Some(said(error));
            }
            if let Err(error) = done.and_then(|()| app.shelf.keep(&batch)) {
                tracing::error!(kind = error.kind.name(), "a batch could not be kept: {}", error.message);
            }
            app.shelf.ended(&batch.id);
            drop(lock);
        });
        Ok(())
    }
}

/// An error as one sentence.
fn said(error: &Error) -> String {
    match &error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message.clone(),
    }
}

/// So long a batch stays on the shelf.
fn is_old(created_at: &str, now: Timestamp) -> bool {
    let kept = jiff::SignedDuration::from_hours(90 * 24);
    created_at.parse::<Timestamp>().is_ok_and(|at| now.duration_since(at) > kept)
}
