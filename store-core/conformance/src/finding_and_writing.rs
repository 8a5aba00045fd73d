//! Clauses 1 to 9 and 13, as far as one thread can see them: finding, and the writes that set no
//! condition on the data.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::Harness;
use crate::calls::{
    an_hour_ago, assert_not_revived, assert_stored, commit, found, in_an_hour, loaded, rotation,
    unswept, update, walk,
};
use store_core::{Change, Error, Loaded, Store};

/// Clause 1: a token never written, or deleted, finds nothing.
pub fn missing_sessions_are_not_found<H: Harness>(harness: &H) {
    let store = unswept(harness);
    assert_eq!(found(&store, "never-written"), None);
    commit(&store, "token", b"data", in_an_hour());
    assert_eq!(found(&store, "never-written"), None);
    store.delete("token").expect("delete succeeds");
    assert_eq!(found(&store, "token"), None);
}

/// Clause 1: an expired session is not found, nor shown by `all`.
pub fn expired_session_is_not_found<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit(&store, "token", b"data", an_hour_ago());
    assert_eq!(found(&store, "token"), None);
    assert!(store.all().expect("all succeeds").is_empty());
}

/// Clause 15: a session that ends soon after [`now`](Store::now) is live, and one that has ended by
/// then isn't.
pub fn now_is_by_the_clock_that_decides<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let some = TimeDelta::minutes(10);
    commit(&store, "live", b"data", store.now() + some);
    assert_eq!(found(&store, "live").as_deref(), Some(&b"data"[..]));
    // Within what the column of an expiry keeps.
    commit(&store, "over", b"data", store.now() - TimeDelta::milliseconds(10));
    assert_eq!(found(&store, "over"), None);
}

/// Clause 1: empty, malformed and endless tokens find nothing and return no error, also from the
/// operations that answer yes or no.
pub fn impossible_tokens_are_not_found<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let max = harness.limits().max_token_len;
    let new = Change::new(b"new", in_an_hour());
    commit(&store, "live", b"live", in_an_hour());
    for token in ["", "\0", "\u{fffd}", "💥", " ", &"x".repeat(max + 1), &"x".repeat(100_000)] {
        let len = token.len();
        assert_eq!(found(&store, token), None, "token of {len} bytes");
        assert_eq!(loaded(&store, token), Loaded::Missing, "token of {len} bytes");
        store.delete(token).expect("delete of a missing session succeeds");
        assert!(!store.touch(token, in_an_hour()).expect("touch answers"), "{len} bytes");
        assert!(!update(&store, token, b"", &new), "{len} bytes");
        assert!(!update(&store, token, b"", &rotation("new", b"new")), "{len} bytes");
        assert!(
            !update(&store, "live", b"live", &new.clone().absorbing(token, b"")),
            "{len} bytes"
        );
    }
    let all = store.all().expect("all succeeds");
    assert_eq!(all, [("live".to_owned(), b"live".to_vec())].into());
}

/// Clause 2: `find` and `all` return exactly the bytes committed, up to the store's limit.
pub fn data_comes_back_byte_for_byte<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let max = harness.limits().max_data_len;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let mut samples: Vec<Vec<u8>> = vec![
        b"".into(),
        b"\0".into(),
        b"\0\0\0".into(),
        b"\xff\xfe\x80 not UTF-8 \xc3".into(),
        b"NULL".into(),
        b"1.50".into(),
        b"x'00'".into(),
        "ünïcödé".into(),
        every_byte.clone(),
    ];
    for len in [1, 65_535, 65_536, 65_537, 1 << 20, max] {
        if len <= max {
            samples.push(every_byte.iter().copied().cycle().take(len).collect());
        }
    }
    for (i, data) in samples.iter().enumerate() {
        commit(&store, &format!("token-{i}"), data, in_an_hour());
        // The other ways to write and to move data keep it as well.
        let created = store.create(&format!("created-{i}"), data, in_an_hour(), None);
        created.expect("create succeeds");
        commit(&store, &format!("updated-{i}"), b"old", in_an_hour());
        let new = Change::new(data, in_an_hour());
        assert!(update(&store, &format!("updated-{i}"), b"old", &new));
        commit(&store, &format!("source-{i}"), data, in_an_hour());
        let rotated = format!("rotated-{i}");
        assert!(update(&store, &format!("source-{i}"), data, &rotation(&rotated, data)));
        assert!(store.touch(&rotated, in_an_hour()).expect("touch succeeds"));
    }
    let all = store.all().expect("all succeeds");
    for (i, data) in samples.iter().enumerate() {
        let len = data.len();
        for way in ["token", "created", "updated", "rotated"] {
            let token = format!("{way}-{i}");
            assert!(found(&store, &token).as_ref() == Some(data), "{len} bytes, {way}, from find");
            assert!(all.get(&token) == Some(data), "{len} bytes, {way}, from all");
        }
    }
    assert_eq!(all.len(), 4 * samples.len());
}

