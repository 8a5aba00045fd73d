//! Cleanup of a table that is in use.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use mysql::prelude::Queryable;
use store_core::{CleanupOptions, Error, Store};
use store_mysql::{MysqlOptions, MysqlStore, mysql};
use test_servers::{CLASSIC, Database, is_server_there};

use crate::in_an_hour;
use crate::writes::set_subject;

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
