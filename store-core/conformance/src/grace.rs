//! Clauses 10, 12 and 13: what becomes of the tokens that a session had, as far as one thread can
//! see it; and changes as a whole, with all that belongs to a session.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::Harness;
use crate::calls::{
    an_hour_ago, assert_stored, commit, found, in_an_hour, lasting, loaded, rotation, unswept,
    update, walk,
};
use crate::subjects::{create, delete_by_subject, sessions_of, tokens_of};
use store_core::{Change, Error, Loaded, MAX_SUBJECT_LEN, Rotation, Store};

/// Gives a session a new token, and leaves its data as it is.
fn rotate(store: &dyn Store, token: &str, rotation: Rotation<'_>) {
    let data = found(store, token).expect("it is live");
    let change = Change::new(&data, in_an_hour()).with_rotation(rotation);
    assert!(update(store, token, &data, &change));
}

fn rotated_to(token: &str, opens: bool) -> Loaded {
    Loaded::Rotated { token: token.to_owned(), opens }
}

/// Clause 12: `load` of an old token names the newest one, also after several rotations, and
/// whether the old one may open the session, which each rotation must have allowed.
pub fn old_tokens_lead_to_the_newest<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for allowed in 0..8 {
        let token = |n: usize| format!("token-{allowed}-{n}");
        let opens = |n: usize| allowed & (1 << n) != 0;
        create(&store, &token(0), None);
        for n in 0..3 {
            assert_eq!(loaded(&store, &token(n + 1)), Loaded::Missing);
            let newest = token(n + 1);
            let rotation = lasting(&newest);
            rotate(&store, &token(n), if opens(n) { rotation.old_token_opens() } else { rotation });
            for old in 0..=n {
                let each_allowed = (old..=n).all(opens);
                assert_eq!(loaded(&store, &token(old)), rotated_to(&newest, each_allowed));
            }
            assert!(matches!(loaded(&store, &newest), Loaded::Live { .. }));
        }
        // Other writes of the session are no rotations.
        let (newest, data) = (token(3), token(0).into_bytes());
        commit(&store, &newest, b"committed", in_an_hour());
        let same_token = rotation(&newest, &data);
        assert!(update(&store, &newest, b"committed", &same_token));
        assert!(store.touch(&newest, in_an_hour()).expect("touch succeeds"));
        let each_allowed = (0..3).all(opens);
        assert_eq!(loaded(&store, &token(0)), rotated_to(&newest, each_allowed));
        assert!(matches!(loaded(&store, &newest), Loaded::Live { .. }));
    }
    assert_eq!(walk(&store).len(), 8);
}

/// Clause 12: an old token finds and writes nothing during the grace, whether it opens the session
/// or not, and is no session to be absorbed.
pub fn old_token_finds_and_writes_nothing<H: Harness>(harness: &H) {
    let store = unswept(harness);
    create(&store, "other", None);
    for (old, new) in [("old", "new"), ("old-open", "new-open")] {
        create(&store, old, Some("one"));
        let rotation = lasting(new);
        let opens = old == "old-open";
        rotate(&store, old, if opens { rotation.old_token_opens() } else { rotation });
        let before = walk(&store);
        let data = old.as_bytes();

        assert_eq!(found(&store, old), None);
        assert!(!store.touch(old, an_hour_ago()).expect("touch answers"));
        let change = || Change::new(b"wrong", in_an_hour());
        assert!(!update(&store, old, data, &change()));
        assert!(!update(&store, old, data, &change().with_subject(Some("two"))));
        assert!(!update(&store, old, data, &change().with_rotation(lasting("wrong"))));
        assert!(!update(&store, old, data, &change().with_rotation(lasting(new))));
        assert!(!update(&store, "other", b"other", &change().absorbing(old, data)));
        assert_eq!(walk(&store), before);
        assert_eq!(store.count().expect("count succeeds"), before.len() as u64);
        assert_eq!(loaded(&store, old), rotated_to(new, opens));
        assert_eq!(loaded(&store, "wrong"), Loaded::Missing);
    }
    assert_eq!(tokens_of(&store, "one"), ["new", "new-open"]);
    assert!(tokens_of(&store, "two").is_empty());
}

