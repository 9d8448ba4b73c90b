//! Records the requests that the simulator received, for tests and training: counts, peaks, every write, and violations
//! by the client.
//!
//! The counters of the record are atomic. Only faults, writes and violations, which are rare, take a lock of the
//! record. Recording a request never changes its response.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use serde_json::{Map, Value, json};

use super::lock::hold;

/// One of the two simulated vendor APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    Advocate,
    Brand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Users,
    User,
    Rewards,
    Reward,
    CancelReward,
    Referral,
    Graphql,
    DeleteActions,
    PutActions,
    Actions,
    Action,
    ActionItems,
    ActionUpdates,
    Files,
    File,
    Submission,
    Submissions,
    Campaigns,
    CreateExport,
    Export,
    ExportDownload,
    Exports,
    Subscriptions,
    Other,
}

const ENDPOINTS: [(Endpoint, &str); 24] = [
    (Endpoint::Users, "GET users"),
    (Endpoint::User, "GET user"),
    (Endpoint::Rewards, "GET reward"),
    (Endpoint::Reward, "GET reward by id"),
    (Endpoint::CancelReward, "POST reward cancel"),
    (Endpoint::Referral, "GET referral by id"),
    (Endpoint::Graphql, "POST graphql"),
    (Endpoint::DeleteActions, "DELETE actions"),
    (Endpoint::PutActions, "PUT actions"),
    (Endpoint::Actions, "GET actions"),
    (Endpoint::Action, "GET action"),
    (Endpoint::ActionItems, "GET action items"),
    (Endpoint::ActionUpdates, "GET action updates"),
    (Endpoint::Files, "GET file submissions"),
    (Endpoint::File, "GET file submission"),
    (Endpoint::Submission, "GET submission"),
    (Endpoint::Submissions, "GET submissions"),
    (Endpoint::Campaigns, "GET campaigns"),
    (Endpoint::CreateExport, "POST export"),
    (Endpoint::Export, "GET export"),
    (Endpoint::ExportDownload, "GET export download"),
    (Endpoint::Exports, "GET export list"),
    (Endpoint::Subscriptions, "subscriptions"),
    (Endpoint::Other, "other"),
];

/// The root fields of GraphQL that the simulator counts.
const GRAPHQL: [&str; 7] = ["rewards", "userEvents", "reward", "users", "programs", "program", "referral"];

/// The method and purpose of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Delete,
    Put,
    /// The write cancels a reward.
    Cancel,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Put => "put",
            Self::Cancel => "cancel",
        }
    }
}

#[derive(Debug)]
struct Write {
    params: Vec<(String, String)>,
    at_ms: i64,
    answered: String,
    processed: bool,
}

#[derive(Debug, Default)]
struct Peak {
    in_flight: AtomicU64,
    in_flight_max: AtomicU64,
    /// The second since the simulator's start in the upper half, and the number of requests in that second in the lower
    /// half.
    second: AtomicU64,
    busiest: AtomicU64,
}

impl Peak {
    fn start(&self, second: u64) {
        self.in_flight_max.fetch_max(self.in_flight.fetch_add(1, Relaxed) + 1, Relaxed);
        let mut seen = self.second.load(Relaxed);
        loop {
            let next = if seen >> 32 == second { seen + 1 } else { second << 32 | 1 };
            match self.second.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => {
                    self.busiest.fetch_max(next & 0xffff_ffff, Relaxed);
                    return;
                }
                Err(now) => seen = now,
            }
        }
    }

    fn reset(&self) {
        self.in_flight_max.store(self.in_flight.load(Relaxed), Relaxed);
        self.second.store(0, Relaxed);
        self.busiest.store(0, Relaxed);
    }
}

#[derive(Debug)]
pub(super) struct Record {
    start: Instant,
    counts: [AtomicU64; ENDPOINTS.len()],
    both: Peak,
    hosts: [Peak; 2],
    rate_limited: AtomicU64,
    downloads: AtomicU64,
    /// How often clients used each root field of GraphQL, in the order of [`GRAPHQL`].
    graphql: [AtomicU64; GRAPHQL.len()],
    rare: Mutex<Rare>,
}

#[derive(Debug, Default)]
struct Rare {
    faults: BTreeMap<String, u64>,
    deletes: Vec<Write>,
    puts: Vec<Write>,
    cancels: Vec<Write>,
    /// The reversal files that the simulator accepted.
    files: Vec<Value>,
    exports: Vec<Value>,
    violations: Vec<String>,
    duplicate_dispatch: u64,
    /// The actions for which a client sent a reversal that the simulator did not refuse.
    dispatched: HashSet<String>,
}

