//! Tests of exports of real shop platforms, from file to DELETE: recoup sends only what a file proves to be refunded in
//! full.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::batch::{Action, all_plain, column, now, outcomes, plain, with_reason};
use serde_json::Value;

use crate::support::{Home, Ran, Sim, ready};

/// The three orders of a refund file: the first is refunded in full, the second not at all, the third in part (0.01).
struct Three<'a>(&'a [Action]);

impl Three<'_> {
    fn id(&self, n: usize) -> &str {
        &self.0[n].order
    }

    fn total(&self, n: usize) -> String {
        self.0[n].full()
    }

    /// Replaces `{0}` to `{2}` with the order IDs, `{t0}` to `{t2}` with their totals, and `{day}` and `{tag}` with
    /// today's date. The simulator's orders are a few days old.
    fn fill(&self, text: &str) -> String {
        let mut filled = text.replace("{day}", &day("%Y-%m-%d")).replace("{tag}", &day("%d.%m.%Y"));
        for n in 0..3 {
            filled = filled.replace(&format!("{{{n}}}"), self.id(n)).replace(&format!("{{t{n}}}"), &self.total(n));
        }
        filled
    }
}

/// Returns today's date in this date format.
fn day(form: &str) -> String {
    now().strftime(form).to_string()
}

/// Returns orders in US dollars whose IDs need no quotes in a CSV file.
fn simple(sim: &Sim, wanted: usize) -> Vec<Action> {
    let is_simple = |action: &Action| {
        action.currency == "USD" && action.order.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'#' || b == b'-')
    };
    let found: Vec<Action> = all_plain(sim).into_iter().filter(is_simple).take(wanted).collect();
    assert_eq!(found.len(), wanted, "the simulator has too few orders with simple IDs");
    found
}

fn retract(home: &Home, name: &str, content: &[u8], more: &[&str]) -> (Ran, Vec<String>) {
    let (file, out) = (home.path(name), home.path(&format!("{name}.out.csv")));
    fs::write(&file, content).expect("a file");
    let (file, out_text) = (file.display().to_string(), out.display().to_string());
    let ran = home.run(&[&["retract", "--file", &file, "--out", &out_text, "--yes", "--force"], more].concat());
    let told = if out.exists() { outcomes_in_any_dialect(&out) } else { Vec::new() };
    (ran, told)
}

fn outcomes_in_any_dialect(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("outcomes");
    let header = text.lines().next().unwrap_or_default();
    let separator = [b',', b';', b'\t']
        .into_iter()
        .find(|separator| header.split(char::from(*separator)).any(|name| name == "recoup_outcome"));
    let mut reader = csv::ReaderBuilder::new().delimiter(separator.expect("a separator")).from_reader(text.as_bytes());
    let header = reader.headers().expect("a header").clone();
    let place = |wanted: &str| header.iter().position(|name| name == wanted).expect("a column");
    let (code, why) = (place("recoup_outcome"), place("recoup_why"));
    let rows = reader.records().map(|row| row.expect("a row"));
    rows.map(|row| with_reason(row[code].to_owned(), &row[why])).collect()
}

