//! Sessions that are copied and moved between every two stores.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use session_manager::SessionManager;
use store_core::{Change, CopyOptions, MovingStore, Rotation, Store, copy};
use test_servers::Database;

use crate::counting_store::token;
use crate::fixture::{logged_in, renewed};
use crate::{TestResult, memory, mysql, ql, sqlite};

/// A new store of each kind, empty. What they need is removed when this is dropped.
struct Stores {
    all: Vec<(&'static str, Arc<dyn Store>)>,
    _directory: tempfile::TempDir,
    _database: Option<Database>,
}

impl Stores {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        let mut stores =
            vec![("memory", memory()), ("sqlite", sqlite(&directory)), ("ql", ql(&directory))];
        let database = test_servers::is_server_there().then(Database::new);
        stores.extend(database.iter().map(|database| ("mysql", mysql(database))));
        Self { all: stores, _directory: directory, _database: database }
    }
}

/// Does something with every two stores, of the same kind as well.
fn on_every_pair(
    test: impl Fn(&str, &Arc<dyn Store>, &Arc<dyn Store>) -> TestResult,
) -> TestResult {
    let (sources, targets) = (Stores::new(), Stores::new());
    for (from, source) in &sources.all {
        for (to, target) in &targets.all {
            source.delete_all()?;
            target.delete_all()?;
            test(&format!("{from} to {to}"), source, target)?;
        }
    }
    Ok(())
}

/// Token, data, expiry and subject of each session.
type Sessions = Vec<(String, Vec<u8>, DateTime<Utc>, Option<String>)>;

fn sessions(store: &dyn Store) -> Result<Sessions, session_manager::Error> {
    let mut found = Vec::new();
    store.for_each(&mut |record| {
        found.push((record.token.to_owned(), record.data.to_owned(), record.expiry));
        std::ops::ControlFlow::Continue(())
    })?;
    found.sort();
    let with_subject = found.into_iter().map(|(token, data, expiry)| {
        let subject = store.subject_of(&token)?;
        Ok((token, data, expiry, subject))
    });
    with_subject.collect()
}

#[track_caller]
fn assert_same(pair: &str, found: &Sessions, expected: &Sessions) {
    assert_eq!(found.len(), expected.len(), "{pair}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(
            (&found.0, &found.1, &found.3),
            (&expected.0, &expected.1, &expected.3),
            "{pair}"
        );
        // Each store may round it down by a millisecond.
        let early = expected.2 - found.2;
        assert!(
            early >= TimeDelta::zero() && early <= TimeDelta::milliseconds(1),
            "{pair}: {early}"
        );
    }
}

/// Sessions with data of all kinds, with users and without, one renewed, and one that has expired.
fn fill(store: &dyn Store) -> TestResult {
    let expiry = |n: i64| Utc::now() + TimeDelta::hours(1) + TimeDelta::microseconds(n * 12_345);
    for n in 0..20 {
        let user = format!("user {}", n % 3);
        let subject = (n % 4 != 0).then_some(&*user);
        store.create(
            &format!("token-{n}"),
            &[b'\0', 0xFF, b'0'].repeat(n * 50),
            expiry(7),
            subject,
        )?;
    }
    store.commit("expired", b"data", expiry(0) - TimeDelta::hours(2))?;
    let login = Change::new(b"renewed", expiry(1))
        .with_rotation(Rotation::new("renewed"))
        .with_subject(Some("Zo\u{eb}"));
    assert!(store.update("token-0", b"", &login)?);
    Ok(())
}

#[test]
fn sessions_are_copied_between_every_two_stores() -> TestResult {
    on_every_pair(|pair, source, target| {
        fill(&**source)?;
        let run = |options| copy(&**source, &**target, &options).expect("both stores work");
        let report = run(CopyOptions::new());
        assert_eq!((report.total, report.copied), (20, 20), "{pair}");
        assert_same(pair, &sessions(&**target)?, &sessions(&**source)?);
        assert_eq!(target.find_by_subject("Zo\u{eb}")?.len(), 1, "{pair}");

        let report = run(CopyOptions::new());
        assert_eq!((report.unchanged, report.copied), (20, 0), "{pair}");

        source.delete("token-3")?;
        source.delete_by_subject("user 1", None)?;
        source.commit("token-2", b"newer", Utc::now() + TimeDelta::hours(1))?;
        source.commit("new", b"data", Utc::now() + TimeDelta::hours(1))?;
        let report = run(CopyOptions::new());
        assert_eq!((report.copied, report.differing, report.ended), (1, 1, 0), "{pair}");
        let report = run(CopyOptions::new().with_mirroring());
        assert!(report.replaced == 1 && report.ended > 1, "{pair}: {report:?}");
        assert_same(pair, &sessions(&**target)?, &sessions(&**source)?);
        Ok(())
    })
}

#[test]
fn sessions_are_moved_between_every_two_stores() -> TestResult {
    on_every_pair(|pair, old, new| {
        fill(&**old)?;
        let expected = sessions(&**old)?;
        let store = MovingStore::moving(Arc::clone(old), Arc::clone(new));
        let report = store.move_all(&mut |_| {})?;
        assert_eq!((report.moved, report.refused, store.remaining()?), (20, 0, 0), "{pair}");
        assert_same(pair, &sessions(&**new)?, &expected);
        assert_same(pair, &sessions(&store)?, &expected);
        let loaded = store.load("token-0")?;
        assert!(matches!(&loaded, store_core::Loaded::Rotated { token, .. } if token == "renewed"));
        store.delete("token-0")?;
        assert_eq!(new.find("renewed")?, None, "{pair}: a logout by an earlier token is final");
        Ok(())
    })
}

#[test]
fn manager_goes_over_to_another_store_and_logs_nobody_out() -> TestResult {
    on_every_pair(|pair, old, new| {
        let (manager, token_of_old) = logged_in(old)?;
        drop(manager);
        let both = || (Arc::clone(old), Arc::clone(new));
        let (old_store, new_store) = both();
        let preparing = SessionManager::new(MovingStore::preparing(old_store, new_store));
        let (old_store, new_store) = both();
        let moving = SessionManager::new(MovingStore::moving(old_store, new_store));

        // Requests of one session, by processes of both phases.
        let user = |sessions: &SessionManager, token: &str| {
            let mut session = sessions.load([token])?;
            let user: Option<i64> = session.get("user_id")?;
            session.insert("visits", 1)?;
            session.finish()?;
            Ok::<_, session_manager::Error>(user)
        };
        assert_eq!(user(&preparing, &token_of_old)?, Some(7), "{pair}");
        assert_eq!((old.count()?, new.count()?), (1, 0), "{pair}: it stays");
        let renewed_token = renewed(&moving, &token_of_old)?;
        assert_eq!(new.count()?, 1, "{pair}: it moves");
        assert_eq!(user(&preparing, &renewed_token)?, Some(7), "{pair}");
        let only_new = SessionManager::new(Arc::clone(new));
        assert_eq!(user(&only_new, &renewed_token)?, Some(7), "{pair}");

        let mut session = preparing.load([&*renewed_token])?;
        session.destroy()?;
        session.finish()?;
        for sessions in [&preparing, &moving, &only_new] {
            assert_eq!(user(sessions, &renewed_token)?, None, "{pair}: the logout is final");
        }

        // A session that begins while preparing.
        let mut session = preparing.load([])?;
        session.insert("user_id", 8)?;
        let begun = token(&session.finish()?).expect("it is new");
        assert_eq!(user(&moving, &begun)?, Some(8), "{pair}");
        Ok(())
    })
}
