//! The limit: redb with the tables of the store, a snapshot per find, a durable transaction per
//! commit.

use std::fs::File;

use bench_protocol::{
    Contender, Handle, Measurement, Operation, Order, Result, data, measure, token,
};
use chrono::{DateTime, Utc};
use store_ql_compat::redb::{
    Builder, Database, ReadableDatabase, TableDefinition, WriteTransaction,
};
use store_ql_compat::{CleanupOptions, QlOptions};

use crate::Row;
use crate::ours::expiry;

pub(crate) const ROWS: &[Row] = &[Row {
    name: "raw-redb",
    format: "redb",
    version: "redb 4.4",
    engine,
    settings: "the tables and the cache of store-ql, a snapshot per find, a durable transaction per commit",
    fill,
    is_on_server: false,
    measure: run,
}];

/// Token → expiry and data.
const SESSIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sessions");

/// Token → subject.
const SUBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sessions_subject");
/// Subject and token → nothing.
const BY_SUBJECT: TableDefinition<'_, &[u8], ()> = TableDefinition::new("sessions_by_subject");

pub(crate) const INSTANT_LEN: usize = 12;

pub(crate) fn engine() -> String {
    "redb 4.4".to_owned()
}

/// An instant as the store writes it: bytes in the order of instants.
pub(crate) fn instant(utc: DateTime<Utc>) -> [u8; INSTANT_LEN] {
    let mut bytes = [0; INSTANT_LEN];
    let seconds = utc.timestamp().cast_unsigned() ^ (1 << 63);
    bytes[..8].copy_from_slice(&seconds.to_be_bytes());
    bytes[8..].copy_from_slice(&utc.timestamp_subsec_nanos().to_be_bytes());
    bytes
}

/// Creates a database with the rows of the scenario, and returns when it is on disk.
pub(crate) fn fill(order: &Order) -> Result {
    // The store creates its tables.
    drop(QlOptions::new().with_cleanup(CleanupOptions::disabled()).open(&order.path)?);
    let database = Builder::new().set_cache_size(1 << 30).open(&order.path)?;
    let transaction = database.begin_write()?;
    let (mut text, mut bytes) = (String::new(), vec![0; order.scenario.data_len]);
    let expiry = instant(expiry());
    for key in 0..order.scenario.rows {
        token(key, &mut text);
        data(key, &mut bytes);
        put(&transaction, &text, expiry, &bytes)?;
        if order.scenario.operation == Operation::DeleteAll {
            link(&transaction, text.as_bytes(), key.to_string().as_bytes())?;
        }
    }
    transaction.commit()?;
    drop(database);
    File::open(&order.path)?.sync_all()?;
    Ok(())
}

/// Creates a session, or overwrites it.
fn put(
    transaction: &WriteTransaction,
    token: &str,
    expiry: [u8; INSTANT_LEN],
    data: &[u8],
) -> Result {
    let mut sessions = transaction.open_table(SESSIONS)?;
    sessions.insert(token.as_bytes(), &*[&expiry, data].concat())?;
    Ok(())
}

/// Makes the session a user's, as the store does.
fn link(transaction: &WriteTransaction, token: &[u8], subject: &[u8]) -> Result {
    transaction.open_table(SUBJECTS)?.insert(token, subject)?;
    let key = [&[u8::try_from(subject.len())?], subject, token].concat();
    transaction.open_table(BY_SUBJECT)?.insert(&*key, ())?;
    Ok(())
}

fn run(order: &Order) -> Result<Measurement> {
    let mut builder = Builder::new();
    builder.set_cache_size(QlOptions::DEFAULT_CACHE_SIZE);
    measure(Box::leak(Box::new(Raw(builder.open(&order.path)?))), order)
}

struct Raw(Database);

impl Contender for Raw {
    fn handle(&self) -> Result<Box<dyn Handle + '_>> {
        Ok(Box::new(Shared(&self.0)))
    }
}

/// All threads share the database, which can be open only once.
struct Shared<'a>(&'a Database);

impl Handle for Shared<'_> {
    fn find(&mut self, token: &str) -> Result<Option<usize>> {
        let now = instant(Utc::now());
        let sessions = self.0.begin_read()?.open_table(SESSIONS)?;
        let Some(value) = sessions.get(token.as_bytes())? else { return Ok(None) };
        let (expiry, data) = value
            .value()
            .split_at_checked(INSTANT_LEN)
            .ok_or("a row is shorter than its expiry")?;
        // A store returns bytes that the caller owns.
        Ok((expiry > &now[..]).then(|| data.to_vec().len()))
    }

    fn commit(&mut self, token: &str, data: &[u8]) -> Result {
        let transaction = self.0.begin_write()?;
        put(&transaction, token, instant(expiry()), data)?;
        Ok(transaction.commit()?)
    }
}
