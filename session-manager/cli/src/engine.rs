//! What the commands ask of a store's engine.

use std::path::Path;

use store_core::{Error, Inspection, Store, StoreStatistics};

/// What a command is going to do with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing is changed, as far as the engine has such a mode.
    Read,
    Write,
}

/// A place for sessions, before it is opened.
pub(crate) trait Engine {
    /// Looks at the engine and the table.
    fn inspect(&self) -> Result<Inspection, Error>;

    /// Opens a store that exists; creates neither a file nor a table of sessions.
    fn open(&self, access: Access) -> Result<Box<dyn OpenedStore>, Error>;

    /// Returns the DDL that [`create`](Self::create) runs, if the engine has such a language.
    fn ddl(&self, with_expiry_index: bool) -> Result<Option<String>, Error>;

    /// Creates what is missing.
    fn create(&self, with_expiry_index: bool) -> Result<(), Error>;
}

/// An open store. No cleanup thread runs in it.
pub(crate) trait OpenedStore {
    /// What all stores have.
    fn store(&self) -> &dyn Store;

    fn statistics(&self, max_top: usize) -> Result<StoreStatistics, Error>;

    /// The file in which it is, unless a server has it.
    fn file(&self) -> Option<&dyn StoreFile>;
}

/// A store in a file.
pub(crate) trait StoreFile {
    /// Copies it to a new file.
    fn backup(&self, path: &Path) -> Result<(), Error>;

    /// Returns how many bytes were given back to the file system.
    fn compact(&self) -> Result<u64, Error>;
}