/// For each platform: its name, and a file with an order refunded in full, an order not refunded, and an order refunded
/// in part.
const EXPORTS: &[(&str, &str)] = &[
    (
        "shopify-orders",
        "Name,Email,Financial Status,Currency,Total,Lineitem quantity,Lineitem name,Lineitem price,Refunded Amount,Id\n\
         {0},a@example.com,,,,1,Mug,1.00,,\n\
         {1},b@example.com,paid,USD,{t1},1,Mug,1.00,0.00,2\n\
         {0},a@example.com,refunded,USD,{t0},1,Tee,1.00,{t0},1\n\
         {2},c@example.com,partially_refunded,USD,{t2},1,Mug,1.00,0.01,3\n",
    ),
    (
        "shopify-payments",
        "Transaction Date,Type,Order,Payout Status,Available On,Amount,Fee,Net,Currency\n\
         {day} 08:00:00 -0700,refund,{0},paid,{day},-{t0},0.00,-1,USD\n\
         {day} 04:15:48 -0700,charge,{1},paid,{day},{t1},2.62,1,USD\n\
         {day} 04:15:48 -0700,charge,{2},paid,{day},{t2},1.90,1,USD\n\
         {day} 08:00:00 -0700,refund,{2},paid,{day},-0.01,0.00,-0.01,USD\n\
         {day} 04:15:48 -0700,charge,{0},paid,{day},{t0},3.20,1,USD\n\
         {day} 04:15:48 -0700,payout,,paid,{day},-9.00,0,-9,USD\n",
    ),
    (
        "bigcommerce-orders",
        "Order ID,Customer Name,Order Date,Order Status,Order Total (inc tax),Refunded Amount,Currency Code\n\
         {0},Ann,01/11/2026,Refunded,{t0},{t0},USD\n\
         {1},Bob,01/11/2026,Completed,{t1},0.0000,USD\n\
         {2},Cy,01/11/2026,Partially Refunded,{t2},0.0100,USD\n",
    ),
    (
        "magento-orders",
        "ID,Purchase Date,Bill-to Name,Grand Total (Purchased),Status,Total Refunded\n\
         {0},{day},\"Ann\nB\",{t0},closed,{t0}\n\
         {1},{day},Bob,{t1},closed,0.00\n\
         {2},{day},Cy,{t2},complete,0.01\n",
    ),
    (
        "stripe-payments",
        "id,Created (UTC),Amount,Amount Refunded,Currency,Status,Captured,order_id (metadata)\n\
         ch_1,{day} 10:00,{t0},{t0},usd,Refunded,true,{0}\n\
         ch_2,{day} 10:00,{t1},0.00,usd,Paid,true,{1}\n\
         ch_3,{day} 10:00,{t2},0.01,usd,Paid,true,{2}\n",
    ),
    (
        "paypal-activity",
        "Datum;Typ;Status;Währung;Brutto;Transaktionscode;Zugehöriger Transaktionscode;Rechnungsnummer;\n\
         {tag};PayPal Express-Zahlung;Abgeschlossen;USD;{t0};T1;;{0};\n\
         {tag};Rückzahlung;Abgeschlossen;USD;-{t0};T2;T1;;\n\
         {tag};PayPal Express-Zahlung;Abgeschlossen;USD;{t1};T3;;{1};\n\
         {tag};PayPal Express-Zahlung;Abgeschlossen;USD;{t2};T4;;{2};\n\
         {tag};Rückzahlung;Abgeschlossen;USD;-0.01;T5;T4;{2};\n",
    ),
    (
        "adyen-settlement",
        "Psp Reference,Merchant Reference,Type,Modification Reference,Gross Currency,Gross Debit (GC),Gross Credit (GC)\n\
         P1,{0},Settled,M1,USD,,{t0}\n\
         P2,{1},Settled,M2,USD,,{t1}\n\
         P2,{1},Chargeback,M3,USD,{t1},\n\
         P1,{0},Refunded,M4,USD,{t0},\n\
         P3,{2},Refunded,M5,USD,0.01,\n\
         P3,{2},Settled,M6,USD,,{t2}\n\
         ,,Fee,,USD,3.00,\n",
    ),
    (
        "ultracart-refunds",
        "Order ID,Refund By User,Total,Total Refunded\n\
         {0},ann,{t0},{t0}\n\
         {1},ann,{t1},0.00\n\
         {2},ann,{t2},0.01\n",
    ),
    (
        "returns-app",
        "return_id,return_status,return_submitted_date,return_processed_date,order_name,total_refund,currency\n\
         1,COMPLETED,{day},{day},{0},{t0},USD\n\
         2,REJECTED,{day},,{1},,USD\n\
         3,COMPLETED,{day},{day},{2},0.01,USD\n",
    ),
    (
        "woocommerce-refunds",
        "id,parent_id,date_created,amount,reason\n1,{0},{day}T10:00:00,{t0},sent back\n2,{2},{day}T10:00:00,0.01,late\n",
    ),
    (
        "woocommerce-export",
        "order_id,order_number,status,refunded_total,order_total,order_currency\n\
         11,{0},refunded,{t0},{t0},USD\n\
         12,{1},completed,0.00,{t1},USD\n\
         13,{2},completed,0.01,{t2},USD\n",
    ),
    (
        "amazon-settlement",
        "settlement-id\ttransaction-type\torder-id\tamount-type\tamount-description\tamount\tcurrency\tposted-date\n\
         7\tOrder\t{0}\tItemPrice\tPrincipal\t{t0}\tUSD\t{day}\n\
         7\tOrder\t{1}\tItemPrice\tPrincipal\t{t1}\tUSD\t{day}\n\
         7\tChargeback Refund\t{1}\tItemPrice\tPrincipal\t-{t1}\tUSD\t{day}\n\
         7\tOrder\t{2}\tItemPrice\tPrincipal\t{t2}\tUSD\t{day}\n\
         7\tRefund\t{0}\tItemPrice\tPrincipal\t-{t0}\tUSD\t{day}\n\
         7\tRefund\t{2}\tItemPrice\tPrincipal\t-0.01\tUSD\t{day}\n",
    ),
    (
        "impact-reversals",
        "ActionTrackerId,OrderId,Amount,Reason\n1,{0},0,ITEM_RETURNED\n1,{1},{t1},ORDER_UPDATE\n1,{2},0.01,ITEM_RETURNED\n",
    ),
    (
        "woocommerce-analytics",
        "Date,Order #,N. Revenue (formatted),Status,Net Sales\n\
         {day} 10:00:00,{0},$0,refunded,0\n\
         {day} 10:00:00,{1},${t1},completed,{t1}\n\
         {day} 10:00:00,{2},${t2},completed,{t2}\n",
    ),
    ("list", "Refunds of November\n\norder_id;refund amount;refunded_at\n{0};{t0};{tag}\n{2};0.01;{tag}\nTotal;99;\n"),
];

