//! The record of rotations: whose clock counts the grace, what happens without the table, and what
//! two processes see of each other's rotations.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;
use store_core::{Change, CleanupOptions, Error, Loaded, Rotation, Store};
use store_mysql::{MysqlOptions, MysqlStore, mysql};
use test_servers::{Ability, CLASSIC_IGNORING_CASE, Database, is_server_there};

use crate::writes::{leads_to, rotate, set, set_subject, tokens_of};
use crate::{in_an_hour, options};

fn open(database: &Database) -> Result<MysqlStore, Error> {
    options().connect(&database.url())
}

/// A new database with each variant of the table.
fn databases() -> [Database; 2] {
    [CLASSIC_IGNORING_CASE, MysqlStore::CREATE_TABLE].map(|ddl| {
        let database = Database::new();
        database.run(ddl);
        database
    })
}

#[test]
fn grace_is_counted_by_the_servers_clock() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for database in databases() {
        let store = open(&database)?;
        store.create("old", b"data", in_an_hour(), None)?;
        let rotation = Rotation::new("new").with_grace(Duration::from_secs(7)).old_token_opens();
        let change = Change::new(b"data", in_an_hour()).with_rotation(rotation);
        assert!(store.update("old", b"data", &change)?);
        let mut reader = database.connection();
        reader.query_drop("SET time_zone = '+00:00'").map_err(Error::backend)?;
        // What other statements of this test take is far from the hour that a time zone would make.
        let window: Option<(i64, i64)> = reader
            .query_first(
                "SELECT TIMESTAMPDIFF(MICROSECOND, valid_from, valid_until), \
                 ABS(TIMESTAMPDIFF(SECOND, valid_until, UTC_TIMESTAMP(6))) FROM sessions_rotations",
            )
            .map_err(Error::backend)?;
        assert!(matches!(window, Some((14_000_000, 0..=600))), "{window:?}");

        for (window, counts) in [
            ("valid_from = UTC_TIMESTAMP(6), valid_until = '2900-01-01'", true),
            ("valid_from = UTC_TIMESTAMP(6), valid_until = UTC_TIMESTAMP(6)", false),
            // The clock was set back.
            ("valid_from = '2900-01-01', valid_until = '2900-01-02'", false),
        ] {
            reader
                .query_drop(format!("UPDATE sessions_rotations SET {window}"))
                .map_err(Error::backend)?;
            let loaded = store.load("old")?;
            let rotated = Loaded::Rotated { token: "new".to_owned(), opens: true };
            assert_eq!(loaded, if counts { rotated } else { Loaded::Missing }, "{window}");
        }
        store.delete("old")?;
        assert!(store.find("new")?.is_some(), "after the grace the old token ends nothing");
    }
    Ok(())
}

#[test]
fn record_counts_while_its_newest_token_is_live() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for database in databases() {
        let store = open(&database)?;
        store.create("old", b"data", in_an_hour(), None)?;
        assert!(rotate(&store, "old", "new", b"data", in_an_hour())?);
        database.run("UPDATE sessions SET expiry = '2020-01-01'");
        assert_eq!(store.load("old")?, Loaded::Missing);
        // A Go program that deletes the session knows nothing of the record.
        database.run("DELETE FROM sessions");
        assert_eq!(store.load("old")?, Loaded::Missing);
        store.delete("old")?;
        // The row comes first.
        store.commit("old", b"another", in_an_hour())?;
        store.commit("new", b"new", in_an_hour())?;
        assert!(matches!(store.load("old")?, Loaded::Live { data, .. } if data == b"another"));
        store.delete("old")?;
        assert!(store.find("new")?.is_some() && leads_to(&store, "old", "new")?);
    }
    Ok(())
}

