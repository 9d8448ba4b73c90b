//! Which column is which, by its name; pure.
//!
//! Names are compared without case, spaces and signs, and only names that can mean one thing are known. Two columns that
//! could both be the order ID are refused by name rather than chosen between; a person says which (`--order-column`).
//! Columns that are not known are carried along untouched.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Kind, Result};

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// The merchant's order ID. The one column that must be there.
    OrderId,
    /// The code that goes to the vendor.
    Disposition,
    /// Why, for the ledger.
    Reason,
    /// The ticket, for the ledger.
    Ticket,
    /// What was refunded.
    Amount,
    /// The amount's currency.
    Currency,
    /// When it was refunded.
    RefundedAt,
    /// When it was ordered.
    OrderedAt,
    /// The vendor's action tracker (event type) ID.
    ActionTrackerId,
    /// The vendor's ActionId.
    ActionId,
}

impl Column {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::OrderId,
        Self::Disposition,
        Self::Reason,
        Self::Ticket,
        Self::Amount,
        Self::Currency,
        Self::RefundedAt,
        Self::OrderedAt,
        Self::ActionTrackerId,
        Self::ActionId,
    ];

    /// The name that is never in doubt, as it is written in messages and plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OrderId => "order_id",
            Self::Disposition => "disposition",
            Self::Reason => "reason",
            Self::Ticket => "ticket",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::RefundedAt => "refunded_at",
            Self::OrderedAt => "ordered_at",
            Self::ActionTrackerId => "action_tracker_id",
            Self::ActionId => "action_id",
        }
    }

    /// What it is called in sentences.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::OrderId => "order ID",
            Self::RefundedAt => "refund date",
            Self::OrderedAt => "order date",
            Self::ActionTrackerId => "action tracker ID",
            Self::ActionId => "ActionId",
            other => other.as_str(),
        }
    }

    /// The names under which it is found, folded.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::OrderId => &["orderid", "oid", "order", "ordernumber", "orderno", "ordername"],
            Self::Disposition => &["disposition", "dispositioncode"],
            Self::Reason => &["reason", "refundreason", "returnreason"],
            Self::Ticket => &["ticket", "ticketid", "ticketnumber"],
            Self::Amount => &["amount", "refundamount", "refundedamount", "amountrefunded"],
            Self::Currency => &["currency", "currencycode", "refundcurrency"],
            Self::RefundedAt => &["refundedat", "refunddate", "refunddatetime", "refundeddate", "daterefunded"],
            Self::OrderedAt => &["orderedat", "orderdate", "orderdatetime", "ordereddate", "dateordered"],
            Self::ActionTrackerId => &["actiontrackerid", "actiontracker", "eventtypeid"],
            Self::ActionId => &["actionid"],
        }
    }

    /// The column that a name means by itself.
    pub fn of_name(name: &str) -> Option<Self> {
        let folded = fold(name);
        Self::ALL.into_iter().find(|column| column.names().contains(&folded.as_str()))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Without case, and without anything that is no letter and no digit.
pub(super) fn fold(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The last column of a plan.
pub(super) const PLAN_MARK: &str = "recoup_plan_mark";

/// Whether recoup wrote the column.
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with("recoup_")
}

/// The columns of one file: all names, and where the known ones are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The names as they were, in order.
    pub header: Vec<String>,
    found: [Option<usize>; Column::ALL.len()],
}

impl Columns {
    /// Finds the known columns of the file that `name` calls. `chosen` says by name what a person has said; there an exact
    /// name wins over one that only looks like it.
    pub fn find(name: &str, header: Vec<String>, chosen: &[(Column, String)]) -> Result<Self> {
        let mut found = [None; Column::ALL.len()];
        let shopify = is_shopify(&header);
        for (slot, column) in found.iter_mut().zip(Column::ALL) {
            let candidates = match chosen.iter().find(|(wanted, _)| *wanted == column) {
                Some((_, wanted)) => chosen_candidates(name, &header, column, wanted)?,
                None => positions(&header, |cell| {
                    let means = Column::of_name(cell);
                    // "Name" is the order's in a shop's export, and a person's anywhere else.
                    means == Some(column) || (column == Column::OrderId && shopify && fold(cell) == "name")
                }),
            };
            *slot = match candidates.as_slice() {
                [] => None,
                [one] => Some(*one),
                [first, second, ..] => return Err(ambiguous(name, column, &header[*first], &header[*second])),
            };
        }
        let columns = Self { header, found };
        if columns.get(Column::OrderId).is_none() {
            return Err(no_order_column(name, &columns.header));
        }
        Ok(columns)
    }

    /// The columns of a plan, which remembers them by place. `None` where a place is not there, or order IDs have none.
    pub(super) fn at(header: Vec<String>, places: impl Iterator<Item = (Column, usize)>) -> Option<Self> {
        let mut columns = Self { header, found: [None; Column::ALL.len()] };
        for (column, place) in places {
            if place >= columns.header.len() {
                return None;
            }
            columns.found[column as usize] = Some(place);
        }
        columns.get(Column::OrderId).map(|_| columns)
    }

    /// Where a column is, from 0.
    pub fn get(&self, column: Column) -> Option<usize> {
        self.found[column as usize]
    }

    /// The names with the empty ones named and the repeated ones numbered, as keys of an object.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut seen = std::collections::HashSet::new();
        let mut keys = Vec::with_capacity(self.header.len());
        for (n, name) in self.header.iter().enumerate() {
            let base = if name.is_empty() { format!("column_{}", n + 1) } else { name.clone() };
            let mut key = base.clone();
            let mut count = 1;
            while !seen.insert(key.clone()) {
                count += 1;
                key = format!("{base}_{count}");
            }
            keys.push(key);
        }
        keys
    }
}

