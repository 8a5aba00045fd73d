//! Clauses 13 and 14: the index of subjects.

use std::sync::Barrier;
use std::thread;

use chrono::{DateTime, TimeDelta, Utc};

use crate::Harness;
use crate::calls::{
    an_hour_ago, assert_stored, commit, found, in_an_hour, loaded, rotation, unswept, update, walk,
};
use store_core::{Change, Error, Loaded, MAX_SUBJECT_LEN, Store};

/// Creates a session whose data is its token.
pub(super) fn create(store: &dyn Store, token: &str, subject: Option<&str>) {
    store.create(token, token.as_bytes(), in_an_hour(), subject).expect("the token is free");
}

/// A change of the subject alone, of a session whose data this is.
fn subject_of<'a>(data: &'a [u8], subject: Option<&'a str>) -> Change<'a> {
    Change::new(data, in_an_hour()).with_subject(subject)
}

/// The sessions of a subject, sorted.
pub(super) fn sessions_of(
    store: &dyn Store,
    subject: &str,
) -> Vec<(String, Vec<u8>, DateTime<Utc>)> {
    let records = store.find_by_subject(subject).expect("find_by_subject succeeds");
    let mut sessions: Vec<_> =
        records.into_iter().map(|record| (record.token, record.data, record.expiry)).collect();
    sessions.sort();
    sessions
}

/// The tokens of a subject, sorted.
pub(super) fn tokens_of(store: &dyn Store, subject: &str) -> Vec<String> {
    sessions_of(store, subject).into_iter().map(|(token, ..)| token).collect()
}

pub(super) fn delete_by_subject(store: &dyn Store, subject: &str, except: Option<&str>) -> u64 {
    store.delete_by_subject(subject, except).expect("delete_by_subject succeeds")
}

/// Clause 14: sessions are found by the subject that they got last, with the data and the expiry
/// that `find` and a walk show, and are otherwise as before.
pub fn subject_finds_its_live_sessions<H: Harness>(harness: &H) {
    let store = unswept(harness);
    assert!(tokens_of(&store, "nobody").is_empty());
    create(&store, "a", Some("one"));
    create(&store, "b", None);
    create(&store, "c", Some("two"));
    create(&store, "without", None);
    assert_eq!(tokens_of(&store, "one"), ["a"]);
    assert!(update(&store, "b", b"b", &subject_of(b"b", Some("one"))));
    assert_eq!(tokens_of(&store, "one"), ["a", "b"]);
    assert_eq!(tokens_of(&store, "two"), ["c"]);

    for _ in 0..2 {
        assert!(update(&store, "b", b"b", &subject_of(b"b", Some("two"))));
    }
    assert_eq!(tokens_of(&store, "one"), ["a"]);
    assert_eq!(tokens_of(&store, "two"), ["b", "c"]);
    for token in ["c", "without"] {
        assert!(update(&store, token, token.as_bytes(), &subject_of(token.as_bytes(), None)));
    }
    assert_eq!(tokens_of(&store, "two"), ["b"]);

    let later = in_an_hour() + TimeDelta::hours(1);
    assert!(update(&store, "b", b"b", &Change::new(b"\0new\xff", later).with_subject(Some("one"))));
    assert!(tokens_of(&store, "two").is_empty());
    let sessions = sessions_of(&store, "one");
    assert_eq!(sessions.len(), 2);
    assert_eq!((&*sessions[1].0, &*sessions[1].1), ("b", &b"\0new\xff"[..]));
    assert_stored(later, sessions[1].2);
    let mut walked = walk(&store);
    walked.retain(|(token, ..)| token == "a" || token == "b");
    walked.sort();
    assert_eq!(sessions, walked);
    assert_eq!(walk(&store).len(), 4);
}

