//! A session that moves, at each step of each operation: whichever process is killed before which
//! call of a database, and whatever another does between which two calls, no session is lost, none
//! comes back, and none is there twice.
//!
//! In each case, a first process is killed in the middle of an operation; a second one, in the
//! middle of another, waits while a third does a whole one. Nothing is left to chance.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Change, Error, Loaded, MovingStore, Rotation, Store};

use crate::process::{Databases, Event, Phase, run};

/// The session's token, one that it had before, and one that another session has which is logged
/// in as the same user.
pub(crate) const TOKEN: &str = "token";
pub(crate) const EARLIER: &str = "earlier";
pub(crate) const OTHER: &str = "other";
pub(crate) const SUBJECT: &str = "user 7";

/// What the session holds first; afterwards, the name of the process that has written it.
pub(crate) const DATA: &str = "first";

pub(crate) const PHASES: [Phase; 2] = [Phase::Preparing, Phase::Moving];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Find,
    Write,
    Touch,
    Rotate,
    Absorb,
    Logout,
    LogoutByEarlierToken,
    LogoutElsewhere,
    LogoutOfUser,
    MoveAll,
}

const ACTIONS: [Action; 10] = [
    Action::Find,
    Action::Write,
    Action::Touch,
    Action::Rotate,
    Action::Absorb,
    Action::Logout,
    Action::LogoutByEarlierToken,
    Action::LogoutElsewhere,
    Action::LogoutOfUser,
    Action::MoveAll,
];

/// What an action did, as far as it could tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Nothing,
    /// It has written its name, maybe under a new token.
    Wrote,
    /// It has ended the session.
    Ended,
}

pub(crate) fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

pub(crate) fn lasting(new_token: &str) -> Rotation<'_> {
    Rotation::new(new_token).with_grace(Duration::from_secs(3_600)).old_token_opens()
}

impl Action {
    fn ends(self) -> bool {
        matches!(self, Self::Logout | Self::LogoutByEarlierToken | Self::LogoutOfUser)
    }

    /// Does it; what is written is the name.
    fn perform(self, store: &MovingStore, name: &str) -> Result<Outcome, Error> {
        let rotated = format!("token of {name}");
        let change = || Change::new(name.as_bytes(), in_an_hour());
        let is_written = match self {
            Self::Find => {
                // The session is nowhere else than where it is.
                for token in [EARLIER, TOKEN] {
                    if let Loaded::Rotated { token, .. } = store.load(token)? {
                        store.load(&token)?;
                    }
                }
                store.find_by_subject(SUBJECT)?;
                false
            }
            Self::Write => store.update(TOKEN, DATA.as_bytes(), &change())?,
            Self::Touch => {
                store.touch(TOKEN, in_an_hour())?;
                false
            }
            Self::Rotate => {
                let change = change().with_rotation(lasting(&rotated));
                store.update(TOKEN, DATA.as_bytes(), &change)?
            }
            Self::Absorb => {
                let change = change().absorbing(OTHER, b"other");
                store.update(TOKEN, DATA.as_bytes(), &change)?
            }
            Self::Logout => {
                store.delete(TOKEN)?;
                return Ok(Outcome::Ended);
            }
            Self::LogoutByEarlierToken => {
                store.delete(EARLIER)?;
                return Ok(Outcome::Ended);
            }
            Self::LogoutElsewhere => {
                store.delete_by_subject(SUBJECT, Some(EARLIER))?;
                false
            }
            Self::LogoutOfUser => {
                store.delete_by_subject(SUBJECT, None)?;
                return Ok(Outcome::Ended);
            }
            Self::MoveAll => {
                store.move_all(&mut |_| {})?;
                false
            }
        };
        Ok(if is_written { Outcome::Wrote } else { Outcome::Nothing })
    }
}

/// What a process was asked to do, and what it said.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "failures print all of it")]
struct Done {
    name: &'static str,
    action: Action,
    phase: Phase,
    /// `None` if it was killed.
    outcome: Option<Outcome>,
}

/// The session, rotated a moment ago, in the old store, and another of the same user.
pub(crate) fn prepared() -> Databases {
    let databases = Databases::empty();
    let old = &databases.old;
    old.create(EARLIER, b"earlier", in_an_hour(), Some(SUBJECT)).expect("it is new");
    old.create(OTHER, b"other", in_an_hour(), Some(SUBJECT)).expect("it is new");
    let rotation = Change::new(DATA.as_bytes(), in_an_hour()).with_rotation(lasting(TOKEN));
    assert!(old.update(EARLIER, b"earlier", &rotation).expect("it answers"));
    databases
}