#[test]
fn only_the_order_refunded_in_full_is_sent_for_every_export() {
    let (sim, home) = ready(&["--participants", "8000"]);
    let orders = simple(&sim, EXPORTS.len() * 3);
    let mut wanted = Vec::new();
    for ((name, text), three) in EXPORTS.iter().zip(orders.chunks(3)) {
        let (ran, told) = retract(&home, name, Three(three).fill(text).as_bytes(), &["--json"]);
        // The WooCommerce Analytics report does not show partial refunds.
        let shows_partial_refunds = *name != "woocommerce-analytics";
        ran.expect(if shows_partial_refunds { 6 } else { 0 });
        assert!(ran.stderr.contains("read as "), "{name}: {}", ran.stderr);
        assert!(told.contains(&"confirmed".to_owned()), "{name}: {told:?} {ran:?}");
        assert_eq!(told.contains(&"refunded_in_part".to_owned()), shows_partial_refunds, "{name}: {told:?}");
        let allowed = ["confirmed", "refunded_in_part", "not_refunded"];
        assert!(told.iter().all(|word| allowed.contains(&word.as_str())), "{name}: {told:?}");
        wanted.push(three[0].id.clone().expect("an ActionId"));
        let sent = sim.deletes();
        let sent: Vec<&str> = sent.iter().filter_map(|delete| delete["params"]["ActionId"].as_str()).collect();
        assert_eq!(sent, wanted, "{name}: no order that was not refunded is reversed");
    }
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}

/// The formats without an export in `EXPORTS`, each with the reason.
const WITHOUT_EXPORT: &[(&str, &str)] = &[
    ("shopify-json", "all_three_json_shapes_are_read retracts from it"),
    ("square-payments", "no order in it is ever refunded in full"),
    ("amazon-fba-returns", "no order in it is ever refunded in full"),
    ("ebay-orders", "no order in it is ever refunded in full"),
];

