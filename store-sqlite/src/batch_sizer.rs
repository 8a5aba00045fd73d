//! How many expired rows a cleanup run removes at a time: so few that a write which comes during a
//! batch doesn't wait long.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// How long removing the rows of a batch may take while nobody else writes. It isn't more because a
/// writer may come during it.
const IDLE_TARGET: Duration = Duration::from_millis(2);

/// The bounds of what counts as the time of a commit: one that doesn't wait for the disk takes next
/// to no time, and that of many rows takes longer than another's.
const MIN_COMMIT: Duration = Duration::from_micros(100);
const MAX_COMMIT: Duration = Duration::from_micros(500);

/// The rows of the first batch, before anything is known.
const INITIAL_ROWS: i64 = 16;

/// A batch has at least this many rows, even if they take longer.
const MIN_ROWS: i64 = 4;

/// A batch has at least this many rows for each write since the batch before. A write creates one
/// session at most, so a run catches up with any number of writers.
const ROWS_PER_WRITE: i64 = 2;

/// The size of the next batch.
///
/// While others write, removing its rows takes between a quarter of the time of its commit and all
/// of it. Every write has to wait for a commit of its own, so one that comes in the middle of a
/// batch takes up to three times as long as it would alone, on whatever disk. A fixed number can't
/// do that: a row takes a few microseconds, and a hundred if the table is too large for SQLite's
/// cache. While nobody else writes batches are larger, because a row of a large batch costs less.
///
/// That alone would remove fewer rows the more there is to do: the busier the writers, the longer
/// a batch waits for them. So a batch has at least [`ROWS_PER_WRITE`] rows for each write since the
/// one before it. To remove a row costs less than to create it, so both together delay writers by
/// about as much as the writers themselves do.
#[derive(Debug)]
pub(crate) struct BatchSizer {
    max_rows: i64,
    rows: AtomicI64,
    /// Whether a run is under way that has more to remove.
    has_more: AtomicBool,
    /// The writes since its last batch.
    writes: AtomicI64,
}

/// How long a full batch took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchTiming {
    pub(crate) removal: Duration,
    pub(crate) commit: Duration,
    /// Whether other threads wrote at the same time, or waited at its end.
    pub(crate) is_contended: bool,
}

impl BatchSizer {
    /// For batches of at most this many rows.
    pub(crate) fn new(max_rows: i64) -> Self {
        Self {
            max_rows,
            rows: AtomicI64::new(INITIAL_ROWS.min(max_rows)),
            has_more: AtomicBool::new(false),
            writes: AtomicI64::new(0),
        }
    }

    /// Counts a write that may have created a session.
    pub(crate) fn count_write(&self) {
        // What is written between two runs gives the next one no reason to hurry.
        if self.has_more.load(Ordering::Relaxed) {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many rows the batch that begins now removes at most.
    pub(crate) fn next_rows(&self) -> i64 {
        let writes = self.writes.swap(0, Ordering::Relaxed);
        self.rows().max(writes.saturating_mul(ROWS_PER_WRITE)).min(self.max_rows)
    }

    /// Says whether the run goes on after a batch.
    pub(crate) fn end_batch(&self, has_more: bool) {
        self.has_more.store(has_more, Ordering::Relaxed);
        if !has_more {
            self.writes.store(0, Ordering::Relaxed);
        }
    }

    fn rows(&self) -> i64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Adapts the next batch to how long a full one took.
    pub(crate) fn record(&self, timing: BatchTiming) {
        let target = if timing.is_contended {
            timing.commit.clamp(MIN_COMMIT, MAX_COMMIT)
        } else {
            IDLE_TARGET
        };
        let rows = self.rows();
        let next = if timing.removal > target {
            rows / 2
        } else if timing.removal < target / 4 {
            rows.saturating_mul(2)
        } else {
            rows
        };
        self.rows.store(next.clamp(MIN_ROWS.min(self.max_rows), self.max_rows), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_micros(400);

    fn contended(removal: Duration, commit: Duration) -> BatchTiming {
        BatchTiming { removal, commit, is_contended: true }
    }

    #[test]
    fn batches_grow_and_shrink_between_the_bounds() {
        let sizer = BatchSizer::new(100);
        assert_eq!(sizer.rows(), INITIAL_ROWS);
        for expected in [32, 64, 100, 100] {
            sizer.record(contended(COMMIT / 5, COMMIT));
            assert_eq!(sizer.rows(), expected);
        }
        sizer.record(contended(COMMIT / 2, COMMIT));
        assert_eq!(sizer.rows(), 100);
        for expected in [50, 25, 12, 6, 4, 4] {
            sizer.record(contended(COMMIT * 2, COMMIT));
            assert_eq!(sizer.rows(), expected);
        }
    }

    #[test]
    fn batches_are_larger_while_nobody_else_writes() {
        let sizer = BatchSizer::new(1_000);
        let removal = IDLE_TARGET / 5;
        sizer.record(BatchTiming { removal, commit: COMMIT, is_contended: false });
        assert_eq!(sizer.rows(), 2 * INITIAL_ROWS);
        sizer.record(contended(IDLE_TARGET, COMMIT));
        assert_eq!(sizer.rows(), INITIAL_ROWS);
    }

    #[test]
    fn batches_are_never_larger_than_was_asked_for() {
        let sizer = BatchSizer::new(3);
        for removal in [Duration::ZERO, COMMIT * 9, Duration::ZERO] {
            assert_eq!(sizer.rows(), 3);
            sizer.record(contended(removal, COMMIT));
        }
    }

    #[test]
    fn batch_has_two_rows_for_each_write_since_the_last_one() {
        let sizer = BatchSizer::new(1_000);
        let write = |writes| (0..writes).for_each(|_| sizer.count_write());
        write(300);
        assert_eq!(sizer.next_rows(), INITIAL_ROWS, "they came before the run");
        sizer.end_batch(true);
        write(300);
        assert_eq!(sizer.next_rows(), 600);
        assert_eq!(sizer.next_rows(), INITIAL_ROWS, "each write counts once");
        write(600);
        assert_eq!(sizer.next_rows(), 1_000, "no more than was asked for");
        write(300);
        sizer.end_batch(false);
        assert_eq!(sizer.next_rows(), INITIAL_ROWS, "the run is over");
    }

    #[test]
    fn neither_a_commit_that_takes_no_time_nor_one_that_hangs_decides_alone() {
        let sizer = BatchSizer::new(1_000);
        sizer.record(contended(MIN_COMMIT / 5, Duration::ZERO));
        assert_eq!(sizer.rows(), 2 * INITIAL_ROWS);
        sizer.record(contended(MAX_COMMIT * 2, Duration::from_secs(10)));
        assert_eq!(sizer.rows(), INITIAL_ROWS);
    }
}
