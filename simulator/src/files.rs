//! Simulates reversal files, which the vendor accepts by FTP or e-mail: their rows, their effect, and their status.
//!
//! The simulator has no FTP server. A control path accepts the reversal file. The simulator finds the columns of a
//! reversal file by name in any spelling. Every row of an Advocate program has the error ACTION_NOT_FOUND although its
//! reward is cancelled, as the refund guide says. A file's row also has that error if its action does not exist. The
//! header of a reversal file is line 1.

use std::{
    sync::{Arc, Mutex, RwLock},
    time::Instant,
};

use serde_json::{Value, json};

use super::{
    action_log::PERFORMANCE,
    brand::page,
    items::Wanted,
    keys::ActionKey,
    lock::{hold, read},
    options::{FileErrors, Options},
    orders::uuid,
    query,
    random::{Tag, hash},
    reply::{Reply, brand, brand_error},
    reversal::{Act, Reversals, status},
    time,
    world::World,
};

#[derive(Debug)]
struct File {
    id: String,
    name: String,
    began: Instant,
    at: i64,
    rows: usize,
    errors: Vec<RowError>,
}

/// The error of one row of a reversal file.
#[derive(Debug)]
struct RowError {
    line: usize,
    campaign: u64,
    tracker: String,
    order: String,
    reason: &'static str,
}

#[derive(Debug)]
pub(super) struct Files {
    seed: u64,
    tidy: bool,
    pub(super) link: RwLock<FileErrors>,
    delays: [std::time::Duration; 2],
    taken: Mutex<Vec<File>>,
}

/// A reversal file with the result of parsing it.
#[derive(Debug, Default)]
pub(super) struct AcceptedFile {
    pub(super) id: String,
    pub(super) rows: usize,
    pub(super) errors: usize,
    /// The ActionIds of the actions that the file reverses.
    pub(super) names: Vec<String>,
}

