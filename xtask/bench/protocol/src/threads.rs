//! Contenders that are called from threads.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use crate::keys;
use crate::load::{Kind, Load};
use crate::order::{Measurement, Operation, Order};
use crate::process::Process;
use crate::program::Result;

/// A store, or a driver that is used as one.
///
/// What it can't do it leaves out, and the plan doesn't ask for.
pub trait Contender: Sync {
    /// What a thread works with: a connection of its own, or the store that all share. It is called
    /// on that thread.
    ///
    /// # Errors
    /// What the contender fails with.
    fn handle(&self) -> Result<Box<dyn Handle + '_>>;

    /// Visits all live sessions, and gives how many there were.
    ///
    /// # Errors
    /// What the contender fails with.
    fn for_each(&self, visit: &mut dyn FnMut(&str, &[u8])) -> Result<u64> {
        let _ = visit;
        Err("it can't walk".into())
    }

    /// Removes all expired sessions, and gives how many there were.
    ///
    /// # Errors
    /// What the contender fails with.
    fn sweep(&self) -> Result<u64> {
        Err("it can't sweep".into())
    }
}

/// The operations of one thread. Expiries are a day ahead, as each contender writes them.
pub trait Handle {
    /// Gives the size of the data, if the session is there.
    ///
    /// # Errors
    /// What the contender fails with.
    fn find(&mut self, token: &str) -> Result<Option<usize>>;

    /// Inserts or overwrites.
    ///
    /// # Errors
    /// What the contender fails with.
    fn commit(&mut self, token: &str, data: &[u8]) -> Result;

    /// Moves the expiry, and says whether it did.
    ///
    /// # Errors
    /// What the contender fails with.
    fn touch(&mut self, token: &str) -> Result<bool> {
        let _ = token;
        Err("it can't touch".into())
    }

    /// Overwrites data that is `current`, and says whether it did.
    ///
    /// # Errors
    /// What the contender fails with.
    fn replace(&mut self, token: &str, current: &[u8], data: &[u8]) -> Result<bool> {
        let _ = (token, current, data);
        Err("it can't replace".into())
    }

    /// Deletes.
    ///
    /// # Errors
    /// What the contender fails with.
    fn delete(&mut self, token: &str) -> Result;

    /// Gives a session whose data is `current` a new token, a user and other data, durably, and says
    /// whether it did.
    ///
    /// # Errors
    /// What the contender fails with.
    fn login(&mut self, login: &Login<'_>) -> Result<bool> {
        let _ = login;
        Err("it can't log in".into())
    }
}

/// A session before and after a login.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The token that it has.
    pub token: &'a str,
    /// The data that it has.
    pub current: &'a [u8],
    /// The token that it gets.
    pub new_token: &'a str,
    /// The data that it gets.
    pub data: &'a [u8],
    /// The user who logs in.
    pub subject: &'a str,
}

/// Tokens of sessions that were logged in are those of keys from here on.
const LOGGED_IN: u64 = 1 << 40;

/// Does an order with a contender that is open.
///
/// # Errors
/// What the contender fails with.
pub fn measure(contender: &'static dyn Contender, order: &Order) -> Result<Measurement> {
    let scenario = &order.scenario;
    let mut token = String::new();
    keys::token(0, &mut token);
    contender.handle()?.find(&token)?;
    let idle = Process::idle();
    let began = Instant::now();
    match scenario.operation {
        Operation::ForEach => {
            let mut bytes = 0;
            let visited =
                contender.for_each(&mut |token, data| bytes += token.len() + data.len())?;
            let expected = if scenario.half_expired { scenario.rows / 2 } else { scenario.rows };
            if visited != expected {
                return Err(format!("visited {visited} of {expected} sessions").into());
            }
            return Ok(Load::at_once(idle, began, visited));
        }
        Operation::Sweep => {
            let removed = contender.sweep()?;
            return Ok(Load::at_once(idle, began, removed));
        }
        _ => {}
    }

    let start = Arc::new(Barrier::new(scenario.threads + usize::from(scenario.swept)));
    let sweep = scenario.swept.then(|| {
        let start = Arc::clone(&start);
        // Nobody waits for its end but the end of the process.
        thread::spawn(move || {
            start.wait();
            contender.sweep()
        })
    });
    let loads = thread::scope(|scope| {
        let threads: Vec<_> = (0..scenario.threads)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || work(contender, order, thread, start))
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
    Load::together(order, idle, &loads)
}

fn work(contender: &dyn Contender, order: &Order, thread: usize, start: &Barrier) -> Result<Load> {
    let data_len = order.scenario.data_len;
    let (mut token, mut new_token) = (String::new(), String::new());
    let (mut data, mut current) = (vec![0; data_len], vec![0; data_len]);
    keys::data(u64::MAX - thread as u64, &mut data);
    let handle = contender.handle();
    start.wait();
    let mut handle = handle?;
    let mut load = Load::new(order, thread)?;
    while let Some(step) = load.next(&mut token) {
        let is_right = match step.kind {
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
        load.done(is_right)?;
    }
    Ok(load)
}