/// Clause 14: a live session's subject is the one by which it is found, and no other token has one.
pub fn subject_of_a_session_is_the_one_it_is_found_by<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let subject = |token: &str| store.subject_of(token).expect("subject_of succeeds");
    create(&store, "token", Some("one"));
    create(&store, "without", None);
    assert_eq!(subject("token").as_deref(), Some("one"));
    for token in ["without", "never-written", "", &"x".repeat(5_000)] {
        assert_eq!(subject(token), None);
    }

    assert!(update(&store, "token", b"token", &subject_of(b"data", Some("two"))));
    assert_eq!(subject("token").as_deref(), Some("two"));
    assert!(update(&store, "token", b"data", &rotation("new", b"data")));
    assert_eq!((subject("token"), subject("new").as_deref()), (None, Some("two")));
    assert!(update(&store, "new", b"data", &subject_of(b"data", None)));
    assert_eq!(subject("new"), None);

    assert!(update(&store, "new", b"data", &subject_of(b"data", Some("one"))));
    assert!(store.touch("new", an_hour_ago()).expect("touch succeeds"));
    assert_eq!(subject("new"), None, "it has expired");
    create(&store, "new", None);
    assert_eq!(subject("new"), None, "the expired session's subject isn't taken over");
}

/// Clause 14: writing a session leaves its subject alone, and what is written is found by the
/// subject.
pub fn writes_leave_the_subject_alone<H: Harness>(harness: &H) {
    let store = unswept(harness);
    create(&store, "token", Some("one"));
    let assert_data = |data: &[u8], expiry: DateTime<Utc>| {
        let sessions = sessions_of(&store, "one");
        assert_eq!(sessions.len(), 1);
        assert_eq!((&*sessions[0].0, &*sessions[0].1), ("token", data));
        assert_stored(expiry, sessions[0].2);
    };
    let later = |hours| in_an_hour() + TimeDelta::hours(hours);
    let expiry = later(1);
    commit(&store, "token", b"committed", expiry);
    assert_data(b"committed", expiry);
    let expiry = later(2);
    assert!(update(&store, "token", b"committed", &Change::new(b"updated", expiry)));
    assert_data(b"updated", expiry);
    let expiry = later(3);
    assert!(store.touch("token", expiry).expect("touch succeeds"));
    assert_data(b"updated", expiry);
    create(&store, "other", Some("two"));
    let expiry = later(4);
    let absorbing = Change::new(b"merged", expiry).absorbing("other", b"other");
    assert!(update(&store, "token", b"updated", &absorbing));
    assert_data(b"merged", expiry);
    assert!(tokens_of(&store, "two").is_empty(), "the absorbed session's subject isn't taken over");
    assert_eq!(store.delete_expired().expect("delete_expired succeeds"), 0);
    assert_data(b"merged", expiry);
}

/// Clauses 10 and 14: `create` writes the subject with the session; where it is refused, the
/// session that is there keeps its own; an expired one's goes with it.
pub fn created_session_has_its_own_subject<H: Harness>(harness: &H) {
    let store = unswept(harness);
    create(&store, "token", Some("one"));
    for subject in [Some("two"), Some("one"), None] {
        let taken = store.create("token", b"other", in_an_hour(), subject);
        assert!(matches!(taken, Err(Error::TokenTaken)), "{taken:?}");
        assert_eq!(tokens_of(&store, "one"), ["token"]);
        assert!(tokens_of(&store, "two").is_empty());
    }
    assert_eq!(sessions_of(&store, "one")[0].1, b"token");

    // The expired session is still there, or not; its subject is nobody's but its own.
    for (subject, one, two) in
        [(Some("two"), 0, 1), (None, 0, 0), (Some("one"), 1, 0), (Some("two"), 0, 1)]
    {
        assert!(store.touch("token", an_hour_ago()).expect("touch succeeds"));
        store.create("token", b"new", in_an_hour(), subject).expect("it has expired");
        assert_eq!(tokens_of(&store, "one").len(), one, "{subject:?}");
        assert_eq!(tokens_of(&store, "two").len(), two, "{subject:?}");
    }
    store.create("past", b"past", an_hour_ago(), Some("one")).expect("the token is free");
    assert!(tokens_of(&store, "one").is_empty(), "it was never live");
    assert_eq!(walk(&store).len(), 1);
    for invalid in ["", &"x".repeat(MAX_SUBJECT_LEN + 1)] {
        let refused = store.create("new", b"new", in_an_hour(), Some(invalid));
        assert!(matches!(refused, Err(Error::InvalidSubject { .. })), "{refused:?}");
        assert_eq!(found(&store, "new"), None);
    }
}

