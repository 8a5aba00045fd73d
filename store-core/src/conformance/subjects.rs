//! The index of subjects.

use std::sync::Barrier;
use std::thread;

use super::{Harness, an_hour_ago, commit, found, in_an_hour, unswept, walk};
use crate::{Error, MAX_SUBJECT_LEN, Store, SubjectStore};

fn tie(store: &dyn SubjectStore, token: &str, subject: &str) {
    assert!(
        store.set_subject(token, Some(subject)).expect("set_subject succeeds"),
        "{token} is live"
    );
}

/// The tokens of a subject, sorted.
fn tokens_of(store: &dyn SubjectStore, subject: &str) -> Vec<String> {
    let mut tokens = store.find_by_subject(subject).expect("find_by_subject succeeds");
    tokens.sort();
    tokens
}

/// Sessions are found by the subject that they were tied to last, and are otherwise as before.
pub fn subject_finds_its_live_sessions<H: Harness<Store: SubjectStore>>(harness: &H) {
    let store = unswept(harness);
    assert!(tokens_of(&store, "nobody").is_empty());
    for token in ["a", "b", "c", "untied"] {
        commit(&store, token, token.as_bytes(), in_an_hour());
    }
    tie(&store, "a", "one");
    tie(&store, "b", "one");
    tie(&store, "c", "two");
    assert_eq!(tokens_of(&store, "one"), ["a", "b"]);
    assert_eq!(tokens_of(&store, "two"), ["c"]);

    tie(&store, "b", "two");
    tie(&store, "b", "two");
    assert_eq!(tokens_of(&store, "one"), ["a"]);
    assert_eq!(tokens_of(&store, "two"), ["b", "c"]);
    assert!(store.set_subject("c", None).expect("set_subject succeeds"));
    assert!(store.set_subject("untied", None).expect("set_subject succeeds"));
    assert_eq!(tokens_of(&store, "two"), ["b"]);

    // Writing the session leaves the tie alone, and the tie the session.
    commit(&store, "b", b"new", in_an_hour());
    assert!(store.replace("b", b"new", b"newer", in_an_hour()).expect("replace succeeds"));
    assert!(store.touch("b", in_an_hour()).expect("touch succeeds"));
    assert_eq!(tokens_of(&store, "two"), ["b"]);
    assert_eq!(found(&store, "b").as_deref(), Some(&b"newer"[..]));
    assert_eq!(walk(&store).len(), 4);
}

/// A renamed session keeps its subject, also where the new token was another's before.
pub fn subject_follows_a_rename<H: Harness<Store: SubjectStore>>(harness: &H) {
    let store = unswept(harness);
    commit(&store, "old", b"data", in_an_hour());
    tie(&store, "old", "one");
    commit(&store, "reused", b"data", in_an_hour());
    tie(&store, "reused", "two");
    assert!(store.touch("reused", an_hour_ago()).expect("touch succeeds"));
    for (from, to) in [("old", "new"), ("new", "new"), ("new", "reused"), ("reused", "old")] {
        assert!(store.rename(from, to).expect("rename succeeds"));
        assert_eq!(tokens_of(&store, "one"), [to]);
        assert!(tokens_of(&store, "two").is_empty());
    }
    commit(&store, "taken", b"data", in_an_hour());
    tie(&store, "taken", "two");
    assert!(matches!(store.rename("old", "taken"), Err(Error::TokenTaken)));
    assert_eq!(tokens_of(&store, "one"), ["old"]);
    assert_eq!(tokens_of(&store, "two"), ["taken"]);
}

/// A session that was deleted, has expired or was swept is not found by its subject, and neither is a later
/// session of the same token.
pub fn subject_ends_with_the_session<H: Harness<Store: SubjectStore>>(harness: &H) {
    let store = unswept(harness);
    for token in ["deleted", "expired", "swept", "live"] {
        commit(&store, token, b"data", in_an_hour());
        tie(&store, token, "one");
    }
    store.delete("deleted").expect("delete succeeds");
    assert!(store.touch("swept", an_hour_ago()).expect("touch succeeds"));
    assert_eq!(store.delete_expired().expect("the sweep succeeds"), 1);
    assert!(store.touch("expired", an_hour_ago()).expect("touch succeeds"));
    assert_eq!(tokens_of(&store, "one"), ["live"]);

    for token in ["deleted", "swept"] {
        commit(&store, token, b"somebody else's", in_an_hour());
    }
    assert_eq!(tokens_of(&store, "one"), ["live"]);
}

