//! `recoup serve`: runs the service from flags and settings until a signal stops it.

use std::sync::Arc;
use std::time::Duration;

use super::{CommandContext, Exit};
use crate::access;
use crate::cli::{ColumnArgs, ServeArgs};
use crate::config::{HostFlags, Span};
use crate::error::Result;
use crate::model::budget::Purpose;
use crate::retract::batch::Limits;
use crate::serve::{self, ActionSettings};
use crate::webhook::{Keys, Receiver};

/// The maximum time that a request to the page or the API waits for the vendor's quota.
const MAX_WAIT: Duration = Duration::from_secs(20);

pub(super) async fn run(context: &CommandContext<'_>, args: ServeArgs) -> Result<Exit> {
    let CommandContext { settings, clock, stop, report, actor, .. } = context;
    let identity = settings.identity()?;
    let wait = Some(Span(MAX_WAIT));
    let flags = HostFlags { purpose: Purpose::Retraction, max_wait: wait, ..HostFlags::default() };
    let looking = HostFlags { purpose: Purpose::Looking, ..flags };
    let mut writer = super::retract::writer(settings, None)?;
    let batch_wait = writer.host.max_wait;
    writer.host.max_wait = writer.host.max_wait.min(MAX_WAIT);
    let actions = ActionSettings {
        index: settings.database.clone(),
        ledger: settings.ledger.clone(),
        identity,
        mapping: settings.mapping.clone(),
        advocate: settings.advocate_options(flags)?,
        brand: settings.brand_options(flags)?,
        looking: (settings.advocate_options(looking)?, settings.brand_options(looking)?),
        ir_version: settings.ir_version.clone(),
        writer,
        follows: super::retract::follows(settings, None),
        max_index_age: settings.retract.max_index_age,
        limits: Limits { count: settings.retract.max_count, value: settings.retract.max_value },
        batch_wait,
        reading: super::refunds::options(settings, &ColumnArgs::default()),
        host: actor.host.clone(),
    };
    let serve = &settings.serve;
    let options = serve::Options {
        listen: args.listen.unwrap_or(serve.listen),
        tls: args.tls_cert.zip(args.tls_key).or_else(|| serve.tls.clone()),
        behind_proxy: args.behind_proxy || serve.behind_proxy,
        sign_in_proxy: serve.sign_in_proxy.clone(),
        access: settings.access.clone(),
        sessions: access::Limits { idle: serve.session_idle, absolute: serve.session_end },
        ready_max_age: serve.ready_max_age,
        token_requests_per_minute: serve.token_requests_per_minute,
        page: serve::PageOptions {
            reasons: serve.reasons.clone(),
            shop_order_url: serve.shop_order_url.clone(),
            vendor_action_url: serve.vendor_action_url.clone(),
        },
        hooks: Arc::new(Receiver::new(Keys::new(settings.jwks_url()?), &actions.identity.tenant)),
        notices: settings.notices.clone(),
        shown_settings: settings
            .shown()
            .into_iter()
            .map(|shown| serve::ShownSetting { key: shown.key, value: shown.value, source: shown.source })
            .collect(),
        schedule: (super::scheduled::schedule(context)?, super::scheduled::Scheduled::new(context)),
    };
    serve::run(options, actions, clock, stop, report).await?;
    Ok(Exit::Done)
}
