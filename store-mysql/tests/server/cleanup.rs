//! Cleanup of a table that is in use.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;
use store_core::{CleanupOptions, Error, Store};
use store_mysql::{MysqlOptions, MysqlStore, mysql};
use test_servers::{CLASSIC, Database, is_server_there};

use crate::writes::set_subject;
use crate::{in_an_hour, options};

#[test]
fn eight_writers_next_to_two_cleanups_see_no_error_and_keep_their_sessions() -> Result<(), Error> {
    const WRITERS: u64 = 8;
    // A multiple of the writers, so that each has its own.
    const EXPIRED: u32 = 896;
    const ROUNDS: u64 = 12;
    if !is_server_there() {
        return Ok(());
    }
    for ddl in [CLASSIC, MysqlStore::CREATE_TABLE] {
        let database = Database::new();
        database.run(ddl);
        let options = MysqlOptions::new().with_cleanup(CleanupOptions::disabled());
        options.create_table(&options.pool(&database.url())?)?;
        let stores = [options.clone().connect(&database.url())?, options.connect(&database.url())?];
        let (is_over, written) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (stores, is_over, written) = (&stores, &is_over, &written);
                    scope.spawn(move || {
                        let store = &stores[usize::try_from(writer % 2).expect("small")];
                        let mut n = 0_u64;
                        while !is_over.load(Ordering::Acquire) {
                            // New sessions, and expired ones that begin again while the cleanup
                            // removes them.
                            let token = match n % 3 {
                                0 => format!(
                                    "expired-{}",
                                    (n * WRITERS + writer) % u64::from(EXPIRED)
                                ),
                                _ => format!("session-{writer}-{}", n % 50),
                            };
                            store.commit(&token, token.as_bytes(), in_an_hour()).expect("no error");
                            let found = store.find(&token).expect("no error");
                            assert_eq!(found.as_deref(), Some(token.as_bytes()), "it is live");
                            assert!(
                                store.touch(&token, in_an_hour()).expect("no error"),
                                "it is live"
                            );
                            if n % 5 == 1 {
                                let data = token.as_bytes();
                                let is_set =
                                    set_subject(store, &token, Some("user"), data, in_an_hour());
                                assert!(is_set.expect("no error"), "it is live");
                                store.delete(&token).expect("no error");
                            }
                            written.fetch_add(1, Ordering::AcqRel);
                            n += 1;
                        }
                    })
                })
                .collect();
            for _ in 0..ROUNDS {
                fill_missing(&database, EXPIRED);
                thread::scope(|scope| {
                    for store in &stores {
                        scope.spawn(|| store.delete_expired().expect("no error"));
                    }
                });
                let enough = written.load(Ordering::Acquire) + 100;
                while written.load(Ordering::Acquire) < enough
                    && writers.iter().all(|writer| !writer.is_finished())
                {
                    thread::yield_now();
                }
            }
            is_over.store(true, Ordering::Release);
        });
    }
    Ok(())
}

/// Fills in expired rows whose tokens aren't in use.
fn fill_missing(database: &Database, expired: u32) {
    let mut connection = database.connection();
    connection.query_drop("SET time_zone = '+00:00'").expect("it is allowed");
    let rows = (0..expired).map(|n| (format!("expired-{n}"), "x".repeat(200)));
    for (token, data) in rows {
        let statement = "INSERT IGNORE INTO sessions (token, data, expiry) VALUES (?, ?, UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE)";
        // A deadlock with the writers may end this one, which does no harm.
        let _ = connection.exec_drop(statement, (token, data));
    }
}

/// Fills a table with so many rows, of which the first have expired.
fn fill(database: &Database, rows: u64, expired: u64) {
    let digits = "(SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 \
        UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
    database.run(&format!(
        "INSERT INTO sessions (token, data, expiry) \
         SELECT CONCAT('token-', n), REPEAT('x', 100), \
             UTC_TIMESTAMP(6) + INTERVAL IF(n < {expired}, -25, 25) HOUR FROM \
             (SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n + 100000 * f.n AS n \
             FROM {digits} AS a JOIN {digits} AS b JOIN {digits} AS c JOIN {digits} AS d \
             JOIN {digits} AS e JOIN {digits} AS f) AS numbers WHERE n < {rows}"
    ));
    database.run("ANALYZE TABLE sessions");
}

#[test]
fn cleanup_locks_what_it_removes_and_nothing_else() -> Result<(), Error> {
    expect_locks_on_expired_alone(&[(100, 30), (130, 100), (2_000, 1_000), (10_000, 1_000)])
}

/// The server chooses how it finds rows by how many there are.
#[test]
#[ignore = "it takes minutes: cargo xtask test-mysql runs it"]
fn cleanup_of_a_large_table_locks_what_it_removes_and_nothing_else() -> Result<(), Error> {
    expect_locks_on_expired_alone(&[(100_000, 50_000), (1_000_000, 1_000), (1_000_000, 500_000)])
}

