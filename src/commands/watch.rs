//! `recoup watch`: refunds that wait for their orders; and looking for them after a crawl.

use super::{Context, End};
use crate::cli::WatchCommand;
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::report::table;
use crate::store::index::IndexReader;
use crate::store::ledger::{Ledger, Watched};

pub(super) fn run(context: &Context<'_>, command: &WatchCommand) -> Result<End> {
    let Context { settings, report, actor, .. } = context;
    match command {
        WatchCommand::List => {
            let ledger = Ledger::open_read_only(&settings.ledger, settings.identity_if_set()?.as_ref())?;
            let list = ledger.map(|ledger| ledger.watched()).transpose()?.unwrap_or_default();
            for one in &list {
                report.object(one)?;
            }
            if list.is_empty() {
                report.note("no refund waits for its order");
            } else {
                report.lines(table(["order", "ticket", "since", "until", "stands"], list.iter().map(row)));
            }
            Ok(End::Done)
        }
        WatchCommand::Remove { orders } => {
            let orders = orders.iter().map(|order| lookup::order_id(order)).collect::<Result<Vec<_>>>()?;
            let ledger = Ledger::open(&settings.ledger, &settings.identity()?, actor)?;
            let removed = ledger.unwatch(&orders)?;
            report.object(&serde_json::json!({ "removed": removed }))?;
            report.line(format!("{removed} of {} are waited for no longer", orders.len()));
            if removed == orders.len() as u64 {
                return Ok(End::Done);
            }
            Err(Error::new(Kind::SomeFailed, "some of these orders are not on the list")
                .hint("`recoup watch list` shows the list; order IDs match exactly"))
        }
    }
}

fn row(one: &Watched) -> [String; 5] {
    [
        one.order_id.as_str().to_owned(),
        one.ticket.clone().unwrap_or_default(),
        one.added_at.clone(),
        one.expires_at.clone(),
        match (&one.found_at, &one.looked_at) {
            (Some(at), _) => format!("turned up {at}: recoup retract"),
            (None, Some(at)) => format!("not found, last looked for {at}"),
            (None, None) => "not looked for yet".to_owned(),
        },
    ]
}

/// Looks for what is waited for in what a crawl has just read, and says what turned up and what has expired.
pub(super) fn look(context: &Context<'_>) -> Result<()> {
    let Context { settings, clock, report, actor, .. } = context;
    let identity = settings.identity()?;
    let has_any = match Ledger::open_read_only(&settings.ledger, Some(&identity))? {
        Some(ledger) => !ledger.watched()?.is_empty(),
        None => false,
    };
    let Some(reader) = IndexReader::open(&settings.database, Some(&identity))?.filter(|_| has_any) else {
        return Ok(());
    };
    let ledger = Ledger::open(&settings.ledger, &identity, actor)?;
    let looked = ledger.look_for_watched(clock.now(), |order| Ok(!reader.find(order)?.is_empty()))?;
    for order in &looked.found {
        let order = crate::report::one_line(order.as_str());
        report.note(format!("order {order} was refunded and waited for, and has turned up: recoup retract {order:?}"));
    }
    for (orders, what) in [
        (&looked.expired, "refunds have waited long enough for their orders"),
        (&looked.dropped, "orders turned up a month ago, and are waited for no longer"),
    ] {
        let list: Vec<String> =
            orders.iter().map(|order| crate::report::one_line(order.as_str()).into_owned()).collect();
        if !list.is_empty() {
            report.warn(format!("{} {what}: {}", list.len(), list.join(", ")));
        }
    }
    Ok(())
}
