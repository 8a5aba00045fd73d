//! Writers that share transactions.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schedules::explore;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;
use store_core::backend::{GroupCommit, SubmitError};

/// Without an end: whoever isn't notified waits forever, which shuttle reports.
const FOREVER: Duration = Duration::MAX;

/// As the queue has it.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// A job, and what its result must be.
type Job = usize;

/// What the threads write to. Its own locks aren't shuttle's: no other thread runs while one holds
/// them.
struct Database {
    queue: GroupCommit<Job, Job>,
    is_writing: AtomicBool,
    done: Mutex<Vec<Job>>,
    failed: Mutex<Vec<Job>>,
}

impl Database {
    fn new(bytes_of: fn(&Job) -> usize) -> Arc<Self> {
        Arc::new(Self {
            queue: GroupCommit::new(bytes_of),
            is_writing: AtomicBool::new(false),
            done: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    /// One transaction.
    fn write(&self, jobs: Vec<Job>) -> Vec<Job> {
        self.begin();
        append(&self.done, &jobs);
        self.end();
        jobs
    }

    /// A transaction that may panic, and has then done nothing.
    fn write_or_panic(&self, jobs: Vec<Job>) -> Vec<Job> {
        if thread_rng().gen_bool(0.6) {
            return self.write(jobs);
        }
        self.begin();
        append(&self.failed, &jobs);
        self.end();
        // Without the hook, which would print this schedule as a failed one.
        resume_unwind(Box::new("the leader panics"));
    }

    fn begin(&self) {
        assert!(!self.is_writing.swap(true, Ordering::SeqCst), "two transactions at once");
    }

    fn end(&self) {
        thread::sleep(Duration::ZERO);
        self.is_writing.store(false, Ordering::SeqCst);
    }

    fn submit(&self, job: Job, timeout: Duration) -> Result<Job, SubmitError> {
        self.queue.submit(timeout, || self.write(vec![job])[0], || job, |jobs| self.write(jobs))
    }

    /// Each of these jobs, and no other, was done exactly once, and the queue can go on.
    fn check(&self, mut expected: Vec<Job>) {
        assert!(!self.queue.has_waiting());
        let next = self.queue.submit(
            FOREVER,
            || self.write(vec![Job::MAX])[0],
            || unreachable!("nobody else leads"),
            |_| unreachable!("nobody else waits"),
        );
        assert_eq!(next, Ok(Job::MAX));
        expected.push(Job::MAX);
        expected.sort_unstable();
        let mut done = list(&self.done);
        done.sort_unstable();
        assert_eq!(done, expected);
    }
}

fn append(jobs: &Mutex<Vec<Job>>, more: &[Job]) {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
}

fn list(jobs: &Mutex<Vec<Job>>) -> Vec<Job> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Runs threads, and returns what each returned.
fn run<T: Send + 'static>(
    threads: usize,
    body: impl Fn(usize) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let body = Arc::new(body);
    let start = |n| {
        let body = Arc::clone(&body);
        thread::spawn(move || body(n))
    };
    let threads: Vec<_> = (0..threads).map(start).collect();
    threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
}

#[test]
fn each_job_is_done_once_and_its_result_is_its_own() {
    explore(|| {
        let database = Database::new(|_| 0);
        let same = Arc::clone(&database);
        run(3, move |n| {
            for job in [10 * n, 10 * n + 1] {
                assert_eq!(same.submit(job, FOREVER), Ok(job));
            }
        });
        database.check(vec![0, 1, 10, 11, 20, 21]);
    });
}

#[test]
fn job_that_timed_out_was_not_started() {
    explore(|| {
        let database = Database::new(|_| 0);
        let same = Arc::clone(&database);
        let results = run(4, move |n| same.submit(n, Duration::from_millis(2)));
        let done = results.iter().enumerate().filter_map(|(n, result)| match result {
            Ok(own) => {
                assert_eq!(*own, n);
                Some(n)
            }
            Err(SubmitError::TimedOut) => None,
            Err(error) => panic!("{error}"),
        });
        database.check(done.collect());
    });
}

#[test]
fn leader_that_panics_tells_its_followers() {
    explore(|| {
        let database = Database::new(|_| 0);
        let same = Arc::clone(&database);
        let outcomes = run(4, move |n| {
            let database = &same;
            let submit = || {
                database.queue.submit(
                    FOREVER,
                    || database.write_or_panic(vec![n])[0],
                    || n,
                    |jobs| database.write_or_panic(jobs),
                )
            };
            catch_unwind(AssertUnwindSafe(submit))
        });
        let failed = list(&database.failed);
        let done = list(&database.done);
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(Ok(own)) => assert!(own == n && done.contains(&n)),
                // It led, and the panic was in its own job or in those of others.
                Err(_) => assert_ne!(done.contains(&n), failed.contains(&n)),
                Ok(Err(error)) => {
                    assert_eq!(error, SubmitError::LeaderPanicked);
                    assert!(failed.contains(&n));
                }
            }
        }
        database.check((0..4).filter(|n| !failed.contains(n)).collect());
    });
}

#[test]
fn no_batch_has_more_bytes_than_its_limit_and_large_jobs_are_done_all_the_same() {
    const SIZES: [usize; 5] = [3 << 20, 1 << 20, 3 << 20, 5 << 20, 1];
    explore(|| {
        let database = Database::new(|job| SIZES[*job]);
        let same = Arc::clone(&database);
        run(SIZES.len(), move |n| {
            let database = &same;
            let run_one = || database.write(vec![n])[0];
            let result = database.queue.submit(
                FOREVER,
                run_one,
                || n,
                |jobs| {
                    let others = jobs.iter().filter(|job| **job != n);
                    let bytes: usize = others.map(|job| SIZES[*job]).sum();
                    assert!(bytes <= MAX_BATCH_BYTES, "{jobs:?}");
                    database.write(jobs)
                },
            );
            assert_eq!(result, Ok(n));
        });
        database.check((0..SIZES.len()).collect());
    });
}

#[test]
fn writer_does_no_background_work_before_it_returns() {
    const WRITERS: usize = 3;
    explore(|| {
        let database = Database::new(|_| 0);
        let same = Arc::clone(&database);
        run(WRITERS + 2, move |n| {
            let database = &same;
            let is_own_done = AtomicBool::new(false);
            let run_one = || {
                is_own_done.store(true, Ordering::SeqCst);
                database.write(vec![n])[0]
            };
            let run_batch = |jobs: Vec<Job>| {
                let has_writer = jobs.iter().any(|job| *job < WRITERS);
                let is_for_others = is_own_done.load(Ordering::SeqCst);
                assert!(has_writer || !is_for_others, "{jobs:?} could wait");
                database.write(jobs)
            };
            let result = if n < WRITERS {
                database.queue.submit(FOREVER, run_one, || n, run_batch)
            } else {
                database.queue.submit_background(FOREVER, run_one, || n, run_batch)
            };
            assert_eq!(result, Ok(n));
        });
        database.check((0..WRITERS + 2).collect());
    });
}
