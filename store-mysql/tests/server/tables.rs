//! Which tables are taken, which are refused, and what is said of them.

use chrono::{DateTime, TimeDelta, Utc};
use mysql::prelude::Queryable;
use store_core::{Change, CleanupOptions, Error, Limits, Loaded, Store, TokenProblem};
use store_mysql::{MysqlOptions, MysqlStore, TableVariant, mysql};
use test_servers::{Ability, CLASSIC, CLASSIC_IGNORING_CASE, Database, is_server_there};

use crate::writes::{expiry_of, leads_to, rotate, set, set_subject, tokens_of};
use crate::{in_an_hour, options};

fn open(database: &Database) -> Result<MysqlStore, Error> {
    options().connect(&database.url())
}

#[test]
fn limits_are_those_of_the_columns_that_are_there() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for (ddl, variant, limits) in [
        (CLASSIC, TableVariant::Classic, (43, 65_535)),
        (
            "CREATE TABLE sessions (token VARCHAR(300) CHARACTER SET latin1 COLLATE latin1_bin UNIQUE, \
             data TINYBLOB, expiry DATETIME(3), note TEXT, INDEX (expiry))",
            TableVariant::Hardened,
            (255, 255),
        ),
        (
            "CREATE TABLE sessions (id INT AUTO_INCREMENT PRIMARY KEY, token VARBINARY(20) NOT NULL, \
             data VARBINARY(1000) NOT NULL, expiry TIMESTAMP(6) NOT NULL, made TIMESTAMP DEFAULT CURRENT_TIMESTAMP, \
             UNIQUE INDEX (token), INDEX (expiry))",
            TableVariant::Classic,
            (20, 1_000),
        ),
    ] {
        let database = Database::new();
        database.run(ddl);
        let store = open(&database)?;
        assert_eq!(store.table_variant(), variant, "{ddl}");
        let Limits { max_token_len, max_data_len } = store.limits();
        assert_eq!((max_token_len, max_data_len), limits, "{ddl}");
        let longest = "x".repeat(max_token_len);
        store.commit(&longest, &vec![7; max_data_len], in_an_hour())?;
        assert_eq!(store.find(&longest)?, Some(vec![7; max_data_len]), "{ddl}");
        assert!(set(
            &store,
            &longest,
            &vec![7; max_data_len],
            &vec![8; max_data_len],
            in_an_hour()
        )?);
        let overlong = "x".repeat(max_token_len + 1);
        let refused = store.commit(&overlong, b"", in_an_hour());
        assert!(
            matches!(refused, Err(Error::InvalidToken(TokenProblem::TooLong { .. }))),
            "{ddl}: {refused:?}"
        );
        let refused = store.commit("token", &vec![7; max_data_len + 1], in_an_hour());
        assert!(matches!(refused, Err(Error::DataTooLarge { .. })), "{ddl}: {refused:?}");
        // Unchanged rows count as well, whatever other columns the table has.
        for _ in 0..2 {
            let expiry = DateTime::from_timestamp(2_000_000_000, 0).expect("in range");
            store.commit("same", b"data", expiry)?;
            assert!(store.touch("same", expiry)?, "{ddl}");
            assert!(set(&store, "same", b"data", b"data", expiry)?, "{ddl}");
            assert!(rotate(&store, "same", "same", b"data", expiry)?, "{ddl}");
        }
        assert_eq!(store.all()?.len(), 2, "{ddl}");
    }
    Ok(())
}

/// Limits are for what is written: larger sessions that others wrote are found and replaced all the
/// same.
#[test]
fn larger_sessions_of_others_are_used() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    database.run(CLASSIC);
    let limits = Limits { max_token_len: 10, max_data_len: 100 };
    let store = MysqlOptions::new()
        .with_limits(limits)
        .with_cleanup(CleanupOptions::disabled())
        .connect(&database.url())?;
    open(&database)?.commit("token", &[7; 1_000], in_an_hour())?;
    assert_eq!(store.find("token")?, Some(vec![7; 1_000]));
    assert!(set(&store, "token", &[7; 1_000], b"small", in_an_hour())?);
    assert_eq!(store.find("token")?.as_deref(), Some(&b"small"[..]));
    Ok(())
}

