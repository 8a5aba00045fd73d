//! Sealing that is turned on, and off, while there are sessions.

use std::sync::Arc;

use session_manager::{Error, EventKind, Json, Resealed, Sealed, SessionManager};
use store_core::{CleanupOptions, Limits, MemoryOptions, Store};

use crate::counting_store::token;
use crate::{Events, Manager, TestResult, key_id, keys, manager_with, memory, row};

type Step = fn(Sealed<Json>) -> Sealed<Json>;

fn at(store: &Arc<dyn Store>, step: Step) -> Manager {
    manager_with(Arc::clone(store), step(Sealed::new(Json, keys(&[1]))))
}

const SEALED: Step = |codec| codec;
const PLAIN_OPENED: Step = Sealed::with_plain_opened;
const PLAIN_WRITTEN: Step = Sealed::with_plain_written;

fn count(sessions: &Manager, cookie: &str) -> Result<i32, Error> {
    let mut session = sessions.load([cookie])?;
    let n = session.get::<i32>("n")?.expect("nobody is logged out") + 1;
    session.insert("n", n)?;
    session.finish()?;
    Ok(n)
}

fn is_sealed(store: &Arc<dyn Store>) -> bool {
    let (_, data) = row(&**store);
    data[0] != b'{' && key_id(&data) == 1
}

/// The steps of the guide, with processes of two steps that follow each other at the same time.
#[test]
fn sealing_is_turned_on_and_off_in_one_process_after_the_other() -> TestResult {
    let store = memory();
    let never = SessionManager::new(Arc::clone(&store));
    let mut session = never.load([])?;
    session.insert("n", 0)?;
    let cookie = token(&session.finish()?).expect("it is new");

    // Processes that know nothing of sealing read what the first step writes.
    assert_eq!(count(&at(&store, PLAIN_WRITTEN), &cookie)?, 1);
    assert!(!is_sealed(&store));
    assert_eq!(never.load([&*cookie])?.get("n")?, Some(1));

    assert_eq!(count(&at(&store, PLAIN_OPENED), &cookie)?, 2);
    assert!(is_sealed(&store));
    assert_eq!(count(&at(&store, PLAIN_WRITTEN), &cookie)?, 3);
    assert!(!is_sealed(&store));

    let opened = at(&store, PLAIN_OPENED);
    assert_eq!(opened.reseal_all()?.resealed, 1);
    assert_eq!(opened.reseal_all()?, Resealed::default());
    assert_eq!(count(&at(&store, SEALED), &cookie)?, 4);
    assert_eq!(count(&at(&store, PLAIN_OPENED), &cookie)?, 5);

    // And back.
    let written = at(&store, PLAIN_WRITTEN);
    assert_eq!(written.reseal_all()?.resealed, 1);
    assert_eq!(written.reseal_all()?, Resealed::default());
    assert_eq!(never.load([&*cookie])?.get("n")?, Some(5));
    Ok(())
}

/// One that fits into the store only as it is.
#[test]
fn session_that_is_too_large_to_be_sealed_keeps_none_of_the_others_from_it() -> TestResult {
    let limits = Limits { max_data_len: 500, ..Limits::DEFAULT };
    let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
    let store: Arc<dyn Store> = Arc::new(options.with_limits(limits).build()?);
    let never = SessionManager::new(Arc::clone(&store));
    let mut cookies = Vec::new();
    for len in [1, 350, 2] {
        let mut session = never.load([])?;
        session.insert("text", "x".repeat(len))?;
        cookies.push((len, token(&session.finish()?).expect("it is new")));
    }
    let longest = store.all()?.into_values().map(|data| data.len()).max();
    assert!((467..=500).contains(&longest.expect("there are three")), "{longest:?}");
    let sessions = at(&store, PLAIN_OPENED);
    let done = sessions.reseal_all()?;
    assert_eq!((done.resealed, done.too_large), (2, 1));
    assert_eq!(sessions.reseal_all()?.too_large, 1);
    for (len, cookie) in cookies {
        let text: Option<String> = sessions.load([&*cookie])?.get("text")?;
        assert_eq!(text.map(|text| text.len()), Some(len));
    }
    Ok(())
}

/// What somebody who can write to the store has put there.
#[test]
fn session_that_is_not_sealed_is_refused_once_all_are() -> TestResult {
    let store = memory();
    let forger = SessionManager::new(Arc::clone(&store));
    let mut session = forger.load([])?;
    session.set_subject("admin")?;
    let cookie = token(&session.finish()?).expect("it is new");
    let (sessions, events) = Events::of(at(&store, SEALED));
    assert_eq!(sessions.load([&*cookie])?.subject(), None);
    assert_eq!(events.take(), [EventKind::Undecodable]);
    assert_eq!(sessions.reseal_all()?, Resealed::default(), "nor is it sealed for them");
    assert_eq!(sessions.load([&*cookie])?.subject(), None);
    assert_eq!(at(&store, PLAIN_OPENED).load([&*cookie])?.subject().as_deref(), Some("admin"));
    Ok(())
}

#[cfg(feature = "messagepack")]
#[test]
fn any_codec_can_be_sealed_and_what_it_writes_unsealed_is_told_apart() -> TestResult {
    use session_manager::MessagePack;

    let store = memory();
    let never = SessionManager::new(Arc::clone(&store)).with_codec(MessagePack);
    let mut session = never.load([])?;
    session.insert("ratio", f64::INFINITY)?;
    let cookie = token(&session.finish()?).expect("it is new");
    let codec = Sealed::new(MessagePack, keys(&[1])).with_plain_opened();
    let sessions = SessionManager::new(Arc::clone(&store)).with_codec(codec);
    assert_eq!(sessions.reseal_all()?.resealed, 1);
    assert!(is_sealed(&store));
    assert_eq!(sessions.load([&*cookie])?.get("ratio")?, Some(f64::INFINITY));
    Ok(())
}

/// The codec inside may protect the bytes itself: here by a seal of its own.
#[test]
fn sealed_codec_can_be_sealed_again() -> TestResult {
    let store = memory();
    let inner = || Sealed::new(Json, keys(&[1]));
    let twice = || Sealed::new(inner(), keys(&[2]));
    let sessions = SessionManager::new(Arc::clone(&store)).with_codec(twice());
    let mut session = sessions.load([])?;
    session.insert("n", 1)?;
    let cookie = token(&session.finish()?).expect("it is new");
    assert_eq!(sessions.load([&*cookie])?.get("n")?, Some(1));
    assert_eq!(key_id(&row(&*store).1), 2);
    Ok(())
}
