//! Contenders that are called from threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::keys;
use crate::load::{Kind, Load, microseconds};
use crate::order::{Measurement, Operation, Order};
use crate::process::Process;
use crate::program::{Result, UNSUPPORTED};

/// A store, or a driver that is used as one.
///
/// It implements the operations for which the plan has it.
pub trait Contender: Sync {
    /// Returns what a thread works with: a connection of its own, or the store that all share.
    /// Called on that thread.
    fn handle(&self) -> Result<Box<dyn Handle + '_>>;

    /// Visits all live sessions and returns their number.
    fn for_each(&self, _visit: &mut dyn FnMut(&str, &[u8])) -> Result<u64> {
        Err(UNSUPPORTED.into())
    }

    /// Removes all expired sessions and returns their number.
    fn sweep(&self) -> Result<u64> {
        Err(UNSUPPORTED.into())
    }

    /// Ends all sessions and returns their number.
    fn delete_all(&self) -> Result<u64> {
        Err(UNSUPPORTED.into())
    }
}

/// The operations of one thread. Expiries are a day ahead.
pub trait Handle {
    /// Returns the length of the data, if the session exists.
    fn find(&mut self, token: &str) -> Result<Option<usize>>;

    /// Inserts or overwrites.
    fn commit(&mut self, token: &str, data: &[u8]) -> Result;

    /// Changes the expiry, if the session exists, and returns whether it does.
    fn touch(&mut self, _token: &str) -> Result<bool> {
        Err(UNSUPPORTED.into())
    }

    /// Overwrites the data, if it is `current`, and returns whether it was.
    fn replace(&mut self, _token: &str, _current: &[u8], _data: &[u8]) -> Result<bool> {
        Err(UNSUPPORTED.into())
    }

    /// Deletes.
    fn delete(&mut self, _token: &str) -> Result {
        Err(UNSUPPORTED.into())
    }

    /// Changes token, user and data durably, if the data is `current`, and returns whether it was.
    fn login(&mut self, _login: &Login<'_>) -> Result<bool> {
        Err(UNSUPPORTED.into())
    }
}

/// A session before and after a login.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The token before.
    pub token: &'a str,
    /// The data before.
    pub current: &'a [u8],
    /// The token afterwards.
    pub new_token: &'a str,
    /// The data afterwards.
    pub data: &'a [u8],
    /// The user who logs in.
    pub subject: &'a str,
}

/// Sessions get the tokens of keys from here on when they log in.
const LOGGED_IN: u64 = 1 << 40;

