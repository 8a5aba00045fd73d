//! The store.

use std::fmt;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use mysql::Value;
use store_core::backend::{CleanupThread, delete_in_batches};
use store_core::{
    Change, CleanupOptions, CleanupStatistics, Error, Limits, Loaded, OwnedRecord, Record, Store,
};

use crate::cleanup::CleanupRun;
use crate::connection::Connection;
use crate::create::NewSession;
use crate::ddl;
use crate::error::is_out_of_range;
use crate::retry::RetrySafety;
use crate::shared::Shared;
use crate::table::TableVariant;
use crate::update::Update;

/// How often `commit` is tried while others put expired sessions in its place.
const COMMIT_ATTEMPTS: usize = 100;

/// A session store on MySQL or MariaDB.
///
/// It keeps sessions in the table of the Go store `mysqlstore` as it stands, or in the hardened
/// table that [`create_table`](Self::create_table) creates. The [guide](crate::guide) has both, and
/// the rights, timeouts, and clusters.
///
/// # Expiries and tokens
/// The server's clock, which [`now`](Store::now) returns, decides whether a session is live, and
/// how long the grace of a rotation lasts. An expiry is a date and time in UTC, rounded down to the
/// digits of the column: microseconds in the documented tables. The server's time zone and
/// `sql_mode` don't matter, because each connection sets its own. What the columns can't hold
/// unchanged is refused; see [`limits`](Self::limits) and [`TableVariant`]. Tokens are visible
/// ASCII characters without spaces, as every session manager makes them. Any other is
/// [`Error::InvalidToken`], and finds nothing.
///
/// # Side tables
/// The subjects of sessions are in `sessions_subjects` and the recent rotations in
/// `sessions_rotations`, named after the table of sessions. A store creates them when it is made,
/// if they are missing. If the account has no right to, the store logs a warning and works without:
/// operations with a subject return [`Error::TableMissing`], which names the table, and a rotation
/// has no grace.
///
/// # Round trips
/// `find`, `commit`, `touch`, `count`, `find_by_subject`, `load` and `delete` of a live session,
/// `create` without a subject, and `update` of data and expiry take one each. `load` and `delete`
/// of a token that names no live session take two, `commit` over an expired session a few more. The
/// others are transactions:
///
/// | operation | round trips |
/// |---|---|
/// | `create` with a subject | 4 |
/// | `update` with a rotation | 6; 7 if the session was rotated before within the grace |
/// | `update` that sets or clears a subject | 4; with a rotation 7 or 6 |
/// | `update` that absorbs | 3, or as above, and 3 for each absorbed session |
/// | a change that expects sessions | 3 more than without, and 6 at least |
/// | `delete` with a rotated token | 7 |
/// | `delete_by_subject` | 1; 4 with an exception, 5 if that was rotated |
///
/// If an expired session has the new token, a few more are needed.
///
/// On TiDB each write is a transaction: `commit`, `touch`, `create`, `update` of data and expiry,
/// and `delete_by_subject` take three, `delete` of a live session four, of a token that names none
/// five, with a rotated token 11; each absorbed session takes four more. The others are as above,
/// but for a rotation, which always takes six.
///
/// # Failures
/// After a deadlock, a lock wait timeout, a restart of the server, and on a connection that the
/// server has closed, an operation is tried again until the [operation
/// timeout](crate::MysqlOptions::with_operation_timeout). A write whose reply was lost is made
/// again only if twice is the same as once. `create` and `update` are made again only if a read
/// shows that the session is as it was before; otherwise they return [`Error::Unreachable`], and
/// whether the write was done is unknown. A connection whose reply didn't come in time is never
/// used again.
///
/// In a process that was forked since the store was made, each operation returns
/// [`Error::Forked`], and the connections stay the parent's.
///
/// # Examples
/// ```no_run
/// use chrono::{TimeDelta, Utc};
/// use store_mysql::{MysqlStore, Store};
///
/// let store = MysqlStore::connect("mysql://app:secret@db.example/app")?;
/// store.commit("token", b"data", Utc::now() + TimeDelta::hours(24))?;
/// assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
/// # Ok::<(), store_mysql::Error>(())
/// ```
#[doc(alias = "MySQLStore")]
#[doc(alias = "mysqlstore")]
pub struct MysqlStore {
    pub(crate) shared: Arc<Shared>,
    cleanup: CleanupThread,
}