#[test]
fn expiry_ends_with_the_column() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for (ddl, digits) in [(CLASSIC, 6), (MysqlStore::CREATE_TABLE, 6)] {
        let database = Database::new();
        database.run(ddl);
        let store = open(&database)?;
        let refused = store.commit("token", b"data", DateTime::<Utc>::MAX_UTC);
        let Err(Error::ExpiryOutOfRange { earliest, latest, .. }) = refused else {
            panic!("{ddl}: {refused:?}");
        };
        store.commit("last", b"data", latest)?;
        let found = expiry_of(&store, "last")?;
        assert_eq!(found, Some(latest), "{ddl}");
        store.commit("first", b"data", earliest)?;
        assert_eq!(store.find("first")?, None);
        assert_eq!(store.delete_expired()?, 1, "{ddl}");
        for outside in [earliest - TimeDelta::nanoseconds(1), latest + TimeDelta::microseconds(1)] {
            for refused in [
                store.commit("last", b"new", outside),
                store.create("new", b"data", outside, None),
                set(&store, "last", b"data", b"new", outside).map(drop),
                rotate(&store, "last", "new", b"data", outside).map(drop),
                store.touch("last", outside).map(drop),
            ] {
                assert!(
                    matches!(refused, Err(Error::ExpiryOutOfRange { .. })),
                    "{outside}: {refused:?}"
                );
            }
        }
        assert_eq!(store.find("last")?.as_deref(), Some(&b"data"[..]), "{ddl}, {digits} digits");
    }
    Ok(())
}

#[test]
fn unsuitable_tables_are_refused_with_the_reason() {
    if !is_server_there() {
        return;
    }
    for (ddl, reason) in [
        ("CREATE VIEW sessions AS SELECT 'a' AS token, 'b' AS data, NOW(6) AS expiry", "view"),
        (&*CLASSIC.replace("(expiry))", "(expiry)) ENGINE=MyISAM"), "no transactions"),
        ("CREATE TABLE sessions (token CHAR(43) PRIMARY KEY, data BLOB)", "no column \"expiry\""),
        (
            "CREATE TABLE sessions (id CHAR(43) PRIMARY KEY, data BLOB, expiry DATETIME(6))",
            "no column \"token\"",
        ),
        (
            "CREATE TABLE sessions (token CHAR(43) PRIMARY KEY, data TEXT, expiry DATETIME(6))",
            "changed",
        ),
        (
            "CREATE TABLE sessions (token BINARY(43) PRIMARY KEY, data BLOB, expiry DATETIME(6))",
            "changed",
        ),
        ("CREATE TABLE sessions (token INT PRIMARY KEY, data BLOB, expiry DATETIME(6))", "changed"),
        (
            "CREATE TABLE sessions (token CHAR(43) PRIMARY KEY, data BLOB, expiry DATETIME)",
            "digits",
        ),
        (
            "CREATE TABLE sessions (token CHAR(43) PRIMARY KEY, data BLOB, expiry DATE)",
            "no instants",
        ),
        (
            "CREATE TABLE sessions (token CHAR(43) PRIMARY KEY, data BLOB, expiry BIGINT)",
            "no instants",
        ),
        (
            "CREATE TABLE sessions (token CHAR(43), data BLOB, expiry DATETIME(6), INDEX (token))",
            "neither",
        ),
        (
            "CREATE TABLE sessions (token CHAR(43), data BLOB, expiry DATETIME(6), UNIQUE (token(10)))",
            "neither",
        ),
        (
            "CREATE TABLE sessions (token CHAR(43), site INT, data BLOB, expiry DATETIME(6), PRIMARY KEY (token, site))",
            "NOT NULL",
        ),
        (
            "CREATE TABLE sessions (token CHAR(43) PRIMARY KEY, data BLOB, expiry DATETIME(6), user INT NOT NULL)",
            "\"user\" is NOT NULL",
        ),
    ] {
        let database = Database::new();
        if ddl.contains("MyISAM") && !Ability::MyIsam.is_there() {
            continue;
        }
        database.run(ddl);
        match open(&database) {
            Err(Error::TableMismatch { problem, .. }) => {
                assert!(problem.contains(reason), "{ddl}: {problem}");
            }
            other => panic!("{ddl}: {other:?}"),
        }
    }
    assert!(matches!(open(&Database::new()), Err(Error::TableMissing { .. })));
}

