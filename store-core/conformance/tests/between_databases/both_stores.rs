//! Tokens of which both databases know something, and what earlier moves have left.

use std::time::Duration;

use store_core::{Change, Error, Loaded, MovingStore, Rotation, Store};

use crate::moving::{DATA, EARLIER, OTHER, PHASES, SUBJECT, TOKEN, in_an_hour, lasting, prepared};
use crate::process::{Databases, Event, Phase, data, run};

/// What stands in the old database for a session that has moved, and in the new one for a session
/// that begins to.
const STUB: &[u8] = b"\0sync-session moves\0s";
const FENCE: &[u8] = b"\0sync-session moves\0p one of a process that was killed";

#[test]
fn session_of_the_new_store_is_written_by_both_phases() -> Result<(), Error> {
    for phase in PHASES {
        let databases = Databases::empty();
        databases.store(Phase::Moving).create(TOKEN, b"1", in_an_hour(), Some(SUBJECT))?;
        let store = databases.store(phase);
        let taken = store.create(TOKEN, b"other", in_an_hour(), None);
        assert!(matches!(taken, Err(Error::TokenTaken)), "{taken:?}");
        assert!(store.update(TOKEN, b"1", &Change::new(b"2", in_an_hour()))?);
        assert!(store.touch(TOKEN, in_an_hour())?);
        store.commit(TOKEN, b"3", in_an_hour())?;
        assert_eq!(store.subject_of(TOKEN)?.as_deref(), Some(SUBJECT));
        let rotation = Change::new(b"4", in_an_hour()).with_rotation(Rotation::new("new"));
        assert!(store.update(TOKEN, b"3", &rotation)?);
        assert_eq!(data(&*databases.new, "new").as_deref(), Some(&b"4"[..]));
        assert_eq!(databases.old.count()?, 0, "nothing of it is in the old store");
        store.delete("new")?;
        assert_eq!(databases.new.count()?, 0);
    }
    Ok(())
}

#[test]
fn session_moves_there_and_back_and_there_again() -> Result<(), Error> {
    let databases = prepared();
    let there = databases.store(Phase::Moving);
    let back = MovingStore::moving(databases.new.clone(), databases.old.clone());
    for store in [&there, &back, &there, &back] {
        assert_eq!(store.move_all(&mut |_| {})?.moved, 2);
        assert_eq!(data(store, TOKEN).as_deref(), Some(DATA.as_bytes()));
        assert_eq!(store.find_by_subject(SUBJECT)?.len(), 2);
    }
    Ok(())
}

#[test]
fn token_that_is_given_again_names_the_new_session_alone() -> Result<(), Error> {
    for phase in PHASES {
        // One store knows it from a rotation, and the other one has the session.
        for is_in_new in [true, false] {
            let databases = if is_in_new { prepared() } else { prepared().swapped() };
            let its_own = if is_in_new { &databases.new } else { &databases.old };
            its_own.create(EARLIER, b"again", in_an_hour(), None)?;
            let store = databases.store(phase);
            assert_eq!(data(&store, EARLIER).as_deref(), Some(&b"again"[..]));
            store.delete(EARLIER)?;
            assert_eq!(data(&**its_own, EARLIER), None);
            assert_eq!(data(&store, TOKEN).as_deref(), Some(DATA.as_bytes()));
        }
    }
    Ok(())
}

#[test]
fn token_that_names_a_session_in_each_store_ends_both() -> Result<(), Error> {
    for phase in PHASES {
        let databases = prepared();
        databases.new.create(TOKEN, b"new", in_an_hour(), None)?;
        databases.store(phase).delete(TOKEN)?;
        assert_eq!(data(&*databases.old, TOKEN), None);
        assert_eq!(data(&*databases.new, TOKEN), None);
    }
    Ok(())
}

#[test]
fn fence_that_a_killed_process_left_hides_no_rotation() -> Result<(), Error> {
    for phase in PHASES {
        let databases = prepared().swapped();
        let store = databases.store(phase);
        let fence = || databases.new.create(EARLIER, FENCE, in_an_hour(), None);

        fence()?;
        let expected = Loaded::Rotated { token: TOKEN.to_owned(), opens: true };
        assert_eq!(store.load(EARLIER)?, expected);

        fence()?;
        store.delete(EARLIER)?;
        assert_eq!(data(&store, TOKEN), None, "it has ended under its newest token");
    }
    Ok(())
}

/// A stub can be left whose session has ended since.
#[test]
fn marks_are_no_data_of_a_session() -> Result<(), Error> {
    for phase in PHASES {
        let databases = prepared();
        databases.new.create("left", STUB, in_an_hour(), None)?;
        let store = databases.store(phase);
        assert!(!store.update("left", STUB, &Change::new(b"written", in_an_hour()))?);
        let absorbing = Change::new(b"written", in_an_hour()).absorbing("left", STUB);
        assert!(!store.update(TOKEN, DATA.as_bytes(), &absorbing)?);
        assert!(!store.touch("left", in_an_hour())?);
        assert_eq!(data(&store, TOKEN).as_deref(), Some(DATA.as_bytes()));
        for data in [STUB, FENCE] {
            let refused = store.commit(OTHER, data, in_an_hour());
            assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{refused:?}");
        }
    }
    Ok(())
}

/// A session that is to be kept is followed by the new store itself, because another process can
/// rotate it without a grace at any moment.
#[test]
fn exception_holds_though_it_is_rotated_meanwhile() -> Result<(), Error> {
    for call in 0.. {
        let databases = Databases::empty();
        let new = databases.new.clone();
        new.create(EARLIER, b"1", in_an_hour(), Some(SUBJECT))?;
        let change = Change::new(b"2", in_an_hour()).with_rotation(lasting(TOKEN));
        assert!(new.update(EARLIER, b"1", &change)?);
        let rotate = move || {
            let rotation = Rotation::new("newest").with_grace(Duration::ZERO);
            let change = Change::new(b"3", in_an_hour()).with_rotation(rotation);
            assert!(new.update(TOKEN, b"2", &change).expect("it answers"));
        };
        let event = Event::Pause(Box::new(rotate));
        let (deleted, has_happened) = run(&databases, Phase::Moving, call, event, |store| {
            store.delete_by_subject(SUBJECT, Some(EARLIER))
        });
        if !has_happened {
            break;
        }
        assert_eq!(deleted?, 0);
        assert_eq!(data(&*databases.new, "newest").as_deref(), Some(&b"3"[..]), "call {call}");
    }
    Ok(())
}
