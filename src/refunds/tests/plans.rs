//! Tests that recoup detects a change to a plan file and reports its position.

use jiff::Timestamp;

use super::*;
use crate::error::Kind;
use crate::refunds::csv_injection;
use crate::refunds::plan_file::{self, PlanFile, PlanTarget};

fn target() -> PlanTarget {
    PlanTarget { tenant: "acme".to_owned(), account_sid: "IR1".to_owned() }
}

fn seal(refunds: &Refunds, planned: &[Vec<String>]) -> Vec<u8> {
    plan_file::write_plan(refunds, &["recoup_plan", "recoup_action"], planned, &target(), Timestamp::UNIX_EPOCH)
        .expect("a plan")
}

fn open(bytes: &[u8]) -> Result<PlanFile> {
    plan_file::plan_of("plan.csv", bytes)
}

#[test]
fn a_plan_that_was_changed_says_where() {
    let refunds = read("order_id,refund_amount\n1,5\n2,6\n3,7\n").expect("a file");
    let planned: Vec<Vec<String>> = (0..3).map(|n| vec!["go".to_owned(), format!("1.2.{n}")]).collect();
    let text = String::from_utf8(seal(&refunds, &planned)).expect("text");
    let plan = open(text.as_bytes()).expect("unchanged");
    assert_eq!(
        (plan.names.as_slice(), &plan.planned, plan.digest.len()),
        (["recoup_plan", "recoup_action"].map(str::to_owned).as_slice(), &planned, 64)
    );
    assert_eq!((plan.made_at, plan.refunds.rows.len()), (Timestamp::UNIX_EPOCH, 3));
    plan.check_target(&target()).expect("for us");
    let other = PlanTarget { tenant: "other".to_owned(), ..target() };
    assert_eq!(plan.check_target(&other).expect_err("not for us").kind, Kind::Identity);

    let lines: Vec<&str> = text.lines().collect();
    let of = |order: &[usize]| order.iter().flat_map(|n| [lines[*n], "\n"]).collect::<String>();
    for (changed, says) in [
        (text.replace("\n2,6,", "\n2,60,"), "written: row 3"),
        (text.replace("1.2.0", "1.2.1"), "written: row 2"),
        (text.replace("order_id,refund_amount", "order_id,sum"), "header or its last row"),
        (text.replace("acme", "evil"), "header or its last row"),
        (of(&[0, 2, 1, 3, 4]), "rows 2, 3"),
        (of(&[0, 1, 3, 4]), "from row 3 on"),
        (of(&[0, 1, 2, 4]), "row 4 and what followed it are gone"),
        (of(&[0, 1, 1, 2, 3, 4]), "from row 3 on"),
        (of(&[0, 1, 2, 3]), "last row, which protects it"),
        (of(&[0]), "last row, which protects it"),
        (of(&[0, 1, 2, 3, 4, 4]), "from row 5 on"),
        (of(&[0, 1, 2, 4, 3]), "last row, which protects it"),
        (of(&[1, 0, 1, 2, 3, 4]), "line 1 was not written by recoup"),
        (format!("{text}Total,18\n"), "line 6 was not written by recoup"),
    ] {
        let error = open(changed.as_bytes()).expect_err(says);
        assert!(error.kind == Kind::Refused && error.message.contains(says), "{says}: {error}");
    }
    for (other, says) in [
        ("order_id\n1\n".to_owned(), "is no plan"),
        (text.replace("recoup plan 3", "recoup plan 2"), "another version"),
    ] {
        let error = open(other.as_bytes()).expect_err(says);
        assert!(error.kind == Kind::Usage && error.message.contains(says), "{error}");
    }
    // The plan file stays valid if the same cells have other line ends.
    let dressed = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(open(dressed.as_bytes()).expect("unchanged").digest, plan.digest);
}

#[test]
fn a_plan_keeps_the_column_mapping() {
    let mapping = ColumnMapping { order_column: Some("Ref".to_owned()), ..ColumnMapping::default() };
    let options = Options { mapping, ..Options::default() };
    let refunds = from_bytes("x", b"E-Mail,ref\na@example.com,A\n", &options).expect("a file");
    let plan = open(&seal(&refunds, &[vec![String::new(), String::new()]])).expect("a plan");
    assert_eq!(plan.refunds.reading, refunds.reading);
    assert_eq!(plan.refunds.rows[0].order_id.as_ref().map(ToString::to_string).as_deref(), Some("A"));
}

