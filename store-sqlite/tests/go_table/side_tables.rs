//! The tables next to the Go store's: subjects and rotations of sessions that Go deletes and
//! replaces, and a store without them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags, params};
use store_core::{Change, CleanupOptions, Loaded, ManualClock, Rotation, Store};
use store_sqlite::{Error, SqliteOptions, SqliteStore};
use tempfile::TempDir;

use crate::{TestResult, go, go_database, pool, rotation};

#[test]
fn sessions_that_go_deletes_drop_out_of_the_index_and_are_removed_from_it() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = SqliteOptions::new()
        .with_cleanup(CleanupOptions::disabled().with_batch_size(3.try_into()?))
        .open(&path)?;
    let sqlite = Connection::open(&path)?;
    let links = || sqlite.query_row("SELECT count(*) FROM sessions_subjects", [], |row| row.get(0));
    let later = Utc::now() + TimeDelta::hours(1);
    for n in 0..20 {
        store.create(&format!("token-{n}"), b"data", later, Some("user"))?;
    }
    // Go replaces the row, which keeps its subject, and deletes others.
    let text = later.format(go::EXPIRY_FORMAT).to_string();
    sqlite.execute(go::COMMIT, params!["token-0", b"go", text])?;
    sqlite.execute("DELETE FROM sessions WHERE token <> 'token-0' AND token <> 'token-7'", [])?;
    let mut found = store.find_by_subject("user")?;
    found.sort_by(|a, b| a.token.cmp(&b.token));
    let found: Vec<_> = found.iter().map(|record| (&*record.token, &*record.data)).collect();
    assert_eq!(found, [("token-0", &b"go"[..]), ("token-7", b"data")]);
    assert_eq!(links(), Ok(20));
    // The search for orphans goes on where it left off, page by page.
    for _ in 0..8 {
        assert_eq!(store.delete_expired()?, 0);
    }
    assert_eq!(links(), Ok(2));
    assert_eq!(store.delete_by_subject("user", None)?, 2);
    assert_eq!(links(), Ok(0));
    Ok(())
}

/// A database in which the side tables can't be created, because views have their names.
fn go_database_with_views() -> Result<(TempDir, PathBuf), Box<dyn std::error::Error>> {
    let (directory, path) = go_database()?;
    Connection::open(&path)?.execute_batch(
        "CREATE VIEW sessions_subjects AS SELECT token, 'user' AS subject FROM sessions;
         CREATE VIEW sessions_rotations AS SELECT token, token AS newest FROM sessions;",
    )?;
    Ok((directory, path))
}

#[test]
fn table_without_an_index_of_subjects_says_so() -> TestResult {
    fn is_missing<T: std::fmt::Debug>(outcome: Result<T, Error>) {
        match outcome {
            Err(Error::TableMissing { table }) => assert_eq!(table, "sessions_subjects"),
            other => panic!("{other:?}"),
        }
    }
    let (_directory, path) = go_database_with_views()?;
    let store = SqliteStore::new(pool(&path)?)?;
    let later = Utc::now() + TimeDelta::hours(1);
    store.commit("token", b"data", later)?;
    let change = Change::new(b"new", later);
    is_missing(store.update("token", b"data", &change.clone().with_subject(Some("user"))));
    is_missing(store.create("other", b"data", later, Some("user")));
    is_missing(store.find_by_subject("user"));
    is_missing(store.delete_by_subject("user", None));
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    assert!(store.find("other")?.is_none());

    assert!(store.update("token", b"data", &change.with_subject(None))?);
    store.create("other", b"data", later, None)?;
    assert!(store.update(
        "token",
        b"new",
        &rotation(b"new", "rotated").absorbing("other", b"data")
    )?);
    store.delete("rotated")?;
    assert!(store.all()?.is_empty());
    assert_eq!(store.delete_expired()?, 0);

    Connection::open(&path)?.execute_batch("DROP VIEW sessions_subjects")?;
    let store = SqliteStore::new(pool(&path)?)?;
    store.create("token", b"data", later, Some("user"))?;
    assert_eq!(store.find_by_subject("user")?.len(), 1);
    Ok(())
}

