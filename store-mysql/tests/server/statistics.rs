//! What an operator is told of the server and the sessions.

use chrono::{TimeDelta, Utc};
use store_core::{Error, Store};
use test_servers::{CLASSIC, CLASSIC_IGNORING_CASE, Database, is_server_there};

use crate::{in_an_hour, options};

#[test]
fn statistics_count_what_is_live_and_what_is_not() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for ddl in [None, Some(CLASSIC), Some(CLASSIC_IGNORING_CASE)] {
        let database = Database::new();
        match ddl {
            Some(ddl) => database.run(ddl),
            None => {
                options().create_table(&options().pool(&database.url())?)?;
            }
        }
        let store = options().connect(&database.url())?;
        for (token, subject) in [("a", "bob"), ("b", "bob"), ("c", "eve"), ("d", "eve")] {
            store.create(token, b"1234", in_an_hour(), Some(subject))?;
        }
        store.commit("e", b"12345678", in_an_hour())?;
        store.commit("expired", b"12345678", Utc::now() - TimeDelta::hours(1))?;
        // What a Go program left when it deleted a session, and what isn't that session's.
        for token in ["gone", "E"] {
            let link = format!("INSERT INTO sessions_subjects VALUES ('{token}', 'ada')");
            database.run(&link);
        }
        let statistics = store.statistics(1)?;
        let totals = (statistics.live, statistics.expired, statistics.bytes);
        assert_eq!(totals, (5, 1, 24), "{ddl:?}");
        assert_eq!(statistics.subjects, Some(2), "{ddl:?}");
        assert_eq!(statistics.top_subjects, [("bob".to_owned(), 2)], "{ddl:?}");
        assert_eq!(store.count()?, statistics.live);

        database.run("DROP TABLE sessions_subjects");
        let explained = store.statistics(1);
        assert!(matches!(explained, Err(Error::TableMissing { .. })), "{explained:?}");
    }
    Ok(())
}

#[test]
fn inspection_changes_nothing() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let pool = options().pool(&database.url())?;
    let missing = options().inspect(&pool);
    assert!(matches!(missing, Err(Error::TableMissing { .. })), "{missing:?}");

    database.run(CLASSIC);
    for _ in 0..2 {
        let found = options().inspect(&pool)?;
        assert!(!found.has_subjects && !found.has_rotations, "{found:?}");
        assert_eq!(found.has_expiry_index, Some(true));
        assert_eq!((found.limits.max_token_len, found.limits.max_data_len), (43, 65_535));
        assert!(found.engine.contains("classic table"), "{found:?}");
        // The server runs on this machine.
        let offset = found.clock_offset.expect("a server has a clock");
        assert!(offset.abs() < TimeDelta::minutes(1), "{offset}");
    }
    options().create_table(&pool)?;
    let found = options().inspect(&pool)?;
    assert!(found.has_subjects && found.has_rotations, "{found:?}");

    database.run("ALTER TABLE sessions DROP INDEX sessions_expiry_idx");
    assert_eq!(options().inspect(&pool)?.has_expiry_index, Some(false));
    Ok(())
}
