//! One update that does everything at once, on disks that fail.

use chrono::{TimeDelta, Utc};
use store_core::{Change, Error, Loaded, OwnedRecord, Rotation, Store};

use super::super::QlStore;
use super::disk::Disk;
use super::{in_an_hour, open, options, random_numbers, when_repaired};

/// A login of a visitor whose session was rotated before. It has everything that a change can have.
mod login {
    use super::*;

    pub(super) fn prepare(store: &QlStore) -> Result<(), Error> {
        store.create("older", b"cart", in_an_hour(), Some("visitor"))?;
        store.create("other", b"more", in_an_hour(), Some("visitor"))?;
        store.create("expired", b"old", Utc::now() - TimeDelta::hours(1), Some("user 7"))?;
        let routine = Rotation::new("visitor").old_token_opens();
        let change = Change::new(b"cart", in_an_hour()).with_rotation(routine);
        assert!(store.update("older", b"cart", &change)?);
        Ok(())
    }

    pub(super) fn run(store: &QlStore) -> Result<bool, Error> {
        // The new token still has the row of an expired session.
        let change = Change::new(b"cart and more", in_an_hour())
            .with_rotation(Rotation::new("expired"))
            .with_subject(Some("user 7"))
            .absorbing("other", b"more");
        store.update("visitor", b"cart", &change)
    }

    /// Whether it was done. Half of it is no answer.
    pub(super) fn is_done(store: &QlStore, what: &str) -> Result<bool, Error> {
        let is_done = store.find("visitor")?.is_none();
        let rotated = |token: &str, opens| Loaded::Rotated { token: token.to_owned(), opens };
        let tokens = |subject: &str| {
            let sessions = store.find_by_subject(subject)?;
            let tokens = sessions.into_iter().map(|OwnedRecord { token, .. }| token);
            Ok::<Vec<String>, Error>(tokens.collect())
        };
        if is_done {
            assert_eq!(store.find("expired")?.as_deref(), Some(&b"cart and more"[..]), "{what}");
            assert_eq!(store.load("visitor")?, rotated("expired", false), "{what}");
            assert_eq!(store.load("older")?, rotated("expired", false), "{what}");
            assert_eq!(store.load("other")?, rotated("expired", false), "{what}");
            assert_eq!(tokens("user 7")?, ["expired"], "{what}");
            assert!(tokens("visitor")?.is_empty(), "{what}");
        } else {
            assert_eq!(store.find("visitor")?.as_deref(), Some(&b"cart"[..]), "{what}");
            assert_eq!(store.load("expired")?, Loaded::Missing, "{what}");
            assert_eq!(store.load("older")?, rotated("visitor", true), "{what}");
            assert_eq!(store.find("other")?.as_deref(), Some(&b"more"[..]), "{what}");
            assert!(tokens("user 7")?.is_empty(), "{what}");
            assert_eq!(tokens("visitor")?, ["other", "visitor"], "{what}");
        }
        assert_eq!(store.count()?, if is_done { 1 } else { 2 }, "{what}");
        Ok(is_done)
    }
}

#[test]
fn update_whose_disk_fails_at_any_write_is_done_as_a_whole_or_not_at_all() -> Result<(), Error> {
    let mut has_succeeded = false;
    let mut writes = 0;
    while !has_succeeded {
        let mut random = random_numbers(writes);
        let disk = Disk::new();
        let store = open(&disk, options())?;
        login::prepare(&store)?;
        disk.fail_after(Some(writes));
        let outcome = login::run(&store);
        let what = format!("after {writes} writes: {outcome:?}");
        let crashed: Vec<_> = (0..8).map(|_| disk.after_power_loss(&mut random)).collect();
        disk.fail_after(None);
        assert!(matches!(outcome, Ok(true) | Err(Error::StorageFull { .. })), "{what}");
        has_succeeded = outcome.is_ok();

        let is_done = when_repaired(|| login::is_done(&store, &what));
        drop(store);
        assert_eq!(login::is_done(&open(&disk, options())?, &what)?, is_done, "{what}");
        assert!(is_done || !has_succeeded, "{what}");
        for disk in crashed {
            let is_done = login::is_done(&open(&disk, options())?, &format!("{what}, crashed"))?;
            assert!(is_done || !has_succeeded, "{what}");
        }
        writes += 1;
    }
    assert!(writes > 3, "it succeeded after {writes} writes: nothing has failed");
    Ok(())
}
