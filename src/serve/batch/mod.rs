//! Batches at the page and the API: a file of refunds goes up, a plan is shown, a lead carries it out, the outcomes come down.
//!
//! Each batch is three files in a folder beside the ledger: what it is, its plan, its outcomes. A file whose columns a person
//! must explain first is kept there until it is planned, for a day at most. All are named by a number that is made here, never by
//! the name that the uploader's file has. A batch whose process died is found as *broken off* and can
//! be carried out again: the ledger knows what was sent. Nothing here may send what its plan does not say.

mod shelf;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) use shelf::{Part, Shelf};
pub(super) use work::cell_of;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::reading::Asked;
use crate::access::Who;
use crate::error::{Error, Kind, Result};
use crate::refunds::read::Parsed;
use crate::refunds::{DecisionKind, Refunds};
use crate::report::Report;
use crate::retract::overrides::Override;
use crate::store::ProcessLock;

/// Bytes of an upload at most.
pub(super) const UPLOAD_AT_MOST: usize = 10 * 1024 * 1024;

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// A person must say what some columns of the file mean; nothing was sent.
    Explaining,
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
            Self::Explaining => "columns to explain",
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
    /// The name of the format that the file was read as; empty while its columns are to be explained.
    #[serde(default)]
    pub(super) format: String,
    /// That format's name for people.
    #[serde(default)]
    pub(super) format_title: String,
    /// Orders by what the file proves of them and, once they are planned, by what the live actions say to that.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(super) decisions: BTreeMap<DecisionKind, usize>,
    /// What a person should know about how the file was read.
    #[serde(default)]
    pub(super) notes: Vec<String>,
    /// Who explained its columns on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) explained_by: Option<String>,
    /// What the request said about how the file is read.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(super) asked: Asked,
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

impl Batch {
    fn new(app: &App, who: &Who, asked: Asked, terms: Terms) -> Result<Self> {
        Ok(Self {
            id: app.shelf.new_id(app.clock.now())?,
            person: who.name.clone(),
            created_at: format!("{:.0}", app.clock.now()),
            stage: Stage::Explaining,
            broken_off: false,
            progress: String::new(),
            message: None,
            format: String::new(),
            format_title: String::new(),
            decisions: BTreeMap::new(),
            notes: Vec::new(),
            explained_by: None,
            asked,
            rows: 0,
            orders: 0,
            value: BTreeMap::new(),
            counts: BTreeMap::new(),
            sent: 0,
            terms,
        })
    }

    /// Takes over how the file was read.
    fn is_read_as(&mut self, refunds: &Refunds) {
        self.stage = Stage::Planning;
        self.format.clone_from(&refunds.reading.format);
        self.format_title = refunds.reading.title();
        self.decisions = refunds.counts();
        self.notes.clone_from(&refunds.notes);
        self.rows = refunds.rows.len();
    }
}

impl App {
    /// Reads an upload, or says which of its columns a person must explain.
    pub(super) fn understand(&self, upload: &[u8], asked: &Asked) -> Result<Parsed> {
        work::understand(upload, &asked.options(&self.desk.options.reading))
    }

    /// Begins to plan a file that was read.
    pub(super) fn begin_batch(
        self: &Arc<Self>,
        who: &Who,
        refunds: Refunds,
        asked: Asked,
        terms: Terms,
    ) -> Result<Batch> {
        self.shelf.sweep(self.clock.now());
        let mut batch = Batch::new(self, who, asked, terms)?;
        batch.is_read_as(&refunds);
        self.plan_batch(who, batch, refunds, None)
    }

    /// Keeps a file until a person explains its columns.
    pub(super) fn keep_to_explain(&self, who: &Who, upload: &[u8], asked: Asked, terms: Terms) -> Result<Batch> {
        self.shelf.sweep(self.clock.now());
        let batch = Batch::new(self, who, asked, terms)?;
        self.shelf.put(&batch.id, Part::Upload, upload)?;
        self.shelf.keep(&batch)?;
        Ok(batch)
    }

    /// A batch whose columns are to be explained, and its file.
    pub(super) fn to_explain(&self, id: &str) -> Result<(Batch, Vec<u8>)> {
        let batch = self.batch(id)?;
        if batch.stage != Stage::Explaining {
            return Err(explained_before(id));
        }
        let upload = self.shelf.get(id, Part::Upload)?;
        Ok((batch, upload))
    }

    /// Begins to plan a file whose columns `who` has explained.
    pub(super) fn plan_explained(
        self: &Arc<Self>,
        who: &Who,
        mut batch: Batch,
        refunds: Refunds,
        asked: Asked,
    ) -> Result<Batch> {
        (batch.asked, batch.explained_by) = (asked, Some(who.name.clone()));
        batch.is_read_as(&refunds);
        self.plan_batch(who, batch, refunds, Some(Stage::Explaining))
    }

