//! Clauses 9, 10 and 18: writes that expect which sessions a subject has, by which logins keep to a
//! limit, and sessions that are created by such a change.

use crate::calls::{
    an_hour_ago, commit, found, in_an_hour, lasting, loaded, unswept, update, walk,
};
use crate::concurrency::{ROUNDS, THREADS, race};
use crate::processes::{Helper, role, tell};
use crate::subjects::{create, sessions_of, tokens_of};
use crate::{DurableHarness, Harness};
use store_core::{Change, Error, Loaded, MAX_SUBJECT_LEN, Rotation, Store};

/// How many sessions a user may have in the races.
const LIMIT: usize = 3;

/// Sessions of two subjects and of none, and some that aren't live any more.
fn populate(store: &dyn Store) {
    for (token, subject) in [("a", "one"), ("b", "one"), ("other", "two"), ("deleted", "one")] {
        create(store, token, Some(subject));
    }
    create(store, "anonymous", None);
    store.delete("deleted").expect("delete succeeds");
    store.create("expired", b"expired", an_hour_ago(), Some("one")).expect("the token is free");
    create(store, "ended", Some("one"));
    assert!(store.touch("ended", an_hour_ago()).expect("touch succeeds"));
}

/// What `populate` leaves, and what of it a change could alter.
fn state(store: &dyn Store) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut sessions = walk(store);
    sessions.sort();
    let old = ["a", "b", "other", "deleted", "anonymous", "new"].map(|token| loaded(store, token));
    (sessions, tokens_of(store, "one"), tokens_of(store, "two"), old)
}

/// Lists of tokens that aren't those of the live sessions of "one", which are `a` and `b`.
fn wrong(overlong: &str) -> [Vec<&str>; 14] {
    [
        vec![],
        vec!["a"],
        vec!["b"],
        vec!["a", "a"],
        vec!["other"],
        vec!["a", "other"],
        vec!["a", "b", "other"],
        vec!["a", "b", "anonymous"],
        vec!["a", "b", "expired"],
        vec!["a", "b", "ended"],
        vec!["a", "b", "deleted"],
        vec!["a", "B"],
        vec!["a", "b", ""],
        vec!["a", "b", overlong],
    ]
}

/// A login that takes the place of `b`.
fn login() -> Change<'static> {
    Change::new(b"new", in_an_hour()).with_subject(Some("one")).absorbing("b", b"b")
}

/// Clauses 9 and 10: `update` writes only if the live sessions of a subject are the expected ones,
/// and else changes nothing, whatever else it was to do.
pub fn update_needs_the_expected_sessions<H: Harness>(harness: &H) {
    let store = unswept(harness);
    populate(&store);
    let before = state(&store);
    let overlong = "x".repeat(harness.limits().max_token_len + 1);
    let rotating = || login().with_rotation(lasting("new"));
    for tokens in wrong(&overlong) {
        for change in [login(), rotating(), Change::new(b"new", in_an_hour())] {
            let change = change.expecting_sessions_of("one", tokens.iter().copied());
            assert!(!update(&store, "anonymous", b"anonymous", &change), "{tokens:?}");
            assert_eq!(state(&store), before, "{tokens:?}");
        }
    }
    // What else has to hold still has to.
    let expecting = |change: Change<'static>| change.expecting_sessions_of("one", ["b", "a", "b"]);
    assert!(!update(&store, "anonymous", b"stale", &expecting(rotating())));
    let stale = expecting(rotating().absorbing("a", b"stale"));
    assert!(!update(&store, "anonymous", b"anonymous", &stale));
    let taken = expecting(login().with_rotation(lasting("other")));
    let refused = store.update("anonymous", b"anonymous", &taken);
    assert!(matches!(refused, Err(Error::TokenTaken)), "{refused:?}");
    for subject in ["", &"x".repeat(MAX_SUBJECT_LEN + 1)] {
        let impossible = login().expecting_sessions_of(subject, []).to_static();
        let refused = store.update("anonymous", b"anonymous", &impossible);
        assert!(matches!(refused, Err(Error::InvalidSubject { .. })), "{refused:?}");
    }
    assert_eq!(state(&store), before);

    assert!(update(&store, "anonymous", b"anonymous", &expecting(rotating())));
    assert_eq!(tokens_of(&store, "one"), ["a", "new"]);
    for old in ["b", "anonymous"] {
        let leads = Loaded::Rotated { token: "new".to_owned(), opens: false };
        assert_eq!(loaded(&store, old), leads, "{old} leads to the login");
    }

    // The session itself is among them, under the token that it has.
    let plain = |tokens: [&'static str; 2]| {
        Change::new(b"new", in_an_hour()).expecting_sessions_of("one", tokens)
    };
    assert!(update(&store, "new", b"new", &plain(["a", "new"])));
    let rotation = || plain(["new", "a"]).with_rotation(lasting("newer"));
    assert!(update(&store, "new", b"new", &rotation()));
    assert!(!update(&store, "newer", b"new", &rotation()), "it has another token by now");
    // The subject needn't be the one that the session has, or gets.
    let of_two = Change::new(b"two", in_an_hour()).expecting_sessions_of("two", ["other"]);
    assert!(update(&store, "newer", b"new", &of_two));
    assert!(!update(&store, "newer", b"two", &of_two.expecting_sessions_of("two", [])));
    assert!(update(&store, "newer", b"two", &plain(["newer", "a"]).with_subject(None)));
    assert_eq!(tokens_of(&store, "one"), ["a"]);
    let in_the_past = Change::new(b"a", an_hour_ago()).expecting_sessions_of("one", ["a"]);
    assert!(update(&store, "a", b"a", &in_the_past));
    assert!(tokens_of(&store, "one").is_empty());
}

