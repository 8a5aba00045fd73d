//! The rows of the Go store's table, read and written.

use std::fs;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params};
use sha2::{Digest, Sha256};
use store_core::{Change, CleanupOptions, Loaded, ManualClock, Store};
use store_sqlite::{Error, SqliteOptions, SqliteStore};

use crate::{TestResult, fixture, go, go_database, pool, rotation};

#[test]
fn database_written_by_the_go_store_reads_exactly() -> TestResult {
    let rows: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(fixture("go-sqlite3store.db.json"))?)?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("go.db");
    fs::copy(fixture("go-sqlite3store.db"), &path)?;
    // The fixture says what is live in 2026, whenever the test runs.
    let clock = Arc::new(ManualClock::new("2026-11-20T00:00:00Z".parse()?));
    let store = SqliteOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_clock(clock)
        .build(pool(&path)?)?;

    let mut live = 0;
    for row in &rows {
        let token = row["token"].as_str().expect("a token");
        let found = store.find(token)?;
        if row["live_in_2026"] != true {
            assert_eq!(found, None, "{token}");
            continue;
        }
        live += 1;
        let data = found.unwrap_or_else(|| panic!("{token} is live"));
        assert_eq!(Some(data.len() as u64), row["data_len"].as_u64(), "{token}");
        let digest = hex(&Sha256::digest(&data));
        assert_eq!(Some(&*digest), row["data_sha256"].as_str(), "{token}");
        let given: DateTime<Utc> = row["expiry"].as_str().expect("an expiry").parse()?;
        let mut stored = None;
        store.for_each(&mut |record| {
            if record.token == token {
                stored = Some(record.expiry);
            }
            std::ops::ControlFlow::Continue(())
        })?;
        let early = given - stored.expect("it is live");
        assert!(early >= TimeDelta::zero() && early <= TimeDelta::milliseconds(1), "{token}");
    }
    assert!(live >= 7, "the fixture has live rows");
    assert_eq!(store.all()?.len(), live);
    let gone = store.delete_expired()?;
    assert_eq!(usize::try_from(gone)?, rows.len() - live);
    Ok(())
}

#[test]
fn rows_are_the_ones_that_the_go_store_would_write() -> TestResult {
    let (_directory, path) = go_database()?;
    let store = SqliteStore::new(pool(&path)?)?;
    let sqlite = Connection::open(&path)?;
    for (n, ns) in [0, 1, 999_999, 1_000_000, 123_456_789, 999_999_999].into_iter().enumerate() {
        let expiry = DateTime::from_timestamp(2_000_000_000 + i64::from(ns), ns).expect("in range");
        let (ours, theirs) = (format!("ours-{n}"), format!("theirs-{n}"));
        let text = expiry.format(go::EXPIRY_FORMAT).to_string();
        store.commit(&ours, b"\0data\xff", expiry)?;
        sqlite.execute(go::COMMIT, params![theirs, b"\0data\xff", text])?;

        let row = |token: &str| {
            sqlite.query_row(
                "SELECT typeof(token), typeof(data), typeof(expiry), data, expiry FROM sessions WHERE token = ?1",
                [token],
                |row| {
                    Ok((
                        [row.get::<_, String>(0)?, row.get(1)?, row.get(2)?],
                        row.get::<_, Value>(3)?,
                        row.get::<_, f64>(4)?.to_bits(),
                    ))
                },
            )
        };
        assert_eq!(row(&ours)?, row(&theirs)?, "expiry {expiry}");
        assert_eq!(store.find(&theirs)?.as_deref(), Some(&b"\0data\xff"[..]));
        let data: Vec<u8> = sqlite.query_row(go::FIND, [&ours], |row| row.get(0))?;
        assert_eq!(data, b"\0data\xff");
    }
    Ok(())
}

