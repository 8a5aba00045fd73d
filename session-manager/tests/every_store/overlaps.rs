//! Two requests of one session that overlap, in an order that the test chooses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use session_manager::{EndCause, Error, EventKind};
use store_core::{ManualClock, Store};

use crate::counting_store;
use crate::counting_store::token;
use crate::fixture::{logged_in, renewed};
use crate::{TestResult, manager};

on_every_store! {
    slow_request_cannot_bring_back_a_destroyed_session
    slow_request_cannot_bring_back_a_renewed_session
    changes_of_different_keys_both_win
    removal_and_insertion_of_different_keys_both_win
    update_is_run_again_on_the_newest_value
    second_of_two_renewals_changes_nothing
    session_that_a_slow_request_lost_keeps_the_browsers_cookie
    request_that_was_under_way_during_a_renewal_leaves_the_cookie_alone
    logout_that_was_under_way_during_a_renewal_is_final
    token_that_was_renewed_hides_no_live_session_of_another_cookie
    request_from_before_a_deadline_was_moved_neither_ends_nor_shortens_the_session
    logout_is_final_also_for_a_session_that_was_just_renewed
}

fn slow_request_cannot_bring_back_a_destroyed_session(store: &Arc<dyn Store>) -> TestResult {
    let (sessions, token) = logged_in(store)?;
    let mut slow = sessions.load([&*token])?;
    slow.insert("cart", 3)?;
    let mut slow_renewal = sessions.load([&*token])?;
    slow_renewal.renew()?;
    slow_renewal.insert("cart", 4)?;
    let slow_reader = sessions.load([&*token])?;

    let mut quick = sessions.load([&*token])?;
    quick.destroy()?;
    quick.finish()?;

    for session in [slow, slow_renewal] {
        assert!(session.removal_headers().is_empty());
        assert!(
            matches!(session.finish(), Err(Error::Superseded)),
            "it hears that it came too late"
        );
        assert!(store.all()?.is_empty());
    }
    assert_eq!(counting_store::token(&slow_reader.finish()?), None);
    assert!(store.all()?.is_empty());
    assert!(sessions.load([&*token])?.is_empty());
    Ok(())
}

fn slow_request_cannot_bring_back_a_renewed_session(store: &Arc<dyn Store>) -> TestResult {
    let (sessions, old) = logged_in(store)?;
    let mut slow = sessions.load([&*old])?;
    slow.insert("cart", 3)?;
    let mut log_in = sessions.load([&*old])?;
    log_in.renew()?;
    log_in.insert("user_id", 8)?;
    let new = token(&log_in.finish()?).expect("it changes");
    assert!(matches!(slow.finish(), Err(Error::Superseded)), "it hears that it came too late");
    assert!(sessions.load([&*old])?.is_empty());
    let session = sessions.load([&*new])?;
    assert_eq!(session.get("user_id")?, Some(8));
    assert_eq!(session.get::<u32>("cart")?, None, "what came too late is dropped");
    assert_eq!(store.all()?.len(), 1);
    Ok(())
}

fn changes_of_different_keys_both_win(store: &Arc<dyn Store>) -> TestResult {
    let (sessions, token) = logged_in(store)?;
    let (mut first, mut second) = (sessions.load([&*token])?, sessions.load([&*token])?);
    first.insert("theme", "dark")?;
    first.insert("both", "first")?;
    second.insert("language", "fr")?;
    second.insert("both", "second")?;
    second.finish()?;
    first.finish()?;
    let session = sessions.load([&*token])?;
    let text = |key| session.get::<String>(key);
    assert_eq!(text("theme")?.as_deref(), Some("dark"));
    assert_eq!(text("language")?.as_deref(), Some("fr"));
    assert_eq!(text("both")?.as_deref(), Some("first"), "the one that finished last");
    assert_eq!(session.get("user_id")?, Some(7));
    Ok(())
}

fn removal_and_insertion_of_different_keys_both_win(store: &Arc<dyn Store>) -> TestResult {
    let (sessions, token) = logged_in(store)?;
    let mut session = sessions.load([&*token])?;
    session.insert("a", 1)?;
    session.insert("b", 2)?;
    session.finish()?;

    let (mut first, mut second) = (sessions.load([&*token])?, sessions.load([&*token])?);
    first.remove("a");
    second.insert("c", 3)?;
    second.remove("b");
    first.finish()?;
    second.finish()?;
    let session = sessions.load([&*token])?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["user_id", "c"]);

    // Clearing takes what is there when it is written, and leaves what the same request inserts
    // later.
    let (mut first, mut second) = (sessions.load([&*token])?, sessions.load([&*token])?);
    first.clear();
    first.insert("fresh", true)?;
    second.insert("d", 4)?;
    second.finish()?;
    first.finish()?;
    let session = sessions.load([&*token])?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["fresh"]);
    Ok(())
}

