//! The results of the last live searches, for the page that shows them.
//!
//! The results are in memory only, because the index has everything that a search finds.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::lookup::VendorSearch;
use crate::model::OrderId;

/// How long the result of a search is shown, and the results of how many searches are stored.
const KEPT_FOR: SignedDuration = SignedDuration::from_mins(10);
const KEPT_AT_MOST: usize = 200;

#[derive(Debug)]
struct Search {
    /// The user who has searched. Other users do not see the result.
    person: String,
    order: OrderId,
    at: Timestamp,
    result: VendorSearch,
}

#[derive(Debug, Default)]
pub(super) struct Searches(Mutex<VecDeque<Search>>);

impl Searches {
    /// Stores the result of a search. Drops this user's earlier result for this order, and every result that is too old.
    pub(super) fn add(&self, person: &str, order: &OrderId, result: VendorSearch, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |search: &Search| search.person == person && search.order == *order;
        all.retain(|search| !is_same(search) && now.duration_since(search.at) < KEPT_FOR);
        all.truncate(KEPT_AT_MOST - 1);
        all.push_front(Search { person: person.to_owned(), order: order.clone(), at: now, result });
    }

    /// Returns the result of this user's newest search for an order, and the time of the search; `None` if it is not
    /// stored any more.
    pub(super) fn of(&self, person: &str, order: &OrderId, now: Timestamp) -> Option<(VendorSearch, Timestamp)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let search = all.iter().find(|search| search.person == person && search.order == *order)?;
        (now.duration_since(search.at) < KEPT_FOR).then(|| (search.result.clone(), search.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_shown_to_the_user_who_searched_and_for_ten_minutes() {
        let (searches, one, other) = (Searches::default(), OrderId::new("1"), OrderId::new("2"));
        let at = |minutes: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let with = |requests| VendorSearch { requests, ..VendorSearch::default() };
        searches.add("ann", &one, with(1), at(0));
        searches.add("ann", &one, with(2), at(1));
        searches.add("ann", &other, with(3), at(1));
        assert_eq!(searches.of("ann", &one, at(10)), Some((with(2), at(1))));
        assert_eq!(searches.of("ann", &one, at(11)), None);
        assert_eq!(searches.of("bob", &one, at(2)), None);
    }
}
