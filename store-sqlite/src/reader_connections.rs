//! Connections that readers keep instead of returning them to the pool.
//!
//! A find takes a few microseconds, and the pool's one lock, taken twice for each, is then what
//! threads wait for. So some of the pool's connections stay here, in slots. A thread tries its own
//! slot first, and goes to the pool if that is taken.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::pool::Checkout;

type Slot = Mutex<Option<Checkout>>;

/// This many connections stay with the pool: for the one writer of a store, which may have to wait
/// for other processes, and for the readers that find their slot taken.
const POOL_RESERVE: u32 = 2;

/// The slots; there are none if the pool is small or the application's.
pub(crate) struct ReaderConnections {
    slots: Box<[Slot]>,
}

impl ReaderConnections {
    /// No slots: every reader goes to the pool.
    pub(crate) fn none() -> Self {
        Self { slots: Box::default() }
    }

    /// Slots for what a pool of this size can spare.
    pub(crate) fn for_pool(max_connections: u32) -> Self {
        let slots = max_connections.saturating_sub(POOL_RESERVE);
        Self { slots: (0..slots).map(|_| Slot::default()).collect() }
    }

    /// Returns this thread's slot, unless another thread is using it.
    pub(crate) fn try_slot(&self) -> Option<MutexGuard<'_, Option<Checkout>>> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        // Division by zero: there are no slots.
        let slot = THREAD.get().checked_rem(self.slots.len())?;
        self.slots[slot].try_lock()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn two_connections_stay_with_the_pool() {
        for (max_connections, slots) in [(1, 0), (2, 0), (3, 1), (8, 6)] {
            assert_eq!(ReaderConnections::for_pool(max_connections).slots.len(), slots);
        }
        assert!(ReaderConnections::none().try_slot().is_none());
    }

    #[test]
    fn slot_that_is_taken_is_not_waited_for() {
        let readers = ReaderConnections::for_pool(3);
        let taken = readers.try_slot();
        assert!(taken.is_some());
        thread::scope(|scope| {
            let other = scope.spawn(|| readers.try_slot().is_none());
            assert!(other.join().expect("no panic"));
        });
    }
}
