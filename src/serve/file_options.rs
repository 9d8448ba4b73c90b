//! Reads how a request explains the columns of its refund file: in fields of the upload form, or in query parameters of
//! the API.
//!
//! The names of the form fields and parameters are the flags of the command line, with underscores.

use serde::{Deserialize, Serialize};

use super::extractors::Fields;
use crate::error::{Error, Kind, Result};
use crate::refunds::{AmountMeans, ColumnMapping, Options, OrderIdRewrite};

/// Each field with its label in the upload form. The label is empty if the upload form has no such field.
pub(super) const FIELDS: [(&str, &str); 11] = [
    ("format", "Format"),
    ("order_column", "Column with the order IDs"),
    ("amount_column", ""),
    ("amount_means", "What the amounts are"),
    ("total_column", ""),
    ("status_column", ""),
    ("refunded_when", ""),
    ("date_column", ""),
    ("ignore_column", ""),
    ("order_prefix", "What the order IDs of the file lack in front"),
    ("strip_order_prefix", "What the order IDs of the file have in front and the vendor does not know"),
];

/// The options of a request for reading its refund file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct FileOptions {
    /// The format of the file; `None` if the file's header decides the format.
    pub(super) format: Option<String>,
    pub(super) mapping: ColumnMapping,
    pub(super) order_prefix: Option<String>,
    pub(super) strip_order_prefix: Option<String>,
}

impl FileOptions {
    /// Reads the options from a request's fields. Fails if a field of the request has an unknown value.
    pub(super) fn of(fields: &Fields) -> Result<Self> {
        let all = |name: &str| {
            let values = fields.all(name).map(|value| value.trim().to_owned());
            values.filter(|value| !value.is_empty()).collect::<Vec<_>>()
        };
        let raw = |name: &str| fields.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let mapping = ColumnMapping {
            recognise_by: Vec::new(),
            order_column: fields.text("order_column"),
            amount_column: fields.text("amount_column"),
            amount_means: fields.text("amount_means").map(|word| amount_means(&word)).transpose()?,
            total_column: fields.text("total_column"),
            status_column: fields.text("status_column"),
            refunded_when: all("refunded_when"),
            date_column: fields.text("date_column"),
            ignore_columns: all("ignore_column"),
        };
        let (order_prefix, strip_order_prefix) = (raw("order_prefix"), raw("strip_order_prefix"));
        Ok(Self { format: fields.text("format"), mapping, order_prefix, strip_order_prefix })
    }

    /// Returns the options of the request. An option that the request leaves out has its value from the settings.
    pub(super) fn options(&self, of_settings: &Options) -> Options {
        let prefix = |requested: &Option<String>, set: &String| requested.clone().unwrap_or_else(|| set.clone());
        Options {
            format: self.format.clone(),
            mapping: self.mapping.clone(),
            order_id_rewrite: OrderIdRewrite {
                prefix: prefix(&self.order_prefix, &of_settings.order_id_rewrite.prefix),
                strip: prefix(&self.strip_order_prefix, &of_settings.order_id_rewrite.strip),
            },
            ..of_settings.clone()
        }
    }
}

fn amount_means(word: &str) -> Result<AmountMeans> {
    match word {
        "refunded" => Ok(AmountMeans::Refunded),
        "new-amount" | "new_amount" => Ok(AmountMeans::NewAmount),
        _ => Err(Error::new(Kind::Usage, format!("amount_means must be refunded or new-amount, not {word:?}"))
            .hint("new-amount is what an order costs after the refund; 0 is a refund in full")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_mean_the_same_as_the_flags_and_an_unknown_value_is_refused() {
        let query = "format=list&order_column=%20No%20&amount_column=A&amount_means=new_amount&status_column=S&refunded_when=a%2Cb\
                     &refunded_when=c&ignore_column=X&ignore_column=&order_prefix=%23%20";
        let requested = FileOptions::of(&Fields::parse(query.as_bytes())).expect("fields");
        let mapping = &requested.mapping;
        assert_eq!((requested.format.as_deref(), mapping.order_column.as_deref()), (Some("list"), Some("No")));
        assert_eq!(mapping.amount_means, Some(AmountMeans::NewAmount));
        assert_eq!(
            (mapping.refunded_when.as_slice(), mapping.ignore_columns.len()),
            (["a,b", "c"].map(str::to_owned).as_slice(), 1)
        );
        let set = Options {
            order_id_rewrite: OrderIdRewrite { prefix: "A".to_owned(), strip: "B".to_owned() },
            ..Options::default()
        };
        let text = requested.options(&set).order_id_rewrite;
        assert_eq!(
            (text.prefix.as_str(), text.strip.as_str()),
            ("# ", "B"),
            "the settings fill what the request leaves out"
        );
        FileOptions::of(&Fields::parse(b"amount_means=maybe")).expect_err("an unknown word");
    }
}