/// Clause 3: `commit` of an existing token overwrites data and expiry, and there is one session.
pub fn commit_overwrites_data_and_expiry<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit(&store, "token", b"a rather long first value", in_an_hour());
    let later = in_an_hour() + TimeDelta::hours(1);
    commit(&store, "token", b"short", later);
    let sessions = walk(&store);
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].1, b"short");
    assert_stored(later, sessions[0].2);
    commit(&store, "token", b"past", an_hour_ago());
    assert_eq!(found(&store, "token"), None, "the expiry was overwritten, too");
}

/// Clause 3: committing over an expired session leaves one row, never two.
pub fn commit_over_an_expired_session_leaves_one<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit(&store, "token", b"old", an_hour_ago());
    commit(&store, "token", b"new", in_an_hour());
    assert_eq!(found(&store, "token").as_deref(), Some(&b"new"[..]));
    assert_eq!(walk(&store).len(), 1);
    assert_eq!(
        store.delete_expired().expect("delete_expired succeeds"),
        0,
        "no second row is left"
    );
    assert_eq!(found(&store, "token").as_deref(), Some(&b"new"[..]));
}

/// Clause 4: `commit` with an expiry in the past is accepted and leaves nothing findable.
pub fn commit_in_the_past_leaves_nothing_findable<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for (i, expiry) in [
        // Not nearer, because the store's clock may be a server's.
        Utc::now() - TimeDelta::minutes(1),
        an_hour_ago(),
        DateTime::UNIX_EPOCH + TimeDelta::days(365),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("token-{i}");
        commit(&store, &token, b"live", in_an_hour());
        commit(&store, &token, b"dead", expiry);
        assert_eq!(found(&store, &token), None, "expiry {expiry}");
    }
    assert!(walk(&store).is_empty());
}

/// Clause 5: tokens that differ in any byte are different tokens, or refused.
pub fn tokens_are_compared_byte_for_byte<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let variants = [
        "abc",
        "ABC",
        "Abc",
        "abc ",
        " abc",
        "abc\t",
        "ábc",
        "a\u{301}bc",
        "abc\0",
        "abc\0d",
        "ab",
    ];
    let mut accepted = Vec::new();
    for token in variants {
        match store.commit(token, token.as_bytes(), in_an_hour()) {
            Ok(()) => accepted.push(token),
            Err(Error::InvalidToken(_)) => {}
            Err(error) => panic!("variant {:?} of a token: {error}", token.as_bytes()),
        }
    }
    // A database that can't tell two of them apart has to refuse the second.
    commit(&store, "Plain-Token_9", b"Plain-Token_9", in_an_hour());
    assert!(accepted.contains(&"abc"), "plain tokens are accepted");
    for token in variants {
        let expected = accepted.contains(&token).then(|| token.as_bytes().to_vec());
        assert_eq!(found(&store, token), expected, "token {:?}", token.as_bytes());
    }
    // A change of one variant, or of one that isn't there, leaves the others alone.
    let mut is_there = |token: &str| {
        let position = accepted.iter().position(|accepted| *accepted == token);
        position.map(|position| accepted.swap_remove(position)).is_some()
    };
    if is_there("Abc") {
        assert!(update(&store, "Abc", b"Abc", &rotation("aBC", b"Abc")));
        assert_eq!(found(&store, "aBC").as_deref(), Some(&b"Abc"[..]));
        assert!(store.touch("aBC", an_hour_ago()).expect("touch succeeds"));
    } else {
        assert!(!update(&store, "Abc", b"abc", &rotation("other", b"abc")));
        assert!(!store.touch("Abc", an_hour_ago()).expect("touch answers"));
        assert!(!update(&store, "Abc", b"abc", &Change::new(b"Abc", in_an_hour())));
    }
    is_there("ABC");
    store.delete("ABC").expect("delete succeeds");
    is_there("abc");
    assert!(update(&store, "abc", b"abc", &Change::new(b"changed", in_an_hour())));
    assert_eq!(walk(&store).len(), accepted.len() + 2);
    for token in accepted {
        assert_eq!(found(&store, token).as_deref(), Some(token.as_bytes()));
    }
}

