//! From the token in a cookie to a session, or to none.

use std::sync::Arc;

use chrono::TimeDelta;
use session_manager::{EndCause, Error, EventKind, Session, SessionManager};
use store_core::{MemoryStore, Store};

use crate::TestResult;
use crate::counting_store::token;
use crate::fixture::{Fixture, header, renewed};

#[test]
fn unknown_token_is_never_adopted_and_is_reported() -> TestResult {
    let fixture = Fixture::new();
    let invented = "A".repeat(43);
    let mut session = fixture.sessions.load([&*invented])?;
    assert_eq!(fixture.events(), [EventKind::UnknownToken]);
    session.insert("name", "Mallory")?;
    let given = token(&session.finish()?).expect("it is new");
    assert_ne!(given, invented);
    assert!(fixture.sessions.load([&*invented])?.is_empty());
    Ok(())
}

/// A browser whose session has ended raises no alarm with each request, and somebody who guesses
/// does.
#[test]
fn unknown_token_is_reported_once_and_each_guess_is_another() -> TestResult {
    let fixture = Fixture::new();
    let ended = fixture.stored()?;
    fixture.clock.advance(TimeDelta::hours(24));
    for _ in 0..10 {
        fixture.sessions.load([&*ended])?.finish()?;
    }
    assert_eq!(fixture.events(), [EventKind::UnknownToken]);
    for guess in 10..60 {
        fixture.sessions.load([&*format!("{}{guess}A", "A".repeat(40))])?.finish()?;
    }
    assert_eq!(fixture.events(), vec![EventKind::UnknownToken; 50]);
    Ok(())
}

/// Another response may bring the browser a newer cookie at the same time, and a removal that comes
/// after it would take that one away. So a request that doesn't log out removes no cookie.
#[test]
fn dead_cookie_and_empty_session_stay_because_a_newer_cookie_may_be_under_way() -> TestResult {
    let fixture = Fixture::new();
    let dead = fixture.stored()?;
    fixture.sessions.load([&*dead])?.destroy()?;
    // Two requests with the dead cookie: the one that is answered last must not undo the other.
    let slow = fixture.sessions.load([&*dead])?;
    let mut login = fixture.sessions.load([&*dead])?;
    login.set_subject("7")?;
    assert!(token(&login.finish()?).is_some_and(|token| !token.is_empty()));
    assert_eq!(token(&slow.finish()?), None);

    // Nor must one that takes the last value out of a session lose what another one puts in.
    let own = fixture.stored()?;
    let (mut emptying, mut filling) =
        (fixture.sessions.load([&*own])?, fixture.sessions.load([&*own])?);
    filling.insert("cart", 3)?;
    emptying.remove("name");
    assert_eq!(token(&emptying.finish()?), None);
    filling.finish()?;
    assert_eq!(fixture.sessions.load([&*own])?.get("cart")?, Some(3));
    Ok(())
}