/// A request in progress. The request ends when this value is dropped.
pub(super) struct InFlight<'a> {
    record: &'a Record,
    host: Host,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.record.both.in_flight.fetch_sub(1, Relaxed);
        self.record.hosts[self.host as usize].in_flight.fetch_sub(1, Relaxed);
    }
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            counts: Default::default(),
            both: Peak::default(),
            hosts: Default::default(),
            rate_limited: AtomicU64::new(0),
            downloads: AtomicU64::new(0),
            graphql: Default::default(),
            rare: Mutex::default(),
        }
    }

    pub(super) fn begin(&self, host: Host, endpoint: Endpoint, now: Instant) -> InFlight<'_> {
        self.counts[endpoint as usize].fetch_add(1, Relaxed);
        // Seconds are counted from 1, because 0 marks an unused slot.
        let second = now.saturating_duration_since(self.start).as_secs() + 1;
        self.both.start(second);
        self.hosts[host as usize].start(second);
        InFlight { record: self, host }
    }

    pub(super) fn rate_limited(&self) {
        self.rate_limited.fetch_add(1, Relaxed);
    }

    pub(super) fn download(&self) {
        self.downloads.fetch_add(1, Relaxed);
    }

    pub(super) fn export(&self, export: Value) {
        hold(&self.rare).exports.push(export);
    }

    pub(super) fn graphql(&self, field: &str) {
        if let Some(place) = GRAPHQL.iter().position(|name| *name == field) {
            self.graphql[place].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn fault(&self, kind: String) {
        *hold(&self.rare).faults.entry(kind).or_default() += 1;
    }

    /// Records a violation, which is something that no client should do. Stores at most a thousand violations, because
    /// a broken client must not fill the memory.
    pub(super) fn violation(&self, what: impl Into<String>) {
        let mut rare = hold(&self.rare);
        if rare.violations.len() < 1000 {
            rare.violations.push(what.into());
        }
    }

    pub(super) fn write(&self, verb: Verb, params: &[(String, String)], at_ms: i64, answered: &str, processed: bool) {
        let write = Write { params: params.to_vec(), at_ms, answered: answered.to_owned(), processed };
        let mut rare = hold(&self.rare);
        match verb {
            Verb::Delete => rare.deletes.push(write),
            Verb::Put => rare.puts.push(write),
            Verb::Cancel => rare.cancels.push(write),
        }
    }

    pub(super) fn file(&self, file: Value) {
        hold(&self.rare).files.push(file);
    }

    /// Records that the client has sent a reversal of these actions. If a client sends a reversal of an action again
    /// and the first reversal was not refused, the simulator records a violation.
    pub(super) fn dispatch(&self, what: &str, actions: &[String], refused: bool) {
        let mut rare = hold(&self.rare);
        for action in actions {
            if rare.dispatched.contains(action) {
                rare.duplicate_dispatch += 1;
                rare.violations.push(format!("duplicate dispatch: {what} for {action}, which was sent before"));
            } else if !refused {
                rare.dispatched.insert(action.clone());
            }
        }
    }

    pub(super) fn reset(&self) {
        self.counts.iter().for_each(|count| count.store(0, Relaxed));
        self.both.reset();
        self.hosts.iter().for_each(Peak::reset);
        self.rate_limited.store(0, Relaxed);
        self.downloads.store(0, Relaxed);
        self.graphql.iter().for_each(|count| count.store(0, Relaxed));
        *hold(&self.rare) = Rare::default();
    }

    pub(super) fn to_json(&self) -> Value {
        let requests: Map<String, Value> = ENDPOINTS
            .iter()
            .map(|(endpoint, name)| ((*name).to_owned(), self.counts[*endpoint as usize].load(Relaxed).into()))
            .collect();
        let writes = |writes: &[Write]| -> Vec<Value> {
            let one = |write: &Write| {
                let params: Map<String, Value> =
                    write.params.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
                json!({"params": params, "at_ms": write.at_ms, "answered": write.answered, "processed": write.processed})
            };
            writes.iter().map(one).collect()
        };
        let graphql: Map<String, Value> =
            GRAPHQL.iter().zip(&self.graphql).map(|(name, n)| ((*name).to_owned(), n.load(Relaxed).into())).collect();
        let [advocate, brand] = &self.hosts;
        let rare = hold(&self.rare);
        json!({
            "requests": requests,
            "graphql": graphql,
            "faults": rare.faults,
            "in_flight_max": self.both.in_flight_max.load(Relaxed),
            "busiest_second": self.both.busiest.load(Relaxed),
            "hosts": {
                "advocate": {
                    "in_flight_max": advocate.in_flight_max.load(Relaxed),
                    "busiest_second": advocate.busiest.load(Relaxed),
                },
                "brand": {
                    "in_flight_max": brand.in_flight_max.load(Relaxed),
                    "busiest_second": brand.busiest.load(Relaxed),
                },
            },
            "rate_limited": self.rate_limited.load(Relaxed),
            "duplicate_dispatch": rare.duplicate_dispatch,
            "deletes": writes(&rare.deletes),
            "puts": writes(&rare.puts),
            "cancels": writes(&rare.cancels),
            "files": rare.files,
            "exports": rare.exports,
            "downloads": self.downloads.load(Relaxed),
            "violations": rare.violations,
        })
    }
}
