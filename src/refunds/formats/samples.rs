//! Sample exports of every format, with the truth about each order. For tests.

use crate::refunds::DecisionKind;
use crate::refunds::column_mapping::{AmountMeans, ColumnMapping};

pub(in crate::refunds) struct Sample {
    /// Starts with the name of the format and a point.
    pub(in crate::refunds) name: &'static str,
    pub(in crate::refunds) bytes: &'static [u8],
    pub(in crate::refunds) mapping: ColumnMapping,
    /// One order a line: see [`Truth`].
    truths: &'static str,
}

/// The truth about one order, parsed from `#1001 full 100.00 refunded_in_full 100.00 100.00`.
pub(in crate::refunds) struct Truth {
    pub(in crate::refunds) order: &'static str,
    /// Whether all money went back.
    pub(in crate::refunds) is_full: bool,
    /// The price, which is the amount of the live action.
    pub(in crate::refunds) total: &'static str,
    /// The decision that the file proves.
    pub(in crate::refunds) decision: DecisionKind,
    /// Refunded amount and total in the evidence; `-` if missing.
    pub(in crate::refunds) evidence: [&'static str; 2],
    /// A word in the row that undoes a refund. Without that row the file shows a full refund.
    pub(in crate::refunds) undone_by: Option<&'static str>,
}

impl Sample {
    pub(in crate::refunds) fn format(&self) -> &'static str {
        self.name.split('.').next().unwrap_or_default()
    }

    pub(in crate::refunds) fn truths(&self) -> Vec<Truth> {
        let truth = |line: &'static str| {
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
                order,
                is_full: state == "full",
                total,
                decision: decision.unwrap_or_else(|| panic!("{}: {line:?}", self.name)),
                evidence: [refunded, of],
                undone_by: next(),
            }
        };
        self.truths.lines().map(str::trim).filter(|line| !line.is_empty()).map(truth).collect()
    }
}

macro_rules! sample {
    ($name:literal, $truths:literal) => {
        Sample {
            name: $name,
            bytes: include_bytes!(concat!("samples/", $name)),
            mapping: ColumnMapping::default(),
            truths: $truths,
        }
    };
}