/// Clause 14: a session that `commit` puts in the place of an expired one has no subject, because
/// it is another session.
pub fn commit_over_an_expired_session_has_no_subject<H: Harness>(harness: &H) {
    let store = unswept(harness);
    // Twice, because a store may remove what has expired, and what it didn't find.
    for data in [b"first", b"later"] {
        store.create("token", data, in_an_hour(), Some("one")).expect("the token is free");
        assert_eq!(tokens_of(&store, "one"), ["token"]);
        assert!(store.touch("token", an_hour_ago()).expect("touch succeeds"));
        commit(&store, "token", b"new", in_an_hour());
        assert_eq!(found(&store, "token").as_deref(), Some(&b"new"[..]));
        assert!(tokens_of(&store, "one").is_empty(), "it is another session");
        assert_eq!(delete_by_subject(&store, "one", None), 0);
        assert!(found(&store, "token").is_some(), "it is nobody's");
        // Live, so it keeps the subject that it gets now.
        assert!(update(&store, "token", b"new", &subject_of(b"new", Some("two"))));
        commit(&store, "token", b"newer", in_an_hour());
        assert_eq!(tokens_of(&store, "two"), ["token"]);
        // Expired by a commit, and committed to again.
        commit(&store, "token", b"past", an_hour_ago());
        commit(&store, "token", b"past", an_hour_ago());
        commit(&store, "token", b"new", in_an_hour());
        assert!(tokens_of(&store, "two").is_empty(), "it is another session");
        store.delete("token").expect("delete succeeds");
    }
}

/// Clause 14: a rotated session keeps its subject, also where the new token was another's before.
pub fn subject_follows_a_rotation<H: Harness>(harness: &H) {
    let store = unswept(harness);
    create(&store, "old", Some("one"));
    create(&store, "reused", Some("two"));
    assert!(store.touch("reused", an_hour_ago()).expect("touch succeeds"));
    for (from, to) in [("old", "new"), ("new", "new"), ("new", "reused"), ("reused", "old")] {
        assert!(update(&store, from, b"old", &rotation(to, b"old")));
        assert_eq!(tokens_of(&store, "one"), [to]);
        assert!(tokens_of(&store, "two").is_empty());
    }
    create(&store, "taken", Some("two"));
    let refused = store.update("old", b"old", &rotation("taken", b"old"));
    assert!(matches!(refused, Err(Error::TokenTaken)));
    assert_eq!(tokens_of(&store, "one"), ["old"]);
    assert_eq!(tokens_of(&store, "two"), ["taken"]);

    // A session without a subject doesn't get that of an expired one under its new token.
    create(&store, "without", None);
    assert!(store.touch("taken", an_hour_ago()).expect("touch succeeds"));
    assert!(update(&store, "without", b"without", &rotation("taken", b"without")));
    assert!(tokens_of(&store, "two").is_empty());
    // Nor does a later session under a token that was rotated away get the subject of the rotated
    // one.
    assert!(update(&store, "old", b"old", &rotation("away", b"old")));
    create(&store, "old", None);
    assert_eq!(tokens_of(&store, "one"), ["away"]);
}

/// Clause 14: a session that was deleted, absorbed, has expired or was swept is not found by its
/// subject, and neither is a later session of the same token.
pub fn subject_ends_with_the_session<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for token in ["deleted", "absorbed", "expired", "swept", "updated", "live"] {
        create(&store, token, Some("one"));
    }
    store.delete("deleted").expect("delete succeeds");
    let absorbing = Change::new(b"live", in_an_hour()).absorbing("absorbed", b"absorbed");
    assert!(update(&store, "live", b"live", &absorbing));
    assert!(store.touch("swept", an_hour_ago()).expect("touch succeeds"));
    assert_eq!(store.delete_expired().expect("delete_expired succeeds"), 1);
    assert!(store.touch("expired", an_hour_ago()).expect("touch succeeds"));
    assert!(update(&store, "updated", b"updated", &Change::new(b"ended", an_hour_ago())));
    assert_eq!(tokens_of(&store, "one"), ["live"]);

    for token in ["deleted", "absorbed", "swept"] {
        commit(&store, token, b"somebody else's", in_an_hour());
    }
    create(&store, "expired", None);
    assert_eq!(tokens_of(&store, "one"), ["live"]);
    assert_eq!(store.delete_expired().expect("delete_expired succeeds"), 1);
    commit(&store, "updated", b"somebody else's", in_an_hour());
    assert_eq!(tokens_of(&store, "one"), ["live"]);
    assert_eq!(delete_by_subject(&store, "one", None), 1);
    assert_eq!(walk(&store).len(), 5);
}

