//! A flood: a thousand clients at once on a pool of four connections, while the database is held by
//! somebody else for longer than the store waits.

use std::fmt;
use std::path::Path;
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::client::Client;
use crate::host::Host;
use crate::model::{Request, Session, Shown};
use crate::process::{Demo, Usage};
use crate::samples::float;
use crate::{Error, Result};

const CLIENTS: usize = 1_000;
const CONNECTIONS: u64 = 4;

/// The clients whose requests per second are compared, before and after.
const FEW: usize = 8;

/// How long each of them is measured, how often, and how long the flood lasts.
const MEASURED: Duration = Duration::from_secs(2);
const TURNS: u32 = 8;
const FLOOD: Duration = Duration::from_secs(20);

/// When and for how long somebody else has the database: longer than the defaults of the timeouts,
/// which are 5 seconds.
const HELD_AFTER: Duration = Duration::from_secs(4);
const HELD: Duration = Duration::from_secs(7);

/// A visit is two operations of the store. Each waits 5 seconds for a connection at most, and then
/// for others: by default 5 seconds in SQLite and redb, and 10 seconds in all in MySQL.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The threads of the framework end when they were idle for 5 seconds.
const IDLE: Duration = Duration::from_secs(7);

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Afterwards there may be so many more threads and descriptors than before.
const LEFT_BEHIND: u64 = 2;

/// The part of the requests per second before that is reached afterwards, on a machine that does
/// other things as well.
const SPEED: f64 = 0.8;

/// What clients got.
#[derive(Default)]
struct Got {
    answered: u64,
    refused: u64,
    longest_answered: Duration,
    longest_refused: Duration,
}

/// What was measured.
pub(crate) struct Flood {
    /// Visits per second of a few clients, of the process that is flooded and of another one.
    before: [f64; 2],
    after: [f64; 2],
    during: Got,
    usage_before: Usage,
    usage_after: Usage,
}

impl fmt::Display for Flood {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after, during, usage_before, usage_after } = self;
        write!(
            formatter,
            "{} | {:.1} s | {} | {:.1} s | {:.0} / {:.0} | {:.0} / {:.0} | {} → {} | {} → {}",
            during.answered,
            during.longest_answered.as_secs_f64(),
            during.refused,
            during.longest_refused.as_secs_f64(),
            before[0],
            before[1],
            after[0],
            after[1],
            usage_before.threads,
            usage_after.threads,
            usage_before.descriptors,
            usage_after.descriptors,
        )
    }
}

/// Floods the demo on a new database.
pub(crate) fn run(store: &str, program: &Path, directory: &Path) -> Result<Flood> {
    let host = Host::new(store, program, &directory.join("overload"))?;
    let settings = [("DEMO_CONNECTIONS", CONNECTIONS)];
    let demo = Demo::start(&mut host.command(0, &settings)?)?;
    // The same without a flood, so that what else the machine does isn't taken for its effect.
    let spared_host = Host::new(store, program, &directory.join("spared"))?;
    let spared = Demo::start(&mut spared_host.command(0, &settings)?)?;
    let before = rates(&demo, &spared)?;
    // Not a wait for something to happen: threads that are idle are counted where they are.
    thread::sleep(IDLE);
    let usage_before = demo.usage()?;
    let during = flood(&host, &demo)?;
    let usage_after = wait_for_rest(&demo, usage_before)?;
    let after = rates(&demo, &spared)?;
    let flood = Flood { before, after, during, usage_before, usage_after };
    demo.kill()?;
    spared.kill()?;
    let longest = flood.during.longest_answered.max(flood.during.longest_refused);
    if longest > LONGEST_WAIT {
        return Err(format!("a client waited for {longest:?}, of {LONGEST_WAIT:?}: {flood}").into());
    }
    if flood.after[0] < flood.after[1] * SPEED {
        return Err(format!("it is slow after the flood: {flood}").into());
    }
    Ok(flood)
}

/// Visits per second of a few clients to each of two processes, by turns.
fn rates(demo: &Demo, spared: &Demo) -> Result<[f64; 2]> {
    let mut visits = [0.0; 2];
    for _ in 0..TURNS {
        for (demo, visits) in [demo, spared].into_iter().zip(&mut visits) {
            let got = visit(demo, FEW, MEASURED, || Ok(()))?;
            if got.refused > 0 {
                return Err(format!("{} of {FEW} clients' visits were refused", got.refused).into());
            }
            *visits += float(got.answered);
        }
    }
    Ok(visits.map(|visits| visits / (MEASURED * TURNS).as_secs_f64()))
}

