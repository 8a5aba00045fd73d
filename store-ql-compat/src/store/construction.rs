//! How a store is made of its options and a database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{Builder, Database};
use store_core::backend::{BackgroundThread, CleanupThread, GroupCommit, OpenStore};
use store_core::{CleanupOptions, Error};

use super::cleanup::CleanupRun;
use super::engine::Engine;
use super::error::{catch_panic_in_open, from_io, from_redb};
use super::file;
use super::flusher;
use super::named_file::NamedFile;
use super::options::{Durability, QlOptions};
use super::shared::Shared;
use super::tables::Tables;
use super::watched::SyncFailure;
use super::write::Write;
use super::{Creation, QlStore, Threads};

impl QlStore {
    /// Returns a store in a database that the application has opened and keeps other tables in,
    /// cleaned up every five minutes. The store's tables are created if there are none.
    ///
    /// While the application holds a write transaction of its own, the store's writers wait for it,
    /// without limit; a thread that holds one must not call the store.
    ///
    /// # Errors
    /// As for [`QlOptions::build`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use store_ql_compat::redb::Database;
    /// use store_ql_compat::{Error, QlStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(Error::backend)?;
    /// # let path = directory.path().join("app.redb");
    /// let database = Arc::new(Database::create(path).map_err(Error::backend)?);
    /// let store = QlStore::new(Arc::clone(&database))?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "New")]
    pub fn new(database: Arc<Database>) -> Result<Self, Error> {
        QlOptions::new().build(database)
    }

    /// As [`new`](Self::new), cleaned up after each `interval`; zero means never.
    ///
    /// # Errors
    /// As for [`QlOptions::build`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use store_ql_compat::redb::Database;
    /// use store_ql_compat::{Error, QlStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(Error::backend)?;
    /// # let path = directory.path().join("app.redb");
    /// let database = Arc::new(Database::create(path).map_err(Error::backend)?);
    /// let store = QlStore::with_cleanup_interval(database, Duration::from_secs(60))?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "NewWithCleanupInterval")]
    pub fn with_cleanup_interval(
        database: Arc<Database>,
        interval: Duration,
    ) -> Result<Self, Error> {
        QlOptions::new().with_cleanup(CleanupOptions::new().with_interval(interval)).build(database)
    }

    /// Opens a database file with the default options, and creates it and the tables if there are
    /// none; see [`QlOptions::open`].
    ///
    /// # Errors
    /// As for [`QlOptions::open`].
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{Error, QlStore};
    ///
    /// # let directory = tempfile::tempdir().map_err(Error::backend)?;
    /// # let path = directory.path().join("sessions.redb");
    /// let store = QlStore::open(&path)?;
    /// // The file is this store's until the store is dropped.
    /// assert!(matches!(QlStore::open(&path), Err(Error::InUse { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        QlOptions::new().open(path)
    }

    /// Returns a store in memory, whose sessions end with it: for tests.
    ///
    /// # Errors
    /// [`Error::SpawnThread`] if the operating system can't start a thread.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{QlStore, Store};
    ///
    /// let store = QlStore::in_memory()?;
    /// store.commit("token", b"data", chrono::DateTime::<chrono::Utc>::MAX_UTC)?;
    /// assert!(store.find("token")?.is_some());
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    #[doc(alias = "ql-mem")]
    pub fn in_memory() -> Result<Self, Error> {
        QlOptions::new().in_memory()
    }

    /// Starts the threads.
    fn start(engine: Engine, tables: Tables, options: QlOptions) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            engine,
            tables,
            limits: options.limits,
            clock: options.clock,
            contention_timeout: options.contention_timeout,
            batch_size: options.cleanup.batch_size().get(),
            flush_state: Arc::default(),
            group_commit: GroupCommit::new(Write::bytes),
        });
        let flusher = match options.durability {
            Durability::Full => BackgroundThread::inactive(),
            Durability::Relaxed(interval) => {
                let same = Arc::clone(&shared);
                let flush = move || same.flush();
                flusher::start(interval, &shared.flush_state, options.on_flush_failure, flush)?
            }
        };
        let cleanup = CleanupThread::start(options.cleanup, {
            let shared = Arc::clone(&shared);
            let mut run = CleanupRun::default();
            move || shared.remove_batch(&mut run)
        })?;
        Ok(Self { threads: Some(Threads { cleanup, flusher }), shared })
    }
}

