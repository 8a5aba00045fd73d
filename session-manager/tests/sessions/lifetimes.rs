//! Deadlines, idle timeouts, clocks, and how long the browser keeps the cookie.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use session_manager::{CookiePolicy, EndCause, Error, EventKind, SessionManager};
use store_core::{Clock as _, Limits, ManualClock, MemoryOptions, Store as _};

use crate::TestResult;
use crate::counting_store;
use crate::counting_store::token;
use crate::fixture::{Fixture, header, logged_in};

#[test]
fn session_ends_at_its_deadline_however_much_it_is_used() -> TestResult {
    let fixture =
        Fixture::new().with(|sessions| sessions.with_lifetime(Duration::from_secs(3_600)));
    let token = fixture.stored()?;
    let deadline = fixture.clock.now() + TimeDelta::hours(1);
    for minutes in [20, 20, 19] {
        fixture.clock.advance(TimeDelta::minutes(minutes));
        let mut session = fixture.sessions.load([&*token])?;
        assert_eq!(session.deadline(), deadline);
        session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
        session.finish()?;
        assert_eq!(fixture.row().2, deadline);
    }
    fixture.clock.advance(TimeDelta::minutes(1));
    let session = fixture.sessions.load([&*token])?;
    assert!(session.is_empty());
    assert_eq!(session.token(), None);
    assert!(fixture.events().contains(&EventKind::UnknownToken));
    Ok(())
}

#[test]
fn idle_timeout_is_moved_once_a_tenth_of_it_has_passed() -> TestResult {
    let fixture =
        Fixture::new().with(|sessions| sessions.with_idle_timeout(Duration::from_secs(600)));
    let token = fixture.stored()?;
    let start = fixture.clock.now();
    let request = || fixture.sessions.load([&*token])?.finish();

    fixture.clock.advance(TimeDelta::seconds(59));
    assert_eq!(request()?.headers, []);
    assert_eq!(fixture.store.calls().take(), (1, 0, 0), "not yet a tenth");
    fixture.clock.advance(TimeDelta::seconds(1));
    assert_eq!(request()?.headers, [], "the browser has nothing to know");
    assert_eq!(fixture.store.calls().take(), (1, 1, 0));
    assert_eq!(fixture.row().2, start + TimeDelta::seconds(660));
    request()?;
    assert_eq!(fixture.store.calls().take(), (1, 0, 0), "it was just moved");

    fixture.clock.advance(TimeDelta::seconds(599));
    request()?;
    assert_eq!(fixture.row().2, start + TimeDelta::seconds(660 + 599));
    fixture.clock.advance(TimeDelta::seconds(600));
    assert!(fixture.sessions.load([&*token])?.is_empty(), "it was not used for ten minutes");
    Ok(())
}

#[test]
fn idle_timeout_never_outlives_the_deadline() -> TestResult {
    let fixture = Fixture::new().with(|sessions| {
        sessions
            .with_lifetime(Duration::from_secs(900))?
            .with_idle_timeout(Duration::from_secs(600))
    });
    let token = fixture.stored()?;
    let deadline = fixture.clock.now() + TimeDelta::seconds(900);
    fixture.clock.advance(TimeDelta::seconds(500));
    fixture.sessions.load([&*token])?.finish()?;
    assert_eq!(fixture.row().2, deadline);
    fixture.store.calls().take();
    fixture.clock.advance(TimeDelta::seconds(300));
    fixture.sessions.load([&*token])?.finish()?;
    assert_eq!(fixture.store.calls().take(), (1, 0, 0), "there is nothing left to move");
    fixture.clock.advance(TimeDelta::seconds(100));
    assert!(fixture.sessions.load([&*token])?.is_empty());
    Ok(())
}

