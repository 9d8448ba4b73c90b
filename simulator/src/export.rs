//! Exports of the simulated Advocate API: creates, reads and lists them, and finds their files for download.
//!
//! A simulated export stores only its parameters. The simulator writes an export's file from the current data during
//! the download. Therefore a thousand exports need no memory. The simulator computes the status of an export when a
//! client reads the status, without a background task.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, RwLock},
    time::{Duration, Instant},
};

use clap::ValueEnum as _;
use serde_json::{Value, json};

use super::{
    export_file::{Content, Kind},
    lock::{hold, read},
    names::hex,
    options::{self, ExportColumns, ExportFault, OnOff, Options},
    query,
    random::{Tag, hash},
    record::{Endpoint, Record},
    reply::{Reply, advocate_error},
    time,
};

/// Time from the completion of an export to its expiry, in milliseconds: 28 days.
const KEPT: i64 = 28 * super::data::DAY;
/// Default page size of the list of exports.
const PAGE: u64 = 10;

#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) on: OnOff,
    pub(super) delay: Duration,
    pub(super) fault: ExportFault,
    pub(super) columns: ExportColumns,
}

impl Live {
    /// Changes one setting of the simulated exports. Returns `true` if the setting's name and value are valid.
    pub(super) fn set(&mut self, key: &str, value: &str) -> bool {
        match key {
            "export" => OnOff::from_str(value, true).map(|on| self.on = on).is_ok(),
            "export-delay" => options::time(value).map(|delay| self.delay = delay).is_ok(),
            "export-fault" => ExportFault::from_str(value, true).map(|fault| self.fault = fault).is_ok(),
            "export-columns" => ExportColumns::from_str(value, true).map(|columns| self.columns = columns).is_ok(),
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Pending,
    Completed,
    Aborted,
    Expired,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Completed => "COMPLETED",
            Self::Aborted => "ABORTED",
            Self::Expired => "EXPIRED",
        }
    }
}

/// One simulated export.
#[derive(Debug)]
struct Export {
    id: String,
    content: Content,
    /// The body of the request that created the export. The responses about an export repeat the body of the request
    /// that created it.
    stub: Value,
    asked: Instant,
    created: i64,
    status: Status,
    completed: Option<i64>,
    /// Whether a download of the export's file has already broken off.
    has_broken: bool,
}

impl Export {
    fn settle(&mut self, live: &Live) {
        if self.status == Status::Pending && live.fault != ExportFault::Stuck && self.asked.elapsed() >= live.delay {
            if live.fault == ExportFault::Abort {
                self.status = Status::Aborted;
            } else {
                (self.status, self.completed) = (Status::Completed, Some(time::now_ms()));
            }
        }
    }

    fn to_json(&self) -> Value {
        let mut export = self.stub.clone();
        export["id"] = self.id.clone().into();
        export["mailtoEmail"] = Value::Null;
        export["status"] = self.status.name().into();
        export["dateCreated"] = self.created.into();
        export["dateCompleted"] = self.completed.into();
        export["dateExpires"] = self.completed.map(|completed| completed + KEPT).into();
        export
    }
}

/// A signed link to an export's file, with the link's expiry.
#[derive(Debug)]
struct Link {
    export: usize,
    until: Instant,
}

/// An export's file to send.
pub(super) struct File {
    pub(super) content: Content,
    pub(super) columns: ExportColumns,
    /// Whether the download of the file breaks off in the middle.
    pub(super) breaks: bool,
}

#[derive(Debug)]
pub(super) struct Exports {
    pub(super) live: RwLock<Live>,
    seed: u64,
    storage: SocketAddr,
    link_life: Duration,
    /// The exports, sorted by creation, oldest first.
    kept: Mutex<Vec<Export>>,
    links: Mutex<HashMap<String, Link>>,
}

impl Exports {
    /// Creates the simulated exports. `storage` is the address of the host that serves the export files.
    pub(super) fn new(options: &Options, storage: SocketAddr) -> Self {
        let live = Live {
            on: options.export,
            delay: options.export_delay,
            fault: options.export_fault,
            columns: options.export_columns,
        };
        Self {
            live: RwLock::new(live),
            seed: options.seed,
            storage,
            link_life: options.export_link_life,
            kept: Mutex::default(),
            links: Mutex::default(),
        }
    }

    /// Returns the export endpoint of a path below the tenant; `None` for any other path.
    pub(super) fn endpoint(get: bool, path: &str) -> Option<Endpoint> {
        let parts: Vec<&str> = path.split('/').collect();
        match (get, &parts[..]) {
            (false, ["export"]) => Some(Endpoint::CreateExport),
            (true, ["export", "history", "list"]) => Some(Endpoint::Exports),
            (true, ["export", _, "download"]) => Some(Endpoint::ExportDownload),
            (true, ["export", _]) => Some(Endpoint::Export),
            _ => None,
        }
    }

