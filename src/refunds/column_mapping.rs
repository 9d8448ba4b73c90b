//! The user's description of a refund file's columns, from flags, the page or `recoup.toml`. `column_mapping` also
//! interprets the rows of a refund file by the user's description.

use serde::{Deserialize, Serialize};

use super::columns::{Column, fold};
use super::dates::{self, DateError, DateOrder};
use super::formats::{OrderStatus, RowCells, RowMeaning};
use crate::error::{Error, Kind, Result};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnMapping {
    /// The columns by which recoup recognises a refund file for this mapping. The refund file must have all of the
    /// columns by which recoup recognises it. Only a mapping in `recoup.toml` names columns by which recoup recognises
    /// a file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recognise_by: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_means: Option<AmountMeans>,
    /// The column that contains the price of the whole order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_column: Option<String>,
    /// The column that states whether the order was refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_column: Option<String>,
    /// The values of the status column that mean *refunded*. The case of a status value does not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refunded_when: Vec<String>,
    /// The column that contains the refund dates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_column: Option<String>,
    /// Columns of the refund file that the user declares irrelevant to the refund.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_columns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum AmountMeans {
    /// The amount that the shop paid back to the customer
    Refunded,
    /// The price of the order after the refund; 0 is a refund in full
    NewAmount,
}

impl ColumnMapping {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns `true` if this mapping names at most the order ID column. If the mapping names no other column, recoup
    /// still detects the format of the refund file.
    pub(super) fn maps_only_order_id(&self) -> bool {
        let rest = Self { order_column: None, recognise_by: Vec::new(), ..self.clone() };
        rest.is_empty()
    }

    pub fn ignores(&self, name: &str) -> bool {
        // A column name of punctuation alone folds to the empty string. Therefore a column name of punctuation must
        // match exactly.
        let folded = fold(name);
        self.ignore_columns.iter().any(|ignored| ignored == name || (!folded.is_empty() && fold(ignored) == folded))
    }

    /// Fails if the mapping has a status column without values, or values without a status column.
    pub fn check(&self) -> Result<()> {
        match (&self.status_column, self.refunded_when.as_slice()) {
            (Some(column), []) => {
                Err(Error::new(Kind::Usage, format!("the values of {column:?} that mean refunded are missing"))
                    .hint("name them with --refunded-when VALUE[,VALUE]"))
            }
            (None, [first, ..]) => {
                Err(Error::new(Kind::Usage, format!("the column that has the value {first:?} is missing"))
                    .hint("name it with --status-column NAME"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the columns that the user has mapped, with their names.
    pub(super) fn named_columns(&self) -> Vec<(Column, String)> {
        let named = [
            (Column::OrderId, &self.order_column),
            (Column::Amount, &self.amount_column),
            (Column::Total, &self.total_column),
            (Column::Status, &self.status_column),
            (Column::RefundedAt, &self.date_column),
        ];
        named.into_iter().filter_map(|(column, name)| Some((column, name.clone()?))).collect()
    }

    /// Interprets a row of a refund file by the user's mapping. Returns an error with the reason if the row makes its
    /// order unclear.
    pub(super) fn interpret(
        &self,
        cells: &RowCells<'_>,
        date_order: DateOrder,
        both_signs: bool,
    ) -> Result<RowMeaning, String> {
        // Exports of all orders also have a column of refund dates. The refund date is blank if the order was not
        // refunded.
        if cells.has(Column::RefundedAt) {
            let date = cells.text(Column::RefundedAt);
            if date.is_empty() {
                return Err(cells.blank(Column::RefundedAt));
            }
            match dates::parse_in(date, date_order) {
                Err(DateError::Unreadable) => return Err(format!("the refund date {date:?} is not a date")),
                // Some programs write the year 0001, 1899, 1970 or 9999 in place of a missing date.
                Ok(Some(when)) if !dates::is_plausible(when) => {
                    return Err(format!("the refund date {date:?} is a placeholder"));
                }
                _ => {}
            }
        }
        if self.status_column.is_some() {
            let status = cells.text(Column::Status);
            if status.is_empty() {
                return Err(cells.blank(Column::Status));
            }
            let is_refunded = self.refunded_when.iter().any(|value| value.to_lowercase() == status.to_lowercase());
            if !cells.has(Column::Amount) {
                let status = if is_refunded { OrderStatus::Refunded } else { OrderStatus::NotRefunded };
                return Ok(RowMeaning::OrderState { status, refunded: None, total: None });
            }
            if !is_refunded {
                return match cells.amount(Column::Amount)? {
                    Some(amount) if !amount.is_zero() && self.amount_means != Some(AmountMeans::NewAmount) => {
                        Err(format!("the status {status:?} does not mean refunded, but {amount} was refunded"))
                    }
                    _ => Ok(RowMeaning::NoRefund(format!("the status is {status}"))),
                };
            }
        }
        if !cells.has(Column::Amount) {
            return Ok(RowMeaning::Listed);
        }
        let amount = cells.needed(Column::Amount)?;
        if self.amount_means == Some(AmountMeans::NewAmount) {
            return if amount.is_negative() {
                Err(format!("the new amount {amount} is negative"))
            } else {
                Ok(RowMeaning::NewAmount(amount))
            };
        }
        if both_signs && !amount.is_zero() {
            return Err(format!("the amounts of the file have both signs, and {amount} may be a refund or undo one"));
        }
        let total = cells.amount(Column::Total)?;
        if cells.has(Column::Total) && total.is_none() {
            return Err(cells.blank(Column::Total));
        }
        Ok(RowMeaning::Refund { refunded: amount.abs(), total })
    }
}