/// Only a live session can be tied; tying creates and revives none.
pub fn setting_a_subject_never_creates_or_revives<H: Harness<Store: SubjectStore>>(harness: &H) {
    let store = unswept(harness);
    commit(&store, "expired", b"data", an_hour_ago());
    commit(&store, "deleted", b"data", in_an_hour());
    store.delete("deleted").expect("delete succeeds");
    let overlong = "x".repeat(harness.limits().max_token_len + 1);
    for token in ["missing", "expired", "deleted", "", &overlong] {
        for subject in [Some("one"), None] {
            let tied = store.set_subject(token, subject).expect("it answers");
            assert!(!tied, "a token of {} bytes", token.len());
        }
        assert_eq!(found(&store, token), None);
    }
    assert!(tokens_of(&store, "one").is_empty());
    assert!(walk(&store).is_empty());

    commit(&store, "expired", b"data", in_an_hour());
    commit(&store, "missing", b"data", in_an_hour());
    assert!(tokens_of(&store, "one").is_empty(), "a refused tie isn't kept for later");
}

/// All sessions of a subject but one end; those of others, and that one, stay.
pub fn deleting_by_subject_removes_all_but_one<H: Harness<Store: SubjectStore>>(harness: &H) {
    let store = unswept(harness);
    let delete = |subject, except| {
        store.delete_by_subject(subject, except).expect("delete_by_subject succeeds")
    };
    for token in ["a", "b", "c", "d", "e"] {
        commit(&store, token, token.as_bytes(), in_an_hour());
    }
    for token in ["a", "b", "c"] {
        tie(&store, token, "one");
    }
    tie(&store, "d", "two");
    commit(&store, "expired", b"data", in_an_hour());
    tie(&store, "expired", "one");
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
}

/// Subjects that differ in any byte are different; quotes and wildcards are data; an empty or overlong one is
/// refused, and what was there before stays.
pub fn subjects_are_compared_byte_for_byte<H: Harness<Store: SubjectStore>>(harness: &H) {
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
        commit(&store, &format!("token-{n}"), b"data", in_an_hour());
        tie(&store, &format!("token-{n}"), subject);
    }
    for (n, subject) in subjects.iter().enumerate() {
        assert_eq!(tokens_of(&store, subject), [format!("token-{n}")], "{subject:?}");
    }
    for invalid in ["", &"x".repeat(MAX_SUBJECT_LEN + 1), &"ü".repeat(MAX_SUBJECT_LEN)] {
        let refused = store.set_subject("token-0", Some(invalid));
        assert!(matches!(refused, Err(Error::InvalidSubject { .. })), "{refused:?}");
        assert!(tokens_of(&store, invalid).is_empty());
    }
    assert_eq!(tokens_of(&store, "ada"), ["token-0"]);
    for (n, subject) in subjects.iter().enumerate() {
        assert_eq!(store.delete_by_subject(subject, None).expect("it succeeds"), 1, "{subject:?}");
        assert_eq!(walk(&store).len(), subjects.len() - n - 1);
    }
}

/// While threads log in, renew and log out, and others sweep and log everybody out, nobody gets an error, and in
/// the end the index is true.
pub fn racing_log_ins_and_log_outs_leave_a_true_index<H: Harness<Store: SubjectStore>>(
    harness: &H,
) {
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
                    let tied = store.set_subject(&token, Some("one")).expect("it answers");
                    assert!(tied, "nobody else ends a session before it is tied");
                    // Somebody may have logged it out meanwhile.
                    store.rename(&token, &renewed).expect("it answers");
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
    assert_eq!(tokens_of(&store, "one"), live, "every live session was tied, and is found");
    assert_eq!(store.delete_by_subject("one", None).expect("it succeeds"), live.len() as u64);
    assert!(walk(&store).is_empty() && tokens_of(&store, "one").is_empty());
}
