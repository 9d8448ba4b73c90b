//! Simulates impact.com's Advocate and Brand APIs in one process, to try, test and train without an account.
//!
//! The simulator is written from the vendor's documents. The simulator depends on no code of recoup and shares no type
//! with it, because one misreading must not hide another. The simulator prints nothing and binds only 127.0.0.1.
//! `recoup simulate` and the program `impact-simulator` start the simulator.
//!
//! The modules of the simulator in reading order:
//! - flags: `options`
//! - the data set as formulas: `random`, `data`, `rewarded`, `names`, `orders`, `items`, `new_orders`, `facts`
//! - changes since the start: `participants`, `timeline`, `action_log`, `programs`, `referrals`, `world`, `changes`,
//!   `deleted_accounts`
//! - the APIs: `reward_json`, `advocate`, `graphql`, `export`, `export_file`, `storage`, `brand`, `actions`, `reversal`,
//!   `files`, `writes`, `webhooks`
//! - limits and faults: `auth`, `limit`, `faults`, `rewrites`, `connection`
//! - what tests see: `record`, `truth`, `examples`, `control`
//!
//! `serve` handles each request to the simulator: it records, authenticates, limits, breaks and answers the request.

#![expect(clippy::disallowed_methods, reason = "the simulator stands for the vendor, whose clock is not recoup's")]

mod action_log;
mod actions;
mod advocate;
mod auth;
mod brand;
mod changes;
mod connection;
mod control;
mod data;
mod deleted_accounts;
mod examples;
mod export;
mod export_file;
mod facts;
mod faults;
mod files;
mod graphql;
mod items;
mod keys;
mod limit;
mod lock;
mod names;
mod new_orders;
mod options;
mod orders;
mod participants;
mod programs;
mod query;
mod random;
mod record;
mod referrals;
mod reply;
mod reversal;
mod reward_json;
mod rewarded;
mod rewrites;
mod serve;
mod storage;
#[cfg(test)]
mod tests;
mod time;
mod timeline;
mod truth;
mod webhooks;
mod world;
mod writes;

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

/// The state that all connections of the simulator share.
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
    webhooks: webhooks::Webhooks,
    /// The writes that have already got a 429. The simulator accepts a write that it has already answered with 429.
    made_to_wait: Mutex<HashSet<String>>,
}

/// The host to which a client made a connection.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// The simulated host of both vendor APIs.
    Api,
    /// The simulated host of export files.
    Storage,
}

/// A running simulator.
#[derive(Debug)]
pub struct Running {
    /// The address to which the simulator is bound, with the port that the system chose if port 0 was requested.
    pub addr: SocketAddr,
    simulator: Arc<Simulator>,
    server: JoinHandle<()>,
    storage: JoinHandle<()>,
}

impl Running {
    /// Waits until the simulator has stopped.
    pub async fn finished(self) {
        // Each task of the simulator ends when the simulator is stopped. The runtime has already reported a panic of
        // the task.
        let _ended = tokio::join!(self.server, self.storage);
    }

    /// Returns `http://127.0.0.1:PORT` without a trailing slash. The simulated Advocate API is at `/api/v1`, and the
    /// Brand API at `/Advertisers`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Chooses example orders from the current data.
    pub fn examples(&self) -> Examples {
        Examples::find(&self.simulator.world)
    }
}

/// Binds 127.0.0.1 and serves requests until `stop` is cancelled.
pub async fn start(options: Options, stop: CancellationToken) -> io::Result<Running> {
    if options.clock != SignedDuration::ZERO {
        time::set_clock(options.clock);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    let addr = listener.local_addr()?;
    // Export files have another port and therefore another origin, because a client must not send the API's credentials
    // there.
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
        webhooks: webhooks::Webhooks::default(),
        made_to_wait: Mutex::default(),
        latency: options.latency,
        tenant: options.tenant,
    });
    let server = tokio::spawn(accept(listener, Origin::Api, simulator.clone(), stop.clone()));
    let storage = tokio::spawn(accept(storage, Origin::Storage, simulator.clone(), stop));
    Ok(Running { addr, simulator, server, storage })
}

/// Accepts connections until `stop` is cancelled, then closes the open connections.
async fn accept(listener: TcpListener, origin: Origin, simulator: Arc<Simulator>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_ended) = connections.join_next() => {}
            taken = listener.accept() => match taken {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, origin, simulator.clone()))),
                // The simulator's process has probably used up its file handles. The pause keeps the accept loop from
                // spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

async fn connection(stream: TcpStream, origin: Origin, simulator: Arc<Simulator>) {
    // With Nagle's algorithm, a small response would wait for the client's acknowledgement. If `TCP_NODELAY` cannot be
    // set, responses are only slower.
    let _slower_without = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let connection = connection::Connection::new(stream, reset.clone());
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
    // Responses are small. Therefore one flat write is faster than a vectored write: a fifth more responses a second.
    let server = http1::Builder::new()
        .writev(false)
        .auto_date_header(time::has_date())
        .serve_connection(TokioIo::new(connection), service);
    // The client or a fault has broken the connection. Therefore an error at the end of a connection is expected.
    let _ended = server.await;
}