fn update_is_run_again_on_the_newest_value(store: &Arc<dyn Store>) -> TestResult {
    let (sessions, token) = logged_in(store)?;
    let runs = Arc::new(AtomicUsize::new(0));
    let mut first = sessions.load([&*token])?;
    let seen = first.update("count", {
        let runs = Arc::clone(&runs);
        move |count: Option<u32>| {
            runs.fetch_add(1, Ordering::Relaxed);
            count.unwrap_or(0) + 1
        }
    })?;
    assert_eq!(seen, 1);
    for _ in 0..10 {
        let mut other = sessions.load([&*token])?;
        other.update("count", |count: Option<u32>| count.unwrap_or(0) + 1)?;
        other.finish()?;
    }
    first.finish()?;
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(sessions.load([&*token])?.get("count")?, Some(11));

    // If another request has left a value of another type, it is replaced, or nothing of this
    // request is written.
    let strict = manager(Arc::clone(store)).with_strict_types();
    for (sessions, is_strict) in [(strict, true), (sessions, false)] {
        let mut first = sessions.load([&*token])?;
        first.insert("count", 7)?;
        first.update("count", |count: Option<u32>| count.unwrap_or(0) + 1)?;
        first.update("more", |more: Option<u32>| more.unwrap_or(0) + 1)?;
        let mut other = sessions.load([&*token])?;
        other.insert("more", if is_strict { "many" } else { "few" })?;
        other.finish()?;
        if is_strict {
            assert!(matches!(first.finish(), Err(Error::WrongType { .. })));
            let session = sessions.load([&*token])?;
            assert_eq!(session.get::<String>("more")?.as_deref(), Some("many"));
            assert_eq!(session.get("count")?, Some(11));
        } else {
            first.finish()?;
            let session = sessions.load([&*token])?;
            assert_eq!((session.get("more")?, session.get("count")?), (Some(1), Some(8)));
        }
    }
    Ok(())
}

fn second_of_two_renewals_changes_nothing(store: &Arc<dyn Store>) -> TestResult {
    let (sessions, old) = logged_in(store)?;
    let (mut first, mut second) = (sessions.load([&*old])?, sessions.load([&*old])?);
    first.renew()?;
    second.renew()?;
    second.insert("user_id", 9)?;
    let new = token(&first.finish()?).expect("it changes");
    assert!(matches!(second.finish(), Err(Error::Superseded)), "the browser has the newer cookie");
    assert_eq!(store.all()?.len(), 1);
    assert_eq!(sessions.load([&*new])?.get("user_id")?, Some(7));
    Ok(())
}

fn session_that_a_slow_request_lost_keeps_the_browsers_cookie(
    store: &Arc<dyn Store>,
) -> TestResult {
    let events = Arc::<std::sync::Mutex<Vec<_>>>::default();
    let (sessions, token) = logged_in(store)?;
    let sessions = sessions.with_event_hook({
        let events = Arc::clone(&events);
        move |event| events.lock().expect("nobody panics with it").push(event.kind.clone())
    });
    let mut slow = sessions.load([&*token])?;
    slow.remember_me(true)?;
    let mut log_out = sessions.load([&*token])?;
    log_out.destroy()?;
    log_out.finish()?;
    let slow_reader = sessions.load([&*token])?;
    assert!(slow.removal_headers().is_empty());
    assert!(matches!(slow.finish(), Err(Error::Superseded)));
    assert!(slow_reader.finish()?.headers.is_empty());
    let events = events.lock().expect("nobody panics with it");
    assert_eq!(
        *events,
        [EventKind::Ended(EndCause::Logout), EventKind::UnknownToken, EventKind::Lost]
    );
    Ok(())
}

