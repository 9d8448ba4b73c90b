//! Reverses and modifies simulated actions: validates a form, queues a submission, and applies its effect later.
//!
//! A simulated submission becomes Queued, then In Progress, then Complete. When a submission is Complete, the rewards
//! of its actions are cancelled, but only if the program rule exists (`programs`). A submission may have the error
//! ACTION_NOT_FOUND, which the refund guide calls normal. The response to the client does not affect the processing of
//! a submission.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    items::{Wanted, wanted},
    keys::ActionKey,
    lock::{hold, read},
    options::{DeleteFault, Options, OrderScope, SubmissionsList},
    orders::uuid,
    random::Tag,
    time,
    world::World,
};

#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) delete_fault: DeleteFault,
    pub(super) put_fault: DeleteFault,
    pub(super) cancel_fault: DeleteFault,
    pub(super) submission_error: String,
    pub(super) submissions_list: SubmissionsList,
    /// How long lists of submissions do not contain a new submission.
    pub(super) submissions_late: Duration,
}

/// One queued reversal or modification.
#[derive(Debug)]
struct Submission {
    began: Instant,
    at: i64,
    kind: &'static str,
    form: String,
    order_id: Option<String>,
    tracker: u64,
    campaign: u64,
    error: String,
}

#[derive(Debug)]
pub(super) struct Reversals {
    pub(super) sid: String,
    pub(super) live: Arc<RwLock<Live>>,
    tidy: bool,
    known: Vec<String>,
    scope: OrderScope,
    /// The delays until a submission is In Progress, from there until it is Complete, and from there until its rewards
    /// are cancelled.
    delays: [Duration; 3],
    short_ids: bool,
    uri_host: String,
    submissions: Mutex<Vec<(String, Submission)>>,
    index: Mutex<HashMap<String, usize>>,
    stop: CancellationToken,
}

/// The parsed form of a reversal or modification.
#[derive(Debug)]
pub(super) struct Request {
    put: bool,
    form: String,
    order_id: Option<String>,
    tracker: u64,
    zero: bool,
    code: String,
    /// The requested change of the action, if the form is a modification.
    wanted: Wanted,
    /// The ActionIds in the form, or the order ID if the form has no ActionId. The record shows the names of the
    /// actions in a form.
    pub(super) names: Vec<String>,
    actions: Vec<ActionKey>,
}

/// The change to one action.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// The reversal of an action. `zero` is `true` if the form contains `Amount=0`.
    Reverse {
        zero: bool,
    },
    Modify(Wanted),
}

/// Returns the current status of a submission.
pub(super) fn status(began: Instant, [queue, complete]: [Duration; 2]) -> &'static str {
    match began.elapsed() {
        age if age < queue => "Queued",
        age if age < queue + complete => "In Progress",
        _ => "Complete",
    }
}

/// Why the simulator refuses a form: the message, the field, and what is wrong with the field.
pub(super) type Refusal = (&'static str, &'static str);

impl Reversals {
    pub(super) fn new(options: &Options, stop: CancellationToken) -> Self {
        let live = Live {
            delete_fault: options.delete_fault,
            put_fault: options.put_fault,
            cancel_fault: options.cancel_fault,
            submissions_list: options.submissions_list,
            submissions_late: options.submissions_late,
            submission_error: options.submission_error.clone(),
        };
        Self {
            sid: options.account_sid.clone(),
            live: Arc::new(RwLock::new(live)),
            tidy: options.tidy,
            known: options.known_dispositions.clone(),
            scope: options.order_scope,
            delays: [options.queue_delay, options.complete_delay, options.cancel_delay],
            short_ids: options.short_batch_id,
            uri_host: options.queued_uri_host.clone().unwrap_or_default(),
            submissions: Mutex::default(),
            index: Mutex::default(),
            stop,
        }
    }