/// The session as a store shows it, under its newest token: the token and the data.
fn session(store: &MovingStore) -> Option<(String, String)> {
    let load = |token: &str| store.load(token).expect("load answers");
    let data = |data: Vec<u8>| String::from_utf8(data).expect("it was written as text");
    match load(TOKEN) {
        Loaded::Live { data: found, .. } => Some((TOKEN.to_owned(), data(found))),
        Loaded::Rotated { token, opens } => {
            assert!(opens, "each rotation allowed it");
            match load(&token) {
                Loaded::Live { data: found, .. } => Some((token, data(found))),
                other => panic!("the newest token names a session, and not {other:?}"),
            }
        }
        Loaded::Missing => None,
    }
}

/// Checks what is left against what was done, in this order.
fn judge(databases: &Databases, all: &[Done]) {
    let context = || format!("{all:#?}");
    let shown: Vec<_> = PHASES.map(|phase| session(&databases.store(phase))).into();
    assert_eq!(shown[0], shown[1], "the phases disagree after {}", context());
    let store = databases.store(Phase::Moving);
    if let Some((token, _)) = &shown[0] {
        // It moves with the first write.
        assert!(store.touch(token, in_an_hour()).expect("touch answers"), "{}", context());
        assert_eq!(session(&store), shown[0], "moving changed it after {}", context());
    }

    let must_have_ended = all.iter().any(|done| done.outcome == Some(Outcome::Ended));
    let may_have_ended =
        must_have_ended || all.iter().any(|done| done.outcome.is_none() && done.action.ends());
    let tokens = all.iter().map(|done| format!("token of {}", done.name));
    let tokens: Vec<_> = tokens.chain([EARLIER.to_owned(), TOKEN.to_owned()]).collect();
    // Where nothing is moved any more, the new store knows all.
    let live: Vec<_> = databases.new.all().expect("the walk succeeds").into_keys().collect();
    let live: Vec<_> = live.into_iter().filter(|token| token != OTHER).collect();
    let Some((token, data)) = &shown[0] else {
        assert!(may_have_ended, "the session is lost after {}", context());
        assert_eq!(live, [""; 0], "it lives on after {}", context());
        for token in &tokens {
            let loaded = store.load(token).expect("load answers");
            assert_eq!(loaded, Loaded::Missing, "{token} after {}", context());
        }
        return;
    };
    assert!(!must_have_ended, "the session has come back after {}", context());
    assert_eq!(live, std::slice::from_ref(token), "after {}", context());
    let written = all.iter().filter(|done| done.outcome == Some(Outcome::Wrote));
    let written: Vec<_> = written.map(|done| done.name).collect();
    match written[..] {
        [] => {
            let killed = all.iter().filter(|done| done.outcome.is_none());
            let known = killed.map(|done| done.name).chain([DATA]).any(|name| name == data);
            assert!(known, "{data} after {}", context());
        }
        // Of those that expected the first data, one wrote.
        [name] => assert_eq!(data, name, "a write is lost after {}", context()),
        _ => panic!("two have written over the same data: {}", context()),
    }
    match store.load(EARLIER).expect("load answers") {
        Loaded::Rotated { token: newest, opens } => {
            assert!(newest == *token && opens, "{newest} after {}", context());
        }
        other => panic!("the earlier token leads to {other:?} after {}", context()),
    }
    let of_user = store.find_by_subject(SUBJECT).expect("it answers");
    let found = of_user.iter().any(|record| record.token == *token);
    assert!(found, "it has lost its user after {}", context());
}

#[test]
fn call_that_fails_is_an_error_and_leaves_a_session_whole() {
    let mut cases = 0;
    for (action, phase) in actions() {
        for call in 0.. {
            let databases = prepared();
            let work = |store: &MovingStore| action.perform(store, "the unlucky one");
            let (outcome, has_happened) = run(&databases, phase, call, Event::Fail, work);
            if !has_happened {
                break;
            }
            assert!(outcome.is_err(), "{action:?} while {phase:?}, call {call}: {outcome:?}");
            judge(&databases, &[Done { name: "the unlucky one", action, phase, outcome: None }]);
            cases += 1;
        }
    }
    assert!(cases > 150, "{cases}");
}

/// Lets a process do something and kills it before a call. `None` if it doesn't make so many.
fn killed(action: Action, phase: Phase, call: usize) -> Option<(Databases, Done)> {
    let databases = prepared();
    let work = |store: &MovingStore| action.perform(store, "the killed one");
    let (_, has_happened) = run(&databases, phase, call, Event::Kill, work);
    let done = Done { name: "the killed one", action, phase, outcome: None };
    has_happened.then_some((databases, done))
}

#[test]
fn process_that_is_killed_before_any_call_leaves_a_session_whole() {
    let mut cases = 0;
    for phase in PHASES {
        for action in ACTIONS {
            for call in 0.. {
                let Some((databases, done)) = killed(action, phase, call) else { break };
                judge(&databases, &[done]);
                cases += 1;
            }
        }
    }
    assert!(cases > 150, "{cases}");
}

type InPhase = (Action, Phase);

fn actions() -> impl Iterator<Item = InPhase> {
    ACTIONS.into_iter().flat_map(|action| PHASES.map(|phase| (action, phase)))
}

