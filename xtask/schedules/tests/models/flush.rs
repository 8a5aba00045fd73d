//! The thread that makes the redb store's relaxed commits durable, and its last flush.

#[path = "../../../../store-ql-compat/src/store/flusher.rs"]
mod flusher;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flusher::FlushState;
use schedules::explore;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread;
use store_core::Error;
use store_core::backend::GroupCommit;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Commit(usize),
    Flush,
}

#[derive(Default)]
struct Disk {
    committed: Vec<usize>,
    durable: Vec<usize>,
}

/// What the store and its thread share, with a list in the place of the database.
struct Shared {
    disk: Mutex<Disk>,
    flush_state: Arc<FlushState>,
    group_commit: GroupCommit<Write, ()>,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            disk: Mutex::default(),
            flush_state: Arc::default(),
            group_commit: GroupCommit::new(|_| 0),
        })
    }

    /// No other thread runs while it is held: the lock isn't shuttle's.
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, write: Write) {
        let run_batch = |writes: Vec<Write>| {
            self.transact(&writes);
            vec![(); writes.len()]
        };
        let done = self.group_commit.submit(
            Duration::MAX,
            || self.transact(&[write]),
            || write,
            run_batch,
        );
        assert_eq!(done, Ok(()));
    }

    /// One transaction, in the order in which the store does it.
    fn transact(&self, writes: &[Write]) {
        let commits = writes.iter().filter_map(|write| match write {
            Write::Commit(number) => Some(*number),
            Write::Flush => None,
        });
        let is_durable = writes.contains(&Write::Flush) || !self.flush_state.defer();
        // The commit, with its waits.
        thread::sleep(Duration::ZERO);
        let mut disk = self.disk();
        disk.committed.extend(commits);
        if is_durable {
            let Disk { committed, durable } = &mut *disk;
            durable.clone_from(committed);
        }
        drop(disk);
        thread::sleep(Duration::ZERO);
    }
}

#[test]
fn what_was_committed_is_durable_once_the_thread_has_stopped() {
    explore(|| {
        let shared = Shared::new();
        let is_flushing = Arc::new(AtomicBool::new(false));
        let (same, flag) = (Arc::clone(&shared), Arc::clone(&is_flushing));
        let flush = move || -> Result<(), Error> {
            flag.store(true, Ordering::SeqCst);
            same.write(Write::Flush);
            flag.store(false, Ordering::SeqCst);
            Ok(())
        };
        let interval = Duration::from_secs(1);
        let flusher = flusher::start(interval, &shared.flush_state, None, flush);
        let flusher = flusher.expect("a thread");
        let returned = Arc::new(Mutex::new(Vec::new()));
        // Few, too: then the stop comes between two steps of the first transaction more often.
        let (writers, commits) = (thread_rng().gen_range(1..=3), thread_rng().gen_range(1..=2));
        let start = |writer: usize| {
            let (shared, returned) = (Arc::clone(&shared), Arc::clone(&returned));
            thread::spawn(move || {
                for number in 10 * writer..10 * writer + commits {
                    shared.write(Write::Commit(number));
                    returned.lock().unwrap_or_else(PoisonError::into_inner).push(number);
                }
            })
        };
        let mut threads: Vec<_> = (0..writers).map(start).collect();
        if thread_rng().gen_bool(0.5) {
            // No write comes after these, which might ask for a flush once more.
            for writer in threads.drain(..) {
                writer.join().expect("it only writes");
            }
            let is_due = shared.flush_state.is_flush_due.load(Ordering::SeqCst);
            let disk = shared.disk();
            let is_taken_care_of = is_due || is_flushing.load(Ordering::SeqCst);
            assert!(is_taken_care_of || disk.durable == disk.committed, "no flush will come");
        }
        flusher.stop();
        let is_durable = |number: &usize| shared.disk().durable.contains(number);
        let before = returned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(before.iter().all(is_durable), "{before:?} were committed when stop returned");
        for writer in threads {
            writer.join().expect("it only writes");
        }
        let disk = shared.disk();
        assert_eq!(disk.committed.len(), writers * commits);
        assert_eq!(disk.durable, disk.committed, "after the stop each commit is durable by itself");
    });
}
