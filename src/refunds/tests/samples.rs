//! Test samples: exports of every refund format, with the truth about each order.

use std::fs;
use std::path::Path;

use crate::refunds::DecisionKind;
use crate::refunds::column_mapping::{AmountMeans, ColumnMapping};

pub(super) struct Sample {
    /// The name of the sample file, which starts with the name of the format and a full stop.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) mapping: ColumnMapping,
    /// The true refunds of the sample's orders, with one order in each line: see [`Truth`].
    truths: String,
}

/// The true refund of one order, parsed from `#1001 full 100.00 refunded_in_full 100.00 100.00`.
pub(super) struct Truth {
    pub(super) order: String,
    /// Whether the shop refunded the whole price of the order.
    pub(super) is_full: bool,
    /// The price of the order, which is the amount of the live action.
    pub(super) total: String,
    /// The decision that the sample file proves for the order.
    pub(super) decision: DecisionKind,
    /// The refunded amount and the total in the evidence; `-` for a missing amount.
    pub(super) evidence: [String; 2],
    /// A word in the sample's row that undoes a refund. Without the row that undoes the refund, the sample file shows a
    /// full refund.
    pub(super) undone_by: Option<String>,
}

impl Sample {
    pub(super) fn format(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    pub(super) fn truths(&self) -> Vec<Truth> {
        let truth = |line: &str| {
            let mut words = line.split_whitespace();
            let mut next = || words.next();
            let [Some(order), Some(state), Some(total), Some(decision), Some(refunded), Some(of)] =
                [next(), next(), next(), next(), next(), next()]
            else {
                panic!("{}: {line:?}", self.name)
            };
            let decision = DecisionKind::ALL
                .into_iter()
                .find(|kind| serde_json::to_value(kind).is_ok_and(|word| word == decision));
            Truth {
                order: order.to_owned(),
                is_full: state == "full",
                total: total.to_owned(),
                decision: decision.unwrap_or_else(|| panic!("{}: {line:?}", self.name)),
                evidence: [refunded, of].map(str::to_owned),
                undone_by: next().map(str::to_owned),
            }
        };
        self.truths.lines().map(str::trim).filter(|line| !line.is_empty()).map(truth).collect()
    }
}

/// Returns the exports in `samples/`. The file `NAME.truth` describes the orders of the sample file `NAME`.
pub(super) fn all() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/refunds/formats/samples");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"))
        .filter(|name| Path::new(name).extension().is_none_or(|extension| extension != "truth"))
        .collect();
    names.sort();
    let read = |name: String| Sample {
        bytes: fs::read(folder.join(&name)).expect("an export"),
        mapping: ColumnMapping::default(),
        truths: fs::read_to_string(folder.join(format!("{name}.truth")))
            .unwrap_or_else(|error| panic!("{name} needs {name}.truth: {error}")),
        name,
    };
    names.into_iter().map(read).collect()
}