/// At least one sample for each format.
pub(in crate::refunds) fn all() -> Vec<Sample> {
    vec![
        sample!(
            "shopify-orders.csv",
            "#1001 full 100.00 refunded_in_full 100.00 100.00
             #1002 not  80.00 not_refunded 0.00 80.00
             #1003 part 55.17 refunded_in_part 5.00 55.17
             #1004 part 80.00 refunded_in_part 40.00 80.00
             #1005 not  30.00 not_refunded 0.00 30.00
             #1006 not  30.00 not_refunded 0.00 30.00
             #1007 full 0.00 unclear 0.00 0.00
             #1008 full 20.00 unclear 20.00 20.00"
        ),
        sample!(
            "shopify-payments.csv",
            "#1001 full 100.00 refunded_in_full 100.00 100.00
             #1002 not  80.00 not_refunded 0.00 80.00
             #1003 part 55.17 refunded_in_part 5.00 55.17
             #1004 part 80.00 refunded_in_part 40.00 80.00
             #1005 not  90.00 not_refunded 0.00 90.00
             #1006 part 80.00 to_compare 25.00 -
             #1007 part 60.00 refunded_in_part 30.00 60.00
             #1008 not  44.00 unclear - - refund_failure"
        ),
        sample!(
            "shopify-json.rest.json",
            "#1001 full 100.00 refunded_in_full 100.00 100.00
             #1002 not  80.00 not_refunded 0.00 80.00
             #1003 part 55.17 refunded_in_part 5.00 55.17
             #1004 part 80.00 refunded_in_part 40.00 80.00
             #1005 not  30.00 not_refunded 0.00 30.00
             #1006 not  30.00 not_refunded 0.00 30.00
             #1007 full 20.00 unclear 20.00 20.00"
        ),
        sample!(
            "shopify-json.array.json",
            "#1001 full 100.00 refunded_in_full 100.00 100.00
             #1002 not  80.00 not_refunded 0.00 80.00
             #1003 part 55.17 refunded_in_part 5.00 55.17
             #1004 part 80.00 refunded_in_part 40.00 80.00
             #1005 not  30.00 not_refunded 0.00 30.00
             #1006 not  30.00 not_refunded 0.00 30.00
             #1007 full 20.00 unclear 20.00 20.00"
        ),
        sample!(
            "shopify-json.bulk.jsonl",
            "#1001 full 100.00 refunded_in_full 100.00 100.00
             #1002 not  80.00 not_refunded 0.00 80.00
             #1003 part 55.17 refunded_in_part 5.00 55.17
             #1004 part 80.00 refunded_in_part 40.00 80.00
             #1005 full 30.00 refunded_in_full 30.00 30.00
             #1006 part 30.00 refunded_in_part 15.00 30.00"
        ),
        sample!(
            "woocommerce-analytics.csv",
            "1001 full 100.00 refunded_in_full - -
             1002 not  80.00 not_refunded - -
             1003 part 55.17 not_refunded - -
             1004 not  30.00 not_refunded - -
             1005 not  30.00 not_refunded - -
             1006 not  30.00 not_refunded - -"
        ),
        sample!(
            "woocommerce-export.csv",
            "1001 full 100.00 refunded_in_full 100.00 100.00
             1002 not  80.00 not_refunded 0.00 80.00
             1003 part 55.17 refunded_in_part 5.00 55.17
             1004 part 80.00 refunded_in_part 40.00 80.00
             1005 not  30.00 not_refunded 0.00 30.00
             1006 not  30.00 not_refunded 0.00 30.00"
        ),
        sample!(
            "woocommerce-export.without-refunds.csv",
            "1001 full 100.00 refunded_in_full - -
             1002 not  80.00 not_refunded - -
             1003 part 55.17 not_refunded - -
             1004 part 80.00 not_refunded - -
             1005 not  30.00 not_refunded - -
             1006 not  30.00 not_refunded - -"
        ),
        sample!(
            "woocommerce-refunds.json",
            "1001 full 100.00 to_compare 100.00 -
             1003 part 55.17 to_compare 5.00 -
             1004 part 80.00 to_compare 40.00 -"
        ),
        sample!(
            "woocommerce-refunds.csv",
            "1001 full 100.00 to_compare 100.00 -
             1003 part 55.17 to_compare 5.00 -
             1004 part 80.00 to_compare 40.00 -"
        ),
        sample!(
            "bigcommerce-orders.csv",
            "1001 full 100.00 refunded_in_full 100.00 100.00
             1002 not  80.00 not_refunded 0.00 80.00
             1003 part 55.17 refunded_in_part 5.00 55.17
             1004 part 80.00 refunded_in_part 40.00 80.00
             1005 not  30.00 not_refunded 0.00 30.00
             1006 full 30.00 unclear 30.00 30.00
             1007 not  30.00 not_refunded 0.00 30.00"
        ),
        sample!(
            "magento-orders.csv",
            "000001001 full 100.00 refunded_in_full 100.00 100.00
             000001002 not  80.00 not_refunded 0.00 80.00
             000001003 part 55.17 refunded_in_part 5.00 55.17
             000001004 part 80.00 refunded_in_part 40.00 80.00
             000001005 not  30.00 unclear - -
             000001006 not  30.00 not_refunded 0.00 30.00
             000001007 not  30.00 not_refunded 0.00 30.00"
        ),
        sample!(
            "stripe-payments.csv",
            "#1001 full 100.00 refunded_in_full 100.00 100.00
             #1002 not  80.00 not_refunded 0.00 80.00
             #1003 part 55.17 refunded_in_part 5.00 55.17
             #1004 part 80.00 refunded_in_part 40.00 80.00
             #1005 not  90.00 not_refunded 0.00 90.00
             #1006 part 50.00 refunded_in_part 25.00 50.00
             #1007 not  44.00 not_refunded 0.00 44.00
             #1008 not  44.00 not_refunded - -
             #1009 full 72.00 refunded_in_full 72.00 72.00"
        ),
        paypal("paypal-activity.en.csv", include_bytes!("samples/paypal-activity.en.csv")),
        paypal("paypal-activity.de.csv", include_bytes!("samples/paypal-activity.de.csv")),
        paypal("paypal-activity.fr.csv", include_bytes!("samples/paypal-activity.fr.csv")),
        paypal("paypal-activity.it.csv", include_bytes!("samples/paypal-activity.it.csv")),
        sample!(
            "adyen-settlement.csv",
            "1001 full 100.00 refunded_in_full 100.00 100.00
             1002 not  80.00 not_refunded 0.00 80.00
             1003 part 55.17 refunded_in_part 5.00 55.17
             1004 part 80.00 refunded_in_part 40.00 80.00
             1005 not  90.00 not_refunded 0.00 90.00
             1006 not  44.00 not_refunded 0.00 44.00 RefundedReversed
             1007 part 80.00 to_compare 25.00 -
             1008 not  70.00 unclear - - RefundFailed"
        ),
        sample!(
            "adyen-settlement.accounting.csv",
            "1001 full 100.00 refunded_in_full 100.00 100.00
             1002 not  80.00 not_refunded 0.00 80.00
             1003 part 55.17 refunded_in_part 5.00 55.17
             1004 part 80.00 refunded_in_part 40.00 80.00
             1005 not  30.00 not_refunded 0.00 30.00"
        ),
        sample!(
            "square-payments.csv",
            "1001 full 100.00 unclear - -
             1002 not  80.00 not_refunded - -
             1003 part 55.17 not_refunded - -"
        ),
        sample!(
            "amazon-fba-returns.txt",
            "111-0000001-0000001 full 100.00 unclear - -
             111-0000001-0000003 part 55.17 unclear - -"
        ),
        sample!(
            "amazon-settlement.txt",
            "111-0000001-0000001 full 100.00 refunded_in_full 100.00 100.00
             111-0000001-0000002 not  80.00 not_refunded 0.00 80.00
             111-0000001-0000003 part 55.17 refunded_in_part 5.00 55.17
             111-0000001-0000004 part 80.00 refunded_in_part 40.00 80.00
             111-0000001-0000005 part 80.00 to_compare 30.00 -
             111-0000001-0000006 full 50.00 refunded_in_full 50.00 50.00
             111-0000001-0000007 not  44.00 not_refunded 0.00 44.00"
        ),
        sample!(
            "ebay-orders.csv",
            "04-1 full 100.00 not_refunded - -
             04-2 not  80.00 not_refunded - -
             04-3 part 55.17 not_refunded - -"
        ),
        sample!(
            "ultracart-refunds.csv",
            "DEMO-1001 full 100.00 refunded_in_full 100.00 100.00
             DEMO-1002 not  80.00 not_refunded 0.00 80.00
             DEMO-1003 part 55.17 refunded_in_part 5.00 55.17
             DEMO-1004 part 80.00 refunded_in_part 40.00 80.00"
        ),
        sample!(
            "returns-app.csv",
            "#1001 full 100.00 to_compare 100.00 -
             #1002 not  80.00 not_refunded - -
             #1003 part 55.17 to_compare 5.00 -
             #1004 part 80.00 to_compare 40.00 -
             #1005 not  30.00 not_refunded - -
             #1006 not  44.00 not_refunded - -
             #1007 part 50.00 to_compare 25.00 -"
        ),
        sample!(
            "impact-reversals.csv",
            "1001 full 100.00 refunded_in_full - -
             1002 not  80.00 refunded_in_part - -
             1003 part 55.17 refunded_in_part - -
             1004 part 80.00 refunded_in_part - -
             1005 not  30.00 unclear - -"
        ),
    ]
}

