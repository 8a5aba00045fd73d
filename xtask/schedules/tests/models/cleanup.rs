//! The cleanup thread, and its end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schedules::explore;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread;
use store_core::backend::{Batch, CleanupThread};
use store_core::{CleanupOptions, Error};

/// What runs of the cleanup do. Its atomics aren't shuttle's: no other thread runs between two uses
/// of one, unless it is said so.
#[derive(Default)]
struct Runs {
    batches: AtomicU64,
    is_running: AtomicBool,
    /// Whether some `stop` has returned.
    has_stopped: AtomicBool,
}

impl Runs {
    fn remove_batch(&self) -> Batch {
        assert!(!self.has_stopped.load(Ordering::SeqCst), "a batch after the stop");
        assert!(!self.is_running.swap(true, Ordering::SeqCst));
        // Others run.
        thread::sleep(Duration::ZERO);
        self.is_running.store(false, Ordering::SeqCst);
        self.batches.fetch_add(1, Ordering::SeqCst);
        Batch { removed: 1, has_more: thread_rng().gen_bool(0.5) }
    }

    /// Notes that `stop` has returned.
    fn stopped(&self) {
        assert!(!self.is_running.load(Ordering::SeqCst), "stop returned in a batch");
        self.has_stopped.store(true, Ordering::SeqCst);
    }

    fn check(&self, cleanup: &CleanupThread) {
        assert!(!cleanup.is_running());
        let statistics = cleanup.statistics();
        assert_eq!(statistics.removed, self.batches.load(Ordering::SeqCst));
        assert!(statistics.runs <= statistics.removed + statistics.failures);
    }
}

fn by_time() -> CleanupOptions {
    CleanupOptions::new().with_interval(Duration::from_secs(1))
}

#[test]
fn nothing_runs_after_a_stop_from_any_of_many_threads() {
    explore(|| {
        let runs = Arc::new(Runs::default());
        let same = Arc::clone(&runs);
        let cleanup = CleanupThread::start(by_time(), move || Ok(same.remove_batch()));
        let cleanup = Arc::new(cleanup.expect("a thread"));
        let stops = [(); 3].map(|()| {
            let (cleanup, runs) = (Arc::clone(&cleanup), Arc::clone(&runs));
            thread::spawn(move || {
                cleanup.stop();
                runs.stopped();
                cleanup.stop();
            })
        });
        for stop in stops {
            stop.join().expect("stop doesn't panic");
        }
        runs.check(&cleanup);
    });
}

#[test]
fn dropping_the_last_handle_stops_the_thread() {
    explore(|| {
        let runs = Arc::new(Runs::default());
        let same = Arc::clone(&runs);
        let cleanup = CleanupThread::start(by_time(), move || Ok(same.remove_batch()));
        let cleanup = Arc::new(cleanup.expect("a thread"));
        let handles = [(); 2].map(|()| {
            let (cleanup, runs) = (Arc::clone(&cleanup), Arc::clone(&runs));
            thread::spawn(move || {
                // Whoever comes last drops it.
                if Arc::into_inner(cleanup).map(drop).is_some() {
                    runs.stopped();
                }
            })
        });
        if Arc::into_inner(cleanup).map(drop).is_some() {
            runs.stopped();
        }
        for handle in handles {
            handle.join().expect("drop doesn't panic");
        }
        assert!(runs.has_stopped.load(Ordering::SeqCst));
    });
}

#[test]
fn manual_runs_are_whole_or_refused() {
    explore(|| {
        let runs = Arc::new(Runs::default());
        let same = Arc::clone(&runs);
        let (options, manual) = CleanupOptions::new().with_manual_cleanup();
        let cleanup = CleanupThread::start(options, move || {
            Ok(Batch { has_more: true, ..same.remove_batch() })
        });
        let cleanup = Arc::new(cleanup.expect("a thread"));
        let (own, own_runs) = (Arc::clone(&cleanup), Arc::clone(&runs));
        let stop = thread::spawn(move || {
            own.stop();
            own_runs.stopped();
        });
        let batches = || runs.batches.load(Ordering::SeqCst);
        if manual.run() && manual.next_batch() {
            // It has asked for the second batch, so the first is done.
            assert!(batches() >= 1);
            if manual.next_batch() {
                assert!(batches() >= 2);
            }
        }
        stop.join().expect("stop doesn't panic");
        assert!(manual.is_finished());
        assert!(!manual.run() && !manual.next_batch() && !manual.wait_until_idle());
        runs.check(&cleanup);
    });
}

#[test]
fn manual_run_is_over_once_the_thread_is_idle() {
    explore(|| {
        let runs = Arc::new(Runs::default());
        let same = Arc::clone(&runs);
        let (options, manual) = CleanupOptions::new().with_manual_cleanup();
        let cleanup = CleanupThread::start(options, move || {
            Ok(Batch { has_more: false, ..same.remove_batch() })
        });
        let cleanup = Arc::new(cleanup.expect("a thread"));
        for n in 1..=2 {
            assert!(manual.run() && manual.wait_until_idle());
            assert_eq!(cleanup.statistics().runs, n);
        }
        // The thread waits for its end alone once nobody is left to ask for a run.
        let same = Arc::clone(&cleanup);
        let stop = thread::spawn(move || same.stop());
        drop(manual);
        cleanup.stop();
        runs.stopped();
        stop.join().expect("stop doesn't panic");
        runs.check(&cleanup);
    });
}

/// Where a hook finds the handle of its own thread.
type Slot<T> = Arc<Mutex<Option<T>>>;

fn take<T>(slot: &Slot<T>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[test]
fn hook_may_stop_its_own_thread() {
    explore(|| {
        let runs = Arc::new(Runs::default());
        let (same, slot) = (Arc::clone(&runs), Slot::<Arc<CleanupThread>>::default());
        let own = Arc::clone(&slot);
        let options = by_time().with_failure_hook(move |_| {
            // Empty if the hook comes before the test has its handle, and after the first time.
            if let Some(cleanup) = take(&own) {
                cleanup.stop();
                assert!(!cleanup.is_running());
            }
        });
        let cleanup = CleanupThread::start(options, move || {
            same.remove_batch();
            same.batches.fetch_sub(1, Ordering::SeqCst);
            Err(Error::backend("this batch fails"))
        });
        let cleanup = Arc::new(cleanup.expect("a thread"));
        slot.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(&cleanup));
        let (other, other_runs) = (Arc::clone(&cleanup), Arc::clone(&runs));
        let stop = thread::spawn(move || {
            other.stop();
            other_runs.stopped();
        });
        cleanup.stop();
        runs.stopped();
        stop.join().expect("stop doesn't panic");
        runs.check(&cleanup);
    });
}

#[test]
fn hook_may_drop_the_last_handle_of_its_own_thread() {
    explore(|| {
        let slot = Slot::<CleanupThread>::default();
        let own = Arc::clone(&slot);
        let (options, manual) = CleanupOptions::new().with_manual_cleanup();
        let options = options.with_failure_hook(move |_| drop(take(&own)));
        let cleanup = CleanupThread::start(options, || Err(Error::backend("each batch fails")));
        slot.lock().unwrap_or_else(PoisonError::into_inner).replace(cleanup.expect("a thread"));
        let other = thread::spawn(move || {
            let has_run = manual.run();
            (manual, has_run)
        });
        let is_dropped_here = take(&slot).map(drop).is_some();
        let (manual, has_run) = other.join().expect("it asks alone");
        assert!(is_dropped_here || has_run);
        assert!(!manual.wait_until_idle(), "the thread has ended");
    });
}
