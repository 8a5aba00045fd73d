//! Retry at an operation, made again where that is safe, until its time is over.

use std::thread;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use mysql::{Error as DriverError, Result as DriverResult};
use r2d2::{Pool, PooledConnection};
use store_core::Error;

use crate::connection::Connection;
use crate::error::{self, ErrorClass};
use crate::manager::{MysqlConnectionManager, Servers};

/// When an attempt whose reply was lost may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetrySafety {
    /// It changes nothing, so always.
    ReadOnly,
    /// Having done it twice is the same as having done it once. Not where it may still be under way
    /// on a server that is slow: then it could come after what others did meanwhile. (That of a lost
    /// connection has ended, unless something between here and the server cut it; then the row's lock
    /// keeps the order of those that wait for it.)
    Idempotent,
    /// The caller has to look first.
    VerifyFirst,
}

/// Why an operation ended: by the driver's error, or because there was no connection.
pub(crate) enum AttemptError {
    Failed(DriverError),
    NoConnection(Error),
}

impl AttemptError {
    /// Whether its outcome is unknown, because the connection was lost.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Failed(error) if error::classify(error) == ErrorClass::ConnectionLost)
    }
}

/// The longest pause after a deadlock, which is over when it is noticed.
const MAX_CONTENTION_PAUSE: Duration = Duration::from_millis(20);

/// The attempts at one operation.
pub(crate) struct Retry<'a> {
    pool: &'a Pool<MysqlConnectionManager>,
    servers: &'a Servers,
    deadline: Instant,
    pauses: backon::ExponentialBackoff,
    /// A lost connection is usually one that had been idle for too long, and the next one is good.
    has_lost: bool,
}

impl<'a> Retry<'a> {
    /// No attempt is begun after the timeout.
    pub(crate) fn new(
        pool: &'a Pool<MysqlConnectionManager>,
        servers: &'a Servers,
        timeout: Duration,
    ) -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(2))
            .with_max_delay(Duration::from_millis(200))
            .without_max_times()
            .with_jitter()
            .build();
        Self { pool, servers, deadline: Instant::now() + timeout, pauses, has_lost: false }
    }

    /// Makes attempts until one succeeds, time is over, or another one wouldn't be safe or of use.
    pub(crate) fn run<T>(
        &mut self,
        safety: RetrySafety,
        mut operation: impl FnMut(&mut Connection) -> DriverResult<T>,
    ) -> Result<T, AttemptError> {
        loop {
            let mut connection = self.checkout().map_err(AttemptError::NoConnection)?;
            let error = match connection.attempt(&mut operation) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let class = error::classify(&error);
            let is_safe = match class {
                ErrorClass::Contention | ErrorClass::Transient | ErrorClass::ServerUnavailable => {
                    true
                }
                ErrorClass::ReadOnly => self.servers.has_alternatives(),
                ErrorClass::ConnectionLost => safety != RetrySafety::VerifyFirst,
                ErrorClass::TimedOut => safety == RetrySafety::ReadOnly,
                ErrorClass::Permanent => false,
            };
            drop(connection);
            if !is_safe || !self.should_retry(class) {
                return Err(AttemptError::Failed(error));
            }
        }
    }

    /// Whether the reply to an attempt was lost.
    pub(crate) fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// Waits a moment, if there is time for another attempt.
    pub(crate) fn should_retry(&mut self, class: ErrorClass) -> bool {
        let is_first_loss = class == ErrorClass::ConnectionLost && !self.has_lost;
        self.has_lost |= class == ErrorClass::ConnectionLost;
        let pause = if is_first_loss {
            Duration::ZERO
        } else {
            self.pauses.next().unwrap_or(Duration::from_millis(200))
        };
        // Who has lost a deadlock gets through by trying: a server rolls back the one that has written
        // less, so a deletion of many sessions that are written all the time loses nearly each.
        let pause =
            if class == ErrorClass::Contention { pause.min(MAX_CONTENTION_PAUSE) } else { pause };
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        thread::sleep(pause);
        true
    }

    fn checkout(&self) -> Result<PooledConnection<MysqlConnectionManager>, Error> {
        let started = Instant::now();
        let left = self.deadline.saturating_duration_since(started);
        checkout(self.pool, left.min(self.pool.connection_timeout())).map_err(|error| {
            // The pool tries again by and by, so the failure may be from before.
            match self.servers.failure_since(started.checked_sub(self.pool.connection_timeout())) {
                Some(failure) => Error::Unreachable { source: failure.into() },
                None => error,
            }
        })
    }
}

/// Takes a connection from the pool.
///
/// # Errors
/// [`Error::Unreachable`] where there is none at all, else [`Error::PoolExhausted`].
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
