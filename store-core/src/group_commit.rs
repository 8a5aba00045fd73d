//! Writers that come at the same time share one transaction: what the embedded stores have in common.
//!
//! An embedded database has one writer at a time, and a durable commit costs it one wait for the
//! disk, however much is in it. So the first writer that finds nobody writing becomes the *leader*
//! and writes at once; those that come meanwhile line up, and the first of them leads the next
//! transaction, with the work of all that are waiting by then. A writer alone neither copies nor
//! waits. Servers such as MySQL call this group commit.
//!
//! Two writers that write without a pause would never meet that way: each comes while the other's
//! transaction is under way; and four would go in two pairs, by turns. So a leader looks out for
//! those who wrote a moment ago and aren't back yet: for a fraction of what the last transaction
//! took, and not again until it has had company anew.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::lock::lock;

/// How often the first in line looks whether it is done before it falls asleep: some tens of microseconds.
const YIELDS: usize = 60;

/// A leader looks out for company for this part of the time that the last transaction took. Those who
/// were in it are back in less, if they write without a pause.
const LOOKOUT_PART: u32 = 4;

/// However long a transaction had to wait for its disk, or for another process.
const MAX_LOOKOUT: Duration = Duration::from_millis(1);

/// A leader doesn't look out for more than make this many with itself: the more share a transaction
/// already, the less each of them adds to what its price buys.
const MAX_LOOKED_OUT_FOR: usize = 8;

/// The line of writers of one database.
///
/// `J` is a piece of work that another thread can do, `R` what it gives.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use store_core::GroupCommit;
///
/// let line = GroupCommit::<u32, u32>::new();
/// let double = |jobs: Vec<u32>| jobs.into_iter().map(|n| 2 * n).collect::<Vec<_>>();
/// // Nobody else is writing, so the work is done here and now.
/// let result = line.submit(Duration::from_secs(5), || double(vec![21])[0], || 21, double);
/// assert_eq!(result, Ok(42));
/// ```
pub struct GroupCommit<J, R> {
    line: Mutex<Line<J, R>>,
}

/// Why a piece of work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupError {
    /// The writers in front took longer than the timeout. The work was not begun.
    TimedOut,
    /// The thread that led the transaction panicked. Whether the work was done is unknown.
    LeaderPanicked,
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the writers in front took too long",
            Self::LeaderPanicked => "the thread that wrote for this one panicked",
        })
    }
}

impl std::error::Error for GroupError {}

/// What the writer is told: to try again where others were in the way.
impl From<GroupError> for Error {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::TimedOut => Self::Contended { source: error.into() },
            GroupError::LeaderPanicked => Self::backend(error),
        }
    }
}

struct Line<J, R> {
    is_led: bool,
    waiting: Vec<Waiting<J, R>>,
    /// How many were writing at the end of the last transaction: those that it wrote for, and those
    /// that waited.
    writers: usize,
    /// For how long the next leader may look out for them.
    lookout: Duration,
}

struct Waiting<J, R> {
    job: J,
    place: Arc<Place<J, R>>,
}

/// Where a waiting thread hears what is to become of it.
struct Place<J, R> {
    is_told: AtomicBool,
    news: Mutex<News<J, R>>,
    changed: Condvar,
}

enum News<J, R> {
    None,
    Done(R),
    /// This thread is to lead; here is its own work.
    Lead(J),
    LeaderPanicked,
}

impl<J, R> GroupCommit<J, R> {
    /// An empty line.
    #[must_use]
    pub fn new() -> Self {
        Self {
            line: Mutex::new(Line {
                is_led: false,
                waiting: Vec::new(),
                writers: 0,
                lookout: Duration::ZERO,
            }),
        }
    }