fn request_that_was_under_way_during_a_renewal_leaves_the_cookie_alone(
    store: &Arc<dyn Store>,
) -> TestResult {
    let (sessions, old) = logged_in(store)?;
    let new = renewed(&sessions, &old)?;
    // The process that serves it needn't be the one that has renewed the session.
    let elsewhere = manager(Arc::clone(store));
    for sessions in [&sessions, &elsewhere] {
        // The browser had sent this one with the cookie that it had then.
        let late = sessions.load([&*old])?;
        assert_eq!(late.get::<u32>("user_id")?, None, "the old token is worth nothing");
        assert_eq!(late.finish()?.headers, [("Vary", "Cookie".to_owned())]);

        let mut late = sessions.load([&*old])?;
        late.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
        // As one does that keeps the time of the last renewal as a value, and finds none.
        late.renew()?;
        assert!(late.removal_headers().is_empty());
        assert!(matches!(late.finish(), Err(Error::Superseded)));
        assert_eq!(store.all()?.len(), 1);
        assert!(sessions.load([&*new])?.contains("user_id"));
    }
    Ok(())
}

fn logout_that_was_under_way_during_a_renewal_is_final(store: &Arc<dyn Store>) -> TestResult {
    let (sessions, old) = logged_in(store)?;
    let new = renewed(&sessions, &old)?;

    let (_, leftover) = logged_in(store)?;

    // A cookie of another path or domain may be next to it.
    let mut log_out = sessions.load([&*old, &*leftover])?;
    log_out.destroy()?;
    assert_eq!(token(&log_out.finish()?).as_deref(), Some(""));
    assert!(sessions.load([&*new])?.is_empty());
    assert!(store.all()?.is_empty());

    let mut again = sessions.load([&*old])?;
    again.destroy()?;
    again.flash("notice", "Logged out.")?;
    let fresh = token(&again.finish()?).expect("the message is in its own session");
    let mut session = sessions.load([&*fresh])?;
    assert_eq!(session.take_flash::<String>("notice")?.as_deref(), Some("Logged out."));
    Ok(())
}

fn token_that_was_renewed_hides_no_live_session_of_another_cookie(
    store: &Arc<dyn Store>,
) -> TestResult {
    let (sessions, leftover) = logged_in(store)?;
    let new = renewed(&sessions, &leftover)?;
    // The browser has a cookie of another path or domain, which the response didn't replace, and
    // sends it first.
    let mut session = sessions.load([&*leftover, &*new])?;
    assert_eq!(session.get("user_id")?, Some(7));
    session.insert("cart", 3)?;
    session.finish()?;
    assert_eq!(sessions.load([&*new])?.get("cart")?, Some(3));
    Ok(())
}

fn request_from_before_a_deadline_was_moved_neither_ends_nor_shortens_the_session(
    store: &Arc<dyn Store>,
) -> TestResult {
    // The stores' clocks are the system's, so all is in the future.
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
    let sessions = manager(Arc::clone(store))
        .with_clock(clock.clone())
        .with_lifetime(hours(24))?
        .with_idle_timeout(hours(10))?;
    let mut session = sessions.load([])?;
    session.insert("user_id", 7)?;
    let token = token(&session.finish()?).expect("it is new");
    let use_after = |hours| {
        clock.advance(TimeDelta::hours(hours));
        let mut session = sessions.load([&*token])?;
        session.update("uses", |uses: Option<u32>| uses.unwrap_or(0) + 1)?;
        session.finish().map(drop)
    };
    use_after(9)?;
    use_after(4)?;

    clock.advance(TimeDelta::hours(9));
    let (slow, slower) = (sessions.load([&*token])?, sessions.load([&*token])?);
    let mut log_in = sessions.load([&*token])?;
    log_in.reset_lifetime();
    log_in.finish()?;
    let expiry = sessions.load([&*token])?.expiry();
    clock.advance(TimeDelta::hours(1));
    slow.finish()?;
    assert_eq!(sessions.load([&*token])?.expiry(), expiry, "at the old deadline");
    clock.advance(TimeDelta::hours(2));
    assert_eq!(slower.get("user_id")?, Some(7), "it goes on with what it has loaded");
    slower.finish()?;
    assert_eq!(sessions.load([&*token])?.get("user_id")?, Some(7));
    assert_eq!(sessions.load([&*token])?.expiry(), expiry);
    Ok(())
}

fn logout_is_final_also_for_a_session_that_was_just_renewed(store: &Arc<dyn Store>) -> TestResult {
    let (sessions, old) = logged_in(store)?;
    let mut log_out = sessions.load([&*old])?;
    let mut newest = old.clone();
    for _ in 0..3 {
        newest = renewed(&sessions, &newest)?;
    }
    log_out.destroy()?;
    assert_eq!(token(&log_out.finish()?).as_deref(), Some(""));
    assert!(sessions.load([&*newest])?.is_empty());
    assert!(store.all()?.is_empty());
    Ok(())
}
