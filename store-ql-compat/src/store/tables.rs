//! The tables: five, and one with the version of their format.

use redb::{
    Database, Durability, Error as RedbError, MultimapTableHandle, ReadableDatabase, ReadableTable,
    TableDefinition, TableHandle,
};
use store_core::Error;
use store_core::backend::TableName;

use super::error::from_redb;

/// The type of all keys, and of the values that aren't empty.
pub(super) type Bytes = &'static [u8];

type Definition<'a, V> = TableDefinition<'a, Bytes, V>;

/// The format that this version of the crate writes, and the only one that it reads.
pub(super) const VERSION: u64 = 1;

const VERSION_KEY: &[u8] = b"format";

/// The names of a store's tables.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    sessions: String,
    subjects: String,
    by_subject: String,
    rotations: String,
    rotated: String,
    meta: String,
}

impl Tables {
    /// Returns the tables whose names begin with this one.
    pub(super) fn new(name: &TableName) -> Self {
        Self {
            sessions: name.to_string(),
            subjects: format!("{name}_subject"),
            by_subject: format!("{name}_by_subject"),
            rotations: format!("{name}_rotation"),
            rotated: format!("{name}_rotated"),
            meta: format!("{name}_meta"),
        }
    }

    /// Token → expiry and data.
    pub(super) fn sessions(&self) -> Definition<'_, Bytes> {
        TableDefinition::new(&self.sessions)
    }

    /// Token → subject.
    pub(super) fn subjects(&self) -> Definition<'_, Bytes> {
        TableDefinition::new(&self.subjects)
    }

    /// Subject and token → nothing.
    pub(super) fn by_subject(&self) -> Definition<'_, ()> {
        TableDefinition::new(&self.by_subject)
    }

    /// Old token → what has become of it, see [`Rotated`](super::rotations::Rotated).
    pub(super) fn rotations(&self) -> Definition<'_, Bytes> {
        TableDefinition::new(&self.rotations)
    }

    /// Newest and old token → nothing.
    pub(super) fn rotated(&self) -> Definition<'_, ()> {
        TableDefinition::new(&self.rotated)
    }

    pub(super) fn meta(&self) -> Definition<'_, u64> {
        TableDefinition::new(&self.meta)
    }

    /// The tables that have values.
    pub(super) fn with_values(&self) -> [Definition<'_, Bytes>; 3] {
        [self.sessions(), self.subjects(), self.rotations()]
    }

    /// The tables that have keys alone.
    pub(super) fn with_keys_alone(&self) -> [Definition<'_, ()>; 2] {
        [self.by_subject(), self.rotated()]
    }

    /// The names of all but the one that says which format they have.
    fn names(&self) -> [&str; 5] {
        [&self.sessions, &self.subjects, &self.by_subject, &self.rotations, &self.rotated]
    }

    /// The name in messages.
    pub(super) fn name(&self) -> &str {
        &self.sessions
    }

    /// Creates the tables if there are none, and refuses those that aren't a store's or are newer.
    pub(super) fn prepare(&self, database: &Database) -> Result<(), Error> {
        self.create_or_check(database).map_err(from_redb)?
    }

    /// Refuses a database without the tables.
    pub(super) fn expect(&self, database: &Database) -> Result<(), Error> {
        let exists = || -> Result<bool, RedbError> {
            Ok(database.begin_read()?.list_tables()?.any(|table| table.name() == self.meta))
        };
        if exists().map_err(from_redb)? {
            Ok(())
        } else {
            Err(Error::TableMissing { table: self.sessions.clone() })
        }
    }

    /// The outer error is redb's, the inner one says what is wrong with the tables.
    fn create_or_check(&self, database: &Database) -> Result<Result<(), Error>, RedbError> {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut names: Vec<String> =
            transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
        let multimaps = transaction.list_multimap_tables()?;
        names.extend(multimaps.map(|table| MultimapTableHandle::name(&table).to_owned()));
        let exists = |name: &str| names.iter().any(|other| other == name);

        if exists(&self.meta) {
            let version = {
                let meta = transaction.open_table(self.meta())?;
                let version = meta.get(VERSION_KEY)?;
                version.map(|version| version.value())
            };
            if let Err(error) = self.check_version(version) {
                return Ok(Err(error));
            }
            // Each must exist, with its types: opening it for reading creates nothing.
            transaction.abort()?;
            let snapshot = database.begin_read()?;
            for table in self.with_values() {
                snapshot.open_table(table)?;
            }
            for table in self.with_keys_alone() {
                snapshot.open_table(table)?;
            }
            return Ok(Ok(()));
        }
        if let Some(foreign) = self.names().into_iter().find(|name| exists(name)) {
            let problem = format!(
                "it isn't this store's, because there is no table {:?} next to it: choose another \
                 table name",
                self.meta
            );
            return Ok(Err(Error::TableMismatch { table: foreign.to_owned(), problem }));
        }
        transaction.open_table(self.meta())?.insert(VERSION_KEY, VERSION)?;
        for table in self.with_values() {
            transaction.open_table(table)?;
        }
        for table in self.with_keys_alone() {
            transaction.open_table(table)?;
        }
        Ok(Ok(transaction.commit()?))
    }

    fn check_version(&self, version: Option<u64>) -> Result<(), Error> {
        let problem = match version {
            Some(VERSION) => return Ok(()),
            Some(newer) if newer > VERSION => format!(
                "its sessions are in format {newer}, and this version of store-ql-compat reads \
                 format {VERSION}: update the program"
            ),
            Some(unknown) => format!("format {unknown} was never written by this crate"),
            None => "it doesn't say which format the sessions are in".to_owned(),
        };
        Err(Error::TableMismatch { table: self.meta.clone(), problem })
    }
}
