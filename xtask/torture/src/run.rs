//! A run: children are killed, the database is opened again, and what is there is compared with
//! what was acknowledged.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Result;
use crate::child::Orders;
use crate::host::Host;
use crate::observation::Observation;
use crate::stores;
use crate::victim::{Durations, Phase, Victim};
use crate::workload::{THREADS, Workload};

/// A database is used for so many rounds; then another is made.
const ROUNDS: u64 = 12;

/// What was tried.
#[derive(Default)]
pub(crate) struct Tally {
    databases: u64,
    rounds: u64,
    kills: BTreeMap<Phase, u64>,
    /// Kills while opening what no process had opened before.
    first_opens: u64,
    server_kills: u64,
    acknowledged: u64,
    /// Operations that were under way and hadn't been acknowledged, which had happened.
    happened: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kills = |phase| self.kills.get(&phase).copied().unwrap_or_default();
        write!(
            formatter,
            "{} databases, compared {} times; {} SIGKILLs: {} before opening, {} in the first \
             opening, {} in a later one, {} at work, {} in a cleanup run, {} in compaction",
            self.databases,
            self.rounds,
            self.kills.values().sum::<u64>(),
            kills(Phase::Starting),
            self.first_opens,
            kills(Phase::Opening) - self.first_opens,
            kills(Phase::Working),
            kills(Phase::Cleaning),
            kills(Phase::Compacting),
        )?;
        if self.server_kills > 0 {
            write!(formatter, ", and {} of the server", self.server_kills)?;
        }
        write!(
            formatter,
            "; {} operations acknowledged, {} others had happened",
            self.acknowledged, self.happened
        )
    }
}

/// Kills and compares until the time is over.
pub(crate) fn run(store: &str, directory: &Path, seed: u64, time: Duration) -> Result<Tally> {
    let deadline = Instant::now() + time;
    let host = Host::new(store, directory)?;
    let mut tally = Tally::default();
    let mut durations = Durations::default();
    for number in 0.. {
        let mut database = Database::new(store, &host, seed, number)?;
        tally.databases += 1;
        for round in 0..ROUNDS {
            database.torture(round, &mut tally, &mut durations).map_err(|error| {
                format!("round {round} on database {number}, at {}: {error}", database.location)
            })?;
            if Instant::now() > deadline {
                host.remove(number)?;
                return Ok(tally);
            }
        }
        host.remove(number)?;
    }
    Ok(tally)
}

/// When a child is killed.
#[derive(Clone, Copy)]
enum Moment {
    /// In this part of this phase, or after it.
    In(Phase, f64),
    /// After so many acknowledged operations, and a part of the time that one takes.
    After(u64, f64),
}

impl Moment {
    fn wait(self, victim: &mut Victim, durations: &Durations) -> Result {
        let pause = match self {
            Self::In(phase, part) => {
                victim.wait_for(phase)?;
                durations.part(phase, part)
            }
            Self::After(count, part) => {
                victim.wait_for(Phase::Working)?;
                victim.wait_for_acknowledgements(count)?;
                durations.part(Phase::Working, part)
            }
        };
        // Not a wait for something to happen: the moment is the test's input.
        thread::sleep(pause);
        Ok(())
    }
}

struct Database<'a> {
    host: &'a Host,
    store: &'a str,
    location: String,
    seed: u64,
    number: u64,
    /// What each thread has done so far.
    workloads: Vec<Workload>,
    /// Whether a process has opened it.
    is_made: bool,
}

impl<'a> Database<'a> {
    fn new(store: &'a str, host: &'a Host, seed: u64, number: u64) -> Result<Self> {
        let workload = |thread| Workload::new(seed, number, thread);
        let workloads = (0..THREADS).map(workload).collect::<Result<_, _>>()?;
        Ok(Self {
            host,
            store,
            location: host.make(number)?,
            seed,
            number,
            workloads,
            is_made: false,
        })
    }

    /// Kills some children, and compares.
    fn torture(&mut self, round: u64, tally: &mut Tally, durations: &mut Durations) -> Result {
        let seed = self.seed.rotate_left(24) ^ self.number.rotate_left(8) ^ round;
        let mut random = Rng::with_seed(Rng::with_seed(seed).u64(..));
        // The first time the file is being made; later there is something to recover.
        self.open_and_kill(&mut random, tally, durations)?;
        let acknowledged = if self.host.is_server() && round % 3 == 2 {
            self.work_and_kill_server(&mut random, tally, durations)?
        } else {
            self.work_and_kill(&mut random, tally, durations)?
        };
        self.open_and_kill(&mut random, tally, durations)?;
        self.host.settle()?;
        self.compare(&acknowledged, tally)
    }

    /// Kills children that open the database, and do nothing else.
    fn open_and_kill(
        &mut self,
        random: &mut Rng,
        tally: &mut Tally,
        durations: &mut Durations,
    ) -> Result {
        for _ in 0..[0, 0, 1, 2][random.usize(..4)] {
            let moment = Moment::In(Phase::Opening, random.f64() * 1.2);
            let mut victim = Victim::start(&self.orders(0, 0, false, false))?;
            moment.wait(&mut victim, durations)?;
            let phase = victim.kill()?;
            self.count(phase, tally);
            durations.merge(&victim.durations);
        }
        Ok(())
    }

