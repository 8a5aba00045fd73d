//! Writes that share a transaction: one that fails costs the others no wait for the disk.

use std::sync::atomic::Ordering;

use redb::Error as RedbError;
use store_core::backend::Operation;
use store_core::{Error, Store};

use super::disk::Disk;
use super::{in_an_hour, open, options};
use crate::store::QlStore;
use crate::store::write::{Write, WriteResult};

/// How many writes share a transaction.
const GROUP: usize = 64;

fn commits(name: &str) -> Vec<Write<'static>> {
    let commit = |n| Operation::Commit {
        token: format!("{name}-{n}").into(),
        data: b"data".as_slice().into(),
        expiry: in_an_hour(),
    };
    (0..GROUP).map(|n| Write::Operation(commit(n))).collect()
}

/// Puts a row where a session belongs, which is too short for one.
fn damage(store: &QlStore, token: &str) -> Result<(), Error> {
    let shared = &store.shared;
    let write = |transaction: &mut redb::WriteTransaction| -> Result<(), RedbError> {
        let mut sessions = transaction.open_table(shared.tables.sessions())?;
        sessions.insert(token.as_bytes(), b"row".as_slice())?;
        Ok(())
    };
    shared.engine.write(write).map_err(|failed| failed.error)
}

#[test]
fn write_that_fails_costs_those_of_its_group_no_sync() -> Result<(), Error> {
    let disk = Disk::new();
    let store = open(&disk, options())?;
    let syncs_of = |writes: &[Write<'static>]| {
        let before = disk.syncs.load(Ordering::Relaxed);
        let results = store.shared.write_batch(writes);
        (disk.syncs.load(Ordering::Relaxed) - before, results)
    };
    let (usual, results) = syncs_of(&commits("sound"));
    assert!(results.iter().all(Result::is_ok));
    assert!(usual > 0);

    for damaged in [vec![5], vec![0, 31, GROUP - 1], (0..GROUP - 1).collect()] {
        let name = format!("with-{}", damaged.len());
        for n in &damaged {
            damage(&store, &format!("{name}-{n}"))?;
        }
        let (syncs, results) = syncs_of(&commits(&name));
        assert_eq!(syncs, usual, "{} fail", damaged.len());
        for (n, result) in results.iter().enumerate() {
            let is_damaged = damaged.contains(&n);
            assert_eq!(matches!(result, Err(Error::Corrupt { .. })), is_damaged, "{n}");
            assert_eq!(result.is_ok(), !is_damaged, "{n}: {:?}", error_of(result));
            if !is_damaged {
                assert!(store.find(&format!("{name}-{n}"))?.is_some(), "{n} is committed");
            }
        }
    }
    Ok(())
}

fn error_of(result: &WriteResult) -> Option<&Error> {
    result.as_ref().err()
}
