//! Clauses 12, 13, 14, 18 and 20: races about the indexes, with a known outcome.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::Harness;
use crate::calls::{SetOnDrop, commit, found, in_an_hour, lasting, loaded, unswept, update, walk};
use crate::concurrency::{ROUNDS, THREADS, race};
use crate::subjects::{create, delete_by_subject, sessions_of, tokens_of};
use store_core::{Change, Error, Loaded, Store};

/// Writes of one thread while others read.
const WRITES: usize = 40;

/// A session that gets one token after another for as long as it lives.
struct Rotating {
    /// The tokens that it has had, with the one that it may be getting.
    tokens: AtomicUsize,
    /// Ends the rotations also where the session doesn't end.
    stop: AtomicBool,
}

impl Rotating {
    fn new() -> Self {
        Self { tokens: AtomicUsize::new(1), stop: AtomicBool::new(false) }
    }

    fn run(&self, store: &dyn Store, token: impl Fn(usize) -> String) {
        let _end_of_waiting = SetOnDrop(&self.stop);
        for n in 0.. {
            let newest = token(n + 1);
            // Before it is so, because what ends the session may come in between.
            self.tokens.store(n + 2, Ordering::Release);
            let change = Change::new(b"data", in_an_hour()).with_rotation(lasting(&newest));
            if !update(store, &token(n), b"data", &change) || self.stop.load(Ordering::Acquire) {
                return;
            }
        }
    }

    fn tokens(&self) -> usize {
        self.tokens.load(Ordering::Acquire)
    }

    /// Waits until the session has a token, and is about to get the next one.
    fn wait_for(&self, token: usize) {
        while self.tokens() < token + 2 && !self.stop.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }
}

/// Clause 13: a session that is being rotated ends with a `delete` by any of its tokens; after
/// that, no token finds it.
pub fn delete_ends_a_session_that_is_being_rotated<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        let token = |n: usize| format!("token-{round}-{n}");
        let rotating = Rotating::new();
        commit(&store, &token(0), b"data", in_an_hour());
        thread::scope(|scope| {
            scope.spawn(|| rotating.run(&store, token));
            let _end_of_rotations = SetOnDrop(&rotating.stop);
            let used = round % 3;
            rotating.wait_for(used);
            store.delete(&token(used)).expect("delete succeeds");
            let last = rotating.tokens();
            for n in 0..=last {
                assert_eq!(found(&store, &token(n)), None, "round {round}: token {n} of {last}");
            }
            assert_eq!(walk(&store), [], "round {round}: nor does a walk");
        });
        for n in 0..=rotating.tokens() {
            assert_eq!(loaded(&store, &token(n)), Loaded::Missing, "round {round}: token {n}");
        }
        assert_eq!(walk(&store), [], "round {round}: nor does it come back");
    }
}

/// Deletes the sessions of a subject, and tries again if the store gives up for contention, which
/// clause 21 allows.
fn delete_contended(store: &dyn Store, subject: &str, except: Option<&str>) -> u64 {
    const ATTEMPTS: usize = 5;
    let mut attempts = (0..ATTEMPTS).map(|_| store.delete_by_subject(subject, except));
    let given_up = |outcome: &Result<u64, Error>| matches!(outcome, Err(Error::Contended { .. }));
    let outcome = attempts.find(|outcome| !given_up(outcome));
    outcome.expect("it isn't contended forever").expect("delete_by_subject succeeds")
}

