//! `recoup lookup`: looks up order IDs from arguments or stdin in the index or at the vendor.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};

use super::{CommandContext, Exit, parked};
use crate::cli::LookupArgs;
use crate::config::HostFlags;
use crate::error::{Error, Kind, Result};
use crate::lookup::{self, AnswerKind, ParticipantIds};
use crate::model::{OrderId, counted};
use crate::store::index::{Index, IndexReader};
use crate::store::ledger::Ledger;

const LIVE_REQUESTS: u64 = 100;

pub(super) async fn run(context: &CommandContext<'_>, args: LookupArgs) -> Result<Exit> {
    let CommandContext { settings, clock, report, .. } = context;
    if args.orders.iter().any(|order| order == "-") && std::io::stdin().is_terminal() {
        report.note("reading order IDs from standard input, one per line; Ctrl-D ends the list");
    }
    let typed = order_ids(args.orders)?;
    if typed.is_empty() {
        return Err(Error::new(Kind::Usage, "standard input holds no order ID")
            .hint("write one order ID per line, or name the orders as arguments: `recoup lookup ORDER`"));
    }
    if args.live || args.participant.is_some() {
        super::forget::apply_tombstones(context, true)?;
    }
    if let Some(person) = &args.participant {
        let identity = settings.identity()?;
        let flags = HostFlags { max_wait: parked(args.park), ..HostFlags::default() };
        let advocate = context.advocate(flags)?;
        let mut index = Index::open(&settings.database, &identity)?;
        let looked = lookup::read_participant(&advocate, &mut index, &settings.mapping, clock, person).await?;
        report.note(looked.describe());
    }
    let open = || IndexReader::open(&settings.database, settings.identity_if_set()?.as_ref());
    let mut reader = open()?;
    let orders = lookup::split_lists(reader.as_ref(), typed)?;
    let mut searched = BTreeMap::new();
    if args.live {
        let budget = args.live_requests.unwrap_or(LIVE_REQUESTS);
        searched = search_missing(context, &orders, budget, args.park).await?;
        // `lookup --live` creates a missing index.
        reader = open()?;
    }
    let mut answers = lookup::run(reader.as_ref(), &orders, ParticipantIds::Match, clock.now())?;
    let updated = Ledger::open_read_only(&settings.ledger, settings.identity_if_set()?.as_ref())
        .and_then(|ledger| lookup::update_from_ledger(&mut answers, ledger.as_ref()));
    if let Err(error) = updated {
        report.warn(format!("the states are the index's alone, because the ledger cannot be read: {error}"));
    }
    for answer in &mut answers {
        answer.searched = searched.remove(&answer.order_id);
    }
    let (mut missing, mut unclear) = (0, 0);
    for answer in &answers {
        report.object(answer)?;
        report.lines(answer.describe());
        missing += usize::from(!answer.is_found());
        unclear += usize::from(answer.verdict == AnswerKind::Unclear);
    }
    if missing == 0 {
        return Ok(Exit::Done);
    }
    let error =
        Error::new(Kind::NotIndexed, format!("{missing} of {} not in the index", counted(answers.len(), "order")));
    Ok(Exit::Reported(match unclear {
        0 => error,
        _ => error.hint(format!("{unclear} of them unclear: look up the order again, exactly as the shop writes it")),
    }))
}

fn order_ids(given: Vec<String>) -> Result<Vec<OrderId>> {
    let mut orders = Vec::new();
    for text in given {
        if text == "-" {
            for (n, line) in std::io::stdin().lock().lines().enumerate() {
                let at = |error: Error| error.context(format!("line {} of standard input", n + 1));
                let line = line.map_err(|error| {
                    at(Error::new(Kind::Usage, error.to_string()).hint("order IDs are UTF-8 text, one per line"))
                })?;
                let line = line.strip_suffix('\r').unwrap_or(&line);
                // A spreadsheet writes a byte order mark at the start of a UTF-8 file. The byte order mark is not part
                // of the first order ID.
                let line = if n == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
                if !line.is_empty() {
                    orders.push(lookup::parse_typed(line).map_err(at)?);
                }
            }
        } else {
            orders.push(lookup::parse_typed(&text)?);
        }
    }
    Ok(orders)
}

/// Searches the vendor for each order that is missing from the index.
async fn search_missing(
    context: &CommandContext<'_>,
    orders: &[OrderId],
    budget: u64,
    park: bool,
) -> Result<BTreeMap<OrderId, lookup::VendorSearch>> {
    let CommandContext { settings, clock, report, .. } = context;
    let identity = settings.identity()?;
    let flags = HostFlags { max_wait: parked(park), ..HostFlags::default() };
    let advocate = context.advocate(flags)?;
    let mut index = Index::open(&settings.database, &identity)?;
    let progress = report.progress("orders searched live");
    let mut searched = BTreeMap::new();
    for (done, order) in orders.iter().enumerate() {
        progress.show(done as u64, Some(orders.len() as u64), "");
        if !searched.contains_key(order) && !index.has_order(order)? {
            let found = lookup::search(&advocate, &mut index, &settings.mapping, clock, order, budget).await?;
            searched.insert(order.clone(), found);
        }
    }
    Ok(searched)
}