#[test]
fn table_without_records_of_rotations_has_no_grace() -> TestResult {
    let (_directory, path) = go_database_with_views()?;
    let later = Utc::now() + TimeDelta::hours(1);
    let store = SqliteStore::new(pool(&path)?)?;
    store.create("old", b"data", later, None)?;
    let rotation = Rotation::new("new").old_token_opens();
    assert!(store.update("old", b"data", &Change::new(b"new", later).with_rotation(rotation))?);
    assert_eq!(store.load("old")?, Loaded::Missing);
    assert!(matches!(store.load("new")?, Loaded::Live { data, .. } if data == b"new"));
    store.delete("old")?;
    assert!(store.find("new")?.is_some(), "nothing says that it was the same session");
    store.delete("new")?;
    assert!(store.find("new")?.is_none());
    assert_eq!(store.delete_expired()?, 0);

    Connection::open(&path)?.execute_batch("DROP VIEW sessions_rotations")?;
    let store = SqliteStore::new(pool(&path)?)?;
    store.create("old", b"data", later, None)?;
    assert!(store.update("old", b"data", &self::rotation(b"new", "new"))?);
    assert!(matches!(store.load("old")?, Loaded::Rotated { token, .. } if token == "new"));
    Ok(())
}

#[test]
fn new_store_creates_the_side_tables_that_a_go_table_lacks() -> TestResult {
    let (_directory, path) = go_database()?;
    let before = table_names(&path)?;
    assert_eq!(before, ["sessions"]);
    drop(SqliteStore::new(pool(&path)?)?);
    assert_eq!(table_names(&path)?, ["sessions", "sessions_rotations", "sessions_subjects"]);
    Connection::open(&path)?.execute_batch("DROP TABLE sessions_rotations")?;
    drop(SqliteOptions::new().open(&path)?);
    assert_eq!(table_names(&path)?, ["sessions", "sessions_rotations", "sessions_subjects"]);
    Ok(())
}

fn table_names(path: &Path) -> rusqlite::Result<Vec<String>> {
    Connection::open(path)?
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect()
}

#[test]
fn read_only_database_without_side_tables_is_read() -> TestResult {
    let (_directory, path) = go_database()?;
    let text = (Utc::now() + TimeDelta::hours(1)).format(go::EXPIRY_FORMAT).to_string();
    Connection::open(&path)?.execute(go::COMMIT, params!["token", b"go", text])?;
    let read_only =
        SqliteConnectionManager::file(&path).with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY);
    let store = SqliteStore::new(Pool::builder().max_size(2).build(read_only)?)?;
    assert!(matches!(store.load("token")?, Loaded::Live { data, .. } if data == b"go"));
    assert_eq!(store.load("missing")?, Loaded::Missing);
    let missing = store.find_by_subject("user");
    assert!(matches!(missing, Err(Error::TableMissing { .. })), "{missing:?}");
    assert_eq!(table_names(&path)?, ["sessions"]);
    Ok(())
}

#[test]
fn sessions_that_go_deletes_or_replaces_are_followed_by_their_old_tokens() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = SqliteOptions::new().with_cleanup(CleanupOptions::disabled()).open(&path)?;
    let sqlite = Connection::open(&path)?;
    let later = Utc::now() + TimeDelta::hours(1);
    let text = later.format(go::EXPIRY_FORMAT).to_string();
    store.create("old", b"data", later, Some("user"))?;
    assert!(store.update("old", b"data", &rotation(b"rust", "new"))?);

    sqlite.execute(go::COMMIT, params!["new", b"go", text])?;
    assert!(matches!(store.load("old")?, Loaded::Rotated { token, .. } if token == "new"));
    assert_eq!(store.find_by_subject("user")?[0].data, b"go");

    sqlite.execute(go::DELETE, ["new"])?;
    assert_eq!(store.load("old")?, Loaded::Missing);
    assert!(store.find_by_subject("user")?.is_empty());
    assert_eq!(store.delete_by_subject("user", Some("old"))?, 0);

    // Go doesn't know that the old token had a session; to both it is a new one now.
    sqlite.execute(go::COMMIT, params!["old", b"again", text])?;
    assert!(matches!(store.load("old")?, Loaded::Live { data, .. } if data == b"again"));
    store.create("new", b"other", later, None)?;
    store.delete("old")?;
    assert!(store.find("new")?.is_some(), "the row came first");
    Ok(())
}

