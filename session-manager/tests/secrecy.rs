//! What a program may print and log of its sessions.

mod adapter;

use std::error::Error as _;
use std::sync::{Arc, Mutex, Once};

use adapter::{ADAPTERS, NAME, Page, TestResult, cookie, manager, memory, value_of};
use chrono::{TimeDelta, Utc};
use session_manager::{EndCause, Event, EventKind, SessionManager};
use store_core::Store as _;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps what is logged.
struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}", record.level(), record.args());
        LINES.lock().expect("nobody panics with it").push(line);
    }

    fn flush(&self) {}
}

fn keep_log_lines() {
    static START: Once = Once::new();
    START.call_once(|| {
        log::set_logger(&Lines).expect("it is the only logger of this program");
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Values that no output may show.
const SECRETS: [&str; 3] = ["correct horse", "battery staple", "ada@example.org"];

/// All that a program could print of its sessions, and the tokens that must not be in it.
fn outputs(
    sessions: &SessionManager,
    events: &Mutex<Vec<String>>,
) -> TestResult<(Vec<String>, Vec<String>)> {
    let mut outputs = vec![format!("{sessions:?}"), format!("{sessions:#?}")];
    let mut tokens = Vec::new();

    let mut session = sessions.load([])?;
    session.insert("password", SECRETS[0])?;
    session.flash("message", SECRETS[1])?;
    session.set_subject(SECRETS[2])?;
    outputs.push(format!("{session:?} {:?} {:?}", session.status(), session.key()));
    let headers = session.finish()?.headers;
    tokens.push(value_of(&headers[0].1, NAME).expect("it is new").to_owned());

    let mut session = sessions.load([&*tokens[0], &"A".repeat(43)])?;
    tokens.push("A".repeat(43));
    outputs.push(format!("{session:?} {session:#?} {:?}", session.key()));
    session.update("password", |_: Option<String>| SECRETS[1].to_owned())?;
    let error = session.get::<u32>("password").expect_err("it is a string");
    outputs.push(format!("{error} {error:?}"));
    let error = session.update("password", |_: Option<u32>| 1).expect_err("it is a string");
    outputs.push(format!("{error} {error:?}"));
    let error = session.set_subject(&SECRETS[2].repeat(100)).expect_err("it is too long");
    outputs.push(format!("{error} {error:?} {:?}", error.source()));
    session.renew()?;
    tokens.push(session.token().expect("it has one").to_owned());
    outputs.push(format!("{session:?} {:?}", session.key()));
    session.finish()?;

    let late = sessions.load([&*tokens[2]])?;
    for stored in sessions.sessions_of(SECRETS[2])? {
        outputs.push(format!("{stored:?} {stored:#?} {:?}", stored.key()));
        outputs.push(format!("{} {:?}", stored.id(), stored.id()));
        let error = stored.get::<u32>("password").expect_err("it is a string");
        outputs.push(format!("{error} {error:?}"));
        sessions.destroy(stored.key())?;
    }
    assert!(sessions.sessions_of(SECRETS[2])?.is_empty(), "it was the only one");
    let mut late = late;
    late.insert("password", SECRETS[0])?;
    outputs.push(format!("{late:?}"));
    let error = late.finish().expect_err("it was destroyed");
    outputs.push(format!("{error} {error:?}"));
    for token in &tokens {
        sessions.load([&**token])?;
    }

    let mut session = sessions.load([])?;
    session.insert("password", SECRETS[0])?;
    session.destroy()?;
    outputs.push(format!("{session:?} {:?}", session.status()));
    session.finish()?;

    for adapter in ADAPTERS {
        let reply = adapter.serve(sessions, &[&cookie(&tokens[0])], |session| {
            session.insert("password", SECRETS[0])?;
            let _: Option<u32> = session.get("password")?;
            Ok(Page::default())
        });
        assert_eq!(reply.status, 500);
        outputs.push(format!("{reply:?}"));
    }
    outputs.append(&mut events.lock().expect("nobody panics with it"));
    Ok((outputs, tokens))
}

#[test]
fn debug_output_errors_and_logs_show_neither_tokens_nor_values() -> TestResult {
    keep_log_lines();
    for (is_plain, has_hook) in [(false, false), (false, true), (true, false), (true, true)] {
        let store = Arc::new(memory());
        let lenient = SessionManager::new(Arc::clone(&store));
        let mut session = lenient.load([])?;
        session.insert("password", SECRETS[0])?;
        assert_eq!(session.get::<u32>("password")?, None);

        let mut sessions = SessionManager::new(Arc::clone(&store)).with_strict_types();
        if is_plain {
            sessions = sessions.with_plain_tokens_in_store();
        }
        let events = Arc::<Mutex<Vec<String>>>::default();
        if has_hook {
            let events = Arc::clone(&events);
            sessions = sessions.with_event_hook(move |event| {
                let line = format!("{event:?} {}", event.session);
                events.lock().expect("nobody panics with it").push(line);
            });
        }
        let (outputs, tokens) = outputs(&sessions, &events)?;

        // The keys of the store are no secrets where they are hashes, but nobody needs them in a
        // log.
        let mut keys = tokens.clone();
        for token in &tokens {
            let mut session = sessions.load([])?;
            session.insert("visits", 1)?;
            session.finish()?;
            keys.push(token[..16].to_owned());
        }
        keys.extend(store.all()?.into_keys());
        let lines = LINES.lock().expect("nobody panics with it").clone();
        assert!(outputs.len() > 12);
        assert!(lines.iter().any(|line| line.contains("UnknownToken")), "events are logged");
        let is_of_type = |line: &String| line.contains("\"password\" is not of type u32");
        assert!(lines.iter().any(is_of_type), "as a warning");
        assert!(
            lines.iter().any(|line| line.contains("a request failed: ")),
            "failures are logged"
        );
        for text in outputs.iter().chain(&lines) {
            for secret in SECRETS.iter().copied().chain(keys.iter().map(String::as_str)) {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
    Ok(())
}

#[test]
fn events_are_logged_unless_the_application_takes_them() -> TestResult {
    keep_log_lines();
    for has_hook in [false, true] {
        let store = Arc::new(memory());
        let mut sessions = SessionManager::new(Arc::clone(&store));
        if has_hook {
            sessions = sessions.with_event_hook(|_| {});
        }
        let mut session = sessions.load([])?;
        session.insert("visits", 1)?;
        let finished = session.finish()?;
        let token = value_of(&finished.headers[0].1, NAME).expect("it is new");
        let key = sessions.load([token])?.key().expect("it is stored").clone();
        store.commit(key.as_str(), b"not JSON", Utc::now() + TimeDelta::hours(1))?;
        assert!(sessions.load([token])?.is_empty());

        let name = finished.id.expect("it is stored").to_string();
        let lines = LINES.lock().expect("nobody panics with it").clone();
        let lines: Vec<_> = lines.into_iter().filter(|line| line.contains(&name)).collect();
        let expected = [
            format!("DEBUG session {name}: Created"),
            format!("WARN session {name}: its data can't be decoded"),
        ];
        assert_eq!(lines, if has_hook { &[] } else { &expected[..] });
    }
    Ok(())
}

#[test]
fn events_of_one_session_have_one_id_and_others_another() -> TestResult {
    for is_plain in [false, true] {
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let mut sessions = manager().with_event_hook({
            let events = Arc::clone(&events);
            move |event| events.lock().expect("nobody panics with it").push(event.clone())
        });
        if is_plain {
            sessions = sessions.with_plain_tokens_in_store();
        }
        let mut tokens = Vec::new();
        for _ in 0..2 {
            let mut session = sessions.load([])?;
            session.insert("visits", 1)?;
            let headers = session.finish()?.headers;
            tokens.push(value_of(&headers[0].1, NAME).expect("it is new").to_owned());
        }
        for token in &tokens {
            let mut session = sessions.load([&**token])?;
            let id = session.id();
            session.destroy()?;
            session.finish()?;
            let events = events.lock().expect("nobody panics with it");
            assert_eq!(events.last().map(|event| event.session), id);
            assert!(
                format!("{:?}", events.last()).contains(&id.expect("it is stored").to_string())
            );
        }
        let events = events.lock().expect("nobody panics with it");
        let [first, second] =
            [EventKind::Created, EventKind::Ended(EndCause::Logout)].map(|kind| {
                let of_kind = events.iter().filter(|event| event.kind == kind);
                of_kind.map(|event| event.session).collect::<Vec<_>>()
            });
        assert_eq!(first, second, "the same sessions, in the same order");
        assert_ne!(first[0], first[1]);
        assert_eq!(first[0].to_string().len(), 16);
    }
    Ok(())
}
