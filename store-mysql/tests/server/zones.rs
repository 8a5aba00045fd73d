//! Neither the server's time zone and modes nor the column's type and collation make a difference.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use mysql::prelude::Queryable;
use mysql::{Opts, OptsBuilder};
use store_core::{CleanupOptions, Error, Store};
use store_mysql::r2d2::Pool;
use store_mysql::{MysqlConnectionManager, MysqlOptions, MysqlStore, TableVariant, mysql};
use test_servers::{CLASSIC, Database, Product, ServerOptions, is_server_there, private_server};

use crate::writes::{expiry_of, leads_to, rotate, set};

const ZONES: [&str; 3] = ["+00:00", "+05:30", "America/New_York"];
const MODES: [&str; 2] = ["STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE", ""];

/// Token, type of the expiry, and what the store has to make of the table.
const TABLES: [(&str, &str, TableVariant); 5] = [
    ("CHAR(43)", "TIMESTAMP(6)", TableVariant::Classic),
    ("CHAR(43)", "DATETIME(6)", TableVariant::Classic),
    ("CHAR(43) CHARACTER SET ascii COLLATE ascii_bin", "TIMESTAMP(6)", TableVariant::Classic),
    ("CHAR(43) CHARACTER SET ascii COLLATE ascii_bin", "DATETIME(6)", TableVariant::Hardened),
    (
        "VARCHAR(43) CHARACTER SET utf16 COLLATE utf16_general_ci",
        "DATETIME(3)",
        TableVariant::Classic,
    ),
];

fn utc(year: i32, month: u32, day: u32, hour: u32, minute: u32) -> DateTime<Utc> {
    let date = NaiveDate::from_ymd_opt(year, month, day)
        .and_then(|date| date.and_hms_micro_opt(hour, minute, 7, 250_000));
    date.expect("it exists").and_utc()
}

/// Instants that some clock or other has trouble with. The years are far enough ahead for a few
/// years of this test.
fn instants() -> Vec<DateTime<Utc>> {
    vec![
        // New York's clocks skip 02:30 on this day, and what is 02:30 in UTC reads the same.
        utc(2032, 3, 14, 2, 30),
        utc(2032, 3, 14, 7, 30),
        // They read 01:30 twice on this one.
        utc(2032, 11, 7, 1, 30),
        utc(2032, 11, 7, 5, 30),
        utc(2032, 11, 7, 6, 30),
        utc(2037, 12, 31, 23, 59),
    ]
}

#[test]
fn expiry_is_the_same_instant_in_every_zone_and_mode_and_column() -> Result<(), Error> {
    // Old versions of MariaDB update a TIMESTAMP column by themselves.
    let defaults = match Product::from_env().expect("a product") {
        Product::MariaDb => "--explicit-defaults-for-timestamp=OFF",
        Product::MySql => "--explicit-defaults-for-timestamp=ON",
    };
    let Some(server) = private_server(ServerOptions::new().with_arg(defaults)) else {
        return Ok(());
    };
    for zone in ZONES {
        for mode in MODES {
            for (token, expiry, variant) in TABLES {
                let database = Database::on(&server.url());
                let globals =
                    format!("SET GLOBAL time_zone = '{zone}', GLOBAL sql_mode = '{mode}'");
                database.run(&globals);
                database.run(&format!(
                    "CREATE TABLE sessions (token {token} PRIMARY KEY, data BLOB NOT NULL, expiry {expiry} NOT NULL, \
                     INDEX sessions_expiry_idx (expiry))"
                ));
                let name = format!("{zone}, {mode:?}, {token}, {expiry}");
                let store = MysqlOptions::new()
                    .with_cleanup(CleanupOptions::disabled())
                    .connect(&database.url())?;
                assert_eq!(store.table_variant(), variant, "{name}");
                expiries_are_exact(&store, &database, &name)?;
                expired_and_live_are_told_apart(&store, &name)?;
            }
        }
    }
    Ok(())
}

fn expiries_are_exact(store: &MysqlStore, database: &Database, name: &str) -> Result<(), Error> {
    let mut reader = database.connection();
    for instant in instants() {
        let other = instant - TimeDelta::days(200);
        store.commit("token", b"data", instant)?;
        assert_eq!(expiry_of(store, "token")?, Some(instant), "{name}: commit of {instant}");
        store.commit("token", b"new", other)?;
        assert!(store.touch("token", instant)?, "{name}");
        assert_eq!(expiry_of(store, "token")?, Some(instant), "{name}: touch to {instant}");
        assert!(set(store, "token", b"new", b"newer", other)?, "{name}");
        assert_eq!(expiry_of(store, "token")?, Some(other), "{name}: update to {other}");
        assert!(rotate(store, "token", "renamed", b"newer", other)?, "{name}");
        assert_eq!(expiry_of(store, "renamed")?, Some(other), "{name}: rotation with {other}");
        assert!(leads_to(store, "token", "renamed")?, "{name}: the grace is the server's");
        // What a Go process with the recommended DSN sees.
        reader.query_drop("SET time_zone = '+00:00'").map_err(Error::backend)?;
        let seen: Option<String> = reader
            .query_first("SELECT DATE_FORMAT(expiry, '%Y-%m-%d %H:%i:%s.%f') FROM sessions")
            .map_err(Error::backend)?;
        assert_eq!(seen, Some(other.format("%Y-%m-%d %H:%M:%S.%6f").to_string()), "{name}");
        store.delete("renamed")?;
    }
    Ok(())
}

fn expired_and_live_are_told_apart(store: &MysqlStore, name: &str) -> Result<(), Error> {
    for minutes in [-60 * 24, -330, -60, -1, 1, 60, 330, 60 * 24] {
        let token = format!("in-{minutes}-minutes");
        store.commit(&token, b"data", Utc::now() + TimeDelta::minutes(minutes))?;
        assert_eq!(store.find(&token)?.is_some(), minutes > 0, "{name}: {token}");
        assert_eq!(
            store.touch(&token, Utc::now() + TimeDelta::minutes(minutes))?,
            minutes > 0,
            "{name}: {token}"
        );
    }
    assert_eq!(store.all()?.len(), 4, "{name}");
    assert_eq!(store.delete_expired()?, 4, "{name}");
    assert_eq!(store.all()?.len(), 4, "{name}");
    Ok(())
}

#[test]
fn zone_and_mode_that_an_application_sets_are_overruled() -> Result<(), Error> {
    if !is_server_there() {
        return Ok(());
    }
    let database = Database::new();
    database.run(CLASSIC);
    let opts = OptsBuilder::from_opts(Opts::from_url(&database.url()).expect("a URL")).init(vec![
        "SET time_zone = '-08:00', sql_mode = '', autocommit = 0",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ]);
    let manager = MysqlConnectionManager::from_opts([opts])?;
    let pool = Pool::builder().max_size(2).build(manager).map_err(Error::backend)?;
    let store = MysqlStore::with_cleanup_interval(pool, std::time::Duration::ZERO)?;
    expiries_are_exact(&store, &database, "an application's pool")?;
    expired_and_live_are_told_apart(&store, "an application's pool")
}
