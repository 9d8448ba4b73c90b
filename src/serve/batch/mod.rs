//! Batches: a user uploads a file of refunds, reads the plan, applies it, and downloads the outcomes.
//!
//! The service stores the metadata, the plan and the outcomes of a batch as files beside the ledger. The name of these
//! files is a random ID and never the upload's name. The service stores an upload whose columns need an explanation
//! until it is planned, for at most one day. A batch whose process has died is *broken off*. A user can apply such a
//! batch again, because the ledger has every request that was sent. Applying a batch sends only planned actions.

mod jobs;
mod outcomes;
mod store;
mod summary;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) use jobs::{cell_of, code_of};
pub(super) use outcomes::Outcomes;
pub(super) use store::{BatchStore, Part};
pub(super) use summary::Counts;

use serde::{Deserialize, Serialize};

use super::app::App;
use super::extractors::Fields;
use super::file_options::FileOptions;
use crate::access::Principal;
use crate::error::{Error, Kind, Result};
use crate::refunds::read::{self, Parsed};
use crate::refunds::{DecisionKind, Refunds};
use crate::report::Report;
use crate::retract::checks::Override;
use crate::retract::request::parse_overrides;

/// Maximum size of an upload, in bytes.
pub(super) const UPLOAD_AT_MOST: usize = 10 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// A person must explain some columns of the file; nothing was sent.
    Explaining,
    /// The service checks every row; nothing is sent.
    Planning,
    /// The plan is ready; nothing was sent.
    Planned,
    /// The service applies the plan.
    Applying,
    /// A second person must approve it; nothing was sent.
    Waiting,
    /// The plan was applied, and the outcomes are ready. `open` is the number of rows whose outcome may still change.
    Done,
    /// The file could not be planned; nothing was sent.
    Failed,
    /// The service cannot read what it has stored. `message` says why. The ledger still shows which
    /// orders were sent.
    Unreadable,
}

impl Stage {
    /// Each stage of a batch with its name in JSON.
    const NAMES: [(Self, &str); 8] = [
        (Self::Explaining, "explaining"),
        (Self::Planning, "planning"),
        (Self::Planned, "planned"),
        (Self::Applying, "applying"),
        (Self::Waiting, "waiting"),
        (Self::Done, "done"),
        (Self::Failed, "failed"),
        (Self::Unreadable, "unreadable"),
    ];

    pub(super) fn named(word: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, name)| *name == word).map(|(stage, _)| stage)
    }

    pub(super) fn words() -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().map(|(_, name)| name)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Explaining => "columns to explain",
            Self::Planning => "planning",
            Self::Planned => "planned",
            Self::Applying => "applying",
            Self::Waiting => "waiting for approval",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unreadable => "cannot be read",
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
    /// Whether the process that planned or applied the batch has died.
    #[serde(default, skip_deserializing)]
    pub(super) broken_off: bool,
    /// The newest line of progress.
    #[serde(default, skip_deserializing)]
    pub(super) progress: String,
    /// Why the batch failed, or what it waits for.
    pub(super) message: Option<String>,
    /// The name of the file's format; empty until its columns are explained.
    #[serde(default)]
    pub(super) format: String,
    /// The format's name for people.
    #[serde(default)]
    pub(super) format_title: String,
    /// Number of orders by decision: of the file, and after planning, of the comparison with the live actions.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(super) decisions: BTreeMap<DecisionKind, usize>,
    /// Remarks on how the file was read.
    #[serde(default)]
    pub(super) notes: Vec<String>,
    /// The user who explained the columns on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) explained_by: Option<String>,
    /// The request's options for reading the file.
    #[serde(default, rename = "asked")]
    #[schema(value_type = Object)]
    pub(super) file_options: FileOptions,
    /// Number of rows in the file.
    pub(super) rows: usize,
    /// Number of orders that would be sent.
    pub(super) orders: usize,
    /// Value of the rewards that can still be cancelled, by unit.
    pub(super) value: BTreeMap<String, i64>,
    /// Number of rows by the code of the planned step, and later by the code of the outcome.
    pub(super) counts: BTreeMap<String, u64>,
    /// Number of rows that were applied and whose outcome may still change: sent and not proven, or not found yet.
    #[serde(default, skip_deserializing)]
    pub(super) open: u64,
    /// Number of rows of an applied batch that were not attempted. If it is not 0, the batch ended early, or a trial failed.
    #[serde(default, skip_deserializing)]
    pub(super) left: u64,
    /// Number of retractions that all runs have sent.
    pub(super) sent: usize,
    /// When the newest run that applied the plan ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<String>,
    #[serde(flatten)]
    pub(super) terms: Terms,
}

/// Values for each row that does not have its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Terms {
    /// The code for the vendor; `RETRACTION` if missing.
    pub(super) disposition: Option<String>,
    /// A person's reason, for the ledger.
    pub(super) reason: Option<String>,
    pub(super) ticket: Option<String>,
    /// Checks to override, by name.
    #[serde(default)]
    pub(super) overrides: Vec<Override>,
}

impl Terms {
    /// Reads the values from a request's fields. Fails if the reason is missing or an override is unknown.
    pub(super) fn of(fields: &Fields) -> Result<Self> {
        let reason = fields.text("reason");
        if reason.is_none() {
            return Err(Error::new(Kind::Usage, "a batch needs a reason").hint("the ledger keeps it"));
        }
        let overrides = parse_overrides(fields.all("override"))?;
        Ok(Self { disposition: fields.text("disposition"), reason, ticket: fields.text("ticket"), overrides })
    }
}

enum Job {
    Plan(Box<Refunds>),
    Apply,
}