/// Clauses 9, 10 and 14: only a live session gets a subject; a refused update creates and revives
/// none, and its subject isn't kept for later.
pub fn refused_subject_is_not_kept<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit(&store, "expired", b"data", an_hour_ago());
    commit(&store, "deleted", b"data", in_an_hour());
    store.delete("deleted").expect("delete succeeds");
    let overlong = "x".repeat(harness.limits().max_token_len + 1);
    for token in ["missing", "expired", "deleted", "", &overlong] {
        for subject in [Some("one"), None] {
            for data in [&b"data"[..], b""] {
                let set = update(&store, token, data, &subject_of(b"data", subject));
                assert!(!set, "a token of {} bytes", token.len());
            }
        }
        assert_eq!(found(&store, token), None);
    }
    assert!(tokens_of(&store, "one").is_empty());
    assert!(walk(&store).is_empty());

    create(&store, "live", Some("two"));
    for subject in [Some("one"), None] {
        assert!(!update(&store, "live", b"stale", &subject_of(b"data", subject)));
    }
    assert_eq!(tokens_of(&store, "two"), ["live"]);
    create(&store, "expired", None);
    commit(&store, "missing", b"data", in_an_hour());
    commit(&store, "deleted", b"data", in_an_hour());
    assert!(tokens_of(&store, "one").is_empty(), "a refused subject isn't kept for later");
}

/// Clause 13: all sessions of a subject but one end; those of others, and that one, stay.
pub fn deleting_by_subject_removes_all_but_one<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let delete = |subject, except| delete_by_subject(&store, subject, except);
    for token in ["a", "b", "c", "expired"] {
        create(&store, token, Some("one"));
    }
    create(&store, "d", Some("two"));
    create(&store, "e", None);
    assert!(store.touch("expired", an_hour_ago()).expect("touch succeeds"));

    assert_eq!(delete("nobody", None), 0);
    assert_eq!(delete("one", Some("b")), 2);
    assert_eq!(delete("one", Some("b")), 0);
    assert_eq!(tokens_of(&store, "one"), ["b"]);
    assert_eq!((found(&store, "a"), found(&store, "c")), (None, None));
    // Another's session, or none, may be the exception.
    assert_eq!(delete("one", Some("d")), 1);
    assert_eq!(delete("two", Some("missing")), 1);
    assert!(tokens_of(&store, "one").is_empty() && tokens_of(&store, "two").is_empty());
    assert_eq!(found(&store, "e").as_deref(), Some(&b"e"[..]), "it has no subject");
    assert_eq!(walk(&store).len(), 1);

    // An expired session may be the exception, and is no exception then; nor is an impossible
    // token.
    let overlong = "x".repeat(harness.limits().max_token_len + 1);
    for except in ["expired", "", &overlong] {
        store.create("f", b"f", in_an_hour(), Some("one")).expect("the token is free");
        assert_eq!(delete("one", Some(except)), 1);
        assert_eq!(found(&store, "f"), None);
    }
}

/// Clause 14: subjects that differ in any byte are different; quotes and wildcards are data; an
/// empty or overlong one is refused, and what was there before stays.
pub fn subjects_are_compared_byte_for_byte<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let longest = "ü".repeat(MAX_SUBJECT_LEN / 2) + "x";
    let subjects = [
        "ada",
        "Ada",
        "ada ",
        " ada",
        "áda",
        "a\u{301}da",
        "ada\0",
        "1",
        "01",
        "1.0",
        "' OR 1=1 --",
        "%",
        "_da",
        "\\",
        "💥",
        &longest,
    ];
    for (n, subject) in subjects.iter().enumerate() {
        // Both ways to give a session its subject.
        let token = format!("token-{n}");
        create(&store, &token, (n % 2 == 0).then_some(*subject));
        let data = token.as_bytes();
        assert!(n % 2 == 0 || update(&store, &token, data, &subject_of(data, Some(subject))));
    }
    for (n, subject) in subjects.iter().enumerate() {
        assert_eq!(tokens_of(&store, subject), [format!("token-{n}")], "{subject:?}");
    }
    for invalid in ["", &"x".repeat(MAX_SUBJECT_LEN + 1), &"ü".repeat(MAX_SUBJECT_LEN)] {
        let refused = store.update("token-0", b"token-0", &subject_of(b"new", Some(invalid)));
        assert!(matches!(refused, Err(Error::InvalidSubject { .. })), "{refused:?}");
        let refused = store.create("new", b"new", in_an_hour(), Some(invalid));
        assert!(matches!(refused, Err(Error::InvalidSubject { .. })), "{refused:?}");
        assert!(tokens_of(&store, invalid).is_empty());
        assert_eq!(delete_by_subject(&store, invalid, None), 0);
    }
    assert_eq!(tokens_of(&store, "ada"), ["token-0"]);
    assert_eq!(found(&store, "token-0").as_deref(), Some(&b"token-0"[..]));
    for (n, subject) in subjects.iter().enumerate() {
        assert_eq!(delete_by_subject(&store, subject, None), 1, "{subject:?}");
        assert_eq!(walk(&store).len(), subjects.len() - n - 1);
    }
}

