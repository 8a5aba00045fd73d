//! Clauses 9 to 11, as far as one thread can see them and without a side table: the conditional
//! writes, `create` and `update`.

use chrono::TimeDelta;

use crate::Harness;
use crate::calls::{
    an_hour_ago, assert_not_revived, assert_stored, commit, found, in_an_hour, loaded, rotation,
    unswept, update, walk,
};
use store_core::{Change, Error, Loaded, Rotation, Store};

/// Clause 10: `create` makes a session that is new, replaces an expired one, and leaves a live one
/// as it is.
pub fn create_makes_new_sessions_only<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let expiry = in_an_hour();
    store.create("token", b"\0data\xff", expiry, None).expect("the token is free");
    let sessions = walk(&store);
    assert_eq!(sessions.len(), 1);
    assert_eq!((&*sessions[0].0, &*sessions[0].1), ("token", &b"\0data\xff"[..]));
    assert_stored(expiry, sessions[0].2);

    let later = expiry + TimeDelta::hours(1);
    for data in [&b"other"[..], b"\0data\xff", b""] {
        let taken = store.create("token", data, later, None);
        assert!(matches!(taken, Err(Error::TokenTaken)), "{taken:?}");
        assert_eq!(walk(&store), sessions, "the session stays as it was");
    }

    commit(&store, "expired", b"a rather long first value", an_hour_ago());
    commit(&store, "deleted", b"a rather long first value", in_an_hour());
    store.delete("deleted").expect("delete succeeds");
    for token in ["expired", "deleted"] {
        store.create(token, b"new", expiry, None).expect("the session has ended");
        assert_eq!(found(&store, token).as_deref(), Some(&b"new"[..]));
    }
    assert_eq!(walk(&store).len(), 3);
    assert_eq!(
        store.delete_expired().expect("delete_expired succeeds"),
        0,
        "no second row is left"
    );

    store.create("past", b"data", an_hour_ago(), None).expect("an expiry may be in the past");
    assert_eq!(found(&store, "past"), None);
    store.create("past", b"data", expiry, None).expect("it was never live");
    assert_eq!(found(&store, "past").as_deref(), Some(&b"data"[..]));
}

/// Clause 9: a change that keeps the expiry leaves it where a touch has moved it, whatever else it
/// does, and makes or revives nothing.
pub fn update_can_keep_the_expiry<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit(&store, "token", b"one", in_an_hour());
    let keeping = |data| Change::keeping_expiry(data);
    let later = in_an_hour() + TimeDelta::hours(1);
    let sooner = in_an_hour() - TimeDelta::minutes(10);
    let rotation = keeping(b"three").with_rotation(Rotation::new("new"));
    for (expiry, token, current, newest, data, change) in [
        (later, "token", &b"one"[..], "token", &b"two"[..], keeping(b"two")),
        (sooner, "token", b"two", "new", b"three", rotation),
        (later, "new", b"three", "new", b"three", keeping(b"three").with_subject(None)),
    ] {
        assert!(store.touch(token, expiry).expect("touch succeeds"));
        assert!(update(&store, token, current, &change));
        let [(stored_token, stored_data, stored_expiry)] = &walk(&store)[..] else {
            panic!("there is one session");
        };
        assert_eq!((&**stored_token, &**stored_data), (newest, data));
        assert_stored(expiry, *stored_expiry);
    }

    commit(&store, "expired", b"data", an_hour_ago());
    for token in ["expired", "missing"] {
        assert!(!update(&store, token, b"data", &keeping(b"new")), "{token}");
        assert_eq!(found(&store, token), None);
        let created = store.create_with(token, &keeping(b"new"));
        assert!(matches!(created, Err(Error::InvalidOption { .. })), "{created:?}");
        assert_eq!(found(&store, token), None);
    }
}

/// Clause 9: `update` writes only where the live session's data is exactly `current`.
pub fn update_needs_the_current_data<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let later = in_an_hour() + TimeDelta::hours(1);
    let set =
        |current: &[u8], data: &[u8]| update(&store, "token", current, &Change::new(data, later));
    commit(&store, "token", b"one", in_an_hour());
    for stale in [&b""[..], b"on", b"ONE", b"one ", b"one\0", b"two"] {
        assert!(!set(stale, b"wrong"), "{stale:?} is not the current data");
        assert!(!update(&store, "token", stale, &rotation("new", b"wrong")), "{stale:?}");
    }
    assert_eq!(found(&store, "token").as_deref(), Some(&b"one"[..]));

    assert!(set(b"one", b"two"));
    let sessions = walk(&store);
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].1, b"two");
    assert_stored(later, sessions[0].2);

    for _ in 0..2 {
        assert!(set(b"two", b"two"), "the same bytes and expiry are still an update");
    }
    assert!(set(b"two", b""));
    assert!(set(b"", b"\0"));
    assert!(!set(b"", b"wrong"));
    assert_eq!(found(&store, "token").as_deref(), Some(&b"\0"[..]));

    // A difference at the very end of much data is a difference.
    let long = vec![b'x'; 60_000];
    let mut other_end = long.clone();
    other_end[59_999] = b'y';
    assert!(set(b"\0", &long));
    assert!(!set(&other_end, b"wrong"));
    assert!(!set(&long[..59_999], b"wrong"));
    assert!(set(&long, b"\0"));

    assert!(update(&store, "token", b"\0", &Change::new(b"ended", an_hour_ago())));
    assert_eq!(found(&store, "token"), None, "an update may end the session");
}

