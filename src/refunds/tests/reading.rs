//! Tests how recoup reads refund files, and which files it refuses.

use super::*;
use crate::error::Kind;
use crate::refunds::{AmountMeans, Severity};

#[test]
fn the_cells_of_a_row_are_read() {
    let refunds = read_without_note(
        "\u{feff}Order ID;Refund Amount;Currency;Refund Date;Order date;Disposition;Reason;Ticket;Event Type ID;Action ID;Note\r\n\
         #1001;-12,50;EUR;2024-04-03;2024-03-01 10:00;RETRACTION;sent back;T-1;12345;1000.4636.158133;kept\r\n\
         1002\r\n",
    )
    .expect("a file");
    assert_eq!(refunds.syntax, Syntax::Csv(Dialect { separator: b';', bom: true, crlf: true }));
    let row = &refunds.rows[0];
    assert_eq!((row.line, row.problems.as_slice()), (2, [].as_slice()));
    assert_eq!(row.order_id.as_ref().map(ToString::to_string).as_deref(), Some("#1001"));
    assert_eq!(row.refunded_at.map(|when| when.to_string()).as_deref(), Some("2024-04-03"));
    assert_eq!(row.ordered_at.map(|when| when.to_string()).as_deref(), Some("2024-03-01T10:00:00Z"));
    let texts = [&row.disposition, &row.reason, &row.ticket, &row.action_tracker_id];
    assert_eq!(texts.map(|text| text.as_deref().unwrap_or_default()), ["RETRACTION", "sent back", "T-1", "12345"]);
    assert_eq!(row.action_id.as_ref().map(ToString::to_string).as_deref(), Some("1000.4636.158133"));
    assert_eq!((row.cell(10), row.cell(99)), ("kept", ""));
    let short = &refunds.rows[1];
    assert!(short.reason.is_none() && short.problems.is_empty() && short.cell(10).is_empty());
    assert_eq!(decisions(&refunds), [DecisionKind::ToCompare, DecisionKind::Unclear]);
    let evidence = &refunds.orders[0].evidence;
    assert_eq!(evidence.refunded.map(|it| it.to_string()).as_deref(), Some("12.50"));
    assert_eq!(evidence.currency.as_deref(), Some("EUR"));
}

#[test]
fn problems_of_a_row_are_reported_with_their_severity() {
    use ProblemKind as K;
    let refunds = read(
        "order_id,refund date,disposition,event type id\n\
         1.00E+09,,,\n\
         A4,03/04/2024,,\n\
         A5,soon,,\n\
         A6,, RETRACTION,\n\
         A7,,,12345.0\n\
         \u{20}A8,,,\n\
         ,2024-04-03,,\n\
         A8,2024-04-03,,\n",
    )
    .expect("a file");
    let expected = [
        (vec![K::ScientificNotation], Severity::Stop),
        (vec![K::AmbiguousDate], Severity::Note),
        (vec![K::UnreadableDate], Severity::Note),
        (vec![K::LooksPadded], Severity::Stop),
        (vec![K::DecimalTail], Severity::Stop),
        (vec![K::LooksPadded], Severity::Doubt),
        (vec![K::EmptyOrder], Severity::Stop),
        (vec![], Severity::Note),
    ];
    for (row, (problems, severity)) in refunds.rows.iter().zip(&expected) {
        assert_eq!(kinds(row), *problems, "line {}", row.line);
        assert!(row.problems.iter().all(|problem| problem.severity == *severity), "line {}", row.line);
        assert_eq!(row.blocking_problem(true).is_some(), *severity == Severity::Stop, "line {}", row.line);
        assert_eq!(row.blocking_problem(false).is_some(), *severity >= Severity::Doubt, "line {}", row.line);
    }
    assert_eq!(refunds.rows.len(), expected.len());
    assert_eq!(refunds.rows[5].problems[0].to_string(), "order ID \" A8\" has white space around it (meant: \"A8\"?)");
}

