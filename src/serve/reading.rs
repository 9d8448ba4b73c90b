//! How a request says what the columns of its file mean: fields of a form, or parameters of a query.
//!
//! The names are those of the command line's flags with underscores. Errors of `refunds` name flags; [`for_api`] and
//! [`for_page`] name what the reader has instead.

use serde::{Deserialize, Serialize};

use super::asked::Fields;
use crate::error::{Error, Kind, Result};
use crate::refunds::{AmountMeans, ColumnMapping, Options, OrderIdRewrite};

/// The fields, each with what the page calls it; the label is empty if the page has no such field.
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

/// What a request says about how its file is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// The format; recognised by the header if it is left out.
    pub(super) format: Option<String>,
    /// What the columns mean.
    pub(super) explained: ColumnMapping,
    pub(super) order_prefix: Option<String>,
    pub(super) strip_order_prefix: Option<String>,
}

impl Asked {
    /// What the fields say.
    pub(super) fn of(fields: &Fields) -> Result<Self> {
        let all = |name: &str| {
            let values = fields.all(name).map(|value| value.trim().to_owned());
            values.filter(|value| !value.is_empty()).collect::<Vec<_>>()
        };
        let raw = |name: &str| fields.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let explained = ColumnMapping {
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
        Ok(Self { format: fields.text("format"), explained, order_prefix, strip_order_prefix })
    }

    /// How the file is read: what the request says over what the settings say.
    pub(super) fn options(&self, of_settings: &Options) -> Options {
        let prefix = |asked: &Option<String>, set: &String| asked.clone().unwrap_or_else(|| set.clone());
        Options {
            format: self.format.clone(),
            mapping: self.explained.clone(),
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
        _ => Err(Error::new(Kind::Usage, format!("amount_means is refunded or new-amount, not {word:?}"))
            .hint("new-amount is what an order costs after the refund; 0 is a refund in full")),
    }
}

/// A text of a use case with query parameters in the place of flags.
pub(super) fn for_api(text: &str) -> String {
    translated(text, |name, _label| (name.to_owned(), "="))
}

/// A text of a use case with the labels of the page in the place of flags.
pub(super) fn for_page(text: &str) -> String {
    translated(text, |name, label| {
        let shown = if label.is_empty() { name.replace('_', " ") } else { label.to_owned() };
        (format!("“{shown}”"), " ")
    })
}

/// A hint without the clauses that name a flag which neither the API nor the page has; `None` if nothing is left.
pub(super) fn without_flags(hint: &str) -> Option<String> {
    let is_flag = |word: &str| {
        let name = word.trim_start_matches(['`', '(']).strip_prefix("--");
        name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let clauses: Vec<&str> = hint.split("; ").filter(|clause| !clause.split(' ').any(is_flag)).collect();
    Some(clauses.join("; ")).filter(|hint| !hint.is_empty())
}

/// Replaces each flag; `say` gives the words for it, and what stands between them and a value. A clause about `recoup refunds`
/// is left out: it is for a terminal.
fn translated(text: &str, say: impl Fn(&str, &str) -> (String, &'static str)) -> String {
    let clauses = text.split("; ").filter(|clause| !clause.contains("`recoup refunds "));
    let mut text = clauses.collect::<Vec<_>>().join("; ").replace("VALUE[,VALUE]", "VALUE");
    for (name, label) in FIELDS {
        let flag = format!("--{}", name.replace('_', "-"));
        let mut said = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once(&flag) {
            said.push_str(before);
            let is_longer = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
            let (words, between) = say(name, label);
            said.push_str(if is_longer { &flag } else { &words });
            rest = after;
            if let Some(value) = after.strip_prefix(' ').filter(|_| !is_longer) {
                let is_value = !["or ", "if ", "and "].iter().any(|word| value.starts_with(word));
                said.push_str(if is_value { between } else { " " });
                rest = value;
            }
        }
        said.push_str(rest);
        text = said;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_what_its_reader_has() {
        for (hint, api, page) in [
            (
                "say which it is: --format stripe or --format paypal",
                "say which it is: format=stripe or format=paypal",
                "say which it is: “Format” stripe or “Format” paypal",
            ),
            (
                "explain columns without --format, or with --format list",
                "explain columns without format, or with format=list",
                "explain columns without “Format”, or with “Format” list",
            ),
            (
                "name any other with --order-column NAME; `recoup refunds formats` lists the exports that are recognised",
                "name any other with order_column=NAME",
                "name any other with “Column with the order IDs” NAME",
            ),
            (
                "all lack it: --order-prefix '#', not --strip-order-prefix",
                "all lack it: order_prefix='#', not strip_order_prefix",
                "all lack it: “What the order IDs of the file lack in front” '#', not “What the order IDs of the file have in front \
                 and the vendor does not know”",
            ),
            (
                "name them with --refunded-when VALUE[,VALUE]",
                "name them with refunded_when=VALUE",
                "name them with “refunded when” VALUE",
            ),
            ("--formats and --yes stay", "--formats and --yes stay", "--formats and --yes stay"),
        ] {
            assert_eq!(for_api(hint), api);
            assert_eq!(for_page(hint), page);
        }
        assert_eq!(without_flags("a plan is carried out by --apply"), None);
        assert_eq!(
            without_flags("send less -- or split it; use `--force`").as_deref(),
            Some("send less -- or split it")
        );
    }

    #[test]
    fn fields_say_what_the_flags_say_and_an_unknown_word_is_refused() {
        let query = "format=list&order_column=%20No%20&amount_column=A&amount_means=new_amount&status_column=S&refunded_when=a%2Cb\
                     &refunded_when=c&ignore_column=X&ignore_column=&order_prefix=%23%20";
        let asked = Asked::of(&Fields::parse(query.as_bytes())).expect("fields");
        let explained = &asked.explained;
        assert_eq!((asked.format.as_deref(), explained.order_column.as_deref()), (Some("list"), Some("No")));
        assert_eq!(explained.amount_means, Some(AmountMeans::NewAmount));
        assert_eq!(
            (explained.refunded_when.as_slice(), explained.ignore_columns.len()),
            (["a,b", "c"].map(str::to_owned).as_slice(), 1)
        );
        let set = Options {
            order_id_rewrite: OrderIdRewrite { prefix: "A".to_owned(), strip: "B".to_owned() },
            ..Options::default()
        };
        let text = asked.options(&set).order_id_rewrite;
        assert_eq!((text.prefix.as_str(), text.strip.as_str()), ("# ", "B"), "the settings hold for what is not said");
        Asked::of(&Fields::parse(b"amount_means=maybe")).expect_err("an unknown word");
    }
}
