//! Takes connections from the pool.

use std::time::{Duration, Instant};

use r2d2::{HandleError, Pool, PooledConnection};
use store_core::Error;
use store_core::backend::record_pool_wait;

use crate::connect_error::ConnectError;
use crate::manager::MysqlConnectionManager;

/// Takes a connection from the pool.
///
/// # Errors
/// [`Error::Unreachable`] if the pool has no connection at all, else [`Error::PoolExhausted`].
pub(crate) fn checkout(
    pool: &Pool<MysqlConnectionManager>,
    timeout: Duration,
) -> Result<PooledConnection<MysqlConnectionManager>, Error> {
    let started = Instant::now();
    let connection = pool.get_timeout(timeout);
    record_pool_wait(started);
    connection.map_err(|error| no_connection(pool, started.elapsed(), error))
}

/// The error of an operation that has waited for a connection in vain.
pub(crate) fn no_connection(
    pool: &Pool<MysqlConnectionManager>,
    waited: Duration,
    error: r2d2::Error,
) -> Error {
    let source = error.into();
    if pool.state().connections == 0 {
        Error::Unreachable { source }
    } else {
        Error::PoolExhausted { waited, source }
    }
}

/// Logs what a pool meets when it connects: those of one outage as a warning now and then, and
/// connections that are replaced as they should be not at all.
///
/// The pools of [`MysqlOptions`](crate::MysqlOptions) have it. By default r2d2 logs everything as
/// an error.
///
/// # Examples
/// ```no_run
/// use store_mysql::r2d2::Pool;
/// use store_mysql::{Error, LogFailures, MysqlConnectionManager};
///
/// let manager = MysqlConnectionManager::new("mysql://app:secret@db.example/app")?;
/// let pool = Pool::builder().error_handler(Box::new(LogFailures)).build(manager);
/// # drop(pool);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LogFailures;

impl HandleError<ConnectError> for LogFailures {
    fn handle_error(&self, error: ConnectError) {
        if error.is_recycled() {
            log::trace!("{error}");
        } else if error.is_news() {
            log::warn!("no connection for sessions: {error}");
        } else {
            log::debug!("no connection for sessions: {error}");
        }
    }
}
