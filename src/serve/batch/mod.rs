//! Batches: a file of refunds is uploaded, planned, shown, carried out by a lead, and its outcomes are downloaded.
//!
//! Each batch is a few files beside the ledger: metadata, plan and outcomes, named by a random ID and never by the name of the
//! upload. A file whose columns a person must explain first is kept until it is planned, for a day at most. A batch whose process died
//! counts as *broken off* and can be carried out again: the ledger knows what was sent. Only what the plan says is sent.

mod jobs;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) use jobs::cell_of;
pub(super) use store::{BatchStore, Part};

use serde::{Deserialize, Serialize};

use super::app::App;
use super::extractors::Fields;
use super::file_options::FileOptions;
use crate::access::Who;
use crate::error::{Error, Kind, Result};
use crate::refunds::read::{self, Parsed};
use crate::refunds::{DecisionKind, Refunds};
use crate::report::Report;
use crate::retract::overrides::Override;
use crate::retract::request::parse_overrides;
use crate::store::ProcessLock;

/// The largest upload, in bytes.
pub(super) const UPLOAD_AT_MOST: usize = 10 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// A person must say what some columns of the file mean; nothing was sent.
    Explaining,
    /// Every row is being checked; nothing is sent.
    Planning,
    /// The plan is ready; nothing was sent.
    Planned,
    /// The plan is being carried out.
    Applying,
    /// A second person must approve it; nothing was sent.
    Waiting,
    /// The plan was carried out, and the outcomes are ready.
    Done,
    /// The file could not be planned; nothing was sent.
    Failed,
}

impl Stage {
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

#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Batch {
    /// Random, made by the service.
    pub(super) id: String,
    /// The user who uploaded the file.
    pub(super) person: String,
    /// RFC 3339.
    pub(super) created_at: String,
    pub(super) stage: Stage,
    /// The process that was planning or applying it has died.
    #[serde(default, skip_deserializing)]
    pub(super) broken_off: bool,
    /// The newest line of progress.
    #[serde(default, skip_deserializing)]
    pub(super) progress: String,
    /// Why it failed, or what it waits for.
    pub(super) message: Option<String>,
    /// The name of the file's format; empty until its columns are explained.
    #[serde(default)]
    pub(super) format: String,
    /// The format's name for people.
    #[serde(default)]
    pub(super) format_title: String,
    /// Orders by what the file proves of them and, after planning, by what the live actions say to that.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(super) decisions: BTreeMap<DecisionKind, usize>,
    /// Remarks on how the file was read.
    #[serde(default)]
    pub(super) notes: Vec<String>,
    /// The user who explained the columns on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) explained_by: Option<String>,
    /// What the request says about how the file is read.
    #[serde(default, rename = "asked")]
    #[schema(value_type = Object)]
    pub(super) file_options: FileOptions,
    /// Rows of the file.
    pub(super) rows: usize,
    /// Orders that would be sent.
    pub(super) orders: usize,
    /// The value of their rewards that stand, by unit.
    pub(super) value: BTreeMap<String, i64>,
    /// Rows by plan, and later by outcome.
    pub(super) counts: BTreeMap<String, u64>,
    /// Retractions that were sent.
    pub(super) sent: usize,
    #[serde(flatten)]
    pub(super) terms: Terms,
}

/// What applies to each row that does not say it itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Terms {
    /// The code for the vendor; `RETRACTION` if it is missing.
    pub(super) disposition: Option<String>,
    /// A person's reason, for the ledger.
    pub(super) reason: Option<String>,
    pub(super) ticket: Option<String>,
    /// Checks to override, by name.
    #[serde(default)]
    pub(super) overrides: Vec<Override>,
}

impl Terms {
    /// Fails without a reason, or at an unknown override.
    pub(super) fn of(fields: &Fields) -> Result<Self> {
        let reason = fields.text("reason");
        if reason.is_none() {
            return Err(Error::new(Kind::Usage, "a batch needs a reason").hint("the ledger keeps it"));
        }
        let overrides = parse_overrides(fields.all("override"))?;
        Ok(Self { disposition: fields.text("disposition"), reason, ticket: fields.text("ticket"), overrides })
    }
}

/// What a batch does in the background.
enum Job {
    Plan(Box<Refunds>),
    Apply,
}

impl Batch {
    fn new(app: &App, who: &Who, file_options: FileOptions, terms: Terms) -> Result<Self> {
        Ok(Self {
            id: app.batches.new_id(app.clock.now())?,
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
            file_options,
            rows: 0,
            orders: 0,
            value: BTreeMap::new(),
            counts: BTreeMap::new(),
            sent: 0,
            terms,
        })
    }

