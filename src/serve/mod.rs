//! Use case: the HTTP service for the support team: web page, JSON API, webhooks, health checks and metrics.
//!
//! `listen` accepts connections. `routes` is the only table of paths and of the access that each path requires. `auth`
//! checks every request against the table of routes before a handler runs. The module `page` serves browsers and `api`
//! serves API clients; both call the other use cases through `actions`. Only the `retract` module decides about a
//! retraction. No response contains a vendor token. A response contains an account ID only on request, and only for a
//! user with the right to see accounts.

mod actions;
mod api;
mod app;
mod approvals;
mod auth;
mod batch;
mod connection;
mod connection_pool;
mod cookies;
mod error_bodies;
mod extractors;
mod file_options;
mod flag_names;
mod headers;
mod health;
pub mod health_check;
mod listen;
mod looking;
mod notices;
mod page;
mod recent;
mod routes;
mod searches;
mod several;
mod ui_text;
mod webhooks;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use actions::ActionSettings;
pub use flag_names::{entry_for, receipt_for_api, without_flags};
pub use routes::{Access, Audience, Route, all as all_routes};

use crate::access;
use crate::clock::Clock;
use crate::error::{Kind, Result};
use crate::model::LinkTemplate;
use crate::notify::{self, Notifier};
use crate::report::Report;
use crate::schedule::{Schedule, Work};
use crate::store::Place;
use crate::webhook::Receiver;

pub struct Options {
    pub listen: SocketAddr,
    /// Paths of the certificate chain and the private key, in PEM; `None` without TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `true` if a reverse proxy in front of the service terminates TLS.
    pub behind_proxy: bool,
    /// The address of a proxy that signs users in, and the header that contains the user's name.
    pub sign_in_proxy: Option<(IpAddr, String)>,
    /// The place of the users' database, which has users, sessions and tokens.
    pub access: Place,
    pub sessions: access::Limits,
    /// The age of the index above which `/readyz` fails.
    pub ready_max_age: Duration,
    /// Maximum number of requests of one API token per minute; `None` for no limit.
    pub token_requests_per_minute: Option<NonZeroU32>,
    pub page: PageOptions,
    pub hooks: Arc<Receiver>,
    /// The settings of notices; `None` if notices are not configured.
    pub notices: Option<notify::Settings>,
    pub schedule: (Schedule, Arc<dyn Work>),
    /// The effective settings of the service, without secrets.
    pub shown_settings: Vec<ShownSetting>,
}

/// An effective setting, for the page of an administrator.
#[derive(Debug, Clone)]
pub struct ShownSetting {
    pub key: String,
    /// The value of the setting; `None` if the setting is unset and has no default.
    pub value: Option<String>,
    pub source: String,
}

/// The settings for what the page offers.
#[derive(Debug, Clone, Default)]
pub struct PageOptions {
    /// The reasons that a retraction form offers in addition to its free text.
    pub reasons: Vec<String>,
    /// The URL of an order's page in the shop; `None` for no link.
    pub shop_order_url: Option<LinkTemplate>,
    /// The URL of an action's page at the vendor; `None` for no link.
    pub vendor_action_url: Option<LinkTemplate>,
}

/// Serves until `stop` is cancelled, then finishes the actions in progress.
pub async fn run(
    options: Options,
    settings: ActionSettings,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<()> {
    // The service does not start if it cannot send notices, because people would wait for notices that never arrive.
    let notifier = options.notices.clone().map(|settings| Notifier::new(settings, *clock, stop.clone())).transpose()?;
    let bound = listen::bind(&options).await?;
    let address = bound.address();
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let app = Arc::new(app::App::new(options, settings, *clock, stop.clone())?);
    report.data(format!("listening on {scheme}://{address}"));
    match app.has_users() {
        Ok(true) => {}
        Ok(false) => report.note("there is no user yet: `recoup user add NAME --role admin` adds the first"),
        // The server may start after the service. Until then `/readyz` says what is wrong, and nothing is sent.
        Err(error) if app.options.access.is_server() && error.kind == Kind::Storage => {
            report.warn(format!("{}; the service waits for the server", error.message));
        }
        Err(error) => return Err(error),
    }
    report.note("press Ctrl-C to stop; retractions that were begun are finished first");
    let (schedule, work) = app.options.schedule.clone();
    app.actions.tasks.spawn(schedule.run(work));
    app.actions.tasks.spawn(batch::sweep_hourly(Arc::clone(&app)));
    if let Some(notifier) = notifier {
        app.actions.tasks.spawn(notices::run(Arc::clone(&app), notifier));
    }
    bound.serve(&app, routes::router(&app)).await;
    app.actions.tasks.close();
    app.actions.tasks.wait().await;
    Ok(())
}

/// Parses the page's form into a request. A test compares the requests that come from flags, form, JSON body and
/// approval.
#[cfg(test)]
pub(crate) fn request_of_form(form: &str) -> Result<crate::retract::request::RetractRequest> {
    page::retract::from_form(&extractors::Fields::parse(form.as_bytes()))
}
