//! Which attempts at an operation are made again, and for how long.
//!
//! A failed attempt is made again if the class of its error and the operation's [`RetrySafety`]
//! together prove that this can't do harm, and if there is time left. Writes that mustn't be made
//! twice are verified first; see [`lost_reply`](crate::lost_reply).

use std::mem;
use std::thread;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use mysql::{Error as DriverError, Result as DriverResult};
use r2d2::{Pool, PooledConnection};
use store_core::Error;
use store_core::backend::{OwnerProcess, record_pool_wait};

use crate::connection::Connection;
use crate::error::{self, ErrorClass};
use crate::manager::MysqlConnectionManager;
use crate::pool::no_connection;
use crate::servers::Servers;

/// The bounds of the wait between two attempts.
const MIN_BACKOFF: Duration = Duration::from_millis(2);
const MAX_BACKOFF: Duration = Duration::from_millis(200);

/// The longest wait after a deadlock, which is over when it is reported.
const MAX_CONTENTION_BACKOFF: Duration = Duration::from_millis(20);

/// How often an operation that waits for a connection looks whether servers are away.
const OUTAGE_INTERVAL: Duration = Duration::from_millis(100);

/// What makes it safe to repeat an attempt whose outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetrySafety {
    /// It changes nothing, so it can always be repeated.
    ReadOnly,
    /// Doing it twice is the same as doing it once, if no other write comes between the two. So it
    /// is repeated after a lost connection, but not after a timeout: the first attempt may still be
    /// under way on a slow server, and take effect after the writes of others.
    ///
    /// The server ends the statement of a connection that it has lost. If only a device between the
    /// two has cut the connection, the statement goes on and holds the row's lock, for which the
    /// repeated one waits.
    Idempotent,
    /// The caller has to verify first that the attempt has had no effect.
    VerifyFirst,
}

/// Why an operation has failed.
pub(crate) enum AttemptError {
    /// The last attempt failed with this error.
    Failed(DriverError),
    /// There was no connection for another attempt.
    NoConnection(Error),
}

impl AttemptError {
    /// Whether the outcome of the last attempt is unknown because its connection was lost.
    pub(crate) fn is_connection_lost(&self) -> bool {
        matches!(self, Self::Failed(error) if error::classify(error) == ErrorClass::ConnectionLost)
    }
}

/// The attempts at one operation.
pub(crate) struct Retry<'a> {
    pool: &'a Pool<MysqlConnectionManager>,
    servers: &'a Servers,
    owner: OwnerProcess,
    deadline: Instant,
    timeouts: PoolTimeouts,
    backoff: backon::ExponentialBackoff,
    has_lost_connection: bool,
    /// Whether a server has refused to write because it is read-only.
    was_read_only: bool,
}

/// How long operations wait for connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolTimeouts {
    /// How long at most.
    pub(crate) checkout: Duration,
    /// How long while no server takes a connection, from the beginning of that on.
    pub(crate) outage: Duration,
}

impl<'a> Retry<'a> {
    /// No attempt begins after the timeout.
    pub(crate) fn new(
        pool: &'a Pool<MysqlConnectionManager>,
        servers: &'a Servers,
        owner: OwnerProcess,
        timeouts: PoolTimeouts,
        timeout: Duration,
    ) -> Self {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(MIN_BACKOFF)
            .with_max_delay(MAX_BACKOFF)
            .without_max_times()
            .with_jitter()
            .build();
        let deadline = Instant::now() + timeout;
        Self {
            pool,
            servers,
            owner,
            deadline,
            timeouts,
            backoff,
            has_lost_connection: false,
            was_read_only: false,
        }
    }

