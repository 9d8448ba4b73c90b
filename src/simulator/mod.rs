//! `recoup simulate`: both vendor APIs in one process, to try, test and train without an account.
//!
//! Written from the vendor's documents and sharing no type with the modules that read them, so that one misreading
//! cannot cancel out another. It imports no other module of the crate, prints nothing, and must never be reachable from
//! outside: it binds 127.0.0.1 only.
//!
//! In reading order: `options` (flags) → `mix`, `data`, `rewarded`, `names`, `orders`, `items`, `late`, `facts` (the data set
//! as formulas) → `roster`, `timeline`, `book`, `programs`, `referrals`,
//! `world`, `change` (what has changed since) → `reward_json`, `advocate`,
//! `graphql`, `export`, `export_file`, `storage`, `brand`, `actions`, `reversal`, `files`, `dispatch` (the APIs) → `auth`, `limit`, `faults`, `rewrites`, `wire` (the
//! weather) → `record`, `truth`, `examples`, `control` (what tests see). A request passes through `serve`: recorded → admitted →
//! limited → broken → answered.

mod actions;
mod advocate;
mod auth;
mod book;
mod brand;
mod change;
mod control;
mod data;
mod dispatch;
mod examples;
mod export;
mod export_file;
mod facts;
mod faults;
mod files;
mod graphql;
mod hooks;
mod items;
mod keys;
mod late;
mod limit;
mod lock;
mod mix;
mod names;
mod options;
mod orders;
mod programs;
mod query;
mod record;
mod referrals;
mod reply;
mod reversal;
mod reward_json;
mod rewarded;
mod rewrites;
mod roster;
mod serve;
mod storage;
#[cfg(test)]
mod tests;
mod time;
mod timeline;
mod truth;
mod vanish;
mod wire;
mod world;

use std::{
    collections::HashSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::SignedDuration;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

pub use examples::{Example, Examples, Participant};
pub use options::{
    DeleteFault, ExportColumns, ExportFault, FaultKind, FileErrors, GraphqlSchema, LimitHeader, LinkIn, LinkNames,
    OnOff, Options, OrderScope, ProgramRule, ReferralAfter, ReferralRewards, SubmissionsList, UserEvents,
};

/// Everything that answers.
#[derive(Debug)]
struct Simulator {
    tenant: String,
    latency: Duration,
    world: Arc<world::World>,
    keys: auth::Keys,
    limits: limit::Limits,
    faults: faults::Faults,
    rewrites: rewrites::Rewrites,
    record: record::Record,
    advocate: advocate::Advocate,
    graphql: graphql::Graphql,
    reversals: reversal::Reversals,
    files: files::Files,
    exports: export::Exports,
    hooks: hooks::Hooks,
    /// Writes that were told to wait once.
    made_to_wait: Mutex<HashSet<String>>,
}

/// What a connection reaches.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// Both vendor APIs.
    Api,
    /// The host that the files of exports lie on.
    Storage,
}

/// A simulator that is listening.
#[derive(Debug)]
pub struct Running {
    /// Where it listens, with the port that was taken.
    pub addr: SocketAddr,
    simulator: Arc<Simulator>,
    server: JoinHandle<()>,
    storage: JoinHandle<()>,
}

impl Running {
    /// Waits until it has stopped.
    pub async fn finished(self) {
        // It ends by being told to or by a panic, which the runtime has reported.
        let _ended = tokio::join!(self.server, self.storage);
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end. The Advocate API is at `/api/v1` below it, the Brand API at
    /// `/Advertisers`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Orders to try things on, as things stand now.
    pub fn examples(&self) -> Examples {
        Examples::find(&self.simulator.world)
    }
}

/// Binds 127.0.0.1 and serves until `stop` is cancelled.
pub async fn start(options: Options, stop: CancellationToken) -> io::Result<Running> {
    if options.clock != SignedDuration::ZERO {
        time::set_clock(options.clock);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    let addr = listener.local_addr()?;
    // Another port is another origin: what is sent to the API must not be sent there.
    let storage = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let simulator = Arc::new(Simulator {
        world: Arc::new(world::World::new(&options, time::midnight(options.today))),
        keys: auth::Keys::new(&options),
        limits: limit::Limits::new(&options),
        faults: faults::Faults::new(options.seed, options.fault_rates()),
        rewrites: rewrites::Rewrites::default(),
        record: record::Record::new(),
        advocate: advocate::Advocate::new(&options),
        graphql: graphql::Graphql::new(&options),
        reversals: reversal::Reversals::new(&options, stop.clone()),
        files: files::Files::new(&options),
        exports: export::Exports::new(&options, storage.local_addr()?),
        hooks: hooks::Hooks::default(),
        made_to_wait: Mutex::default(),
        latency: options.latency,
        tenant: options.tenant,
    });
    let server = tokio::spawn(accept(listener, Origin::Api, simulator.clone(), stop.clone()));
    let storage = tokio::spawn(accept(storage, Origin::Storage, simulator.clone(), stop));
    Ok(Running { addr, simulator, server, storage })
}

/// Takes connections until told to stop; those that are open then are dropped.
async fn accept(listener: TcpListener, origin: Origin, simulator: Arc<Simulator>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_ended) = connections.join_next() => {}
            taken = listener.accept() => match taken {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, origin, simulator.clone()))),
                // Out of file handles, most likely: wait for some to come free instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

async fn connection(stream: TcpStream, origin: Origin, simulator: Arc<Simulator>) {
    // Without it small answers wait for the client's acknowledgement; if it fails they are merely slow.
    let _slower_without = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let wire = wire::Wire::new(stream, reset.clone());
    let service = service_fn(move |request| {
        let (simulator, reset) = (simulator.clone(), reset.clone());
        async move {
            let answered = match origin {
                Origin::Api => serve::serve(&simulator, request).await,
                Origin::Storage => Ok(storage::serve(&simulator, &request)),
            };
            if answered.is_err() {
                reset.store(true, Ordering::Release);
            }
            answered
        }
    });
    // Answers are small: one flat write costs less than a vectored one (a fifth more answers a second).
    let server = http1::Builder::new()
        .writev(false)
        .auto_date_header(time::has_date())
        .serve_connection(TokioIo::new(wire), service);
    // A broken connection is either the client's affair or on purpose.
    let _ended = server.await;
}
