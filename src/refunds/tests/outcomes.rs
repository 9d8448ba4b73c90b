//! Tests that outcome files extend the refund file, and that recoup can read them again.

use super::*;
use crate::refunds::outcome_file::{free_names, outcomes};
use crate::refunds::{csv_injection, csv_table, input};

#[test]
fn outcomes_are_added_to_their_rows() {
    let refunds = read_without_note("order_id;note;recoup_outcome\r\n=1;a\r\n-12.50;\"x;y\";old\r\n").expect("a file");
    let values = [vec!["confirmed".to_owned(), "@x".to_owned()], vec!["pending".to_owned(), String::new()]];
    let names = ["recoup_outcome", "recoup_why"];
    let csv = outcomes(&refunds, refunds.syntax, &names, &values).expect("outcomes");
    assert_eq!(
        String::from_utf8(csv).expect("text"),
        "order_id;note;recoup_outcome;recoup_outcome_2;recoup_why_2\r\n'=1;a;;confirmed;'@x\r\n-12.50;\"x;y\";old;pending;\r\n"
    );
    let ndjson = outcomes(&refunds, Syntax::Ndjson, &["outcome"], &[vec!["a".to_owned()], vec![String::new()]]);
    assert_eq!(
        String::from_utf8(ndjson.expect("outcomes")).expect("text"),
        "{\"order_id\":\"=1\",\"note\":\"a\",\"recoup_outcome\":\"\",\"outcome\":\"a\"}\n\
         {\"order_id\":\"-12.50\",\"note\":\"x;y\",\"recoup_outcome\":\"old\",\"outcome\":null}\n"
    );
    for values in [&values[..1], &[Vec::new(), Vec::new()]] {
        outcomes(&refunds, refunds.syntax, &names, values).expect_err("half a file");
    }
}

#[test]
fn a_json_row_keeps_its_text() {
    let refunds = read_without_note("{ \"order_id\" : 1.0e2 , \"note\":{\"b\":1,\"a\":2} }\n{\"order_id\":\"2\"}\n")
        .expect("a file");
    let values = [vec!["a".to_owned()], vec!["b".to_owned()]];
    let written = outcomes(&refunds, Syntax::Ndjson, &["recoup_outcome"], &values).expect("outcomes");
    let written = String::from_utf8(written).expect("text");
    assert_eq!(
        written,
        "{\"order_id\" : 1.0e2 , \"note\":{\"b\":1,\"a\":2},\"recoup_outcome\":\"a\"}\n{\"order_id\":\"2\",\"recoup_outcome\":\"b\"}\n"
    );
    assert_eq!(read_without_note(&written).expect("read back").rows.len(), 2);
}

#[test]
fn free_names_are_numbered_together() {
    let header = ["a", "b_2"].map(str::to_owned);
    for (names, free) in [(["x", "y"], ["x", "y"]), (["a", "c"], ["a_2", "c_2"]), (["a", "b"], ["a_3", "b_3"])] {
        assert_eq!(free_names(&header, &names), free);
    }
}

proptest! {
    #[test]
    fn outcomes_are_read_back_cell_by_cell(refunds in any_refunds(), value in any_cell()) {
        let values = values_for(&refunds, &value);
        let bytes = outcomes(&refunds, refunds.syntax, &["recoup_outcome", "recoup_why"], &values).expect("outcomes");
        let is_header = |cells: &[String]| usize::from(cells.iter().any(|cell| cell.starts_with("recoup_why")));
        let again = csv_table::read("x", &input::decode("x", &bytes).expect("text"), 1000, &is_header).expect("a table");
        prop_assert_eq!(again.dialect.separator, separator_of(&refunds));
        prop_assert_eq!(again.rows.len(), refunds.rows.len());
        for ((_, cells), (row, values)) in again.rows.iter().zip(refunds.rows.iter().zip(&values)) {
            let back: Vec<_> = cells.iter().map(|cell| csv_injection::unescape(cell)).collect();
            let sent: Vec<&str> = row.cells.iter().chain(values).map(String::as_str).collect();
            prop_assert_eq!(back, sent);
        }
    }

    #[test]
    fn outcomes_as_ndjson_are_objects_with_every_cell(refunds in any_refunds()) {
        let values = values_for(&refunds, "x");
        let bytes = outcomes(&refunds, Syntax::Ndjson, &["recoup_outcome", "recoup_why"], &values).expect("outcomes");
        let text = String::from_utf8(bytes).expect("text");
        prop_assert_eq!(text.lines().count(), refunds.rows.len());
        for (line, row) in text.lines().zip(&refunds.rows) {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).expect("an object");
            prop_assert_eq!(object.len(), refunds.columns.header.len() + 2);
            prop_assert_eq!(object["order_id"].as_str(), Some(row.cell(0)));
        }
    }

    #[test]
    fn nothing_panics_on_what_looks_like_a_file(
        start in prop::sample::select(vec!["order_id,amount,refund_date\n", "\u{feff}sep=;\r\nOID;amount\r\n", "{\"order_id\":", "order_id\trecoup_outcome\n"]),
        rest in "[-0-9a-z,;\t|\"'\r\n{}:. =#E+/é]{0,80}",
    ) {
        let text = format!("{start}{rest}");
        if let Ok(refunds) = read(&text) {
            let values = values_for(&refunds, "x");
            let format = refunds.syntax;
            let written = outcomes(&refunds, format, &["recoup_outcome", "recoup_why"], &values).expect("outcomes");
            prop_assert_eq!(from_bytes("x", &written, &Options::default()).map_or(0, |again| again.rows.len()), refunds.rows.len());
        }
    }
}