impl QlOptions {
    /// Opens a database file, and creates the file and the tables if there are none. A database of
    /// redb that has other tables only gets the store's in addition.
    ///
    /// The file is locked: one process at a time can have it open, and one store in it. It must be
    /// on a local disk. One that wasn't closed, as after a crash, is [replaced by a
    /// copy](crate::guide#a-failed-sync), which needs space and a writable directory.
    ///
    /// # Errors
    /// - [`Error::InvalidOption`] for options out of range;
    /// - [`Error::InUse`] if the file is open already;
    /// - [`Error::Unreachable`] if it can't be opened or created, [`Error::ReadOnly`] if it can't
    ///   be written to;
    /// - [`Error::Corrupt`] if it isn't a database of redb, or is damaged: for a database of ql the
    ///   source names [`import_ql`](crate::import_ql);
    /// - [`Error::TableMismatch`] if a table of such a name isn't the store's, or the format is
    ///   newer than this crate;
    /// - other errors of the system.
    ///
    /// # Examples
    /// ```
    /// use store_ql_compat::{Error, QlOptions, Store};
    ///
    /// # let directory = tempfile::tempdir().map_err(Error::backend)?;
    /// # let path = directory.path().join("sessions.redb");
    /// let store = QlOptions::new().with_table_name("web_sessions").open(path)?;
    /// assert_eq!(store.count()?, 0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn open(self, path: impl AsRef<Path>) -> Result<QlStore, Error> {
        self.open_file(path.as_ref(), Creation::IfMissing)
    }

    pub(super) fn open_file(self, path: &Path, creation: Creation) -> Result<QlStore, Error> {
        if path.as_os_str().is_empty() || path == Path::new(":memory:") {
            let problem =
                "it names no file; for a database in memory there is in_memory()".to_owned();
            return Err(Error::InvalidOption { option: "path", problem });
        }
        let tables = Tables::new(&self.validate()?);
        let open = OpenStore::new()?;
        let (failure, named) = (SyncFailure::default(), NamedFile::default());
        let database = catch_panic_in_open(|| {
            let permissions = self.file_permissions.as_ref();
            let builder = builder(self.cache_size);
            let database = file::open(path, creation, permissions, &failure, &named, &builder)?;
            if creation == Creation::Never {
                tables.expect(&database)?;
            }
            Ok(database)
        })?;
        // The file is opened again after I/O errors, which must not depend on the working directory
        // of that moment.
        let path = path.canonicalize().map_err(from_io)?;
        let reopen = move |builder: &Builder| file::reopen(&path, &failure, &named, builder);
        self.build_reopenable(open, tables, database, reopen)
    }

    /// Returns a store on a database of its own, which `reopen` can open again.
    pub(super) fn build_reopenable(
        self,
        open: OpenStore,
        tables: Tables,
        database: Database,
        reopen: impl Fn(&Builder) -> Result<Database, Error> + Send + Sync + 'static,
    ) -> Result<QlStore, Error> {
        let database = prepare(&tables, database)?;
        let reopen = {
            // It captures no more than these: the cleanup's hook, for one, may hold the store.
            let (tables, cache_size) = (tables.clone(), self.cache_size);
            move || prepare(&tables, reopen(&builder(cache_size))?)
        };
        let engine = Engine::owned(open, database, Some(Box::new(reopen)), self.contention_timeout);
        QlStore::start(engine, tables, self)
    }

    /// Returns a store in memory, whose sessions end with it: for tests.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], and errors of the system.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use chrono::{DateTime, TimeDelta};
    /// use store_ql_compat::{ManualClock, QlOptions, Store};
    ///
    /// let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    /// let store = QlOptions::new().with_clock(clock.clone()).in_memory()?;
    /// store.commit("token", b"data", DateTime::UNIX_EPOCH + TimeDelta::hours(1))?;
    /// clock.advance(TimeDelta::hours(2));
    /// assert_eq!(store.find("token")?, None);
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    pub fn in_memory(self) -> Result<QlStore, Error> {
        let tables = Tables::new(&self.validate()?);
        let open = OpenStore::new()?;
        let database = builder(self.cache_size).create_with_backend(InMemoryBackend::new());
        let database = database.map_err(|error| from_redb(error.into()))?;
        tables.prepare(&database)?;
        let engine = Engine::owned(open, database, None, self.contention_timeout);
        QlStore::start(engine, tables, self)
    }

    /// Returns a store in a database that the application has opened and keeps other tables in. The
    /// store's own are created if there are none.
    ///
    /// The cache is the database's. After an I/O error the application has to open the database
    /// again and to make a new store, and it alone can compact the file.
    ///
    /// # Errors
    /// [`Error::TableMismatch`] if a table of such a name isn't the store's, or the format is newer
    /// than this crate; [`Error::InvalidOption`]; and errors of the system.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use store_ql_compat::redb::Database;
    /// use store_ql_compat::{Error, QlOptions};
    ///
    /// # let directory = tempfile::tempdir().map_err(Error::backend)?;
    /// # let path = directory.path().join("app.redb");
    /// let database = Arc::new(Database::create(path).map_err(Error::backend)?);
    /// let store = QlOptions::new().with_table_name("web").build(Arc::clone(&database))?;
    /// # drop(store);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn build(self, database: Arc<Database>) -> Result<QlStore, Error> {
        let tables = Tables::new(&self.validate()?);
        let open = OpenStore::new()?;
        catch_panic_in_open(|| tables.prepare(&database))?;
        let engine = Engine::shared(open, database, self.contention_timeout);
        QlStore::start(engine, tables, self)
    }
}

/// Checks a database of the store's own.
fn prepare(tables: &Tables, database: Database) -> Result<Database, Error> {
    // The closure drops the database if it is refused, and closing it may panic as well.
    catch_panic_in_open(move || {
        tables.prepare(&database)?;
        Ok(database)
    })
}

fn builder(cache_size: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_size);
    builder
}