fn paypal(name: &'static str, bytes: &'static [u8]) -> Sample {
    let truths = "1001 full 100.00 refunded_in_full 100.00 100.00
                  1002 not  80.00 not_refunded 0.00 80.00
                  1003 part 55.17 refunded_in_part 5.00 55.17
                  1004 part 80.00 refunded_in_part 40.00 80.00
                  1005 not  1290.50 not_refunded 0.00 1290.50
                  1006 not  33.00 not_refunded 0.00 33.00
                  1007 part 80.00 to_compare 12.00 -";
    Sample { name, bytes, mapping: ColumnMapping::default(), truths }
}

/// Lists of unknown format, each with its mapping.
pub(in crate::refunds) fn with_mappings() -> Vec<Sample> {
    let text = |text: &str| Some(text.to_owned());
    vec![
        Sample {
            name: "list.status",
            bytes: b"Bestellung;Kunde;Zahlungsstatus\nA1;Ann;Erstattet\nA2;Bob;Bezahlt\nA3;Cy;Teilweise erstattet\nA4;Di;\n",
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
                     A4 not 30.00 unclear - -",
        },
        Sample {
            name: "list.amounts",
            bytes: b"ref,back,paid,note\nA1,60.00,100.00,x\nA1,40.00,100.00,y\nA2,0.00,80.00,\nA3,5.00,55.17,\nA4,40.00,80.00,\n",
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
                     A4 part 80.00 refunded_in_part 40.00 80.00",
        },
        Sample {
            name: "list.status-and-amount",
            bytes: b"order,state,amount,when\nA1,done,100.00,2026-11-02\nA2,declined,80.00,2026-11-02\nA3,done,5.00,2026-11-02\n\
                     A4,done,40.00,2026-11-02\nA4,asked,40.00,2026-11-02\nA5,done,30.00,\n",
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
                     A5 part 60.00 unclear - -",
        },
        Sample {
            name: "list.new-amount",
            bytes: b"order,now\nA1,0\nA2,80.00\nA3,50.17\nA4,\n",
            mapping: ColumnMapping {
                amount_column: text("now"),
                amount_means: Some(AmountMeans::NewAmount),
                ..ColumnMapping::default()
            },
            truths: "A1 full 100.00 refunded_in_full - -
                     A2 not 80.00 refunded_in_part - -
                     A3 part 55.17 refunded_in_part - -
                     A4 not 30.00 unclear - -",
        },
        Sample {
            name: "list.known-names",
            bytes: b"Order ID,Refund Amount,Order Total,Refund Date\nA1,100.00,100.00,2026-11-02\nA2,0.00,80.00,\nA3,5.00,55.17,2026-11-02\n",
            mapping: ColumnMapping::default(),
            truths: "A1 full 100.00 refunded_in_full 100.00 100.00
                     A2 not 80.00 unclear - -
                     A3 part 55.17 refunded_in_part 5.00 55.17",
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refunds::formats::ALL;
    use crate::refunds::read::{Options, from_bytes};

    #[test]
    fn every_sample_is_recognised_and_decided_as_it_should_be() {
        let mut wrong = Vec::new();
        for sample in all().into_iter().chain(with_mappings()) {
            let options = Options { mapping: sample.mapping.clone(), ..Options::default() };
            let refunds = from_bytes(sample.name, sample.bytes, &options).unwrap_or_else(|error| panic!("{error:?}"));
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