#[test]
fn clock_going_backwards_ends_nothing_and_extends_nothing() -> TestResult {
    let fixture = Fixture::new().with(|sessions| {
        sessions
            .with_lifetime(Duration::from_secs(7_200))?
            .with_idle_timeout(Duration::from_secs(600))
    });
    let token = fixture.stored()?;
    let (_, _, expiry) = fixture.row();
    fixture.clock.advance(TimeDelta::hours(-3));
    let session = fixture.sessions.load([&*token])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    session.finish()?;
    assert_eq!(fixture.store.calls().take(), (1, 0, 0), "no touch");
    assert_eq!(fixture.row().2, expiry);

    let mut session = fixture.sessions.load([&*token])?;
    session.insert("name", "Grace")?;
    session.finish()?;
    assert!(fixture.row().2 <= expiry, "a write counts from the present");
    fixture.clock.advance(TimeDelta::hours(3));
    assert!(fixture.sessions.load([&*token])?.is_empty(), "the present was three hours ago");
    Ok(())
}

#[test]
fn deadline_can_be_moved_either_way() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let later = fixture.clock.now() + TimeDelta::days(30);
    let mut session = fixture.sessions.load([&*token])?;
    session.set_deadline(later);
    session.finish()?;
    assert_eq!(fixture.row().2, later);
    assert_eq!(fixture.sessions.load([&*token])?.deadline(), later);

    let mut session = fixture.sessions.load([&*token])?;
    session.set_deadline(fixture.clock.now() - TimeDelta::seconds(1));
    assert_eq!(counting_store::token(&session.finish()?).as_deref(), Some(""), "it has ended");
    assert_eq!(fixture.rows(), 0);
    Ok(())
}

#[test]
fn deadline_has_a_form_in_every_codec() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let mut session = fixture.sessions.load([&*token])?;
    session.set_deadline(DateTime::<Utc>::MAX_UTC);
    session.finish()?;
    let session = fixture.sessions.load([&*token])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.deadline().to_rfc3339(), "9999-12-31T23:59:59+00:00");

    // Go's RFC 3339 has no leap second.
    let mut session = fixture.sessions.load([&*token])?;
    session.set_deadline("2076-12-31T23:59:60.25Z".parse().expect("a leap second"));
    session.finish()?;
    let session = fixture.sessions.load([&*token])?;
    assert_eq!(session.deadline().to_rfc3339(), "2076-12-31T23:59:59.999999+00:00");

    let mut session = fixture.sessions.load([&*token])?;
    session.set_deadline(DateTime::<Utc>::MIN_UTC);
    assert_eq!(session.deadline().to_rfc3339(), "2000-01-01T00:00:00+00:00");
    assert_eq!(counting_store::token(&session.finish()?).as_deref(), Some(""));
    assert_eq!(fixture.rows(), 0);
    Ok(())
}

#[test]
fn session_whose_deadline_has_passed_is_over_though_the_store_has_it() -> TestResult {
    let fixture = Fixture::new();
    let old = fixture.stored()?;
    let (key, data, expiry) = fixture.row();
    fixture.store.commit(&key, &data, expiry + TimeDelta::days(1))?;
    let row = fixture.row();
    fixture.clock.advance(TimeDelta::hours(24));
    let session = fixture.sessions.load([&*old])?;
    assert!(session.is_empty());
    assert_eq!(fixture.events(), [EventKind::Ended(EndCause::Deadline)]);
    session.finish()?;
    fixture.sessions.for_each(|_| panic!("it is in no walk"))?;
    assert_eq!(fixture.row(), row, "the store's own cleanup removes it");
    Ok(())
}

#[test]
fn deadline_that_another_request_has_moved_holds_though_the_expiry_is_moved_after_it() -> TestResult
{
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let options = MemoryOptions::new().with_clock(clock.clone());
    let sessions = SessionManager::new(options.build()?)
        .with_clock(clock.clone())
        .with_idle_timeout(Duration::from_secs(3600))?;
    let cookie = logged_in(&sessions, "alice")?;
    clock.advance(TimeDelta::minutes(30));
    let reading = sessions.load([&*cookie])?;
    let mut ending = sessions.load([&*cookie])?;
    ending.set_deadline(clock.now() + TimeDelta::minutes(10));
    ending.finish()?;
    reading.finish()?;
    clock.advance(TimeDelta::minutes(11));
    assert_eq!(sessions.sessions_of("alice")?.len(), 0);
    assert!(sessions.load([&*cookie])?.is_empty());
    Ok(())
}

