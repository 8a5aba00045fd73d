//! LMDB, used directly: what a store in one file, of one process and in C, can reach.

use std::fs::File;
use std::path::Path;

use bench_protocol::{Contender, Handle, Measurement, Order, Result, data, measure, token};
use chrono::Utc;
use lmdb::{
    Database, DatabaseFlags, Environment, EnvironmentFlags, RwTransaction, Transaction, WriteFlags,
};

use crate::Row;
use crate::ours::expiry;
use crate::raw_redb::{INSTANT_LEN, instant};

pub(crate) const ROWS: &[Row] = &[Row {
    name: "raw-lmdb",
    format: "lmdb",
    version: "lmdb-rkv 0.14",
    engine: || "LMDB 0.9".to_owned(),
    settings: "the tables of raw-redb, a snapshot per find, a durable transaction per commit",
    fill,
    is_on_server: false,
    measure: run,
}];

/// The file is mapped into memory, and can't be longer.
const MAP_SIZE: usize = 8 << 30;

struct Raw {
    environment: Environment,
    /// Token → expiry and data.
    sessions: Database,
}

impl Raw {
    fn open(path: &Path) -> Result<Self> {
        let environment = Environment::new()
            .set_flags(EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_TLS)
            .set_map_size(MAP_SIZE)
            .set_max_dbs(1)
            .open(path)?;
        let sessions = environment.create_db(Some("sessions"), DatabaseFlags::empty())?;
        Ok(Self { environment, sessions })
    }

    /// Creates a session, or overwrites it.
    fn put(
        &self,
        transaction: &mut RwTransaction<'_>,
        token: &str,
        expiry: [u8; INSTANT_LEN],
        data: &[u8],
    ) -> Result {
        let value = [&expiry, data].concat();
        Ok(transaction.put(self.sessions, &token, &value, WriteFlags::empty())?)
    }
}

/// Creates a database with the rows of the scenario, and returns when it is on disk.
fn fill(order: &Order) -> Result {
    let raw = Raw::open(&order.path)?;
    let mut transaction = raw.environment.begin_rw_txn()?;
    let (mut text, mut bytes) = (String::new(), vec![0; order.scenario.data_len]);
    let expiry = instant(expiry());
    for key in 0..order.scenario.rows {
        token(key, &mut text);
        data(key, &mut bytes);
        raw.put(&mut transaction, &text, expiry, &bytes)?;
    }
    transaction.commit()?;
    drop(raw);
    File::open(&order.path)?.sync_all()?;
    Ok(())
}

fn run(order: &Order) -> Result<Measurement> {
    measure(Box::leak(Box::new(Raw::open(&order.path)?)), order)
}

impl Contender for Raw {
    fn handle(&self) -> Result<Box<dyn Handle + '_>> {
        Ok(Box::new(Shared(self)))
    }
}

/// All threads share the environment.
struct Shared<'a>(&'a Raw);

impl Handle for Shared<'_> {
    fn find(&mut self, token: &str) -> Result<Option<usize>> {
        let now = instant(Utc::now());
        let snapshot = self.0.environment.begin_ro_txn()?;
        let value = match snapshot.get(self.0.sessions, &token) {
            Ok(value) => value,
            Err(lmdb::Error::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (expiry, data) =
            value.split_at_checked(INSTANT_LEN).ok_or("a row is shorter than its expiry")?;
        // A store returns bytes that the caller owns.
        Ok((expiry > &now[..]).then(|| data.to_vec().len()))
    }

    fn commit(&mut self, token: &str, data: &[u8]) -> Result {
        let mut transaction = self.0.environment.begin_rw_txn()?;
        self.0.put(&mut transaction, token, instant(expiry()), data)?;
        Ok(transaction.commit()?)
    }
}