impl MysqlStore {
    /// The DDL of the hardened table, which [`create_table`](Self::create_table) runs. The Go store
    /// can use it unchanged.
    ///
    /// # Examples
    /// ```
    /// use store_mysql::MysqlStore;
    ///
    /// // For your migrations, with the name of your table.
    /// let ddl = MysqlStore::CREATE_TABLE.replace("`sessions", "`web_sessions");
    /// assert!(ddl.starts_with("CREATE TABLE IF NOT EXISTS `web_sessions`"));
    /// ```
    pub const CREATE_TABLE: &str = ddl::CREATE_TABLE;

    /// The DDL of the index of subjects, which [`create_table`](Self::create_table) runs as well.
    /// Go programs don't use it.
    ///
    /// # Examples
    /// ```
    /// use store_mysql::MysqlStore;
    ///
    /// assert!(MysqlStore::CREATE_SUBJECTS_TABLE.contains("`sessions_subjects`"));
    /// ```
    pub const CREATE_SUBJECTS_TABLE: &str = ddl::CREATE_SUBJECTS_TABLE;

    /// The DDL of the records of rotations, which [`create_table`](Self::create_table) runs as
    /// well. Go programs don't use it.
    ///
    /// # Examples
    /// ```
    /// use store_mysql::MysqlStore;
    ///
    /// assert!(MysqlStore::CREATE_ROTATIONS_TABLE.contains("`sessions_rotations`"));
    /// ```
    pub const CREATE_ROTATIONS_TABLE: &str = ddl::CREATE_ROTATIONS_TABLE;

    /// Starts the cleanup thread of a store.
    pub(crate) fn start(shared: Shared, cleanup: CleanupOptions) -> Result<Self, Error> {
        let shared = Arc::new(shared);
        let cleanup = CleanupThread::start(cleanup, {
            let shared = Arc::clone(&shared);
            let mut run = CleanupRun::default();
            move || shared.remove_batch(&mut run)
        })?;
        Ok(Self { shared, cleanup })
    }

    /// Returns which kind of table the store has found.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::{MysqlStore, TableVariant};
    ///
    /// let store = MysqlStore::connect("mysql://app:secret@db.example/app")?;
    /// assert_eq!(store.table_variant(), TableVariant::Hardened);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    #[must_use]
    pub fn table_variant(&self) -> TableVariant {
        self.shared.table.variant
    }

    /// Returns the largest token and the largest data, in bytes, that the store takes: what the
    /// options allow, the columns hold, and the server's `max_allowed_packet` lets through.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::MysqlStore;
    ///
    /// let store = MysqlStore::connect("mysql://app:secret@db.example/app")?;
    /// println!("at most {} bytes a session", store.limits().max_data_len);
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.table.limits
    }
}

impl Drop for MysqlStore {
    fn drop(&mut self) {
        if self.shared.open.owner().is_forked() {
            // The pool would end the parent's connections, and wait for locks that threads of the
            // parent may have held.
            mem::forget(Arc::clone(&self.shared));
        }
    }
}

impl fmt::Debug for MysqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlStore")
            .field("table", &self.shared.table.name.as_str())
            .field("variant", &self.shared.table.variant)
            .field("limits", &self.shared.table.limits)
            .field(
                "pool",
                &self.shared.open.owner().check().ok().map(|()| self.shared.pool.state()),
            )
            .field("cleanup", &self.cleanup)
            .finish_non_exhaustive()
    }
}

