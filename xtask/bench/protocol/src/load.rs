//! What one thread, or one task, does, and its stopwatch.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::keys::{self, Random};
use crate::order::{Measurement, Operation, Order};
use crate::process::Process;
use crate::program::Result;

/// What to do with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Find one that exists.
    Find,
    /// Look for one that doesn't exist.
    Miss,
    /// Insert or overwrite it.
    Commit,
    /// Change its expiry.
    Touch,
    /// Overwrite it, whose data is known.
    Replace,
    /// Delete one that exists.
    Delete,
    /// Log in with it, whose data is known.
    Login,
}

/// The next operation.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What to do.
    pub kind: Kind,
    /// With which session.
    pub key: u64,
}

/// The load of one thread.
#[derive(Debug)]
pub struct Load {
    operation: Operation,
    rows: u64,
    half_expired: bool,
    threads: u64,
    random: Random,
    next_key: u64,
    turn: u64,
    measured_from: Instant,
    until: Instant,
    started: Instant,
    /// All operations, including those of the warm-up.
    done: u64,
    in_time: u64,
    latencies: Histogram<u64>,
}

impl Load {
    /// The load of thread number `thread`, from now on.
    pub fn new(order: &Order, thread: usize) -> Result<Self> {
        let scenario = &order.scenario;
        let measured_from = Instant::now() + Duration::from_millis(order.warm_up_millis);
        Ok(Self {
            operation: scenario.operation,
            rows: scenario.rows,
            half_expired: scenario.half_expired,
            threads: scenario.threads as u64,
            random: Random::new(0x5eed + thread as u64),
            next_key: thread as u64,
            turn: 0,
            measured_from,
            until: measured_from + Duration::from_millis(order.millis),
            started: measured_from,
            done: 0,
            in_time: 0,
            latencies: Histogram::new(3)?,
        })
    }

    /// Returns what to do next and writes the session's token into the buffer; the stopwatch runs
    /// from here. `None` if the time is over.
    pub fn next(&mut self, token: &mut String) -> Option<Step> {
        let step = self.step();
        keys::token(step.key, token);
        self.started = Instant::now();
        (self.started < self.until).then_some(step)
    }

    fn step(&mut self) -> Step {
        let kind = match self.operation {
            Operation::FindHit | Operation::ForEach | Operation::Sweep | Operation::DeleteAll => {
                Kind::Find
            }
            Operation::FindMiss => Kind::Miss,
            Operation::CommitNew | Operation::CommitUpdate | Operation::SweepUnderLoad => {
                Kind::Commit
            }
            Operation::Touch => Kind::Touch,
            Operation::Replace => Kind::Replace,
            Operation::Delete => Kind::Delete,
            Operation::Login => Kind::Login,
            Operation::Mix => {
                self.turn += 1;
                if self.turn.is_multiple_of(10) { Kind::Commit } else { Kind::Find }
            }
        };
        let key = match self.operation {
            Operation::CommitNew => self.rows + self.draw_own(),
            Operation::Delete | Operation::Login => self.draw_own(),
            Operation::FindMiss => self.rows + self.random.draw() % self.rows,
            _ if self.half_expired => self.random.draw() % (self.rows / 2) * 2,
            _ => self.random.draw() % self.rows,
        };
        Step { kind, key }
    }

    /// A key that no thread has drawn before.
    fn draw_own(&mut self) -> u64 {
        let key = self.next_key;
        self.next_key += self.threads;
        key
    }

    /// Stops the watch.
    pub fn done(&mut self, is_correct: bool) -> Result {
        let ended = Instant::now();
        if !is_correct {
            return Err(format!("{:?} returned a wrong result", self.operation).into());
        }
        self.done += 1;
        if self.started >= self.measured_from {
            let nanoseconds = (ended - self.started).as_nanos();
            self.latencies.record(u64::try_from(nanoseconds).unwrap_or(u64::MAX))?;
            self.in_time += u64::from(ended <= self.until);
        }
        Ok(())
    }

    /// The measurement of all threads.
    pub fn merge(order: &Order, idle: Process, loads: &[Self]) -> Result<Measurement> {
        let mut latencies = Histogram::<u64>::new(3)?;
        let (mut done, mut in_time) = (0, 0);
        for load in loads {
            latencies.add(&load.latencies)?;
            done += load.done;
            in_time += load.in_time;
        }
        let now = Process::now();
        let written = now.written - idle.written;
        Ok(Measurement {
            operations: in_time,
            seconds: Duration::from_millis(order.millis).as_secs_f64(),
            p50_us: microseconds(latencies.value_at_quantile(0.5)),
            p99_us: microseconds(latencies.value_at_quantile(0.99)),
            max_us: microseconds(latencies.max()),
            idle_kib: idle.resident_kib,
            peak_kib: now.peak_kib,
            written_per_operation: ratio(written, done),
            grown_bytes: 0,
        })
    }

    /// The measurement of one long operation.
    #[must_use]
    pub fn single(idle: Process, started: Instant, operations: u64) -> Measurement {
        let seconds = started.elapsed().as_secs_f64();
        let now = Process::now();
        Measurement {
            operations,
            seconds,
            p50_us: seconds * 1e6,
            p99_us: seconds * 1e6,
            max_us: seconds * 1e6,
            idle_kib: idle.resident_kib,
            peak_kib: now.peak_kib,
            written_per_operation: ratio(now.written - idle.written, operations),
            grown_bytes: 0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn ratio(total: u64, count: u64) -> f64 {
    total as f64 / count.max(1) as f64
}
