//! Every interleaving of requests of one browser that different processes serve at the same time.
//!
//! The requests run the real manager, each with its own manager as in its own process, on
//! one store. A [`Controller`](control::Controller) lets one of them at a time go on to its next
//! call of the store, and the search goes through all orders. What comes out must be what some
//! *sequential* execution of the same requests leaves behind (serializability): a request that was
//! answered with an error must have had no effect, and one that was answered `Ok` all of it. What a
//! sequential execution can't show is checked by itself: which cookie the browser holds at the end,
//! and whether the index agrees with the data.
//!
//! A request whose call of the store fails, before or after it was done, may have had its effect or
//! none.

mod control;

mod device;

#[path = "../hooked_store/mod.rs"]
mod hooked_store;

mod processes;

mod requests;

mod verdict;

use std::collections::BTreeSet;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Instant;

use control::{Fault, Schedules, When, Workers};
use requests::{ALL, Kind, MOST_WRITING, World};
use verdict::Reference;

/// How many runs there were, of how many scenarios, and in how many scenarios not every
/// interleaving was tried.
struct Tally {
    workers: Workers,
    scenarios: usize,
    runs: usize,
    cut: usize,
}

impl Tally {
    fn new() -> Self {
        Self { workers: Workers::new(3), scenarios: 0, runs: 0, cut: 0 }
    }

    /// Goes through the interleavings of one scenario, up to a number of them.
    fn explore(&mut self, world: &'static World, kinds: &[Kind], fault: Option<Fault>, max: usize) {
        let reference = Reference::new(world, kinds);
        self.explore_against(&reference, world, kinds, fault, max);
    }

    fn explore_against(
        &mut self,
        reference: &Reference,
        world: &'static World,
        kinds: &[Kind],
        fault: Option<Fault>,
        max: usize,
    ) -> bool {
        self.scenarios += 1;
        let mut schedules = Schedules::default();
        let mut has_struck = false;
        for n in 0.. {
            if n == max {
                self.cut += 1;
                break;
            }
            has_struck |= self.run(reference, world, kinds, fault, &mut schedules);
            if !schedules.next() {
                break;
            }
        }
        has_struck
    }

    /// Goes through some interleavings of one scenario; the seeds decide which.
    fn sample(
        &mut self,
        reference: &Reference,
        world: &'static World,
        kinds: &[Kind],
        fault: Fault,
        seeds: Range<u64>,
    ) -> bool {
        self.scenarios += 1;
        self.cut += 1;
        let mut has_struck = false;
        for seed in seeds {
            let mut schedules = Schedules::random(seed);
            has_struck |= self.run(reference, world, kinds, Some(fault), &mut schedules);
        }
        has_struck
    }

    /// One run; says whether the fault has struck in it.
    fn run(
        &mut self,
        reference: &Reference,
        world: &'static World,
        kinds: &[Kind],
        fault: Option<Fault>,
        schedules: &mut Schedules,
    ) -> bool {
        let run = world.run(&self.workers, kinds, fault, schedules);
        self.runs += 1;
        if let Err(violation) = reference.check(world, kinds, &run) {
            panic!(
                "{kinds:?} from {:?} (plain: {}, sealed: {}) with {fault:?}, in the order {:?}: \
                 {violation}\n{:?}\n{}",
                world.start,
                world.is_plain,
                world.is_sealed,
                schedules.order(),
                run.answers,
                run.state
            );
        }
        run.has_fault_struck
    }

    #[expect(clippy::print_stdout, reason = "the counts are what the test shows")]
    fn report(&self, what: &str, since: Instant) {
        let Self { scenarios, runs, cut, .. } = self;
        println!(
            "{what}: {runs} interleavings of {scenarios} scenarios, {cut} of them sampled, \
             0 violations, {:.1?}",
            since.elapsed()
        );
    }
}

/// Every multiset of `count` of these kinds.
fn choose(kinds: &[Kind], count: usize) -> Vec<Vec<Kind>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (n, first) in kinds.iter().enumerate() {
        for mut rest in choose(&kinds[n..], count - 1) {
            rest.insert(0, *first);
            all.push(rest);
        }
    }
    all
}

/// Each request alone and each pair, in every interleaving.
#[test]
fn every_pair_of_requests_is_serializable() {
    let (began, mut tally) = (Instant::now(), Tally::new());
    for world in World::all() {
        for kinds in choose(&ALL, 1).into_iter().chain(choose(&ALL, 2)) {
            tally.explore(world, &kinds, None, usize::MAX);
        }
    }
    tally.report("pairs", began);
    assert_eq!(tally.cut, 0);
}

/// Sealed sessions, in the middle of a change of keys: each request alone and each pair, in every
/// interleaving.
#[test]
fn every_pair_of_requests_is_serializable_while_keys_change() {
    let (began, mut tally) = (Instant::now(), Tally::new());
    let world = World::sealed();
    for kinds in choose(&ALL, 1).into_iter().chain(choose(&ALL, 2)) {
        tally.explore(world, &kinds, None, usize::MAX);
    }
    tally.report("pairs while keys change", began);
    assert_eq!(tally.cut, 0);
}