#[test]
fn cleanup_removes_records_past_their_window_in_batches() -> Result<(), Error> {
    const RECORDS: usize = 25;
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    database.run(MysqlStore::CREATE_TABLE);
    let ten = std::num::NonZeroUsize::new(10).expect("not zero");
    let store = MysqlOptions::new()
        .with_cleanup(CleanupOptions::disabled().with_batch_size(ten))
        .connect(&database.url())?;
    let mut token = "0".to_owned();
    store.create(&token, b"data", in_an_hour(), None)?;
    for n in 1..=RECORDS {
        let next = n.to_string();
        assert!(rotate(&store, &token, &next, b"data", in_an_hour())?);
        token = next;
    }
    let count = || -> Option<usize> {
        let count = "SELECT COUNT(*) FROM sessions_rotations";
        database.connection().query_first(count).expect("the table is there")
    };
    assert_eq!(store.delete_expired()?, 0);
    assert_eq!(count(), Some(RECORDS), "all of them count");
    assert!(leads_to(&store, "0", &token)?);
    database.run("UPDATE sessions_rotations SET valid_until = '2020-01-01' WHERE token <> '24'");
    assert_eq!(store.delete_expired()?, 0, "sessions alone are counted");
    assert_eq!(count(), Some(1));
    assert!(leads_to(&store, "24", &token)?);
    Ok(())
}

#[test]
fn side_tables_are_created_with_the_store() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for database in databases() {
        for _ in 0..2 {
            let store = open(&database)?;
            store.create("old", b"data", in_an_hour(), Some("user"))?;
            assert!(rotate(&store, "old", "new", b"data", in_an_hour())?);
            assert!(leads_to(&store, "old", "new")?);
            assert_eq!(tokens_of(&store, "user")?, ["new"]);
            store.delete("old")?;
        }
    }
    Ok(())
}

/// An operation that needs the index of subjects.
fn is_missing<T: std::fmt::Debug>(outcome: &Result<T, Error>, name: &str) -> bool {
    matches!(outcome, Err(Error::TableMissing { table }) if table == name)
}

#[test]
fn sessions_go_without_side_tables_that_cannot_be_created() -> Result<(), Error> {
    if !Ability::Accounts.is_there() {
        return Ok(());
    }
    for database in databases().map(Database::with_user) {
        let store = options().connect(&database.url_of_user())?;
        let name = "sessions_subjects";
        let refused = store.create("token", b"data", in_an_hour(), Some("user"));
        assert!(is_missing(&refused, name), "{refused:?}");
        assert_eq!(store.find("token")?, None, "nothing is written");
        store.create("token", b"data", in_an_hour(), None)?;
        let refused = set_subject(&store, "token", Some("user"), b"data", in_an_hour());
        assert!(is_missing(&refused, name), "{refused:?}");
        assert!(is_missing(&store.find_by_subject("user"), name));
        assert!(is_missing(&store.delete_by_subject("user", Some("token")), name));
        assert!(set_subject(&store, "token", None, b"data", in_an_hour())?);

        store.create("cart", b"cart", in_an_hour(), None)?;
        let change = Change::new(b"both", in_an_hour())
            .with_rotation(Rotation::new("new"))
            .with_subject(None)
            .absorbing("cart", b"cart");
        assert!(store.update("token", b"data", &change)?);
        assert_eq!(store.all()?, HashMap::from([("new".to_owned(), b"both".to_vec())]));
        assert_eq!(store.load("token")?, Loaded::Missing, "there is no grace");
        store.delete("token")?;
        assert_eq!(store.count()?, 1);
        assert_eq!(store.delete_expired()?, 0);

        // A store that is made when they exist uses them, and this one still works without.
        let with_them = open(&database)?;
        assert!(rotate(&with_them, "new", "newer", b"both", in_an_hour())?);
        assert_eq!(store.load("new")?, Loaded::Missing);
        assert!(leads_to(&with_them, "new", "newer")?);
        assert!(set(&store, "newer", b"both", b"last", in_an_hour())?);
        store.delete("newer")?;
        assert_eq!(with_them.load("new")?, Loaded::Missing);
    }
    Ok(())
}