impl Batch {
    fn new(app: &App, who: &Principal, file_options: FileOptions, terms: Terms) -> Result<Self> {
        let now = app.clock.now();
        let blank = Self::blank(app.batches.new_id(now)?, format!("{now:.0}"));
        Ok(Self { person: who.name.clone(), file_options, terms, ..blank })
    }

    /// A batch of which only the ID and the time of the upload are known.
    fn blank(id: String, created_at: String) -> Self {
        Self {
            id,
            person: String::new(),
            created_at,
            stage: Stage::Explaining,
            broken_off: false,
            progress: String::new(),
            message: None,
            format: String::new(),
            format_title: String::new(),
            decisions: BTreeMap::new(),
            notes: Vec::new(),
            explained_by: None,
            file_options: FileOptions::default(),
            rows: 0,
            orders: 0,
            value: BTreeMap::new(),
            counts: BTreeMap::new(),
            open: 0,
            left: 0,
            sent: 0,
            ended_at: None,
            terms: Terms::default(),
        }
    }

    /// Records in the batch how recoup read the refund file, and sets the stage to `planning`.
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
    /// Parses an uploaded refund file. If a person must explain some columns, returns these columns instead.
    pub(super) fn read_upload(&self, upload: &[u8], options: &FileOptions) -> Result<Parsed> {
        read::parse(jobs::NAME, upload, &options.options(&self.actions.settings.reading))
    }

    pub(super) fn plan_batch(
        self: &Arc<Self>,
        who: &Principal,
        refunds: Refunds,
        options: FileOptions,
        terms: Terms,
    ) -> Result<Batch> {
        self.batches.remove_old(self.clock.now());
        let mut batch = Batch::new(self, who, options, terms)?;
        batch.set_reading(&refunds);
        self.start(who, batch, None, Job::Plan(Box::new(refunds)))
    }

    /// Stores an uploaded refund file until a person explains its columns.
    pub(super) fn store_upload(
        &self,
        who: &Principal,
        upload: &[u8],
        options: FileOptions,
        terms: Terms,
    ) -> Result<Batch> {
        self.batches.remove_old(self.clock.now());
        let batch = Batch::new(self, who, options, terms)?;
        self.batches.write(&batch.id, Part::Upload, upload)?;
        self.batches.save(&batch)?;
        Ok(batch)
    }

    /// Returns a batch whose columns need an explanation, with the uploaded file.
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

    /// Starts planning an uploaded refund file whose columns `who` has explained.
    pub(super) fn plan_explained(
        self: &Arc<Self>,
        who: &Principal,
        mut batch: Batch,
        refunds: Refunds,
        options: FileOptions,
    ) -> Result<Batch> {
        (batch.file_options, batch.explained_by) = (options, Some(who.name.clone()));
        batch.set_reading(&refunds);
        self.start(who, batch, Some(Stage::Explaining), Job::Plan(Box::new(refunds)))
    }

    /// Starts applying a batch's plan in the name of `who`.
    pub(super) fn apply_batch(self: &Arc<Self>, who: &Principal, id: &str) -> Result<Batch> {
        let mut batch = self.batch(id)?;
        let before = batch.stage;
        let can_apply = match batch.stage {
            Stage::Planned | Stage::Waiting | Stage::Done => true,
            Stage::Applying => batch.broken_off,
            Stage::Explaining | Stage::Planning | Stage::Failed | Stage::Unreadable => false,
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

    /// Returns the batch with its current stage, its progress, and its present counts.
    pub(super) fn batch_with_open(&self, id: &str) -> Result<Batch> {
        let mut batch = self.batch(id)?;
        self.count_outcomes(&mut batch)?;
        Ok(batch)
    }

    /// Returns the batch with its current stage and progress.
    pub(super) fn batch(&self, id: &str) -> Result<Batch> {
        // Checks for a running job before reading the metadata, because a job that ends in between has already saved
        // its last stage.
        let running = self.batches.running(id);
        let mut batch = self.batches.batch(id)?;
        if let Some((stage, report)) = running {
            // The stage of a running job replaces the saved stage, because no other job can start before this job
            // releases the batch's lock.
            (batch.stage, batch.progress) = (stage, report.latest());
        } else if matches!(batch.stage, Stage::Planning | Stage::Applying) {
            // The saved stage says that a job is running. If the job's lock is free, the job's process has died.
            batch.broken_off = self.batches.is_unlocked(id)?;
        }
        Ok(batch)
    }

    /// Starts a background job that holds the batch's lock, and stores the job's result. Fails if the batch's stage is
    /// no longer `before`, because another request has changed it.
    fn start(self: &Arc<Self>, who: &Principal, mut batch: Batch, before: Option<Stage>, job: Job) -> Result<Batch> {
        let lock = self.batches.try_lock(&batch.id)?.ok_or_else(|| {
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
        let is_applied = matches!(job, Job::Apply);
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
            if is_applied {
                app.batches.add_ended(&[&batch.person, &who.name], &batch.id);
            }
        });
        Ok(started)
    }

    /// Runs a job of a batch. If the job fails, stores the reason in the batch. Returns an error only if the result
    /// cannot be stored.
    async fn run_job(&self, job: Job, who: &Principal, batch: &mut Batch, report: &Report) -> Result<()> {
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
                    Ok(rows) => {
                        self.batches.write(&batch.id, Part::Outcomes, &outcomes::to_json(&rows)?)?;
                        batch.stage = Stage::Done;
                        batch.ended_at = Some(format!("{:.3}", self.clock.now()));
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

/// Joins the message and the hint of an error.
fn sentence(error: &Error) -> String {
    match &error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message.clone(),
    }
}

/// Removes expired batches every hour until the service stops.
pub(super) async fn sweep_hourly(app: Arc<App>) {
    loop {
        app.batches.remove_old(app.clock.now());
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_hours(1)) => {}
        }
    }
}
