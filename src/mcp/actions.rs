//! Runs the tools of the MCP server. The results of the tools are the objects that `--json` prints, with masked
//! participants.

use std::collections::BTreeMap;

use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Assistant, ToolName};
use crate::access::{AccessControl, Limits, Right, Role};
use crate::error::{Error, Kind, Result};
use crate::lookup::{self, Answer, ParticipantIds};
use crate::model::{AccountId, Actor, OrderId, UserId};
use crate::records::forget::{self, Files};
use crate::report::Report;
use crate::retract::receipt::Entry;
use crate::retract::request::{RetractRequest, RunOptions};
use crate::retract::{self, Context, Proposal, Session};
use crate::serve::{Audience, entry_for, receipt_for_api};
use crate::store::index::IndexReader;
use crate::store::ledger::{Approval, Ledger};

/// The retractions and approvals of an order in the ledger.
#[derive(Debug, Serialize)]
struct OrderStatus {
    order_id: OrderId,
    /// The retractions of the order, oldest first.
    retractions: Vec<Entry>,
    /// The approvals of the order, newest first.
    approvals: Vec<Approval>,
}

impl Assistant {
    pub(super) async fn call(&self, tool: ToolName, arguments: JsonObject) -> Result<Value> {
        tool.check(&arguments)?;
        let request = request_of(arguments)?;
        match tool {
            ToolName::Lookup => to_json(&self.look_up(request.order_id)?),
            ToolName::RetractionStatus => to_json(&self.status(request.order_id)?),
            ToolName::Preflight => self.preflight(&request).await,
            ToolName::ProposeRetraction => self.propose(&request.checked()?).await,
        }
    }

    fn look_up(&self, order_id: OrderId) -> Result<Answer> {
        let reader = IndexReader::open(&self.index, Some(&self.identity))?;
        // The MCP look-up finds no orders by a participant's ID, because the answer would reveal who placed the orders.
        let mut answers = lookup::run(reader.as_ref(), &[order_id], ParticipantIds::Hide, self.clock.now())?;
        let ledger = Ledger::open_read_only(&self.ledger, Some(&self.identity))?;
        lookup::update_from_ledger(&mut answers, ledger.as_ref())?;
        let mut answer =
            answers.into_iter().next().ok_or_else(|| Error::new(Kind::Failed, "the look-up has no answer"))?;
        mask(&mut answer);
        Ok(answer)
    }

    fn status(&self, order_id: OrderId) -> Result<OrderStatus> {
        let ledger = Ledger::open_read_only(&self.ledger, Some(&self.identity))?;
        let (retractions, mut approvals) = match ledger {
            Some(ledger) => (ledger.of_order(&order_id)?, ledger.approvals(self.clock.now())?),
            None => Default::default(),
        };
        approvals.retain(|approval| approval.subject["order_id"] == order_id.as_str());
        let mut entries: Vec<Entry> =
            retractions.iter().map(|retraction| entry_for(Entry::of(retraction, &[]), Audience::Api)).collect();
        if let Some(index) = IndexReader::open(&self.index, Some(&self.identity))? {
            entries.iter_mut().try_for_each(|entry| entry.update_from_index(&index, self.clock.now()))?;
        }
        Ok(OrderStatus { order_id, retractions: entries, approvals })
    }

    async fn preflight(&self, request: &RetractRequest) -> Result<Value> {
        let report = Report::silent();
        self.apply_tombstones(&self.os_user, &report)?;
        let receipt = retract::preview(&self.context(&self.os_user, &report), request, &self.run_options()).await?;
        to_json(&receipt_for_api(receipt))
    }

    async fn propose(&self, request: &RetractRequest) -> Result<Value> {
        let (actor, report) = (self.requester(request)?, Report::silent());
        let _one_at_a_time = self.proposing.lock().await;
        self.apply_tombstones(&actor, &report)?;
        let proposal =
            retract::propose(&self.context(&actor, &report), "an assistant", request, &self.run_options()).await?;
        let next = match &proposal.approval {
            Some(approval) => format!(
                "a lead answers approval {} at recoup's page, under Approvals; nothing is sent before that; read \
                 retraction_status to see the answer",
                approval.id
            ),
            None => "nothing is left to send: `receipt` says what became of the order".to_owned(),
        };
        let receipt = receipt_for_api(proposal.receipt);
        let mut answer = to_json(&Proposal { receipt, ..proposal })?;
        answer["sent"] = json!(false);
        answer["next"] = json!(next);
        Ok(answer)
    }