#[test]
fn dead_cookies_are_removed_by_option_but_never_beside_a_newer_one() -> TestResult {
    let fixture = Fixture::new().with(|sessions| Ok(sessions.with_dead_cookies_removed()));
    let removed = Some(String::new());
    let dead = fixture.stored()?;
    fixture.sessions.load([&*dead])?.destroy()?;
    for cookies in [&[&*dead][..], &["junk"], &["junk", &*dead]] {
        let finished = fixture.sessions.load(cookies.iter().copied())?.finish()?;
        assert_eq!(token(&finished), removed, "{} cookies", cookies.len());
        let failed = fixture.sessions.load(cookies.iter().copied())?.removal_headers();
        assert!(header(&failed, "Set-Cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    }
    assert_eq!(token(&fixture.sessions.load([])?.finish()?), None, "there is none to remove");

    // A session that it begins, another cookie of the name that opens one or did so a moment ago.
    let mut login = fixture.sessions.load([&*dead])?;
    login.set_subject("7")?;
    assert!(token(&login.finish()?).is_some_and(|token| !token.is_empty()));
    let own = fixture.stored()?;
    assert_eq!(token(&fixture.sessions.load([&*dead, &*own])?.finish()?), None);
    renewed(&fixture.sessions, &own)?;
    assert_eq!(token(&fixture.sessions.load([&*dead, &*own])?.finish()?), None);
    Ok(())
}

#[test]
fn session_that_was_emptied_ends_by_option_unless_another_request_fills_it() -> TestResult {
    let fixture = Fixture::new().with(|sessions| Ok(sessions.with_dead_cookies_removed()));
    let own = fixture.stored()?;
    let (mut emptying, mut filling) =
        (fixture.sessions.load([&*own])?, fixture.sessions.load([&*own])?);
    emptying.remove("name");
    filling.insert("cart", 3)?;
    filling.finish()?;
    assert_eq!(token(&emptying.finish()?), None);
    assert_eq!(fixture.sessions.load([&*own])?.get("cart")?, Some(3));

    fixture.events();
    let (mut emptying, mut filling) =
        (fixture.sessions.load([&*own])?, fixture.sessions.load([&*own])?);
    emptying.clear();
    let finished = emptying.finish()?;
    assert_eq!((token(&finished), finished.id), (Some(String::new()), None));
    assert_eq!(fixture.events(), [EventKind::Ended(EndCause::Emptied)]);
    filling.insert("cart", 4)?;
    assert!(matches!(filling.finish(), Err(Error::Superseded)));
    assert!(fixture.sessions.load([&*own])?.is_empty());
    assert_eq!(fixture.rows(), 0);

    // A login, a form, and what the visitor has chosen are something.
    let keep: [fn(&mut Session<'_>) -> Result<(), Error>; 3] = [
        |session| session.set_subject("7"),
        |session| session.form_token().map(drop),
        |session| session.remember_me(true),
    ];
    for keep in keep {
        let own = fixture.stored()?;
        let mut session = fixture.sessions.load([&*own])?;
        keep(&mut session)?;
        session.clear();
        assert!(session.finish()?.id.is_some());
    }
    Ok(())
}

#[test]
fn what_is_no_token_never_reaches_the_store() -> TestResult {
    let fixture = Fixture::new();
    fixture.stored()?;
    let (key, ..) = fixture.row();
    for value in ["", "x", "' OR 1=1 --", &"A".repeat(42), &"A".repeat(8_192), &format!("{key}=")] {
        assert!(fixture.sessions.load([value])?.is_empty());
        assert_eq!(fixture.store.calls().take(), (0, 0, 0), "{} bytes", value.len());
    }
    // The key of the store is of the right form, and worth nothing.
    assert!(fixture.sessions.load([&*key])?.is_empty());
    Ok(())
}

#[test]
fn duplicate_cookies_cost_four_finds_at_most() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let other = "A".repeat(43);
    let session = fixture.sessions.load([&*other, "junk", "junk", &*other, "junk", &*token])?;
    assert!(session.contains("name"), "what isn't a token doesn't count");
    assert_eq!(fixture.store.calls().take(), (3, 0, 0));
    let session = fixture.sessions.load([&*other, &*other, &*other, &*other, &*token])?;
    assert!(!session.contains("name"));
    assert_eq!(fixture.store.calls().take(), (4, 0, 0));
    Ok(())
}

#[test]
fn store_has_the_hash_of_the_token_alone() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let (key, data, _) = fixture.row();
    assert_eq!(key.len(), 43);
    assert_ne!(key, token);
    assert!(!String::from_utf8_lossy(&data).contains(&token));

    let fixture = Fixture::new().with(|sessions| Ok(sessions.with_plain_tokens_in_store()));
    let token = fixture.stored()?;
    assert_eq!(fixture.row().0, token, "as a Go program without hashing has it");
    assert!(fixture.sessions.load([&*token])?.contains("name"));
    Ok(())
}

#[test]
fn key_of_a_stored_session_is_no_cookie() -> TestResult {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new()?);
    let manager = || SessionManager::new(Arc::clone(&store));
    let managers = [
        manager(),
        manager().with_scs_hashed_tokens_in_store(),
        manager().with_plain_tokens_in_store(),
    ];
    for hashed in &managers[..2] {
        let mut session = hashed.load([])?;
        session.insert("name", "Ada")?;
        session.finish()?;
    }
    for (key, _) in store.all()? {
        for sessions in &managers {
            assert!(sessions.load([&*key])?.is_empty());
        }
    }
    Ok(())
}

#[test]
fn undecodable_data_starts_a_fresh_session_and_is_left_alone() -> TestResult {
    for bytes in [
        &b""[..],
        b"\xff\xfe\0",
        b"{}",
        br#"{"v":1,"deadline":"2026-06-02T12:00:00Z","values":{"name":"#,
        br#"{"v":2,"deadline":"2026-06-02T12:00:00Z","values":{"name":"Ada"}}"#,
    ] {
        let fixture = Fixture::new();
        let old = fixture.stored()?;
        let (key, _, expiry) = fixture.row();
        fixture.store.commit(&key, bytes, expiry)?;

        let mut session = fixture.sessions.load([&*old])?;
        assert!(session.is_empty());
        assert_eq!(session.token(), None);
        assert_eq!(fixture.events(), [EventKind::Undecodable]);
        session.insert("name", "Grace")?;
        session.renew()?;
        let new = token(&session.finish()?).expect("it is new");
        assert_ne!(new, old);
        assert!(fixture.sessions.load([&*new])?.contains("name"));
        assert_eq!(
            fixture.store.find(&key)?.as_deref(),
            Some(bytes),
            "a newer version may read it"
        );
        assert_eq!(fixture.rows(), 2);
    }
    Ok(())
}

#[test]
fn first_cookie_that_nobody_can_use_hides_no_good_second_one() -> TestResult {
    let fixture = Fixture::new();
    let bad = fixture.stored()?;
    let (key, data, expiry) = fixture.row();
    let newer = br#"{"v":2,"deadline":"2026-06-02T00:00:00Z","values":{}}"#;
    let mut overdue = data.clone();
    let year = overdue.windows(4).position(|bytes| bytes == b"2026").expect("the deadline");
    overdue[year..year + 4].copy_from_slice(b"2025");
    for unusable in [b"?".as_slice(), newer, &overdue] {
        fixture.store.commit(&key, unusable, expiry)?;
        let good = fixture.stored()?;
        for n in 1..4 {
            let mut session = fixture.sessions.load([&*bad, &*good])?;
            let count = session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1)?;
            assert_eq!((count, session.get::<String>("name")?.as_deref()), (n, Some("Ada")));
            session.finish()?;
        }
        let mut session = fixture.sessions.load([&*bad, &*good])?;
        session.destroy()?;
        session.finish()?;
        assert_eq!(fixture.rows(), 0, "no row was added, and a logout ends what the browser named");
    }
    Ok(())
}