#[test]
fn side_table_that_is_dropped_is_named() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for database in databases() {
        let store = open(&database)?;
        store.create("token", b"data", in_an_hour(), Some("user"))?;
        database.run("DROP TABLE sessions_rotations");
        let name = "sessions_rotations";
        assert!(is_missing(&store.load("missing"), name));
        assert!(is_missing(&store.delete("missing"), name));
        assert!(is_missing(&rotate(&store, "token", "new", b"data", in_an_hour()), name));
        assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]), "all is as it was");
        assert!(matches!(store.load("token")?, Loaded::Live { .. }));
        assert_eq!(tokens_of(&store, "user")?, ["token"]);
        database.run("DROP TABLE sessions_subjects");
        assert!(is_missing(&store.find_by_subject("user"), "sessions_subjects"));
        let refused = store.create("other", b"data", in_an_hour(), Some("user"));
        assert!(is_missing(&refused, "sessions_subjects"), "{refused:?}");
        assert_eq!(store.find("other")?, None, "nothing is written");
        // A new store creates them again.
        let store = open(&database)?;
        assert!(rotate(&store, "token", "new", b"data", in_an_hour())?);
        assert!(leads_to(&store, "token", "new")?);
    }
    Ok(())
}

/// What a rotation of another process does, step by step.
const ROTATE: &str = "UPDATE sessions SET token = 'new', expiry = expiry WHERE token = ";
const RECORD: &str = "INSERT INTO sessions_rotations VALUES \
    ('old', 'new', 0, '2000-01-01', '2900-01-01')";
const LEAD_ON: &str = "UPDATE sessions_rotations SET newest = 'new' WHERE newest = 'middle'";

#[test]
fn logout_waits_for_a_rotation_under_way_and_follows_it() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for database in databases() {
        for is_recorded_before in [true, false] {
            let store = open(&database)?;
            store.create("old", b"data", in_an_hour(), Some("user"))?;
            let mut other = database.connection();
            other.query_drop("BEGIN").map_err(Error::backend)?;
            other.query_drop(format!("{ROTATE} 'old'")).map_err(Error::backend)?;
            if is_recorded_before {
                other.query_drop(RECORD).map_err(Error::backend)?;
            }
            thread::scope(|scope| {
                let logout = scope.spawn(|| store.delete("old"));
                database.wait_for_a_lock_wait(|| logout.is_finished());
                assert!(!logout.is_finished(), "it can't know yet");
                if !is_recorded_before {
                    other.query_drop(RECORD).expect("nobody is in the way");
                }
                other.query_drop("COMMIT").expect("it commits");
                logout.join().expect("no panic")
            })?;
            assert_eq!(store.count()?, 0);
            assert_eq!(store.load("old")?, Loaded::Missing);
            database.run("DELETE FROM sessions_rotations");
        }
    }
    Ok(())
}

/// The logout has the record, which the rotation needs, and the rotation has the session.
#[test]
fn logout_that_meets_a_further_rotation_ends_the_session() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for database in databases() {
        let store = open(&database)?;
        store.create("old", b"data", in_an_hour(), Some("user"))?;
        assert!(rotate(&store, "old", "middle", b"data", in_an_hour())?);
        let mut other = database.connection();
        other.query_drop("BEGIN").map_err(Error::backend)?;
        other.query_drop(format!("{ROTATE} 'middle'")).map_err(Error::backend)?;
        thread::scope(|scope| {
            let logout = scope.spawn(|| store.delete("old"));
            database.wait_for_a_lock_wait(|| logout.is_finished());
            assert!(!logout.is_finished(), "it can't know yet");
            // One of the two is rolled back: the logout is made again, or the rotation isn't made.
            if other.query_drop(LEAD_ON).is_ok() {
                other.query_drop("COMMIT").expect("it commits");
            }
            logout.join().expect("no panic")
        })?;
        for token in ["old", "middle", "new"] {
            assert_eq!(store.load(token)?, Loaded::Missing, "{token}");
        }
        assert_eq!(store.count()?, 0);
    }
    Ok(())
}