/// Clause 6: quotes, wildcards, comments, placeholders and newlines in a token are data.
pub fn hostile_tokens_are_data<H: Harness>(harness: &H) {
    let store = unswept(harness);
    commit(&store, "bystander", b"untouched", in_an_hour());
    let hostile = [
        "' OR '1'='1",
        "\" OR \"1\"=\"1",
        "x'; DROP TABLE sessions;--",
        "';--",
        "%",
        "_",
        "bystande_",
        "bystander%",
        "by\\stander",
        "\\'",
        "line\nbreak",
        "line\r\nbreak",
        "`token`",
        "$1",
        "?1",
        ":token",
        "@token",
        "*/",
    ];
    let mut accepted = 0;
    for token in hostile {
        match store.commit(token, token.as_bytes(), in_an_hour()) {
            Ok(()) => {
                accepted += 1;
                assert_eq!(found(&store, token).as_deref(), Some(token.as_bytes()), "{token:?}");
            }
            Err(Error::InvalidToken(_)) => assert_eq!(found(&store, token), None, "{token:?}"),
            Err(error) => panic!("token {token:?}: {error}"),
        }
        assert_eq!(found(&store, "bystander").as_deref(), Some(&b"untouched"[..]), "{token:?}");
    }
    assert_eq!(walk(&store).len(), accepted + 1);
    for token in hostile {
        let rotated = store.update(token, token.as_bytes(), &rotation("bystander", b"changed"));
        assert!(!rotated.is_ok_and(|rotated| rotated), "{token:?}");
        store.delete(token).expect("delete succeeds");
    }
    assert_eq!(walk(&store).len(), 1);
    assert_eq!(found(&store, "bystander").as_deref(), Some(&b"untouched"[..]));
}

/// Clause 7: empty and overlong tokens are `InvalidToken`; the longest allowed is kept whole.
pub fn invalid_tokens_are_refused<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let max = harness.limits().max_token_len;
    let longest = "x".repeat(max);
    commit(&store, &longest, b"longest", in_an_hour());
    commit(&store, "other", b"other", in_an_hour());
    let new = Change::new(b"new", in_an_hour());
    for token in [String::new(), "x".repeat(max + 1), "x".repeat(max + 1_000)] {
        let len = token.len();
        let refused = store.commit(&token, b"new", in_an_hour());
        assert!(matches!(refused, Err(Error::InvalidToken(_))), "{len} bytes: {refused:?}");
        let refused = store.create(&token, b"new", in_an_hour(), None);
        assert!(matches!(refused, Err(Error::InvalidToken(_))), "{len} bytes: {refused:?}");
        let refused = store.update(&longest, b"longest", &rotation(&token, b"new"));
        assert!(matches!(refused, Err(Error::InvalidToken(_))), "{len} bytes: {refused:?}");
        // What asks for a session must not meet the longest one either.
        assert_eq!(found(&store, &token), None, "{len} bytes");
        store.delete(&token).expect("delete of a missing session succeeds");
        assert!(!store.touch(&token, an_hour_ago()).expect("touch answers"), "{len} bytes");
        assert!(!update(&store, &token, b"longest", &new), "{len} bytes");
        assert!(!update(&store, &token, b"longest", &rotation("new", b"new")), "{len} bytes");
        let absorbing = new.clone().absorbing(&token, b"longest");
        assert!(!update(&store, "other", b"other", &absorbing), "{len} bytes");
    }
    assert_eq!(found(&store, &longest).as_deref(), Some(&b"longest"[..]));
    assert_eq!(found(&store, "other").as_deref(), Some(&b"other"[..]));
    assert_eq!(walk(&store).len(), 2, "nothing was truncated into another token");
}