#[test]
fn cookie_goes_with_the_browser_unless_it_is_to_remember() -> TestResult {
    let fixture = Fixture::new();
    let mut session = fixture.sessions.load([])?;
    session.insert("name", "Ada")?;
    let finished = session.finish()?;
    let cookie = header(&finished.headers, "Set-Cookie").expect("it is new");
    assert!(cookie.starts_with("__Host-session="), "{cookie}");
    for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Max-Age") && !cookie.contains("Domain"), "{cookie}");
    assert_eq!(header(&finished.headers, "Cache-Control"), Some("no-store"));

    let token = token(&finished).expect("it is new");
    let mut session = fixture.sessions.load([&*token])?;
    session.remember_me(true)?;
    let headers = session.finish()?.headers;
    let cookie = header(&headers, "Set-Cookie").expect("it changes");
    assert!(cookie.contains(&token) && cookie.contains("Max-Age=86400"), "{cookie}");
    let mut session = fixture.sessions.load([&*token])?;
    session.insert("visits", 2)?;
    assert_eq!(counting_store::token(&session.finish()?), None, "the browser knows already");
    let mut session = fixture.sessions.load([&*token])?;
    session.remember_me(false)?;
    let headers = session.finish()?.headers;
    let cookie = header(&headers, "Set-Cookie").expect("it changes");
    assert!(cookie.contains(&token) && !cookie.contains("Max-Age"), "{cookie}");
    Ok(())
}

#[test]
fn persistent_cookie_moves_with_the_idle_timeout() -> TestResult {
    let fixture = Fixture::new().with(|sessions| {
        sessions
            .with_cookie(CookiePolicy::new().persistent())?
            .with_idle_timeout(Duration::from_secs(600))
    });
    let token = fixture.stored()?;
    fixture.clock.advance(TimeDelta::seconds(30));
    assert_eq!(counting_store::token(&fixture.sessions.load([&*token])?.finish()?), None);
    fixture.clock.advance(TimeDelta::seconds(60));
    let headers = fixture.sessions.load([&*token])?.finish()?.headers;
    let cookie = header(&headers, "Set-Cookie").expect("the cookie would expire first");
    assert!(cookie.contains(&token) && cookie.contains("Max-Age=600"), "{cookie}");

    // So does that of a session which is to be remembered, though the others go with the browser.
    let fixture =
        Fixture::new().with(|sessions| sessions.with_idle_timeout(Duration::from_secs(600)));
    let mut session = fixture.sessions.load([])?;
    session.remember_me(true)?;
    let token = counting_store::token(&session.finish()?).expect("it is new");
    fixture.clock.advance(TimeDelta::seconds(90));
    let headers = fixture.sessions.load([&*token])?.finish()?.headers;
    let cookie = header(&headers, "Set-Cookie").expect("the cookie would expire first");
    assert!(cookie.contains(&token) && cookie.contains("Max-Age=600"), "{cookie}");
    Ok(())
}

#[test]
fn persistent_cookie_moves_with_the_deadline() -> TestResult {
    let fixture =
        Fixture::new().with(|sessions| sessions.with_cookie(CookiePolicy::new().persistent()));
    let token = fixture.stored()?;
    // As where an identity provider says how long it vouches for the visitor.
    let mut session = fixture.sessions.load([&*token])?;
    session.set_deadline(fixture.clock.now() + TimeDelta::minutes(10));
    let headers = session.finish()?.headers;
    let cookie = header(&headers, "Set-Cookie").expect("it ends earlier");
    assert!(cookie.contains(&token) && cookie.contains("Max-Age=600"), "{cookie}");

    let mut session = fixture.sessions.load([&*token])?;
    session.reset_lifetime();
    assert_eq!(session.expiry(), fixture.clock.now() + TimeDelta::hours(24));
    let headers = session.finish()?.headers;
    let cookie = header(&headers, "Set-Cookie").expect("it ends later");
    assert!(cookie.contains(&token) && cookie.contains("Max-Age=86400"), "{cookie}");
    Ok(())
}

