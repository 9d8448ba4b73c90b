//! Maps the columns of a refund file to their meanings.
//!
//! recoup compares column names without case, spaces and punctuation. If two columns could have the same meaning,
//! recoup refuses the refund file.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use serde::Serialize;

use crate::error::{Error, Kind, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    OrderId,
    /// The column of disposition codes. recoup sends the code to the vendor.
    Disposition,
    /// The column of refund reasons. recoup records the reason in the ledger.
    Reason,
    /// The column of ticket numbers. recoup records the ticket in the ledger.
    Ticket,
    /// The column of refunded amounts. In a file of transactions, the amount column has the amount of one transaction.
    Amount,
    Currency,
    RefundedAt,
    OrderedAt,
    /// The column of the vendor's action tracker IDs, also called event type IDs.
    ActionTrackerId,
    ActionId,
    /// The column with the state of the order, payment or return.
    Status,
    /// The column with the type of the transaction.
    Type,
    /// The column with the price of the whole order.
    Total,
    /// The column of money that the shop paid out.
    Debit,
    /// The column of money that the shop received.
    Credit,
    /// The column with the ID of the row's own transaction, refund or payment.
    RowId,
    /// The column with the ID of another row to which this row refers.
    Reference,
    /// The column with the ID of the payment. All rows of one payment belong to one order.
    Payment,
    /// The column with the component of a transaction, such as price or fee.
    AmountType,
    /// The column with the kind of an amount within its `AmountType`, for example principal, tax or shipping.
    Detail,
    /// The column with the ID of an order item. Two rows with the same time and different order items are two refunds.
    Part,
}

/// A column of a refund file, and the names by which recoup recognises it.
pub type ColumnNames = (Column, &'static [&'static str]);

/// The columns of a plain list of refunds. [`Columns::find`] compares the address of [`LIST_COLUMNS`]. Therefore
/// [`LIST_COLUMNS`] must stay a `static`.
pub static LIST_COLUMNS: &[ColumnNames] = &[
    (
        Column::OrderId,
        &[
            "order_id",
            "oid",
            "order",
            "order number",
            "order no",
            "order name",
            "Bestellnummer",
            "Bestell-Nr",
            "Auftragsnummer",
            "Numéro de commande",
            "Número de pedido",
            "Numero ordine",
            "Numero d'ordine",
            "Bestelnummer",
            "Número do pedido",
        ],
    ),
    (Column::Disposition, &["disposition", "disposition code"]),
    (Column::Reason, &["reason", "refund reason", "return reason"]),
    (Column::Ticket, &["ticket", "ticket id", "ticket number"]),
    (
        Column::Amount,
        &[
            "amount",
            "refund amount",
            "refunded amount",
            "amount refunded",
            "total refund",
            "total refunded",
            "refund total",
        ],
    ),
    (Column::Currency, &["currency", "currency code", "refund currency"]),
    (
        Column::RefundedAt,
        &["refunded at", "refund date", "refund datetime", "refunded date", "date refunded", "refunded on"],
    ),
    (Column::OrderedAt, &["ordered at", "order date", "order datetime", "ordered date", "date ordered"]),
    (Column::ActionTrackerId, &["action tracker id", "action tracker", "event type id"]),
    (Column::ActionId, &["action id"]),
    (Column::Total, &["order total", "order amount", "order value"]),
];

impl Column {
    /// All columns that recoup knows, in the order of their declaration.
    pub const ALL: [Self; 21] = [
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
        Self::Status,
        Self::Type,
        Self::Total,
        Self::Debit,
        Self::Credit,
        Self::RowId,
        Self::Reference,
        Self::Payment,
        Self::AmountType,
        Self::Detail,
        Self::Part,
    ];

