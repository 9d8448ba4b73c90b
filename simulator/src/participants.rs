//! The current participants in the order of `/users`. Some participants join or leave during the run.
//!
//! The initial participants are sorted by number. The simulator inserts later participants at the beginning, in the
//! middle, at the end, and just before and after the position that the client reads. The simulator stores only the
//! differences from the initial participants. Therefore a page of a million participants costs two binary searches.

use super::{data::Data, random::Tag};

/// The differences between the initial and the current participants.
#[derive(Debug)]
pub(super) struct Participants {
    people: u64,
    /// The participants who joined, sorted: the initial number directly after their position, and their own number.
    joined: Vec<(u64, u64)>,
    /// The initial participants who left, sorted.
    gone: Vec<u64>,
    /// The number of participants who will still join or leave.
    left: u64,
    /// The total number of requested changes of participants. The simulator spreads the changes over the pages of one
    /// read of `/users`.
    asked: u64,
    happened: u64,
    due: f64,
    /// The participants who joined (true) or left (false) since the last call of `take_fresh`.
    fresh: Vec<(u64, bool)>,
}

impl Participants {
    pub(super) fn new(people: u64, churn: u64) -> Self {
        Self {
            people,
            joined: Vec::new(),
            gone: Vec::new(),
            left: churn,
            asked: churn,
            happened: 0,
            due: 0.0,
            fresh: Vec::new(),
        }
    }

    pub(super) fn has_churn_left(&self) -> bool {
        self.left > 0
    }

    pub(super) fn churn_more(&mut self, events: u64) {
        self.left += events;
        self.asked = self.left;
        self.due = 0.0;
    }

    /// Returns and clears the participants who joined (true) or left (false) since the last call.
    pub(super) fn take_fresh(&mut self) -> Vec<(u64, bool)> {
        std::mem::take(&mut self.fresh)
    }

    pub(super) fn total(&self) -> u64 {
        self.people + self.joined.len() as u64 - self.gone.len() as u64
    }

    pub(super) fn is_here(&self, person: u64) -> bool {
        if person < self.people {
            self.gone.binary_search(&person).is_err()
        } else {
            person < self.people + self.joined.len() as u64
        }
    }

    /// Returns how many of the present participants come before the participant who had this number at the start.
    fn before(&self, number: u64) -> u64 {
        let joined = self.joined.partition_point(|(before, _)| *before < number) as u64;
        let gone = self.gone.partition_point(|gone| *gone < number) as u64;
        number + joined - gone
    }

    /// Returns at most `limit` participants from `offset`, and the total number of participants.
    pub(super) fn page(&self, offset: u64, limit: u64) -> (Vec<u64>, u64) {
        let total = self.total();
        let size = limit.min(total.saturating_sub(offset));
        let mut page = Vec::with_capacity(size as usize);
        if size == 0 {
            return (page, total);
        }
        // Searches for the last initial number that has at most `offset` participants before it.
        let (mut low, mut high) = (0, self.people);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if self.before(middle) <= offset {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        let mut skip = offset - self.before(low);
        let mut joined = self.joined.partition_point(|(before, _)| *before < low);
        let mut gone = self.gone.partition_point(|gone| *gone < low);
        let mut number = low;
        while (page.len() as u64) < size {
            let next = match self.joined.get(joined) {
                Some((before, person)) if *before == number => {
                    joined += 1;
                    *person
                }
                _ if number >= self.people => break,
                _ if self.gone.get(gone) == Some(&number) => {
                    gone += 1;
                    number += 1;
                    continue;
                }
                _ => {
                    number += 1;
                    number - 1
                }
            };
            if skip > 0 {
                skip -= 1;
            } else {
                page.push(next);
            }
        }
        (page, total)
    }

    /// Makes some participants join or leave when a client reads one page of `/users`. Returns `true` if a participant
    /// joined or left. The changes of participants are spread over the first three quarters of a read of `/users`,
    /// because none must happen near its end.
    pub(super) fn churn(&mut self, data: &Data, offset: u64, limit: u64) -> bool {
        if offset == 0 && self.happened == 0 {
            return false;
        }
        let pages = self.people.div_ceil(limit.max(1)).max(1);
        self.due += self.asked as f64 / (pages as f64 * 0.75);
        let mut any = false;
        while self.due >= 1.0 && self.left > 0 {
            self.due -= 1.0;
            self.left -= 1;
            any |= self.happen(data, offset, limit);
            self.happened += 1;
        }
        any
    }

    fn happen(&mut self, data: &Data, offset: u64, limit: u64) -> bool {
        let roll = data.hash(Tag::Churn, self.happened, 0);
        let spread = roll >> 8;
        let near = 1 + spread % (limit * 2).max(1);
        let place = match roll % 5 {
            0 => spread % (self.people / 20 + 1),
            1 => spread % self.people,
            2 => self.people - spread % (self.people / 20 + 1),
            3 => offset.saturating_sub(near),
            _ => offset + near,
        }
        .min(self.people);
        if self.happened.is_multiple_of(2) {
            let person = self.people + self.joined.len() as u64;
            let at = self.joined.partition_point(|one| *one < (place, person));
            self.joined.insert(at, (place, person));
            self.fresh.push((person, true));
            return true;
        }
        // Only a participant with an account of their own leaves, because an account ends with its last member.
        let alone = |person: u64| data.members(person).eq([person]);
        let Some(person) = (place..self.people).chain(0..place).find(|p| self.is_here(*p) && alone(*p)) else {
            return false;
        };
        let at = self.gone.partition_point(|gone| *gone < person);
        self.gone.insert(at, person);
        self.fresh.push((person, false));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn walk(participants: &Participants, size: u64) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            let (page, total) = participants.page(all.len() as u64, size);
            assert_eq!(total, participants.total());
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    #[test]
    fn pages_of_any_size_join_to_the_same_list() {
        let options = Options { participants: 500, ..Options::default() };
        let data = Data::new(&options, 1_700_000_000_000);
        let mut participants = Participants::new(500, 60);
        let mut offset = 0;
        while participants.has_churn_left() {
            participants.churn(&data, offset % 500, 10);
            offset += 10;
        }
        let all = walk(&participants, 1);
        assert_eq!(all.len() as u64, participants.total());
        assert_eq!(participants.total(), 500, "as many joined as left");
        assert!(all.iter().all(|person| participants.is_here(*person)));
        for size in [2, 7, 100, 1000] {
            assert_eq!(walk(&participants, size), all, "pages of {size}");
        }
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), all.len(), "nobody appears twice");
    }

    #[test]
    fn churn_ends_and_happens_within_one_walk() {
        let options = Options { participants: 2000, churn: 40, ..Options::default() };
        let data = Data::new(&options, 1_700_000_000_000);
        let mut participants = Participants::new(2000, 40);
        for page in 0..20 {
            participants.churn(&data, page * 100, 100);
        }
        assert!(!participants.has_churn_left(), "40 events are over after 20 pages");
        let before = walk(&participants, 100);
        participants.churn(&data, 0, 100);
        assert_eq!(before, walk(&participants, 100));
    }
}
