//! What a refund file proves about one order, and the evidence for it.

use serde::{Deserialize, Serialize};

use crate::model::decimal::Decimal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The shop refunded the whole price, or the user submitted a list without amounts.
    InFull {
        /// The refunded amount; `None` if the refund file has no amounts. If the refunded amount is below the live
        /// action's amount, the two contradict each other.
        refunded: Option<Decimal>,
    },
    /// The refund file has the refunded amount but not the price. Therefore the amount of the live action decides.
    ToCompare {
        refunded: Decimal,
    },
    /// The shop refunded only a part of the price.
    InPart {
        refunded: Option<Decimal>,
        /// The price before the refund.
        total: Option<Decimal>,
        /// The price after the refund.
        left: Option<Decimal>,
    },
    NotRefunded,
    /// The evidence for a refund is missing, unknown or contradictory.
    Unclear,
}

/// The kind of decision about an order. The names of the decision kinds appear in files, JSON and settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    RefundedInFull,
    ToCompare,
    RefundedInPart,
    NotRefunded,
    Unclear,
}

impl DecisionKind {
    pub const ALL: [Self; 5] =
        [Self::RefundedInFull, Self::ToCompare, Self::RefundedInPart, Self::NotRefunded, Self::Unclear];

    /// Returns the name of the decision in messages.
    pub fn words(self) -> &'static str {
        match self {
            Self::RefundedInFull => "refunded in full",
            Self::ToCompare => "refunded, to compare with the action",
            Self::RefundedInPart => "refunded in part",
            Self::NotRefunded => "not refunded",
            Self::Unclear => "unclear",
        }
    }
}

impl Decision {
    pub fn kind(&self) -> DecisionKind {
        match self {
            Self::InFull { .. } => DecisionKind::RefundedInFull,
            Self::ToCompare { .. } => DecisionKind::ToCompare,
            Self::InPart { .. } => DecisionKind::RefundedInPart,
            Self::NotRefunded => DecisionKind::NotRefunded,
            Self::Unclear => DecisionKind::Unclear,
        }
    }

    /// Returns `true` if a plan may include an order with this decision for sending. The live action can still prevent
    /// the send of an order that the plan includes.
    pub fn may_be_sent(&self) -> bool {
        matches!(self, Self::InFull { .. } | Self::ToCompare { .. })
    }