/// Carries out an order with a contender that is open.
pub fn measure(contender: &'static dyn Contender, order: &Order) -> Result<Measurement> {
    let scenario = &order.scenario;
    let mut token = String::new();
    keys::token(0, &mut token);
    contender.handle()?.find(&token)?;
    let idle = Process::idle();
    let started = Instant::now();
    match scenario.operation {
        Operation::ForEach => {
            let mut bytes = 0;
            let visited =
                contender.for_each(&mut |token, data| bytes += token.len() + data.len())?;
            let expected = if scenario.half_expired { scenario.rows / 2 } else { scenario.rows };
            if visited != expected {
                return Err(format!("visited {visited} of {expected} sessions").into());
            }
            return Ok(Load::single(idle, started, visited));
        }
        Operation::Sweep => {
            let removed = contender.sweep()?;
            return Ok(Load::single(idle, started, removed));
        }
        Operation::SweepUnderLoad => {
            let removed = sweep_under_load(contender, order)?;
            return Ok(Load::single(idle, started, removed));
        }
        Operation::DeleteAll => return delete_all(contender, order, idle),
        _ => {}
    }

    let never = AtomicBool::new(false);
    let start = Arc::new(Barrier::new(scenario.threads + usize::from(scenario.swept)));
    let sweep = scenario.swept.then(|| {
        let start = Arc::clone(&start);
        // It is never joined: it ends with the process.
        thread::spawn(move || {
            start.wait();
            contender.sweep()
        })
    });
    let loads = thread::scope(|scope| {
        let threads: Vec<_> = (0..scenario.threads)
            .map(|thread| {
                let (start, never) = (&start, &never);
                scope.spawn(move || work(contender, order, thread, start, never))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
            .collect::<Result<Vec<_>>>()
    })?;
    if sweep.is_some_and(|sweep| sweep.is_finished()) {
        return Err("the sweep was over before the measurement, or failed".into());
    }
    Load::merge(order, idle, &loads)
}

/// Ends all sessions while this thread begins new ones. The latencies are those of the latter.
fn delete_all(contender: &dyn Contender, order: &Order, idle: Process) -> Result<Measurement> {
    let (mut token, mut key) = (String::new(), order.scenario.rows);
    let data = vec![0; order.scenario.data_len];
    let mut latencies = Histogram::<u64>::new(3)?;
    let mut handle = contender.handle()?;
    let mut measurement = thread::scope(|scope| {
        let ending = scope.spawn(|| -> Result<_> {
            let started = Instant::now();
            let removed = contender.delete_all()?;
            Ok(Load::single(idle, started, removed))
        });
        while !ending.is_finished() {
            keys::token(key, &mut token);
            key += 1;
            let started = Instant::now();
            handle.commit(&token, &data)?;
            latencies.record(u64::try_from(started.elapsed().as_nanos())?)?;
        }
        ending.join().map_err(|_| "a thread panicked")?
    })?;
    if measurement.operations < order.scenario.rows {
        return Err(format!("ended {} sessions", measurement.operations).into());
    }
    measurement.p50_us = microseconds(latencies.value_at_quantile(0.5));
    measurement.p99_us = microseconds(latencies.value_at_quantile(0.99));
    measurement.max_us = microseconds(latencies.max());
    Ok(measurement)
}

/// Removes all expired sessions while the threads of the scenario write.
fn sweep_under_load(contender: &dyn Contender, order: &Order) -> Result<u64> {
    /// Longer than any sweep, which ends it.
    const HOUR: u64 = 3_600_000;
    let order = &Order { millis: HOUR, ..order.clone() };
    let (start, is_over) = (Barrier::new(order.scenario.threads + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..order.scenario.threads)
            .map(|thread| {
                let (start, is_over) = (&start, &is_over);
                scope.spawn(move || work(contender, order, thread, start, is_over))
            })
            .collect();
        start.wait();
        let removed = contender.sweep();
        is_over.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        removed
    })
}

/// The work of a thread until its time is over, or is said to be.
fn work(
    contender: &dyn Contender,
    order: &Order,
    thread: usize,
    start: &Barrier,
    is_over: &AtomicBool,
) -> Result<Load> {
    let data_len = order.scenario.data_len;
    let (mut token, mut new_token) = (String::new(), String::new());
    let (mut data, mut current) = (vec![0; data_len], vec![0; data_len]);
    keys::data(u64::MAX - thread as u64, &mut data);
    let handle = contender.handle();
    start.wait();
    let mut handle = handle?;
    let mut load = Load::new(order, thread)?;
    while !is_over.load(Ordering::Relaxed)
        && let Some(step) = load.next(&mut token)
    {
        let is_correct = match step.kind {
            Kind::Find => handle.find(&token)? == Some(data_len),
            Kind::Miss => handle.find(&token)?.is_none(),
            Kind::Commit => handle.commit(&token, &data).map(|()| true)?,
            Kind::Touch => handle.touch(&token)?,
            Kind::Replace => {
                // The same bytes again, so that the next one knows them, too.
                keys::data(step.key, &mut current);
                handle.replace(&token, &current, &current)?
            }
            Kind::Delete => handle.delete(&token).map(|()| true)?,
            Kind::Login => {
                keys::data(step.key, &mut current);
                keys::token(LOGGED_IN + step.key, &mut new_token);
                let subject = &step.key.to_string();
                handle.login(&Login {
                    token: &token,
                    current: &current,
                    new_token: &new_token,
                    data: &data,
                    subject,
                })?
            }
        };
        load.done(is_correct)?;
    }
    Ok(load)
}
