//! Connections that readers keep beside the pool.
//!
//! A find takes a few microseconds, and the pool's one lock, taken twice for each, is then what
//! threads wait for. So some of the pool's connections stay here, in places that threads try first,
//! each its own; whoever finds its place taken goes to the pool.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use r2d2::PooledConnection;
use r2d2_sqlite::SqliteConnectionManager;

type Place = Mutex<Option<PooledConnection<SqliteConnectionManager>>>;

/// So many connections stay with the pool: for the one writer that a store lets at the database at a
/// time, which may have to wait for other processes, and for readers meanwhile.
const LEFT_TO_THE_POOL: u32 = 2;

/// The places, none where the pool is small or somebody else's.
pub(crate) struct Readers {
    places: Box<[Place]>,
}

impl Readers {
    /// No places: every reader goes to the pool.
    pub(crate) fn none() -> Self {
        Self { places: Box::default() }
    }

    /// Places for what a pool of this size can spare.
    pub(crate) fn of_pool(max_connections: u32) -> Self {
        let places = max_connections.saturating_sub(LEFT_TO_THE_POOL);
        Self { places: (0..places).map(|_| Place::default()).collect() }
    }

    /// This thread's place, if it is free.
    pub(crate) fn place(
        &self,
    ) -> Option<MutexGuard<'_, Option<PooledConnection<SqliteConnectionManager>>>> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        // Division by zero is no place.
        let place = THREAD.get().checked_rem(self.places.len())?;
        self.places[place].try_lock()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn two_connections_stay_with_the_pool() {
        for (max_connections, places) in [(1, 0), (2, 0), (3, 1), (8, 6)] {
            assert_eq!(Readers::of_pool(max_connections).places.len(), places);
        }
        assert!(Readers::none().place().is_none());
    }

    #[test]
    fn place_that_is_taken_is_not_waited_for() {
        let readers = Readers::of_pool(3);
        let taken = readers.place();
        assert!(taken.is_some());
        thread::scope(|scope| {
            let other = scope.spawn(|| readers.place().is_none());
            assert!(other.join().expect("no panic"));
        });
    }
}