    /// Returns the column's name in JSON, plans and short messages.
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
            Self::Status => "status",
            Self::Type => "type",
            Self::Total => "total",
            Self::Debit => "debit",
            Self::Credit => "credit",
            Self::RowId => "row_id",
            Self::Reference => "reference",
            Self::Payment => "payment",
            Self::AmountType => "amount_type",
            Self::Detail => "detail",
            Self::Part => "part",
        }
    }

    /// Returns the column's name for full sentences in messages.
    pub fn words(self) -> &'static str {
        match self {
            Self::OrderId => "order ID",
            Self::RefundedAt => "refund date",
            Self::OrderedAt => "order date",
            Self::ActionTrackerId => "action tracker ID",
            Self::ActionId => "ActionId",
            Self::Total => "order total",
            Self::RowId => "row's own ID",
            Self::AmountType => "amount type",
            other => other.as_str(),
        }
    }

    /// Returns the column for which [`Column::as_str`] returns `word`.
    pub(super) fn by_str(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.as_str() == word)
    }

    /// Returns the column of a plain list that has this name.
    pub fn by_name(name: &str) -> Option<Self> {
        static FOLDED: LazyLock<HashMap<String, Column>> = LazyLock::new(|| {
            LIST_COLUMNS.iter().flat_map(|(column, names)| names.iter().map(|name| (fold(name), *column))).collect()
        });
        FOLDED.get(&fold(name)).copied()
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the letters and digits of a column name in lower case.
pub(super) fn fold(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Returns `true` if a column name consists only of letters, digits and joining characters.
fn is_plain_name(name: &str) -> bool {
    name.chars().all(|c| {
        c.is_alphanumeric() || c.is_whitespace() || matches!(c, '_' | '-' | '.' | '/' | '#' | '\'' | '\u{feff}')
    })
}

pub(super) const PLAN_MARK: &str = "recoup_plan_mark";

pub(super) fn is_own(name: &str) -> bool {
    name.starts_with("recoup_")
}

/// The header of one refund file and the meanings of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The column names, exactly as in the refund file.
    pub header: Vec<String>,
    found: [Option<usize>; Column::ALL.len()],
}

impl Columns {
    /// Finds the columns of `names` in a header. Error messages call the file `name`. Column names that the user has
    /// `chosen` take precedence. Fails if the order ID column is missing or two columns could mean the same. In a plain
    /// list, two names of one column are ambiguous. A platform's format lists the names of a column in order of
    /// preference.
    pub fn find(name: &str, header: Vec<String>, names: &[ColumnNames], chosen: &[(Column, String)]) -> Result<Self> {
        let is_list = std::ptr::eq(names, LIST_COLUMNS);
        let folded: Vec<String> = header.iter().map(|cell| fold(cell)).collect();
        let mut found = [None; Column::ALL.len()];
        let mut taken = Vec::new();
        for (column, wanted) in chosen {
            let place = position(name, &header, &folded, *column, wanted)?;
            if taken.contains(&place) {
                return Err(Error::new(Kind::Usage, format!("column {wanted:?} cannot mean two things"))
                    .hint("name another column for one of them"));
            }
            taken.push(place);
            found[*column as usize] = Some(place);
        }
        for (column, known) in names {
            if found[*column as usize].is_some() {
                continue;
            }
            for known in *known {
                let known = fold(known);
                // In a plain list, punctuation may change the meaning of a column name: `refund amount %`, `✗
                // refunded_at`.
                let is_name = |n: &usize| !is_list || is_plain_name(&header[*n]);
                let mut places =
                    (0..header.len()).filter(|n| folded[*n] == known && !taken.contains(n)).filter(is_name);
                let Some(first) = places.next() else { continue };
                if let Some(second) = places.next() {
                    return Err(ambiguous(name, *column, &header[first], &header[second]));
                }
                if let Some(other) = found[*column as usize] {
                    return Err(ambiguous(name, *column, &header[other], &header[first]));
                }
                found[*column as usize] = Some(first);
                if !is_list {
                    break;
                }
            }
        }
        let columns = Self { header, found };
        if columns.get(Column::OrderId).is_none() {
            return Err(no_order_column(name, &columns.header));
        }
        Ok(columns)
    }

    /// Creates columns from a header in which recoup knows no column. The user must name the order ID column.
    pub(super) fn without_meaning(header: Vec<String>) -> Self {
        Self { header, found: [None; Column::ALL.len()] }
    }

    /// Assigns the column meanings that a plan has stored by index. Returns `None` if a stored index is out of range or
    /// the order ID column is missing.
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

    /// Returns the index of a column in the header, from 0.
    pub fn get(&self, column: Column) -> Option<usize> {
        self.found[column as usize]
    }

    /// Returns unique column names for use as JSON keys. An empty name gets a number, and a repeated name gets a
    /// suffix.
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

/// Finds the column that the user named. An exact column name takes precedence over a name that differs in case or
/// punctuation. `NAME#2` is the second column of that name.
pub(super) fn position(
    name: &str,
    header: &[String],
    folded: &[String],
    column: Column,
    wanted: &str,
) -> Result<usize> {
    let places = |wanted: &str| -> Vec<usize> {
        let exact: Vec<usize> = (0..header.len()).filter(|n| header[*n] == wanted && !wanted.is_empty()).collect();
        // A column name of punctuation alone folds to the empty string. The empty string must not match an unnamed
        // column.
        let plain = fold(wanted);
        if exact.is_empty() && !plain.is_empty() {
            return (0..header.len()).filter(|n| folded[*n] == plain).collect();
        }
        exact
    };
    match places(wanted).as_slice() {
        [one] => return Ok(*one),
        [first, second, ..] => return Err(ambiguous(name, column, &header[*first], &header[*second])),
        [] => {}
    }
    let nth = wanted.rsplit_once('#').and_then(|(base, nth)| Some((base, nth.parse::<usize>().ok()?.checked_sub(1)?)));
    if let Some(place) = nth.and_then(|(base, nth)| places(base).get(nth).copied()) {
        return Ok(place);
    }
    Err(Error::new(Kind::Usage, format!("{name} has no column {wanted:?} for the {}", column.words()))
        .hint(format!("its columns are {}", list_names(header))))
}

fn ambiguous(name: &str, column: Column, first: &str, second: &str) -> Error {
    let flag = match column {
        Column::OrderId => "--order-column",
        Column::Amount => "--amount-column",
        Column::Total => "--total-column",
        Column::Status => "--status-column",
        Column::RefundedAt => "--date-column",
        _ => "",
    };
    let (both, example) = if first == second {
        (format!("{first:?}, twice"), format!("'{first}#2' for the second one"))
    } else {
        (format!("{first:?} and {second:?}"), format!("'{first}' or '{second}'"))
    };
    let hint = if flag.is_empty() {
        format!("rename the column that is not the {}", column.words())
    } else {
        format!("say which one it is: {flag} {example}")
    };
    Error::new(Kind::Usage, format!("{name} has two columns that could be the {}: {both}", column.words())).hint(hint)
}

fn no_order_column(name: &str, header: &[String]) -> Error {
    Error::new(Kind::Usage, format!("{name} has no column for the order ID; its columns are {}", list_names(header))).hint(
        "the first line names the columns; known for the order ID, in any case and spacing, are order_id, oid, order, \
         order_number, order_no and order_name; name any other with --order-column NAME; `recoup refunds formats` lists the \
         exports that are recognised",
    )
}

/// Formats at most a dozen column names for an error.
pub(super) fn list_names(header: &[String]) -> String {
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
        Columns::find("x.csv", header.split(',').map(str::to_owned).collect(), LIST_COLUMNS, chosen)
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
        let places: Vec<Option<usize>> = LIST_COLUMNS[..10].iter().map(|(column, _)| columns.get(*column)).collect();
        assert_eq!(places, [1, 8, 9, 10, 2, 3, 4, 5, 6, 7].map(Some));
    }

    #[test]
    fn ambiguous_columns_are_refused_by_name() {
        for (header, says) in [
            ("order_id,Order Number", "\"order_id\" and \"Order Number\""),
            ("order_id,order_id", "\"order_id\", twice"),
            ("order_id,amount,refund_amount", "\"amount\" and \"refund_amount\""),
            ("id,Name", "its columns are \"id\", \"Name\""),
            ("Name,Email", "no column for the order ID"),
            ("", "no column for the order ID"),
        ] {
            let error = find(header, &[]).expect_err(header);
            assert!(error.message.contains(says) && error.hint.is_some(), "{header}: {error:?}");
        }
    }

    #[test]
    fn a_named_column_takes_precedence() {
        let chosen = |name: &str| [(Column::OrderId, name.to_owned())];
        for (header, name, place) in [
            ("order_id,Order Number", "order number", 1),
            ("order_id,Order ID", "Order ID", 1),
            ("ref,x", "REF", 0),
            ("#,x", "#", 0),
            ("Name,Email", "name", 0),
            ("order_id,x,order_id", "order_id#2", 2),
            ("a#2,a", "a#2", 0),
        ] {
            assert_eq!(find(header, &chosen(name)).expect(header).get(Column::OrderId), Some(place), "{header} {name}");
        }
        for (header, name) in
            [("order_id,x", "y"), ("order_id,OrderId", "Order-ID"), ("a,a", "a#3"), ("a,a", "a#0"), ("order_id,,", "")]
        {
            find(header, &chosen(name)).expect_err(name);
        }
    }

    #[test]
    fn column_numbers_are_their_places_in_all() {
        for (n, column) in Column::ALL.into_iter().enumerate() {
            assert_eq!(column as usize, n);
            assert_eq!(Column::by_str(column.as_str()), Some(column));
        }
    }

    #[test]
    fn json_keys_are_unique() {
        let columns = find("order_id,,note,note,note_2,", &[]).expect("columns");
        assert_eq!(columns.keys(), ["order_id", "column_2", "note", "note_2", "note_2_2", "column_6"]);
    }
}