    /// Kills children at work, and returns what their threads have acknowledged.
    fn work_and_kill(
        &mut self,
        random: &mut Rng,
        tally: &mut Tally,
        durations: &mut Durations,
    ) -> Result<BTreeMap<usize, u64>> {
        let processes = stores::processes(self.store);
        let plan: Vec<_> = (0..processes)
            .map(|process| {
                let part = random.f64();
                let moment = match random.u8(..8) {
                    0 => Moment::In(Phase::Opening, part * 1.2),
                    1 | 2 if self.store == "ql" => Moment::In(Phase::Compacting, part),
                    1..=3 => Moment::In(Phase::Cleaning, part),
                    _ => Moment::After(random.u64(..100), part),
                };
                let maintains =
                    matches!(moment, Moment::In(Phase::Cleaning | Phase::Compacting, _));
                (self.orders(process, processes, maintains, false), moment)
            })
            .collect();
        let known = &*durations;
        let killed: Vec<Result<(Victim, Phase)>> = thread::scope(|scope| {
            let threads: Vec<_> = plan
                .iter()
                .map(|(orders, moment)| {
                    scope.spawn(move || {
                        let mut victim = Victim::start(orders)?;
                        moment.wait(&mut victim, known)?;
                        let phase = victim.kill()?;
                        Ok((victim, phase))
                    })
                })
                .collect();
            let panicked = |_| Err("a thread panicked".into());
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
        });
        let mut acknowledged = BTreeMap::new();
        for killed in killed {
            let (victim, phase) = killed?;
            self.count(phase, tally);
            tally.acknowledged += victim.acknowledgements;
            durations.merge(&victim.durations);
            acknowledged.extend(victim.acknowledged.clone());
        }
        Ok(acknowledged)
    }

    /// Kills the server under children at work, and returns what their threads have acknowledged.
    fn work_and_kill_server(
        &mut self,
        random: &mut Rng,
        tally: &mut Tally,
        durations: &mut Durations,
    ) -> Result<BTreeMap<usize, u64>> {
        let processes = stores::processes(self.store);
        let start = |process| Victim::start(&self.orders(process, processes, true, true));
        let mut victims = (0..processes).map(start).collect::<Result<Vec<_>>>()?;
        for victim in &mut victims {
            victim.wait_for(Phase::Working)?;
        }
        Moment::After(random.u64(..100), random.f64()).wait(&mut victims[0], durations)?;
        self.host.kill()?;
        tally.server_kills += 1;
        if random.bool() {
            // The children live to see the server again.
            self.host.restart()?;
            for victim in &mut victims {
                victim.wait_for_more(20)?;
            }
        }
        let mut acknowledged = BTreeMap::new();
        for mut victim in victims {
            let phase = victim.kill()?;
            self.count(phase, tally);
            tally.acknowledged += victim.acknowledgements;
            acknowledged.extend(victim.acknowledged.clone());
        }
        self.host.restart()?;
        Ok(acknowledged)
    }

    /// Compares what is there with what was acknowledged: of each thread the operation that was
    /// under way has happened or not, as a whole.
    fn compare(&mut self, acknowledged: &BTreeMap<usize, u64>, tally: &mut Tally) -> Result {
        let opened = stores::open(self.store, &self.location)?;
        let observed = Observation::of_all(&*opened.store)?;
        tally.rounds += 1;
        for (thread, (workload, observed)) in self.workloads.iter_mut().zip(observed).enumerate() {
            workload.advance_to(acknowledged[&thread])?;
            let before = Observation::of_model(workload.model(), thread)?;
            if observed == before {
                continue;
            }
            let (number, op) = (workload.applied(), workload.next().clone());
            workload.advance()?;
            let after = Observation::of_model(workload.model(), thread)?;
            if observed != after {
                let without = observed.difference(&before);
                let with = observed.difference(&after);
                return Err(format!(
                    "thread {thread} had acknowledged {number} operations, and then {op:?} was \
                     under way.\n  If it hasn't happened: {without}.\n  If it has: {with}."
                )
                .into());
            }
            tally.happened += 1;
        }
        Ok(())
    }

    /// Counts a kill by what the child was doing.
    fn count(&mut self, phase: Phase, tally: &mut Tally) {
        *tally.kills.entry(phase).or_default() += 1;
        if phase > Phase::Opening {
            self.is_made = true;
        } else if phase == Phase::Opening && !self.is_made {
            tally.first_opens += 1;
        }
    }

    fn orders(&self, process: usize, processes: usize, maintains: bool, may_fail: bool) -> Orders {
        let share = THREADS.checked_div(processes).unwrap_or(0);
        let threads = process * share..(process + 1) * share;
        Orders {
            store: self.store.to_owned(),
            location: self.location.clone(),
            seed: self.seed,
            database: self.number,
            applied: self.workloads[threads.clone()].iter().map(Workload::applied).collect(),
            threads,
            maintains,
            may_fail,
        }
    }
}