/// Clause 9: `update` never creates a session, nor revives a deleted, rotated or expired one.
pub fn update_never_creates_or_revives<H: Harness>(harness: &H) {
    let store = unswept(harness);
    assert_not_revived(&store, "update", |token| {
        let revived = Change::new(b"revived", in_an_hour());
        let of_data = store.update(token, b"data", &revived)?;
        let of_nothing = store.update(token, b"", &revived)?;
        let to_itself = store.update(token, b"data", &rotation(token, b"revived"))?;
        // Nor does it where it is asked to clear the subject, which needs no index.
        let without_subject = store.update(token, b"data", &revived.with_subject(None))?;
        Ok(of_data | of_nothing | to_itself | without_subject)
    });
}

/// Clause 9: a change absorbs sessions that are live and have the data it names; they end with it,
/// and others stay.
pub fn update_absorbs_other_sessions<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let merged = || Change::new(b"merged", in_an_hour());
    for token in ["mine", "one", "two", "three", "bystander"] {
        commit(&store, token, token.as_bytes(), in_an_hour());
    }
    commit(&store, "expired", b"expired", an_hour_ago());
    assert!(update(&store, "mine", b"mine", &merged().absorbing("one", b"one")));
    assert_eq!(found(&store, "mine").as_deref(), Some(&b"merged"[..]));
    assert_eq!(found(&store, "one"), None);
    assert_eq!(walk(&store).len(), 4);

    // Each is live at most once.
    assert!(!update(&store, "mine", b"merged", &merged().absorbing("one", b"one")));
    let both = Change::new(b"merged again", in_an_hour())
        .absorbing("two", b"two")
        .absorbing("three", b"three");
    assert!(update(&store, "mine", b"merged", &both.with_rotation(Rotation::new("new"))));
    let mut sessions: Vec<_> =
        walk(&store).into_iter().map(|(token, data, _)| (token, data)).collect();
    sessions.sort();
    let left = [("bystander", &b"bystander"[..]), ("new", b"merged again")];
    assert_eq!(sessions, left.map(|(token, data)| (token.to_owned(), data.to_vec())));
    for ended in ["one", "two", "three"] {
        assert_eq!(found(&store, ended), None);
        assert!(!matches!(loaded(&store, ended), Loaded::Live { .. }));
        assert!(!store.touch(ended, in_an_hour()).expect("touch answers"));
    }
    store.create("two", b"again", in_an_hour(), None).expect("its token is free");
}

/// Clauses 7, 9 and 10: an update that is refused, for whatever reason, leaves every session as it
/// was.
pub fn refused_update_changes_nothing<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let limits = harness.limits();
    let oversized = vec![b'x'; limits.max_data_len + 1];
    let overlong = "x".repeat(limits.max_token_len + 1);
    for token in ["mine", "other", "third", "taken"] {
        commit(&store, token, token.as_bytes(), in_an_hour());
    }
    commit(&store, "expired", b"expired", an_hour_ago());
    commit(&store, "deleted", b"deleted", in_an_hour());
    store.delete("deleted").expect("delete succeeds");
    let state = || {
        let mut sessions = walk(&store);
        sessions.sort();
        sessions
    };
    let before = state();
    let later = in_an_hour() + TimeDelta::hours(1);
    let change = || {
        let rotation = Rotation::new("new");
        Change::new(b"after", later).with_rotation(rotation).absorbing("other", b"other")
    };

    let is_refused = |what: &str, current: &[u8], change: &Change<'_>| {
        assert!(!update(&store, "mine", current, change), "{what}");
        assert_eq!(state(), before, "{what}");
    };
    is_refused("other data", b"stale", &change());
    is_refused("absorbed other data", b"mine", &change().absorbing("third", b"stale"));
    is_refused("absorbed no data", b"mine", &change().absorbing("third", b""));
    is_refused("absorbed an expired session", b"mine", &change().absorbing("expired", b"expired"));
    is_refused("absorbed a deleted session", b"mine", &change().absorbing("deleted", b"deleted"));
    is_refused("absorbed a missing session", b"mine", &change().absorbing("missing", b""));
    is_refused("absorbed itself", b"mine", &change().absorbing("mine", b"mine"));
    is_refused("absorbed its own new token", b"mine", &change().absorbing("new", b"after"));
    is_refused("absorbed an impossible token", b"mine", &change().absorbing(&overlong, b"other"));
    // The order of those that it absorbs doesn't matter.
    let other_first = Change::new(b"after", later).absorbing("third", b"stale");
    is_refused("the first of two", b"mine", &other_first.absorbing("other", b"other"));

    let fails = |what: &str, token: &str, change: &Change<'_>, is_right: fn(&Error) -> bool| {
        match store.update(token, token.as_bytes(), change) {
            Err(error) => assert!(is_right(&error), "{what}: {error:?}"),
            Ok(updated) => panic!("{what}: {updated}"),
        }
        assert_eq!(state(), before, "{what}");
    };
    let is_taken = |error: &Error| matches!(error, Error::TokenTaken);
    let taken = change().with_rotation(Rotation::new("taken"));
    fails("a taken token", "mine", &taken, is_taken);
    let absorbed = change().with_rotation(Rotation::new("other"));
    fails("the token of a session that it absorbs", "mine", &absorbed, is_taken);
    for invalid in ["", &overlong] {
        let rotation = change().with_rotation(Rotation::new(invalid));
        fails("an invalid token", "mine", &rotation, |error| {
            matches!(error, Error::InvalidToken(_))
        });
    }
    let mut too_large = change();
    too_large.data = oversized.into();
    fails("too much data", "mine", &too_large, |error| matches!(error, Error::DataTooLarge { .. }));
    for subject in [String::new(), "x".repeat(store_core::MAX_SUBJECT_LEN + 1)] {
        fails("an invalid subject", "mine", &change().with_subject(Some(&subject)), |error| {
            matches!(error, Error::InvalidSubject { .. })
        });
    }
    // What a store can't represent is its own; what it accepts isn't asked here.
    for expiry in
        [chrono::DateTime::<chrono::Utc>::MAX_UTC, chrono::DateTime::<chrono::Utc>::MIN_UTC]
    {
        if store.create("probe", b"probe", expiry, None).is_err() {
            let mut out_of_range = change();
            out_of_range.expiry = Some(expiry);
            fails("an expiry out of range", "mine", &out_of_range, |error| {
                matches!(error, Error::ExpiryOutOfRange { .. })
            });
        }
        store.delete("probe").expect("delete succeeds");
    }
    assert!(update(&store, "mine", b"mine", &change()), "the change itself was possible");
}