    /// Compares the decision with the amount of the live action. `action` is `None` if the amount of the live action is
    /// unknown. Returns the decision after the comparison, and the reason if it differs from `self`. `same_currency` is
    /// `false` if the refund file and the action have different currencies.
    pub fn check_against_action(&self, action: Option<Decimal>, same_currency: bool) -> (Self, Option<String>) {
        match (self, action) {
            (Self::ToCompare { .. } | Self::InFull { .. } | Self::InPart { .. }, _) if !same_currency => {
                (Self::Unclear, Some("the file and the action name different currencies".to_owned()))
            }
            (Self::ToCompare { refunded }, None) => (
                Self::Unclear,
                Some(format!(
                    "{refunded} was refunded, and the price of the order is neither in the file nor readable"
                )),
            ),
            (Self::ToCompare { refunded }, Some(amount)) if *refunded == amount => {
                (Self::InFull { refunded: Some(*refunded) }, None)
            }
            (Self::ToCompare { refunded }, Some(amount)) if *refunded < amount => {
                let part =
                    Self::InPart { refunded: Some(*refunded), total: Some(amount), left: Some(amount - *refunded) };
                (part, Some(format!("{refunded} was refunded of the action's {amount}")))
            }
            (Self::ToCompare { refunded }, Some(amount)) => {
                (Self::Unclear, Some(format!("{refunded} was refunded, more than the action's {amount}")))
            }
            (Self::InFull { refunded: Some(refunded), .. }, Some(amount)) if *refunded < amount => (
                Self::Unclear,
                Some(format!(
                    "the file says that all of it was refunded, {refunded}, and the action's amount is {amount}: rows may be \
                     missing from the file"
                )),
            ),
            (Self::InPart { total: Some(total), .. }, Some(amount)) if *total != amount => (
                Self::Unclear,
                Some(format!("the order cost {total} by the file, and the action's amount is {amount}")),
            ),
            (Self::InPart { left: Some(left), .. }, Some(amount)) if *left > amount => {
                (Self::Unclear, Some(format!("the order costs {left} by the file, more than the action's {amount}")))
            }
            (Self::InPart { refunded: Some(refunded), .. }, Some(amount)) if *refunded >= amount => (
                Self::Unclear,
                Some(format!(
                    "the file says that a part was refunded, {refunded}, and the action's amount is {amount}"
                )),
            ),
            (Self::InPart { refunded: Some(refunded), left: None, .. }, Some(amount)) => {
                let left = Some(amount - *refunded);
                (Self::InPart { refunded: Some(*refunded), total: Some(amount), left }, None)
            }
            _ => (self.clone(), None),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The line numbers of the order's rows, from 1.
    pub lines: Vec<u64>,
    /// The cells of the refund file that prove the decision.
    pub cells: Vec<Cell>,
    /// The refunded amount, summed over the order's rows.
    pub refunded: Option<Decimal>,
    /// The price of the order according to the refund file.
    pub total: Option<Decimal>,
    pub currency: Option<String>,
    /// Why the order does not count as refunded in full, or a remark for the user.
    pub why: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Cell {
    pub line: u64,
    pub column: String,
    pub value: String,
}

const SHOWN: usize = 6;
const SHOWN_CHARS: usize = 40;

impl Evidence {
    /// Formats the evidence for a decision as one line: `lines 2-3: Financial Status "refunded", Refunded Amount
    /// "100.00"; 100.00 of 100.00 USD`.
    pub fn sentence(&self) -> String {
        let mut parts = Vec::new();
        let cells: Vec<String> = self
            .cells
            .iter()
            .take(SHOWN)
            .map(|cell| {
                let mut value: String = cell.value.chars().take(SHOWN_CHARS).collect();
                if value.len() < cell.value.len() {
                    value.push('…');
                }
                format!("{} {value:?}", cell.column)
            })
            .collect();
        let more = self.cells.len().saturating_sub(SHOWN);
        let mut cells = cells.join(", ");
        if more > 0 {
            cells = format!("{cells} and {more} more");
        }
        let lines = lines(&self.lines);
        parts.push(if cells.is_empty() { lines } else { format!("{lines}: {cells}") });
        let unit = self.currency.as_deref().map_or_else(String::new, |code| format!(" {code}"));
        match (self.refunded, self.total) {
            (Some(refunded), Some(total)) => parts.push(format!("{refunded} refunded of {total}{unit}")),
            (Some(refunded), None) => parts.push(format!("{refunded}{unit} refunded")),
            _ => {}
        }
        parts.extend(self.why.clone());
        parts.join("; ")
    }
}

/// Formats line numbers of the refund file: `line 2` or `lines 2, 5-7`.
fn lines(lines: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for line in lines {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => runs.push((*line, *line)),
        }
    }
    let shown: Vec<String> = runs
        .iter()
        .take(8)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    let more = if runs.len() > 8 { ", …" } else { "" };
    format!("line{} {}{more}", if lines.len() == 1 { "" } else { "s" }, shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Decimal {
        Decimal::parse(text).expect(text)
    }

    #[test]
    fn the_live_action_can_deny_a_full_refund_and_proves_one_only_by_an_equal_amount() {
        use DecisionKind::{RefundedInFull, RefundedInPart, Unclear};
        let compare = |text| Decision::ToCompare { refunded: money(text) };
        let full = |text: Option<&str>| Decision::InFull { refunded: text.map(money) };
        let part = |refunded: Option<&str>, total: Option<&str>, left: Option<&str>| Decision::InPart {
            refunded: refunded.map(money),
            total: total.map(money),
            left: left.map(money),
        };
        for (decision, action, same_currency, kind) in [
            (compare("5"), Some("5.00"), true, RefundedInFull),
            (compare("5"), Some("5.00"), false, Unclear),
            (compare("5"), Some("55.17"), true, RefundedInPart),
            (compare("5"), Some("4"), true, Unclear),
            (compare("5"), None, true, Unclear),
            (full(Some("50")), Some("55.17"), true, Unclear),
            (full(Some("55.17")), Some("55.17"), false, Unclear),
            (full(None), None, false, Unclear),
            (full(Some("60")), Some("55.17"), true, RefundedInFull),
            (full(Some("50")), None, true, RefundedInFull),
            (full(None), Some("55.17"), true, RefundedInFull),
        ] {
            let (now, why) = decision.check_against_action(action.map(money), same_currency);
            assert_eq!(now.kind(), kind, "{decision:?} {action:?}");
            assert_eq!(why.is_some(), kind != RefundedInFull);
        }
        for (decision, action, same_currency, left) in [
            (part(Some("5"), Some("300"), Some("295")), "300", true, Some("295")),
            (part(Some("5"), Some("300"), Some("295")), "365.52", true, None),
            (part(Some("5"), Some("300"), Some("295")), "300", false, None),
            (part(Some("5"), None, None), "300", true, Some("295")),
            (part(Some("300"), None, None), "300", true, None),
            (part(None, None, Some("295")), "300", true, Some("295")),
            (part(None, None, Some("301")), "300", true, None),
        ] {
            let (now, why) = decision.check_against_action(Some(money(action)), same_currency);
            let kept = match &now {
                Decision::InPart { left, .. } => *left,
                _ => None,
            };
            assert_eq!(kept, left.map(money), "{decision:?} {action}");
            assert_eq!(why.is_some(), left.is_none(), "{decision:?} {action}");
        }
        for fixed in [Decision::NotRefunded, Decision::Unclear] {
            assert_eq!(fixed.check_against_action(Some(money("5")), true).0, fixed);
        }
    }

    #[test]
    fn evidence_is_one_line() {
        let cell = |column: &str, value: &str| Cell { line: 2, column: column.into(), value: value.into() };
        let evidence = Evidence {
            lines: vec![2, 3, 4, 9],
            cells: vec![cell("Financial Status", "refunded"), cell("Note", &"x\n".repeat(30))],
            refunded: Some(money("100")),
            total: Some(money("100")),
            currency: Some("USD".into()),
            why: None,
        };
        let text = evidence.sentence();
        assert!(text.starts_with("lines 2-4, 9: Financial Status \"refunded\", Note \"x\\nx"), "{text}");
        assert!(text.ends_with("…\"; 100.00 refunded of 100.00 USD") && !text.contains('\n'), "{text}");
    }
}