#[test]
fn every_format_has_an_export_that_is_retracted_or_a_reason() {
    let sim = Sim::start(&["--participants", "1"]);
    let listed = Home::new(&sim).run(&["refunds", "formats", "--json"]);
    let formats: Vec<Value> = listed.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(formats.len() > EXPORTS.len(), "{formats:?}");
    for format in &formats {
        let name = format["name"].as_str().expect("a name");
        let has_export = EXPORTS.iter().any(|(export, _)| *export == name);
        let has_reason = WITHOUT_EXPORT.iter().any(|(without, _)| *without == name);
        assert!(has_export != has_reason, "{name} needs either an export or a reason");
    }
    let is_never = |name: &str| {
        formats.iter().any(|format| format["name"] == name && format["in_full_if"].to_string().contains("never"))
    };
    for (name, reason) in WITHOUT_EXPORT {
        assert_eq!(is_never(name), reason.contains("ever"), "{name}");
    }
}

#[test]
fn an_export_of_paid_orders_sends_nothing_and_succeeds() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = simple(&sim, 3);
    let text =
        "Name,Financial Status,Total,Refunded Amount\n{0},paid,{t0},0.00\n{1},paid,{t1},0\n{2},voided,{t2},0.00\n";
    let (ran, told) = retract(&home, "orders.csv", Three(&orders).fill(text).as_bytes(), &["--json"]);
    ran.expect(0);
    assert_eq!(told, ["not_refunded"; 3]);
    assert_eq!((sim.deletes().len(), ran.object()["sent"].as_u64()), (0, Some(0)));
    let evidence = column(&home.path("orders.csv.out.csv"), "recoup_evidence");
    assert!(evidence[0].contains("Financial Status \"paid\""), "{evidence:?}");
}

#[test]
fn all_three_json_shapes_are_read() {
    let (sim, home) = ready(&["--participants", "4000"]);
    let orders = simple(&sim, 9);
    let rest = |status: &str, order: &str, total: &str, refunds: &str| {
        format!(
            "{{\"name\":\"{order}\",\"financial_status\":\"{status}\",\"total_price\":\"{total}\",\"refunds\":[{refunds}]}}"
        )
    };
    let refund = |amount: &str, status: &str| {
        format!("{{\"transactions\":[{{\"kind\":\"refund\",\"status\":\"{status}\",\"amount\":\"{amount}\"}}]}}")
    };
    let three = |three: &Three<'_>| {
        [
            rest("refunded", three.id(0), &three.total(0), &refund(&three.total(0), "success")),
            rest("paid", three.id(1), &three.total(1), &refund(&three.total(1), "failure")),
            rest("partially_refunded", three.id(2), &three.total(2), &refund("0.01", "success")),
        ]
    };
    let envelope = format!("{{\"orders\":[{}]}}", three(&Three(&orders[..3])).join(",\n"));
    let array = format!("[{}]", three(&Three(&orders[3..6])).join(","));
    let last = Three(&orders[6..]);
    let bulk = format!(
        "{{\"id\":\"gid://shopify/Order/1\",\"name\":\"{}\",\"displayFinancialStatus\":\"REFUNDED\",\
         \"totalPriceSet\":{{\"shopMoney\":{{\"amount\":\"{}\",\"currencyCode\":\"USD\"}}}}}}\n\
         {{\"id\":\"gid://shopify/Refund/9\",\"totalRefundedSet\":{{\"shopMoney\":{{\"amount\":\"{}\",\"currencyCode\":\"USD\"}}}},\
         \"__parentId\":\"gid://shopify/Order/1\"}}\n\
         {{\"id\":\"gid://shopify/Order/2\",\"name\":\"{}\",\"displayFinancialStatus\":\"PAID\",\
         \"totalPriceSet\":{{\"shopMoney\":{{\"amount\":\"{}\",\"currencyCode\":\"USD\"}}}}}}\n",
        last.id(0),
        last.total(0),
        last.total(0),
        last.id(1),
        last.total(1)
    );
    for (n, text) in [envelope, array, bulk].iter().enumerate() {
        let (ran, told) = retract(&home, &format!("orders-{n}.json"), text.as_bytes(), &[]);
        assert!(matches!(ran.code, Some(0 | 6)), "{ran:?}");
        assert_eq!(told[0], "confirmed", "{told:?}");
        assert!(told[1..].iter().all(|word| word != "confirmed" || n == 2), "{told:?}");
    }
    let sent: Vec<String> =
        sim.deletes().iter().filter_map(|delete| delete["params"]["ActionId"].as_str().map(str::to_owned)).collect();
    let wanted: Vec<String> = [0, 3, 6].iter().filter_map(|n| orders[*n].id.clone()).collect();
    assert_eq!(sent, wanted);
}

