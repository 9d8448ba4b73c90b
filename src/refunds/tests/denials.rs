//! Exports of known platforms in which one row or cell speaks against a refund in full.

use super::{DecisionKind, decisions, read};

/// What a file with one order proves.
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
fn a_payment_of_the_test_mode_of_stripe_refunds_nothing() {
    let charge =
        |mode: &str| decision("stripe-payments", &format!("{STRIPE}ch_1,100.00,100.00,usd,{mode},Refunded,true,1\n"));
    assert_eq!(charge("Live"), DecisionKind::RefundedInFull);
    assert_eq!(charge("Test"), DecisionKind::NotRefunded);
}

#[test]
fn a_status_of_stripe_that_its_amounts_deny_is_unclear() {
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
fn types_of_paypal_that_only_sound_like_a_refund_are_unclear() {
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
fn a_refund_of_woocommerce_that_is_not_completed_is_unclear() {
    let refund = |status: &str| {
        decision("woocommerce-refunds", &format!("id,parent_id,amount,reason,status\n1,1001,100.00,size,{status}\n"))
    };
    assert_eq!(refund("completed"), DecisionKind::ToCompare);
    for status in ["pending", "failed", "trash", "draft"] {
        assert_eq!(refund(status), DecisionKind::Unclear, "{status}");
    }
}

#[test]
fn an_order_of_woocommerce_analytics_that_is_refunded_and_still_has_sales_is_unclear() {
    let order = |sales: &str| {
        let header = "Date,Order #,N. Revenue (formatted),Status,Net Sales\n";
        decision("woocommerce-analytics", &format!("{header}2026-11-01,1001,$0,refunded,{sales}\n"))
    };
    assert_eq!(order("0"), DecisionKind::RefundedInFull);
    assert_eq!(order("50.17"), DecisionKind::Unclear);
}

#[test]
fn amounts_of_adyen_on_the_wrong_side_are_unclear() {
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
fn a_return_for_store_credit_or_an_exchange_leaves_the_money_with_the_shop() {
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
fn an_item_line_of_the_vendors_reversal_file_is_not_the_order() {
    let with = |sku: &str, quantity: &str| {
        let header = "ActionTrackerId,OrderId,Amount,Reason,Sku,Quantity\n";
        decision("impact-reversals", &format!("{header}12345,1001,0,ITEM_RETURNED,{sku},{quantity}\n"))
    };
    assert_eq!(with("", ""), DecisionKind::RefundedInFull);
    assert_eq!(with("TEE", ""), DecisionKind::Unclear);
    assert_eq!(with("", "1"), DecisionKind::Unclear);
}

#[test]
fn child_refunds_of_shopify_count_whatever_their_ids_look_like() {
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
fn an_order_of_magento_that_is_not_closed_is_not_refunded_in_full() {
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
fn a_payment_of_paypal_that_is_marked_as_refunded_in_part_is_not_refunded_in_full() {
    let with = |status: &str| {
        let payment = PAYPAL.replace("Completed", status);
        decision("paypal-activity", &format!("{payment}Payment Refund,Completed,EUR,-100.00,P2,P1,1\n"))
    };
    assert_eq!(with("Refunded"), DecisionKind::RefundedInFull);
    for status in ["Partially Refunded", "Teilweise zurückgezahlt", "Reversed", ""] {
        assert_eq!(with(status), DecisionKind::Unclear, "{status}");
    }
}