    /// Returns the user who proposes a retraction. Reads the users for each proposal, because an administrator may have
    /// disabled this user.
    fn requester(&self, request: &RetractRequest) -> Result<Actor> {
        let os_user = &self.os_user.person;
        let access = AccessControl::open_existing(&self.access, &self.identity, Limits::default())?;
        let found: Option<(String, Role)> = match (access, &self.proposes_as) {
            (None, _) => None,
            (Some(access), Some(name)) => access.principal(name)?.map(|user| (user.name, user.role)),
            (Some(access), None) => access.user_of_os(os_user)?.map(|user| (user.name, user.role)),
        };
        let (name, role) = found.ok_or_else(|| {
            let message = match &self.proposes_as {
                Some(name) => format!("there is no enabled user {name:?}, so nothing was proposed"),
                None => format!("{os_user} is linked to no user of recoup, so nothing was proposed"),
            };
            Error::new(Kind::Refused, message).hint(
                "an administrator adds a user with `recoup user add NAME`; then the person starts `recoup mcp` again as NAME",
            )
        })?;
        let needed = if request.overrides.is_empty() { Right::Retract } else { Right::Override };
        if !role.may(needed) {
            let message = format!("{name} is {} and may not propose this; nothing was proposed", role.as_str());
            return Err(Error::new(Kind::Refused, message)
                .hint("an agent may propose a retraction, and a lead one that overrides a check"));
        }
        // recoup records the operating-system user as the same person, so that the person who starts the server cannot
        // approve its proposals.
        let host = format!("{} (MCP)", self.os_user.host);
        Ok(Actor { also: Some(os_user.clone()), known: true, ..Actor::new(name, host) })
    }

    fn run_options(&self) -> RunOptions {
        RunOptions { dry_run: true, yes: false, max_index_age: self.max_index_age, follows: self.follows }
    }

    /// Removes the accounts from the index that the ledger marks as forgotten. Callers must call this function before
    /// they read rewards into the index.
    fn apply_tombstones(&self, actor: &Actor, report: &Report) -> Result<()> {
        let Self { index, ledger, identity, .. } = self;
        forget::apply_tombstones(&Files { index, ledger, identity, actor }, false, &self.clock, report)
    }

    fn context<'a>(&'a self, actor: &'a Actor, report: &'a Report) -> Context<'a> {
        Context {
            index_place: &self.index,
            ledger_place: &self.ledger,
            identity: &self.identity,
            actor,
            advocate: &self.advocate,
            brand: &self.brand,
            mapping: &self.mapping,
            clock: &self.clock,
            stop: &self.stop,
            report,
            session: Session::default(),
        }
    }
}

/// Parses the arguments of a tool. `tool.check` has already refused arguments that the tool does not know.
fn request_of(arguments: JsonObject) -> Result<RetractRequest> {
    let request: RetractRequest = serde_json::from_value(Value::Object(arguments)).map_err(|error| {
        Error::new(Kind::Usage, format!("the arguments are not valid: {error}"))
            .hint("write an order ID as text in quotation marks, exactly as the shop writes it")
    })?;
    lookup::order_id(request.order_id.as_str())?;
    if request.all && request.action_id.is_some() {
        return Err(Error::new(Kind::Usage, "a retraction is for one action or for all, not both")
            .hint("leave `all` out, or `action_id`"));
    }
    Ok(request)
}

/// Replaces participants' IDs by numbers, because an assistant must not receive even a part of an e-mail address.
fn mask(answer: &mut Answer) {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for found in &mut answer.matches {
        let next = numbers.len() + 1;
        let number = *numbers.entry(found.account_id.as_str().to_owned()).or_insert(next);
        let name = format!("participant {number}");
        found.user_id = found.user_id.as_ref().map(|_| UserId::new(&name));
        found.account_id = AccountId::new(&name);
    }
}

fn to_json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::new(Kind::Failed, format!("failed to write JSON: {error}")))
}