/// A browser that registers its device, or refreshes the device cookie, while each of the other
/// requests runs, also where a call of the store fails, and with two that end or renew the session.
#[test]
fn every_request_of_a_device_is_serializable_with_every_other() {
    let (began, mut tally) = (Instant::now(), Tally::new());
    for world in World::with_device() {
        for kind in ALL.into_iter().chain([Kind::AskDevice]) {
            tally.explore(world, &[Kind::AskDevice, kind], None, usize::MAX);
        }
        for others in [[Kind::Update, Kind::LogOut], [Kind::Renew, Kind::LogOut]] {
            let kinds = [Kind::AskDevice, others[0], others[1]];
            tally.explore(world, &kinds, None, usize::MAX);
        }
        let kinds = [Kind::AskDevice, Kind::Update];
        let reference = Reference::new(world, &kinds);
        for when in [When::Before, When::After] {
            for call in 0.. {
                let fault = Some(Fault { request: 0, call, when });
                if !tally.explore_against(&reference, world, &kinds, fault, usize::MAX) {
                    break;
                }
            }
        }
    }
    tally.report("requests of a device", began);
    assert_eq!(tally.cut, 0);
}

/// As the pairs, with each single call of the store failing, before it was done and after it.
#[test]
fn every_pair_of_requests_is_serializable_whatever_call_fails() {
    let (began, mut tally) = (Instant::now(), Tally::new());
    for world in World::all().into_iter().take(World::HASHED) {
        for kinds in choose(&ALL, 1).into_iter().chain(choose(&ALL, 2)) {
            let reference = Reference::new(world, &kinds);
            for request in 0..kinds.len() {
                for when in [When::Before, When::After] {
                    // Until no interleaving has that many calls.
                    for call in 0.. {
                        let fault = Some(Fault { request, call, when });
                        if !tally.explore_against(&reference, world, &kinds, fault, usize::MAX) {
                            break;
                        }
                    }
                }
            }
        }
    }
    tally.report("pairs with a fault", began);
    assert_eq!(tally.cut, 0);
}

/// Each triple of those that write most, in every interleaving.
#[test]
fn every_triple_of_the_requests_that_write_most_is_serializable() {
    let (began, mut tally) = (Instant::now(), Tally::new());
    for world in World::all().into_iter().take(World::HASHED) {
        for kinds in choose(&MOST_WRITING, 3) {
            tally.explore(world, &kinds, None, usize::MAX);
        }
    }
    tally.report("triples", began);
    assert_eq!(tally.cut, 0);
}

/// A session that is moved from its plain token to the hash of it, by requests one of which rotates
/// it.
#[test]
fn every_triple_of_requests_that_move_a_session_is_serializable() {
    let (began, mut tally) = (Instant::now(), Tally::new());
    for world in World::all().into_iter().skip(World::HASHED) {
        for kind in [Kind::Read, Kind::LogInAsGrace, Kind::LogOut] {
            let kinds = [kind, Kind::Update, Kind::RotateByItself];
            tally.explore(world, &kinds, None, usize::MAX);
        }
    }
    tally.report("triples that move a session", began);
}

/// How many interleavings of a triple with a fault are tried, and where another number may stand,
/// or `all`.
const SAMPLES: u64 = 6;
const SAMPLES_VARIABLE: &str = "SCHEDULER_SAMPLES";

/// As the triples, with each single call of the store failing, in some interleavings, which change
/// from run to run.
#[test]
fn every_triple_of_the_requests_that_write_most_is_serializable_whatever_call_fails() {
    let (began, mut tally) = (Instant::now(), Tally::new());
    let samples = match env::var(SAMPLES_VARIABLE).as_deref() {
        Ok("all") => None,
        Ok(samples) => Some(samples.parse().expect("it is a whole number, or all")),
        Err(_) => Some(SAMPLES),
    };
    // What fails names its order, so no seed is needed to try it again.
    let mut seed = RandomState::new().hash_one(0) >> 1;
    for world in World::all().into_iter().take(World::HASHED) {
        for kinds in choose(&MOST_WRITING, 3) {
            let reference = Reference::new(world, &kinds);
            for (request, when) in (0..3).flat_map(|n| [(n, When::Before), (n, When::After)]) {
                for call in 0.. {
                    let fault = Fault { request, call, when };
                    let has_struck = if let Some(samples) = samples {
                        let seeds = seed..seed + samples;
                        seed = seeds.end;
                        tally.sample(&reference, world, &kinds, fault, seeds)
                    } else {
                        tally.explore_against(&reference, world, &kinds, Some(fault), usize::MAX)
                    };
                    if !has_struck {
                        break;
                    }
                }
            }
        }
    }
    tally.report("triples with a fault", began);
}

/// The check itself can fail: what no sequential execution leaves behind is noticed.
#[test]
fn verdict_notices_what_no_sequential_execution_leaves() {
    let (world, workers) = (World::all()[0], Workers::new(2));
    let kinds = [Kind::Insert, Kind::Update];
    let reference = Reference::new(world, &kinds);
    let sound = world.run(&workers, &kinds, None, &mut Schedules::default());
    assert_eq!(reference.check(world, &kinds, &sound), Ok(()));
    let mut states = BTreeSet::new();
    for change in [
        |state: &mut String| *state = state.replace("n=1", "n=0"),
        |state: &mut String| state.push('!'),
    ] {
        let mut run = world.run(&workers, &kinds, None, &mut Schedules::default());
        change(&mut run.state);
        assert!(reference.check(world, &kinds, &run).is_err(), "{}", run.state);
        states.insert(run.state);
    }
    assert_eq!(states.len(), 2);
}