    fn plan_batch(self: &Arc<Self>, who: &Who, batch: Batch, refunds: Refunds, before: Option<Stage>) -> Result<Batch> {
        self.at_batch(who, batch.clone(), before, async move |app, who, batch, report| {
            match work::plan(&app.desk, who, &refunds, batch, report).await {
                Ok(plan) => {
                    app.shelf.put(&batch.id, Part::Plan, &plan)?;
                    batch.stage = Stage::Planned;
                }
                Err(error) => {
                    batch.stage = Stage::Failed;
                    batch.message = Some(said(&error));
                }
            }
            app.shelf.remove(&batch.id, Part::Upload);
            Ok(())
        })?;
        Ok(batch)
    }

    /// Carries a plan out, in the name of whoever asked for it.
    pub(super) fn apply_batch(self: &Arc<Self>, who: &Who, id: &str) -> Result<Batch> {
        let mut batch = self.batch(id)?;
        let before = batch.stage;
        let goes = matches!(batch.stage, Stage::Planned | Stage::Waiting | Stage::Done) || batch.broken_off;
        if !goes || batch.stage == Stage::Failed || (batch.broken_off && batch.stage == Stage::Planning) {
            let stage = batch.stage.as_str();
            return Err(Error::new(Kind::Refused, format!("batch {id} is {stage}; nothing was sent"))
                .hint("a plan is carried out once it is there; bring the file again where it broke off"));
        }
        (batch.stage, batch.broken_off, batch.message) = (Stage::Applying, false, None);
        self.at_batch(who, batch.clone(), Some(before), async move |app, who, batch, report| {
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
        // Asked first: what ends in between has kept its last stage by then.
        let running = self.shelf.running(id);
        let mut batch = self.shelf.batch(id)?;
        if let Some((stage, report)) = running {
            // The last stage counts once the work has let go of the batch: whoever sees it may go on.
            (batch.stage, batch.progress) = (stage, report.latest());
        } else if matches!(batch.stage, Stage::Planning | Stage::Applying) {
            // Another process may be at it.
            batch.broken_off = ProcessLock::try_take(&self.shelf.path(id), "batch")?.is_some();
        }
        Ok(batch)
    }

    /// Works at a batch behind the request, alone; what comes of it is on the shelf. `before` is the stage that the request has
    /// seen: fails if another request has moved the batch on since.
    fn at_batch(
        self: &Arc<Self>,
        who: &Who,
        mut batch: Batch,
        before: Option<Stage>,
        work: impl AsyncFnOnce(&App, &Who, &mut Batch, &Report) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let path = self.shelf.path(&batch.id);
        let lock = ProcessLock::try_take(&path, "batch")?.ok_or_else(|| {
            Error::new(Kind::Busy, format!("somebody is at batch {} already", batch.id)).hint("watch it on its page")
        })?;
        if let Some(before) = before
            && self.shelf.batch(&batch.id)?.stage != before
        {
            return Err(Error::new(Kind::Busy, format!("batch {} has moved on in the meantime", batch.id))
                .hint("look at its page again"));
        }
        self.shelf.keep(&batch)?;
        let report = Arc::new(Report::silent());
        self.shelf.begun(&batch.id, batch.stage, Arc::clone(&report));
        let (app, who, runtime) = (Arc::clone(self), who.clone(), tokio::runtime::Handle::current());
        self.tasks.spawn_blocking(move || {
            let done = runtime.block_on(work(&app, &who, &mut batch, &report));
            if let Err(error) = &done {
                batch.message = Some(said(error));
            }
            if let Err(error) = done.and_then(|()| app.shelf.keep(&batch)) {
                tracing::error!(kind = error.kind.name(), "a batch could not be kept: {}", error.message);
            }
            drop(lock);
            app.shelf.ended(&batch.id);
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

fn explained_before(id: &str) -> Error {
    Error::new(Kind::Refused, format!("no column of batch {id} is to be explained any more; nothing was sent"))
        .hint("look at its page again")
}

/// Whether an upload is kept no longer.
fn is_older_than_a_day(created_at: &str, now: Timestamp) -> bool {
    created_at.parse::<Timestamp>().is_ok_and(|at| now.duration_since(at) > jiff::SignedDuration::from_hours(24))
}

/// Removes what is old, every hour until the service ends.
pub(super) async fn sweep_regularly(app: Arc<App>) {
    loop {
        app.shelf.sweep(app.clock.now());
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_hours(1)) => {}
        }
    }
}

/// So long a batch stays on the shelf.
fn is_old(created_at: &str, now: Timestamp) -> bool {
    let kept = jiff::SignedDuration::from_hours(90 * 24);
    created_at.parse::<Timestamp>().is_ok_and(|at| now.duration_since(at) > kept)
}
