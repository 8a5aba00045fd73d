//! Takes connections from the pool.

use std::time::{Duration, Instant};

use r2d2::{HandleError, Pool, PooledConnection};
use store_core::Error;

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
    pool.get_timeout(timeout).map_err(|error| {
        let source = error.into();
        if pool.state().connections == 0 {
            Error::Unreachable { source }
        } else {
            Error::PoolExhausted { waited: started.elapsed(), source }
        }
    })
}

/// Logs failures of connections that the pool tries to make again, which r2d2 would log as errors
/// of its own, or not at all. Those of one outage are a warning now and then, and connections that
/// are replaced as they should be are none.
#[derive(Debug)]
pub(crate) struct LogFailures;

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
