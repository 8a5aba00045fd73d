//! Group commit: writers that come at the same time share one transaction.
//!
//! An embedded database has one writer at a time, and a durable commit costs it one wait for the
//! disk, however much is in it. So the first writer that finds nobody writing becomes the *leader*
//! and writes at once. Writers that arrive during its transaction queue, and the first of them
//! leads the next transaction, with the jobs of all that are waiting by then. A single writer
//! neither copies its job nor waits.
//!
//! Two writers that write without a pause would never share a transaction that way: each arrives
//! while the other's is under way; and four would go in two alternating pairs. So a leader
//! *lingers* for the writers of the last transaction that aren't back yet, as `PostgreSQL` does
//! with its commit delay: for a fraction of what the last transaction took, and not again until it
//! has shared a transaction.
//!
//! Work that can wait, such as a batch of a cleanup run, is submitted as *background* work: no
//! writer does it for another thread before it returns, and no leader lingers for it. It joins the
//! next transaction, or leads one.

use std::fmt;
use std::mem;
use std::time::Duration;

use super::lock::lock;
use crate::Error;
use crate::sync::{Arc, AtomicBool, Condvar, Instant, Mutex, Ordering, PoisonError, thread};

/// How often the first in the queue yields before it sleeps: 100 to 200 microseconds if nothing
/// else wants its core, which is how long a fast disk takes for a durable transaction.
const YIELDS: usize = if cfg!(shuttle) { 2 } else { 400 };

/// A leader lingers for this part of the last transaction's duration. Writers of that transaction
/// are back in less, if they write without a pause.
const LINGER_PART: u32 = 4;

/// The longest time to linger, however long the last transaction waited for its disk or for another
/// process.
const MAX_LINGER: Duration = Duration::from_millis(1);

/// A leader doesn't linger for more writers than this, itself included: the more share a
/// transaction already, the less each further one saves.
const MAX_EXPECTED_WRITERS: usize = 8;

/// A leader takes no more than this many bytes of jobs from the queue, its own job aside, so that
/// no transaction keeps those that wait for it for longer than these take to write. A job that
/// doesn't fit waits until it is the first and leads, and small ones pass it.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// The queue of writers of one database.
///
/// `J` is a job that another thread can do, and `R` its result. One transaction has at most 4 MiB
/// of jobs next to that of the thread that leads it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use store_core::backend::GroupCommit;
///
/// let queue = GroupCommit::<u32, u32>::new(|_| 1);
/// let double = |jobs: Vec<u32>| jobs.into_iter().map(|n| 2 * n).collect::<Vec<_>>();
/// // Nobody else is writing, so the work is done here and now.
/// let result = queue.submit(Duration::from_secs(5), || double(vec![21])[0], || 21, double);
/// assert_eq!(result, Ok(42));
/// ```
pub struct GroupCommit<J, R> {
    queue: Mutex<Queue<J, R>>,
    bytes_of: fn(&J) -> usize,
}

/// Why a job has no result.
///
/// # Examples
/// ```
/// use store_core::Error;
/// use store_core::backend::SubmitError;
///
/// assert!(Error::from(SubmitError::TimedOut).is_retryable());
/// assert!(!Error::from(SubmitError::LeaderPanicked).is_retryable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmitError {
    /// The writers in front took longer than the timeout. The job was not started.
    TimedOut,
    /// The thread that led the transaction panicked. Whether the job was done is unknown.
    LeaderPanicked,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the writers in front took too long",
            Self::LeaderPanicked => "the thread that wrote for this one panicked",
        })
    }
}

impl std::error::Error for SubmitError {}

/// A job that was not started in time may be submitted again.
impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::TimedOut => Self::Contended { source: error.into() },
            SubmitError::LeaderPanicked => Self::backend(error),
        }
    }
}

struct Queue<J, R> {
    /// Whether there is a leader.
    is_busy: bool,
    waiting: Vec<Pending<J, R>>,
    /// How many were writing at the end of the last transaction, background work aside: those in
    /// it, and those that waited.
    writers: usize,
    /// For how long the next leader may linger for them.
    linger: Duration,
}

