//! Requests of one browser that are served at the same time, while its session gets new tokens.

mod faulty_store;

mod world;

use faulty_store::Fault;
use schedules::explore;
use session_manager::{Error, Session};
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread;
use world::{Response, World};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Reads only: it may rotate the token, or move the end of the session.
    Read,
    /// Adds one to a counter.
    Add,
    Renew,
    LogOut,
    /// As a page would that shows the way out only to those who are in.
    LogOutIfIn,
    LogInAsGrace,
    /// Makes the time pass: a rotation becomes due, or the grace ends.
    Wait(i64),
}

use Kind::{Add, LogInAsGrace, LogOut, LogOutIfIn, Read, Renew, Wait};

impl Kind {
    fn act(self, session: &mut Session<'_>) -> Result<(), Error> {
        match self {
            Read => session.get::<u32>("n").map(drop),
            Add => {
                // A note of whom the request saw, which nobody else may ever see.
                if let Some(subject) = session.subject() {
                    session.insert(&format!("note of {subject}"), true)?;
                }
                session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).map(drop)
            }
            Renew => session.renew(),
            LogOut => session.destroy(),
            LogOutIfIn if session.contains("from") => session.destroy(),
            LogOutIfIn => Err(Error::Superseded),
            LogInAsGrace => session.set_subject("grace"),
            Wait(_) => Ok(()),
        }
    }
}

/// What came of requests.
struct Served {
    world: World,
    /// The tokens from before: the browser's, and one that it had until it got that.
    before: [String; 2],
    responses: Vec<(Kind, Response)>,
}

impl Served {
    /// Serves requests, each on its own thread, with one of the two tokens that are good.
    fn new(fault: Fault, kinds: &[Kind]) -> Self {
        let world = World::new(fault);
        let first = world.serve(true, "", |session| {
            session.insert("from", true)?;
            session.set_subject("ada")
        });
        let Response::Done(Some(older)) = first else { panic!("it is new: {first:?}") };
        world.clock.advance(10);
        let second = world.serve(true, &older, |_| Ok(()));
        let Response::Done(Some(newer)) = second else { panic!("it is rotated: {second:?}") };
        // The older one is good for 20 s more, and the newer one is to be rotated again.
        world.clock.advance(10);
        let before = [newer, older];
        let start = |&kind: &Kind| {
            let (world, token) = (world.clone(), before[thread_rng().gen_range(0..2)].clone());
            let shares_process = thread_rng().gen_bool(0.5);
            thread::spawn(move || match kind {
                Wait(seconds) => {
                    world.clock.advance(seconds);
                    Response::Done(None)
                }
                kind => world.serve(shares_process, &token, |session| kind.act(session)),
            })
        };
        let threads: Vec<_> = kinds.iter().map(start).collect();
        let responses = threads.into_iter().map(|thread| thread.join().expect("it is answered"));
        let responses = kinds.iter().copied().zip(responses).collect();
        Self { world, before, responses }
    }

    /// How many requests of this kind were answered as done.
    fn done(&self, kind: Kind) -> usize {
        let is_done = |(own, response): &&(Kind, Response)| {
            *own == kind && matches!(response, Response::Done(_))
        };
        self.responses.iter().filter(is_done).count()
    }

    /// Every token that the browser may hold.
    fn tokens(&self) -> impl Iterator<Item = &str> {
        let set = self.responses.iter().filter_map(|(_, response)| match response {
            Response::Done(token) => token.as_deref(),
            Response::Superseded => None,
        });
        self.before.iter().map(String::as_str).chain(set)
    }

    /// What must hold if rotations are all that happened to the token.
    fn check_in_the_grace(&self) {
        let superseded = |(_, response): &(Kind, Response)| *response == Response::Superseded;
        let opens =
            |token: &String| self.world.open(token).is_some_and(|found| found.is_from_before);
        assert!(
            !self.responses.iter().any(superseded) && self.before.iter().all(opens),
            "a token is shut out in the grace"
        );
        self.check();
    }

    /// What must hold whatever the requests were.
    fn check(&self) {
        let world = &self.world;
        let (total, sessions_from_before) = world.count();
        for token in self.tokens() {
            let Some(found) = world.open(token) else { continue };
            if let Some(subject) = &found.subject {
                for other in ["ada", "grace"].into_iter().filter(|other| other != subject) {
                    let note = format!("note of {other}");
                    assert!(!found.keys.contains(&note), "{subject} sees a {note}");
                }
            }
        }
        let [renewals, logins] = [Renew, LogInAsGrace].map(|kind| self.done(kind));
        let logouts = self.done(LogOut) + self.done(LogOutIfIn);
        if logouts > 0 {
            assert_eq!(sessions_from_before, 0, "what was logged out is there");
        } else {
            assert_eq!(sessions_from_before, 1, "there is one session, under one token");
            let opens = |token| world.open(token).is_some_and(|found| found.is_from_before);
            assert!(self.tokens().any(opens), "nobody has logged out, and the browser isn't in");
        }
        if renewals + logins + logouts > 0 {
            let opened = self.before.iter().find_map(|token| world.open(token));
            assert!(opened.is_none(), "a token from before the change opens {opened:?}");
        }
        if logins + logouts == 0 {
            assert_eq!(total, self.done(Add), "an update is lost");
        }
        world.clock.advance(60);
        assert!(
            world.most_tokens(self.tokens()) <= 1,
            "the grace is over, and two tokens are good"
        );
    }
}

#[test]
fn requests_lose_nothing_while_the_token_is_rotated() {
    explore(|| Served::new(Fault::None, &[Add, Add, Read]).check_in_the_grace());
}

#[test]
fn requests_lose_nothing_while_the_grace_ends() {
    explore(|| Served::new(Fault::None, &[Add, Wait(15), Add, Wait(15)]).check());
}

#[test]
fn logout_is_final_whatever_is_under_way() {
    explore(|| Served::new(Fault::None, &[LogOut, Add, Read]).check());
}

#[test]
fn logout_is_final_when_the_grace_ends_meanwhile() {
    explore(|| Served::new(Fault::None, &[LogOutIfIn, Read, Wait(15), Wait(10)]).check());
}

#[test]
fn renewal_shuts_out_the_tokens_from_before_and_loses_nothing() {
    explore(|| Served::new(Fault::None, &[Renew, Add, Add]).check());
}

#[test]
fn nobody_sees_the_data_of_another_user() {
    explore(|| Served::new(Fault::None, &[LogInAsGrace, Add, Add]).check());
}

#[test]
fn logout_meets_a_renewal_and_a_login() {
    explore(|| Served::new(Fault::None, &[LogOut, Renew, LogInAsGrace]).check());
}

#[test]
#[should_panic(expected = "an update is lost")]
fn store_whose_updates_ignore_what_was_read_is_found() {
    explore(|| Served::new(Fault::UpdateIgnoresCurrent, &[Add, Add, Read]).check());
}

#[test]
#[should_panic(expected = "what was logged out is there")]
fn store_whose_deletes_forget_rotations_is_found() {
    explore(|| Served::new(Fault::DeleteForgetsRotations, &[LogOut, Add, Read]).check());
}

#[test]
#[should_panic(expected = "a token from before the change opens")]
fn store_whose_old_tokens_always_open_is_found() {
    explore(|| Served::new(Fault::OldTokensAlwaysOpen, &[Renew, Add, Add]).check());
}

#[test]
#[should_panic(expected = "a token is shut out in the grace")]
fn store_that_loads_nothing_in_the_grace_is_found() {
    explore(|| Served::new(Fault::LoadForgetsRotations, &[Add, Add, Read]).check_in_the_grace());
}