/// Clause 12: an old token that names a session again means that one; the rotated session stays
/// what it is.
pub fn old_token_can_be_used_again<H: Harness>(harness: &H) {
    let store = unswept(harness);
    create(&store, "old", Some("one"));
    // As long as it is unless it is set otherwise.
    rotate(&store, "old", Rotation::new("new"));
    assert_eq!(loaded(&store, "old"), rotated_to("new", false));
    store.create("old", b"second", in_an_hour(), Some("two")).expect("its token is free");
    assert_eq!(found(&store, "old").as_deref(), Some(&b"second"[..]));
    assert!(matches!(loaded(&store, "old"), Loaded::Live { data, .. } if data == b"second"));
    assert_eq!(tokens_of(&store, "one"), ["new"]);
    assert_eq!(tokens_of(&store, "two"), ["old"]);
    store.delete("old").expect("delete succeeds");
    assert_eq!(found(&store, "old"), None);
    assert_eq!(found(&store, "new").as_deref(), Some(&b"old"[..]), "it was another session");

    // To and fro: the token that it has is live, the one that it had leads there.
    for _ in 0..3 {
        rotate(&store, "new", lasting("back").old_token_opens());
        assert!(matches!(loaded(&store, "back"), Loaded::Live { .. }));
        assert_eq!(loaded(&store, "new"), rotated_to("back", true));
        rotate(&store, "back", lasting("new").old_token_opens());
        assert!(matches!(loaded(&store, "new"), Loaded::Live { .. }));
        assert_eq!(loaded(&store, "back"), rotated_to("new", true));
        assert_eq!(walk(&store).len(), 1);
    }
    store.delete("back").expect("delete succeeds");
    assert!(walk(&store).is_empty());
}

/// Clause 12: after the grace an old token is like one never written. Each rotation has its own
/// grace.
pub fn grace_ends<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let ended = |token| Rotation::new(token).with_grace(Duration::ZERO).old_token_opens();
    let lasting = |token| lasting(token).old_token_opens();
    create(&store, "a", Some("one"));
    rotate(&store, "a", ended("b"));
    assert_eq!(loaded(&store, "a"), Loaded::Missing);
    assert_eq!(loaded(&store, "never-written"), Loaded::Missing);
    store.delete("a").expect("a missing session is no error");
    assert_eq!(found(&store, "b").as_deref(), Some(&b"a"[..]), "the old token is nobody's");
    assert_eq!(delete_by_subject(&store, "one", Some("a")), 1, "nor is it an exception");

    create(&store, "b", None);
    rotate(&store, "b", lasting("c"));
    rotate(&store, "c", ended("d"));
    rotate(&store, "d", lasting("e"));
    assert_eq!(loaded(&store, "b"), rotated_to("e", true));
    assert_eq!(loaded(&store, "c"), Loaded::Missing);
    assert_eq!(loaded(&store, "d"), rotated_to("e", true));

    // The later rotation of a token is the one that counts.
    rotate(&store, "e", lasting("b"));
    rotate(&store, "b", ended("f"));
    assert_eq!(loaded(&store, "b"), Loaded::Missing);
    assert_eq!(loaded(&store, "e"), rotated_to("f", true));
    rotate(&store, "f", lasting("b"));
    rotate(&store, "b", lasting("g"));
    assert_eq!(loaded(&store, "b"), rotated_to("g", true));

    // A grace has a limit, and no length of it does harm.
    let mut endless = Rotation::new("h");
    endless.grace = Duration::MAX;
    rotate(&store, "g", endless);
    assert_eq!(loaded(&store, "g"), rotated_to("h", false));
    assert_eq!(walk(&store).len(), 1);
}

/// Clauses 12 and 26: a cleanup removes no rotation whose grace lasts, no live session, and counts
/// sessions alone.
pub fn cleanup_leaves_rotations_that_last<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for i in 0..5 {
        let [long, ended, new] = ["long", "ended", "new"].map(|name| format!("{name}-{i}"));
        create(&store, &long, Some("one"));
        rotate(&store, &long, lasting(&ended).old_token_opens());
        rotate(&store, &ended, Rotation::new(&new).with_grace(Duration::ZERO).old_token_opens());
        commit(&store, &format!("expired-{i}"), b"expired", an_hour_ago());
    }
    let mut before = walk(&store);
    before.sort();
    assert_eq!(store.delete_expired().expect("delete_expired succeeds"), 5);
    assert_eq!(store.delete_expired().expect("delete_expired succeeds"), 0);
    let mut after = walk(&store);
    after.sort();
    assert_eq!(after, before);
    for i in 0..5 {
        let new = format!("new-{i}");
        assert_eq!(loaded(&store, &format!("long-{i}")), rotated_to(&new, true));
        assert_eq!(loaded(&store, &format!("ended-{i}")), Loaded::Missing);
        assert!(matches!(loaded(&store, &new), Loaded::Live { .. }));
    }
    assert_eq!(tokens_of(&store, "one").len(), 5);
}