#[test]
fn unreadable_amounts_are_unclear_with_a_reason() {
    let refunds = read(
        "order_id,refund amount,currency\n\
         A1,\"1,234\",\n\
         A2,abc,\n\
         A3,€5,USD\n\
         A4,,\n\
         A5,5,\n\
         A5,\"1,234\",\n\
         A6,5,\n",
    )
    .expect("a file");
    let why: Vec<&str> = refunds.orders.iter().map(|order| order.evidence.why.as_deref().unwrap_or_default()).collect();
    for (why, says) in
        why.iter().zip(["two readings", "not an amount", "in EUR, its currency column", "is blank", "line 7: ", ""])
    {
        assert!(why.contains(says), "{why:?} {says:?}");
    }
    let (last, others) = refunds.orders.split_last().expect("orders");
    assert!(others.iter().all(|order| order.decision.kind() == DecisionKind::Unclear), "{others:?}");
    assert_eq!(last.decision.kind(), DecisionKind::ToCompare);
}

#[test]
fn two_actions_of_one_order_are_two_refunds() {
    use DecisionKind::{RefundedInFull, Unclear};
    let refunds = read("order_id,action_id\n1,1.2.3\n1,1.2.4\n1,1.2.3\n2,\n2,1.2.3\n").expect("a file");
    let of: Vec<(DecisionKind, &[usize])> =
        refunds.orders.iter().map(|order| (order.decision.kind(), order.rows.as_slice())).collect();
    // The fourth row has no ActionId. Therefore both rows of order 2 are unclear.
    assert_eq!(of, [(RefundedInFull, [0, 2].as_slice()), (RefundedInFull, &[1]), (Unclear, &[3]), (Unclear, &[4])]);
    assert_eq!(refunds.rows.iter().map(|row| row.order).collect::<Vec<_>>(), [0, 1, 0, 2, 3].map(Some));
}

#[test]
fn lost_zeros_are_a_note() {
    let refunds = read("order_id\n00012\n00345\n10456\n567\n").expect("a file");
    assert_eq!(kinds(&refunds.rows[3]), [ProblemKind::LostZeros]);
    assert_eq!(refunds.rows[3].problems[0].suggestion.as_deref(), Some("00567"));
    assert!(refunds.rows[3].blocking_problem(false).is_none() && refunds.rows[0].problems.is_empty());
}

#[test]
fn a_file_that_is_not_a_list_of_refunds_is_refused_with_a_hint() {
    for (text, says) in [
        ("", "is empty"),
        ("\u{feff}\r\n \r\n", "is empty"),
        ("order_id,recoup_plan_mark\n1,m0\n", "is a plan"),
        ("<!doctype html>", "HTML"),
        ("1001\n1002\n", "has no header"),
        ("#1014762\nO7899073\nSO/969728/A\n", "has no header"),
        ("1001", "has no header"),
        ("{\"order_id\":\"1\"}\n{\"order_id\":", "line 2 is not one JSON object"),
        ("{\"order_id\":\"1\"}\n[]", "line 2 is not one JSON object"),
        ("{\"order_id\":\"1\",\"orderId\":\"2\"}", "\"order_id\" and \"orderId\""),
    ] {
        let error = read(text).expect_err(says);
        assert!(
            error.kind == Kind::Usage && error.message.contains(says) && error.hint.is_some(),
            "{text:?}: {error:?}"
        );
    }
    for (text, says) in [
        ("{\"order_id\":\"1\",\"order_id\":\"2\"}", "occurs twice"),
        ("{\"order_id\":\"\\u0000\"}", "NUL"),
        ("{\"order_id\":[1]}", "line 1: the order ID is neither"),
        ("{\"order_id\":true}", "the order ID is neither"),
    ] {
        let error = read(text).expect_err(says);
        assert!(error.kind == Kind::Usage && error.message.contains(says), "{text:?}: {error:?}");
    }
    assert_eq!(read("order_id,reason\n").expect("a header").rows, []);
}

#[test]
fn an_unknown_column_in_any_language_stops_a_list_until_it_is_ignored() {
    for column in [
        "zwrot\nA1,tak",
        "ステータス\nA1,返金済み",
        "step\nA1,requested",
        "percent\nA1,50%",
        "xyz\nA1,8000",
        "st\nA1,P",
    ] {
        let text = format!("order_id,{column}\n");
        let error = read(&text).expect_err(&text);
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("-column ")), "{error:?}");
        let name = column.split('\n').next().unwrap_or_default().to_owned();
        let mapping = ColumnMapping { ignore_columns: vec![name], ..ColumnMapping::default() };
        let refunds = from_bytes("x", text.as_bytes(), &Options { mapping, ..Options::default() }).expect(&text);
        assert_eq!(decisions(&refunds), [DecisionKind::RefundedInFull]);
    }
    // recoup refuses an unexplained column of names, because it may contain any text. recoup accepts an unexplained
    // column of e-mail addresses.
    for cells in ["Ann (no)", "nothing back yet", "50%", "kept"] {
        read(&format!("order_id,Customer Name,Country\nA1,{cells},DE\n")).expect_err(cells);
    }
    read("order_id,E-Mail,phone\nA1,a@example.com,\nA2,b@example.com,\n").expect("a list");
}