    /// Does a piece of work in a transaction, alone or together with others.
    ///
    /// `alone` does it when nobody else is writing. Otherwise it is made into a `job` and lines up,
    /// and `together` is called by whoever leads, perhaps this thread, with several jobs; it gives
    /// their results in the same order. Only one of all the closures runs at a time.
    ///
    /// # Errors
    /// [`GroupError::TimedOut`] where the work was not begun within the timeout.
    /// [`GroupError::LeaderPanicked`].
    ///
    /// # Panics
    /// If `together` gives another number of results than it got jobs.
    pub fn submit(
        &self,
        timeout: Duration,
        alone: impl FnOnce() -> R,
        job: impl FnOnce() -> J,
        together: impl Fn(Vec<J>) -> Vec<R>,
    ) -> Result<R, GroupError> {
        let mut line = lock(&self.line);
        if !line.is_led {
            line.is_led = true;
            let has_company = line.writers > 1;
            drop(line);
            if has_company {
                let batch = self.gather();
                if !batch.is_empty() {
                    return Ok(self.lead(job, batch, &together));
                }
            }
            let handover = Handover::new(self);
            let result = alone();
            // Whoever came meanwhile is asleep by now. Waking the first of them to lead would leave
            // the disk idle for as long as that takes, so their work is done here; those who come
            // later are led by one of their own.
            let batch = mem::take(&mut lock(&self.line).waiting);
            if batch.is_empty() {
                drop(handover);
            } else {
                handover.serve(batch, &together);
            }
            return Ok(result);
        }

        let place = Arc::new(Place {
            is_told: AtomicBool::new(false),
            news: Mutex::new(News::None),
            changed: Condvar::new(),
        });
        let is_first = line.waiting.is_empty();
        line.waiting.push(Waiting { job: job(), place: Arc::clone(&place) });
        drop(line);
        if is_first {
            // A transaction that needn't wait for the disk is over sooner than a thread falls asleep
            // and wakes up.
            for _ in 0..YIELDS {
                if place.is_told.load(Ordering::Acquire) {
                    break;
                }
                // Not a spin: the thread that writes to the disk for the system may want this core.
                thread::yield_now();
            }
        }
        match self.wait(&place, timeout)? {
            News::Done(result) => Ok(result),
            News::Lead(job) => Ok(self.lead(|| job, self.gather(), &together)),
            News::LeaderPanicked | News::None => Err(GroupError::LeaderPanicked),
        }
    }

    /// Whether somebody is doing work at the moment, or waits for what `alone` and `together` wait for.
    #[must_use]
    pub fn is_led(&self) -> bool {
        lock(&self.line).is_led
    }

    fn wait(&self, place: &Arc<Place<J, R>>, timeout: Duration) -> Result<News<J, R>, GroupError> {
        let deadline = Instant::now().checked_add(timeout);
        let mut news = lock(&place.news);
        let mut is_begun = false;
        while matches!(*news, News::None) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if !is_begun && left.is_zero() => {
                    drop(news);
                    if self.leave(place) {
                        return Err(GroupError::TimedOut);
                    }
                    // Somebody is about to do the work, so it has to be waited for.
                    is_begun = true;
                    news = lock(&place.news);
                }
                Some(left) if !is_begun => {
                    let waited = place.changed.wait_timeout(news, left);
                    news = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => news = place.changed.wait(news).unwrap_or_else(PoisonError::into_inner),
            }
        }
        Ok(mem::replace(&mut *news, News::None))
    }

    /// Leaves the line; `false` if the work was already taken up.
    fn leave(&self, place: &Arc<Place<J, R>>) -> bool {
        let mut line = lock(&self.line);
        let before = line.waiting.len();
        line.waiting.retain(|waiting| !Arc::ptr_eq(&waiting.place, place));
        line.waiting.len() < before
    }

    /// Does this thread's work, together with that of all who wait.
    fn lead(
        &self,
        own: impl FnOnce() -> J,
        batch: Vec<Waiting<J, R>>,
        together: &impl Fn(Vec<J>) -> Vec<R>,
    ) -> R {
        let mut handover = Handover::new(self);
        let mut jobs = handover.take_up(batch);
        // In front, because it came first; and made last, because from here on the others hear of a panic.
        jobs.insert(0, own());
        let mut results = together(jobs).into_iter();
        let own = results.next().expect("each job has one result");
        handover.deliver(results);
        own
    }

    /// Takes those who wait, and looks out first for those who wrote just now and may come again.
    fn gather(&self) -> Vec<Waiting<J, R>> {
        let began = Instant::now();
        loop {
            let mut line = lock(&self.line);
            let expected = line.writers.min(MAX_LOOKED_OUT_FOR);
            if line.waiting.len() + 1 >= expected || began.elapsed() >= line.lookout {
                return mem::take(&mut line.waiting);
            }
            drop(line);
            thread::yield_now();
        }
    }
}