struct Pending<J, R> {
    job: J,
    waiter: Arc<Waiter<J, R>>,
}

/// A thread that waits, and the reply that it waits for.
struct Waiter<J, R> {
    is_background: bool,
    is_notified: AtomicBool,
    reply: Mutex<Reply<J, R>>,
    changed: Condvar,
}

enum Reply<J, R> {
    None,
    Done(R),
    /// The waiting thread is to lead; its own job comes back to it.
    Lead(J),
    LeaderPanicked,
}

impl<J, R> GroupCommit<J, R> {
    /// An empty queue. `bytes_of` tells how much there is to write for a job.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::{GroupCommit, Operation};
    /// use store_core::Error;
    ///
    /// let queue = GroupCommit::<Operation<'static>, Result<u64, Error>>::new(Operation::bytes);
    /// assert!(!queue.has_waiting());
    /// ```
    #[must_use]
    pub fn new(bytes_of: fn(&J) -> usize) -> Self {
        Self {
            queue: Mutex::new(Queue {
                is_busy: false,
                waiting: Vec::new(),
                writers: 0,
                linger: Duration::ZERO,
            }),
            bytes_of,
        }
    }

    /// Writes in a transaction, alone or together with other threads.
    ///
    /// `run_one` writes if nobody else does. Otherwise `to_job` makes a job of it that queues, and
    /// the thread that leads, which may be this one, calls `run_batch` with several jobs; it
    /// returns their results in the same order. Of the closures of all threads, only one runs at a
    /// time.
    ///
    /// # Errors
    /// [`SubmitError::TimedOut`] if the job was not started within the timeout.
    /// [`SubmitError::LeaderPanicked`] if another thread led and panicked.
    ///
    /// # Panics
    /// If `run_batch` returns another number of results than it got jobs.
    ///
    /// # Examples
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use store_core::backend::GroupCommit;
    ///
    /// let queue = GroupCommit::<u32, u32>::new(|_| 1);
    /// let write = |jobs: Vec<u32>| jobs.into_iter().map(|n| 2 * n).collect::<Vec<_>>();
    /// thread::scope(|scope| {
    ///     for n in 0..4 {
    ///         let (queue, write) = (&queue, &write);
    ///         scope.spawn(move || {
    ///             let result = queue.submit(Duration::from_secs(5), || 2 * n, || n, write);
    ///             assert_eq!(result, Ok(2 * n));
    ///         });
    ///     }
    /// });
    /// ```
    pub fn submit(
        &self,
        timeout: Duration,
        run_one: impl FnOnce() -> R,
        to_job: impl FnOnce() -> J,
        run_batch: impl Fn(Vec<J>) -> Vec<R>,
    ) -> Result<R, SubmitError> {
        self.submit_as(false, timeout, run_one, to_job, run_batch)
    }

    /// As [`submit`](Self::submit), for work that can wait: writers return before it is done,
    /// unless they share its transaction.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit).
    ///
    /// # Panics
    /// As [`submit`](Self::submit).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::backend::GroupCommit;
    ///
    /// let queue = GroupCommit::<&str, usize>::new(|_| 1);
    /// let write = |jobs: Vec<&str>| jobs.into_iter().map(str::len).collect::<Vec<_>>();
    /// let timeout = Duration::from_secs(5);
    /// let removed = queue.submit_background(timeout, || 7, || "cleanup", write);
    /// assert_eq!(removed, Ok(7));
    /// ```
    pub fn submit_background(
        &self,
        timeout: Duration,
        run_one: impl FnOnce() -> R,
        to_job: impl FnOnce() -> J,
        run_batch: impl Fn(Vec<J>) -> Vec<R>,
    ) -> Result<R, SubmitError> {
        self.submit_as(true, timeout, run_one, to_job, run_batch)
    }

