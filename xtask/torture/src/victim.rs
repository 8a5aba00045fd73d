//! A child as its parent sees it: what it has told, and how it is killed.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::child::Orders;

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What a child was doing, by the last thing that it told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Starting,
    Opening,
    Working,
    Cleaning,
    Compacting,
}

/// How long phases last, as far as was seen; it decides how long after a phase's begin a child is
/// killed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durations(BTreeMap<Phase, Duration>);

impl Durations {
    /// A part of the phase's duration.
    pub(crate) fn part(&self, phase: Phase, part: f64) -> Duration {
        let unknown = match phase {
            Phase::Working => Duration::from_millis(3),
            _ => Duration::from_millis(10),
        };
        self.0.get(&phase).copied().unwrap_or(unknown).mul_f64(part)
    }

    fn learn(&mut self, phase: Phase, took: Duration) {
        let known = self.0.entry(phase).or_insert(took);
        *known = (*known * 3 + took) / 4;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (&phase, &took) in &other.0 {
            self.learn(phase, took);
        }
    }
}

/// A child, which is killed when this is dropped.
pub(crate) struct Victim {
    process: Child,
    lines: Receiver<(Instant, String)>,
    phase: (Phase, Instant),
    pub(crate) durations: Durations,
    /// How many operations each thread has acknowledged, those of earlier children among them.
    pub(crate) acknowledged: BTreeMap<usize, u64>,
    pub(crate) acknowledgements: u64,
}

impl Victim {
    pub(crate) fn start(orders: &Orders) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(orders.to_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(process.stdout.take().ok_or("it is piped")?);
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            // A line without its end is one that the child was killed in.
            while output.read_line(&mut line).is_ok() && line.ends_with('\n') {
                if sender.send((Instant::now(), line.trim_end().to_owned())).is_err() {
                    break;
                }
                line.clear();
            }
        });
        Ok(Self {
            process,
            lines,
            phase: (Phase::Starting, Instant::now()),
            durations: Durations::default(),
            acknowledged: orders.threads.clone().zip(orders.applied.iter().copied()).collect(),
            acknowledgements: 0,
        })
    }

    /// Waits until the child is in this phase.
    pub(crate) fn wait_for(&mut self, phase: Phase) -> Result {
        while self.phase.0 != phase {
            self.listen_or_fail()?;
        }
        Ok(())
    }

    /// Waits until the child has acknowledged so many operations.
    pub(crate) fn wait_for_acknowledgements(&mut self, count: u64) -> Result {
        while self.acknowledgements < count {
            self.listen_or_fail()?;
        }
        Ok(())
    }

    /// Waits until the child has acknowledged so many more operations, or has ended.
    pub(crate) fn wait_for_more(&mut self, more: u64) -> Result {
        let count = self.acknowledgements + more;
        while self.acknowledgements < count && self.listen()? {}
        Ok(())
    }

    /// Kills the child, hears what it had told until then, and returns what it was doing.
    pub(crate) fn kill(&mut self) -> Result<Phase> {
        // It fails only where the child has ended by itself.
        let _ = self.process.kill();
        while self.listen()? {}
        match self.process.wait()?.code() {
            Some(code @ 1..) => Err(format!("a child ended with {code}").into()),
            Some(_) | None => Ok(self.phase.0),
        }
    }

    fn listen_or_fail(&mut self) -> Result {
        if self.listen()? {
            return Ok(());
        }
        let status = self.process.wait()?;
        Err(format!("a child ended by itself, with {status}").into())
    }

    /// Takes up the next thing that the child tells; false if it has ended.
    fn listen(&mut self) -> Result<bool> {
        let (at, line) = match self.lines.recv_timeout(TIMEOUT) {
            Ok(told) => told,
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Err(RecvTimeoutError::Timeout) => return Err("a child hangs".into()),
        };
        let words: Vec<_> = line.split(' ').collect();
        let phase = match *words {
            ["ack", thread, number] => {
                let acknowledged = self.acknowledged.get_mut(&thread.parse()?);
                let acknowledged = acknowledged.ok_or("an unknown thread acknowledged")?;
                if *acknowledged != number.parse::<u64>()? {
                    return Err(format!("{line}, after {acknowledged}").into());
                }
                *acknowledged += 1;
                self.acknowledgements += 1;
                return Ok(true);
            }
            ["lost", ..] => return Ok(true),
            ["opening"] => Phase::Opening,
            ["opened" | "cleaned" | "compacted"] => Phase::Working,
            ["cleaning"] => Phase::Cleaning,
            ["compacting"] => Phase::Compacting,
            _ => return Err(line.into()),
        };
        let (before, since) = self.phase;
        if before > Phase::Starting && before != Phase::Working {
            self.durations.learn(before, at - since);
        }
        self.phase = (phase, at);
        Ok(true)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