/// Clause 7: data over the limit is `DataTooLarge` with both sizes, and what was there stays.
pub fn oversized_data_is_refused_and_changes_nothing<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let max = harness.limits().max_data_len;
    let oversized = vec![b'x'; max + 1];
    commit(&store, "token", b"before", in_an_hour());
    let expiry = walk(&store)[0].2;
    let later = in_an_hour() + TimeDelta::hours(1);
    for refused in [
        store.commit("token", &oversized, later),
        store.commit("new", &oversized, later),
        store.create("new", &oversized, later, None),
        store.update("token", b"before", &Change::new(&oversized, later)).map(drop),
        store.update("token", b"before", &rotation("new", &oversized)).map(drop),
    ] {
        match refused {
            Err(Error::DataTooLarge { len, max: limit }) => {
                assert_eq!((len, limit), (oversized.len(), max));
            }
            other => panic!("data over the limit was not refused: {other:?}"),
        }
    }
    let sessions = walk(&store);
    assert_eq!(sessions, [("token".to_owned(), b"before".to_vec(), expiry)]);
}

/// Clauses 1 and 8: `load` finds what `find` finds, with the expiry as it is stored.
pub fn load_agrees_with_find<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let live = |token| match loaded(&store, token) {
        Loaded::Live { data, expiry } => (data, expiry),
        other => panic!("it is live: {other:?}"),
    };
    let overlong = "x".repeat(harness.limits().max_token_len + 1);
    for missing in ["never-written", "", &overlong] {
        assert_eq!(loaded(&store, missing), Loaded::Missing);
    }
    commit(&store, "expired", b"data", an_hour_ago());
    assert_eq!(loaded(&store, "expired"), Loaded::Missing);
    for (data, expiry) in [
        (&b"first"[..], in_an_hour()),
        (b"", in_an_hour() + TimeDelta::hours(1)),
        (b"\0\xff", in_an_hour() - TimeDelta::minutes(1)),
    ] {
        commit(&store, "token", data, expiry);
        let (loaded_data, loaded_expiry) = live("token");
        assert_eq!(Some(loaded_data), found(&store, "token"));
        assert_eq!(loaded_expiry, walk(&store)[0].2);
        assert_stored(expiry, loaded_expiry);
    }
    let touched = in_an_hour() + TimeDelta::hours(5);
    assert!(store.touch("token", touched).expect("touch succeeds"));
    assert_stored(touched, live("token").1);
    store.delete("token").expect("delete succeeds");
    assert_eq!(loaded(&store, "token"), Loaded::Missing);
}