    fn submit_as(
        &self,
        is_background: bool,
        timeout: Duration,
        run_one: impl FnOnce() -> R,
        to_job: impl FnOnce() -> J,
        run_batch: impl Fn(Vec<J>) -> Vec<R>,
    ) -> Result<R, SubmitError> {
        let mut queue = lock(&self.queue);
        if !queue.is_busy {
            // No leader: this thread leads, and all that arrive from here on queue.
            queue.is_busy = true;
            let expects_more = queue.writers > usize::from(!is_background);
            drop(queue);
            if expects_more {
                let batch = self.collect_batch(is_background);
                if !batch.is_empty() {
                    return Ok(self.lead(is_background, to_job, batch, &run_batch));
                }
            }
            let handover = Handover::new(self, is_background);
            let result = run_one();
            // The threads that have queued by now are asleep. Waking the first of them to lead
            // would leave the disk idle for as long as that takes, so their jobs are done here,
            // once. Those that arrive later are led by one of their own, so that this thread gets
            // away, as are those whose work can wait.
            let mut queue = lock(&self.queue);
            let batch =
                if writers(&queue.waiting) > 0 { self.take_batch(&mut queue) } else { Vec::new() };
            drop(queue);
            if batch.is_empty() {
                drop(handover);
            } else {
                handover.serve(batch, &run_batch);
            }
            return Ok(result);
        }

        // There is a leader: queue. The lock is held since it was seen, so the leader's handover,
        // which takes the same lock, finds this job.
        let waiter = Arc::new(Waiter {
            is_background,
            is_notified: AtomicBool::new(false),
            reply: Mutex::new(Reply::None),
            changed: Condvar::new(),
        });
        let is_first = queue.waiting.is_empty();
        queue.waiting.push(Pending { job: to_job(), waiter: Arc::clone(&waiter) });
        drop(queue);
        if is_first {
            // A transaction that doesn't wait for the disk ends sooner than a thread falls asleep
            // and wakes up. After one that does, the disk is idle until the next leader is awake.
            for _ in 0..YIELDS {
                if waiter.is_notified.load(Ordering::Acquire) {
                    break;
                }
                // Not a spin: the thread that writes to the disk for the system may want this core.
                thread::yield_now();
            }
        }
        match self.wait(&waiter, timeout)? {
            Reply::Done(result) => Ok(result),
            Reply::Lead(job) => {
                let batch = self.collect_batch(is_background);
                Ok(self.lead(is_background, || job, batch, &run_batch))
            }
            Reply::LeaderPanicked | Reply::None => Err(SubmitError::LeaderPanicked),
        }
    }

    /// Returns whether threads are waiting for the one that writes.
    ///
    /// # Examples
    /// ```
    /// use store_core::Error;
    /// use store_core::backend::{GroupCommit, Operation};
    ///
    /// let queue = GroupCommit::<Operation<'static>, Result<u64, Error>>::new(Operation::bytes);
    /// assert!(!queue.has_waiting());
    /// ```
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !lock(&self.queue).waiting.is_empty()
    }

    fn wait(
        &self,
        waiter: &Arc<Waiter<J, R>>,
        timeout: Duration,
    ) -> Result<Reply<J, R>, SubmitError> {
        let deadline = Instant::now().checked_add(timeout);
        let mut reply = lock(&waiter.reply);
        let mut has_started = false;
        while matches!(*reply, Reply::None) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if !has_started && left.is_zero() => {
                    drop(reply);
                    if self.leave(waiter) {
                        return Err(SubmitError::TimedOut);
                    }
                    // A leader has taken the job, so it will be done: only its result can be true.
                    has_started = true;
                    reply = lock(&waiter.reply);
                }
                Some(left) if !has_started => {
                    let timed = waiter.changed.wait_timeout(reply, left);
                    reply = timed.unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => reply = waiter.changed.wait(reply).unwrap_or_else(PoisonError::into_inner),
            }
        }
        Ok(mem::replace(&mut *reply, Reply::None))
    }

    /// Leaves the queue; returns `false` if a leader has already taken the job.
    fn leave(&self, waiter: &Arc<Waiter<J, R>>) -> bool {
        let mut queue = lock(&self.queue);
        let before = queue.waiting.len();
        queue.waiting.retain(|pending| !Arc::ptr_eq(&pending.waiter, waiter));
        queue.waiting.len() < before
    }

    /// Does this thread's job, together with a batch of others.
    fn lead(
        &self,
        is_background: bool,
        own: impl FnOnce() -> J,
        batch: Vec<Pending<J, R>>,
        run_batch: &impl Fn(Vec<J>) -> Vec<R>,
    ) -> R {
        let mut handover = Handover::new(self, is_background);
        let mut jobs = handover.take_jobs(batch);
        // First in the batch, because it arrived first. `own` runs after `take_jobs`, so that the
        // others are notified if it panics.
        jobs.insert(0, own());
        let mut results = run_batch(jobs).into_iter();
        let own = results.next().expect("each job has one result");
        handover.deliver(results);
        own
    }

    /// Takes the jobs that wait, after lingering for the writers of the last transaction.
    fn collect_batch(&self, is_background: bool) -> Vec<Pending<J, R>> {
        let started = Instant::now();
        loop {
            let mut queue = lock(&self.queue);
            let expected = queue.writers.min(MAX_EXPECTED_WRITERS);
            let present = usize::from(!is_background) + writers(&queue.waiting);
            if present >= expected || started.elapsed() >= queue.linger {
                return self.take_batch(&mut queue);
            }
            drop(queue);
            thread::yield_now();
        }
    }

    /// Takes the jobs that fit into one batch, in the order in which they arrived.
    fn take_batch(&self, queue: &mut Queue<J, R>) -> Vec<Pending<J, R>> {
        let mut left = MAX_BATCH_BYTES;
        queue
            .waiting
            .extract_if(.., |pending| match left.checked_sub((self.bytes_of)(&pending.job)) {
                Some(rest) => {
                    left = rest;
                    true
                }
                None => false,
            })
            .collect()
    }
}

