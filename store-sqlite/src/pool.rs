//! A pool of connections, whoever opens them: the store, or the application's own manager.

use std::ops::DerefMut;

use r2d2::{ManageConnection, Pool, State};
use rusqlite::Connection;

/// A connection that goes back to its pool when it is dropped.
pub(crate) type Checkout = Box<dyn DerefMut<Target = Connection> + Send>;

/// [`Pool`], without the type of its manager.
pub(crate) trait ConnectionPool: Send + Sync {
    /// Waits for a connection.
    fn checkout(&self) -> Result<Checkout, r2d2::Error>;

    /// Returns a connection that is idle.
    fn try_checkout(&self) -> Option<Checkout>;

    fn state(&self) -> State;

    fn max_size(&self) -> u32;
}

impl<M: ManageConnection<Connection = Connection>> ConnectionPool for Pool<M> {
    fn checkout(&self) -> Result<Checkout, r2d2::Error> {
        self.get().map(|connection| -> Checkout { Box::new(connection) })
    }

    fn try_checkout(&self) -> Option<Checkout> {
        self.try_get().map(|connection| -> Checkout { Box::new(connection) })
    }

    fn state(&self) -> State {
        self.state()
    }

    fn max_size(&self) -> u32 {
        self.max_size()
    }
}