#[test]
fn tables_are_made_once_and_left_alone() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    for (name, existing, variant) in [
        ("sessions", None, TableVariant::Hardened),
        ("order", None, TableVariant::Hardened),
        ("sessions", Some(CLASSIC), TableVariant::Classic),
    ] {
        let database = Database::new();
        if let Some(ddl) = existing {
            database.run(ddl);
        }
        let options = MysqlOptions::new().with_table_name(name);
        let pool = options.pool(&database.url())?;
        for _ in 0..2 {
            assert_eq!(options.create_table(&pool)?, variant);
        }
        let store = options.clone().build(pool)?;
        store.commit("token", b"data", in_an_hour())?;
        assert!(set_subject(&store, "token", Some("user"), b"data", in_an_hour())?);
        assert!(rotate(&store, "token", "rotated", b"data", in_an_hour())?);
        assert_eq!(options.create_table(&options.pool(&database.url())?)?, variant);
        assert_eq!(tokens_of(&store, "user")?, ["rotated"]);
        assert!(leads_to(&store, "token", "rotated")?);
    }
    Ok(())
}

#[test]
fn rights_on_the_tables_are_enough() -> Result<(), Error> {
    if !Ability::Accounts.is_there() {
        return Ok(());
    }
    let database = Database::new();
    let pool = MysqlOptions::new().pool(&database.url())?;
    MysqlStore::create_table(&pool)?;
    let mut root = database.connection();
    let user = database.name();
    let password = "p@ss,w/rd";
    for sql in [
        format!("CREATE USER '{user}' IDENTIFIED BY '{password}'"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{user}`.sessions TO '{user}'"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{user}`.sessions_subjects TO '{user}'"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{user}`.sessions_rotations TO '{user}'"),
    ] {
        root.query_drop(sql).map_err(Error::backend)?;
    }
    let url = database.url_for(&format!("{user}:p%40ss%2Cw%2Frd"));
    let pool = MysqlOptions::new().pool(&url)?;
    // Where nothing is missing it needs no right to make tables.
    assert_eq!(MysqlStore::create_table(&pool)?, TableVariant::Hardened);
    let store = MysqlStore::with_cleanup_interval(pool, std::time::Duration::ZERO)?;
    store.commit("token", b"data", in_an_hour())?;
    assert!(store.touch("token", in_an_hour())?);
    assert!(set(&store, "token", b"data", b"new", in_an_hour())?);
    assert!(set_subject(&store, "token", Some("user"), b"new", in_an_hour())?);
    assert!(rotate(&store, "token", "renamed", b"new", in_an_hour())?);
    assert!(leads_to(&store, "token", "renamed")?);
    store.create("other", b"data", in_an_hour(), Some("user"))?;
    assert!(rotate(&store, "other", "another", b"data", in_an_hour())?);
    store.delete("other")?;
    assert_eq!(store.all()?.len(), 1);
    store.commit("old", b"data", Utc::now() - TimeDelta::hours(1))?;
    assert_eq!(store.delete_expired()?, 1);
    assert_eq!(store.delete_by_subject("user", None)?, 1);

    let wrong = database.url_for(&format!("{user}:wrong-secret"));
    let refused = MysqlStore::connect(&wrong);
    let Err(error @ Error::Unreachable { .. }) = refused else { panic!("{refused:?}") };
    let shown = format!("{error:?} {error}");
    assert!(shown.contains("Access denied") && !shown.contains("wrong-secret"), "{shown}");
    root.query_drop(format!("DROP USER '{user}'")).map_err(Error::backend)
}