/// Lets others lock all live sessions while the cleanup removes what has expired.
fn expect_locks_on_expired_alone(tables: &[(u64, u64)]) -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for ddl in [CLASSIC, MysqlStore::CREATE_TABLE] {
        for &(rows, expired) in tables {
            let database = Database::new();
            database.run(ddl);
            options().create_table(&options().pool(&database.url())?)?;
            fill(&database, rows, expired);
            let store =
                options().with_operation_timeout(Duration::ZERO).connect(&database.url())?;
            let live = format!("token-{}", rows - 1);
            assert!(set_subject(&store, &live, Some("user"), &[b'x'; 100], in_an_hour())?);
            let mut others = database.connection();
            others.query_drop("SET time_zone = '+00:00'").map_err(Error::backend)?;
            others
                .query_drop("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                .map_err(Error::backend)?;
            others.query_drop("BEGIN").map_err(Error::backend)?;
            let lock = "SELECT COUNT(*) FROM sessions WHERE expiry > UTC_TIMESTAMP(6) FOR UPDATE";
            let locked: Option<u64> = others.query_first(lock).map_err(Error::backend)?;
            assert_eq!(locked, Some(rows - expired));
            assert_eq!(store.delete_expired()?, expired, "of {rows} in {ddl}");
        }
    }
    Ok(())
}

#[test]
fn rows_that_cannot_be_removed_are_reported_and_the_others_go() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let batch = NonZeroUsize::new(10).expect("not zero");
    let options = options()
        .with_cleanup(CleanupOptions::disabled().with_batch_size(batch))
        .with_network_timeout(Duration::from_secs(4))
        .with_operation_timeout(Duration::from_secs(1));
    options.create_table(&options.pool(&database.url())?)?;
    fill(&database, 100, 50);
    // An application's table refers to some of the oldest, and somebody has locked another.
    database.run("UPDATE sessions SET expiry = expiry - INTERVAL 1 HOUR WHERE token IN ('token-7', 'token-8', 'token-9', 'token-11')");
    database.run("CREATE TABLE app (token VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin, FOREIGN KEY (token) REFERENCES sessions (token))");
    database.run("INSERT INTO app VALUES ('token-7'), ('token-8'), ('token-9')");
    let mut other = database.connection();
    other.query_drop("BEGIN").map_err(Error::backend)?;
    other
        .query_drop("SELECT token FROM sessions WHERE token = 'token-11' FOR UPDATE")
        .map_err(Error::backend)?;

    let store = options.connect(&database.url())?;
    let outcome = store.delete_expired();
    assert!(outcome.is_err(), "{outcome:?}");
    let count = "SELECT COUNT(*) FROM sessions WHERE expiry <= UTC_TIMESTAMP(6)";
    let mut reader = database.connection();
    reader.query_drop("SET time_zone = '+00:00'").map_err(Error::backend)?;
    let mut left = || reader.query_first::<u64, _>(count).map_err(Error::backend);
    assert_eq!(left()?, Some(4));

    other.query_drop("ROLLBACK").map_err(Error::backend)?;
    database.run("DROP TABLE app");
    assert_eq!(store.delete_expired()?, 4);
    assert_eq!(left()?, Some(0));
    Ok(())
}

#[test]
fn all_sessions_end_however_many_pages_they_are_and_whatever_their_tokens() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for (ddl, odd) in [(CLASSIC, "ä?b"), (MysqlStore::CREATE_TABLE, "a?b")] {
        for size in [1, 2, 3, 1_000] {
            let database = Database::new();
            database.run(ddl);
            let size = NonZeroUsize::new(size).expect("not zero");
            let options =
                MysqlOptions::new().with_cleanup(CleanupOptions::disabled().with_batch_size(size));
            options.create_table(&options.pool(&database.url())?)?;
            let store = options.connect(&database.url())?;
            for token in ["Z", "a?b-", "b", "c", "m-1", "m-2", "zz"] {
                store.create(token, b"data", in_an_hour(), Some(token))?;
            }
            // Rows that no store of ours writes.
            for token in ["", odd] {
                database.run(&format!("INSERT INTO sessions VALUES ('{token}', '', '2020-01-01')"));
            }
            assert_eq!(store.delete_all()?, 9, "pages of {size}");
            assert_eq!(store.count()?, 0);
            let url = mysql::Opts::from_url(&database.url()).expect("it is a URL");
            let mut connection = mysql::Conn::new(url).expect("the server is there");
            for table in ["sessions", "sessions_subjects"] {
                let count = format!("SELECT COUNT(*) FROM {table}");
                let rows: Option<u64> = connection.query_first(count).expect("a number");
                assert_eq!(rows, Some(0), "{table}, pages of {size}");
            }
        }
    }
    Ok(())
}