#[test]
fn logout_with_an_old_token_is_final_while_another_process_rotates() -> Result<(), Error> {
    const ROUNDS: usize = 120;
    if !is_server_there() {
        return Ok(());
    }
    for database in databases() {
        logouts_are_final(&open(&database)?, &open(&database)?, ROUNDS)?;
    }
    Ok(())
}

/// One process rotates a session again and again; another one logs out with a token from before.
pub(crate) fn logouts_are_final(
    rotating: &MysqlStore,
    ending: &MysqlStore,
    rounds: usize,
) -> Result<(), Error> {
    /// Only ends what would go on forever.
    const MOST: usize = 2_000;
    for round in 0..rounds {
        let name = |n: usize| format!("{round}-{n}");
        rotating.create(&name(0), b"data", in_an_hour(), Some("user"))?;
        // How many tokens the session may have had.
        let tokens = AtomicUsize::new(1);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..MOST {
                    tokens.store(n + 2, Ordering::Release);
                    let rotated = rotate(rotating, &name(n), &name(n + 1), b"data", in_an_hour());
                    if !rotated.expect("no error") {
                        return;
                    }
                }
                panic!("the session lives on in round {round}");
            });
            scope.spawn(|| {
                let begin = fastrand::usize(2..7);
                while tokens.load(Ordering::Acquire) < begin {
                    thread::yield_now();
                }
                // Any token that the browser ever had.
                let token = name(fastrand::usize(..tokens.load(Ordering::Acquire) - 1));
                ending.delete(&token).expect("no error");
                for n in 0..tokens.load(Ordering::Acquire) {
                    assert_eq!(ending.find(&name(n)).expect("no error"), None, "{}", name(n));
                }
            });
        });
        assert_eq!(ending.count()?, 0, "round {round}");
        assert_eq!(tokens_of(ending, "user")?, [""; 0], "round {round}");
    }
    Ok(())
}

/// A session of the random test: every token that it may have had, and what was answered.
struct Life {
    number: usize,
    subject: String,
    /// Those that it may have got.
    tokens: Mutex<Vec<String>>,
    /// Those that it has had, as was answered.
    had: Mutex<Vec<String>>,
    changes: AtomicU64,
    /// Whether something was answered that ends it.
    is_over: AtomicBool,
}

