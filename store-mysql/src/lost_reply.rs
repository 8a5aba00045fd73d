//! Writes whose reply may be lost, and what became of them.

use mysql::Result as DriverResult;
use store_core::Error;

use crate::connection::{Connection, End};
use crate::error::ErrorClass;
use crate::retry::{Retry, RetrySafety};
use crate::shared::Shared;

/// What the server answered: whether the write was done, or why it can't be.
pub(crate) type WriteResult = Result<bool, Error>;

/// How far an attempt has come.
#[derive(Default)]
pub(crate) struct Progress {
    /// Whether the statement that makes the write permanent has been sent.
    is_sent: bool,
}

impl Progress {
    /// What is sent next makes the write permanent: a statement by itself, or COMMIT.
    pub(crate) fn begin_final_statement(&mut self) {
        self.is_sent = true;
    }

    /// The server has answered that it did nothing.
    pub(crate) fn reset(&mut self) {
        self.is_sent = false;
    }
}

impl Connection {
    /// Runs a write in a transaction, which is committed if it was done.
    pub(crate) fn write(
        &mut self,
        progress: &mut Progress,
        operation: impl FnOnce(&mut Self) -> DriverResult<WriteResult>,
    ) -> DriverResult<WriteResult> {
        self.transact(|connection| {
            let answer = operation(connection)?;
            if matches!(answer, Ok(true)) {
                progress.begin_final_statement();
                Ok(End::Commit(answer))
            } else {
                Ok(End::Rollback(answer))
            }
        })
    }
}

impl Shared {
    /// Makes attempts at a write that mustn't be made twice, until what became of it is known, or
    /// can't be.
    ///
    /// `is_unchanged` reads whether the session is as it must be for the write to be made.
    ///
    /// # Errors
    /// What the server refused, and faults of the system; then it is unknown whether the write was
    /// done if the connection was lost or no reply came.
    pub(crate) fn write(
        &self,
        mut attempt: impl FnMut(&mut Connection, &mut Progress) -> DriverResult<WriteResult>,
        mut is_unchanged: impl FnMut(&mut Retry<'_>) -> Result<bool, Error>,
    ) -> WriteResult {
        let mut retry = self.retry();
        // The last attempt of which the server may have done the write without an answer.
        let mut unanswered = None;
        loop {
            let mut progress = Progress::default();
            let answer = retry.run(RetrySafety::VerifyFirst, |connection| {
                progress = Progress::default();
                attempt(connection, &mut progress)
            });
            let lost = match answer {
                // The write is done. An earlier attempt that wasn't answered is not: this one has
                // found the session as it was before.
                Ok(Ok(true)) => return Ok(true),
                Ok(answer) => {
                    return match unanswered {
                        // Every attempt was answered, or rolled back: nothing has been done.
                        None => answer,
                        // What has changed the session is the attempt that wasn't answered, or
                        // another request: nothing tells which.
                        Some(lost) => Err(self.explain(lost)),
                    };
                }
                Err(ended) if !ended.is_lost() => return Err(self.explain(ended)),
                Err(lost) => lost,
            };
            if !retry.should_retry(ErrorClass::ConnectionLost) {
                return Err(self.explain(lost));
            }
            if !progress.is_sent {
                // The server rolls back a transaction whose connection is lost, so this attempt has
                // done nothing, and the next one is as safe as this one was.
                continue;
            }
            // The server may have done the write. If the session has changed, this attempt or
            // another request did that: nothing tells which.
            if !is_unchanged(&mut retry)? {
                return Err(self.explain(lost));
            }
            // It has done nothing so far. If it is still under way, it has the row locked, and the
            // next attempt waits for it and finds the session changed; or it gets to the row after
            // the next attempt, and itself finds the session changed.
            unanswered = Some(lost);
        }
    }
}
