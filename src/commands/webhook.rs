//! `recoup webhook`: manages webhook subscriptions at the vendor, and reads the accounts that webhooks have queued.
//!
//! `recoup webhook` shows a change to the subscriptions at the vendor, asks for confirmation, and sends the change
//! once.

use serde_json::json;
use url::Url;

use super::{CommandContext, Exit};
use crate::cli::{AddressArgs, WebhookCommand};
use crate::config::{HostFlags, Span};
use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::report;
use crate::store::index::Index;
use crate::vendor::{Subscriber, SubscriptionChange};
use crate::webhook;

/// The vendor's event types about rewards: a new reward, and a changed balance, which includes a cancelled reward
/// (`docs/vendor/advocate.md` §5).
const TYPES: [&str; 2] = ["reward.created", "user.reward.balance.changed"];

pub(super) async fn run(context: &CommandContext<'_>, command: WebhookCommand) -> Result<Exit> {
    match command {
        WebhookCommand::List => list(context).await,
        WebhookCommand::Subscribe { address, types } => {
            let types = if types.is_empty() { TYPES.map(str::to_owned).to_vec() } else { types };
            check_address(&address.url)?;
            let what = format!("send {} to {}", types.join(", "), address.url);
            change(context, &address, &what, SubscriptionChange::Subscribe(&types)).await
        }
        WebhookCommand::Remove { address } => {
            let what = format!("stop sending to {}", address.url);
            change(context, &address, &what, SubscriptionChange::Remove).await
        }
        WebhookCommand::Test { address } => {
            let what = format!("send a test to {}", address.url);
            change(context, &address, &what, SubscriptionChange::Test).await
        }
        WebhookCommand::Work => work(context).await,
    }
}

async fn list(context: &CommandContext<'_>) -> Result<Exit> {
    let known = context.advocate(HostFlags::default())?.subscriptions().await?;
    context.show_list(&known, "the tenant has no subscription", ["address", "name", "source", "types"], |one| {
        let name = one.name.clone().unwrap_or_default();
        [one.url.clone(), name, one.source.clone().unwrap_or_default(), one.types.join(" ")]
    })
}

async fn change(
    context: &CommandContext<'_>,
    address: &AddressArgs,
    what: &str,
    change: SubscriptionChange<'_>,
) -> Result<Exit> {
    let CommandContext { settings, clock, stop, report, .. } = context;
    let tenant = settings.tenant()?;
    if address.dry_run {
        let line = format!("dry run: the vendor would be asked to {what}");
        context.show(&json!({ "dry_run": true, "would": what }), [line])?;
        return Ok(Exit::Done);
    }
    if !address.yes {
        if !report.can_ask() {
            return Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was sent")
                .hint("add --yes to go ahead without a question, or --dry-run to see what would happen"));
        }
        let question = format!("Ask the vendor to {what}, for tenant {tenant}?");
        report::confirm(question, stop, "nothing was sent").await?;
    }
    let options = settings.advocate_options(HostFlags::default())?;
    let subscriber = Subscriber::new(&options, tenant, **clock, (*stop).clone())?;
    subscriber.change(&address.url, change).await?;
    context.show(&json!({ "done": what }), [format!("the vendor was asked to {what}")])?;
    Ok(Exit::Done)
}

/// Fails if the URL is plain HTTP, because the vendor sends webhooks over the internet.
fn check_address(text: &str) -> Result<()> {
    let url = Url::parse(text).map_err(|error| {
        Error::new(Kind::Usage, format!("the address is not a URL: {error}"))
            .hint("it is the address under which the vendor reaches `recoup serve`, as https://HOST/webhooks/advocate")
    })?;
    crate::vendor::check_base(&url).map_err(|error| Error { kind: Kind::Usage, ..error })
}

/// Reads the accounts that webhooks have queued.
pub(super) async fn work(context: &CommandContext<'_>) -> Result<Exit> {
    let CommandContext { settings, clock, .. } = context;
    let identity = settings.identity()?;
    super::forget::apply_tombstones(context, true)?;
    let mut index = Index::open(&settings.database, &identity)?;
    // Creates a client of the vendor's API only if the queue of webhooks has an account, because the queue is usually
    // empty.
    let worked = if index.waiting_accounts(1, clock.now())?.is_empty() {
        webhook::QueueRun::default()
    } else {
        let flags = HostFlags { max_wait: Some(Span(std::time::Duration::ZERO)), ..HostFlags::default() };
        webhook::read_queue(&context.advocate(flags)?, &mut index, &settings.mapping, clock).await?
    };
    context.show(&worked, [format!("read again: {}; failed: {}", counted(worked.read, "account"), worked.failed)])?;
    Ok(Exit::Done)
}
