//! `recoup watch`: lists and removes watched orders. A crawl also calls this module to look the watched orders up.

use super::{CommandContext, Exit};
use crate::cli::WatchCommand;
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::counted;
use crate::store::index::IndexReader;
use crate::store::ledger::{Ledger, Watched};

pub(super) fn run(context: &CommandContext<'_>, command: &WatchCommand) -> Result<Exit> {
    let CommandContext { settings, report, actor, .. } = context;
    match command {
        WatchCommand::List => {
            let ledger = Ledger::open_read_only(&settings.ledger, settings.identity_if_set()?.as_ref())?;
            let list = ledger.map(|ledger| ledger.watched()).transpose()?.unwrap_or_default();
            context.show_list(&list, "no order is watched", ["order", "ticket", "since", "until", "state"], row)
        }
        WatchCommand::Remove { orders } => {
            let orders = orders.iter().map(|order| lookup::order_id(order)).collect::<Result<Vec<_>>>()?;
            let ledger = Ledger::open(&settings.ledger, &settings.identity()?, actor)?;
            let removed = ledger.unwatch(&orders)?;
            report.object(&serde_json::json!({ "removed": removed }))?;
            report.line(format!("{removed} of {} no longer watched", counted(orders.len(), "order")));
            if removed == orders.len() as u64 {
                return Ok(Exit::Done);
            }
            Err(Error::new(Kind::SomeFailed, "some of these orders are not on the list")
                .hint("`recoup watch list` shows the list; order IDs are compared exactly"))
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
            (Some(at), _) => format!("found {at}: recoup retract"),
            (None, Some(at)) => format!("not found, last looked up {at}"),
            (None, None) => "not looked up yet".to_owned(),
        },
    ]
}

/// Looks up watched orders in the index after a crawl, and reports found and expired orders.
pub(super) fn look_up_watched(context: &CommandContext<'_>) -> Result<()> {
    let CommandContext { settings, clock, report, actor, .. } = context;
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
        report.note(format!("watched order {order} was found: recoup retract {order:?}"));
    }
    for (orders, what) in [
        (&looked.expired, "no longer watched, because no crawl found them in time"),
        (&looked.dropped, "no longer watched, because they were found a month ago"),
    ] {
        let list: Vec<String> =
            orders.iter().map(|order| crate::report::one_line(order.as_str()).into_owned()).collect();
        if !list.is_empty() {
            report.warn(format!("orders {what}: {}", list.join(", ")));
        }
    }
    Ok(())
}
