//! `recoup webhook`: subscriptions at the vendor, and the accounts that deliveries have named.
//!
//! What changes something at the vendor is shown, asked about, and sent once.

use serde_json::json;
use url::Url;

use super::{Context, End};
use crate::cli::{AddressArgs, WebhookCommand};
use crate::config::{Span, Wishes};
use crate::error::{Error, Kind, Result};
use crate::report::{self, table};
use crate::store::index::Index;
use crate::vendor::{Subscriber, Subscription, SubscriptionChange};
use crate::webhook;

/// Events that hint at rewards: one that was given, and a balance that has moved, as it does when one is cancelled
/// (`docs/vendor/advocate.md` §5).
const TYPES: [&str; 2] = ["reward.created", "user.reward.balance.changed"];

pub(super) async fn run(context: &Context<'_>, command: WebhookCommand) -> Result<End> {
    match command {
        WebhookCommand::List => list(context).await,
        WebhookCommand::Subscribe { address, types } => {
            let types = if types.is_empty() { TYPES.map(str::to_owned).to_vec() } else { types };
            check_address(&address.url)?;
            let what = format!("send {} to {}", types.join(", "), address.url);
            change(context, &address, &what, SubscriptionChange::Subscribe(&types)).await
        }
        WebhookCommand::Remove { address } => {
            let what = format!("send nothing to {} any more", address.url);
            change(context, &address, &what, SubscriptionChange::Remove).await
        }
        WebhookCommand::Test { address } => {
            let what = format!("send a test to {}", address.url);
            change(context, &address, &what, SubscriptionChange::Test).await
        }
        WebhookCommand::Work => work(context).await,
    }
}

async fn list(context: &Context<'_>) -> Result<End> {
    let report = context.report;
    let known = context.advocate(Wishes::default())?.subscriptions().await?;
    for one in &known {
        report.object(one)?;
    }
    if known.is_empty() {
        report.note("the tenant has no subscription");
    } else {
        let row = |one: &Subscription| {
            let name = one.name.clone().unwrap_or_default();
            [one.url.clone(), name, one.source.clone().unwrap_or_default(), one.types.join(" ")]
        };
        report.lines(table(["address", "name", "source", "types"], known.iter().map(row)));
    }
    Ok(End::Done)
}

async fn change(
    context: &Context<'_>,
    address: &AddressArgs,
    what: &str,
    change: SubscriptionChange<'_>,
) -> Result<End> {
    let Context { settings, clock, stop, report, .. } = context;
    let tenant = settings.tenant()?;
    if address.dry_run {
        report.object(&json!({ "dry_run": true, "would": what }))?;
        report.line(format!("a dry run: the vendor would be asked to {what}"));
        return Ok(End::Done);
    }
    if !address.yes {
        if !report.can_ask() {
            return Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was sent")
                .hint("add --yes to go ahead without a question, or --dry-run to see what would happen"));
        }
        let question = format!("Ask the vendor to {what}, for tenant {tenant}?");
        report::confirm(question, stop, "nothing was sent").await?;
    }
    let options = settings.advocate_options(Wishes::default())?;
    let subscriber = Subscriber::new(&options, tenant, **clock, (*stop).clone())?;
    subscriber.change(&address.url, change).await?;
    report.object(&json!({ "done": what }))?;
    report.line(format!("the vendor was asked to {what}"));
    Ok(End::Done)
}

/// The vendor sends over the open network: what it sends must not cross it in clear.
fn check_address(text: &str) -> Result<()> {
    let url = Url::parse(text).map_err(|error| {
        Error::new(Kind::Usage, format!("the address is no URL: {error}"))
            .hint("it is the address under which the vendor reaches `recoup serve`, as https://HOST/webhooks/advocate")
    })?;
    crate::vendor::check_base(&url).map_err(|error| Error { kind: Kind::Usage, ..error })
}

/// Reads the accounts that wait.
pub(super) async fn work(context: &Context<'_>) -> Result<End> {
    let Context { settings, clock, report, .. } = context;
    let identity = settings.identity()?;
    super::forget::apply_tombstones(context, true)?;
    let mut index = Index::open(&settings.database, &identity)?;
    // Nothing waits most of the time, and then nobody needs a client.
    let worked = if index.waiting_accounts(1, clock.now())?.is_empty() {
        webhook::QueueRun::default()
    } else {
        let wishes = Wishes { max_wait: Some(Span(std::time::Duration::ZERO)), ..Wishes::default() };
        webhook::read_queue(&context.advocate(wishes)?, &mut index, &settings.mapping, clock).await?
    };
    report.object(&worked)?;
    report.line(format!("{} accounts were read again, {} could not be", worked.read, worked.failed));
    Ok(End::Done)
}