#[test]
fn each_sees_what_the_other_changes() -> TestResult {
    let (_directory, path) = go_database()?;
    let store = SqliteStore::new(pool(&path)?)?;
    let sqlite = Connection::open(&path)?;
    let later = Utc::now() + TimeDelta::hours(1);
    let go_later = later.format(go::EXPIRY_FORMAT).to_string();

    sqlite.execute(go::COMMIT, params!["token", b"go", go_later])?;
    assert!(store.update("token", b"go", &Change::new(b"rust", later))?);
    sqlite.execute(go::COMMIT, params!["token", b"go again", go_later])?;
    assert!(!store.update("token", b"rust", &Change::new(b"stale", later))?);
    assert!(store.update("token", b"go again", &rotation(b"go again", "rotated"))?);
    let data: Vec<u8> = sqlite.query_row(go::FIND, ["rotated"], |row| row.get(0))?;
    assert_eq!(data, b"go again");

    assert!(store.touch("rotated", Utc::now() - TimeDelta::seconds(1))?);
    assert_eq!(sqlite.execute(go::DELETE_EXPIRED, [])?, 1);
    assert_eq!(store.delete_expired()?, 0);
    Ok(())
}

#[test]
fn data_that_others_wrote_as_text_is_found_and_updated() -> TestResult {
    let (_directory, path) = go_database()?;
    let store = SqliteStore::new(pool(&path)?)?;
    let sqlite = Connection::open(&path)?;
    sqlite.execute(
        "INSERT INTO sessions VALUES ('token', 'text', julianday('now', '+1 hour'))",
        [],
    )?;
    assert_eq!(store.find("token")?.as_deref(), Some(&b"text"[..]));
    sqlite.execute(
        "INSERT INTO sessions VALUES ('other', 'text', julianday('now', '+1 hour'))",
        [],
    )?;
    let later = Utc::now() + TimeDelta::hours(1);
    assert!(store.update("token", b"text", &Change::new(b"blob", later))?);
    assert_eq!(store.find("token")?.as_deref(), Some(&b"blob"[..]));
    let absorbing = rotation(b"more", "rotated").absorbing("other", b"text");
    assert!(store.update("token", b"blob", &absorbing)?);
    assert_eq!(store.all()?.len(), 1);
    Ok(())
}

#[test]
fn broken_expiries_are_dead_and_removed() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let sqlite = Connection::open(&path)?;
    // Without NOT NULL, as many tables are made by hand.
    sqlite
        .execute_batch("CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry REAL)")?;
    let broken = ["NULL", "'never'", "''", "'2037-01-01T00:00:00Z'", "x'00'", "9e999", "5373484.5"];
    for (n, expiry) in broken.iter().enumerate() {
        let insert = format!("INSERT INTO sessions VALUES ('broken-{n}', 'data', {expiry})");
        sqlite.execute(&insert, [])?;
    }
    sqlite.execute("INSERT INTO sessions VALUES ('whole-number', 'data', 5373484)", [])?;

    let store = SqliteOptions::new()
        .with_cleanup(CleanupOptions::disabled().with_batch_size(2.try_into()?))
        .build(pool(&path)?)?;
    for (n, expiry) in broken.iter().enumerate() {
        let token = format!("broken-{n}");
        assert_eq!(store.find(&token)?, None, "{expiry}");
        assert!(!store.touch(&token, Utc::now() + TimeDelta::hours(1))?, "{expiry}");
        assert!(!store.update(&token, b"data", &rotation(b"data", "revived"))?, "{expiry}");
        let absorbing = rotation(b"data", "revived").absorbing(&token, b"data");
        assert!(!store.update("whole-number", b"data", &absorbing)?, "{expiry}");
    }
    assert_eq!(store.all()?.len(), 1);
    assert_eq!(store.count()?, 1);
    assert_eq!(store.delete_expired()?, broken.len() as u64);
    assert!(store.find("whole-number")?.is_some(), "the last day of the year 9999 is a day");

    // What isn't live gives its token to a new session, and to a rotated one.
    let later = Utc::now() + TimeDelta::hours(1);
    for (n, expiry) in broken.iter().enumerate() {
        let insert = format!("INSERT INTO sessions VALUES ('broken', 'data', {expiry})");
        sqlite.execute(&insert, [])?;
        store.create("broken", b"new", later, None)?;
        assert_eq!(store.find("broken")?.as_deref(), Some(&b"new"[..]), "{expiry}");
        store.delete("broken")?;

        sqlite.execute(&insert, [])?;
        let token = format!("anonymous-{n}");
        store.create(&token, b"data", later, None)?;
        assert!(store.update(&token, b"data", &rotation(b"rotated", "broken"))?, "{expiry}");
        assert_eq!(store.find("broken")?.as_deref(), Some(&b"rotated"[..]), "{expiry}");
        store.delete("broken")?;
    }
    Ok(())
}