/// Clauses 12 and 13: the tokens of an absorbed session lead to the session that absorbed it, under
/// its newest token, and open nothing; a `delete` with one of them ends that session, so a logout
/// that meets a merge is final.
pub fn absorbed_tokens_lead_to_the_absorbing_session<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for (n, rotates) in [false, true].into_iter().enumerate() {
        for used in ["old", "other", "mine"] {
            let [old, other, mine, new, newest] =
                ["old", "other", "mine", "new", "newest"].map(|name| format!("{n}-{used}-{name}"));
            create(&store, &old, Some("one"));
            create(&store, &mine, Some("two"));
            rotate(&store, &old, lasting(&other).old_token_opens());
            let mut change = Change::new(b"merged", in_an_hour()).absorbing(&other, old.as_bytes());
            if rotates {
                change = change.with_rotation(lasting(&new).old_token_opens());
            }
            assert!(update(&store, &mine, mine.as_bytes(), &change));
            let own = if rotates { &new } else { &mine };
            for absorbed in [&old, &other] {
                assert_eq!(loaded(&store, absorbed), rotated_to(own, false));
                assert_eq!(found(&store, absorbed), None);
                assert!(!store.touch(absorbed, in_an_hour()).expect("touch answers"));
                assert!(!update(&store, absorbed, b"merged", &change.clone()));
            }
            assert!(tokens_of(&store, "one").is_empty());
            rotate(&store, own, lasting(&newest).old_token_opens());
            for absorbed in [&old, &other] {
                assert_eq!(loaded(&store, absorbed), rotated_to(&newest, false));
            }
            let used = [&old, &other, &mine].into_iter().find(|name| name.ends_with(used));
            store.delete(used.expect("one of them")).expect("delete succeeds");
            for token in [&old, &other, &mine, &newest] {
                assert_eq!(loaded(&store, token), Loaded::Missing);
            }
        }
    }
    // The grace is that of the rotation, if there is one, also to the token that the session has.
    create(&store, "mine", None);
    create(&store, "other", None);
    let change = Change::new(b"merged", in_an_hour())
        .with_rotation(Rotation::new("mine").with_grace(Duration::ZERO))
        .absorbing("other", b"other");
    assert!(update(&store, "mine", b"mine", &change));
    assert_eq!(loaded(&store, "other"), Loaded::Missing);
    assert_eq!(walk(&store).len(), 1);
}

/// Clauses 12 and 13: the tokens of a session that ends with a change lead nowhere, unlike those of
/// an absorbed one: a logout of the one doesn't end the other.
pub fn tokens_of_an_ended_session_lead_nowhere<H: Harness>(harness: &H) {
    let store = unswept(harness);
    create(&store, "old", Some("one"));
    create(&store, "mine", Some("one"));
    rotate(&store, "old", lasting("other").old_token_opens());
    let change = Change::new(b"kept", in_an_hour())
        .with_rotation(lasting("new").old_token_opens())
        .ending("other", b"old");
    assert!(!update(&store, "mine", b"mine", &change.clone().ending("missing", b"data")));
    assert_eq!(tokens_of(&store, "one"), ["mine", "other"]);
    assert!(update(&store, "mine", b"mine", &change));
    for ended in ["old", "other"] {
        assert_eq!(loaded(&store, ended), Loaded::Missing);
        store.delete(ended).expect("delete succeeds");
    }
    assert_eq!(found(&store, "new").as_deref(), Some(&b"kept"[..]));
    assert_eq!(tokens_of(&store, "one"), ["new"]);
}