/// Clauses 13, 14, 18 and 21: while threads log in, renew and log out, and others clean up and log
/// everybody out, nobody gets an error, and in the end the index is true.
pub fn racing_logins_and_logouts_leave_a_true_index<H: Harness>(harness: &H) {
    const THREADS: usize = 6;
    let store = unswept(harness);
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for i in 0..THREADS {
            let (store, start) = (&store, &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..25 {
                    let (token, renewed) = (format!("{i}-{n}"), format!("{i}-{n}-renewed"));
                    commit(store, &token, b"data", in_an_hour());
                    let login = subject_of(b"data", Some("one"));
                    let logged_in = update(store, &token, b"data", &login);
                    assert!(logged_in, "nobody else ends a session before it has the subject");
                    // Somebody may have logged it out in the meantime.
                    store
                        .update(&token, b"data", &rotation(&renewed, b"data"))
                        .expect("it answers");
                    match n % 5 {
                        0 => store.delete(&renewed).expect("it succeeds"),
                        1 => drop(store.touch(&renewed, an_hour_ago()).expect("it answers")),
                        2 => drop(store.delete_expired().expect("it succeeds")),
                        3 => drop(
                            store.delete_by_subject("one", Some(&renewed)).expect("it succeeds"),
                        ),
                        _ => drop(store.find_by_subject("one").expect("it succeeds")),
                    }
                }
            });
        }
    });
    let mut live: Vec<_> = walk(&store).into_iter().map(|(token, _, _)| token).collect();
    live.sort();
    assert_eq!(tokens_of(&store, "one"), live, "every live session has the subject");
    assert_eq!(delete_by_subject(&store, "one", None), live.len() as u64);
    assert!(walk(&store).is_empty() && tokens_of(&store, "one").is_empty());
}

/// Clause 13, for all sessions at once: after `delete_all` nothing is found under any token, nor
/// left of what was there, expired sessions included.
pub fn delete_all_ends_every_session<H: Harness>(harness: &H) {
    let store = unswept(harness);
    assert_eq!(store.delete_all().expect("delete_all succeeds"), 0);
    for n in 0..20 {
        create(&store, &format!("{n}"), Some(if n % 2 == 0 { "even" } else { "odd" }));
    }
    create(&store, "nobody's", None);
    assert!(update(&store, "7", b"7", &rotation("new", b"7").with_subject(Some("new"))));
    store.commit("expired", b"data", Utc::now() - TimeDelta::hours(1)).expect("it is stored");
    assert_eq!(store.delete_all().expect("delete_all succeeds"), 22);
    assert_eq!(store.count().expect("count answers"), 0);
    assert_eq!(store.all().expect("the walk succeeds").len(), 0);
    for token in ["0", "7", "new", "nobody's", "expired"] {
        assert_eq!(loaded(&store, token), Loaded::Missing);
        assert!(!update(&store, token, token.as_bytes(), &subject_of(b"data", None)));
    }
    for token in ["0", "new"] {
        store.commit(token, b"data", in_an_hour()).expect("commit succeeds");
    }
    for subject in ["even", "odd", "new"] {
        assert!(tokens_of(&store, subject).is_empty(), "a new session isn't the old one's user's");
    }
    assert_eq!(store.delete_expired().expect("the sweep succeeds"), 0);
    assert_eq!(store.count().expect("count answers"), 2);
}
