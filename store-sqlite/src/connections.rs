//! The connections of a store, and what is said if there is none.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use parking_lot::Mutex;
use r2d2::{HandleError, ManageConnection, Pool};
use rusqlite::{Connection, Error as SqliteError};
use scheduled_thread_pool::ScheduledThreadPool;
use store_core::Error;
use store_core::backend::record_pool_wait;

use crate::error;
use crate::pool::{Checkout, ConnectionPool};
use crate::reader_connections::ReaderConnections;

/// The pool of a store, and the connections that readers keep.
///
/// Unless the application has the pool as well, all connections are closed once this is dropped.
pub(crate) struct Connections {
    // They are dropped in this order: the readers' connections go back to the pool, which closes
    // its connections, and then the thread that may still be opening one is waited for.
    pub(crate) readers: ReaderConnections,
    pub(crate) pool: Box<dyn ConnectionPool>,
    opener: Option<Opener>,
}

impl Connections {
    /// The connections of the application's pool.
    pub(crate) fn from_pool(pool: impl ConnectionPool + 'static) -> Self {
        Self { readers: ReaderConnections::none(), pool: Box::new(pool), opener: None }
    }

    /// The connections of a pool that is the store's alone, to the database in this file or in
    /// memory.
    pub(crate) fn new<M>(
        path: Option<PathBuf>,
        manager: M,
        readers: ReaderConnections,
        build: impl FnOnce(r2d2::Builder<M>) -> r2d2::Builder<M>,
    ) -> Self
    where
        M: ManageConnection<Connection = Connection, Error = SqliteError>,
    {
        let opener = Opener::start(path);
        let builder = Pool::builder()
            .thread_pool(Arc::clone(&opener.thread))
            .error_handler(Box::new(opener.failure.clone()));
        let pool = build(builder).build_unchecked(manager);
        Self { readers, pool: Box::new(pool), opener: Some(opener) }
    }

    pub(crate) fn checkout(&self) -> Result<Checkout, Error> {
        let started = Instant::now();
        let connection = self.pool.checkout();
        record_pool_wait(started);
        connection.map_err(|error| {
            let waited = started.elapsed();
            // A pool that has fewer couldn't open another; it tells one of the waiting threads why.
            if self.pool.state().connections >= self.pool.max_size() {
                return Error::PoolExhausted { waited, source: error.into() };
            }
            let failure =
                self.opener.as_ref().and_then(|opener| opener.failure.error.lock().clone());
            failure.unwrap_or_else(|| Error::Unreachable { source: error.into() })
        })
    }
}

/// The thread on which a pool opens connections, and why it couldn't open the last one that failed.
struct Opener {
    thread: Arc<ScheduledThreadPool>,
    failure: LastFailure,
}

#[derive(Clone, Debug, Default)]
struct LastFailure {
    /// The database's file, if it isn't in memory.
    path: Option<PathBuf>,
    error: Arc<Mutex<Option<Error>>>,
}

impl HandleError<SqliteError> for LastFailure {
    fn handle_error(&self, error: SqliteError) {
        let error = match &self.path {
            Some(path) => error::from_file(error, path),
            None => error::from_sqlite(error),
        };
        *self.error.lock() = Some(error);
    }
}

impl Opener {
    fn start(path: Option<PathBuf>) -> Self {
        let thread = ScheduledThreadPool::builder()
            // One, so that what it is told last comes last.
            .num_threads(1)
            .thread_name_pattern("sqlite-opener-{}")
            .build();
        Self { thread: Arc::new(thread), failure: LastFailure { path, error: Arc::default() } }
    }
}

impl Drop for Opener {
    /// Waits until the thread has opened, and closed, the connection that it may be opening: the
    /// pool is gone, so it begins no other.
    fn drop(&mut self) {
        let (sender, receiver) = mpsc::channel::<Infallible>();
        self.thread.execute(move || drop(sender));
        // An error: the sender is gone.
        let _ = receiver.recv();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;
    use std::time::Duration;

    use r2d2_sqlite::SqliteConnectionManager;

    use super::*;

    #[test]
    fn connection_that_is_being_opened_is_closed_once_all_are_dropped() {
        let guard = Arc::new(());
        let opening = Arc::new(Barrier::new(2));
        let (go_on, told) = mpsc::channel::<()>();
        let told = Mutex::new(told);
        let manager = SqliteConnectionManager::memory().with_init({
            let (guard, opening) = (Arc::clone(&guard), Arc::clone(&opening));
            move |connection| {
                opening.wait();
                let _ = told.lock().recv();
                // It lives as long as the connection.
                let guard = Arc::clone(&guard);
                connection.commit_hook(Some(move || {
                    let _ = &guard;
                    false
                }))
            }
        });
        let connections = Connections::new(None, manager, ReaderConnections::none(), |builder| {
            builder.max_size(1).min_idle(Some(0)).connection_timeout(Duration::from_millis(1))
        });
        assert!(connections.checkout().is_err());
        opening.wait();
        let dropping = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                dropping.wait();
                drop(connections);
                // The manager, which has the other one, goes with the pool.
                assert_eq!(Arc::strong_count(&guard), 1, "a connection is open");
            });
            dropping.wait();
            thread::yield_now();
            drop(go_on);
        });
    }
}