/// Returns lists of unknown format, each with the mapping that explains its columns.
pub(super) fn with_mappings() -> Vec<Sample> {
    let text = |text: &str| Some(text.to_owned());
    vec![
        Sample {
            name: "list.status".to_owned(),
            bytes: b"Bestellung;Kunde;Zahlungsstatus\nA1;Ann;Erstattet\nA2;Bob;Bezahlt\nA3;Cy;Teilweise erstattet\nA4;Di;\n".to_vec(),
            mapping: ColumnMapping {
                order_column: text("Bestellung"),
                status_column: text("Zahlungsstatus"),
                refunded_when: vec!["erstattet".to_owned()],
                ignore_columns: vec!["Kunde".to_owned()],
                ..ColumnMapping::default()
            },
            truths: "A1 full 100.00 refunded_in_full - -
                     A2 not 80.00 not_refunded - -
                     A3 part 55.17 not_refunded - -
                     A4 not 30.00 unclear - -".to_owned(),
        },
        Sample {
            name: "list.amounts".to_owned(),
            bytes: b"ref,back,paid,note\nA1,60.00,100.00,x\nA1,40.00,100.00,y\nA2,0.00,80.00,\nA3,5.00,55.17,\nA4,40.00,80.00,\n".to_vec(),
            mapping: ColumnMapping {
                order_column: text("ref"),
                amount_column: text("back"),
                amount_means: Some(AmountMeans::Refunded),
                total_column: text("paid"),
                ignore_columns: vec!["note".to_owned()],
                ..ColumnMapping::default()
            },
            truths: "A1 full 100.00 refunded_in_full 100.00 100.00
                     A2 not 80.00 not_refunded 0.00 80.00
                     A3 part 55.17 refunded_in_part 5.00 55.17
                     A4 part 80.00 refunded_in_part 40.00 80.00".to_owned(),
        },
        Sample {
            name: "list.status-and-amount".to_owned(),
            bytes: b"order,state,amount,when\nA1,done,100.00,2026-11-02\nA2,declined,80.00,2026-11-02\nA3,done,5.00,2026-11-02\n\
                     A4,done,40.00,2026-11-02\nA4,asked,40.00,2026-11-02\nA5,done,30.00,\n".to_vec(),
            mapping: ColumnMapping {
                amount_column: text("amount"),
                amount_means: Some(AmountMeans::Refunded),
                status_column: text("state"),
                refunded_when: vec!["Done".to_owned()],
                date_column: text("when"),
                ..ColumnMapping::default()
            },
            truths: "A1 full 100.00 to_compare 100.00 -
                     A2 not 80.00 unclear - -
                     A3 part 55.17 to_compare 5.00 -
                     A4 part 80.00 unclear - -
                     A5 part 60.00 unclear - -".to_owned(),
        },
        Sample {
            name: "list.new-amount".to_owned(),
            bytes: b"order,now\nA1,0\nA2,80.00\nA3,50.17\nA4,\n".to_vec(),
            mapping: ColumnMapping {
                amount_column: text("now"),
                amount_means: Some(AmountMeans::NewAmount),
                ..ColumnMapping::default()
            },
            truths: "A1 full 100.00 refunded_in_full - -
                     A2 not 80.00 refunded_in_part - -
                     A3 part 55.17 refunded_in_part - -
                     A4 not 30.00 unclear - -".to_owned(),
        },
        Sample {
            name: "list.known-names".to_owned(),
            bytes: b"Order ID,Refund Amount,Order Total,Refund Date\nA1,100.00,100.00,2026-11-02\nA2,0.00,80.00,\nA3,5.00,55.17,2026-11-02\n".to_vec(),
            mapping: ColumnMapping::default(),
            truths: "A1 full 100.00 refunded_in_full 100.00 100.00
                     A2 not 80.00 unclear - -
                     A3 part 55.17 refunded_in_part 5.00 55.17".to_owned(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refunds::formats::ALL;
    use crate::refunds::read::{Options, from_bytes};

    #[test]
    fn every_sample_is_detected_and_decided_as_described() {
        let mut wrong = Vec::new();
        for sample in all().into_iter().chain(with_mappings()) {
            let options = Options { mapping: sample.mapping.clone(), ..Options::default() };
            let refunds = from_bytes(&sample.name, &sample.bytes, &options).unwrap_or_else(|error| panic!("{error:?}"));
            assert_eq!(refunds.reading.format, sample.format(), "{}", sample.name);
            let truths = sample.truths();
            assert_eq!(refunds.orders.len(), truths.len(), "{}: {:?}", sample.name, refunds.orders);
            for truth in truths {
                let order = refunds.orders.iter().find(|order| order.order_id.as_str() == truth.order);
                let order = order.unwrap_or_else(|| panic!("{}: no {}", sample.name, truth.order));
                let show = |amount: Option<crate::refunds::Decimal>| {
                    amount.map_or_else(|| "-".to_owned(), |amount| amount.to_string())
                };
                let found = [show(order.evidence.refunded), show(order.evidence.total)];
                if order.decision.kind() != truth.decision || found != truth.evidence {
                    wrong.push(format!(
                        "{} {}: {:?} {}",
                        sample.name,
                        truth.order,
                        order.decision,
                        order.evidence.sentence()
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_format_has_a_sample() {
        for format in ALL {
            assert!(all().iter().any(|sample| sample.format() == format.name), "{}", format.name);
        }
    }
}