#[test]
fn spreadsheet_encodings_are_read() {
    let (sim, home) = ready(&["--participants", "4000"]);
    let orders = simple(&sim, 3);
    let text = |order: &str| format!("order_id\tE-Mail\r\n{order}\tännchen@example.com\r\n");
    let utf16: Vec<u8> =
        std::iter::once(0xfeff_u16).chain(text(&orders[0].order).encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let cp1252: Vec<u8> = text(&orders[1].order).chars().map(|c| u8::try_from(u32::from(c)).expect("Latin")).collect();
    let mut tail = text(&orders[2].order).into_bytes();
    tail.extend(b"\x1a\0\0");
    for (n, bytes) in [utf16, cp1252, tail].iter().enumerate() {
        let (ran, told) = retract(&home, &format!("{n}.tsv"), bytes, &[]);
        ran.expect(0);
        assert_eq!(told.len(), 1, "{told:?}");
    }
    assert_eq!(sim.deletes().len(), 3);
}

#[test]
fn a_column_that_may_contradict_a_refund_stops_the_file_until_explained() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = simple(&sim, 3);
    let text = Three(&orders).fill("order_id,Zustand\n{0},erledigt\n{1},offen\n{2},\n");
    let (ran, _) = retract(&home, "list.csv", text.as_bytes(), &[]);
    ran.expect(2);
    assert!(ran.stderr.contains("\"Zustand\" looks like a status"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--status-column Zustand --refunded-when VALUE"), "{}", ran.stderr);
    let explained = ["--status-column", "Zustand", "--refunded-when", "Erledigt"];
    let (ran, told) = retract(&home, "list.csv", text.as_bytes(), &explained);
    ran.expect(6);
    assert_eq!(told[..2], ["confirmed", "not_refunded"]);
    assert!(told[2].starts_with("stopped: unclear: "), "{told:?}");
    assert_eq!(sim.deletes().len(), 1);
    // A table `refund_format` in the settings declares the same column mapping.
    home.configure_more(
        "[refund_format.erp]\nrecognise_by = ['order_id', 'Zustand']\norder_column = 'order_id'\nstatus_column = 'Zustand'\nrefunded_when = ['erledigt']",
    );
    let (ran, told) = retract(&home, "list.csv", text.as_bytes(), &[]);
    ran.expect(6);
    assert!(ran.stderr.contains("read as erp"), "{}", ran.stderr);
    assert_eq!(told[..2], ["already_retracted", "not_refunded"]);
    assert_eq!(sim.deletes().len(), 1);
}

#[test]
fn order_ids_without_the_shops_prefix_stop_the_file_with_a_hint() {
    let (sim, home) = ready(&["--participants", "6000"]);
    let orders: Vec<Action> = plain(&sim, 90)
        .into_iter()
        .filter(|one| one.order.strip_prefix('#').is_some_and(|id| id.len() > 2))
        .take(3)
        .collect();
    assert!(orders.len() == 3, "the simulator has too few orders with a #");
    let bare: Vec<&str> = orders.iter().map(|one| &one.order[1..]).collect();
    let day = day("%Y-%m-%d");
    let text = format!("order_id,refunded_at\n{},{day}\n{},{day}\n{},{day}\n", bare[0], bare[1], bare[2]);
    let (ran, _) = retract(&home, "bare.csv", text.as_bytes(), &[]);
    ran.expect(5);
    assert!(ran.stderr.contains("--order-prefix '#'"), "{}", ran.stderr);
    assert_eq!(sim.deletes().len(), 0);
    let (ran, told) = retract(&home, "bare.csv", text.as_bytes(), &["--order-prefix", "#"]);
    ran.expect(0);
    assert_eq!(told, ["confirmed"; 3]);
}

#[test]
fn an_order_id_with_an_invisible_character_is_unclear() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = simple(&sim, 2);
    let text = format!(
        "order_id,refunded_at\n{}\u{202c},2020-01-02\n{}\u{200b},2020-01-02\nNEVER-SEEN\u{2060},2020-01-02\nNEVER-SEEN-2,2020-01-02\n",
        orders[0].order, orders[1].order
    );
    let (ran, told) = retract(&home, "marks.csv", text.as_bytes(), &[]);
    ran.expect(6);
    assert!(told[..3].iter().all(|word| word.starts_with("stopped: ")), "{told:?}");
    assert_eq!(told[3], "not_a_referral");
    assert_eq!(sim.deletes().len(), 0);
    let file = home.path("marks.csv").display().to_string();
    let ran = home.run(&["reconcile", &file, "--json"]);
    let classes: Vec<String> =
        ran.object()["rows"].as_array().expect("rows").iter().map(|row| row["class"].to_string()).collect();
    assert!(classes[..3].iter().all(|class| class != "\"not_a_referral\""), "{classes:?}");
}

#[test]
fn partial_refunds_are_adjusted_once_and_only_if_the_totals_agree() {
    let (sim, home) = ready(&["--participants", "4000"]);
    let orders = simple(&sim, 3);
    let text = Three(&orders).fill(
        "Name,Financial Status,Total,Refunded Amount,Currency\n{0},refunded,{t0},{t0},USD\n{1},paid,{t1},0.00,USD\n{2},partially_refunded,{t2},0.01,USD\n",
    );
    let (ran, told) = retract(&home, "orders.csv", text.as_bytes(), &["--partials", "--dry-run"]);
    ran.expect(0);
    assert_eq!(told, ["not_attempted", "not_refunded", "not_attempted"], "{ran:?}");
    let errors = column(&home.path("orders.csv.out.csv"), "recoup_why");
    assert!(errors[2].contains("it would be adjusted to"), "{errors:?}");
    assert_eq!(sim.deletes().len(), 0);
    let (ran, told) = retract(&home, "orders.csv", text.as_bytes(), &["--partials"]);
    ran.expect(0);
    assert_eq!(told, ["confirmed", "not_refunded", "adjusted"], "{ran:?}");
    let puts = || sim.record()["puts"].as_array().map_or(0, Vec::len);
    assert_eq!((sim.deletes().len(), puts()), (1, 1));
    let (ran, told) = retract(&home, "orders.csv", text.as_bytes(), &["--partials"]);
    ran.expect(0);
    assert_eq!(told, ["already_retracted", "not_refunded", "adjusted"], "{ran:?}");
    assert_eq!((sim.deletes().len(), puts()), (1, 1), "neither goes twice");
    let (ran, told) = retract(&home, "orders.csv", text.as_bytes(), &[]);
    ran.expect(0);
    assert_eq!(told[2], "adjusted", "what was adjusted asks for nothing more: {ran:?}");
}

#[test]
fn more_than_a_hundred_rows_do_not_switch_off_the_comparison_with_the_action() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = simple(&sim, 2);
    let mut text =
        "Order ID,Customer Name,Order Status,Order Total (inc tax),Refunded Amount,Currency Code\n".to_owned();
    writeln!(text, "{},Ann,Refunded,0.02,0.02,USD", orders[0].order).expect("text");
    for n in 0..120 {
        writeln!(text, "NEVER-{n},Ann,Refunded,10.00,10.00,USD").expect("text");
    }
    let (_, told) = retract(&home, "many.csv", text.as_bytes(), &["--max-count", "500"]);
    assert!(told[0].starts_with("stopped: unclear: "), "{}", told[0]);
    assert_eq!(sim.deletes().len(), 0);
}

