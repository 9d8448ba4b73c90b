//! Splits a pasted text into the order IDs to look up.

use crate::error::Result;
use crate::lookup::{candidates, order_id};
use crate::model::OrderId;
use crate::model::order_text::{skeleton, split, split_indices};
use crate::store::index::IndexReader;

/// Maximum number of separators inside one order ID.
const MAX_SEPARATORS: usize = 3;

/// Checks a pasted text that may be an order ID or a list of order IDs. Only a list of order IDs, which [`split_lists`]
/// splits, may be longer than an order ID.
pub fn parse_typed(text: &str) -> Result<OrderId> {
    if text.len() > OrderId::MAX_BYTES && split(text).len() > 1 {
        return Ok(OrderId::new(text));
    }
    order_id(text)
}

/// Splits each pasted text that is a list of order IDs. A pasted text stays whole if the index has an order with
/// exactly this ID. An order ID that contains a separator also stays whole. `reader` is `None` if the index does not
/// exist yet.
pub fn split_lists(reader: Option<&IndexReader>, texts: Vec<OrderId>) -> Result<Vec<OrderId>> {
    let mut orders = Vec::new();
    for text in texts {
        let pieces = split_indices(text.as_str());
        match reader {
            _ if pieces.len() < 2 => orders.push(text),
            None => orders.extend(pieces.into_iter().map(|(_, piece)| OrderId::new(piece))),
            Some(reader) => orders.extend(split_text(reader, &text, &pieces)?),
        }
    }
    Ok(orders)
}

/// Splits a pasted text into the longest runs of pieces that the index has, and the pieces between them.
fn split_text(reader: &IndexReader, text: &OrderId, pieces: &[(usize, &str)]) -> Result<Vec<OrderId>> {
    let can_be_one = text.as_str().len() <= OrderId::MAX_BYTES;
    let is_known = |order: &OrderId| reader.find(order).map(|found| !found.is_empty());
    if can_be_one && is_known(text)? {
        return Ok(vec![text.clone()]);
    }
    let (mut orders, mut all_known, mut at) = (Vec::new(), true, 0);
    while let Some((begin, first)) = pieces.get(at).copied() {
        let mut found = None;
        for (n, (last, piece)) in pieces.iter().enumerate().skip(at).take(MAX_SEPARATORS + 1).rev() {
            let run = text.as_str().get(begin..last + piece.len()).map(OrderId::new);
            if let Some(run) = run.filter(|run| run.as_str().len() <= OrderId::MAX_BYTES)
                && is_known(&run)?
            {
                found = Some((run, n + 1));
                break;
            }
        }
        all_known &= found.is_some();
        let (order, next) = found.unwrap_or_else(|| (OrderId::new(first), at + 1));
        orders.push(order);
        at = next;
    }
    // A single order with other text around it is not a list.
    let is_one = can_be_one && (orders.len() == 1 || !all_known && means_one_order(reader, text, pieces)?);
    Ok(if is_one { vec![text.clone()] } else { orders })
}

/// Returns `true` if the index has an order that the whole text may mean and no piece of it means, such as order 1001
/// for `1,001`.
fn means_one_order(reader: &IndexReader, text: &OrderId, pieces: &[(usize, &str)]) -> Result<bool> {
    let pieces: Vec<String> = pieces.iter().map(|(_, piece)| skeleton(piece)).collect();
    let is_of_a_piece = |order: &OrderId| pieces.iter().any(|piece| piece.contains(&skeleton(order.as_str())));
    Ok(candidates::known(reader, text)?.iter().any(|known| !is_of_a_piece(&known.order_id)))
}