#[test]
fn what_else_is_kept_in_the_table_survives_commits() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let sqlite = Connection::open(&path)?;
    sqlite.execute_batch(
        "CREATE TABLE sessions (
             token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL,
             note TEXT NOT NULL DEFAULT 'none'
         );
         CREATE INDEX sessions_expiry_idx ON sessions(expiry);
         CREATE TABLE carts (id INTEGER PRIMARY KEY, session TEXT NOT NULL
             REFERENCES sessions(token) ON UPDATE CASCADE ON DELETE CASCADE);
         CREATE TABLE deletions (token TEXT);
         CREATE TRIGGER deleted AFTER DELETE ON sessions
             BEGIN INSERT INTO deletions VALUES (old.token); END;",
    )?;
    let store = SqliteStore::new(
        Pool::builder().max_size(2).build(
            SqliteConnectionManager::file(&path)
                .with_init(|c| c.execute_batch("PRAGMA foreign_keys = ON")),
        )?,
    )?;
    let later = Utc::now() + TimeDelta::hours(1);
    store.commit("token", b"one", later)?;
    sqlite.execute_batch(
        "UPDATE sessions SET note = 'kept'; INSERT INTO carts (session) VALUES ('token')",
    )?;

    store.commit("token", b"two", later)?;
    assert!(store.update("token", b"two", &Change::new(b"three", later))?);
    assert!(store.touch("token", later)?);
    assert!(store.update("token", b"three", &rotation(b"four", "rotated"))?);
    let kept: (String, i64, i64) = sqlite.query_row(
        "SELECT note, (SELECT count(*) FROM carts WHERE session = 'rotated'),
                (SELECT count(*) FROM deletions)
         FROM sessions",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    assert_eq!(kept, ("kept".to_owned(), 1, 0));
    store.delete("rotated")?;
    let carts: i64 = sqlite.query_row("SELECT count(*) FROM carts", [], |row| row.get(0))?;
    assert_eq!(carts, 0, "a deletion is one for the foreign key, too");
    Ok(())
}

