//! Tests exports of known platforms in which one row or cell denies a full refund.

use super::{DecisionKind, decisions, read};

/// Returns the decision about the single order of a refund file.
fn decision(format: &str, text: &str) -> DecisionKind {
    let refunds = read(text).unwrap_or_else(|error| panic!("{format}: {error}"));
    assert_eq!(refunds.reading.format, format, "{text}");
    match decisions(&refunds).as_slice() {
        [only] => *only,
        several => panic!("{several:?} of one order: {text}"),
    }
}

const STRIPE: &str = "id,Amount,Amount Refunded,Currency,Mode,Status,Captured,order_id (metadata)\n";

#[test]
fn a_stripe_payment_in_test_mode_refunds_nothing() {
    let charge =
        |mode: &str| decision("stripe-payments", &format!("{STRIPE}ch_1,100.00,100.00,usd,{mode},Refunded,true,1\n"));
    assert_eq!(charge("Live"), DecisionKind::RefundedInFull);
    assert_eq!(charge("Test"), DecisionKind::NotRefunded);
}

#[test]
fn a_stripe_status_that_contradicts_its_amounts_is_unclear() {
    for cells in [
        "100.00,100.00,usd,Live,Partially refunded",
        "100.00,60.00,usd,Live,Refunded",
        "100.00,100.00,usd,Live,Disputed",
    ] {
        assert_eq!(
            decision("stripe-payments", &format!("{STRIPE}ch_1,{cells},true,1\n")),
            DecisionKind::Unclear,
            "{cells}"
        );
    }
}

const PAYPAL: &str = "Type,Status,Currency,Gross,Transaction ID,Reference Txn ID,Invoice Number\n\
                      Express Checkout Payment,Completed,EUR,100.00,P1,,1\n";

#[test]
fn paypal_types_that_only_sound_like_a_refund_are_unclear() {
    let with = |row: &str| decision("paypal-activity", &format!("{PAYPAL}{row}\n"));
    assert_eq!(with("Payment Refund,Completed,EUR,-100.00,P2,P1,1"), DecisionKind::RefundedInFull);
    for row in [
        "Failed Refund,Completed,EUR,-100.00,P2,P1,1",
        "Fee Refund,Completed,EUR,-100.00,P2,P1,1",
        "Cancellation of Payment Refund,Completed,EUR,100.00,P2,P1,1",
        "Payment Refund,Completed,EUR,100.00,P2,P1,1",
        "Payment Refund,Held,EUR,-100.00,P2,P1,1",
    ] {
        assert_eq!(with(row), DecisionKind::Unclear, "{row}");
    }
    for status in ["Pending", "Denied", "Canceled"] {
        let kind = with(&format!("Payment Refund,{status},EUR,-100.00,P2,P1,1"));
        assert!(matches!(kind, DecisionKind::NotRefunded | DecisionKind::Unclear), "{status}: {kind:?}");
    }
}

#[test]
fn a_woocommerce_refund_that_is_not_completed_is_unclear() {
    let refund = |status: &str| {
        decision("woocommerce-refunds", &format!("id,parent_id,amount,reason,status\n1,1001,100.00,size,{status}\n"))
    };
    assert_eq!(refund("completed"), DecisionKind::ToCompare);
    for status in ["pending", "failed", "trash", "draft"] {
        assert_eq!(refund(status), DecisionKind::Unclear, "{status}");
    }
}

#[test]
fn a_refunded_woocommerce_analytics_order_with_net_sales_is_unclear() {
    let order = |sales: &str| {
        let header = "Date,Order #,N. Revenue (formatted),Status,Net Sales\n";
        decision("woocommerce-analytics", &format!("{header}2026-11-01,1001,$0,refunded,{sales}\n"))
    };
    assert_eq!(order("0"), DecisionKind::RefundedInFull);
    assert_eq!(order(""), DecisionKind::Unclear);
    assert_eq!(order("50.17"), DecisionKind::Unclear);
}