#[test]
fn a_refund_in_another_currency_is_neither_reversed_nor_adjusted() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = simple(&sim, 3);
    let text = Three(&orders).fill(
        "Name,Financial Status,Total,Refunded Amount,Currency\n{0},refunded,{t0},{t0},GBP\n{1},paid,{t1},0.00,GBP\n{2},partially_refunded,{t2},0.01,GBP\n",
    );
    let (_, told) = retract(&home, "orders.csv", text.as_bytes(), &["--partials"]);
    assert!(told[0].contains("different currencies"), "{told:?}");
    assert_eq!(told[1], "not_refunded");
    assert!(told[2].contains("different currencies"), "{told:?}");
    let record = sim.record();
    assert_eq!((sim.deletes().len(), record["puts"].as_array().map_or(0, Vec::len)), (0, 0));
}

#[test]
fn a_second_refund_in_part_does_not_overwrite_the_first() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = simple(&sim, 1);
    let day = day("%Y-%m-%d");
    let one = |amount: &str| {
        format!(
            "Transaction Date,Type,Order,Payout Status,Amount,Currency\n{day},refund,{},paid,-{amount},USD\n",
            orders[0].order
        )
    };
    let (_, told) = retract(&home, "week-1.csv", one("0.01").as_bytes(), &["--partials"]);
    assert_eq!(told, ["adjusted"]);
    let (ran, told) = retract(&home, "week-2.csv", one("0.02").as_bytes(), &["--partials"]);
    ran.expect(6);
    assert!(told[0].starts_with("stopped: unclear: its action was adjusted before"), "{told:?}");
    assert_eq!(sim.record()["puts"].as_array().map_or(0, Vec::len), 1);
}