    /// Parses the form of a reversal or modification. The error contains the invalid field of the form.
    pub(super) fn read(
        &self,
        world: &World,
        put: bool,
        form: &str,
        params: &[(String, String)],
    ) -> Result<Request, Refusal> {
        let get = |name: &str| {
            let found = params.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let code = get("DispositionCode").or(if put { get("Reason") } else { None });
        let Some(code) = code else { return Err((if put { "Reason" } else { "DispositionCode" }, "Required")) };
        if !self.known.is_empty() && !self.known.iter().any(|known| known == code) {
            return Err(("DispositionCode", "Unknown disposition code"));
        }
        let zero = get("Amount").is_some_and(|amount| amount.parse::<f64>().is_ok_and(|amount| amount == 0.0));
        let wanted = if put { wanted(|name| get(name).map(str::to_owned))? } else { Wanted::Other };
        let code = code.to_owned();
        let tracker = get("ActionTrackerId").map(str::parse);
        let order_id = get("OrderId");
        let (names, actions, tracker) = match (get("ActionId"), order_id, tracker) {
            (Some(id), ..) => {
                let action = world.action(id);
                let tracker = action.map_or(0, |action| world.data.tracker(action.buyer, action.order));
                (vec![id.to_owned()], action.into_iter().collect(), tracker)
            }
            (None, _, Some(Err(_))) => return Err(("ActionTrackerId", "Not a numeric value")),
            (None, Some(order), Some(Ok(tracker))) => {
                let mut actions = world.actions_of_order(order, tracker);
                if self.scope == OrderScope::Newest {
                    actions.drain(..actions.len().saturating_sub(1));
                }
                let mut names: Vec<String> = actions.iter().filter_map(|key| world.data.action_id(*key)).collect();
                if names.is_empty() {
                    names.push(format!("order {order} of event type {tracker}"));
                }
                (names, actions, tracker)
            }
            (None, Some(_), None) => return Err(("ActionTrackerId", "Required with OrderId")),
            (None, None, _) => return Err(("ActionId", "Required")),
        };
        let order_id = order_id.map(str::to_owned);
        Ok(Request { put, form: form.to_owned(), order_id, tracker, zero, code, wanted, names, actions })
    }

    /// Queues a reversal or modification, and starts its effect in the background.
    pub(super) fn process(&self, world: &Arc<World>, request: Request) -> Value {
        let live = read(&self.live).clone();
        let at = time::now_ms();
        let error = match (request.actions.is_empty(), live.submission_error.as_str()) {
            (true, "none") => "ACTION_NOT_FOUND",
            (_, "none") => "",
            (_, code) => code,
        };
        let takes = !request.actions.is_empty() && matches!(error, "" | "ACTION_NOT_FOUND");
        if takes {
            let act =
                if request.put { Act::Modify(request.wanted.clone()) } else { Act::Reverse { zero: request.zero } };
            self.follow_up(world, request.actions.iter().map(|key| (*key, act.clone())).collect(), &request.code);
        }
        let campaign = request.actions.first().map_or(0, |action| world.data.campaign(action.buyer));
        let submission = Submission {
            began: Instant::now(),
            at,
            kind: if request.put { "Modification" } else { "Reversal" },
            form: request.form,
            order_id: request.order_id,
            tracker: request.tracker,
            campaign,
            error: error.to_owned(),
        };
        let mut submissions = hold(&self.submissions);
        let (a, b) = (world.data.hash(Tag::Batch, submissions.len() as u64, 0), at as u64);
        let long = uuid(a, world.data.hash(Tag::Batch, b, 1));
        let id = format!("A-{}", if self.short_ids { &long[19..] } else { &long });
        hold(&self.index).insert(id.clone(), submissions.len());
        submissions.push((id.clone(), submission));
        json!({"Status": "QUEUED", "QueuedUri": format!("{}{}", self.uri_host.trim_end_matches('/'), self.uri(&id))})
    }

    /// Changes each action after the delays, and then the action's rewards.
    pub(super) fn follow_up(&self, world: &Arc<World>, acts: Vec<(ActionKey, Act)>, code: &str) {
        let (world, stop) = (world.clone(), self.stop.clone());
        let ([queue, complete, cancel], code) = (self.delays, code.to_owned());
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            tokio::time::sleep(queue + complete).await;
            let now = time::now_ms();
            let mut taken_back = Vec::new();
            for (action, act) in acts {
                // A modification takes the event back only if nothing is left of the action. A reversal takes the event
                // back only if the form contains `Amount=0`.
                let takes_back = match act {
                    Act::Reverse { zero } => world.action_log.reverse(&world.data, action, now, &code) && zero,
                    Act::Modify(wanted) => world.action_log.modify(&world.data, action, now, &code, &wanted),
                };
                if takes_back {
                    taken_back.push(action);
                }
            }
            tokio::time::sleep(cancel).await;
            for action in taken_back {
                world.retract(action, time::now_ms());
            }
        }));
    }

    /// Returns the delays until a submission is In Progress, and from there until it is Complete.
    pub(super) fn delays(&self) -> [Duration; 2] {
        [self.delays[0], self.delays[1]]
    }

    fn uri(&self, id: &str) -> String {
        format!("/Advertisers/{}/APISubmissions/{id}", self.sid)
    }

    pub(super) fn find(&self, id: &str) -> Option<Value> {
        let place = *hold(&self.index).get(id)?;
        hold(&self.submissions).get(place).map(|(id, submission)| self.value(id, submission))
    }

    /// Returns the submissions that lists already contain, newest first.
    pub(super) fn listed(&self) -> Vec<Value> {
        let late = read(&self.live).submissions_late;
        let submissions = hold(&self.submissions);
        let shown = submissions.iter().rev().filter(|(_, submission)| submission.began.elapsed() >= late);
        shown.map(|(id, submission)| self.value(id, submission)).collect()
    }

    fn value(&self, id: &str, submission: &Submission) -> Value {
        let [queue, complete, _] = self.delays;
        let status = status(submission.began, self.delays());
        let done = status == "Complete";
        let error = if done { submission.error.as_str() } else { "" };
        let completed = submission.at + (queue + complete).as_millis() as i64;
        let account = if self.tidy { json!(10_001) } else { json!("10001") };
        let mut value = json!({
            "BatchId": id,
            "AccountId": account,
            "SubmissionDate": time::iso(submission.at),
            "CampaignId": submission.campaign,
            "ActionTrackerId": submission.tracker,
            "MediaPartnerId": 10_000,
            "EventCode": "",
            "OrderId": submission.order_id.as_deref().unwrap_or_default(),
            "Payload": submission.form,
            "Type": submission.kind,
            "Status": status,
            "CompletionDate": if done { time::iso(completed) } else { String::new() },
            "ErrorType": if error.is_empty() { "" } else { "Validation" },
            "ErrorReason": error,
            "Uri": self.uri(id),
        });
        if self.tidy && !done {
            // Omits the key `CompletionDate`, because the schema's type is a date, and an empty text is not a date.
            value.as_object_mut().map(|object| object.remove("CompletionDate"));
        }
        value
    }
}