#[test]
fn lifetimes_out_of_range_are_refused() {
    let hundred_years = Duration::from_secs(100 * 365 * 86_400);
    for time in [Duration::from_nanos(1), hundred_years] {
        assert!(Fixture::new().sessions.with_lifetime(time).is_ok(), "{time:?}");
    }
    for time in [Duration::ZERO, Duration::MAX, hundred_years + Duration::from_nanos(1)] {
        let refused = Fixture::new().sessions.with_lifetime(time);
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{time:?}");
        let refused = Fixture::new().sessions.with_idle_timeout(time);
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{time:?}");
    }
}

/// “Remember me” for 30 days, beside half an hour for the others.
#[test]
fn session_can_have_an_idle_timeout_of_its_own() -> TestResult {
    let fixture = Fixture::new().with(|sessions| {
        let sessions = sessions.with_idle_timeout(Duration::from_secs(30 * 60))?;
        sessions.with_lifetime(Duration::from_secs(90 * 24 * 60 * 60))
    });
    let mut session = fixture.sessions.load([])?;
    session.set_subject("ada")?;
    session.remember_me(true)?;
    session.set_idle_timeout(Some(Duration::from_secs(30 * 24 * 60 * 60)))?;
    let finished = session.finish()?;
    let cookie = header(&finished.headers, "Set-Cookie").expect("it is new");
    assert!(cookie.contains("Max-Age=2592000"), "{cookie}");
    let own = token(&finished).expect("it is new");
    assert_eq!(fixture.row().2, fixture.clock.now() + TimeDelta::days(30));

    fixture.clock.advance(TimeDelta::days(29));
    fixture.sessions.load([&*own])?.finish()?;
    assert_eq!(fixture.row().2, fixture.clock.now() + TimeDelta::days(30), "it is moved by it");
    let mut session = fixture.sessions.load([&*own])?;
    session.set_idle_timeout(None)?;
    session.clear();
    session.finish()?;
    assert_eq!(fixture.row().2, fixture.sessions.load([&*own])?.deadline());

    let mut session = fixture.sessions.load([&*own])?;
    for wrong in [Duration::ZERO, Duration::from_micros(1), Duration::MAX] {
        let refused = session.set_idle_timeout(Some(wrong));
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{wrong:?}");
    }
    // It was another user's choice.
    session.set_subject("grace")?;
    session.finish()?;
    assert_eq!(fixture.row().2, fixture.clock.now() + TimeDelta::minutes(30));
    Ok(())
}

/// A page that polls keeps nobody logged in.
#[test]
fn request_that_is_no_use_leaves_the_idle_timeout_alone() -> TestResult {
    let fixture =
        Fixture::new().with(|sessions| sessions.with_idle_timeout(Duration::from_secs(15 * 60)));
    let token = fixture.stored()?;
    let expiry = fixture.row().2;
    for polls in 0..29 {
        fixture.clock.advance(TimeDelta::seconds(30));
        let mut session = fixture.sessions.load([&*token])?;
        session.ignore_use();
        assert!(session.contains("name"));
        if polls % 2 == 0 {
            session.insert("polls", polls)?;
        }
        if polls % 5 == 0 {
            assert_eq!(session.expiry(), expiry);
        }
        session.finish()?;
        assert_eq!(fixture.row().2, expiry);
    }
    fixture.clock.advance(TimeDelta::seconds(30));
    assert!(fixture.sessions.load([&*token])?.is_empty());

    // Without an idle timeout there is only the deadline, which the request can move.
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let mut session = fixture.sessions.load([&*token])?;
    session.ignore_use();
    session.set_deadline(fixture.clock.now() + TimeDelta::days(30));
    session.finish()?;
    assert_eq!(fixture.row().2, fixture.clock.now() + TimeDelta::days(30));
    Ok(())
}