#[test]
fn a_nested_json_value_stops_a_list() {
    for value in ["{\"refunded\":false}", "[\"not refunded\"]", "false", "true"] {
        let text = format!("[{{\"order_id\":\"1001\",\"note\":{value}}}]");
        let error = from_bytes("refunds.json", text.as_bytes(), &Options::default()).expect_err(value);
        assert!(error.message.contains("\"note\""), "{value}: {error}");
    }
    let text = "[{\"order_id\":\"1001\",\"customer\":\"a@example.com\"}]";
    assert!(from_bytes("refunds.json", text.as_bytes(), &Options::default()).is_ok());
}

#[test]
fn free_text_in_any_language_stops_a_list_until_it_is_ignored() {
    for text in [
        "refund bounced back - customer keeps order",
        "refunded: false",
        "Erstattung fehlgeschlagen",
        "pas encore remboursé",
        "nie zwrócono",
        "未返金",
        "TBD",
        "?",
    ] {
        for column in ["note", "reason", "Kommentar"] {
            let file = format!("order_id,{column}\nA1,{text}\n");
            let error = read(&file).expect_err(&file);
            assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("--ignore-column")), "{error:?}");
            let mapping = ColumnMapping { ignore_columns: vec![column.to_owned()], ..ColumnMapping::default() };
            let options = Options { mapping, ..Options::default() };
            assert!(from_bytes("x", file.as_bytes(), &options).is_ok(), "{file}");
        }
    }
    for cells in ["RETRACTION,SUP-1", "ITEM_RETURNED,#12", ","] {
        let file = format!("order_id,disposition,ticket\nA1,{cells}\n");
        assert_eq!(decisions(&read(&file).expect(&file)), [DecisionKind::RefundedInFull]);
    }
    for cells in ["KEEP,", "ORDER_UPDATE,", ",rejected", ",open", ",SUP-12 bounced", ",kept 10 of 80", ",12退款失败"]
    {
        read(&format!("order_id,disposition,ticket\nA1,{cells}\n")).expect_err(cells);
    }
}

#[test]
fn headings_titles_and_footnotes_stop_a_list() {
    for text in [
        "order_id,E-Mail\nX-1,a@example.com\nRejected,\nX-3,b@example.com\n",
        "order_id,ticket\nX-1,T-1\n,Exchanges\nX-3,T-3\n",
        "order_id,customer\n1,Ann\n\nBestellnummer,Kunde\n2,Bob\n",
        "Refund requests\norder_id\n1\n",
        "Orders of November\norder_id\n1\n",
        "Abgelehnte Retouren\norder_id\n1\n",
        "返金拒否\norder_id\n1\n",
        "To refund\norder_id\n1\n",
        "Refunds 50%\norder_id\n1\n",
        "Refunds?\norder_id\n1\n",
        "!Refunds\norder_id\n1\n",
        "Refund of 5.00\norder_id\n1\n",
        "November 2026\norder_id\n1\n",
        "5 USD\norder_id\n1\n",
        "Refunds: 0\norder_id\n1\n",
        "order_id\nA1001\nA1002\n50%\nA1003\n",
        "order_id\nA1001\nA1002\n-80.00\nA1003\n",
        "order_id\nA1001\nA1002\n€5\nA1003\n",
        "order_id,refund amount %,order total\nA1,50,50\n",
        "order_id,refund amount €,order total\nA1,50,50\n",
        "order_id,✗ refunded_at\nA1,2026-11-02\n",
        "≠ order\nA1\n",
        "Refunds that failed\nOrder ID,Order Status,Order Total (inc tax),Refunded Amount\n1,Refunded,80,80\n",
        "Order ID,Order Status,Order Total (inc tax),Refunded Amount\n1,Refunded,80,80\nReversed refunds,,,\n2,Refunded,80,80\n",
        "Order ID,Order Status,Order Total (inc tax),Refunded Amount\n1,Refunded,80,80\n,Planned refunds,,\n2,Refunded,80,80\n",
        "order_id,E-Mail\nX-1,a@example.com\nKept since 2026-11-01:,\nX-3,b@example.com\n",
        "order_id\nX-1\nWeek 46 - open\nX-3\n",
        "order_id,E-Mail\nA1,a@example.com\nA2,b@example.com\n\nA2 was only exchanged\n",
    ] {
        let error = read(text).expect_err(text);
        assert!(error.kind == Kind::Usage && error.hint.is_some(), "{text:?}: {error:?}");
    }
    for text in [
        "Refunds of November 2026\n\norder_id,refund amount,refunded_at\n1,5.00,2026-11-02\nTotal,5.00,\n",
        "order_id\nKQXWBTRAZ\nAB12CD34E\nZZPQRSTUV\n",
    ] {
        read(text).expect(text);
    }
}