/// Clauses 9 and 10: a session is created only if the live sessions of a subject are the expected
/// ones; those that it absorbs end with that, in the same step.
pub fn create_needs_the_expected_sessions<H: Harness>(harness: &H) {
    let store = unswept(harness);
    populate(&store);
    let before = state(&store);
    let overlong = "x".repeat(harness.limits().max_token_len + 1);
    let created = |token: &str, change: &Change<'_>| {
        store.create_with(token, change).expect("create_with answers")
    };
    for tokens in wrong(&overlong) {
        for change in [login(), Change::new(b"new", in_an_hour())] {
            let change = change.expecting_sessions_of("one", tokens.iter().copied());
            // The token of an expired session is free, that of a live one isn't what is wrong.
            for token in ["new", "expired", "other"] {
                assert!(!created(token, &change), "{tokens:?}");
                assert_eq!(state(&store), before, "{tokens:?}");
            }
        }
    }
    let expecting = |change: Change<'static>| change.expecting_sessions_of("one", ["b", "a"]);
    let refused = store.create_with("other", &expecting(login()));
    assert!(matches!(refused, Err(Error::TokenTaken)), "{refused:?}");
    assert!(!created("new", &expecting(login().absorbing("a", b"stale"))));
    assert_eq!(state(&store), before);

    // One that is named twice ends once, and leads on if it is to once.
    let twice = Change::new(b"new", in_an_hour()).with_subject(Some("one"));
    let twice = twice.ending("b", b"b").absorbing("b", b"b");
    assert!(created("expired", &expecting(twice)));
    assert_eq!(found(&store, "expired").as_deref(), Some(&b"new"[..]));
    assert_eq!(tokens_of(&store, "one"), ["a", "expired"]);
    let leads = Loaded::Rotated { token: "expired".to_owned(), opens: false };
    assert_eq!(loaded(&store, "b"), leads);
    let ending = || login_of("one", &["expired", "a"]).ending("a", b"a");
    assert!(!created("newest", &ending().ending("expired", b"stale")));
    assert!(created("newest", &ending()));
    assert_eq!(tokens_of(&store, "one"), ["expired", "newest"]);
    assert_eq!(loaded(&store, "a"), Loaded::Missing, "its token leads nowhere");
    let first = login_of("nobody", &[]);
    assert!(created("first", &first));
    assert!(!created("second", &first));
    assert_eq!(tokens_of(&store, "nobody"), ["first"]);
}

/// A login of a subject that expects these sessions.
fn login_of<'a>(subject: &'a str, tokens: &[&'a str]) -> Change<'a> {
    Change::new(b"data", in_an_hour())
        .with_subject(Some(subject))
        .expecting_sessions_of(subject, tokens.iter().copied())
}

/// Clauses 9 and 10: a session that is created absorbs others that are live and have the data that
/// is named, and else isn't created; it can't have an earlier token.
pub fn create_absorbs_other_sessions<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for token in ["one", "two", "bystander"] {
        commit(&store, token, token.as_bytes(), in_an_hour());
    }
    commit(&store, "expired", b"expired", an_hour_ago());
    let state = || {
        let mut sessions = walk(&store);
        sessions.sort();
        sessions
    };
    let before = state();
    let merged = || Change::new(b"merged", in_an_hour()).absorbing("one", b"one");
    for (other, data) in [
        ("two", &b"stale"[..]),
        ("two", b""),
        ("expired", b"expired"),
        ("missing", b""),
        ("new", b"merged"),
        ("", b""),
    ] {
        let created = store.create_with("new", &merged().absorbing(other, data));
        assert!(!created.expect("it answers"), "{other}");
        assert_eq!(state(), before, "{other}");
    }
    let taken = store.create_with("bystander", &merged());
    assert!(matches!(taken, Err(Error::TokenTaken)), "{taken:?}");
    let itself = store.create_with("one", &merged());
    assert!(!itself.expect("it answers"), "it can't absorb itself");
    let rotated = store.create_with("new", &merged().with_rotation(Rotation::new("newer")));
    assert!(matches!(rotated, Err(Error::InvalidOption { .. })), "{rotated:?}");
    assert_eq!(state(), before);

    let created = store.create_with("new", &merged().absorbing("two", b"two"));
    assert!(created.expect("it answers"));
    let left: Vec<_> = state().into_iter().map(|(token, data, _)| (token, data)).collect();
    let expected = [("bystander", &b"bystander"[..]), ("new", b"merged")];
    assert_eq!(left, expected.map(|(token, data)| (token.to_owned(), data.to_vec())));
    for ended in ["one", "two"] {
        assert!(!matches!(loaded(&store, ended), Loaded::Live { .. }));
    }
}