/// Clause 8: a stored expiry is never later than the one given and at most 1 ms earlier.
pub fn expiry_is_kept_to_the_millisecond<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let from = Utc::now().timestamp() + 60;
    // Ten years, within what a TIMESTAMP column holds.
    let instants = (from..from + 315_000_000, 0..1_000_000_000_u32);
    let mut runner =
        TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&instants, |(seconds, nanoseconds)| {
        let given = DateTime::from_timestamp(seconds, nanoseconds).expect("within range");
        store.delete("other").expect("delete succeeds");
        commit(&store, "token", b"data", given);
        match loaded(&store, "token") {
            Loaded::Live { expiry, .. } => assert_stored(given, expiry),
            other => panic!("it is live: {other:?}"),
        }
        store.delete("created").expect("delete succeeds");
        store.create("created", b"data", given, None).expect("create succeeds");
        commit(&store, "other", b"data", in_an_hour());
        prop_assert!(store.touch("other", given).expect("touch succeeds"));
        prop_assert!(update(&store, "token", b"data", &Change::new(b"data", given)));
        for (_, _, stored) in walk(&store) {
            assert_stored(given, stored);
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Clauses 7 and 8: the ends of `DateTime<Utc>` are kept or refused as `ExpiryOutOfRange`, and
/// nothing panics, wraps around or is lost.
pub fn extreme_expiries_do_no_harm<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for (expiry, live) in [
        (DateTime::<Utc>::MAX_UTC, true),
        (DateTime::<Utc>::MIN_UTC, false),
        (DateTime::from_timestamp(253_402_300_800, 0).expect("the year 10000"), true),
        (DateTime::from_timestamp(-62_167_219_201, 0).expect("before the year 0"), false),
        (DateTime::UNIX_EPOCH, false),
    ] {
        let assert_kept = |data: &[u8]| {
            assert_eq!(found(&store, "token").as_deref(), live.then_some(data), "{expiry}");
            let sessions = walk(&store);
            assert_eq!(sessions.len(), usize::from(live), "{expiry}");
            for (_, _, stored) in sessions {
                assert_stored(expiry, stored);
            }
        };
        commit(&store, "token", b"before", in_an_hour());
        match store.commit("token", b"after", expiry) {
            Ok(()) => {
                assert_kept(b"after");
                commit(&store, "token", b"before", in_an_hour());
                assert!(store.touch("token", expiry).expect("as commit did"), "{expiry}");
                assert_kept(b"before");
                commit(&store, "token", b"before", in_an_hour());
                let updated = store.update("token", b"before", &Change::new(b"after", expiry));
                assert!(updated.expect("as commit did"), "{expiry}");
                assert_kept(b"after");
                store.delete("token").expect("delete succeeds");
                store.create("token", b"created", expiry, None).expect("as commit did");
                assert_kept(b"created");
            }
            Err(Error::ExpiryOutOfRange { expiry: named, earliest, latest }) => {
                assert_eq!(named, expiry);
                assert!(expiry < earliest || expiry > latest, "{expiry} is within the range");
                for refused in [
                    store.touch("token", expiry).map(drop),
                    store.update("token", b"before", &Change::new(b"after", expiry)).map(drop),
                    store.create("new", b"after", expiry, None),
                ] {
                    assert!(matches!(refused, Err(Error::ExpiryOutOfRange { .. })), "{expiry}");
                }
                assert_eq!(walk(&store).len(), 1, "{expiry}");
                assert_eq!(found(&store, "token").as_deref(), Some(&b"before"[..]), "{expiry}");
            }
            Err(error) => panic!("expiry {expiry}: {error:?}"),
        }
    }
}

/// Clause 9: `touch` moves the expiry, either way, and leaves the data byte for byte.
pub fn touch_moves_the_expiry_alone<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let data = b"\0\xffdata\0";
    commit(&store, "token", data, in_an_hour());
    for expiry in [in_an_hour() + TimeDelta::hours(5), in_an_hour() - TimeDelta::minutes(30)] {
        for _ in 0..2 {
            assert!(store.touch("token", expiry).expect("touch succeeds"), "also to the same");
            let sessions = walk(&store);
            assert_eq!(sessions.len(), 1);
            assert_eq!(sessions[0].1, data);
            assert_stored(expiry, sessions[0].2);
        }
    }
    assert!(store.touch("token", an_hour_ago()).expect("touch succeeds"));
    assert_eq!(found(&store, "token"), None, "a touch may end the session");
}

/// Clause 9: `touch` never creates a session, nor revives a deleted, rotated or expired one.
pub fn touch_never_creates_or_revives<H: Harness>(harness: &H) {
    let store = unswept(harness);
    assert_not_revived(&store, "touch", |token| store.touch(token, in_an_hour()));
}

/// Clause 13: `delete` removes the session for good; a missing one is no error.
pub fn delete_is_final_and_idempotent<H: Harness>(harness: &H) {
    let store = unswept(harness);
    store.delete("never-written").expect("a missing session is no error");
    commit(&store, "token", b"data", in_an_hour());
    commit(&store, "other", b"data", in_an_hour());
    for _ in 0..2 {
        store.delete("token").expect("delete succeeds");
        assert_eq!(found(&store, "token"), None);
    }
    assert_eq!(walk(&store).len(), 1);
    assert_eq!(
        store.delete_expired().expect("delete_expired succeeds"),
        0,
        "it was deleted before"
    );

    // Whether the row of a session that has expired goes now or with the cleanup is the store's
    // choice.
    commit(&store, "expired", b"data", an_hour_ago());
    for _ in 0..2 {
        store.delete("expired").expect("delete succeeds");
        assert_eq!(found(&store, "expired"), None);
    }
    assert_eq!(walk(&store).len(), 1);
}
