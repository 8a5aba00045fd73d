//! A file that a process has open at a fork, and the child of that fork.

use std::fs;
use std::time::Duration;

use chrono::{DateTime, Utc};
use store_conformance::{count_threads, in_fork, wait_for_threads};
use store_core::{Error, Store};
use store_ql_compat::{Durability, QlOptions, QlStore};

/// Only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn child_of_a_fork_touches_neither_the_file_nor_its_lock() -> Result<(), Error> {
    let threads = count_threads();
    let directory = tempfile::tempdir().map_err(Error::backend)?;
    let path = directory.path().join("sessions.redb");
    let hour = Duration::from_secs(3_600);
    let store = QlOptions::new().with_durability(Durability::Relaxed(hour)).open(&path)?;
    store.commit("token", b"data", DateTime::<Utc>::MAX_UTC)?;
    let before = fs::read(&path).map_err(Error::backend)?;
    let store = in_fork(store, PATIENCE, |store| {
        assert!(matches!(store.compact(), Err(Error::Forked)));
        // It would flush, close the file, and unlock it.
        drop(store);
        let opened = QlStore::open(&path);
        assert!(matches!(opened, Err(Error::Forked)), "{opened:?}");
    });
    assert!(fs::read(&path).map_err(Error::backend)? == before, "the child has written to it");
    assert!(matches!(QlStore::open(&path), Err(Error::InUse { .. })), "the child has unlocked it");
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    drop(store);
    wait_for_threads(threads);
    in_fork((), PATIENCE, |()| {
        let store = QlStore::open(&path).expect("nobody has it open");
        assert_eq!(store.count().expect("it counts"), 1);
    });
    Ok(())
}