#[test]
fn subject_of_a_session_that_go_deleted_is_not_inherited() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let store = SqliteOptions::new().with_cleanup(CleanupOptions::disabled()).open(&path)?;
    let sqlite = Connection::open(&path)?;
    let later = Utc::now() + TimeDelta::hours(1);
    for token in ["created", "rotated"] {
        store.create(token, b"data", later, Some("user"))?;
        sqlite.execute(go::DELETE, [token])?;
    }
    store.create("created", b"data", later, None)?;
    store.create("anonymous", b"data", later, None)?;
    assert!(store.update("anonymous", b"data", &rotation(b"data", "rotated"))?);
    assert!(store.find_by_subject("user")?.is_empty());
    Ok(())
}

#[test]
fn rotation_is_seen_by_another_store_of_the_same_file() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let open = || SqliteOptions::new().with_cleanup(CleanupOptions::disabled()).open(&path);
    let (one, other) = (open()?, open()?);
    let later = Utc::now() + TimeDelta::hours(1);
    one.create("old", b"data", later, Some("user"))?;
    let first = Rotation::new("newer").old_token_opens();
    assert!(one.update("old", b"data", &Change::new(b"data", later).with_rotation(first))?);
    let rotated = Loaded::Rotated { token: "newer".to_owned(), opens: true };
    assert_eq!(other.load("old")?, rotated);

    assert!(other.update("newer", b"data", &rotation(b"data", "newest"))?);
    for token in ["old", "newer"] {
        let rotated = Loaded::Rotated { token: "newest".to_owned(), opens: false };
        assert_eq!(one.load(token)?, rotated, "{token}");
        assert!(one.find(token)?.is_none());
        assert!(!one.touch(token, later)?);
        assert!(!one.update(token, b"data", &Change::new(b"late", later))?);
    }
    assert_eq!(one.delete_by_subject("user", Some("old"))?, 0);
    one.delete("old")?;
    assert!(other.find("newest")?.is_none());
    assert_eq!(other.load("newer")?, Loaded::Missing);
    assert!(other.find_by_subject("user")?.is_empty());
    Ok(())
}

#[test]
fn clock_that_goes_back_ends_the_grace_and_does_not_lengthen_it() -> TestResult {
    let noon = "2026-06-01T12:00:00Z".parse::<DateTime<Utc>>()?;
    let clock = Arc::new(ManualClock::new(noon));
    let store = SqliteOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_clock(clock.clone())
        .in_memory()?;
    let tomorrow = noon + TimeDelta::days(1);
    store.create("old", b"data", tomorrow, None)?;
    let rotation = || Change::new(b"data", tomorrow).with_rotation(Rotation::new("new"));
    assert!(store.update("old", b"data", &rotation())?);
    let is_known = || Ok::<_, Error>(matches!(store.load("old")?, Loaded::Rotated { .. }));

    for (seconds, expected) in [
        (0, true),
        (-30, true),
        (-31, false),
        (-3_600, false),
        (29, true),
        (30, false),
        (3_600, false),
    ] {
        let step = TimeDelta::seconds(seconds);
        clock.advance(step);
        assert_eq!(is_known()?, expected, "{seconds} s");
        clock.advance(-step);
    }

    clock.advance(TimeDelta::hours(-1));
    store.delete("old")?;
    assert!(store.find("new")?.is_some(), "an hour ago it was not rotated a moment ago");
    clock.advance(TimeDelta::hours(1));
    store.delete("old")?;
    assert!(store.find("new")?.is_none());
    Ok(())
}

#[test]
fn records_of_rotations_are_removed_in_batches_after_their_window() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let store = SqliteOptions::new()
        .with_cleanup(CleanupOptions::disabled().with_batch_size(3.try_into()?))
        .with_clock(clock.clone())
        .open(&path)?;
    let sqlite = Connection::open(&path)?;
    let records =
        || sqlite.query_row("SELECT count(*) FROM sessions_rotations", [], |row| row.get(0));
    let later = Utc::now() + TimeDelta::hours(1);
    for n in 0..10 {
        let (old, new) = (format!("old-{n}"), format!("new-{n}"));
        store.create(&old, b"data", later, None)?;
        assert!(store.update(&old, b"data", &rotation(b"data", &new))?);
        if n % 2 == 0 {
            store.delete(&new)?;
        }
    }
    assert_eq!(store.delete_expired()?, 0);
    assert_eq!(records(), Ok(10), "they are kept for the grace");
    clock.advance(TimeDelta::seconds(30));
    store.commit("expired", b"data", Utc::now() - TimeDelta::hours(1))?;
    assert_eq!(store.delete_expired()?, 1, "only sessions count");
    assert_eq!(records(), Ok(0));
    assert_eq!(store.count()?, 5);
    Ok(())
}