impl Files {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            seed: options.seed,
            tidy: options.tidy,
            link: RwLock::new(options.file_errors),
            delays: [options.queue_delay, options.complete_delay],
            taken: Mutex::default(),
        }
    }

    /// Accepts a reversal file and starts its effect; `None` if the file has no usable header.
    pub(super) fn take(
        &self,
        world: &Arc<World>,
        reversals: &Reversals,
        name: &str,
        content: &str,
    ) -> Option<AcceptedFile> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(content.as_bytes());
        let header: Vec<String> = reader.headers().ok()?.iter().map(folded).collect();
        let place = |names: &[&str]| header.iter().position(|column| names.contains(&column.as_str()));
        let (action, order) = (place(&["actionid"]), place(&["orderid", "oid"]));
        let (tracker, amount, reason) = (place(&["actiontrackerid"]), place(&["amount"]), place(&["reason"]));
        if action.is_none() && order.is_none() {
            return None;
        }
        let (mut taken, mut wrong, mut acts) = (AcceptedFile::default(), Vec::new(), Vec::new());
        for (place, row) in reader.records().enumerate() {
            taken.rows += 1;
            let row = row.unwrap_or_default();
            let get = |column: Option<usize>| column.and_then(|at| row.get(at)).unwrap_or_default().trim();
            let line = Line {
                action: get(action),
                order: get(order),
                tracker: get(tracker),
                amount: get(amount),
                reason: get(reason),
            };
            let (keys, error) = line.read(world);
            if let Some(reason) = error {
                let campaign = keys.first().map_or(0, |key| world.data.campaign(key.buyer));
                let (tracker, order) = (line.tracker.to_owned(), line.order.to_owned());
                wrong.push(RowError { line: place + 2, campaign, tracker, order, reason });
            }
            let act = match line.amount.parse::<f64>() {
                Ok(0.0) => Act::Reverse { zero: true },
                Ok(amount) => Act::Modify(Wanted::Amount((amount * 100.0).round() as i64)),
                Err(_) => continue,
            };
            if matches!(act, Act::Reverse { .. }) {
                taken.names.extend(keys.iter().filter_map(|key| world.data.action_id(*key)));
            }
            acts.extend(keys.into_iter().map(|key| (key, act.clone())));
        }
        reversals.follow_up(world, acts, "FILE");
        let mut files = hold(&self.taken);
        let (a, b) =
            (hash(self.seed, Tag::File, files.len() as u64, 0), hash(self.seed, Tag::File, files.len() as u64, 1));
        taken.id = format!("F-{}", uuid(a, b));
        taken.errors = wrong.len();
        let (id, name) = (taken.id.clone(), name.to_owned());
        files.push(File { id, name, began: Instant::now(), at: time::now_ms(), rows: taken.rows, errors: wrong });
        Some(taken)
    }

    /// Answers `GET /FTPFileSubmissions`: the submitted files, newest first.
    pub(super) fn list(&self, sid: &str, json: bool, query: &str) -> Reply {
        let date = |key: &str| query::value(query, key).map(|text| time::parse(&text));
        let names = ["SubmissionDateStart", "SubmissionDateEnd", "CompletedDateStart", "CompletedDateEnd"];
        if let Some(name) = names.into_iter().find(|name| date(name) == Some(None)) {
            return brand_error(json, 400, "Validation Failed", Some((name, "Not a date")));
        }
        let [from, to, done_from, done_to] = names.map(|name| date(name).flatten());
        let files = hold(&self.taken);
        let wanted = files.iter().rev().filter(|file| {
            let is_in = |at: i64, from: Option<i64>, to: Option<i64>| {
                from.is_none_or(|from| at >= from) && to.is_none_or(|to| at <= to)
            };
            let by_end = done_from.is_none() && done_to.is_none();
            is_in(file.at, from, to) && (by_end || (self.is_done(file) && is_in(self.ended(file), done_from, done_to)))
        });
        let values = wanted.map(|file| self.value(sid, file)).collect();
        page(json, sid, ("FTPFileSubmissions", query), "FTPFileSubmissions", values, 100)
    }

    /// Answers a request for one submitted file or for its errors. `documented` is true for the path in the vendor's
    /// documents, and false for the path in a sample.
    pub(super) fn one(&self, sid: &str, json: bool, documented: bool, rest: &str, query: &str) -> Reply {
        let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
        let files = hold(&self.taken);
        let file = files.iter().find(|file| file.id == query::segment(id));
        match (file, what, documented) {
            (Some(file), "", _) => brand(json, 200, "FTPFileSubmission", &self.value(sid, file)),
            (Some(file), "ErrorDetails", true) | (Some(file), "Errors", false) => {
                let done = self.is_done(file);
                let errors = file.errors.iter().filter(|_| done).map(|wrong| self.wrong(sid, file, wrong)).collect();
                let path = if documented { "FTPFileSubmissions" } else { "FTPSubmissions" };
                page(json, sid, (&format!("{path}/{id}/{what}"), query), "ErrorDetail", errors, 100)
            }
            _ => brand_error(json, 404, "No such file submission", None),
        }
    }

    fn is_done(&self, file: &File) -> bool {
        status(file.began, self.delays) == "Complete"
    }

    fn ended(&self, file: &File) -> i64 {
        file.at + (self.delays[0] + self.delays[1]).as_millis() as i64
    }

    /// Writes a number as a JSON number, or as text like the sample of an older version.
    fn number(&self, number: u64) -> Value {
        if self.tidy { json!(number) } else { json!(number.to_string()) }
    }

    fn value(&self, sid: &str, file: &File) -> Value {
        let done = self.is_done(file);
        let errors = match *read(&self.link) {
            FileErrors::Documented => format!("/Advertisers/{sid}/FTPFileSubmissions/{}/ErrorDetails", file.id),
            FileErrors::Short => format!("/Advertisers/{sid}/FTPSubmissions/{}/Errors", file.id),
            FileErrors::Dead => format!("/Advertisers/{sid}/FTPSubmissions/{}/Gone", file.id),
        };
        let mut value = json!({
            "BatchId": file.id, "AccountId": self.number(10_001), "SubmissionDate": time::iso(file.at), "FileName": file.name,
            "Type": "Reversal", "Status": status(file.began, self.delays), "TotalRecords": self.number(file.rows as u64),
            "TotalErrors": self.number(if done { file.errors.len() as u64 } else { 0 }),
            "CompletionDate": if done { time::iso(self.ended(file)) } else { String::new() }, "ErrorsUri": errors,
            "Uri": format!("/Advertisers/{sid}/FTPFileSubmissions/{}", file.id),
        });
        if self.tidy && !done {
            value.as_object_mut().map(|object| object.remove("CompletionDate"));
        }
        value
    }

    fn wrong(&self, sid: &str, file: &File, wrong: &RowError) -> Value {
        let RowError { line, campaign, tracker, order, reason } = wrong;
        json!({
            "Line": self.number(*line as u64), "CampaignId": self.number(*campaign),
            "ActionTrackerId": tracker.parse().map_or_else(|_| json!(tracker), |tracker| self.number(tracker)),
            "MediaPartnerId": self.number(10_000), "EventCode": "", "OrderId": order, "Category": "", "Sku": "",
            "Status": "Validation", "Reason": reason,
            "Uri": format!("/Advertisers/{sid}/FTPFileSubmissions/{}/ErrorDetails/{line}", file.id),
        })
    }

    pub(super) fn count(&self) -> usize {
        hold(&self.taken).len()
    }
}

/// The cells of one row of a reversal file, by column.
struct Line<'a> {
    action: &'a str,
    order: &'a str,
    tracker: &'a str,
    amount: &'a str,
    reason: &'a str,
}

impl Line<'_> {
    /// Returns the actions of the file's row, and the row's error.
    fn read(&self, world: &World) -> (Vec<ActionKey>, Option<&'static str>) {
        if self.action.is_empty() && self.order.is_empty() {
            return (Vec::new(), Some("OID_MISSING"));
        }
        if self.amount.parse::<f64>().is_err() || self.reason.is_empty() {
            return (Vec::new(), Some("MALFORMED"));
        }
        let keys = match (self.action, self.tracker.parse()) {
            ("", Ok(tracker)) => world.actions_of_order(self.order, tracker),
            ("", Err(_)) => Vec::new(),
            (id, _) => world.action(id).into_iter().collect(),
        };
        let advocate = keys.iter().all(|key| world.data.campaign(key.buyer) != PERFORMANCE);
        (keys, advocate.then_some("ACTION_NOT_FOUND"))
    }
}

/// Normalizes a column name, because the vendor's documents spell the names differently.
fn folded(name: &str) -> String {
    name.trim_start_matches('\u{feff}').chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}