fn positions(header: &[String], mut wanted: impl FnMut(&str) -> bool) -> Vec<usize> {
    header.iter().enumerate().filter(|(_, name)| wanted(name)).map(|(n, _)| n).collect()
}

fn chosen_candidates(name: &str, header: &[String], column: Column, wanted: &str) -> Result<Vec<usize>> {
    let mut found = positions(header, |cell| cell == wanted && !wanted.is_empty());
    // A name of signs only folds to nothing, as an empty one does.
    let folded = fold(wanted);
    if found.is_empty() && !folded.is_empty() {
        found = positions(header, |cell| fold(cell) == folded);
    }
    if found.is_empty() {
        return Err(Error::new(Kind::Usage, format!("{name} has no column {wanted:?} for the {}", column.words()))
            .hint(format!("its columns are {}", list(header))));
    }
    Ok(found)
}

/// Columns that only a Shopify export of orders has.
fn is_shopify(header: &[String]) -> bool {
    header.iter().any(|name| matches!(fold(name).as_str(), "financialstatus" | "fulfillmentstatus"))
}

fn ambiguous(name: &str, column: Column, first: &str, second: &str) -> Error {
    let hint = if column == Column::OrderId {
        "say which one holds the IDs that impact.com knows: --order-column NAME".to_owned()
    } else {
        format!("rename the column that is not the {}", column.words())
    };
    let both = if first == second { format!("{first:?}, twice,") } else { format!("{first:?} and {second:?}") };
    Error::new(
        Kind::Usage,
        format!("{name} has two columns that could be the {}: {both}", column.words()).trim_end_matches(','),
    )
    .hint(hint)
}

fn no_order_column(name: &str, header: &[String]) -> Error {
    Error::new(Kind::Usage, format!("{name} has no column for the order ID; its columns are {}", list(header))).hint(
        "the first line names the columns; known for the order ID, in any case and spacing, are order_id, oid, order, \
         order_number, order_no and order_name; any other is named by --order-column NAME",
    )
}

/// At most a dozen names: enough to see what sort of file it is.
fn list(header: &[String]) -> String {
    let shown: Vec<String> =
        header.iter().take(12).map(|name| format!("{:?}", name.chars().take(40).collect::<String>())).collect();
    let more =
        if header.len() > shown.len() { format!(" and {} more", header.len() - shown.len()) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(header: &str, chosen: &[(Column, String)]) -> Result<Columns> {
        Columns::find("x.csv", header.split(',').map(str::to_owned).collect(), chosen)
    }

    #[test]
    fn columns_are_found_by_name_in_any_spelling() {
        for name in
            ["order_id", "Order ID", "ORDERID", "orderId", "order-id", "OID", "Order #", "Order Number", "order name"]
        {
            assert_eq!(find(name, &[]).expect(name).get(Column::OrderId), Some(0), "{name}");
        }
        let header = "Email,Order ID,Refund Amount,currency_code,Refund Date,order date,Event Type ID,ActionId,dispositionCode,Reason,Ticket";
        let columns = find(header, &[]).expect("columns");
        let places: Vec<Option<usize>> = Column::ALL.iter().map(|column| columns.get(*column)).collect();
        assert_eq!(places, [1, 8, 9, 10, 2, 3, 4, 5, 6, 7].map(Some));
    }

    #[test]
    fn what_is_in_doubt_is_refused_by_name() {
        for (header, says) in [
            ("order_id,Order Number", "\"order_id\" and \"Order Number\""),
            ("order_id,order_id", "\"order_id\", twice"),
            ("order_id,amount,refund_amount", "\"amount\" and \"refund_amount\""),
            ("Name,order_id,Financial Status", "\"Name\" and \"order_id\""),
            ("id,Name", "its columns are \"id\", \"Name\""),
            ("Name,Email", "no column for the order ID"),
            ("", "no column for the order ID"),
        ] {
            let error = find(header, &[]).expect_err(header);
            assert!(error.message.contains(says) && error.hint.is_some(), "{header}: {error:?}");
        }
        assert!(find("Name,Email,Financial Status", &[]).is_ok(), "a Shopify export");
    }

    #[test]
    fn a_person_may_say_which() {
        let chosen = |name: &str| [(Column::OrderId, name.to_owned())];
        for (header, name, place) in [
            ("order_id,Order Number", "order number", 1),
            ("order_id,Order ID", "Order ID", 1),
            ("ref,x", "REF", 0),
            ("#,x", "#", 0),
            ("Name,Email", "name", 0),
        ] {
            assert_eq!(find(header, &chosen(name)).expect(header).get(Column::OrderId), Some(place), "{header} {name}");
        }
        for (header, name) in [("order_id,x", "y"), ("order_id,OrderId", "Order-ID"), ("order_id,,", "")] {
            find(header, &chosen(name)).expect_err(name);
        }
    }

    #[test]
    fn places_are_those_of_the_list() {
        for (n, column) in Column::ALL.into_iter().enumerate() {
            assert_eq!(column as usize, n);
            assert_eq!(Column::of_name(column.as_str()), Some(column));
        }
    }

    #[test]
    fn keys_are_named_and_different() {
        let columns = find("order_id,,note,note,note_2,", &[]).expect("columns");
        assert_eq!(columns.keys(), ["order_id", "column_2", "note", "note_2", "note_2_2", "column_6"]);
    }
}