/// Clause 13: sessions that are being rotated end with a `delete_by_subject`, all but the one that
/// is left, by whichever of its tokens that is named.
pub fn delete_by_subject_ends_sessions_that_are_being_rotated<H: Harness>(harness: &H) {
    const SESSIONS: usize = 3;
    let store = unswept(harness);
    for round in 0..ROUNDS / 2 {
        let token = |i: usize, n: usize| format!("token-{round}-{i}-{n}");
        let rotating: [Rotating; SESSIONS] = std::array::from_fn(|_| Rotating::new());
        for i in 0..SESSIONS {
            let created = store.create(&token(i, 0), b"data", in_an_hour(), Some("one"));
            created.expect("the token is free");
        }
        thread::scope(|scope| {
            for (i, rotating) in rotating.iter().enumerate() {
                let store = &store;
                scope.spawn(move || rotating.run(store, |n| token(i, n)));
            }
            let _end_of_rotations = rotating.each_ref().map(|rotating| SetOnDrop(&rotating.stop));
            for rotating in &rotating {
                rotating.wait_for(1);
            }
            let left = token(0, round % 2);
            let ended = delete_contended(&store, "one", Some(&left));
            assert_eq!(ended, SESSIONS as u64 - 1, "round {round}");
            for (i, rotating) in rotating.iter().enumerate().skip(1) {
                for n in 0..=rotating.tokens() {
                    assert_eq!(found(&store, &token(i, n)), None, "round {round}: {i}, {n}");
                }
            }
            for _ in 0..3 {
                assert_eq!(sessions_of(&store, "one").len(), 1, "round {round}");
            }
            assert_eq!(delete_contended(&store, "one", None), 1, "round {round}");
        });
        assert_eq!(walk(&store), [], "round {round}");
    }
}

/// Writes on one thread while others read, and goes on to the next write after a few more reads.
fn write_and_watch(write: impl Fn(usize) + Sync, read: impl Fn(usize) + Sync) {
    let reads = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    race(|i| {
        // A thread that fails isn't waited for.
        let _end_of_all = SetOnDrop(&done);
        if i > 0 {
            while !done.load(Ordering::Acquire) {
                read(i);
                reads.fetch_add(1, Ordering::AcqRel);
                thread::yield_now();
            }
            return;
        }
        for n in 0..WRITES {
            write(n);
            let enough = reads.load(Ordering::Acquire) + THREADS;
            while reads.load(Ordering::Acquire) < enough && !done.load(Ordering::Acquire) {
                thread::yield_now();
            }
        }
    });
}

/// Clauses 12 and 18: `load` is one consistent read: a session that is rotated to and fro, or on
/// and on, is never missing, under any token that it has had.
pub fn load_never_loses_a_rotated_session<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for is_circle in [true, false] {
        let token = |n: usize| {
            let n = if is_circle { n % 2 } else { n };
            format!("token-{is_circle}-{n}")
        };
        let tokens = AtomicUsize::new(1);
        commit(&store, &token(0), b"data", in_an_hour());
        let rotate = |n| {
            let newest = token(n + 1);
            let rotation = lasting(&newest).old_token_opens();
            let change = Change::new(b"data", in_an_hour()).with_rotation(rotation);
            assert!(update(&store, &token(n), b"data", &change));
            tokens.store(n + 2, Ordering::Release);
        };
        write_and_watch(rotate, |i| {
            // The token that it has, or one of the last few.
            let had = token(tokens.load(Ordering::Acquire).saturating_sub(i));
            match loaded(&store, &had) {
                Loaded::Live { data, .. } => assert_eq!(data, b"data"),
                Loaded::Rotated { token, opens } => {
                    assert!(opens, "each rotation allowed it");
                    assert!(token != had, "it is live under that token");
                    assert!(loaded(&store, &token) != Loaded::Missing, "the newest token");
                }
                Loaded::Missing => panic!("an old token has lost its session"),
            }
        });
        assert!(matches!(loaded(&store, &token(WRITES)), Loaded::Live { .. }));
        store.delete(&token(WRITES - 1)).expect("delete succeeds");
        assert_eq!(walk(&store), []);
    }
}

/// Clauses 14 and 18: `find_by_subject` is one consistent read: sessions that are rotated to and
/// fro are found exactly once each, with the token and the data of one moment.
pub fn find_by_subject_sees_a_rotated_session_once<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let token = |session: &str, n: usize| format!("{session}-{}", n % 2);
    for session in ["first", "second"] {
        create(&store, &token(session, 0), Some("one"));
    }
    let rotate = |n| {
        for session in ["first", "second"] {
            let (old, new) = (token(session, n), token(session, n + 1));
            let change = Change::new(new.as_bytes(), in_an_hour())
                .with_rotation(lasting(&new).old_token_opens());
            assert!(update(&store, &old, old.as_bytes(), &change));
        }
    };
    write_and_watch(rotate, |_| {
        let sessions = sessions_of(&store, "one");
        for session in ["first", "second"] {
            let seen = sessions.iter().filter(|(token, ..)| token.starts_with(session));
            assert_eq!(seen.count(), 1, "{session} of {} sessions", sessions.len());
        }
        for (token, data, _) in sessions {
            assert!(data == token.as_bytes(), "the data is of another moment");
        }
    });
    assert_eq!(tokens_of(&store, "one").len(), 2);
}