/// Clause 12: an old token leads nowhere once its session has ended, however it ended.
pub fn old_tokens_end_with_the_session<H: Harness>(harness: &H) {
    let store = unswept(harness);
    create(&store, "survivor", Some("two"));
    for way in ["deleted", "expired", "updated", "swept", "subject"] {
        let [old, older, new] = ["old", "older", "new"].map(|name| format!("{way}-{name}"));
        create(&store, &older, Some("one"));
        rotate(&store, &older, lasting(&old).old_token_opens());
        rotate(&store, &old, lasting(&new).old_token_opens());
        let data = older.as_bytes();
        match way {
            "deleted" => store.delete(&new).expect("delete succeeds"),
            "updated" => {
                assert!(update(&store, &new, data, &Change::new(data, an_hour_ago())));
            }
            "subject" => assert_eq!(delete_by_subject(&store, "one", Some("survivor")), 1),
            _ => assert!(store.touch(&new, an_hour_ago()).expect("touch succeeds")),
        }
        if way == "swept" {
            store.delete_expired().expect("delete_expired succeeds");
        }
        for token in [&older, &old, &new] {
            assert_eq!(loaded(&store, token), Loaded::Missing, "{way}");
            store.delete(token).expect("a missing session is no error");
        }
    }
    assert_eq!(walk(&store).len(), 1);
    assert_eq!(tokens_of(&store, "two"), ["survivor"]);
}

/// Clause 13: `delete` with an old token ends the session, after one rotation and after several,
/// and ends no other.
pub fn delete_follows_rotations<H: Harness>(harness: &H) {
    const ROTATIONS: usize = 3;
    let store = unswept(harness);
    create(&store, "bystander", Some("one"));
    rotate(&store, "bystander", lasting("bystander-new"));
    for rotations in 1..=ROTATIONS {
        for used in 0..=rotations {
            for opens in [false, true] {
                let token = |n| format!("token-{rotations}-{used}-{opens}-{n}");
                create(&store, &token(0), Some("one"));
                for n in 0..rotations {
                    let newest = token(n + 1);
                    let rotation = lasting(&newest);
                    let rotation = if opens { rotation.old_token_opens() } else { rotation };
                    rotate(&store, &token(n), rotation);
                }
                for _ in 0..2 {
                    store.delete(&token(used)).expect("delete succeeds");
                    for n in 0..=rotations {
                        assert_eq!(found(&store, &token(n)), None, "{n} of {rotations}");
                        assert_eq!(loaded(&store, &token(n)), Loaded::Missing);
                    }
                    assert_eq!(walk(&store).len(), 1);
                    assert_eq!(tokens_of(&store, "one"), ["bystander-new"]);
                }
                assert_eq!(store.delete_expired().expect("delete_expired succeeds"), 0);
            }
        }
    }
}

/// Clause 13: `delete_by_subject` leaves the session that it is asked to leave, also where that one
/// is named by a token that it had before.
pub fn exception_of_delete_by_subject_follows_rotations<H: Harness>(harness: &H) {
    let store = unswept(harness);
    for rotations in 0..3 {
        for used in 0..=rotations {
            let token = |n| format!("token-{rotations}-{used}-{n}");
            create(&store, &token(0), Some("one"));
            for n in 0..rotations {
                rotate(&store, &token(n), lasting(&token(n + 1)));
            }
            for other in ["other", "another"] {
                create(&store, other, Some("one"));
            }
            assert_eq!(delete_by_subject(&store, "one", Some(&token(used))), 2);
            assert_eq!(tokens_of(&store, "one"), [token(rotations)]);
            assert_eq!(walk(&store).len(), 1);
            // A rotated session of the subject is not left by being named in some other way.
            rotate(&store, &token(rotations), lasting("last"));
            assert_eq!(delete_by_subject(&store, "one", Some("other")), 1);
            assert!(walk(&store).is_empty());
        }
    }
}

/// Clauses 5 and 12: old tokens that differ in any byte are different.
pub fn old_tokens_are_compared_byte_for_byte<H: Harness>(harness: &H) {
    let store = unswept(harness);
    create(&store, "abc", None);
    rotate(&store, "abc", lasting("new"));
    for variant in ["ABC", "Abc", "abc ", " abc", "ábc", "a\u{301}bc", "abc\0", "ab", "%", "abc%"]
    {
        assert_eq!(loaded(&store, variant), Loaded::Missing, "{variant:?}");
        store.delete(variant).expect("a missing session is no error");
        assert_eq!(loaded(&store, "abc"), rotated_to("new", false), "{variant:?}");
    }
    let longest = |c: &str| c.repeat(harness.limits().max_token_len);
    rotate(&store, "new", lasting(&longest("x")));
    rotate(&store, &longest("x"), lasting(&longest("y")));
    for old in ["abc", "new", &longest("x")] {
        assert_eq!(loaded(&store, old), rotated_to(&longest("y"), false));
    }
    let overlong = longest("x") + "x";
    for impossible in ["", &overlong] {
        assert_eq!(loaded(&store, impossible), Loaded::Missing);
        store.delete(impossible).expect("a missing session is no error");
    }
    assert_eq!(walk(&store).len(), 1);
}