impl Store for MysqlStore {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        let found = self.shared.find(&mut self.shared.retry(), token)?;
        Ok(found.map(|(data, _)| data))
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        let shared = &self.shared;
        let mut retry = shared.retry();
        if let Some((data, expiry)) = shared.find(&mut retry, token)? {
            return Ok(Loaded::Live { data, expiry });
        }
        let Some(rotations) = &shared.rotations else { return Ok(Loaded::Missing) };
        if shared.check_token(token).is_err() {
            return Ok(Loaded::Missing);
        }
        retry
            .run(RetrySafety::ReadOnly, |connection| rotations.load(connection, token))
            .map_err(|error| shared.explain(error))
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        let shared = &self.shared;
        shared.check_token(token)?;
        shared.table.limits.check_data(data)?;
        let expiry = shared.table.range.expiry(expiry)?;
        for _ in 0..COMMIT_ATTEMPTS {
            let conflicts = shared.run(RetrySafety::Idempotent, |connection| {
                let (token, data, expiry) = (Value::from(token), Value::from(data), expiry.clone());
                let params = vec![token.clone(), data.clone(), expiry.clone(), token, data, expiry];
                match connection.execute(&shared.statements.commit, params) {
                    Ok(_) => Ok(false),
                    Err(error) if is_out_of_range(&error) => Ok(true),
                    Err(error) => Err(error),
                }
            })?;
            if !conflicts {
                return Ok(());
            }
            // The row of another token conflicts, or an expired one, whose subject is its own. The
            // next attempt finds neither, unless others write the same token.
            if let Some(refusal @ Error::InvalidToken(_)) =
                shared.free_token_in_transaction(token)?
            {
                return Err(refusal);
            }
        }
        let source = "others committed expired sessions to the same token again and again".into();
        Err(Error::Contended { source })
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        match NewSession::new(&self.shared, token, change)? {
            Some(session) => self.shared.create(&session),
            None => Ok(false),
        }
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        match Update::new(&self.shared, token, current, change)? {
            Some(update) => self.shared.update(&update),
            None => Ok(false),
        }
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        let shared = &self.shared;
        let value = shared.table.range.expiry(expiry)?;
        if shared.check_token(token).is_err() {
            return Ok(false);
        }
        let mut retry = shared.retry();
        let changed = retry
            .run(RetrySafety::Idempotent, |connection| {
                let params = vec![value.clone(), token.into(), token.into()];
                connection.execute(&shared.statements.touch, params)
            })
            .map_err(|error| shared.explain(error))?;
        if !changed.has_matched() && retry.has_lost_connection() && expiry <= Utc::now() {
            // The attempt whose reply was lost may have ended the session.
            let source = "the reply was lost, and the session has ended".into();
            return Err(Error::Unreachable { source });
        }
        Ok(changed.has_matched())
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        // No session has such a token.
        if self.shared.check_token(token).is_err() { Ok(()) } else { self.shared.delete(token) }
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.shared.find_by_subject(subject)
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.shared.subject_of(token)
    }

    /// If a reply was lost and the deletion was made again, sessions that the first attempt removed
    /// aren't counted.
    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.shared.delete_by_subject(subject, except)
    }

    /// It goes from batch to batch, so that no transaction is as large as the table. If it fails,
    /// call it again.
    fn delete_all(&self) -> Result<u64, Error> {
        self.shared.delete_all()
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        let mut run = CleanupRun::default();
        delete_in_batches(|| self.shared.remove_batch(&mut run))
    }

    /// The walk reads a snapshot on a connection of its own, next to the pool's. It meets each
    /// session once, even if the session is rotated concurrently. While it lasts, the server keeps
    /// the old versions of rows that change.
    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let shared = &self.shared;
        shared.open.owner().check()?;
        let mut connection = Connection::open(&shared.servers)
            .map_err(|error| Error::Unreachable { source: error.into() })?;
        connection
            .attempt(|connection| shared.walk(connection, visit))
            .map_err(|error| shared.explain_driver(&error))
    }

    /// The server's clock, as it differed from this process's when the latest connection was made.
    fn now(&self) -> DateTime<Utc> {
        self.shared.servers.clock_offset.now()
    }

    /// Rows of other programs that are no sessions count as well: with NULL as data, or with a
    /// token that this store wouldn't write.
    fn count(&self) -> Result<u64, Error> {
        let shared = &self.shared;
        let row = shared.run(RetrySafety::ReadOnly, |connection| {
            connection.query_first(&shared.statements.count, vec![])
        })?;
        Ok(row.and_then(|mut row| row.take::<u64, _>(0)).unwrap_or_default())
    }

    /// Stops the cleanup thread and returns once it has ended, as dropping the store does. A
    /// cleanup run that waits for the server ends when the reply comes, or with the timeout.
    fn stop_cleanup(&self) {
        self.cleanup.stop();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.cleanup.statistics()
    }
}