/// Clauses 10, 14 and 18: a change of subject and absorption is one step for any thread that asks
/// for the subject: there is always exactly one session, for each absorbs the one before it.
pub fn find_by_subject_sees_changes_as_one_step<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let token = |n: usize| format!("token-{n}");
    create(&store, &token(0), Some("one"));
    let log_in = |n| {
        let (before, anonymous, next) = (token(n), format!("anonymous-{n}"), token(n + 1));
        create(&store, &anonymous, None);
        let change = Change::new(next.as_bytes(), in_an_hour())
            .with_rotation(lasting(&next))
            .with_subject(Some("one"))
            .absorbing(&before, before.as_bytes());
        assert!(update(&store, &anonymous, anonymous.as_bytes(), &change));
    };
    write_and_watch(log_in, |_| {
        let sessions = sessions_of(&store, "one");
        assert_eq!(sessions.len(), 1, "each absorbs the one before it");
        assert!(sessions[0].1 == sessions[0].0.as_bytes(), "the data is of another moment");
    });
    assert_eq!(tokens_of(&store, "one"), [token(WRITES)]);
    assert_eq!(walk(&store).len(), 1);
}

/// Clauses 13 and 18: `delete_by_subject` is one step: nobody sees some of the sessions ended and
/// others not.
pub fn delete_by_subject_is_seen_as_one_step<H: Harness>(harness: &H) {
    const SESSIONS: usize = 12;
    let store = unswept(harness);
    for round in 0..ROUNDS / 2 {
        let token = |n: usize| format!("token-{round}-{n}");
        for n in 0..SESSIONS {
            create(&store, &token(n), Some("one"));
        }
        let except = (round % 2 == 1).then(|| token(SESSIONS / 2));
        let left: Vec<String> = except.iter().cloned().collect();
        let done = AtomicBool::new(false);
        race(|i| {
            if i == 0 {
                let _end_of_delete = SetOnDrop(&done);
                let ended = delete_by_subject(&store, "one", except.as_deref());
                assert_eq!(ended, (SESSIONS - left.len()) as u64);
                return;
            }
            loop {
                let over = done.load(Ordering::Acquire);
                if i % 2 == 0 {
                    let live = tokens_of(&store, "one");
                    assert!(live.len() == SESSIONS || live == left, "{} sessions", live.len());
                } else if (0..SESSIONS).any(|n| {
                    let n = (n + i) % SESSIONS;
                    except != Some(token(n)) && found(&store, &token(n)).is_none()
                }) {
                    // One has ended, so all have.
                    for n in 0..SESSIONS {
                        let is_left = except == Some(token(n));
                        assert_eq!(found(&store, &token(n)).is_some(), is_left, "session {n}");
                    }
                }
                if over {
                    assert_eq!(tokens_of(&store, "one"), left);
                    return;
                }
            }
        });
        assert_eq!(delete_by_subject(&store, "one", None), left.len() as u64);
    }
}

/// Clauses 10, 14 and 20: of threads that create one session for different subjects, one succeeds,
/// and only its subject has the session.
pub fn racing_creates_leave_one_subject<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS {
        let token = format!("token-{round}");
        let subject = |i: usize| format!("subject-{i}");
        let won = race(|i| {
            match store.create(&token, subject(i).as_bytes(), in_an_hour(), Some(&subject(i))) {
                Ok(()) => true,
                Err(Error::TokenTaken) => false,
                Err(error) => panic!("create: {error:?}"),
            }
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
        for (i, won) in won.into_iter().enumerate().take(THREADS) {
            let expected = if won { vec![token.clone()] } else { Vec::new() };
            assert_eq!(tokens_of(&store, &subject(i)), expected, "round {round}, thread {i}");
            if won {
                assert_eq!(found(&store, &token), Some(subject(i).into_bytes()));
            }
        }
        store.delete(&token).expect("delete succeeds");
    }
}