    /// Records how the file was read; the next step is planning.
    fn set_reading(&mut self, refunds: &Refunds) {
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
    pub(super) fn read_upload(&self, upload: &[u8], options: &FileOptions) -> Result<Parsed> {
        read::parse(jobs::NAME, upload, &options.options(&self.actions.settings.reading))
    }

    /// Starts planning a file.
    pub(super) fn plan_batch(
        self: &Arc<Self>,
        who: &Who,
        refunds: Refunds,
        options: FileOptions,
        terms: Terms,
    ) -> Result<Batch> {
        self.batches.remove_old(self.clock.now());
        let mut batch = Batch::new(self, who, options, terms)?;
        batch.set_reading(&refunds);
        self.start(who, batch, None, Job::Plan(Box::new(refunds)))
    }

    /// Stores a file until a person explains its columns.
    pub(super) fn store_upload(&self, who: &Who, upload: &[u8], options: FileOptions, terms: Terms) -> Result<Batch> {
        self.batches.remove_old(self.clock.now());
        let batch = Batch::new(self, who, options, terms)?;
        self.batches.write(&batch.id, Part::Upload, upload)?;
        self.batches.save(&batch)?;
        Ok(batch)
    }

    /// A batch whose columns must be explained, and its file.
    pub(super) fn stored_upload(&self, id: &str) -> Result<(Batch, Vec<u8>)> {
        let batch = self.batch(id)?;
        if batch.stage != Stage::Explaining {
            return Err(Error::new(
                Kind::Refused,
                format!("the columns of batch {id} are explained; nothing was sent"),
            )
            .hint("reload its page"));
        }
        let upload = self.batches.read(id, Part::Upload)?;
        Ok((batch, upload))
    }

    /// Starts planning a file whose columns `who` has explained.
    pub(super) fn plan_explained(
        self: &Arc<Self>,
        who: &Who,
        mut batch: Batch,
        refunds: Refunds,
        options: FileOptions,
    ) -> Result<Batch> {
        (batch.file_options, batch.explained_by) = (options, Some(who.name.clone()));
        batch.set_reading(&refunds);
        self.start(who, batch, Some(Stage::Explaining), Job::Plan(Box::new(refunds)))
    }

    /// Starts carrying out a plan in the name of `who`.
    pub(super) fn apply_batch(self: &Arc<Self>, who: &Who, id: &str) -> Result<Batch> {
        let mut batch = self.batch(id)?;
        let before = batch.stage;
        let can_apply = match batch.stage {
            Stage::Planned | Stage::Waiting | Stage::Done => true,
            Stage::Applying => batch.broken_off,
            Stage::Explaining | Stage::Planning | Stage::Failed => false,
        };
        if !can_apply {
            let stage = batch.stage.as_str();
            return Err(Error::new(Kind::Refused, format!("batch {id} is {stage}; nothing was sent")).hint(
                "a batch can be carried out once it is planned; if planning was cut off, upload the file again",
            ));
        }
        (batch.stage, batch.broken_off, batch.message) = (Stage::Applying, false, None);
        self.start(who, batch, Some(before), Job::Apply)
    }

    /// The batch in its present stage.
    pub(super) fn batch(&self, id: &str) -> Result<Batch> {
        // Read before the metadata: work that ends in between has saved its last stage by then.
        let running = self.batches.running(id);
        let mut batch = self.batches.batch(id)?;
        if let Some((stage, report)) = running {
            // The saved last stage counts only after the work has released its lock, so that the next step can take it.
            (batch.stage, batch.progress) = (stage, report.latest());
        } else if matches!(batch.stage, Stage::Planning | Stage::Applying) {
            // Unless another process holds the lock, the process that worked on it has died.
            batch.broken_off = ProcessLock::try_take(&self.batches.path(id), "batch")?.is_some();
        }
        Ok(batch)
    }

    /// Starts a job in the background under the batch's lock; the store has its outcome. Fails if another request has changed the
    /// stage `before` that this request has seen.
    fn start(self: &Arc<Self>, who: &Who, mut batch: Batch, before: Option<Stage>, job: Job) -> Result<Batch> {
        let path = self.batches.path(&batch.id);
        let lock = ProcessLock::try_take(&path, "batch")?.ok_or_else(|| {
            Error::new(Kind::Busy, format!("batch {} is being worked on already", batch.id))
                .hint("watch it on its page")
        })?;
        if let Some(before) = before
            && self.batches.batch(&batch.id)?.stage != before
        {
            return Err(Error::new(Kind::Busy, format!("batch {} has changed in the meantime", batch.id))
                .hint("reload its page"));
        }
        self.batches.save(&batch)?;
        let started = batch.clone();
        let report = Arc::new(Report::silent());
        self.batches.set_running(&batch.id, batch.stage, Arc::clone(&report));
        let (app, who) = (Arc::clone(self), who.clone());
        self.actions.tasks.spawn(async move {
            let done = app.run_job(job, &who, &mut batch, &report).await;
            if let Err(error) = &done {
                batch.message = Some(sentence(error));
            }
            if let Err(error) = done.and_then(|()| app.batches.save(&batch)) {
                tracing::error!(kind = error.kind.name(), "a batch could not be saved: {}", error.message);
            }
            drop(lock);
            app.batches.clear_running(&batch.id);
        });
        Ok(started)
    }

    /// An error means that the outcome could not be stored; why a job failed is in the batch.
    async fn run_job(&self, job: Job, who: &Who, batch: &mut Batch, report: &Report) -> Result<()> {
        match job {
            Job::Plan(refunds) => {
                match jobs::plan(&self.actions, who, &refunds, batch, report).await {
                    Ok(plan) => {
                        self.batches.write(&batch.id, Part::Plan, &plan)?;
                        batch.stage = Stage::Planned;
                    }
                    Err(error) => {
                        batch.stage = Stage::Failed;
                        batch.message = Some(sentence(&error));
                    }
                }
                self.batches.remove(&batch.id, Part::Upload);
            }
            Job::Apply => {
                let plan = self.batches.read(&batch.id, Part::Plan)?;
                match jobs::apply(&self.actions, who, &plan, batch, report).await {
                    Ok(outcomes) => {
                        self.batches.write(&batch.id, Part::Outcomes, &outcomes)?;
                        batch.stage = Stage::Done;
                    }
                    Err(error) => {
                        let waits = error.kind == Kind::NeedsApproval;
                        batch.stage = if waits { Stage::Waiting } else { Stage::Planned };
                        batch.message = Some(sentence(&error));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Message and hint of an error.
fn sentence(error: &Error) -> String {
    match &error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message.clone(),
    }
}

/// Removes old batches every hour until the service stops.
pub(super) async fn sweep_hourly(app: Arc<App>) {
    loop {
        app.batches.remove_old(app.clock.now());
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_hours(1)) => {}
        }
    }
}