#[test]
fn a_list_that_contradicts_a_refund_sends_nothing() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = simple(&sim, 3);
    for (text, says) in [
        ("order_id,note\n{0},NOT refunded - customer kept it\n", ""),
        ("Order number,Reason,Ticket\n{0},Refund denied,SUP-3\n", ""),
        ("Orders NOT refunded\n\norder_id\n{0}\n", "may say that orders of the list"),
        ("order_id\nR9\nNot refunded:\n{0}\n", ""),
        ("order_id,reason\nR9,returned\norder_id,status\n{0},paid\n", "a second table begins here"),
        ("Order number,Ordered at,Order total,Currency\n{0},{day},{t0},USD\n", "looks like"),
        ("order,Entscheidung\n{0},abgelehnt\n", "looks like a status"),
        ("order,ok\n{0},\u{2717}\n", "looks like a status"),
        ("order_id,amount\n{0},0.00\n{1},0.00\n", "--amount-means"),
        // An unknown status word may have any meaning, so recoup asks for its meaning.
        ("order_id,tila\n{0},hylätty\n", "looks like an unknown column"),
        ("order_id,st\n{0},P\n{1},R\n", "looks like an unknown column"),
        ("order_id,x\n{0},X\n{1},\n", "looks like an unknown column"),
        ("order_id,Tags\n{0},vip\n", "looks like an unknown column"),
        ("order_id,xyz\n{0},8000\n", "looks like an unknown column"),
        ("order_id,reason\n{0},PAID\n", "looks like free text"),
        ("order_id,disposition\n{0},REJECTED\n", "looks like free text"),
    ] {
        let (ran, told) = retract(&home, "list.csv", Three(&orders).fill(text).as_bytes(), &[]);
        assert!(matches!(ran.code, Some(2 | 6)), "{text}: {ran:?}");
        assert!(ran.stderr.contains(says), "{text}: {}", ran.stderr);
        assert!(says.is_empty() || told.is_empty() || !told.contains(&"confirmed".to_owned()), "{text}: {told:?}");
    }
    assert_eq!(sim.deletes().len(), 0);
}

#[test]
fn a_refund_dated_in_the_future_is_unclear() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = simple(&sim, 1);
    let text = format!("order_id,refunded_at\n{},2098-06-01\n", orders[0].order);
    let (_, told) = retract(&home, "list.csv", text.as_bytes(), &[]);
    assert!(told[0].contains("in the future"), "{told:?}");
    assert_eq!(sim.deletes().len(), 0);
}