impl Life {
    fn begin(store: &MysqlStore, number: usize) -> Self {
        let (subject, token) = (format!("user {number}"), format!("{number}-0"));
        store.create(&token, b"0", in_an_hour(), Some(&subject)).expect("no error");
        let (changes, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        Self {
            number,
            subject,
            tokens: Mutex::new(vec![token.clone()]),
            had: Mutex::new(vec![token]),
            changes,
            is_over,
        }
    }

    /// One of the last tokens.
    fn any_token(&self) -> String {
        let tokens = self.had.lock().expect("no panic");
        let recent = &tokens[tokens.len().saturating_sub(4)..];
        recent[fastrand::usize(..recent.len())].clone()
    }

    /// The session's token and data, from any token of it.
    fn find(&self, store: &MysqlStore) -> Option<(String, Vec<u8>)> {
        let mut token = self.any_token();
        loop {
            match store.load(&token).expect("no error") {
                Loaded::Live { data, .. } => return Some((token, data)),
                Loaded::Rotated { token: newest, .. } => token = newest,
                Loaded::Missing => return None,
            }
        }
    }

    fn change(&self, store: &MysqlStore) {
        let Some((token, data)) = self.find(store) else { return };
        let number: u64 = String::from_utf8_lossy(&data).parse().expect("a number");
        let next = (number + 1).to_string();
        let mut change = Change::new(next.as_bytes(), in_an_hour());
        let new_token = {
            let mut tokens = self.tokens.lock().expect("no panic");
            let name = format!("{}-{}", self.number, tokens.len());
            tokens.push(name.clone());
            name
        };
        if fastrand::bool() {
            let mut rotation = Rotation::new(&new_token);
            if fastrand::bool() {
                rotation = rotation.old_token_opens();
            }
            change = change.with_rotation(rotation);
        }
        if fastrand::bool() {
            change = change.with_subject(Some(&self.subject));
        }
        // A session of its own each time: the tokens of an absorbed one lead to what absorbed it.
        let absorbed = (fastrand::u8(..5) == 0).then(|| format!("{new_token}-absorbed"));
        if let Some(token) = &absorbed {
            store.create(token, b"absorbed", in_an_hour(), None).expect("no error");
            change = change.absorbing(token, b"absorbed");
        }
        if store.update(&token, &data, &change).expect("no error") {
            self.changes.fetch_add(1, Ordering::AcqRel);
            if change.rotation.is_some() {
                self.had.lock().expect("no panic").push(new_token.clone());
            }
            if let Some(token) = &absorbed {
                assert_eq!(store.find(token).expect("no error"), None, "it is absorbed");
                return;
            }
        }
        if let Some(token) = &absorbed {
            // It isn't absorbed by a change that wasn't made.
            assert!(store.find(token).expect("no error").is_some());
            store.delete(token).expect("no error");
        }
    }

    fn end(&self, store: &MysqlStore) {
        if fastrand::bool() {
            store.delete(&self.any_token()).expect("no error");
        } else {
            store.delete_by_subject(&self.subject, None).expect("no error");
        }
        self.is_over.store(true, Ordering::Release);
        let tokens = self.tokens.lock().expect("no panic").clone();
        for token in tokens {
            assert_eq!(store.find(&token).expect("no error"), None, "{token} lives on");
        }
    }

    fn spare(&self, store: &MysqlStore) {
        // Whatever token of the session is spared, the session is.
        let ended = store.delete_by_subject(&self.subject, Some(&self.any_token()));
        assert_eq!(ended.expect("no error"), 0, "{} was to be spared", self.subject);
    }

    fn check(&self, store: &MysqlStore) {
        let tokens = self.tokens.lock().expect("no panic").clone();
        let found: Vec<_> = tokens
            .iter()
            .filter_map(|token| {
                store.find(token).expect("no error").map(|data| (token.clone(), data))
            })
            .collect();
        let indexed = tokens_of(store, &self.subject).expect("no error");
        if self.is_over.load(Ordering::Acquire) {
            assert!(found.is_empty() && indexed.is_empty(), "{}: {found:?}", self.subject);
            return;
        }
        let changes = self.changes.load(Ordering::Acquire).to_string();
        assert_eq!(found.len(), 1, "{}: {found:?}", self.subject);
        assert_eq!(found[0].1, changes.as_bytes(), "{}: each change counts", self.subject);
        assert_eq!(indexed, [found[0].0.clone()], "{}: index and data agree", self.subject);
        for token in tokens.iter().filter(|token| **token != found[0].0) {
            match store.load(token).expect("no error") {
                Loaded::Rotated { token: newest, .. } => assert_eq!(newest, found[0].0),
                // A token for a rotation that didn't come about.
                Loaded::Missing => {}
                Loaded::Live { .. } => panic!("{token} is live as well"),
            }
        }
    }
}

#[test]
fn two_processes_at_random_keep_what_was_answered() -> Result<(), Error> {
    const THREADS: usize = 6;
    const LIVES: usize = 40;
    const OPERATIONS: usize = 400;
    if !is_server_there() {
        return Ok(());
    }
    for database in databases() {
        let stores = [open(&database)?, open(&database)?];
        let lives: Vec<_> = (0..LIVES).map(|n| Life::begin(&stores[n % 2], n)).collect();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (store, lives) = (&stores[thread % 2], &lives);
                scope.spawn(move || {
                    for n in 0..OPERATIONS {
                        // Few at once, so that they meet.
                        let near = n * LIVES / OPERATIONS;
                        let life = &lives[(near + fastrand::usize(..3)) % LIVES];
                        match fastrand::u8(..40) {
                            0 => life.end(store),
                            1..4 => life.spare(store),
                            _ => life.change(store),
                        }
                    }
                });
            }
        });
        for life in &lives {
            life.check(&stores[0]);
        }
        assert!(stores[0].count()? > 0, "some live on");
    }
    Ok(())
}