#[test]
fn order_ids_that_only_look_the_same_are_unclear() {
    let both = "order_id,refund amount,order total,refunded_at\nX1,80,80,2026-11-02\nA2,-80,80,2026-11-02\n";
    let mapping = ColumnMapping { amount_means: Some(AmountMeans::Refunded), ..ColumnMapping::default() };
    let refunds = from_bytes("x", both.as_bytes(), &Options { mapping, ..Options::default() }).expect("a list");
    assert_eq!(decisions(&refunds), [DecisionKind::Unclear; 2], "amounts of both signs");
    for other in ["A1\u{a0}", "A1\u{200b}", "\u{ff21}1"] {
        let text = format!("order_id,refund amount,refunded_at\nA1,80.00,2026-11-02\n{other},-80.00,2026-11-05\n");
        let mapping = ColumnMapping { amount_means: Some(AmountMeans::Refunded), ..ColumnMapping::default() };
        let refunds = from_bytes("x", text.as_bytes(), &Options { mapping, ..Options::default() }).expect(&text);
        assert_eq!(decisions(&refunds), [DecisionKind::Unclear; 2], "{other:?}");
    }
}

#[test]
fn amounts_in_two_currencies_and_placeholder_dates_are_unclear() {
    let header = "order_id,refund amount,order total,refunded_at,ordered_at,currency\n";
    let decision = |cells: &str| decisions(&read(&format!("{header}A1,{cells}\n")).expect(cells))[0];
    assert_eq!(decision("80.00,80.00,2026-11-02,2026-10-30"), DecisionKind::RefundedInFull);
    assert_eq!(decision("$80.00,USD 80.00,2026-11-02,2026-11-02"), DecisionKind::RefundedInFull);
    for cells in [
        "¥80.00,$80.00,2026-11-02,2026-10-30",
        "80.00 USD,80.00 EUR,2026-11-02,2026-10-30",
        "80.00,80.00,2026-11-02,2026-10-30,store credit",
        "80.00,80.00,2026-11-02,2026-10-30,points",
        "C$80.00,US$80.00,2026-11-02,2026-10-30",
        "80.00,80.00,1970-01-01,1969-12-30",
        "80.00,80.00,1899-12-30,",
        "80.00,80.00,9999-12-31,",
        "80.00,80.00,2026-11-02,2026-11-09",
    ] {
        assert_eq!(decision(cells), DecisionKind::Unclear, "{cells}");
    }
}

#[test]
fn ignoring_a_column_about_refunds_gives_a_warning() {
    let mapping =
        ColumnMapping { ignore_columns: vec!["Status".to_owned(), "Filiale".to_owned()], ..ColumnMapping::default() };
    let text = "order_id,Status,Filiale\nA1,Offen,Bonn\n";
    let refunds = from_bytes("x", text.as_bytes(), &Options { mapping, ..Options::default() }).expect("a list");
    let note = refunds.notes.iter().find(|note| note.starts_with("ignored")).expect("a note");
    assert!(note.contains("\"Status\"") && !note.contains("Filiale"), "{note}");
    assert!(refunds.orders[0].evidence.sentence().contains("listed as refunded"));
}

#[test]
fn mapping_columns_of_a_known_export_warns_that_its_rule_does_not_apply() {
    let mut mapping = ColumnMapping {
        status_column: Some("Financial Status".to_owned()),
        refunded_when: vec!["refunded".to_owned()],
        ignore_columns: vec!["Total".to_owned()],
        ..ColumnMapping::default()
    };
    let text = "Name,Financial Status,Total\n#1,refunded,10.00\n";
    let options = Options { mapping: mapping.clone(), ..Options::default() };
    let error = from_bytes("orders.csv", text.as_bytes(), &options).expect_err("no order column");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("Shopify orders export")), "{error:?}");
    mapping.order_column = Some("Name".to_owned());
    let options = Options { mapping, ..Options::default() };
    let refunds = from_bytes("orders.csv", text.as_bytes(), &options).expect("a list");
    assert!(refunds.notes.iter().any(|note| note.contains("--format shopify-orders")), "{:?}", refunds.notes);
}

