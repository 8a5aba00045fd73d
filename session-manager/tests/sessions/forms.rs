//! Tokens of forms: in which sessions they are good, how long, and what happens meanwhile.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use proptest::prelude::*;
use session_manager::{Error, SessionManager};

use crate::TestResult;
use crate::counting_store::token;
use crate::fixture::{Fixture, header, logged_in, manager, renewed};

/// Shows a page with a form to the browser with this cookie; returns the form's token and the
/// browser's cookie.
fn page(sessions: &SessionManager, cookie: &str) -> Result<(String, String), Error> {
    let mut session = sessions.load([cookie])?;
    let form = session.form_token()?;
    let new = token(&session.finish()?);
    Ok((form, new.unwrap_or_else(|| cookie.to_owned())))
}

/// Whether a form is accepted from the browser with this cookie.
fn is_good(sessions: &SessionManager, cookie: &str, form: &str) -> Result<bool, Error> {
    match sessions.load([cookie])?.check_form_token(form) {
        Ok(()) => Ok(true),
        Err(Error::FormToken) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Logs in with a form, and returns the browser's new cookie.
fn log_in(
    sessions: &SessionManager,
    cookie: &str,
    form: &str,
    user: &str,
) -> Result<String, Error> {
    let mut session = sessions.load([cookie])?;
    session.check_form_token(form)?;
    session.renew()?;
    session.set_subject(user)?;
    Ok(token(&session.finish()?).expect("it is new"))
}

#[test]
fn form_of_the_session_is_good_and_all_others_are_not() -> TestResult {
    let fixture = Fixture::new();
    let sessions = &fixture.sessions;
    let (own, other) = (fixture.stored()?, logged_in(sessions, "alice")?);
    let (form, cookie) = page(sessions, &own)?;
    let (others_form, _) = page(sessions, &other)?;
    assert_eq!(cookie, own, "the browser has its cookie");
    assert!(is_good(sessions, &own, &form)?);
    assert!(is_good(sessions, &own, &page(sessions, &own)?.0)?, "of any page");
    assert!(is_good(sessions, &own, &form)?, "any number of times");

    // One bit of the secret or of the mask.
    let flipped = |at: usize| {
        let mut form = form.clone().into_bytes();
        form[at] = if form[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(form).expect("it is ASCII")
    };
    let (cut, longer, key) = (&form[..85], format!("{form}A"), sessions.load([&*own])?);
    let key = key.key().expect("it is stored").as_str();
    for bad in
        ["", "guessed", cut, &longer, &others_form, &own, key, &flipped(0), &flipped(60), "é\0"]
    {
        assert!(!is_good(sessions, &own, bad)?, "{bad:?}");
    }
    assert!(!is_good(sessions, &other, &form)?, "of another session");
    assert!(!is_good(sessions, "", &form)?, "without a session");
    assert!(!is_good(sessions, &"A".repeat(43), &form)?, "with a cookie that names none");
    Ok(())
}

#[test]
fn first_form_is_one_write_and_the_next_ones_are_none() -> TestResult {
    let fixture = Fixture::new();
    let cookie = fixture.stored()?;
    let row = fixture.row();
    assert!(!String::from_utf8_lossy(&row.1).contains("__form"), "who shows no form has none");
    let tokens = [page(&fixture.sessions, &cookie)?.0, page(&fixture.sessions, &cookie)?.0];
    assert_eq!(fixture.store.calls().take(), (2, 0, 1));
    assert_ne!(tokens[0], tokens[1], "never the same");

    let mut session = fixture.sessions.load([&*cookie])?;
    session.check_form_token(&tokens[0])?;
    let (one, other) = (session.form_token()?, session.form_token()?);
    assert_ne!(one, other);
    let headers = session.finish()?.headers;
    assert_eq!(headers, [("Vary", "Cookie".to_owned())]);
    assert_eq!(fixture.store.calls().take(), (1, 0, 0), "asking writes nothing");
    let checked = fixture.sessions.load([&*cookie])?;
    checked.check_form_token(&tokens[0])?;
    assert_eq!(header(&checked.finish()?.headers, "Vary"), Some("Cookie"));
    Ok(())
}

#[test]
fn form_stores_a_fresh_session_which_stays() -> TestResult {
    let fixture = Fixture::new();
    let sessions = &fixture.sessions;
    let (form, cookie) = page(sessions, "")?;
    assert_eq!(fixture.rows(), 1);
    let mut session = sessions.load([&*cookie])?;
    assert!(session.is_empty(), "the application sees nothing of it");
    assert_eq!(session.keys().count(), 0);
    assert!(matches!(session.insert("__form", "mine"), Err(Error::ReservedKey { .. })));
    session.check_form_token(&form)?;
    session.clear();
    session.insert("visits", 1)?;
    session.remove("visits");
    session.finish()?;
    assert_eq!(fixture.rows(), 1);
    assert!(is_good(sessions, &cookie, &form)?);
    assert_ne!(page(sessions, "")?.1, cookie, "another browser, another session");
    Ok(())
}

#[test]
fn pages_that_are_the_first_at_the_same_time_agree() -> TestResult {
    let fixture = Fixture::new();
    let cookie = fixture.stored()?;
    let (mut one, mut other) =
        (fixture.sessions.load([&*cookie])?, fixture.sessions.load([&*cookie])?);
    let forms = [one.form_token()?, other.form_token()?];
    one.insert("a", 1)?;
    other.insert("b", 2)?;
    one.finish()?;
    other.finish()?;
    for form in forms {
        assert!(is_good(&fixture.sessions, &cookie, &form)?);
    }
    Ok(())
}

#[test]
fn form_from_before_a_renewal_is_good_for_the_grace() -> TestResult {
    // Forward, and after the clock was set back.
    for direction in [1, -1] {
        let fixture = Fixture::new();
        let sessions = &fixture.sessions;
        let old = fixture.stored()?;
        let (form, _) = page(sessions, &old)?;
        let new = renewed(sessions, &old)?;
        let (new_form, _) = page(sessions, &new)?;
        assert!(is_good(sessions, &new, &form)?);
        fixture.clock.advance(TimeDelta::milliseconds(direction * 29_999));
        assert!(is_good(sessions, &new, &form)?, "{direction}");
        fixture.clock.advance(TimeDelta::milliseconds(direction));
        assert!(!is_good(sessions, &new, &form)?, "{direction}");
        assert!(is_good(sessions, &new, &new_form)?);
    }
    Ok(())
}

#[test]
fn form_shown_by_the_request_that_renews_is_good_for_good() -> TestResult {
    for has_form in [true, false] {
        let fixture = Fixture::new();
        let sessions = &fixture.sessions;
        let cookie = fixture.stored()?;
        if has_form {
            page(sessions, &cookie)?;
        }
        let mut session = sessions.load([&*cookie])?;
        session.renew()?;
        session.set_subject("ada")?;
        let form = session.form_token()?;
        session.check_form_token(&form)?;
        // One that shows the session's first form before that is written, under the old token.
        if !has_form {
            page(sessions, &cookie)?;
        }
        let new = token(&session.finish()?).expect("it is new");
        fixture.clock.advance(TimeDelta::minutes(1));
        assert!(is_good(sessions, &new, &form)?, "{has_form}");
    }
    Ok(())
}

#[test]
fn both_clicks_on_log_in_are_good() -> TestResult {
    let every = Duration::from_secs(15 * 60);
    for is_rotated in [false, true] {
        for user_before in [None, Some("ada"), Some("grace")] {
            let fixture = Fixture::new().with(|sessions| sessions.with_rotation(every));
            let sessions = &fixture.sessions;
            let cookie = match user_before {
                Some(user) => logged_in(sessions, user)?,
                None => fixture.stored()?,
            };
            let (form, mut cookie) = page(sessions, &cookie)?;
            if is_rotated {
                fixture.clock.advance(TimeDelta::minutes(15));
                cookie = token(&sessions.load([&*cookie])?.finish()?).expect("it is rotated");
            }
            let first = log_in(sessions, &cookie, &form, "ada")?;
            let second = log_in(sessions, &cookie, &form, "ada")?;
            for cookie in [&first, &second] {
                assert_eq!(sessions.load([&**cookie])?.subject().as_deref(), Some("ada"));
            }

            // The old cookie shows no form, and no form of anybody else is good with it.
            let mut late = sessions.load([&*cookie])?;
            assert!(matches!(late.form_token(), Err(Error::Superseded)));
            let (new_form, _) = page(sessions, &first)?;
            let (strange, _) = page(sessions, "")?;
            for bad in [&new_form, &strange] {
                assert!(!is_good(sessions, &cookie, bad)?);
            }
            fixture.clock.advance(TimeDelta::seconds(30));
            assert!(!is_good(sessions, &cookie, &form)?, "the grace is over");
        }
    }
    Ok(())
}

#[test]
fn second_click_finds_the_newest_of_several_renewals() -> TestResult {
    let fixture = Fixture::new();
    let sessions = &fixture.sessions;
    let old = fixture.stored()?;
    let first = renewed(sessions, &old)?;
    let (form, _) = page(sessions, &first)?;
    let newest = renewed(sessions, &first)?;
    assert!(is_good(sessions, &first, &form)?);
    assert!(is_good(sessions, &old, &form)?, "any of the browser's old cookies");
    let mut session = sessions.load([&*newest])?;
    session.destroy()?;
    session.finish()?;
    for cookie in [&old, &first, &newest] {
        assert!(!is_good(sessions, cookie, &form)?, "the session has ended");
    }
    Ok(())
}

#[test]
fn page_of_one_user_changes_nothing_of_another() -> TestResult {
    let fixture = Fixture::new();
    let sessions = &fixture.sessions;
    let (form_of_nobody, cookie) = page(sessions, &fixture.stored()?)?;
    let ada = log_in(sessions, &cookie, &form_of_nobody, "ada")?;
    assert!(is_good(sessions, &ada, &form_of_nobody)?, "a page from before the login");
    let (form_of_ada, _) = page(sessions, &ada)?;
    let again = renewed(sessions, &ada)?;
    assert!(is_good(sessions, &again, &form_of_ada)?);

    let grace = log_in(sessions, &again, &form_of_ada, "grace")?;
    let (form_of_grace, _) = page(sessions, &grace)?;
    assert!(!is_good(sessions, &grace, &form_of_ada)?);
    let mut session = sessions.load([&*grace])?;
    session.clear_subject()?;
    let nobody = token(&session.finish()?).expect("it is new");
    assert!(!is_good(sessions, &nobody, &form_of_grace)?);
    Ok(())
}

#[test]
fn form_is_worth_nothing_after_the_logout() -> TestResult {
    let fixture = Fixture::new();
    let sessions = &fixture.sessions;
    let (form, cookie) = page(sessions, &logged_in(sessions, "ada")?)?;
    let mut session = sessions.load([&*cookie])?;
    session.check_form_token(&form)?;
    session.destroy()?;
    assert!(matches!(session.check_form_token(&form), Err(Error::FormToken)));
    session.flash("message", "Logged out.")?;
    let after = session.form_token()?;
    session.check_form_token(&after)?;
    let fresh = token(&session.finish()?).expect("it is new");
    for cookie in [&cookie, &fresh] {
        assert!(!is_good(sessions, cookie, &form)?);
    }
    assert!(is_good(sessions, &fresh, &after)?);
    Ok(())
}

#[test]
fn rotation_leaves_forms_good() -> TestResult {
    let every = Duration::from_secs(15 * 60);
    let fixture = Fixture::new().with(|sessions| sessions.with_rotation(every));
    let sessions = &fixture.sessions;
    let (form, old) = page(sessions, &fixture.stored()?)?;
    let mut cookie = old;
    for _ in 0..3 {
        fixture.clock.advance(TimeDelta::minutes(15));
        let before = cookie.clone();
        cookie = token(&sessions.load([&*cookie])?.finish()?).expect("it is rotated");
        // A request under way, with the old token.
        for cookie in [&before, &cookie] {
            assert!(is_good(sessions, cookie, &form)?);
            assert!(is_good(sessions, &before, &page(sessions, cookie)?.0)?);
        }
    }
    Ok(())
}

#[test]
fn page_whose_forms_would_be_refused_is_not_shown() -> TestResult {
    let every = Duration::from_secs(15 * 60);
    let fixture = Fixture::new().with(|sessions| sessions.with_rotation(every));
    let sessions = &fixture.sessions;
    let old = fixture.stored()?;
    fixture.clock.advance(TimeDelta::minutes(15));
    let new = token(&sessions.load([&*old])?.finish()?).expect("it is rotated");
    // The first form of the session, by requests with two tokens at the same time.
    let mut outdated = sessions.load([&*old])?;
    outdated.form_token()?;
    let (form, _) = page(sessions, &new)?;
    assert!(matches!(outdated.finish(), Err(Error::Superseded)));
    assert!(is_good(sessions, &new, &form)?);

    // A login while the first form is shown.
    let cookie = fixture.stored()?;
    let mut showing = sessions.load([&*cookie])?;
    showing.form_token()?;
    renewed(sessions, &cookie)?;
    assert!(matches!(showing.finish(), Err(Error::Superseded)));
    Ok(())
}

#[test]
fn merged_session_brings_no_forms() -> TestResult {
    let sessions = manager()?;
    let (form, other) = page(&sessions, "")?;
    let mut session = sessions.load([])?;
    let own_form = session.form_token()?;
    assert!(session.merge(&other)?);
    let cookie = token(&session.finish()?).expect("it is new");
    assert!(!is_good(&sessions, &cookie, &form)?);
    assert!(is_good(&sessions, &cookie, &own_form)?);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_at_all_is_no_form_of_the_session(
        text in ".*",
        digits in "[A-Za-z0-9_-]{80,90}",
        bytes in any::<[u8; 64]>(),
        at in 0..86_usize,
        digit in "[A-Za-z0-9_-]",
    ) {
        let sessions = manager().expect("it is in memory");
        let mut session = sessions.load([]).expect("it is in memory");
        let form = session.form_token().expect("there are random numbers");
        let mut changed = form.clone();
        changed.replace_range(at..=at, &digit);
        for bad in [text, digits, BASE64_URL_SAFE_NO_PAD.encode(bytes), changed] {
            let refused = matches!(session.check_form_token(&bad), Err(Error::FormToken));
            prop_assert_eq!(refused, bad != form, "{}", bad);
        }
    }
}