impl<J, R> Default for GroupCommit<J, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<J, R> fmt::Debug for GroupCommit<J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommit")
            .field("waiting", &lock(&self.line).waiting.len())
            .finish_non_exhaustive()
    }
}

impl<J, R> Place<J, R> {
    fn tell(&self, news: News<J, R>) {
        *lock(&self.news) = news;
        self.is_told.store(true, Ordering::Release);
        self.changed.notify_one();
    }
}

/// Ends the leadership, also when the leader panics: tells those whose work it had taken up, and lets
/// the next in line lead.
struct Handover<'a, J, R> {
    line: &'a GroupCommit<J, R>,
    /// Those who wait for this leader and have not been told yet.
    places: Vec<Arc<Place<J, R>>>,
    began: Instant,
    /// How many were writing when the first of them was told, and could come back.
    writers: Option<usize>,
}

impl<'a, J, R> Handover<'a, J, R> {
    fn new(line: &'a GroupCommit<J, R>) -> Self {
        Self { line, places: Vec::new(), began: Instant::now(), writers: None }
    }

    /// Does the work of others.
    fn serve(mut self, batch: Vec<Waiting<J, R>>, together: &impl Fn(Vec<J>) -> Vec<R>) {
        let jobs = self.take_up(batch);
        self.deliver(together(jobs).into_iter());
    }

    /// The work of those who wait. From here on they hear of it where this leader panics.
    fn take_up(&mut self, batch: Vec<Waiting<J, R>>) -> Vec<J> {
        let (jobs, places) = batch.into_iter().map(|waiting| (waiting.job, waiting.place)).unzip();
        self.places = places;
        jobs
    }

    fn deliver(mut self, results: impl ExactSizeIterator<Item = R>) {
        assert_eq!(results.len(), self.places.len(), "each job has one result");
        self.writers = Some(1 + results.len() + lock(&self.line.line).waiting.len());
        for (place, result) in self.places.drain(..).zip(results) {
            place.tell(News::Done(result));
        }
    }
}