    /// Answers a request to one of the endpoints of [`Exports::endpoint`].
    pub(super) fn answer(&self, record: &Record, endpoint: Endpoint, path: &str, query: &str, body: &str) -> Reply {
        let live = read(&self.live).clone();
        if live.on == OnOff::Off {
            return advocate_error(403, "This tenant has no exports.", None, None);
        }
        let id = path.split('/').nth(1).unwrap_or_default();
        match endpoint {
            Endpoint::CreateExport => self.create(record, body),
            Endpoint::Exports => self.list(&live, query),
            Endpoint::ExportDownload => self.locate(&live, id),
            _ => self.with(id, &live, |_, export| Reply::json(200, &export.to_json())),
        }
    }

    fn create(&self, record: &Record, body: &str) -> Reply {
        let refused = |why: &str| advocate_error(400, why, Some("VALIDATION_FAILED"), None);
        let Ok(sent) = serde_json::from_str::<Value>(body) else {
            return advocate_error(400, "The body is no JSON.", Some("INVALID_JSON_REQUEST"), None);
        };
        let text =
            |key: &str, otherwise: Value| sent.get(key).filter(|value| value.is_string()).cloned().unwrap_or(otherwise);
        let kind = match sent["type"].as_str() {
            Some("REWARD") => Kind::Reward,
            Some("USER") => Kind::User,
            _ => return refused("The type is none that the simulator exports: REWARD, USER."),
        };
        let format = text("format", "CSV".into());
        if format != "CSV" {
            return refused("The format is none that the simulator writes: CSV.");
        }
        let params = sent.get("params").cloned().unwrap_or(Value::Null);
        let content = match Content::read(kind, &params) {
            Ok(content) => content,
            Err(why) => return refused(&why),
        };
        let name = text("name", Value::Null);
        record.export(json!({"type": sent["type"], "params": params, "name": name}));
        let stub = json!({
            "type": sent["type"], "format": format, "name": name, "requester": text("requester", "API".into()),
            "params": params,
        });
        let mut kept = hold(&self.kept);
        let export = Export {
            id: self.random(24, kept.len() as u64, 0),
            content,
            stub,
            asked: Instant::now(),
            created: time::now_ms(),
            status: Status::Pending,
            completed: None,
            has_broken: false,
        };
        let reply = Reply::json(201, &export.to_json());
        kept.push(export);
        reply
    }

    fn list(&self, live: &Live, query: &str) -> Reply {
        let mut kept = hold(&self.kept);
        kept.iter_mut().for_each(|export| export.settle(live));
        let limit = query::number(query, "limit").unwrap_or(PAGE) as usize;
        let offset = query::number(query, "offset").unwrap_or(0) as usize;
        let data: Vec<Value> = kept.iter().rev().skip(offset).take(limit).map(Export::to_json).collect();
        Reply::json(200, &json!({"count": data.len(), "totalCount": kept.len(), "data": data}))
    }

    /// Answers `export/{id}/download` with the URL of the export's file.
    fn locate(&self, live: &Live, id: &str) -> Reply {
        self.with(id, live, |place, export| {
            if export.status == Status::Completed && live.fault == ExportFault::Expire {
                export.status = Status::Expired;
            }
            if export.status != Status::Completed {
                let message = format!("The export cannot be downloaded: it is {}.", export.status.name());
                return advocate_error(404, &message, None, None);
            }
            let now = Instant::now();
            let mut links = hold(&self.links);
            links.retain(|_, link| now < link.until);
            let signature = self.random(40, place as u64, time::now_ms() as u64 ^ (links.len() as u64) << 48);
            let location = format!("http://{}/files/{}.csv?signature={signature}", self.storage, export.id);
            links.insert(signature, Link { export: place, until: now + self.link_life });
            Reply::new(303, "text/plain", "").with(vec![("location", location)])
        })
    }

    fn with(&self, id: &str, live: &Live, reply: impl FnOnce(usize, &mut Export) -> Reply) -> Reply {
        let mut kept = hold(&self.kept);
        match kept.iter_mut().enumerate().find(|(_, export)| export.id == id) {
            Some((place, export)) => {
                export.settle(live);
                reply(place, export)
            }
            None => advocate_error(404, "No such export.", None, None),
        }
    }

    /// Returns the file of a signed link; `None` if the link is invalid or has expired.
    pub(super) fn file(&self, path: &str, query: &str) -> Option<File> {
        let place = {
            let links = hold(&self.links);
            let link = links.get(query::raw(query, "signature")?)?;
            (Instant::now() < link.until).then_some(link.export)?
        };
        let live = read(&self.live).clone();
        let mut kept = hold(&self.kept);
        let export = kept.get_mut(place).filter(|export| path == format!("/files/{}.csv", export.id))?;
        let breaks = live.fault == ExportFault::Broken && !export.has_broken;
        export.has_broken |= breaks;
        Some(File { content: export.content, columns: live.columns, breaks })
    }

    /// Returns hex digits that look random. The hex digits depend only on the seed and the arguments.
    fn random(&self, length: usize, a: u64, b: u64) -> String {
        let mut digits = vec![0; length];
        for (place, part) in digits.chunks_mut(8).enumerate() {
            hex(part, hash(self.seed, Tag::Export, a << 8 | place as u64, b));
        }
        String::from_utf8(digits).unwrap_or_default()
    }
}