#[test]
fn adyen_amounts_on_the_wrong_side_are_unclear() {
    let header = "Psp Reference,Merchant Reference,Type,Modification Reference,Gross Currency,Gross Debit (GC),Gross Credit (GC)\n";
    let with = |row: &str| decision("adyen-settlement", &format!("{header}8,1,Settled,M1,EUR,,100.00\n{row}\n"));
    assert_eq!(with("8,1,Refunded,M2,EUR,100.00,"), DecisionKind::RefundedInFull);
    for row in [
        "8,1,Refunded,M2,EUR,-100.00,",
        "8,1,Refunded,M2,EUR,,100.00",
        "8,1,Refunded,M2,EUR,100.00,100.00",
        "8,1,Refunded,M2,EUR,0,",
    ] {
        assert_eq!(with(row), DecisionKind::Unclear, "{row}");
    }
}

#[test]
fn a_return_for_store_credit_or_an_exchange_is_unclear() {
    let with = |kind: &str| {
        let header = "return_id,return_status,return_type,order_name,total_refund\n";
        decision("returns-app", &format!("{header}1,COMPLETED,{kind},#1001,100.00\n"))
    };
    assert_eq!(with("refund"), DecisionKind::ToCompare);
    for kind in ["store_credit", "exchange", "gift card", "warranty", "keep item"] {
        assert_eq!(with(kind), DecisionKind::Unclear, "{kind}");
    }
}

#[test]
fn an_item_line_of_a_reversal_file_does_not_refund_the_order() {
    let with = |sku: &str, quantity: &str| {
        let header = "ActionTrackerId,OrderId,Amount,Reason,Sku,Quantity\n";
        decision("impact-reversals", &format!("{header}12345,1001,0,ITEM_RETURNED,{sku},{quantity}\n"))
    };
    assert_eq!(with("", ""), DecisionKind::RefundedInFull);
    assert_eq!(with("TEE", ""), DecisionKind::Unclear);
    assert_eq!(with("", "1"), DecisionKind::Unclear);
}