#[test]
fn reconcile_counts_only_full_refunds_as_at_stake() {
    let (sim, home) = ready(&["--participants", "3000"]);
    let orders = simple(&sim, 3);
    let text = Three(&orders).fill(EXPORTS[0].1);
    let file = home.path("orders.csv");
    fs::write(&file, text).expect("a file");
    let ran = home.check(&["reconcile", &file.display().to_string(), "--json"], 6);
    let object = ran.object();
    let count = |class: &str| {
        let counts = object["counts"].as_array().expect("counts");
        counts.iter().find(|count| count["class"] == class).and_then(|count| count["refunds"].as_u64())
    };
    assert_eq!(
        (count("still_rewarded"), count("refunded_in_part"), count("not_refunded")),
        (Some(1), Some(1), Some(1))
    );
    assert_eq!(object["totals"]["at_stake"]["rewards"], 2, "the rewards of one order: {object}");
    assert_eq!(sim.requests(), sim.requests(), "no network");
}

#[test]
fn reconcile_and_retract_agree_on_an_undated_file() {
    let (_sim, home) = ready(&["--participants", "400"]);
    let file = home.path("list.csv");
    fs::write(&file, "order_id\nNEVER-SEEN-1\nNEVER-SEEN-2\n").expect("a file");
    let text = file.display().to_string();
    for (written, outcome) in [(1, "not_a_referral"), (4_000_000_000, "not_found_yet")] {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(written);
        fs::File::options().write(true).open(&file).and_then(|file| file.set_modified(at)).expect("a time");
        let out = home.path("out.csv");
        let out_text = out.display().to_string();
        home.run(&["retract", "--file", &text, "--out", &out_text, "--yes", "--force"]);
        assert_eq!(outcomes(&out), [outcome; 2]);
        let ran = home.run(&["reconcile", &text, "--json"]);
        let rows = ran.object()["rows"].as_array().cloned().expect("rows");
        assert!(rows.iter().all(|row| row["class"] == outcome), "{rows:?}");
    }
}

#[test]
fn a_reversal_file_has_only_orders_refunded_in_full() {
    let (sim, home) = ready(&["--participants", "4000"]);
    let orders = simple(&sim, 3);
    let from = home.path("orders.csv");
    fs::write(&from, Three(&orders).fill(EXPORTS[0].1)).expect("a file");
    let (from, out) = (from.display().to_string(), home.path("reversals.csv"));
    let out_text = out.display().to_string();
    let ran = home.run(&["file", "write", "--from", &from, "--out", &out_text, "--yes", "--json"]);
    let written = fs::read_to_string(&out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert!(written.contains(&orders[0].order), "{written}");
    assert!(!written.contains(&orders[1].order) && !written.contains(&orders[2].order), "{written}");
}

#[test]
fn a_column_flag_without_a_file_is_a_usage_error() {
    let (_sim, home) = ready(&["--participants", "50"]);
    for args in [
        ["retract", "1001", "--status-column", "Status"].as_slice(),
        &["retract", "1001", "--partials"],
        &["retract", "--apply", "plan.csv", "--out", "x.csv", "--format", "list"],
        &["file", "write", "1001", "--out", "x.csv", "--order-prefix", "#"],
    ] {
        home.check(args, 2);
    }
}

#[test]
fn the_documentation_has_every_format_and_its_rule() {
    let (_sim, home) = ready(&["--participants", "50"]);
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/refund-files.md")).expect("the document");
    for format in home.check(&["refunds", "formats", "--json"], 0).objects() {
        let (name, rule) = (format["name"].as_str().expect("a name"), format["in_full_if"].as_str().expect("a rule"));
        assert!(
            docs.contains(&format!("| `{name}` |")) && docs.contains(rule),
            "docs/refund-files.md lacks {name}: {rule}"
        );
    }
}

#[test]
fn a_missing_file_is_an_error_with_a_hint_in_every_command_that_reads_one() {
    let (_sim, home) = ready(&[]);
    let out = home.path("out").display().to_string();
    for args in [
        &["retract", "--file", "missing.csv", "--yes"][..],
        &["retract", "--apply", "missing.csv", "--yes"],
        &["refunds", "check", "missing.csv"],
        &["reconcile", "missing.csv"],
        &["file", "write", "--from", "missing.csv", "--out", &out, "--yes"],
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains("missing.csv cannot be read") && ran.stderr.contains("check the path"), "{ran:?}");
    }
}
