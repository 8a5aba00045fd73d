//! Threads of a store's own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use schedules::explore;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread;
use store_core::backend::BackgroundThread;

const TICK: Duration = Duration::from_secs(1);

/// A thread that works at each tick. The flag says that nothing may run anymore.
fn worker(has_ended: &Arc<AtomicBool>, on_tick: impl Fn() + Send + 'static) -> BackgroundThread {
    let has_ended = Arc::clone(has_ended);
    let thread = BackgroundThread::start("worker", move |stop| {
        while !stop.wait_timeout(TICK) {
            on_tick();
            thread::yield_now();
            assert!(!has_ended.load(Ordering::SeqCst), "a tick after the stop");
        }
        thread::yield_now();
        assert!(!has_ended.load(Ordering::SeqCst), "the thread's end after the stop");
    });
    thread.expect("a thread")
}

#[test]
fn thread_has_ended_when_any_stop_returns() {
    explore(|| {
        let has_ended = Arc::new(AtomicBool::new(false));
        let worker = Arc::new(worker(&has_ended, || ()));
        let asks_first = thread_rng().gen_bool(0.5);
        let stops = [false, asks_first].map(|asks_first| {
            let (worker, has_ended) = (Arc::clone(&worker), Arc::clone(&has_ended));
            thread::spawn(move || {
                if asks_first {
                    worker.request_stop();
                    assert!(!worker.is_running());
                }
                worker.stop();
                has_ended.store(true, Ordering::SeqCst);
            })
        });
        drop(worker);
        for stop in stops {
            stop.join().expect("stop doesn't panic");
        }
    });
}

/// Two threads as redb's store has them: what one of them calls, in a hook of the application,
/// mustn't wait for the other, which may do the same.
#[test]
fn threads_that_stop_each_other_in_their_hooks_end() {
    explore(|| {
        let has_ended = Arc::new(AtomicBool::new(false));
        let threads = Arc::new(OnceLock::<[BackgroundThread; 2]>::new());
        let stop_both = {
            let threads = Arc::downgrade(&threads);
            move || {
                let Some(threads) = threads.upgrade() else { return };
                if let Some(threads) = threads.get()
                    && thread_rng().gen_bool(0.5)
                {
                    stop_all(threads);
                }
            }
        };
        let pair = [worker(&has_ended, stop_both.clone()), worker(&has_ended, stop_both)];
        assert!(threads.set(pair).is_ok());
        let own = threads.get().expect("they are set");
        stop_all(own);
        has_ended.store(true, Ordering::SeqCst);
        assert!(own.iter().all(|thread| !thread.is_running()));
    });
}

/// What a store with several threads does in `stop_cleanup`.
fn stop_all(threads: &[BackgroundThread; 2]) {
    let is_one_of_them = threads.iter().any(BackgroundThread::is_current);
    for thread in threads {
        if is_one_of_them { thread.request_stop() } else { thread.stop() }
    }
}
