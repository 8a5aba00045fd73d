//! The ranges of a file that a write-ahead log overwrites, and that are read from the log instead.
//!
//! Only the ranges are kept in memory, and the bytes are left in the log.

use std::collections::BTreeMap;

/// Where the bytes of a range come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// From the log, beginning at this offset.
    Log(u64),
    /// They are zeros.
    Zeros,
}

impl Origin {
    fn advanced(self, by: u64) -> Self {
        match self {
            Self::Log(offset) => Self::Log(offset + by),
            Self::Zeros => Self::Zeros,
        }
    }
}

/// Ranges of a file that a log has overwritten; they don't overlap.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// The end and the origin of a range, by its start.
    ranges: BTreeMap<u64, (u64, Origin)>,
}

impl Overlay {
    /// Overwrites a range, also those of earlier writes. The caller has checked that start and
    /// length, and the offset in the log and length, add up.
    pub(super) fn write(&mut self, start: u64, len: u64, origin: Origin) {
        if len == 0 {
            return;
        }
        let end = start + len;
        // What remains of earlier ranges on the left and on the right of the new one.
        while let Some((&old_start, &(old_end, old_origin))) = self.ranges.range(..end).next_back()
        {
            if old_end <= start {
                break;
            }
            self.ranges.remove(&old_start);
            if old_end > end {
                self.ranges.insert(end, (old_end, old_origin.advanced(end - old_start)));
            }
            if old_start < start {
                self.ranges.insert(old_start, (start, old_origin));
            }
        }
        self.ranges.insert(start, (end, origin));
    }

    /// The parts of `start..end` that were overwritten, as start, length and origin.
    pub(super) fn within(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64, Origin)> {
        self.ranges.range(..end).rev().take_while(move |(_, (old_end, _))| *old_end > start).map(
            move |(&old_start, &(old_end, origin))| {
                let from = old_start.max(start);
                (from, old_end.min(end) - from, origin.advanced(from - old_start))
            },
        )
    }

    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn later_writes_win(
            writes in proptest::collection::vec((0..100_u64, 0..40_u64, any::<bool>()), 0..20),
            (from, len) in (0..100_u64, 0..60_u64),
        ) {
            // The log is imagined to hold, at each offset, a byte that tells the offset.
            let mut model: [Option<Origin>; 200] = [None; 200];
            let mut overlay = Overlay::default();
            for (number, (start, len, zeros)) in (0_u64..).zip(writes) {
                let origin = if zeros { Origin::Zeros } else { Origin::Log(1_000 * number) };
                overlay.write(start, len, origin);
                for at in 0..len {
                    model[usize::try_from(start + at).expect("small")] = Some(origin.advanced(at));
                }
            }
            let mut seen: [Option<Origin>; 200] = [None; 200];
            for (start, len, origin) in overlay.within(from, from + len) {
                for at in 0..len {
                    let seen = &mut seen[usize::try_from(start + at).expect("small")];
                    prop_assert_eq!(*seen, None);
                    *seen = Some(origin.advanced(at));
                }
            }
            for (at, (seen, model)) in (0_u64..).zip(seen.into_iter().zip(model)) {
                let expected = if (from..from + len).contains(&at) { model } else { None };
                prop_assert_eq!(seen, expected, "at {}", at);
            }
        }
    }
}
