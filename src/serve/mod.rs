//! Use case: one address for the support team: a page, a JSON API, and what machines ask.
//!
//! `listen` takes connections, `routes` is the one table of what there is and who may, `guard` holds every request to it before
//! a handler sees it. `page` answers people, `api` programs, `probe` monitors. What is done is done by the other use cases, on
//! threads of their own, through `desk`. Nothing here may decide about a retraction, no token of the vendor may reach an answer,
//! and an account is shown only to who may see it and asked for it.

mod api;
mod app;
mod asked;
mod batch;
mod cookies;
mod desk;
mod guard;
mod headers;
mod listen;
mod page;
mod pool;
mod probe;
mod reading;
mod refusal;
mod routes;
mod webhooks;
mod wording;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use desk::DeskOptions;
pub use routes::{Answers, Need, Route, all as all_routes};

use crate::access;
use crate::clock::Clock;
use crate::error::Result;
use crate::report::Report;
use crate::schedule::{Schedule, Work};
use crate::webhook::Receiver;

/// How the service is reached, and who is believed.
pub struct Options {
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificate chain and key, PEM, where the service speaks TLS itself.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A reverse proxy that speaks TLS is in front.
    pub behind_proxy: bool,
    /// The proxy whose word is taken for who somebody is, and the header that says it.
    pub sign_in_proxy: Option<(IpAddr, String)>,
    /// Users, sessions and tokens.
    pub access: PathBuf,
    /// When sessions end.
    pub sessions: access::Limits,
    /// An index that is older than this is not ready.
    pub ready_max_age: Duration,
    /// Takes the vendor's webhooks.
    pub hooks: Arc<Receiver>,
    /// What runs by itself, and what that does.
    pub schedule: (Schedule, Arc<dyn Work>),
}

/// Serves until the token is cancelled; what was sent by then is finished.
pub async fn run(
    options: Options,
    desk: DeskOptions,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<()> {
    let bound = listen::bind(&options).await?;
    let address = bound.address();
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let app = Arc::new(app::App::new(options, desk, *clock, stop.clone())?);
    report.data(format!("listening on {scheme}://{address}"));
    if !app.has_users()? {
        report.note("there is no user yet: `recoup user add NAME --role admin` makes the first");
    }
    report.note("Ctrl-C ends it; what was sent is finished");
    let (schedule, work) = app.options.schedule.clone();
    app.tasks.spawn(schedule.run(work));
    app.tasks.spawn(batch::sweep_regularly(Arc::clone(&app)));
    bound.serve(&app, routes::router(&app)).await;
    app.finished().await;
    Ok(())
}
