//! The moment before which nothing starts, and why: one number that moves forward, and back only if a person clears it.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::model::budget::{Hold, WaitReason};

/// A packed [`Hold`]. Moved forward by `fetch_max`: no success and no shorter wait takes it back. Only a person does, by
/// `recoup quota clear`.
#[derive(Default)]
pub(super) struct Deadline(AtomicI64);

impl Deadline {
    /// Moves it forward. Whether it moved.
    pub(super) fn extend(&self, hold: Hold) -> bool {
        let packed = pack(hold);
        self.0.fetch_max(packed, Ordering::AcqRel) < packed
    }

    /// Takes `seen` back to `cleared`, unless the deadline has moved since it was seen.
    pub(super) fn take_back(&self, seen: Hold, cleared: Option<Hold>) {
        let cleared = cleared.map_or(0, pack);
        if cleared < pack(seen) {
            // If it has moved, the newer deadline holds.
            let _moved = self.0.compare_exchange(pack(seen), cleared, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    pub(super) fn get(&self) -> Hold {
        unpack(self.0.load(Ordering::Acquire))
    }
}

/// Moment and reason in one number that orders by moment, so that both move in one step.
fn pack(hold: Hold) -> i64 {
    hold.until_ms.saturating_mul(4)
        | match hold.reason {
            WaitReason::BackingOff => 0,
            WaitReason::QuotaUsed => 1,
            WaitReason::AskedTo => 2,
            WaitReason::Implausible => 3,
        }
}

fn unpack(packed: i64) -> Hold {
    let reason = match packed & 3 {
        0 => WaitReason::BackingOff,
        1 => WaitReason::QuotaUsed,
        2 => WaitReason::AskedTo,
        _ => WaitReason::Implausible,
    };
    Hold { until_ms: packed >> 2, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_and_reason_move_together_and_order_by_moment() {
        for until_ms in [0, 1, 1_700_000_000_000, 253_402_207_200_000] {
            for reason in [WaitReason::AskedTo, WaitReason::QuotaUsed, WaitReason::BackingOff, WaitReason::Implausible]
            {
                let hold = Hold { until_ms, reason };
                assert_eq!(unpack(pack(hold)), hold);
            }
            let asked = pack(Hold { until_ms, reason: WaitReason::Implausible });
            assert!(asked < pack(Hold { until_ms: until_ms + 1, reason: WaitReason::BackingOff }));
        }
    }
}
