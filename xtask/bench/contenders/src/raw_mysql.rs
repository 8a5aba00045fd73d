//! The limit: the driver `mysql`, a connection and prepared statements for each thread, the SQL and
//! settings of the store.

use std::time::Duration;

use bench_protocol::{
    Contender, Durability, Handle, Operation, Order, Result, data, database, measure, token, url,
};
use chrono::{DateTime, Datelike, Timelike, Utc};
use store_mysql::MysqlStore;
use store_mysql::mysql::consts::CapabilityFlags;
use store_mysql::mysql::prelude::Queryable;
use store_mysql::mysql::{Conn, Opts, OptsBuilder, Row as SqlRow, Statement, Value};

use crate::Row;
use crate::ours::expiry;

pub(crate) const ROWS: &[Row] = &[Row {
    name: "raw-mysql",
    format: "raw-mysql",
    version: "mysql 28",
    engine,
    settings: "a connection and prepared statements per thread; the hardened table",
    fill,
    is_on_server: true,
    measure: |order| {
        set_durability(order)?;
        measure(Box::leak(Box::new(Raw { database: database(order)? })), order)
    },
}];

const FIND: &str =
    "SELECT token, data, expiry FROM sessions WHERE token = ? AND expiry > UTC_TIMESTAMP(6)";
const COMMIT: &str = "INSERT INTO sessions (token, data, expiry) VALUES (?, ?, ?) \
    ON DUPLICATE KEY UPDATE data = ?, expiry = ?, \
        token = IF(CAST(CONVERT(token USING utf8mb4) AS BINARY) = ?, token, \
            18446744073709551615 + CHAR_LENGTH(token))";

/// Rows per statement of `fill`, which may have 65,535 parameters.
const BATCH: u64 = 500;

/// The server's version, as it states it.
pub(crate) fn engine() -> String {
    let version =
        || -> Result<Option<String>> { Ok(connect("")?.query_first("SELECT VERSION()")?) };
    version().ok().flatten().unwrap_or_default()
}

/// Sets how durable commits are. This is a setting of the whole server, so that contenders can only
/// be measured one after the other.
pub(crate) fn set_durability(order: &Order) -> Result {
    let value = match order.scenario.durability {
        Durability::Full => 1,
        Durability::Normal => 2,
    };
    Ok(connect("")?.query_drop(format!("SET GLOBAL innodb_flush_log_at_trx_commit = {value}"))?)
}

/// Creates a database with the store's tables and the rows of the scenario.
pub(crate) fn fill(order: &Order) -> Result {
    let name = database(order)?;
    let mut connection = connect("")?;
    connection.query_drop(format!("DROP DATABASE IF EXISTS {name}"))?;
    connection.query_drop(format!("CREATE DATABASE {name}"))?;
    connection.query_drop(format!("USE {name}"))?;
    connection.query_drop(MysqlStore::CREATE_TABLE)?;
    connection.query_drop(MysqlStore::CREATE_SUBJECTS_TABLE)?;
    connection.query_drop("START TRANSACTION")?;
    let expiry = date(expiry());
    let (mut text, mut bytes) = (String::new(), vec![0; order.scenario.data_len]);
    for first in (0..order.scenario.rows).step_by(usize::try_from(BATCH)?) {
        let keys = first..order.scenario.rows.min(first + BATCH);
        let places = vec!["(?, ?, ?)"; keys.clone().count()].join(", ");
        let (mut params, mut subjects) = (Vec::new(), Vec::new());
        for key in keys {
            token(key, &mut text);
            data(key, &mut bytes);
            params.extend([Value::from(&text), Value::from(&bytes), expiry.clone()]);
            subjects.push(format!("('{text}', '{key}')"));
        }
        connection.exec_drop(format!("INSERT INTO sessions VALUES {places}"), params)?;
        if order.scenario.operation == Operation::DeleteAll {
            let subjects = subjects.join(", ");
            connection.query_drop(format!("INSERT INTO sessions_subjects VALUES {subjects}"))?;
        }
    }
    connection.query_drop("COMMIT")?;
    // Makes the server write all of it now, instead of during the measurement.
    connection.query_drop("FLUSH TABLES sessions FOR EXPORT")?;
    connection.query_drop("UNLOCK TABLES")?;
    Ok(())
}

/// A connection with the session variables that the store sets.
fn connect(database: &str) -> Result<Conn> {
    let timeout = Some(Duration::from_secs(8));
    let options = OptsBuilder::from_opts(Opts::from_url(&url().ok_or("there is no server")?)?)
        .db_name((!database.is_empty()).then_some(database))
        .prefer_socket(false)
        .read_timeout(timeout)
        .write_timeout(timeout)
        .stmt_cache_size(0_usize)
        .additional_capabilities(CapabilityFlags::CLIENT_FOUND_ROWS)
        .init(vec![
            "SET NAMES utf8mb4, time_zone = '+00:00', autocommit = 1, \
             sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        ]);
    Ok(Conn::new(options)?)
}

/// An instant as the driver sends it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "parts of a date")]
fn date(instant: DateTime<Utc>) -> Value {
    Value::Date(
        instant.year() as u16,
        instant.month() as u8,
        instant.day() as u8,
        instant.hour() as u8,
        instant.minute() as u8,
        instant.second() as u8,
        instant.timestamp_subsec_micros().min(999_999),
    )
}

struct Raw {
    database: String,
}

impl Contender for Raw {
    fn handle(&self) -> Result<Box<dyn Handle + '_>> {
        let mut connection = connect(&self.database)?;
        let [find, commit] = [connection.prep(FIND)?, connection.prep(COMMIT)?];
        Ok(Box::new(Dedicated { connection, find, commit }))
    }
}

struct Dedicated {
    connection: Conn,
    find: Statement,
    commit: Statement,
}

impl Handle for Dedicated {
    fn find(&mut self, token: &str) -> Result<Option<usize>> {
        let row: Option<SqlRow> = self.connection.exec_first(&self.find, (token,))?;
        // A store returns bytes that the caller owns.
        let data = row.and_then(|mut row| row.take::<Vec<u8>, _>(1));
        Ok(data.map(|data| data.len()))
    }

    fn commit(&mut self, token: &str, data: &[u8]) -> Result {
        let expiry = date(expiry());
        let params = (token, data, &expiry, data, &expiry, token);
        Ok(self.connection.exec_drop(&self.commit, params)?)
    }
}