/// Lets a second process work where the first one was killed, and a third one before a call of the
/// second. Returns whether the second makes so many.
fn meet(killed_before: usize, second: InPhase, third: InPhase, call: usize) -> Option<()> {
    let (databases, first) = killed(Action::Write, Phase::Moving, killed_before)?;
    let meanwhile = Arc::new(Mutex::new(None));
    let others = {
        let (databases, meanwhile) = (databases.clone(), meanwhile.clone());
        move || {
            let outcome = third.0.perform(&databases.store(third.1), "the third");
            let outcome = outcome.expect("nothing fails");
            *meanwhile.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        }
    };
    let event = Event::Pause(Box::new(others));
    let (outcome, has_happened) =
        run(&databases, second.1, call, event, |store| second.0.perform(store, "the second"));
    let of_third = *meanwhile.lock().unwrap_or_else(PoisonError::into_inner);
    let done = |name, (action, phase), outcome| Done { name, action, phase, outcome };
    let second = done("the second", second, Some(outcome.expect("nothing fails")));
    let third = done("the third", third, of_third);
    has_happened.then(|| judge(&databases, &[first, third, second]))
}

#[test]
fn operations_that_meet_at_any_call_lose_and_revive_nothing() {
    let mut cases = 0;
    // Before its first call, the killed process has done nothing.
    for killed_before in 0.. {
        if killed(Action::Write, Phase::Moving, killed_before).is_none() {
            break;
        }
        for second in actions() {
            // The others find nothing else in between, and what moves all moves as a write does.
            let thirds =
                actions().filter(|(action, _)| !matches!(action, Action::Find | Action::MoveAll));
            for third in thirds {
                cases += (0..).map_while(|n| meet(killed_before, second, third, n)).count();
            }
        }
    }
    assert!(cases > 10_000, "{cases}");
}

/// A process that has stopped before a call, and writes to the session once it is told to go on.
struct Stopped {
    go_on: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Stopped {
    /// `None` if it doesn't make so many calls. It may be killed that many calls later.
    fn before(call: usize, databases: &Databases, killed_after: Option<usize>) -> Option<Self> {
        let (go_on, told) = mpsc::channel();
        let (stopping, stopped) = mpsc::channel();
        let stop = Box::new(move || {
            stopping.send(()).expect("the test waits for it");
            told.recv().expect("the test tells it to go on");
        });
        let event = match killed_after {
            Some(calls) => Event::PauseThenKill(stop, calls),
            None => Event::Pause(stop),
        };
        let databases = databases.clone();
        let thread = thread::spawn(move || {
            let write = |store: &MovingStore| store.touch(TOKEN, in_an_hour());
            // Whether it finds the session doesn't matter.
            drop(run(&databases, Phase::Moving, call, event, write));
        });
        let has_stopped = stopped.recv().is_ok();
        has_stopped.then_some(Self { go_on, thread })
    }

    fn finish(self) {
        self.go_on.send(()).expect("it waits");
        self.thread.join().expect("no panic");
    }
}

/// Two processes begin to move the session and are late, at any of their calls; a third one has
/// moved it meanwhile, and it has ended. The first one is killed at any call after that, and leaves
/// what it has made there, of which the second one must not make a session.
#[test]
fn processes_that_are_late_do_not_bring_back_what_has_ended() {
    late_processes_bring_nothing_back(|databases| {
        databases.store(Phase::Moving).delete(TOKEN).expect("it succeeds");
    });
}

/// The same where a process that has the new store alone ends it.
#[test]
fn processes_that_are_late_do_not_bring_back_what_has_ended_in_the_new_store() {
    late_processes_bring_nothing_back(|databases| {
        databases.new.delete(TOKEN).expect("it succeeds");
    });
}

fn late_processes_bring_nothing_back(end: impl Fn(&Databases)) {
    let mut cases = 0;
    for (call_of_first, call_of_second) in
        (0..20).flat_map(|first| (0..20).map(move |second| (first, second)))
    {
        for killed_after in 1..6 {
            let databases = prepared();
            let Some(first) = Stopped::before(call_of_first, &databases, Some(killed_after)) else {
                break;
            };
            let second = Stopped::before(call_of_second, &databases, None);
            let store = databases.store(Phase::Moving);
            assert!(store.touch(TOKEN, in_an_hour()).expect("it answers"), "it moves");
            end(&databases);
            first.finish();
            let Some(second) = second else { break };
            second.finish();
            let done = |name, action, outcome| Done { name, action, phase: Phase::Moving, outcome };
            let ended = done("the third", Action::Logout, Some(Outcome::Ended));
            let late = done("the second", Action::Touch, Some(Outcome::Nothing));
            judge(&databases, &[done("the first", Action::Touch, None), ended, late]);
            cases += 1;
        }
    }
    assert!(cases > 200, "{cases}");
}