/// Clause 11: a rotation leaves one live session, under the new token, with the data and expiry of
/// the change.
pub fn rotation_moves_the_whole_session<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let expiry = in_an_hour();
    let data = b"\0data\xff";
    commit(&store, "old", data, expiry);
    commit(&store, "expired", b"expired", an_hour_ago());
    for (from, to) in [("old", "new"), ("new", "new"), ("new", "expired"), ("expired", "old")] {
        let change = Change::new(data, expiry).with_rotation(Rotation::new(to));
        assert!(update(&store, from, data, &change), "{from} to {to}");
        let sessions = walk(&store);
        let stored = sessions[0].2;
        assert_eq!(sessions, [(to.to_owned(), data.to_vec(), stored)]);
        assert_stored(expiry, stored);
        assert_eq!(found(&store, to).as_deref(), Some(&data[..]));
        assert_eq!(loaded(&store, to), Loaded::Live { data: data.to_vec(), expiry: stored });
        if from != to {
            assert_eq!(found(&store, from), None, "{from} to {to}");
            assert!(!store.touch(from, in_an_hour()).expect("touch answers"), "{from} to {to}");
            assert!(!update(&store, from, data, &Change::new(b"wrong", expiry)), "{from} to {to}");
        }
    }
    assert_eq!(
        store.delete_expired().expect("delete_expired succeeds"),
        0,
        "no second row is left"
    );

    let later = expiry + TimeDelta::hours(1);
    let change = Change::new(b"changed", later).with_rotation(Rotation::new("changed"));
    assert!(update(&store, "old", data, &change));
    let sessions = walk(&store);
    assert_eq!(sessions.len(), 1);
    assert_eq!((&*sessions[0].0, &*sessions[0].1), ("changed", &b"changed"[..]));
    assert_stored(later, sessions[0].2);
}

/// Clause 11: where the new token is taken, a rotation is an error and both sessions stay as they
/// were.
pub fn rotation_to_a_taken_token_changes_nothing<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit(&store, "mine", b"mine", in_an_hour());
    commit(&store, "theirs", b"theirs", in_an_hour());
    let mut before = walk(&store);
    for data in [&b"mine"[..], b"changed"] {
        let refused = store.update("mine", b"mine", &rotation("theirs", data));
        assert!(matches!(refused, Err(Error::TokenTaken)), "{refused:?}");
        let mut after = walk(&store);
        before.sort();
        after.sort();
        assert_eq!(after, before);
    }
}

/// Clause 11: a rotation of a missing, deleted or expired session is `false` and creates nothing.
pub fn rotation_of_a_missing_session_is_false<H: Harness>(harness: &H) {
    let store = unswept(harness);
    assert_not_revived(&store, "rotation", |token| {
        store.update(token, b"data", &rotation("target", b"data"))
    });
    assert_eq!(found(&store, "target"), None);
    commit(&store, "taken", b"taken", in_an_hour());
    let rotated = store.update("missing", b"data", &rotation("taken", b"data"));
    assert!(!rotated.expect("there is nothing to rotate"));
    assert_eq!(found(&store, "taken").as_deref(), Some(&b"taken"[..]));
}
