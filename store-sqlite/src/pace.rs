//! How many expired rows a sweep removes at a time: so few that a write which comes meanwhile doesn't wait long.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Removing the rows of one batch takes about this long, at most twice. A thousand take twenty milliseconds and more
/// where the table is too large for SQLite's cache.
const SHARE: Duration = Duration::from_micros(500);

/// So many are removed at a time before anything is known, and also where they take longer.
const FEW: i64 = 16;

/// The size of the next batch.
#[derive(Debug)]
pub(crate) struct Pace {
    most: i64,
    rows: AtomicI64,
}

impl Pace {
    /// With batches of at most this many rows.
    pub(crate) fn new(most: i64) -> Self {
        Self { most, rows: AtomicI64::new(FEW.min(most)) }
    }

    /// How many rows the next batch is to remove at the most.
    pub(crate) fn rows(&self) -> i64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Takes notice of how long it took to remove the rows of a full batch. The commit doesn't count: where it is slow,
    /// each write is.
    pub(crate) fn learn(&self, took: Duration) {
        let rows = self.rows();
        let next = if took > SHARE * 2 {
            rows / 2
        } else if took < SHARE / 2 {
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

    #[test]
    fn batches_grow_and_shrink_between_few_and_most() {
        let pace = Pace::new(100);
        assert_eq!(pace.rows(), FEW);
        for expected in [32, 64, 100, 100] {
            pace.learn(SHARE / 4);
            assert_eq!(pace.rows(), expected);
        }
        pace.learn(SHARE);
        assert_eq!(pace.rows(), 100);
        for expected in [50, 25, 16, 16] {
            pace.learn(SHARE * 3);
            assert_eq!(pace.rows(), expected);
        }
    }

    #[test]
    fn batches_are_never_larger_than_was_asked_for() {
        let pace = Pace::new(3);
        for took in [Duration::ZERO, SHARE * 9, Duration::ZERO] {
            assert_eq!(pace.rows(), 3);
            pace.learn(took);
        }
    }
}
