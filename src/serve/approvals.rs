//! Approves, declines and withdraws requests for approval, for the page and the API.
//!
//! The ledger refuses an approval by the person who made the request. The service carries out an approved request of the
//! page or the API at once, in the name of the requester.

use std::sync::Arc;

use super::actions::aborted;
use super::app::App;
use crate::access::{Principal, Right};
use crate::error::{Error, Kind, Result};
use crate::store::ledger::{Approval, Ledger, Stage};

impl App {
    pub(super) fn approvals(&self) -> Result<Vec<Approval>> {
        self.actions.ledger()?.map_or_else(|| Ok(Vec::new()), |ledger| ledger.approvals(self.clock.now()))
    }

    /// Returns the number of requests that wait for this user's approval; `None` if the ledger cannot be read.
    pub(super) fn approvals_waiting_for(&self, who: &Principal) -> Option<usize> {
        if !who.may(Right::Approve) {
            return Some(0);
        }
        let names = self.actions.actor(who).names();
        let all = self
            .ledger
            .with(|ledger| ledger.map_or_else(|| Ok(Vec::new()), |ledger| ledger.approvals(self.clock.now())));
        let waits = |one: &&Approval| one.stage == Stage::Asked && !one.is_of(&names);
        all.ok().map(|all| all.iter().filter(waits).count())
    }

    pub(super) fn approval(&self, id: &str) -> Result<Approval> {
        let found = self.approvals()?.into_iter().find(|approval| approval.id.to_string() == id);
        found.ok_or_else(|| {
            Error::new(Kind::NotIndexed, "there is no such approval in this ledger")
                .hint("the list of approvals has every number; nothing was sent")
        })
    }

    /// Approves a request and carries it out. Returns `false` if the request was made at the command line, because its
    /// requester must then repeat the command.
    ///
    /// The approval runs as its own task, so that it continues if the client disconnects.
    pub(super) async fn approve(
        self: &Arc<Self>,
        who: &Principal,
        id: &str,
        reason: Option<String>,
    ) -> Result<(Approval, bool)> {
        let asked = self.approval(id)?;
        let requester = self.access.with(|access| access.map_or(Ok(None), |access| access.principal(&asked.person)))?;
        if let Some(requester) = requester.filter(|_| asked.stage == Stage::Asked) {
            self.check_rights(&requester, &asked)?;
        }
        let (this, who, id) = (Arc::clone(self), who.clone(), asked.id);
        let task = self.actions.tasks.spawn(async move {
            let approved = this.decide(&who, id, reason, Stage::Approved).await?;
            let is_carried_out = this.carry_out(&approved).await?;
            Ok((approved, is_carried_out))
        });
        task.await.unwrap_or_else(|error| Err(aborted(&error)))
    }

    pub(super) async fn decline(
        self: &Arc<Self>,
        who: &Principal,
        id: &str,
        reason: Option<String>,
    ) -> Result<Approval> {
        self.decide(who, self.approval(id)?.id, reason, Stage::Declined).await
    }

    /// Withdraws a request that this user has made.
    pub(super) async fn withdraw(
        self: &Arc<Self>,
        who: &Principal,
        id: &str,
        reason: Option<String>,
    ) -> Result<Approval> {
        let approval = self.approval(id)?;
        if !approval.is_of(&self.actions.actor(who).names()) {
            let message = format!("approval {} is not your request, so you cannot withdraw it", approval.id);
            return Err(Error::new(Kind::Refused, message).hint("a lead can decline it"));
        }
        self.decide(who, approval.id, reason, Stage::Withdrawn).await
    }

    async fn decide(
        self: &Arc<Self>,
        who: &Principal,
        id: i64,
        reason: Option<String>,
        next: Stage,
    ) -> Result<Approval> {
        let (this, actor, now) = (Arc::clone(self), self.actions.actor(who), self.clock.now());
        self.blocking(move || {
            let settings = &this.actions.settings;
            Ledger::open(&settings.ledger, &settings.identity, &actor)?.decide(id, next, reason.as_deref(), now)
        })
        .await
    }
}