/// On the classic table the database takes `a`, `A` and `á` for the same token, and has them once.
#[test]
fn tokens_that_the_collation_confuses_never_meet() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    database.run(CLASSIC_IGNORING_CASE);
    let pool = MysqlOptions::new().pool(&database.url())?;
    MysqlStore::create_table(&pool)?;
    let store = MysqlStore::with_cleanup_interval(pool, std::time::Duration::ZERO)?;
    store.commit("token", b"data", in_an_hour())?;
    assert!(set_subject(&store, "token", Some("user"), b"data", in_an_hour())?);
    for other in ["TOKEN", "Token"] {
        let refused = store.commit(other, b"other", in_an_hour());
        assert!(
            matches!(refused, Err(Error::InvalidToken(TokenProblem::Unrepresentable))),
            "{refused:?}"
        );
        assert_eq!(store.find(other)?, None);
        assert!(!store.touch(other, in_an_hour())?);
        let refused = store.create(other, b"other", in_an_hour(), Some("other"));
        assert!(
            matches!(refused, Err(Error::InvalidToken(TokenProblem::Unrepresentable))),
            "{refused:?}"
        );
        assert_eq!(store.load(other)?, Loaded::Missing);
        assert!(!set(&store, other, b"data", b"other", in_an_hour())?);
        assert!(!rotate(&store, other, "renamed", b"data", in_an_hour())?);
        assert!(!set_subject(&store, other, Some("other"), b"data", in_an_hour())?);
        store.delete(other)?;
        assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
        assert_eq!(tokens_of(&store, "user")?, ["token"]);
    }
    store.commit("second", b"second", in_an_hour())?;
    // Absorbed under such a token it isn't there either.
    let absorbing = Change::new(b"both", in_an_hour()).absorbing("TOKEN", b"data");
    assert!(!store.update("second", b"second", &absorbing)?);
    let refused = rotate(&store, "second", "TOKEN", b"second", in_an_hour());
    assert!(
        matches!(refused, Err(Error::InvalidToken(TokenProblem::Unrepresentable))),
        "{refused:?}"
    );
    // A session can get a token that differs from its own in the case alone.
    assert!(rotate(&store, "token", "TOKEN", b"data", in_an_hour())?);
    assert!(leads_to(&store, "token", "TOKEN")?);
    assert_eq!((store.find("token")?, store.find("TOKEN")?), (None, Some(b"data".to_vec())));
    assert_eq!(tokens_of(&store, "user")?, ["TOKEN"]);
    // An expired one doesn't conflict.
    assert!(store.touch("TOKEN", Utc::now() - TimeDelta::hours(1))?);
    assert!(rotate(&store, "second", "token", b"second", in_an_hour())?);
    assert_eq!(tokens_of(&store, "user")?, [""; 0], "the expired one's subject is gone");
    assert!(store.touch("token", Utc::now() - TimeDelta::hours(1))?);
    store.commit("Token", b"new", in_an_hour())?;
    assert_eq!(store.all()?.len(), 1);
    // What Go wrote under a token that no store of the family would is not shown by a walk either.
    database.run("INSERT INTO sessions VALUES ('with space', 'data', '2037-01-01')");
    assert_eq!(store.find("with space")?, None);
    assert_eq!(store.all()?.len(), 1);
    Ok(())
}

#[test]
fn table_that_changes_under_the_store_is_named() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    let pool = MysqlOptions::new().pool(&database.url())?;
    MysqlStore::create_table(&pool)?;
    let store = MysqlStore::with_cleanup_interval(pool, std::time::Duration::ZERO)?;
    store.commit("token", b"data", in_an_hour())?;
    database.run("RENAME TABLE sessions TO elsewhere");
    for outcome in [
        store.find("token").map(drop),
        store.commit("token", b"new", in_an_hour()),
        store.delete("token"),
        store.delete_expired().map(drop),
        store.all().map(drop),
    ] {
        assert!(
            matches!(&outcome, Err(Error::TableMissing { table }) if table == "sessions"),
            "{outcome:?}"
        );
    }
    database.run("RENAME TABLE elsewhere TO sessions");
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));

    database.run("ALTER TABLE sessions CHANGE COLUMN data content MEDIUMBLOB NOT NULL");
    let outcome = store.find("token");
    assert!(matches!(outcome, Err(Error::TableMismatch { .. })), "{outcome:?}");
    database.run("ALTER TABLE sessions CHANGE COLUMN content data TINYBLOB NOT NULL");
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    let outcome = store.commit("token", &[7; 1_000], in_an_hour());
    assert!(matches!(outcome, Err(Error::TableMismatch { .. })), "{outcome:?}");
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]), "nothing was cut off");
    database.run("DROP TABLE sessions_subjects");
    let outcome = store.delete("token");
    assert!(
        matches!(&outcome, Err(Error::TableMissing { table }) if table == "sessions_subjects"),
        "{outcome:?}"
    );
    Ok(())
}