#[test]
fn an_amount_from_a_json_number_stays_unambiguous_in_a_plan() {
    let refunds = read("{\"order_id\":1,\"refund_amount\":1.234}\n{\"order_id\":2,\"refund_amount\":\"1.234\"}\n")
        .expect("a file");
    let planned = open(&seal(&refunds, &values_for(&refunds, "go"))).expect("a plan").refunds;
    assert_eq!(decisions(&planned), [DecisionKind::ToCompare, DecisionKind::Unclear]);
    assert_eq!(planned.orders[0].decision, refunds.orders[0].decision);
}

#[test]
fn a_plan_gives_the_same_decisions_as_the_file() {
    use DecisionKind::{NotRefunded, RefundedInFull, RefundedInPart, Unclear};
    let text = "Name,Financial Status,Refunded Amount,Total\n#1,refunded,5.00,5.00\n#2,paid,0.00,5.00\n#1,,,\n\
                #3,partially_refunded,1.00,5.00\n#4,on fire,0.00,5.00\n";
    let refunds = read(text).expect("a file");
    assert_eq!(decisions(&refunds), [RefundedInFull, NotRefunded, RefundedInPart, Unclear]);
    let planned = open(&seal(&refunds, &values_for(&refunds, "go"))).expect("a plan").refunds;
    let of = |refunds: &Refunds| refunds.orders.iter().map(|order| order.decision.clone()).collect::<Vec<_>>();
    assert_eq!((&planned.reading, of(&planned)), (&refunds.reading, of(&refunds)));
}

proptest! {
    #[test]
    fn a_plan_is_read_back_whole(refunds in any_refunds(), value in any_cell()) {
        let planned = values_for(&refunds, &value);
        let plan = open(&seal(&refunds, &planned)).expect("unchanged");
        prop_assert_eq!(&plan.planned, &planned);
        prop_assert_eq!(&plan.refunds.columns, &refunds.columns);
        prop_assert_eq!(
            plan.refunds.rows.iter().map(|row| &row.cells).collect::<Vec<_>>(),
            refunds.rows.iter().map(|row| &row.cells).collect::<Vec<_>>()
        );
    }

    #[test]
    fn every_changed_cell_of_a_plan_is_detected(
        refunds in any_refunds(), row in any::<prop::sample::Index>(), column in any::<prop::sample::Index>(), cell in any_cell(),
    ) {
        let separator = separator_of(&refunds);
        let mut rows = grid(&seal(&refunds, &values_for(&refunds, "go")), separator);
        prop_assert!(open(&ungrid(&rows, separator)).is_ok());
        let (row, column) = (row.index(rows.len()), column.index(rows[0].len()));
        prop_assume!(csv_injection::unescape(&rows[row][column]) != csv_injection::unescape(&cell));
        rows[row][column] = cell;
        prop_assert!(open(&ungrid(&rows, separator)).is_err());
    }

    #[test]
    fn every_moved_added_or_removed_row_of_a_plan_is_detected(
        refunds in any_refunds(), one in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(), how in 0..3,
    ) {
        let separator = separator_of(&refunds);
        let mut rows = grid(&seal(&refunds, &values_for(&refunds, "go")), separator);
        let (one, other) = (one.index(rows.len()), other.index(rows.len()));
        match how {
            0 => drop(rows.remove(one)),
            1 => rows.insert(one, rows[other].clone()),
            _ => {
                prop_assume!(one != other);
                rows.swap(one, other);
            }
        }
        prop_assert!(open(&ungrid(&rows, separator)).is_err());
    }

    #[test]
    fn nothing_panics_on_any_text(rest in "[-0-9a-z,;\"'\n{}:. ]{0,80}") {
        drop(open(format!("order_id,recoup_plan_mark\n{rest}").as_bytes()));
    }

    #[test]
    fn every_list_of_refunds_can_be_planned(rest in "[-0-9a-z,;\t|\"'\r\n{}:. =#E+/é]{0,80}") {
        if let Ok(refunds) = read(&format!("order_id,amount,refund_date\n{rest}")) {
            prop_assert!(open(&seal(&refunds, &values_for(&refunds, "x"))).is_ok());
        }
    }
}
