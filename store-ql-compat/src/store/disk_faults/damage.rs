//! Files with flipped bytes: nothing panics or hangs.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use store_core::{Change, Error, Rotation, Store};

use super::disk::Disk;
use super::{in_an_hour, open, options, random_numbers};

/// Opens a file with flipped bytes and does everything once. Nothing may panic or hang.
fn use_damaged(bytes: Vec<u8>) -> Option<Error> {
    let disk = Disk::with(bytes);
    let store = match open(&disk, options()) {
        Ok(store) => store,
        Err(error) => return Some(error),
    };
    let change = Change::new(b"new", in_an_hour());
    let login = change
        .clone()
        .with_rotation(Rotation::new("rotated"))
        .with_subject(Some("two"))
        .absorbing("token-12", &[b'x'; 300]);
    let outcomes = [
        store.find("token-7").map(drop),
        store.load("token-7").map(drop),
        store.load("old-9").map(drop),
        store.count().map(drop),
        store.all().map(drop),
        store.commit("token-7", &[b'y'; 300], in_an_hour()),
        store.create("created", &[b'y'; 300], in_an_hour(), Some("one")),
        store.update("token-8", &[b'x'; 300], &change).map(drop),
        store.touch("token-9", in_an_hour()).map(drop),
        store.update("token-10", &[b'x'; 300], &login).map(drop),
        store.delete("token-11"),
        store.delete("old-13"),
        store.find_by_subject("one").map(drop),
        store.delete_by_subject("one", Some("old-15")).map(drop),
        store.delete_expired().map(drop),
        store.compact().map(drop),
    ];
    outcomes.into_iter().find_map(Result::err)
}

fn flip_bytes_at_random(trials: u64) -> Result<(), Error> {
    let disk = Disk::new();
    let store = open(&disk, options())?;
    for n in 0..300 {
        let expiry = if n % 3 == 0 { Utc::now() - TimeDelta::hours(1) } else { in_an_hour() };
        let token = format!("token-{n}");
        if n % 2 == 0 {
            store.create(&token, &[b'x'; 300], in_an_hour(), Some("one"))?;
        } else {
            let old = format!("old-{n}");
            store.create(&old, &[b'x'; 300], in_an_hour(), Some("one"))?;
            // Of some the grace is over, so the cleanup reads them as well.
            let grace = if n % 5 == 0 { Duration::ZERO } else { Rotation::MAX_GRACE };
            let rotation = Rotation::new(&token).with_grace(grace);
            let change = Change::new(&[b'x'; 300], in_an_hour()).with_rotation(rotation);
            assert!(store.update(&old, &[b'x'; 300], &change)?);
        }
        store.touch(&token, expiry)?;
    }
    let unclosed = disk.bytes();
    drop(store);
    let closed = disk.bytes();
    let mut noticed = 0;
    for seed in 0..trials {
        let mut random = random_numbers(seed);
        let mut bytes = if seed % 2 == 0 { closed.clone() } else { unclosed.clone() };
        // Most of the file is free: aim at what is in use, and at the header in particular.
        let in_use: Vec<usize> = (0..bytes.len()).filter(|&place| bytes[place] != 0).collect();
        for _ in 0..=random() % 8 {
            let place = match random() % 4 {
                0 => usize::try_from(random() % 320).expect("small"),
                _ => in_use[usize::try_from(random()).expect("64 bits") % in_use.len()],
            };
            bytes[place] ^= u8::try_from(1 + random() % 255).expect("a byte");
        }
        match use_damaged(bytes) {
            None => {}
            Some(
                Error::Corrupt { .. }
                | Error::Backend { .. }
                | Error::TableMissing { .. }
                | Error::TableMismatch { .. }
                | Error::Unreachable { .. }
                | Error::StorageFull { .. },
            ) => noticed += 1,
            Some(other) => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(noticed > 0);
    Ok(())
}

#[test]
fn damaged_files_give_errors() -> Result<(), Error> {
    flip_bytes_at_random(200)
}

#[test]
#[ignore = "thousands of damaged files take minutes"]
fn thousands_of_damaged_files_give_errors() -> Result<(), Error> {
    flip_bytes_at_random(5_000)
}
