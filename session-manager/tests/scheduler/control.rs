//! One request at a time goes on to its next call of the store.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use store_core::Error;

use crate::hooked_store::{Call, Hook};

/// A call of the store that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) request: usize,
    /// Which of the request's calls.
    pub(crate) call: usize,
    pub(crate) when: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// The call isn't done.
    Before,
    /// The call is done, and its answer lost.
    After,
}

/// The orders in which requests may go on, one after the other.
///
/// Of orders that differ only in which of two reads comes first, when they follow each other, one
/// is tried: the reads see the same.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    /// The choices of the present order, each with how many there were.
    choices: Vec<(usize, usize)>,
    position: usize,
    /// Which request went on at each step, and with which call.
    order: Vec<(usize, Call)>,
    /// Chooses at random instead, by this number.
    seed: Option<u64>,
}

impl Schedules {
    /// One order, which the number decides.
    pub(crate) fn random(seed: u64) -> Self {
        Self { seed: Some(seed), ..Self::default() }
    }

    fn begin(&mut self) {
        self.position = 0;
        self.order.clear();
    }

    /// Chooses one of the requests that can go on.
    fn choose(&mut self, ready: &[(usize, Call)]) -> usize {
        let last = self.order.last().copied();
        let is_tried_the_other_way_round = |&(request, call): &(usize, Call)| {
            last.is_some_and(|(before, other)| request < before && is_read(call) && is_read(other))
        };
        let mut untried: Vec<_> =
            ready.iter().filter(|ready| !is_tried_the_other_way_round(ready)).copied().collect();
        if untried.is_empty() {
            // All that begins like this has been tried, so how it goes on doesn't matter.
            untried.push(ready[0]);
        }
        let (ready, count) = (&untried, untried.len());
        if self.position == self.choices.len() {
            let choice = self.seed.map_or(0, |seed| {
                let random =
                    BuildHasherDefault::<DefaultHasher>::default().hash_one((seed, self.position));
                usize::try_from(random % count as u64).expect("it is below a usize")
            });
            self.choices.push((choice, count));
        }
        let (choice, known) = self.choices[self.position];
        assert_eq!(known, count, "the same order has the same steps");
        self.position += 1;
        self.order.push(ready[choice]);
        ready[choice].0
    }

    /// Goes on to the next order, if there is one.
    pub(crate) fn next(&mut self) -> bool {
        while let Some((choice, count)) = self.choices.pop() {
            if choice + 1 < count {
                self.choices.push((choice + 1, count));
                return true;
            }
        }
        false
    }

    pub(crate) fn order(&self) -> &[(usize, Call)] {
        &self.order
    }
}

fn is_read(call: Call) -> bool {
    matches!(call, Call::Load | Call::FindBySubject | Call::Walk | Call::Count)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Before its next call of the store.
    Waiting(Call),
    Ended,
}

/// Where the requests of one run are. The one that was running last chooses who goes on.
pub(crate) struct Controller {
    progress: Mutex<Progress>,
    /// One for each request, and the last for the end of all.
    changed: Vec<Condvar>,
    fault: Option<Fault>,
}

struct Progress {
    states: Vec<State>,
    schedules: Schedules,
}

impl Controller {
    pub(crate) fn new(
        requests: usize,
        fault: Option<Fault>,
        schedules: &mut Schedules,
    ) -> Arc<Self> {
        let mut schedules = std::mem::take(schedules);
        schedules.begin();
        let states = vec![State::Running; requests];
        Arc::new(Self {
            progress: Mutex::new(Progress { states, schedules }),
            changed: (0..=requests).map(|_| Condvar::new()).collect(),
            fault,
        })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("nobody panics with it")
    }

    /// Waits until this request may make its next call.
    fn wait_for_turn(&self, request: usize, call: Call) {
        let mut progress = self.progress();
        progress.states[request] = State::Waiting(call);
        self.go_on(&mut progress);
        while progress.states[request] != State::Running {
            progress = self.changed[request].wait(progress).expect("nobody panics with it");
        }
    }

    fn end(&self, request: usize) {
        let mut progress = self.progress();
        progress.states[request] = State::Ended;
        self.go_on(&mut progress);
    }

    /// Lets the next request go on, if none is running.
    fn go_on(&self, progress: &mut Progress) {
        let Progress { states, schedules } = progress;
        if states.contains(&State::Running) {
            return;
        }
        let waiting = states.iter().enumerate().filter_map(|(request, state)| match state {
            State::Waiting(call) => Some((request, *call)),
            State::Running | State::Ended => None,
        });
        let ready: Vec<_> = waiting.collect();
        if ready.is_empty() {
            self.changed[states.len()].notify_one();
            return;
        }
        let next = schedules.choose(&ready);
        states[next] = State::Running;
        self.changed[next].notify_one();
    }

    /// Waits until all requests have ended, and returns the orders.
    pub(crate) fn wait_for_end(&self, schedules: &mut Schedules) {
        let mut progress = self.progress();
        while progress.states.iter().any(|state| *state != State::Ended) {
            let all = &self.changed[progress.states.len()];
            progress = all.wait(progress).expect("nobody panics with it");
        }
        *schedules = std::mem::take(&mut progress.schedules);
    }
}

/// Tells the controller that a request has ended, also where it panics.
pub(crate) struct EndOnDrop(pub(crate) Arc<Controller>, pub(crate) usize);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads that serve requests, run after run.
pub(crate) struct Workers(Vec<Sender<Job>>);

impl Workers {
    pub(crate) fn new(count: usize) -> Self {
        let start = |_| {
            let (sender, jobs) = channel::<Job>();
            thread::spawn(move || jobs.into_iter().for_each(|job| job()));
            sender
        };
        Self((0..count).map(start).collect())
    }

    pub(crate) fn serve(&self, request: usize, job: impl FnOnce() + Send + 'static) {
        self.0[request].send(Box::new(job)).expect("the thread waits for it");
    }
}

/// Stands before the store of one request.
pub(crate) struct Gate {
    controller: Arc<Controller>,
    request: usize,
    calls: Mutex<usize>,
    has_struck: Mutex<bool>,
}

impl Gate {
    pub(crate) fn new(controller: &Arc<Controller>, request: usize) -> Self {
        let controller = Arc::clone(controller);
        Self { controller, request, calls: Mutex::new(0), has_struck: Mutex::new(false) }
    }

    pub(crate) fn has_fault_struck(&self) -> bool {
        *self.has_struck.lock().expect("nobody panics with it")
    }

    fn strike(&self, call: usize, when: When) -> Result<(), Error> {
        if self.controller.fault != Some(Fault { request: self.request, call, when }) {
            return Ok(());
        }
        *self.has_struck.lock().expect("nobody panics with it") = true;
        Err(Error::Unreachable { source: "the fault of this run".into() })
    }

    fn calls(&self) -> MutexGuard<'_, usize> {
        self.calls.lock().expect("nobody panics with it")
    }
}

impl Hook for Gate {
    fn before(&self, call: Call) -> Result<(), Error> {
        self.controller.wait_for_turn(self.request, call);
        let call = *self.calls();
        let outcome = self.strike(call, When::Before);
        if outcome.is_err() {
            *self.calls() += 1;
        }
        outcome
    }

    fn after(&self, _: Call) -> Result<(), Error> {
        let call = *self.calls();
        *self.calls() += 1;
        self.strike(call, When::After)
    }
}