    /// Makes attempts until one succeeds, the time is over, or another one wouldn't be safe or
    /// useful.
    pub(crate) fn run<T>(
        &mut self,
        safety: RetrySafety,
        mut operation: impl FnMut(&mut Connection) -> DriverResult<T>,
    ) -> Result<T, AttemptError> {
        // The error of the last attempt that may have had its effect, or may still have it: another
        // one may have waited for its lock. So what the others say is not what has become of the
        // operation.
        let mut unanswered = None;
        loop {
            // Nothing of this attempt has been sent, and each earlier one had no effect or may be
            // repeated. So it is safe to begin an attempt, and to give up without a connection.
            let mut connection = match self.checkout() {
                Ok(connection) => connection,
                Err(error) => {
                    let no_connection = AttemptError::NoConnection(error);
                    return Err(unanswered.map_or(no_connection, AttemptError::Failed));
                }
            };
            let error = match connection.attempt(&mut operation) {
                // Everything that was sent has been answered.
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            // The connection knows by now whether it may be used again. It goes back before the
            // wait, so that the pool replaces it or hands it to another thread.
            drop(connection);
            let class = error::classify(&error);
            let is_safe = match class {
                // The server has answered that the attempt had no effect.
                ErrorClass::Contention | ErrorClass::Transient | ErrorClass::ServerUnavailable => {
                    true
                }
                // The attempt had no effect, and the next one would have none on the same server.
                // New connections go to another one, because this one's health is recorded as bad,
                // or because its name leads to another one since a failover.
                ErrorClass::ReadOnly => {
                    self.servers.has_alternatives() || !mem::replace(&mut self.was_read_only, true)
                }
                // The attempt has had its effect or has had none, and nobody knows which.
                ErrorClass::ConnectionLost => safety != RetrySafety::VerifyFirst,
                // The attempt may have its effect at any time from now on.
                ErrorClass::TimedOut => safety == RetrySafety::ReadOnly,
                // The attempt had no effect, and the next one would fail in the same way.
                ErrorClass::Permanent => false,
            };
            if !is_safe || !self.should_retry(class) {
                return Err(AttemptError::Failed(unanswered.unwrap_or(error)));
            }
            if class == ErrorClass::ConnectionLost && safety == RetrySafety::Idempotent {
                unanswered = Some(error);
            }
        }
    }

    /// Whether an attempt's connection was lost, so that the attempt's outcome is unknown.
    pub(crate) fn has_lost_connection(&self) -> bool {
        self.has_lost_connection
    }

    /// Waits before the next attempt after a failure of this class. Returns `false` at once if the
    /// deadline leaves no time for it.
    pub(crate) fn should_retry(&mut self, class: ErrorClass) -> bool {
        let is_first_loss = class == ErrorClass::ConnectionLost && !self.has_lost_connection;
        self.has_lost_connection |= class == ErrorClass::ConnectionLost;
        let backoff = if is_first_loss {
            // Usually the connection had been idle for too long, and the next one is good.
            Duration::ZERO
        } else {
            self.backoff.next().unwrap_or(MAX_BACKOFF)
        };
        let backoff = match class {
            // A server rolls back the transaction that has written less, so a deletion of many busy
            // sessions loses nearly every deadlock, and gets through by trying often.
            ErrorClass::Contention => backoff.min(MAX_CONTENTION_BACKOFF),
            _ => backoff,
        };
        if Instant::now() + backoff >= self.deadline {
            return false;
        }
        thread::sleep(backoff);
        true
    }

    /// Takes a connection from the pool within what is left of the time, and doesn't wait for
    /// servers that are away.
    fn checkout(&self) -> Result<PooledConnection<MysqlConnectionManager>, Error> {
        // Before the pool, whose locks other threads of the parent may have held.
        self.owner.check()?;
        let started = Instant::now();
        let connection = self.wait_for_connection(started);
        record_pool_wait(started);
        connection
    }

    fn wait_for_connection(
        &self,
        started: Instant,
    ) -> Result<PooledConnection<MysqlConnectionManager>, Error> {
        let deadline = self.deadline.min(started + self.timeouts.checkout);
        // A connection may be there even though no further one can be made.
        if let Some(connection) = self.pool.try_get() {
            return Ok(connection);
        }
        loop {
            if let Some(error) = self.servers.outage.refusal(self.timeouts.outage) {
                return Err(Error::Unreachable { source: error.into() });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.pool.get_timeout(left.min(OUTAGE_INTERVAL)) {
                Ok(connection) => return Ok(connection),
                Err(_) if left > OUTAGE_INTERVAL => {}
                Err(error) => {
                    // The pool connects at times of its own, so the failure may be from before.
                    let recently = started.checked_sub(self.timeouts.checkout);
                    return Err(match self.servers.outage.failure_since(recently) {
                        Some(failure) => Error::Unreachable { source: failure.into() },
                        None => no_connection(self.pool, started.elapsed(), error),
                    });
                }
            }
        }
    }
}
