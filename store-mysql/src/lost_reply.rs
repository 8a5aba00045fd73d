//! What a lost reply means for a write that mustn't be made twice.
//!
//! If a connection is lost after the statement that makes a write permanent was sent, the server
//! may have done the write or not. Then the session is read. If it is as it was before, the write
//! is made again; otherwise the operation returns the error, and the caller knows that the outcome
//! is unknown. A writer can't recognise its own write: another request may have written the same.

use mysql::Result as DriverResult;
use store_core::Error;

use crate::connection::{Connection, End};
use crate::error::ErrorClass;
use crate::retry::{Retry, RetrySafety};
use crate::shared::Shared;

/// The server's answer: whether the write was done, or why it can't be.
pub(crate) type WriteResult = Result<bool, Error>;

/// How far an attempt has come.
#[derive(Default)]
pub(crate) struct Progress {
    /// Whether the statement that makes the write permanent has been sent.
    is_final_sent: bool,
}

impl Progress {
    /// What is sent next makes the write permanent: a statement by itself, or COMMIT.
    pub(crate) fn begin_final_statement(&mut self) {
        self.is_final_sent = true;
    }

    /// The server has answered that the final statement did nothing.
    pub(crate) fn reset(&mut self) {
        self.is_final_sent = false;
    }

    /// A transaction ends as the write in it did.
    fn end(&mut self, answer: WriteResult) -> End<WriteResult> {
        if matches!(answer, Ok(true)) {
            self.begin_final_statement();
            End::Commit(answer)
        } else {
            End::Rollback(answer)
        }
    }
}

impl Connection {
    /// Runs a write in a transaction, which is committed if the write was done.
    pub(crate) fn write(
        &mut self,
        progress: &mut Progress,
        operation: impl FnOnce(&mut Self) -> DriverResult<WriteResult>,
    ) -> DriverResult<WriteResult> {
        self.transact(|connection| Ok(progress.end(operation(connection)?)))
    }

    /// As [`write`](Self::write), in a transaction that locks no gaps.
    pub(crate) fn write_without_gaps(
        &mut self,
        progress: &mut Progress,
        operation: impl FnOnce(&mut Self) -> DriverResult<WriteResult>,
    ) -> DriverResult<WriteResult> {
        self.transact_without_gaps(|connection| Ok(progress.end(operation(connection)?)))
    }
}

impl Shared {
    /// Makes attempts at a write that mustn't be made twice, until its outcome is known, or known
    /// to be unknown.
    ///
    /// `is_unchanged` reads whether the session still is as the write expects it.
    ///
    /// # Errors
    /// The server's refusal, and faults of the system. After a lost connection and after a timeout
    /// it is unknown whether the write was done.
    pub(crate) fn write(
        &self,
        mut attempt: impl FnMut(&mut Connection, &mut Progress) -> DriverResult<WriteResult>,
        mut is_unchanged: impl FnMut(&mut Retry<'_>) -> Result<bool, Error>,
    ) -> WriteResult {
        let mut retry = self.retry();
        // The error of the last attempt that may have done the write without an answer.
        let mut unanswered = None;
        loop {
            let mut progress = Progress::default();
            let answer = retry.run(RetrySafety::VerifyFirst, |connection| {
                progress = Progress::default();
                attempt(connection, &mut progress)
            });
            let lost = match answer {
                // This attempt found the session as the write expects it, and has done the write.
                Ok(Ok(true)) => return Ok(true),
                Ok(answer) => {
                    return match unanswered {
                        // Every attempt was answered, or rolled back: nothing has been done.
                        None => answer,
                        // An earlier attempt or another request has changed the session. Nothing
                        // tells which.
                        Some(lost) => Err(self.explain(lost)),
                    };
                }
                Err(error) if error.is_connection_lost() => error,
                // This attempt has done nothing, and an earlier one may still do the write, whose
                // lock this one has waited for.
                Err(error) => return Err(self.explain(unanswered.unwrap_or(error))),
            };
            if !retry.should_retry(ErrorClass::ConnectionLost) {
                return Err(self.explain(lost));
            }
            if !progress.is_final_sent {
                // The server rolls back a transaction whose connection is lost before COMMIT, so
                // this attempt has done nothing. The next one is as safe as this one was.
                continue;
            }
            // The server may have done the write. If the session has changed, this attempt or
            // another request has changed it. Nothing tells which, nor if it can't be read.
            if !matches!(is_unchanged(&mut retry), Ok(true)) {
                return Err(self.explain(lost));
            }
            // The attempt has done nothing so far. If it is still under way and comes first, the
            // next one waits for its lock and finds the session changed. If the next one comes
            // first, the lost one finds the session changed. So at most one of them is done, or
            // both write what was there before.
            unanswered = Some(lost);
        }
    }
}