impl<J, R> fmt::Debug for GroupCommit<J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommit")
            .field("waiting", &lock(&self.queue).waiting.len())
            .finish_non_exhaustive()
    }
}

/// Counts the jobs that writers wait for, background work aside.
fn writers<J, R>(waiting: &[Pending<J, R>]) -> usize {
    waiting.iter().filter(|pending| !pending.waiter.is_background).count()
}

impl<J, R> Waiter<J, R> {
    fn notify(&self, reply: Reply<J, R>) {
        *lock(&self.reply) = reply;
        self.is_notified.store(true, Ordering::Release);
        self.changed.notify_one();
    }
}

/// Ends the leadership, also if the leader panics: notifies the threads whose jobs it had taken,
/// and lets the next in the queue lead.
struct Handover<'a, J, R> {
    queue: &'a GroupCommit<J, R>,
    /// Whether the leader's own job is background work.
    is_background: bool,
    /// The threads that wait for this leader and have not been notified yet.
    waiters: Vec<Arc<Waiter<J, R>>>,
    started: Instant,
    /// How many were writing when the first of them was notified, and could come back.
    writers: Option<usize>,
}

impl<'a, J, R> Handover<'a, J, R> {
    fn new(queue: &'a GroupCommit<J, R>, is_background: bool) -> Self {
        let started = Instant::now();
        Self { queue, is_background, waiters: Vec::new(), started, writers: None }
    }

    /// Does the jobs of other threads.
    fn serve(mut self, batch: Vec<Pending<J, R>>, run_batch: &impl Fn(Vec<J>) -> Vec<R>) {
        let jobs = self.take_jobs(batch);
        self.deliver(run_batch(jobs).into_iter());
    }

    /// Takes the jobs of a batch. From here on their threads are notified if this leader panics.
    fn take_jobs(&mut self, batch: Vec<Pending<J, R>>) -> Vec<J> {
        let (jobs, waiters) =
            batch.into_iter().map(|pending| (pending.job, pending.waiter)).unzip();
        self.waiters = waiters;
        jobs
    }

    fn deliver(mut self, results: impl ExactSizeIterator<Item = R>) {
        assert_eq!(results.len(), self.waiters.len(), "each job has one result");
        let shared = self.waiters.iter().filter(|waiter| !waiter.is_background).count();
        let waiting = writers(&lock(&self.queue.queue).waiting);
        self.writers = Some(usize::from(!self.is_background) + shared + waiting);
        for (waiter, result) in self.waiters.drain(..).zip(results) {
            waiter.notify(Reply::Done(result));
        }
    }
}