#[test]
fn odd_names_and_tables_keep_sessions_apart() -> TestResult {
    let directory = tempfile::tempdir()?;
    for name in [
        "excluded", "stored", "token", "main", "rowid", "temp", "EXISTS", "_", "session", "tie",
        "rotation", "newest",
    ] {
        let path = directory.path().join(name);
        let store = SqliteOptions::new().with_table_name(name).open(&path)?;
        let later = Utc::now() + TimeDelta::hours(1);
        store.commit("token", b"one", later)?;
        store.commit("token", b"two", later)?;
        assert!(store.update(
            "token",
            b"two",
            &rotation(b"two", "rotated").with_subject(Some("user"))
        )?);
        assert_eq!(store.find("rotated")?.as_deref(), Some(&b"two"[..]), "{name}");
        assert_eq!(store.find_by_subject("user")?[0].token, "rotated", "{name}");
        assert!(matches!(store.load("token")?, Loaded::Rotated { .. }), "{name}");
        assert_eq!(store.delete_expired()?, 0);
    }

    // A column that compares without case, next to an index that doesn't.
    let path = directory.path().join("nocase.db");
    Connection::open(&path)?.execute_batch(
        "CREATE TABLE sessions (token TEXT COLLATE NOCASE, data BLOB, expiry REAL);
         CREATE UNIQUE INDEX tokens ON sessions(token COLLATE BINARY);",
    )?;
    match SqliteStore::new(pool(&path)?) {
        Err(Error::TableMismatch { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(store) => {
            let later = Utc::now() + TimeDelta::hours(1);
            store.commit("abc", b"lower", later)?;
            store.commit("ABC", b"upper", later)?;
            store.delete("aBc")?;
            assert_eq!(store.find("abc")?.as_deref(), Some(&b"lower"[..]));
            assert_eq!(store.find("ABC")?.as_deref(), Some(&b"upper"[..]));
        }
    }
    Ok(())
}

#[test]
fn temporary_table_of_the_same_name_is_not_the_one() -> TestResult {
    let (_directory, path) = go_database()?;
    let manager = SqliteConnectionManager::file(&path).with_init(|connection| {
        connection.execute_batch(
            "CREATE TEMP TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry REAL)",
        )
    });
    let store = SqliteStore::new(Pool::builder().max_size(1).build(manager)?)?;
    store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    assert!(SqliteStore::new(pool(&path)?)?.find("token")?.is_some());
    Ok(())
}

#[test]
fn rows_that_are_no_sessions_are_passed_over() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.db");
    let sqlite = Connection::open(&path)?;
    sqlite.execute_batch(
        "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry REAL);
         INSERT INTO sessions VALUES
             ('null', NULL, julianday('now', '+1 hour')), ('number', 4711, julianday('now', '+1 hour')),
             (NULL, 'data', julianday('now', '+1 hour')), (x'ff00', 'data', julianday('now', '+1 hour')),
             (CAST(x'ff' AS TEXT), 'data', julianday('now', '+1 hour')),
             ('session', 'data', julianday('now', '+1 hour'));",
    )?;
    let store = SqliteStore::new(pool(&path)?)?;
    assert_eq!(store.find("null")?, None);
    assert_eq!(store.find("number")?, None);
    assert_eq!(store.all()?.into_keys().collect::<Vec<_>>(), ["session"]);
    for token in ["null", "number"] {
        assert_eq!(store.load(token)?, Loaded::Missing);
        assert!(!store.update(token, b"", &rotation(b"data", "rotated"))?);
    }
    sqlite.execute(
        "INSERT INTO sessions_subjects
         SELECT token, 'user' FROM sessions WHERE typeof(token) = 'text'",
        [],
    )?;
    let of_user = store.find_by_subject("user")?;
    assert_eq!(of_user.iter().map(|record| &*record.token).collect::<Vec<_>>(), ["session"]);
    assert_eq!(store.count()?, 6, "they aren't read");
    sqlite.execute("UPDATE sessions SET expiry = 1", [])?;
    assert_eq!(store.delete_expired()?, 6);
    Ok(())
}

#[test]
fn tokens_over_the_limit_that_others_wrote_can_be_found_and_deleted() -> TestResult {
    let (_directory, path) = go_database()?;
    let store = SqliteStore::new(pool(&path)?)?;
    let long = "x".repeat(300);
    Connection::open(&path)?.execute(
        "INSERT INTO sessions VALUES (?1, 'data', julianday('now', '+1 hour'))",
        [&long],
    )?;
    assert!(store.find(&long)?.is_some());
    assert!(store.update(&long, b"data", &rotation(b"data", "short"))?);
    assert!(store.find("short")?.is_some());
    let refused = store.update("short", b"data", &rotation(b"data", &long));
    assert!(matches!(refused, Err(Error::InvalidToken(_))), "{refused:?}");
    Ok(())
}

#[test]
fn looking_up_writes_nothing() -> TestResult {
    let (_directory, path) = go_database()?;
    SqliteStore::new(pool(&path)?)?.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    let before = fs::read(&path)?;
    let read_only =
        SqliteConnectionManager::file(&path).with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY);
    let store = SqliteStore::new(Pool::builder().max_size(2).build(read_only)?)?;
    assert!(store.find("token")?.is_some());
    assert!(store.find("missing")?.is_none());
    assert!(matches!(store.load("token")?, Loaded::Live { .. }));
    assert_eq!(store.load("missing")?, Loaded::Missing);
    assert!(store.find_by_subject("user")?.is_empty());
    assert_eq!(store.all()?.len(), 1);
    assert_eq!(store.count()?, 1);
    let refused = store.commit("token", b"new", Utc::now() + TimeDelta::hours(1));
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    assert_eq!(fs::read(&path)?, before);
    Ok(())
}

#[test]
fn clock_that_goes_back_revives_only_what_was_never_removed() -> TestResult {
    let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse()?));
    let store = SqliteOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_clock(clock.clone())
        .in_memory()?;
    let noon = "2026-06-01T12:00:00Z".parse::<DateTime<Utc>>()?;
    store.commit("token", b"data", noon + TimeDelta::milliseconds(1))?;
    assert!(store.find("token")?.is_some());
    clock.advance(TimeDelta::milliseconds(1));
    assert!(store.find("token")?.is_none(), "a session is live while now < expiry");
    clock.advance(TimeDelta::milliseconds(-1));
    assert!(store.find("token")?.is_some(), "it is the clock that decides");
    clock.advance(TimeDelta::hours(1));
    assert_eq!(store.delete_expired()?, 1);
    clock.advance(TimeDelta::hours(-2));
    assert!(store.find("token")?.is_none());
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