fn flood(host: &Host, demo: &Demo) -> Result<Got> {
    visit(demo, CLIENTS, FLOOD, || {
        thread::sleep(HELD_AFTER);
        if let Some(server) = host.server() {
            let held = HELD.as_secs();
            server.execute(&format!("USE soak; LOCK TABLES sessions WRITE; DO SLEEP({held})"))?;
        } else if host.has_other_processes() {
            let connection = Connection::open(host.file())?;
            connection.execute_batch("BEGIN IMMEDIATE")?;
            thread::sleep(HELD);
        }
        Ok(())
    })
}

/// Visits with so many clients at once, for this time.
fn visit(
    demo: &Demo,
    clients: usize,
    time: Duration,
    meanwhile: impl FnOnce() -> Result,
) -> Result<Got> {
    let (url, all_are_connected) = (&*demo.url, &Barrier::new(clients + 1));
    // One after the other: the system drops connections beyond the length of a listener's queue and
    // tries again after seconds, and tiny_http may leave one that comes with others without a
    // thread until another one ends. Neither has to do with sessions.
    let connecting = &Mutex::new(());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..clients {
            let client = move || {
                let mut visits = Visits::new(url);
                let turn = connecting.lock();
                let first = visits.visit();
                drop(turn);
                all_are_connected.wait();
                first?;
                visits.got = Got::default();
                let until = Instant::now() + time;
                while Instant::now() < until {
                    visits.visit()?;
                }
                Ok::<_, Error>(visits.got)
            };
            let builder = thread::Builder::new().stack_size(512 * 1024);
            threads.push(builder.spawn_scoped(scope, client)?);
        }
        all_are_connected.wait();
        let held = meanwhile();
        let mut all = Got::default();
        for thread in threads {
            let got = thread.join().map_err(|_| "a thread panicked")??;
            all.answered += got.answered;
            all.refused += got.refused;
            all.longest_answered = all.longest_answered.max(got.longest_answered);
            all.longest_refused = all.longest_refused.max(got.longest_refused);
        }
        held.map(|()| all)
    })
}

/// One client, whose session counts its visits.
struct Visits<'a> {
    client: Client,
    url: &'a str,
    cookie: String,
    /// Visits that were refused may have been counted.
    least: u64,
    most: u64,
    got: Got,
}

impl<'a> Visits<'a> {
    fn new(url: &'a str) -> Self {
        let got = Got::default();
        Self { client: Client::new(), url, cookie: String::new(), least: 0, most: 0, got }
    }

    fn visit(&mut self) -> Result {
        let started = Instant::now();
        let answer = self.client.send(self.url, &Request::Visit, &self.cookie)?;
        let waited = started.elapsed();
        self.most += 1;
        if let Some(cookie) = &answer.cookie {
            self.cookie.clone_from(cookie);
        }
        let Got { answered, refused, longest_answered, longest_refused } = &mut self.got;
        if answer.is_refusal()? {
            *refused += 1;
            *longest_refused = waited.max(*longest_refused);
            return Ok(());
        }
        let possible = self.least + 1..=self.most;
        match answer.shown(&Request::Visit)? {
            Shown::Start(Session { visits, .. }) if possible.contains(&visits) => {
                (self.least, self.most) = (visits, visits);
            }
            shown => return Err(format!("visit {possible:?} shows {shown:?}").into()),
        }
        *answered += 1;
        *longest_answered = waited.max(*longest_answered);
        Ok(())
    }
}

/// Waits until nothing is left of the flood.
fn wait_for_rest(demo: &Demo, before: Usage) -> Result<Usage> {
    let started = Instant::now();
    loop {
        let usage = demo.usage()?;
        let is_level = usage.threads <= before.threads + LEFT_BEHIND
            && usage.descriptors <= before.descriptors + LEFT_BEHIND;
        if is_level {
            return Ok(usage);
        }
        if started.elapsed() > TIMEOUT {
            return Err(format!("the flood left something behind: {before:?}, {usage:?}").into());
        }
        thread::sleep(Duration::from_millis(100));
    }
}