#[test]
fn shopify_child_refunds_count_with_any_form_of_id() {
    let money = |amount: &str| format!(r#"{{"shopMoney":{{"amount":"{amount}","currencyCode":"USD"}}}}"#);
    let with = |refunded: &str, child: &str| {
        let order = format!(
            r##"{{"id":"A","name":"#1","displayFinancialStatus":"REFUNDED","totalPriceSet":{},"totalRefundedSet":{}}}"##,
            money("100.0"),
            money(refunded)
        );
        let child = format!(r#"{{"id":"B","totalRefundedSet":{},"__parentId":"A"}}"#, money(child));
        decision("shopify-json", &format!("{order}\n{child}\n"))
    };
    assert_eq!(with("100.0", "100.0"), DecisionKind::RefundedInFull);
    assert_eq!(with("100.0", "60.0"), DecisionKind::Unclear);
}

#[test]
fn a_magento_order_that_is_not_closed_is_not_refunded_in_full() {
    let with = |status: &str| {
        let header = "ID,Grand Total (Purchased),Total Refunded,Status\n";
        decision("magento-orders", &format!("{header}000001001,100.00,100.00,{status}\n"))
    };
    assert_eq!(with("closed"), DecisionKind::RefundedInFull);
    for status in ["complete", "canceled", "fraud", "pending", "awaiting_rma", ""] {
        assert_eq!(with(status), DecisionKind::Unclear, "{status}");
    }
}

#[test]
fn a_paypal_payment_marked_as_partially_refunded_is_not_refunded_in_full() {
    let with = |status: &str| {
        let payment = PAYPAL.replace("Completed", status);
        decision("paypal-activity", &format!("{payment}Payment Refund,Completed,EUR,-100.00,P2,P1,1\n"))
    };
    assert_eq!(with("Refunded"), DecisionKind::RefundedInFull);
    for status in ["Partially Refunded", "Teilweise zurückgezahlt", "Reversed", ""] {
        assert_eq!(with(status), DecisionKind::Unclear, "{status}");
    }
}

#[test]
fn an_amazon_restocking_fee_or_charged_back_refund_is_unclear() {
    let header = "settlement-id\ttransaction-type\torder-id\tamount-type\tamount-description\tamount\n";
    let with = |line: &str| {
        let lines = "S\tOrder\t1\tItemPrice\tPrincipal\t80.00\nS\tRefund\t1\tItemPrice\tPrincipal\t-80.00\n";
        decision("amazon-settlement", &format!("{header}{lines}{line}\n"))
    };
    assert_eq!(with("S\tRefund\t1\tItemFees\tCommission\t8.00"), DecisionKind::RefundedInFull);
    assert_eq!(with("S\tRefund\t1\tItemPrice\tRestockingFee\t16.00"), DecisionKind::Unclear);
    assert_eq!(with("S\tRefund_Retrocharge\t1\tItemPrice\tPrincipal\t80.00"), DecisionKind::Unclear);
}

#[test]
fn a_row_without_an_order_belongs_to_the_order_of_its_payment() {
    let header = "Psp Reference,Merchant Reference,Type,Modification Reference,Gross Currency,Gross Debit (GC),Gross Credit (GC)\n";
    let with = |row: &str| {
        let rows = "8,1,Settled,M1,EUR,,80.00\n8,1,Refunded,M2,EUR,80.00,";
        decision("adyen-settlement", &format!("{header}{rows}\n{row}\n"))
    };
    assert_eq!(with("9,,Fee,,EUR,1.00,"), DecisionKind::RefundedInFull);
    assert_eq!(with("8,,RefundedReversed,M3,EUR,,80.00"), DecisionKind::NotRefunded);
    assert_eq!(with("8,,RefundFailed,M3,EUR,80.00,"), DecisionKind::Unclear);
    let header = "Type,Order,Checkout,Payout Status,Amount,Currency\n";
    let rows = "charge,#1,#44,paid,80.00,USD\nrefund,#1,#44,paid,-80.00,USD\nrefund_failure,,#44,paid,80.00,USD\n";
    assert_eq!(decision("shopify-payments", &format!("{header}{rows}")), DecisionKind::Unclear);
}

#[test]
fn adyen_payments_with_different_references_are_different() {
    let header = "Psp Reference,Merchant Reference,Type,Modification Reference,Gross Currency,Gross Debit (GC),Gross Credit (GC)\n";
    let rows = "8811,1,Settled,M1,EUR,,80.00\n8812,1,Settled,M1,EUR,,80.00\n8811,1,Refunded,M2,EUR,80.00,\n";
    assert_eq!(decision("adyen-settlement", &format!("{header}{rows}")), DecisionKind::RefundedInPart);
}

#[test]
fn a_paypal_reversal_in_the_shops_favour_may_undo_a_refund() {
    let with = |row: &str| {
        let refund = "Payment Refund,Completed,EUR,-100.00,R1,P1,1\n";
        decision("paypal-activity", &format!("{PAYPAL}{refund}{row}\n"))
    };
    assert_eq!(with("Payment Reversal,Completed,EUR,100.00,P3,R1,"), DecisionKind::Unclear);
    assert_eq!(with("Reversal of General Account Hold,Completed,EUR,100.00,P3,P1,"), DecisionKind::RefundedInFull);
}

#[test]
fn a_paypal_refund_that_references_the_payment_of_another_order_is_unclear() {
    let text = format!(
        "{PAYPAL}Express Checkout Payment,Completed,EUR,100.00,P2,,2\nPayment Refund,Completed,EUR,-100.00,R1,P2,1\n"
    );
    let refunds = read(&text).expect("an export");
    assert_eq!(decisions(&refunds), [DecisionKind::Unclear; 2]);
}

#[test]
fn shopify_test_orders_and_contradictory_refunds_do_not_count() {
    let order = |more: &str| {
        decision(
            "shopify-json",
            &format!(
                r##"[{{"id":1,"name":"#1","financial_status":"refunded","currency":"USD","total_price":"80.00"{more}}}]"##
            ),
        )
    };
    let refund = |id: u8, amount: &str, currency: &str| {
        format!(r#"{{"id":{id},"kind":"refund","status":"success","amount":"{amount}","currency":"{currency}"}}"#)
    };
    let refunds = |list: &[String]| format!(r#","refunds":[{{"transactions":[{}]}}]"#, list.join(","));
    let whole = refunds(&[refund(1, "80.00", "USD")]);
    assert_eq!(order(&whole), DecisionKind::RefundedInFull);
    assert_eq!(order(&format!("{whole},\"test\":true")), DecisionKind::NotRefunded);
    assert_eq!(order(&refunds(&[refund(1, "80.00", "JPY")])), DecisionKind::Unclear);
    assert_eq!(order(&refunds(&[refund(1, "40.00", "USD"), refund(1, "40.00", "USD")])), DecisionKind::Unclear);
    assert_eq!(order(",\"refunds\":null"), DecisionKind::Unclear);
    assert_eq!(order(""), DecisionKind::Unclear);
}

#[test]
fn a_reason_that_denies_the_refund_is_unclear_in_every_format_that_has_one() {
    let ultracart = |reason: &str| {
        let header = "Order ID,Refund By User,Total,Total Refunded,Refund Reason\n";
        decision("ultracart-refunds", &format!("{header}1,ann,80.00,80.00,{reason}\n"))
    };
    assert_eq!(ultracart("too small"), DecisionKind::RefundedInFull);
    assert_eq!(ultracart("refund failed"), DecisionKind::Unclear);
    let reversal = "ActionTrackerId,OrderId,Amount,Reason\n12345,1001,0,NOT_REFUNDED\n";
    assert_eq!(decision("impact-reversals", reversal), DecisionKind::Unclear);
    let refund = "id,parent_id,amount,reason\n1,1001,80.00,refund cancelled\n";
    assert_eq!(decision("woocommerce-refunds", refund), DecisionKind::Unclear);
}

#[test]
fn a_woocommerce_export_without_a_refunded_total_is_unclear() {
    let header = "order_id,order_number,status,order_total,refund_items\n";
    let with = |items: &str| decision("woocommerce-export", &format!("{header}1,1,refunded,80.00,{items}\n"));
    assert_eq!(with(""), DecisionKind::RefundedInFull);
    assert_eq!(with("id:1|total:-5.00"), DecisionKind::Unclear);
}

#[test]
fn a_row_without_an_order_that_may_undo_a_refund_makes_every_refund_of_its_amount_unclear() {
    let refund = "Payment Refund,Completed,EUR,-100.00,R1,P1,1\n";
    let paypal = |row: &str| decision("paypal-activity", &format!("{PAYPAL}{refund}{row}\n"));
    assert_eq!(paypal("Refund Reversal,Completed,EUR,100.00,P3,,"), DecisionKind::Unclear);
    assert_eq!(paypal("Refund Reversal,Completed,EUR,7.00,P3,,"), DecisionKind::RefundedInFull);
    let header = "Type,Order,Checkout,Payout Status,Amount,Currency\n";
    let rows = "charge,#1,,paid,80.00,USD\nrefund,#1,,paid,-80.00,USD\n";
    for row in ["refund_failure,,,paid,80.00,USD", "credit,#1,,paid,80.00,USD"] {
        assert_eq!(decision("shopify-payments", &format!("{header}{rows}{row}\n")), DecisionKind::Unclear, "{row}");
    }
    let failed = "charge,#1,,paid,80.00,USD\nrefund,#1,,failed,-80.00,USD\n";
    assert_eq!(decision("shopify-payments", &format!("{header}{failed}")), DecisionKind::Unclear);
    let header = "Psp Reference,Merchant Reference,Type,Modification Reference,Gross Currency,Gross Debit (GC),Gross Credit (GC)\n";
    let rows = "8,1,Settled,M1,EUR,,80.00\n8,1,Refunded,M2,EUR,80.00,\n9,,RefundedReversed,M2,EUR,,80.00\n";
    assert_eq!(decision("adyen-settlement", &format!("{header}{rows}")), DecisionKind::Unclear);
}

#[test]
fn a_paypal_memo_line_moves_no_money() {
    let header =
        PAYPAL.replacen("Invoice Number", "Invoice Number,Balance Impact", 1).replacen("P1,,1", "P1,,1,Credit", 1);
    let with = |impact: &str| {
        decision("paypal-activity", &format!("{header}Payment Refund,Completed,EUR,-100.00,R1,P1,1,{impact}\n"))
    };
    assert_eq!(with("Debit"), DecisionKind::RefundedInFull);
    assert_eq!(with("Memo"), DecisionKind::Unclear);
}

#[test]
fn failed_transactions_of_a_bulk_operation_are_unclear() {
    let set = |currency: &str| format!(r#"{{"shopMoney":{{"amount":"80.0","currencyCode":"{currency}"}}}}"#);
    let with = |currency: &str, child: &str| {
        let order = format!(
            r##"{{"id":"A","name":"#1","displayFinancialStatus":"REFUNDED","totalPriceSet":{},"totalRefundedSet":{}}}"##,
            set("USD"),
            set(currency)
        );
        decision("shopify-json", &format!("{order}\n{child}\n"))
    };
    let child = |status: &str| format!(r#"{{"id":"B","kind":"REFUND","status":"{status}","__parentId":"A"}}"#);
    assert_eq!(with("USD", &child("SUCCESS")), DecisionKind::RefundedInFull);
    for status in ["FAILURE", "PENDING", ""] {
        assert_eq!(with("USD", &child(status)), DecisionKind::Unclear, "{status}");
    }
    assert_eq!(with("JPY", &child("SUCCESS")), DecisionKind::Unclear);
}

#[test]
fn a_woocommerce_export_with_an_unknown_refund_column_is_unclear() {
    let with = |name: &str, cells: &str| {
        let header = format!("order_id,order_number,status,order_total,{name}\n");
        decision("woocommerce-export", &format!("{header}9,1,refunded,{cells}\n"))
    };
    assert_eq!(with("customer", "80.00,Ann"), DecisionKind::RefundedInFull);
    assert_eq!(with("refund_amt", "80.00,5.00"), DecisionKind::Unclear);
    for total in ["", "0.00", "-80.00"] {
        assert_eq!(with("customer", &format!("{total},Ann")), DecisionKind::Unclear, "{total}");
    }
}

#[test]
fn a_refund_with_the_opposite_sign_may_undo_another() {
    let header = "Order ID,Refund By User,Total,Total Refunded\n";
    let with = |row: &str| decision("ultracart-refunds", &format!("{header}1,ann,80,80\n{row}"));
    assert_eq!(with(""), DecisionKind::RefundedInFull);
    assert_eq!(with("1,ann,80,-80\n"), DecisionKind::Unclear);
}

#[test]
fn shopify_transactions_that_failed_or_charged_again_are_unclear() {
    let set = r#"{"shopMoney":{"amount":"80.0","currencyCode":"USD"}}"#;
    let graph = |status: &str| {
        let refunds = format!(r#"[{{"transactions":{{"nodes":[{{"kind":"REFUND","status":"{status}"}}]}}}}]"#);
        decision(
            "shopify-json",
            &format!(
                r##"{{"name":"#1","displayFinancialStatus":"REFUNDED","totalPriceSet":{set},"totalRefundedSet":{set},"refunds":{refunds}}}"##
            ),
        )
    };
    assert_eq!(graph("SUCCESS"), DecisionKind::RefundedInFull);
    assert_eq!(graph("FAILURE"), DecisionKind::Unclear);
    let again = r#"{"id":3,"kind":"refund","status":"success","amount":"80.00"},{"id":4,"kind":"sale","status":"success","amount":"80.00"}"#;
    let rest = format!(
        r##"{{"orders":[{{"id":1,"name":"#1","financial_status":"refunded","total_price":"80.00","refunds":[{{"transactions":[{again}]}}]}}]}}"##
    );
    assert_eq!(decision("shopify-json", &rest), DecisionKind::Unclear);
}
