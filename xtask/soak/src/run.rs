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

/// The mean time between two kills: that of a process, if the run is long enough for that, and
/// every so many times the server's.
const KILL_INTERVAL: Duration = Duration::from_secs(15);
const KILLS_IN_A_SHORT_RUN: u32 = 6;
const SERVER_KILL_EVERY: u64 = 3;

/// Less than the descriptors of a process that ends: how often it is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let get = Tally::get;
        write!(
            formatter,
            "{} requests answered, {} logins, {} logouts, {} bursts of tabs, {} new tokens, {} \
             sessions expired, {} times a dead cookie; {} SIGKILLs of the application, {} of the \
             server; {} requests not answered, {} of which had happened; {} answered with 503",
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
            get(&self.happened),
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

/// Runs for this time, and returns what was sampled.
pub(crate) fn run(host: &Host, site: &Site, seed: u64, time: Duration) -> Result<Vec<Sample>> {
    let start = |process: usize| Demo::start(&mut host.command(process, &SETTINGS)?);
    let mut demos = (0..host.processes()).map(start).collect::<Result<Vec<_>>>()?;
    for (number, demo) in demos.iter().enumerate() {
        site.is_up(number, demo.url.clone());
    }
    let mut random = Rng::with_seed(seed);
    let interval = KILL_INTERVAL.min(time / KILLS_IN_A_SHORT_RUN);
    let (samples, demos) = visit(site, seed, || {
        let started = Instant::now();
        let mut samples = Vec::new();
        let mut life = 0;
        let mut kills = 0;
        let mut next_kill = started + interval.mul_f64(random.f64());
        let mut next_sample = started;
        loop {
            let next = next_kill.min(next_sample);
            if site.wait_for_close(next.saturating_duration_since(Instant::now())) {
                break;
            }
            let now = Instant::now();
            if now >= started + time {
                break;
            }
            if now >= next_sample {
                let usage = demos[0].usage()?;
                samples.push(Sample {
                    seconds: (now - started).as_secs_f64(),
                    life,
                    values: [
                        mebibytes(usage.memory * 1024),
                        usage.threads as f64,
                        usage.descriptors as f64,
                        mebibytes(host.size()?),
                    ],
                });
                next_sample += SAMPLE_INTERVAL;
            }
            if now >= next_kill {
                next_kill = now + interval.mul_f64(0.5 + random.f64());
                kills += 1;
                // The first process is that which is sampled. Where it is the only one, it is
                // killed in the first quarter alone.
                let victim = demos.len() - 1;
                let spares = victim == 0 && now > started + time / 4;
                match host.server() {
                    Some(server) if kills % SERVER_KILL_EVERY == 0 => {
                        server.kill()?;
                        server.restart()?;
                        Tally::count(&site.tally.server_kills);
                    }
                    _ if spares => {}
                    _ => {
                        site.is_down(victim);
                        let demo = demos.pop().ok_or("no process")?;
                        demo.kill()?;
                        host.settle(victim)?;
                        let demo = start(victim)?;
                        site.is_up(victim, demo.url.clone());
                        demos.push(demo);
                        life += u64::from(victim == 0);
                        Tally::count(&site.tally.kills);
                    }
                }
            }
        }
        Ok((samples, demos))
    })?;
    // None has ended by itself.
    demos.into_iter().try_for_each(Demo::kill)?;
    Ok(samples)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