#[test]
fn writes_that_are_no_use_never_take_back_a_use_by_another_request() -> TestResult {
    let fixture =
        Fixture::new().with(|sessions| sessions.with_idle_timeout(Duration::from_secs(15 * 60)));
    let mut session = fixture.sessions.load([])?;
    session.set_subject("7")?;
    let token = token(&session.finish()?).expect("it is new");
    let in_a_moment = |fixture: &Fixture| {
        fixture.clock.advance(TimeDelta::minutes(10));
        fixture.clock.now() + TimeDelta::minutes(15)
    };

    let mut poll = fixture.sessions.load([&*token])?;
    poll.ignore_use();
    poll.insert("polls", 1)?;
    let expiry = in_a_moment(&fixture);
    fixture.sessions.load([&*token])?.finish()?;
    assert_eq!(fixture.row().2, expiry, "the visitor uses the session");
    poll.finish()?;
    assert_eq!(fixture.row().2, expiry, "a poll that began before");

    let listed = fixture.sessions.sessions_of("7")?.remove(0);
    let mut expiry = in_a_moment(&fixture);
    fixture.sessions.update(&listed, |session| {
        fixture.sessions.load([&*token])?.finish()?;
        session.insert("role", "reader")
    })?;
    assert_eq!(fixture.row().2, expiry, "an administrator");

    // What ends sooner by the change itself ends sooner.
    fixture.sessions.update(&listed, |session| {
        expiry = in_a_moment(&fixture);
        fixture.sessions.load([&*token])?.finish()?;
        session.set_deadline(expiry - TimeDelta::minutes(14));
        Ok(())
    })?;
    assert_eq!(fixture.row().2, expiry - TimeDelta::minutes(14));
    Ok(())
}

#[test]
fn session_that_only_just_fits_is_read_though_its_token_is_too_old() -> TestResult {
    let fixture = Fixture::new();
    // The bytes of a session without its value's.
    let mut session = fixture.sessions.load([])?;
    session.insert("text", "")?;
    session.finish()?;
    let rest = fixture.row().1.len();
    fixture.store.delete(&fixture.row().0)?;
    let text = "x".repeat(Limits::DEFAULT.max_data_len - rest);
    let mut session = fixture.sessions.load([])?;
    session.insert("text", &text)?;
    let old = token(&session.finish()?).expect("it is new");

    // The application begins to rotate tokens, and no session says how old its token is.
    let fixture = fixture.with(|sessions| sessions.with_rotation(Duration::from_secs(600)));
    assert_eq!(counting_store::token(&fixture.sessions.load([&*old])?.finish()?), None);
    let mut session = fixture.sessions.load([&*old])?;
    session.insert("text", text.replacen('x', "y", 1))?;
    assert_eq!(counting_store::token(&session.finish()?), None, "what was asked for is written");
    let mut session = fixture.sessions.load([&*old])?;
    assert_eq!(session.get::<String>("text")?.map(|text| text.starts_with('y')), Some(true));

    // A renewal that was asked for is no detail.
    session.renew()?;
    session.insert("more", 1)?;
    let refused = session.finish();
    assert!(
        matches!(refused, Err(Error::Store(store_core::Error::DataTooLarge { .. }))),
        "{refused:?}"
    );
    let mut session = fixture.sessions.load([&*old])?;
    session.insert("text", "short")?;
    let new = counting_store::token(&session.finish()?).expect("now it is rotated");
    assert!(fixture.sessions.load([&*new])?.contains("text"));
    Ok(())
}
