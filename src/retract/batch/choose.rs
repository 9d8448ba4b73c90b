//! Chooses the trial rows, which the batch sends first, and checks the limits of a batch. `choose` does no I/O.
//!
//! The vendor cancels no reward if the reward's program has no retraction rule. Therefore the batch first sends three
//! trial orders of each program that has neither a recent confirmation nor a known rule.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::retract::checks::Verdict;

/// Number of trial orders for each program.
pub const TRIAL: usize = 3;

#[derive(Debug, Clone)]
pub struct Candidate {
    /// Position of the candidate's row in the refund file.
    pub row: usize,
    /// The program of the order's rewards; empty if the rewards have no program ID.
    pub program: String,
    pub rule_found: bool,
    pub verdict: Verdict,
    pub event_at: Option<Timestamp>,
    /// Value of the rewards that can still be cancelled, by unit.
    pub value: BTreeMap<String, i64>,
}

/// Sorts the orders of a batch into sending order. The order with the oldest conversion is first, because its deadline
/// at the vendor ends first. Orders without a conversion date are last. Orders with equal dates keep the order of the
/// file.
pub fn in_order(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by_key(|one| (one.event_at.unwrap_or(Timestamp::MAX), one.row));
    candidates
}

/// Chooses the trial rows, which the batch sends first and waits for. `trusted` contains the programs with a recently
/// confirmed retraction. A batch row needs no trial if the rule of its program is known. The trial prefers orders
/// without a warning, because a failure of an order with a warning says little about its program.
pub fn trial(candidates: &[Candidate], trusted: &BTreeSet<String>) -> BTreeSet<usize> {
    let mut programs: BTreeMap<&str, Vec<&Candidate>> = BTreeMap::new();
    for one in candidates.iter().filter(|one| !one.rule_found && !trusted.contains(&one.program)) {
        programs.entry(&one.program).or_default().push(one);
    }
    let rows = programs.into_values().flat_map(|of_program| {
        let clear: Vec<&Candidate> = of_program.iter().copied().filter(|one| one.verdict == Verdict::Go).collect();
        let chosen = if clear.is_empty() { of_program } else { clear };
        chosen.into_iter().take(TRIAL).map(|one| one.row)
    });
    rows.collect()
}

/// Limits on the size and value of a batch. Each batch limit has a flag that raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub count: u64,
    /// Maximum total value of the rewards, for each unit.
    pub value: u64,
}

/// Returns the total value of the candidates' rewards, by unit.
pub fn value(candidates: &[Candidate]) -> BTreeMap<String, i64> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for (unit, worth) in candidates.iter().flat_map(|one| &one.value) {
        let sum = sums.entry(unit.clone()).or_default();
        *sum = sum.saturating_add(*worth);
    }
    sums
}

pub fn check(candidates: &[Candidate], adjustments: usize, limits: Limits) -> Result<()> {
    let count = candidates.len() as u64 + adjustments as u64;
    if count > limits.count {
        return Err(Error::new(
            Kind::Refused,
            format!(
                "{} would be retracted or adjusted, and the limit is {}; nothing was sent",
                counted(count, "order"),
                limits.count
            ),
        )
        .hint(format!("look at the plan (--plan FILE); if that is right, allow it with --max-count {count}")));
    }
    let over = value(candidates).into_iter().find(|(_, worth)| u64::try_from(*worth).unwrap_or(0) > limits.value);
    if let Some((unit, worth)) = over {
        return Err(Error::new(
            Kind::Refused,
            format!(
                "rewards of {worth} {unit} would be taken back, and the limit is {}; nothing was sent",
                limits.value
            ),
        )
        .hint(format!("look at the plan (--plan FILE); if that is right, allow it with --max-value {worth}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(row: usize, program: &str, verdict: Verdict, day: i64) -> Candidate {
        Candidate {
            row,
            program: program.to_owned(),
            rule_found: false,
            verdict,
            event_at: (day >= 0).then(|| Timestamp::from_second(day * 86_400).expect("a moment")),
            value: BTreeMap::from([("CENTS".to_owned(), 500)]),
        }
    }

    #[test]
    fn the_oldest_goes_first_and_what_has_no_date_last() {
        let rows = [(0, 5), (1, -1), (2, 3), (3, 3), (4, 9)];
        let ordered = in_order(rows.map(|(row, day)| candidate(row, "p", Verdict::Go, day)).to_vec());
        assert_eq!(ordered.iter().map(|one| one.row).collect::<Vec<_>>(), [2, 3, 0, 4, 1]);
    }

    #[test]
    fn three_of_each_program_are_tried_unless_it_is_trusted() {
        use Verdict::{Go, GoWithWarning as Warn};
        let list = [
            candidate(0, "a", Warn, 0),
            candidate(1, "a", Go, 1),
            candidate(2, "a", Go, 2),
            candidate(3, "a", Go, 3),
            candidate(4, "a", Go, 4),
            candidate(5, "b", Warn, 5),
            candidate(6, "b", Warn, 6),
            candidate(7, "c", Go, 7),
            candidate(8, "d", Warn, 8),
            candidate(9, "d", Go, 9),
        ];
        let trusted = BTreeSet::from(["c".to_owned()]);
        assert_eq!(trial(&list, &trusted).into_iter().collect::<Vec<_>>(), [1, 2, 3, 5, 6, 9]);
        assert_eq!(trial(&[], &trusted).len(), 0);
    }

    #[test]
    fn a_row_for_which_the_rule_was_found_needs_no_trial() {
        let found = |row| Candidate { rule_found: true, ..candidate(row, "a", Verdict::Go, 0) };
        let mut list: Vec<Candidate> = (0..5).map(found).collect();
        assert_eq!(trial(&list, &BTreeSet::new()).len(), 0);
        list.push(candidate(5, "a", Verdict::Go, 0));
        assert_eq!(trial(&list, &BTreeSet::new()).into_iter().collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn more_than_the_limits_is_refused_by_name() {
        let list: Vec<Candidate> = (0..3).map(|row| candidate(row, "a", Verdict::Go, 0)).collect();
        assert!(check(&list, 0, Limits { count: 3, value: 1500 }).is_ok());
        let many = check(&list, 0, Limits { count: 2, value: 1500 }).expect_err("three are more than two");
        assert!(many.hint.expect("a way").contains("--max-count 3"));
        assert!(check(&list, 1, Limits { count: 3, value: 1500 }).is_err(), "an adjustment counts as an order");
        let much = check(&list, 0, Limits { count: 3, value: 1499 }).expect_err("too much");
        assert!(much.hint.expect("a way").contains("--max-value 1500"));
    }
}