impl<J, R> Drop for Handover<'_, J, R> {
    fn drop(&mut self) {
        for place in self.places.drain(..) {
            place.tell(News::LeaderPanicked);
        }
        let mut line = lock(&self.line.line);
        line.lookout = (self.began.elapsed() / LOOKOUT_PART).min(MAX_LOOKOUT);
        line.writers = self.writers.unwrap_or(1 + line.waiting.len());
        line.is_led = !line.waiting.is_empty();
        if line.is_led {
            let next = line.waiting.remove(0);
            drop(line);
            next.place.tell(News::Lead(next.job));
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
    fn writer_alone_is_not_copied() {
        let line = GroupCommit::<(), u32>::new();
        for n in 0..3 {
            let alone = || {
                assert!(line.is_led());
                n
            };
            let result = line.submit(LONG, alone, || unreachable!(), |_| unreachable!());
            assert_eq!(result, Ok(n));
            assert!(!line.is_led());
        }
    }

    #[test]
    fn those_who_come_meanwhile_share_the_next_transaction() {
        const WRITERS: usize = 8;
        let line = GroupCommit::<usize, usize>::new();
        let (begun, wait_for_begin) = bounded(0);
        let (go_on, wait_for_all) = bounded::<()>(0);
        let batches = AtomicUsize::new(0);
        let together = |jobs: Vec<usize>| {
            batches.fetch_add(1, Ordering::Relaxed);
            jobs.into_iter().map(|n| n * 10).collect()
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let alone = || {
                    begun.send(()).expect("the test listens");
                    wait_for_all.recv().expect("the test tells");
                    0
                };
                line.submit(LONG, alone, || 0, together)
            });
            wait_for_begin.recv().expect("the first begins");
            let others: Vec<_> = (1..=WRITERS)
                .map(|n| {
                    let (line, together) = (&line, &together);
                    scope.spawn(move || line.submit(LONG, || unreachable!(), || n, together))
                })
                .collect();
            while lock(&line.line).waiting.len() < WRITERS {
                thread::yield_now();
            }
            go_on.send(()).expect("the first waits");
            assert_eq!(first.join().expect("no panic"), Ok(0));
            for (n, other) in (1..).zip(others) {
                assert_eq!(other.join().expect("no panic"), Ok(n * 10), "each gets its own result");
            }
        });
        assert_eq!(batches.load(Ordering::Relaxed), 1);
        assert!(!line.is_led());
    }

    #[test]
    fn many_writers_each_get_their_own_result_one_transaction_at_a_time() {
        const WRITERS: usize = 8;
        let line = GroupCommit::<usize, usize>::new();
        let running = AtomicUsize::new(0);
        let exclusively = |count: usize| {
            assert!(lock(&line.line).writers <= WRITERS, "nobody is counted twice");
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
            thread::yield_now();
            running.fetch_sub(1, Ordering::SeqCst);
            count
        };
        thread::scope(|scope| {
            for i in 0..WRITERS {
                let (line, exclusively) = (&line, &exclusively);
                scope.spawn(move || {
                    for n in 0..200 {
                        let own = i * 1_000 + n;
                        let result = line.submit(
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
    fn writer_is_alone_again_once_the_others_are_gone() {
        let line = GroupCommit::<u32, u32>::new();
        *lock(&line.line) =
            Line { is_led: false, waiting: Vec::new(), writers: 2, lookout: Duration::ZERO };
        for n in 0..3 {
            let result = line.submit(LONG, || n, || unreachable!(), |_| unreachable!());
            assert_eq!(result, Ok(n));
            assert_eq!(lock(&line.line).writers, 1);
        }
    }

    #[test]
    fn leader_looks_out_for_all_who_wrote_a_moment_ago() {
        const WRITERS: usize = 4;
        let line = GroupCommit::<usize, usize>::new();
        *lock(&line.line) =
            Line { is_led: false, waiting: Vec::new(), writers: WRITERS, lookout: LONG };
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|n| {
                    let line = &line;
                    scope.spawn(move || {
                        let together = |jobs: Vec<usize>| {
                            assert_eq!(jobs.len(), WRITERS);
                            jobs
                        };
                        line.submit(LONG, || unreachable!(), || n, together)
                    })
                })
                .collect();
            for (n, writer) in writers.into_iter().enumerate() {
                assert_eq!(writer.join().expect("no panic"), Ok(n));
            }
        });
        assert_eq!(lock(&line.line).writers, WRITERS);
        assert!(!line.is_led());
    }

    #[test]
    fn work_that_was_not_begun_in_time_is_not_done() {
        let line = GroupCommit::<(), ()>::new();
        let result = line.submit(
            LONG,
            || {
                let late =
                    line.submit(Duration::ZERO, || unreachable!(), || (), |_| unreachable!());
                assert_eq!(late, Err(GroupError::TimedOut));
            },
            || (),
            |_| unreachable!(),
        );
        assert_eq!(result, Ok(()));
        assert!(!line.is_led());
    }

    #[test]
    fn panic_of_a_leader_is_told_to_its_followers_and_the_line_goes_on() {
        const WRITERS: usize = 3;
        let line = GroupCommit::<usize, usize>::new();
        let (begun, wait_for_begin) = bounded(0);
        let (go_on, wait_for_all) = bounded::<()>(0);
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let alone = || {
                    begun.send(()).expect("the test listens");
                    wait_for_all.recv().expect("the test tells");
                    panic!("the first one fails")
                };
                catch_unwind(AssertUnwindSafe(|| line.submit(LONG, alone, || 0, |jobs| jobs)))
            });
            wait_for_begin.recv().expect("the first begins");
            let others: Vec<_> = (0..WRITERS)
                .map(|n| {
                    let line = &line;
                    let together = |_: Vec<usize>| panic!("the batch fails, too");
                    scope.spawn(move || {
                        catch_unwind(AssertUnwindSafe(|| {
                            line.submit(LONG, || unreachable!(), || n, together)
                        }))
                    })
                })
                .collect();
            while lock(&line.line).waiting.len() < WRITERS {
                thread::yield_now();
            }
            go_on.send(()).expect("the first waits");
            assert!(first.join().expect("caught").is_err());
            let outcomes: Vec<_> = others.into_iter().map(|o| o.join().expect("caught")).collect();
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1, "the leader");
            let told = outcomes
                .iter()
                .filter(|outcome| matches!(outcome, Ok(Err(GroupError::LeaderPanicked))));
            assert_eq!(told.count(), WRITERS - 1);
        });
        assert_eq!(line.submit(LONG, || 7, || 7, |jobs| jobs), Ok(7), "the line goes on");
    }
}
