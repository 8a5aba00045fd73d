//! How many expired rows a sweep removes at a time: so few that a write which comes meanwhile doesn't
//! wait long.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// How long removing the rows of a batch may take while nobody writes. It isn't more because somebody
/// may come.
const ALONE: Duration = Duration::from_millis(2);

/// What counts as the time of a commit: one that doesn't wait for the disk is over at once, and that
/// of many rows takes longer than another's.
const SHORTEST_COMMIT: Duration = Duration::from_micros(100);
const LONGEST_COMMIT: Duration = Duration::from_micros(500);

/// So many are removed at a time before anything is known.
const FIRST: i64 = 16;

/// And so many also where they take longer.
const FEW: i64 = 4;

/// The size of the next batch.
///
/// Where others write, removing its rows takes a quarter to the whole of the time of its commit.
/// Every write has to wait for a commit of its own, so one that comes in the middle of a batch takes
/// up to three times as long as it would alone, on whatever disk. A fixed number can't do that: a row
/// takes a few microseconds, and a hundred where the table is too large for SQLite's cache. Where
/// nobody writes batches are larger, because a row of a large batch costs less.
#[derive(Debug)]
pub(crate) struct Pace {
    most: i64,
    rows: AtomicI64,
}

/// How a full batch went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) removal: Duration,
    pub(crate) commit: Duration,
    /// Whether somebody waited at its end.
    pub(crate) is_waited_for: bool,
}

impl Pace {
    /// With batches of at most this many rows.
    pub(crate) fn new(most: i64) -> Self {
        Self { most, rows: AtomicI64::new(FIRST.min(most)) }
    }

    /// How many rows the next batch is to remove at the most.
    pub(crate) fn rows(&self) -> i64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Takes notice of how a full batch went.
    pub(crate) fn learn(&self, took: Took) {
        let longest = if took.is_waited_for {
            took.commit.clamp(SHORTEST_COMMIT, LONGEST_COMMIT)
        } else {
            ALONE
        };
        let rows = self.rows();
        let next = if took.removal > longest {
            rows / 2
        } else if took.removal < longest / 4 {
            rows.saturating_mul(2)
        } else {
            rows
        };
        self.rows.store(next.clamp(FEW.min(self.most), self.most), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_micros(400);

    fn waited_for(removal: Duration, commit: Duration) -> Took {
        Took { removal, commit, is_waited_for: true }
    }

    #[test]
    fn batches_grow_and_shrink_between_few_and_most() {
        let pace = Pace::new(100);
        assert_eq!(pace.rows(), FIRST);
        for expected in [32, 64, 100, 100] {
            pace.learn(waited_for(COMMIT / 5, COMMIT));
            assert_eq!(pace.rows(), expected);
        }
        pace.learn(waited_for(COMMIT / 2, COMMIT));
        assert_eq!(pace.rows(), 100);
        for expected in [50, 25, 12, 6, 4, 4] {
            pace.learn(waited_for(COMMIT * 2, COMMIT));
            assert_eq!(pace.rows(), expected);
        }
    }

    #[test]
    fn batches_are_larger_while_nobody_writes() {
        let pace = Pace::new(1_000);
        let removal = ALONE / 5;
        pace.learn(Took { removal, commit: COMMIT, is_waited_for: false });
        assert_eq!(pace.rows(), 2 * FIRST);
        pace.learn(waited_for(ALONE, COMMIT));
        assert_eq!(pace.rows(), FIRST);
    }

    #[test]
    fn batches_are_never_larger_than_was_asked_for() {
        let pace = Pace::new(3);
        for removal in [Duration::ZERO, COMMIT * 9, Duration::ZERO] {
            assert_eq!(pace.rows(), 3);
            pace.learn(waited_for(removal, COMMIT));
        }
    }

    #[test]
    fn neither_a_commit_that_takes_no_time_nor_one_that_hangs_decides_alone() {
        let pace = Pace::new(1_000);
        pace.learn(waited_for(SHORTEST_COMMIT / 5, Duration::ZERO));
        assert_eq!(pace.rows(), 2 * FIRST);
        pace.learn(waited_for(LONGEST_COMMIT * 2, Duration::from_secs(10)));
        assert_eq!(pace.rows(), FIRST);
    }
}