impl<J, R> Drop for Handover<'_, J, R> {
    fn drop(&mut self) {
        for waiter in self.waiters.drain(..) {
            waiter.notify(Reply::LeaderPanicked);
        }
        let mut queue = lock(&self.queue.queue);
        queue.linger = (self.started.elapsed() / LINGER_PART).min(MAX_LINGER);
        let own = usize::from(!self.is_background);
        queue.writers = self.writers.unwrap_or_else(|| own + writers(&queue.waiting));
        queue.is_busy = !queue.waiting.is_empty();
        if queue.is_busy {
            let next = queue.waiting.remove(0);
            drop(queue);
            next.waiter.notify(Reply::Lead(next.job));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;

    use crossbeam_channel::bounded;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn job_of_a_single_writer_is_not_copied() {
        let queue = GroupCommit::<(), u32>::new(|()| 0);
        for n in 0..3 {
            let run_one = || {
                assert!(lock(&queue.queue).is_busy);
                n
            };
            let result = queue.submit(LONG, run_one, || unreachable!(), |_| unreachable!());
            assert_eq!(result, Ok(n));
            assert!(!lock(&queue.queue).is_busy);
        }
    }

    #[test]
    fn writers_that_arrive_during_a_transaction_share_the_next() {
        const WRITERS: usize = 8;
        let queue = GroupCommit::<usize, usize>::new(|_| 0);
        let (begun, wait_for_begin) = bounded(0);
        let (go_on, wait_for_all) = bounded::<()>(0);
        let batches = AtomicUsize::new(0);
        let run_batch = |jobs: Vec<usize>| {
            batches.fetch_add(1, Ordering::Relaxed);
            jobs.into_iter().map(|n| n * 10).collect()
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let run_one = || {
                    begun.send(()).expect("the test listens");
                    wait_for_all.recv().expect("the test tells");
                    0
                };
                queue.submit(LONG, run_one, || 0, run_batch)
            });
            wait_for_begin.recv().expect("the first begins");
            let others: Vec<_> = (1..=WRITERS)
                .map(|n| {
                    let (queue, run_batch) = (&queue, &run_batch);
                    scope.spawn(move || queue.submit(LONG, || unreachable!(), || n, run_batch))
                })
                .collect();
            while lock(&queue.queue).waiting.len() < WRITERS {
                thread::yield_now();
            }
            go_on.send(()).expect("the first waits");
            assert_eq!(first.join().expect("no panic"), Ok(0));
            for (n, other) in (1..).zip(others) {
                assert_eq!(other.join().expect("no panic"), Ok(n * 10), "each gets its own result");
            }
        });
        assert_eq!(batches.load(Ordering::Relaxed), 1);
        assert!(!lock(&queue.queue).is_busy);
    }

    #[test]
    fn many_writers_each_get_their_own_result_one_transaction_at_a_time() {
        const WRITERS: usize = 8;
        const JOBS: usize = if cfg!(miri) { 20 } else { 200 };
        let queue = GroupCommit::<usize, usize>::new(|_| 0);
        let running = AtomicUsize::new(0);
        let exclusively = |count: usize| {
            assert!(lock(&queue.queue).writers <= WRITERS, "nobody is counted twice");
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
            thread::yield_now();
            running.fetch_sub(1, Ordering::SeqCst);
            count
        };
        thread::scope(|scope| {
            for i in 0..WRITERS {
                let (queue, exclusively) = (&queue, &exclusively);
                scope.spawn(move || {
                    for n in 0..JOBS {
                        let own = i * 1_000 + n;
                        let result = queue.submit(
                            LONG,
                            || {
                                exclusively(1);
                                own
                            },
                            || own,
                            |jobs| {
                                exclusively(jobs.len());
                                jobs
                            },
                        );
                        assert_eq!(result, Ok(own));
                    }
                });
            }
        });
    }

    #[test]
    fn writer_is_single_again_once_the_others_are_gone() {
        let queue = GroupCommit::<u32, u32>::new(|_| 0);
        *lock(&queue.queue) =
            Queue { is_busy: false, waiting: Vec::new(), writers: 2, linger: Duration::ZERO };
        for n in 0..3 {
            let result = queue.submit(LONG, || n, || unreachable!(), |_| unreachable!());
            assert_eq!(result, Ok(n));
            assert_eq!(lock(&queue.queue).writers, 1);
        }
    }

    #[test]
    fn writer_returns_before_the_background_work_that_has_queued() {
        let queue = GroupCommit::<&str, Vec<&str>>::new(|_| 0);
        let (begun, wait_for_begin) = bounded(0);
        let (go_on, wait_until_queued) = bounded::<()>(0);
        assert!(!queue.has_waiting());
        // The result of a job is the batch that it was in.
        let run_batch = |jobs: Vec<&'static str>| vec![jobs.clone(); jobs.len()];
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let run_one = || {
                    begun.send(()).expect("the test listens");
                    wait_until_queued.recv().expect("the test tells");
                    vec!["alone"]
                };
                let no_batch = |_| unreachable!("it does nobody else's work");
                queue.submit(LONG, run_one, || "writer", no_batch)
            });
            wait_for_begin.recv().expect("the writer begins");
            let cleanup = scope.spawn(|| {
                queue.submit_background(LONG, || unreachable!(), || "cleanup", run_batch)
            });
            while !queue.has_waiting() {
                thread::yield_now();
            }
            go_on.send(()).expect("the writer waits");
            assert_eq!(writer.join().expect("no panic"), Ok(vec!["alone"]));
            assert_eq!(cleanup.join().expect("no panic"), Ok(vec!["cleanup"]));
        });
        let queue = lock(&queue.queue);
        assert_eq!((queue.is_busy, queue.writers), (false, 0), "nobody lingers for a cleanup");
    }

    #[test]
    fn leader_lingers_for_the_writers_of_the_last_transaction() {
        const WRITERS: usize = 4;
        let queue = GroupCommit::<usize, usize>::new(|_| 0);
        *lock(&queue.queue) =
            Queue { is_busy: false, waiting: Vec::new(), writers: WRITERS, linger: LONG };
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|n| {
                    let queue = &queue;
                    scope.spawn(move || {
                        let run_batch = |jobs: Vec<usize>| {
                            assert_eq!(jobs.len(), WRITERS);
                            jobs
                        };
                        queue.submit(LONG, || unreachable!(), || n, run_batch)
                    })
                })
                .collect();
            for (n, writer) in writers.into_iter().enumerate() {
                assert_eq!(writer.join().expect("no panic"), Ok(n));
            }
        });
        assert_eq!(lock(&queue.queue).writers, WRITERS);
        assert!(!lock(&queue.queue).is_busy);
    }

    #[test]
    fn background_work_that_leads_lingers_for_the_writer_of_the_last_transaction() {
        let queue = GroupCommit::<&str, Vec<&str>>::new(|_| 0);
        *lock(&queue.queue) =
            Queue { is_busy: false, waiting: Vec::new(), writers: 1, linger: LONG };
        let run_batch = |jobs: Vec<&'static str>| vec![jobs.clone(); jobs.len()];
        thread::scope(|scope| {
            let cleanup = scope.spawn(|| {
                queue.submit_background(LONG, || unreachable!(), || "cleanup", run_batch)
            });
            while !lock(&queue.queue).is_busy {
                thread::yield_now();
            }
            let writer = queue.submit(LONG, || unreachable!(), || "writer", run_batch);
            assert_eq!(writer, Ok(vec!["cleanup", "writer"]));
            assert_eq!(cleanup.join().expect("no panic"), writer);
        });
    }

    #[test]
    fn small_jobs_pass_those_that_do_not_fit_into_a_batch() {
        const BIG: usize = 3 << 20;
        const SIZES: [usize; 5] = [BIG, 1, BIG, 1, 1];
        let queue = GroupCommit::<usize, usize>::new(|bytes| *bytes);
        let (started, wait_for_start) = bounded(0);
        let (go_on, wait_for_all) = bounded::<()>(0);
        let batches = Mutex::new(Vec::new());
        let run_batch = |jobs: Vec<usize>| {
            lock(&batches).push(jobs.clone());
            jobs
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let run_one = || {
                    started.send(()).expect("the test listens");
                    wait_for_all.recv().expect("the test tells");
                    0
                };
                queue.submit(LONG, run_one, || 0, run_batch)
            });
            wait_for_start.recv().expect("the first starts");
            for (waiting, bytes) in (1..).zip(SIZES) {
                let (queue, run_batch) = (&queue, &run_batch);
                scope.spawn(move || queue.submit(LONG, || unreachable!(), || bytes, run_batch));
                while lock(&queue.queue).waiting.len() < waiting {
                    thread::yield_now();
                }
            }
            go_on.send(()).expect("the first waits");
            assert_eq!(first.join().expect("no panic"), Ok(0));
        });
        assert_eq!(*lock(&batches), [vec![BIG, 1, 1, 1], vec![BIG]]);
    }

    #[test]
    fn job_that_was_not_started_in_time_is_not_done() {
        let queue = GroupCommit::<(), ()>::new(|()| 0);
        for timeout in [Duration::ZERO, Duration::from_millis(1)] {
            let run_one = || {
                let late = queue.submit(timeout, || unreachable!(), || (), |_| unreachable!());
                assert_eq!(late, Err(SubmitError::TimedOut));
            };
            assert_eq!(queue.submit(LONG, run_one, || (), |_| unreachable!()), Ok(()));
            assert!(!lock(&queue.queue).is_busy);
        }
    }

    #[test]
    fn job_that_a_leader_has_taken_is_not_given_up() {
        let queue = GroupCommit::<(), ()>::new(|()| 0);
        let waiter = Arc::new(Waiter {
            is_background: false,
            is_notified: AtomicBool::new(false),
            reply: Mutex::new(Reply::None),
            changed: Condvar::new(),
        });
        lock(&queue.queue).waiting.push(Pending { job: (), waiter: Arc::clone(&waiter) });
        assert!(queue.leave(&waiter), "nobody has taken it");
        assert!(!queue.leave(&waiter), "it isn't waiting, so it is done");
    }

    #[test]
    fn only_a_writer_that_waited_too_long_is_asked_to_try_again() {
        for (error, is_retryable, reason) in [
            (SubmitError::TimedOut, true, "the writers in front took too long"),
            (SubmitError::LeaderPanicked, false, "the thread that wrote for this one panicked"),
        ] {
            let error = Error::from(error);
            assert_eq!(error.is_retryable(), is_retryable);
            let source = std::error::Error::source(&error).expect("the reason");
            assert_eq!(source.to_string(), reason);
        }
    }

    #[test]
    fn followers_hear_of_a_panic_of_their_leader_and_the_queue_goes_on() {
        const WRITERS: usize = 3;
        let queue = GroupCommit::<usize, usize>::new(|_| 0);
        let (begun, wait_for_begin) = bounded(0);
        let (go_on, wait_for_all) = bounded::<()>(0);
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let run_one = || {
                    begun.send(()).expect("the test listens");
                    wait_for_all.recv().expect("the test tells");
                    panic!("the first one fails")
                };
                catch_unwind(AssertUnwindSafe(|| queue.submit(LONG, run_one, || 0, |jobs| jobs)))
            });
            wait_for_begin.recv().expect("the first begins");
            let others: Vec<_> = (0..WRITERS)
                .map(|n| {
                    let queue = &queue;
                    let run_batch = |_: Vec<usize>| panic!("the batch fails, too");
                    scope.spawn(move || {
                        catch_unwind(AssertUnwindSafe(|| {
                            queue.submit(LONG, || unreachable!(), || n, run_batch)
                        }))
                    })
                })
                .collect();
            while lock(&queue.queue).waiting.len() < WRITERS {
                thread::yield_now();
            }
            go_on.send(()).expect("the first waits");
            assert!(first.join().expect("caught").is_err());
            let outcomes: Vec<_> = others.into_iter().map(|o| o.join().expect("caught")).collect();
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1, "the leader");
            let told = outcomes
                .iter()
                .filter(|outcome| matches!(outcome, Ok(Err(SubmitError::LeaderPanicked))));
            assert_eq!(told.count(), WRITERS - 1);
        });
        assert_eq!(queue.submit(LONG, || 7, || 7, |jobs| jobs), Ok(7), "the queue goes on");
    }
}