/// What a login does that finds as many sessions as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    EndAnother,
    Refuse,
}

/// Logs a user in, with a limit, and returns whether that was possible. The login rotates a session
/// that the visitor has, or creates one.
fn log_in(store: &dyn Store, user: &str, token: &str, policy: Policy, rotates: bool) -> bool {
    let anonymous = format!("anonymous-{token}");
    if rotates {
        create(store, &anonymous, None);
    }
    loop {
        let sessions = sessions_of(store, user);
        assert!(sessions.len() <= LIMIT, "{user} has {} sessions", sessions.len());
        if sessions.len() == LIMIT && policy == Policy::Refuse {
            return false;
        }
        let tokens = sessions.iter().map(|(token, ..)| token.as_str());
        let mut login = Change::new(token.as_bytes(), in_an_hour())
            .with_subject(Some(user))
            .expecting_sessions_of(user, tokens);
        for (token, data, _) in sessions.iter().skip(LIMIT - 1) {
            login = login.ending(token, data);
        }
        let is_done = if rotates {
            let login = login.with_rotation(lasting(token));
            update(store, &anonymous, anonymous.as_bytes(), &login)
        } else {
            store.create_with(token, &login).expect("create_with answers")
        };
        if is_done {
            return true;
        }
    }
}

/// Asserts how many of a user's logins may have been done, and what they leave.
fn assert_limit(store: &dyn Store, user: &str, policy: Policy, done: usize, logins: usize) {
    let sessions = sessions_of(store, user);
    assert_eq!(sessions.len(), LIMIT.min(logins), "{user}: as many as there may be");
    for (token, data, _) in sessions {
        assert_eq!(token.as_bytes(), data, "{user}: each is one of the logins");
    }
    let possible = if policy == Policy::Refuse { LIMIT } else { logins };
    assert_eq!(done, possible, "{user}");
}

/// Clauses 9 and 18: of logins that race, by threads that create and update, and that expect what
/// they have found, never more leave a session than there may be.
pub fn racing_logins_keep_a_limit<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for round in 0..ROUNDS.div_ceil(5) {
        let policy = if round % 2 == 0 { Policy::EndAnother } else { Policy::Refuse };
        let user = format!("user-{round}");
        let done = race(|i| {
            let token = format!("token-{round}-{i}");
            let is_done = log_in(&store, &user, &token, policy, i % 2 == 0);
            // What a store keeps to tell logins apart may be swept at any moment.
            store.delete_expired().expect("delete_expired succeeds");
            is_done
        });
        let done = done.into_iter().filter(|done| *done).count();
        assert_limit(&store, &user, policy, done, THREADS);
    }
}

/// Clauses 9 and 18: the same for logins in several processes.
pub fn processes_keep_a_limit<H: DurableHarness>(new: impl Fn() -> H, test: &str) {
    const PROCESSES: usize = 2;
    const LOGINS: usize = 20;
    let policies = [("ends", Policy::EndAnother), ("refuses", Policy::Refuse)];
    // All begin when the session "go" is there.
    let work = |store: &dyn Store, name: &str| {
        while found(store, "go").is_none() {
            std::thread::yield_now();
        }
        policies.map(|(user, policy)| {
            let log_in = |n: &usize| {
                log_in(store, user, &format!("{user}-{name}-{n}"), policy, n.is_multiple_of(2))
            };
            (0..LOGINS).filter(log_in).count()
        })
    };
    if let Some((name, harness)) = role::<H>() {
        let store = unswept(&harness);
        tell("ready");
        for done in work(&store, &name) {
            tell(&done.to_string());
        }
        return;
    }
    let harness = new();
    let store = unswept(&harness);
    let mut helpers: Vec<_> = (0..PROCESSES)
        .map(|i| Helper::start(&harness, test, &format!("process-{i}"), &[]))
        .collect();
    for helper in &mut helpers {
        assert_eq!(helper.told().as_deref(), Some("ready"));
    }
    commit(&store, "go", b"", in_an_hour());
    let mut done = work(&store, "parent");
    for helper in &mut helpers {
        for done in &mut done {
            let told = helper.told().and_then(|told| told.parse::<usize>().ok());
            *done += told.expect("it tells how many");
        }
    }
    helpers.into_iter().for_each(Helper::finish);
    for ((user, policy), done) in policies.into_iter().zip(done) {
        assert_limit(&store, user, policy, done, (PROCESSES + 1) * LOGINS);
    }
}
