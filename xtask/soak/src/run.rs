//! A run: visitors come, processes are killed, and what they use is sampled.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::host::Host;
use crate::process::Demo;
use crate::samples::Sample;
use crate::site::{Site, Tally};
use crate::{Result, visitor};

const VISITORS: usize = 24;

/// So that sessions expire, are renewed and are removed all the time.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const SETTINGS: [(&str, u64); 3] =
    [("DEMO_IDLE_TIMEOUT", 4), ("DEMO_ROTATION", 3), ("DEMO_CLEANUP_INTERVAL", 1)];

/// The mean time between two kills. The server, if there is one, is every third victim.
const KILL_INTERVAL: Duration = Duration::from_secs(15);
const KILLS_IN_A_SHORT_RUN: u32 = 6;
const SERVER_KILL_EVERY: u64 = 3;

const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let get = Tally::get;
        write!(
            formatter,
            "{} requests answered, {} logins, {} logouts, {} bursts of tabs, {} new tokens, {} \
             sessions expired, {} times a dead cookie; {} SIGKILLs of the application, {} of the \
             server; {} requests not answered, {} answered with 503",
            get(&self.answered),
            get(&self.log_ins),
            get(&self.log_outs),
            get(&self.bursts),
            get(&self.rotations),
            get(&self.expiries),
            get(&self.dead_cookies),
            get(&self.kills),
            get(&self.server_kills),
            get(&self.unanswered),
            get(&self.refused),
        )
    }
}

/// Visits a site until a visitor finds a violation, or it is closed.
pub(crate) fn visit<T>(site: &Site, seed: u64, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = thread::scope(|scope| {
        for number in 0..VISITORS {
            scope.spawn(move || {
                let left = visitor::run(site, number, seed, IDLE_TIMEOUT);
                site.close(left.err().map(|error| format!("visitor {number}: {error}").into()));
            });
        }
        let done = meanwhile();
        site.close(None);
        done
    });
    site.violation()?;
    done
}

/// Runs for this time, and returns what was sampled of the first process.
pub(crate) fn run(host: &Host, site: &Site, seed: u64, time: Duration) -> Result<Vec<Sample>> {
    let mut application = Application { host, site, demos: Vec::new(), life: 0 };
    for process in 0..host.processes() {
        application.start(process)?;
    }
    let mut random = Rng::with_seed(seed);
    let interval = KILL_INTERVAL.min(time / KILLS_IN_A_SHORT_RUN);
    let samples = visit(site, seed, || {
        let started = Instant::now();
        let mut samples = Vec::new();
        let mut kills = 0;
        let mut next_kill = started + interval.mul_f64(random.f64());
        let mut next_sample = started;
        loop {
            let next = next_kill.min(next_sample);
            let is_closed = site.wait_for_close(next.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            if is_closed || now >= started + time {
                return Ok(samples);
            }
            if now >= next_sample {
                samples.push(application.sample((now - started).as_secs_f64())?);
                next_sample += SAMPLE_INTERVAL;
            }
            if now >= next_kill {
                next_kill = now + interval.mul_f64(0.5 + random.f64());
                kills += 1;
                match host.server() {
                    Some(server) if kills % SERVER_KILL_EVERY == 0 => {
                        server.kill()?;
                        server.restart()?;
                        Tally::count(&site.tally.server_kills);
                    }
                    _ if application.is_one_process() && now > started + time / 4 => {}
                    _ => application.kill_last()?,
                }
            }
        }
    })?;
    application.end()?;
    Ok(samples)
}

/// The application's processes. The first is sampled, and the last is killed; if it is the only
/// one, in the first quarter of the run alone.
struct Application<'a> {
    host: &'a Host,
    site: &'a Site,
    demos: Vec<Demo>,
    /// How often the first process was killed.
    life: u64,
}

impl Application<'_> {
    fn start(&mut self, process: usize) -> Result {
        let demo = Demo::start(&mut self.host.command(process, &SETTINGS)?)?;
        self.site.is_up(process, demo.url.clone());
        self.demos.push(demo);
        Ok(())
    }

    fn is_one_process(&self) -> bool {
        self.demos.len() == 1
    }

    fn sample(&self, seconds: f64) -> Result<Sample> {
        Ok(Sample::new(seconds, self.life, self.demos[0].usage()?, self.host.size()?))
    }

    fn kill_last(&mut self) -> Result {
        let demo = self.demos.pop().ok_or("no process")?;
        let process = self.demos.len();
        self.site.is_down(process);
        demo.kill()?;
        // Before its successor listens, so that visitors look when nothing is under way any more.
        self.host.settle(process)?;
        self.start(process)?;
        self.life += u64::from(process == 0);
        Tally::count(&self.site.tally.kills);
        Ok(())
    }

    /// Fails if a process has ended by itself.
    fn end(self) -> Result {
        self.demos.into_iter().try_for_each(Demo::kill)
    }
}
