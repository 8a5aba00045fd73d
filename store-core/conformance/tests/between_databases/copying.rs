//! A copy from a store that an application uses: whatever the application does between which two
//! calls of the copy, the target has the session as it is afterwards, and none that has ended.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Change, CopyError, CopyOptions, Error, Rotation, Store, copy};

use crate::process::{Databases, Event};

const DATA: &[u8] = b"data";

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn prepared() -> Databases {
    let databases = Databases::empty();
    databases.old.create("token", DATA, in_an_hour(), Some("user 7")).expect("it is new");
    databases
}

/// All sessions, with their subjects.
fn sessions(store: &dyn Store) -> Vec<(String, Vec<u8>, Option<String>)> {
    let all = store.all().expect("the walk succeeds").into_iter();
    let mut all: Vec<_> = all
        .map(|(token, data)| {
            let subject = store.subject_of(&token).expect("it answers");
            (token, data, subject)
        })
        .collect();
    all.sort();
    all
}

type Step = fn(&dyn Store) -> Result<(), Error>;

/// What an application does with the session.
const STEPS: [Step; 5] = [
    |store| store.delete("token"),
    |store| store.update("token", DATA, &Change::new(b"written", in_an_hour())).map(drop),
    |store| store.touch("token", in_an_hour() + TimeDelta::hours(1)).map(drop),
    |store| {
        let login = Change::new(b"new", in_an_hour())
            .with_rotation(Rotation::new("new token"))
            .with_subject(Some("user 8"));
        store.update("token", DATA, &login).map(drop)
    },
    |store| {
        store.update("token", DATA, &Change::new(DATA, in_an_hour()).with_subject(None)).map(drop)
    },
];

#[test]
fn copy_has_each_session_as_it_is_and_none_that_has_ended() {
    let mut cases = 0;
    for step in STEPS {
        for call in 0.. {
            let databases = prepared();
            let source = databases.old.clone();
            let event = Event::Pause(Box::new(move || step(&source).expect("it succeeds")));
            let [old, new] = databases.watched(call, event);
            let report = copy(&old, &new, &CopyOptions::new()).expect("the copy succeeds");
            if !old.has_happened() {
                break;
            }
            let expected = sessions(&databases.old);
            // The first two calls count the sessions and begin to walk through them.
            let has_ended = expected.is_empty();
            assert_eq!(report.gone, u64::from(has_ended && call >= 2), "before call {call}");
            assert_eq!(report.visited(), u64::from(!has_ended || call >= 2));
            assert_eq!(sessions(&databases.new), expected, "before call {call}");
            for (token, ..) in &expected {
                let [old, new] = [&databases.old, &databases.new].map(|store| store.load(token));
                assert_eq!(old.expect("it answers"), new.expect("it answers"));
            }
            cases += 1;
        }
    }
    assert!(cases >= 5 * 8, "{cases}");
}

#[test]
fn copy_that_is_killed_goes_on_where_it_was() {
    for call in 0.. {
        let databases = prepared();
        databases.old.create("other", b"other", in_an_hour(), None).expect("it is new");
        let [old, new] = databases.watched(call, Event::Kill);
        let killed = copy(&old, &new, &CopyOptions::new());
        if !old.has_happened() {
            break;
        }
        assert!(matches!(killed, Err(CopyError::Source(_) | CopyError::Target(_))));
        // What is there is whole.
        let (all, copied) = (sessions(&databases.old), sessions(&databases.new));
        assert!(copied.iter().all(|session| all.contains(session)), "before call {call}");

        let report = copy(&databases.old, &databases.new, &CopyOptions::new()).expect("it works");
        assert_eq!(
            (report.unchanged, report.copied),
            (copied.len() as u64, 2 - copied.len() as u64)
        );
        assert_eq!(sessions(&databases.new), all);
    }
}

#[test]
fn call_that_fails_is_an_error_of_the_copy() {
    for options in [CopyOptions::new(), CopyOptions::new().with_mirroring()] {
        for call in 0.. {
            let databases = prepared();
            databases.new.create("token", b"other", in_an_hour(), None).expect("it is new");
            databases.old.create("other", b"other", in_an_hour(), None).expect("it is new");
            let [old, new] = databases.watched(call, Event::Fail);
            let failed = copy(&old, &new, &options);
            if !old.has_happened() {
                break;
            }
            assert!(failed.is_err(), "call {call}: {failed:?}");
        }
    }
}

#[test]
fn second_copy_says_what_differs_and_a_mirroring_one_makes_it_exact() {
    let databases = prepared();
    let (old, new) = (&databases.old, &databases.new);
    for token in ["ended", "renewed", "same"] {
        old.create(token, token.as_bytes(), in_an_hour(), None).expect("it is new");
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let options = CopyOptions::new().with_progress_hook({
        let told = Arc::clone(&told);
        move |report| told.lock().expect("nothing panics").push(report.visited())
    });
    let report = copy(old, new, &options).expect("it works");
    assert_eq!((report.total, report.copied, report.visited()), (4, 4, 4));
    assert_eq!(*told.lock().expect("nothing panics"), [1, 2, 3, 4], "after each session");

    // The application goes on.
    STEPS[1](&**old).expect("it succeeds");
    old.delete("ended").expect("it succeeds");
    let rotation = Change::new(b"renewed", in_an_hour()).with_rotation(Rotation::new("newer"));
    assert!(old.update("renewed", b"renewed", &rotation).expect("it answers"));

    let before = sessions(&**new);
    let report = copy(old, new, &CopyOptions::new()).expect("it works");
    assert_eq!((report.copied, report.differing, report.unchanged), (1, 1, 1));
    assert!(!report.is_complete() && report.ended == 0);
    let kept = |session: &_| sessions(&**new).contains(session);
    assert!(before.iter().all(kept), "nothing of the target was changed");

    let report = copy(old, new, &CopyOptions::new().with_mirroring()).expect("it works");
    assert_eq!((report.replaced, report.unchanged, report.ended), (1, 2, 2));
    assert_eq!(sessions(&**new), sessions(&**old));
}

#[test]
fn what_a_moving_store_left_is_no_session() {
    let databases = prepared();
    let store = databases.store(crate::process::Phase::Moving);
    assert!(store.touch("token", in_an_hour()).expect("it answers"), "it moves");
    let target = Databases::empty().new;
    let report = copy(&databases.old, &target, &CopyOptions::new()).expect("it works");
    assert_eq!((report.copied, target.count().expect("it answers")), (0, 0));
}