/// The tokens that [`observed`] looks at.
const TOKENS: [&str; 6] = ["older", "mine", "new", "other", "third", "taken"];

/// All that a store says of [`TOKENS`] and of the subjects "one", "two" and "three".
#[derive(Debug, PartialEq)]
struct Observed {
    loaded: Vec<(&'static str, Loaded)>,
    subjects: Vec<Vec<(String, Vec<u8>, DateTime<Utc>)>>,
    walked: Vec<(String, Vec<u8>, DateTime<Utc>)>,
}

fn observed(store: &dyn Store) -> Observed {
    let loaded = TOKENS.map(|token| (token, loaded(store, token)));
    let subjects = ["one", "two", "three"].map(|subject| sessions_of(store, subject));
    let mut walked = walk(store);
    walked.sort();
    for (token, loaded) in &loaded {
        let live = if let Loaded::Live { data, .. } = loaded { Some(data.clone()) } else { None };
        assert_eq!(found(store, token), live);
    }
    assert_eq!(store.count().expect("count succeeds"), walked.len() as u64);
    Observed { loaded: loaded.into(), subjects: subjects.into(), walked }
}

/// A session "mine" of the subject "one", which was "older" before and may still be opened by that
/// token, next to others.
fn prepare(store: &dyn Store) {
    store.create("older", b"mine", in_an_hour(), Some("one")).expect("the token is free");
    rotate(store, "older", lasting("mine").old_token_opens());
    create(store, "other", Some("one"));
    create(store, "third", Some("three"));
    create(store, "taken", Some("two"));
}

/// Clause 10: an update that is refused, for whatever reason, leaves every session, every subject
/// and what is known of every token as it was.
pub fn refused_update_leaves_the_indexes_alone<H: Harness>(harness: &H) {
    let store = unswept(harness);
    let limits = harness.limits();
    let overlong = "x".repeat(limits.max_token_len + 1);
    let oversized = vec![b'x'; limits.max_data_len + 1];
    let long_subject = "x".repeat(MAX_SUBJECT_LEN + 1);
    prepare(&store);
    let before = observed(&store);
    let later = in_an_hour() + TimeDelta::hours(1);
    // Each change would be possible but for one thing.
    let change = || {
        Change::new(b"after", later)
            .with_rotation(lasting("new"))
            .with_subject(Some("two"))
            .absorbing("other", b"other")
    };
    let without_subject = || change().with_subject(None);
    let mut refused = vec![
        (&b"stale"[..], change()),
        (b"stale", without_subject()),
        (b"stale", Change::new(b"after", later).with_subject(Some("two"))),
        (b"mine", change().absorbing("third", b"stale")),
        (b"mine", without_subject().absorbing("third", b"stale")),
        (b"mine", change().absorbing("missing", b"")),
        (b"mine", change().absorbing("older", b"mine")),
        (b"mine", change().absorbing("mine", b"mine")),
        (b"mine", change().absorbing(&overlong, b"")),
        (b"mine", change().with_rotation(lasting("taken"))),
        (b"mine", without_subject().with_rotation(lasting("taken"))),
        (b"mine", change().with_rotation(lasting("other"))),
        (b"mine", change().with_rotation(lasting(""))),
        (b"mine", change().with_rotation(lasting(&overlong))),
        (b"mine", change().with_subject(Some(""))),
        (b"mine", change().with_subject(Some(&long_subject))),
    ];
    let mut too_large = change();
    too_large.data = (&*oversized).into();
    refused.push((b"mine", too_large));
    for (n, (current, change)) in refused.iter().enumerate() {
        let outcome = store.update("mine", current, change);
        match outcome {
            Ok(updated) => assert!(!updated, "change {n}"),
            Err(
                Error::TokenTaken
                | Error::InvalidToken(_)
                | Error::InvalidSubject { .. }
                | Error::DataTooLarge { .. },
            ) => {}
            Err(error) => panic!("change {n}: {error:?}"),
        }
        assert!(observed(&store) == before, "change {n}");
    }
    for expiry in [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC] {
        let mut out_of_range = change();
        out_of_range.expiry = Some(expiry);
        if matches!(store.touch("missing", expiry), Err(Error::ExpiryOutOfRange { .. })) {
            let outcome = store.update("mine", b"mine", &out_of_range);
            assert!(matches!(outcome, Err(Error::ExpiryOutOfRange { .. })), "{outcome:?}");
            assert!(observed(&store) == before, "{expiry}");
        }
    }
    // A create that is refused, likewise.
    let taken = store.create("taken", b"new", later, Some("one"));
    assert!(matches!(taken, Err(Error::TokenTaken)));
    let invalid = store.create("new", b"new", later, Some(""));
    assert!(matches!(invalid, Err(Error::InvalidSubject { .. })));
    let too_large = store.create("new", &oversized, later, Some("one"));
    assert!(matches!(too_large, Err(Error::DataTooLarge { .. })));
    assert!(observed(&store) == before, "a create that was refused");
    assert!(update(&store, "mine", b"mine", &change()), "the change itself was possible");
}

/// Clause 10: all of a change happens, whatever is asked for together, and nothing else.
pub fn update_does_all_of_a_change<H: Harness>(harness: &H) {
    let rotations = [
        None,
        Some(lasting("mine")),
        Some(lasting("new")),
        Some(lasting("new").old_token_opens()),
        Some(Rotation::new("new").with_grace(Duration::ZERO).old_token_opens()),
    ];
    let subjects = [None, Some(None), Some(Some("one")), Some(Some("two"))];
    let absorbed = [&[][..], &["other"], &["other", "third"]];
    let store = unswept(harness);
    for rotation in &rotations {
        for subject in subjects {
            for absorbed in absorbed {
                for token in TOKENS {
                    store.delete(token).expect("delete succeeds");
                }
                prepare(&store);
                let before = observed(&store);
                let expiry = in_an_hour() + TimeDelta::hours(1);
                let mut change = Change::new(b"after", expiry);
                if let Some(rotation) = rotation {
                    change = change.with_rotation(rotation.clone());
                }
                if let Some(subject) = subject {
                    change = change.with_subject(subject);
                }
                for other in absorbed {
                    change = change.absorbing(other, other.as_bytes());
                }
                assert!(update(&store, "mine", b"mine", &change), "{change:?}");
                assert_changed(&store, before, &change);
            }
        }
    }
}

/// What the store says after a change of the session "mine" is what it said before, but for the
/// change.
fn assert_changed(store: &dyn Store, before: Observed, change: &Change<'_>) {
    let after = observed(store);
    let token = change.rotation.as_ref().map_or("mine", |rotation| &rotation.new_token);
    let stored = after.walked.iter().find(|(live, ..)| live == token).expect("it is live").clone();
    assert_eq!(stored.1, b"after", "{change:?}");
    assert_stored(change.expiry.expect("it sets one"), stored.2);

    let mut expected = before;
    let is_absorbed = |live: &str| change.absorbed.iter().any(|other| other.token == live);
    let is_over = |live: &str| live == "mine" || is_absorbed(live);
    expected.walked.retain(|(live, ..)| !is_over(live));
    expected.walked.push(stored.clone());
    expected.walked.sort();
    for sessions in &mut expected.subjects {
        sessions.retain(|(live, ..)| !is_over(live));
    }
    match change.subject.as_ref().map_or(Some("one"), Option::as_deref) {
        Some("one") => expected.subjects[0].push(stored.clone()),
        Some(_) => expected.subjects[1].push(stored.clone()),
        None => {}
    }
    for sessions in &mut expected.subjects {
        sessions.sort();
    }
    for (of, loaded) in &mut expected.loaded {
        if is_absorbed(of) {
            let has_grace =
                change.rotation.as_ref().is_none_or(|rotation| !rotation.grace.is_zero());
            *loaded = if has_grace { rotated_to(token, false) } else { Loaded::Missing };
        }
        if *of == token {
            *loaded = Loaded::Live { data: b"after".into(), expiry: stored.2 };
        } else if let Some(rotation) = &change.rotation
            && token == "new"
        {
            match *of {
                "mine" if rotation.grace.is_zero() => *loaded = Loaded::Missing,
                "mine" | "older" => *loaded = rotated_to("new", rotation.old_token_opens),
                _ => {}
            }
        }
    }
    assert_eq!(after, expected, "{change:?}");
}