#[test]
fn a_text_that_denies_a_refund_stops_a_list() {
    for column in [
        "reason\nA1,wrong size\nA2,not refunded",
        "note\nA1,partial refund",
        "reason\nA1,PAID",
        "disposition\nA1,Rejected",
    ] {
        let text = format!("order_id,{column}\n");
        let error = read(&text).expect_err(&text);
        assert!(
            error.message.contains("looks like a status") || error.message.contains("looks like free text"),
            "{error:?}"
        );
    }
}

#[test]
fn amounts_that_may_be_prices_stop_a_list() {
    for text in [
        "order_id,amount,currency\nA1,80.00,USD\n",
        "OrderId,Amount,Reason\nA1,80.00,OTHER\n",
        "order_id,refund amount\nA1,80.00\nA2,-5.00\n",
        "order_id,order total\nA1,80.00\n",
        "order_id,currency\nA1,USD\n",
    ] {
        let error = read(text).expect_err(text);
        assert!(error.message.contains("looks like an amount"), "{error:?}");
    }
}

#[test]
fn a_second_table_in_a_list_is_refused_and_a_repeated_header_is_skipped() {
    for text in [
        "order_id,reason\nA1,x\n\norder_id,status\nA3,paid\n",
        "order_id,refund_amount\nA1,5.00\n\nOrders\norder_id,total\nA3,80.00\n",
        "order_id,reason\nA1,x\n\nName,Financial Status\n#1,paid\n",
    ] {
        let error = read(text).expect_err(text);
        assert!(error.message.contains("a second table begins here"), "{error:?}");
    }
    assert_eq!(read("order_id,ticket\nA1,T-1\norder_id,ticket\nA2,T-2\n").expect("one list").orders.len(), 2);
}

#[test]
fn numbers_in_ndjson_keep_their_digits() {
    let refunds = read_without_note(
        "\n{\"order_id\": 12345678901234567890, \"refund_amount\": 1.234, \"note\": {\"a\": [1]}}\r\n\n{\"late\":null,\"order_id\":\"#2\",\"refund_amount\":\"1.234\"}\n",
    )
    .expect("a file");
    assert_eq!(
        (refunds.syntax, refunds.columns.header.as_slice()),
        (Syntax::Ndjson, ["order_id", "refund_amount", "note", "late"].map(str::to_owned).as_slice())
    );
    let (first, second) = (&refunds.rows[0], &refunds.rows[1]);
    assert_eq!((first.line, second.line), (2, 4));
    assert_eq!(first.order_id.as_ref().map(ToString::to_string).as_deref(), Some("12345678901234567890"));
    assert_eq!(refunds.orders[0].evidence.refunded.map(|it| it.to_string()).as_deref(), Some("1.234"));
    assert_eq!((first.cell(2), kinds(first).len()), ("{\"a\": [1]}", 0));
    assert_eq!(
        (kinds(second).len(), decisions(&refunds).as_slice()),
        (0, [DecisionKind::ToCompare, DecisionKind::Unclear].as_slice())
    );
}

proptest! {
    #[test]
    fn nothing_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(from_bytes("x", &bytes, &Options::default()));
    }

    #[test]
    fn order_ids_are_read_back_unchanged(ids in prop::collection::vec("\\PC{1,12}", 1..10)) {
        prop_assume!(ids.iter().all(|id| !id.trim().is_empty()));
        let mut text = b"order_id\n".to_vec();
        let rows: Vec<Vec<String>> = ids.iter().map(|id| vec![id.clone()]).collect();
        text.extend(ungrid(&rows, b','));
        let refunds = match from_bytes("x", &text, &Options::default()) {
            Ok(refunds) => refunds,
            // recoup may refuse the generated file, because a row unlike all others may be a heading.
            Err(error) => {
                prop_assert!(error.message.contains("is not an order ID like the others"), "{error}");
                return Ok(());
            }
        };
        let found: Vec<&str> = refunds.rows.iter().map(|row| row.cell(0)).collect();
        prop_assert_eq!(found, ids.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
