//! Sessions that the new database can't hold: they stay in the old one and are used there.

use std::ops::ControlFlow;

use store_core::{Change, CopyOptions, Error, Limits, MovingStore, Store, copy};

use crate::moving::{PHASES, SUBJECT, TOKEN, in_an_hour};
use crate::process::{Databases, Event, Phase, data, run};

const LONG: &[u8] = &[b'x'; 101];
const LONGER: &[u8] = &[b'x'; 102];
const LONG_TOKEN: &str = "a token that is longer than the new database takes, as its limit is 48";

/// Marks of sessions that move have up to 70 bytes.
const LIMITS: Limits = Limits { max_token_len: 48, max_data_len: 100 };

/// Two sessions of one user that are refused, one for its data and one for its token, and one that
/// isn't.
fn prepared() -> Result<Databases, Error> {
    let databases = Databases::with_limits(LIMITS);
    databases.old.create(TOKEN, LONG, in_an_hour(), Some(SUBJECT))?;
    databases.old.create(LONG_TOKEN, b"data", in_an_hour(), Some(SUBJECT))?;
    databases.old.create("short", b"data", in_an_hour(), Some(SUBJECT))?;
    Ok(databases)
}

#[test]
fn refused_session_is_used_in_the_old_store() -> Result<(), Error> {
    for phase in PHASES {
        let databases = prepared()?;
        let store = databases.store(phase);
        assert!(store.update(TOKEN, LONG, &Change::new(LONGER, in_an_hour()))?);
        assert!(store.touch(LONG_TOKEN, in_an_hour())?);
        assert_eq!(data(&store, TOKEN), Some(LONGER.to_vec()));
        assert_eq!(data(&*databases.old, TOKEN), Some(LONGER.to_vec()));
        assert_eq!(store.find_by_subject(SUBJECT)?.len(), 3);
        store.delete(TOKEN)?;
        assert_eq!(data(&store, TOKEN), None);
        assert_eq!(store.delete_by_subject(SUBJECT, Some(LONG_TOKEN))?, 1);
        assert_eq!(store.delete_by_subject(SUBJECT, None)?, 1);
        assert_eq!(store.count()?, 0);
    }
    Ok(())
}

#[test]
fn refused_sessions_are_reported_each_time_and_seen_by_walks() -> Result<(), Error> {
    let databases = prepared()?;
    let store = databases.store(Phase::Moving);
    for _ in 0..2 {
        let report = store.move_all(&mut |_| {})?;
        assert_eq!(report.refused, 2);
    }
    assert_eq!((store.remaining()?, databases.new.count()?), (2, 1));
    assert_eq!(store.all()?.len(), 3);
    for visited in 1..=3 {
        let mut left = visited;
        store.for_each(&mut |_| {
            assert!(left > 0, "it goes on though the visitor has had enough");
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        assert_eq!(left, 0);
    }
    Ok(())
}

#[test]
fn operation_on_a_refused_session_and_a_moved_one_says_why_it_cannot_be_done() -> Result<(), Error>
{
    for phase in PHASES {
        let databases = prepared()?;
        assert!(databases.store(Phase::Moving).touch("short", in_an_hour())?);
        let store = databases.store(phase);
        let change = Change::new(b"merged", in_an_hour()).absorbing(TOKEN, LONG);
        let refused = store.update("short", b"data", &change);
        assert!(matches!(refused, Err(Error::DataTooLarge { .. })), "{refused:?}");
        assert_eq!(data(&store, TOKEN), Some(LONG.to_vec()));
        assert_eq!(data(&store, "short").as_deref(), Some(&b"data"[..]));
    }
    Ok(())
}

#[test]
fn refused_session_stays_whole_though_its_move_is_stopped_anywhere() -> Result<(), Error> {
    for token in [TOKEN, LONG_TOKEN] {
        for call in 0.. {
            let databases = prepared()?;
            let before = data(&*databases.old, token);
            let work = |store: &MovingStore| store.touch(token, in_an_hour());
            let (_, has_happened) = run(&databases, Phase::Moving, call, Event::Kill, work);
            if !has_happened {
                break;
            }
            for phase in PHASES {
                let store = databases.store(phase);
                assert_eq!(data(&store, token), before, "call {call}");
                assert!(store.touch(token, in_an_hour())?);
                assert_eq!(store.subject_of(token)?.as_deref(), Some(SUBJECT));
                assert_eq!(data(&store, token), before);
            }
        }
    }
    Ok(())
}

/// Meanwhile a process that still prepares begins another one that is refused.
#[test]
fn sessions_of_a_user_that_are_ended_are_counted_though_more_are_refused() -> Result<(), Error> {
    let mut counts = Vec::new();
    for call in 0.. {
        let databases = Databases::with_limits(LIMITS);
        databases.old.create("one", b"data", in_an_hour(), Some(SUBJECT))?;
        databases.old.create("two", b"data", in_an_hour(), Some(SUBJECT))?;
        let begin = {
            let store = databases.store(Phase::Preparing);
            move || store.create(TOKEN, LONG, in_an_hour(), Some(SUBJECT)).expect("it is new")
        };
        let event = Event::Pause(Box::new(begin));
        let (deleted, has_happened) = run(&databases, Phase::Moving, call, event, |store| {
            store.delete_by_subject(SUBJECT, None)
        });
        if !has_happened {
            break;
        }
        let left = databases.store(Phase::Moving).find_by_subject(SUBJECT)?.len() as u64;
        assert_eq!(deleted? + left, 3, "call {call}");
        counts.push(left);
    }
    assert!(counts.contains(&0), "{counts:?}");
    Ok(())
}

#[test]
fn copy_counts_what_the_target_cannot_hold_and_goes_on() -> Result<(), Error> {
    let databases = prepared()?;
    let (old, new) = (&databases.old, &databases.new);
    let report = copy(old, new, &CopyOptions::new()).expect("it works");
    assert_eq!((report.copied, report.rejected, report.visited()), (1, 2, 3));
    assert!(!report.is_complete() && report.first_rejection.is_some());

    // Also one that has grown since.
    assert!(old.update("short", b"data", &Change::new(LONG, in_an_hour()))?);
    let report = copy(old, new, &CopyOptions::new().with_mirroring()).expect("it works");
    assert_eq!((report.copied, report.replaced, report.rejected), (0, 0, 3));
    assert_eq!(data(&**new, "short").as_deref(), Some(&b"data"[..]));
    Ok(())
}
