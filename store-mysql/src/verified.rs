//! Writes whose reply may be lost, and what became of them.

use mysql::Result as DriverResult;
use store_core::Error;

use crate::attempts::{Attempts, Repetition};
use crate::backend::Backend;
use crate::connection::{Connection, End};
use crate::fault::Outcome;

/// What the server answered: whether the write was done, or why it can't be.
pub(crate) type Answer = Result<bool, Error>;

/// What a look at the session shows of a write whose reply was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Done,
    NotDone,
    /// Others have written since, so it can't be known any more.
    Hidden,
}

/// How far an attempt has come.
#[derive(Default)]
pub(crate) struct Progress {
    /// Whether the statement that makes the write permanent has been sent.
    is_sent: bool,
}

impl Progress {
    /// What is sent next makes the write permanent: a statement by itself, or COMMIT.
    pub(crate) fn sends_the_last(&mut self) {
        self.is_sent = true;
    }

    /// The server has answered that it did nothing.
    pub(crate) fn is_refused(&mut self) {
        self.is_sent = false;
    }
}

impl Connection {
    /// Runs a write in a transaction, which is committed if it was done.
    pub(crate) fn write(
        &mut self,
        progress: &mut Progress,
        operation: impl FnOnce(&mut Self) -> DriverResult<Answer>,
    ) -> DriverResult<Answer> {
        self.transact(|connection| {
            let answer = operation(connection)?;
            if matches!(answer, Ok(true)) {
                progress.sends_the_last();
                Ok(End::Commit(answer))
            } else {
                Ok(End::Rollback(answer))
            }
        })
    }
}

impl Backend {
    /// Makes attempts at a write that mustn't be made twice, until what became of it is known.
    ///
    /// # Errors
    /// What the server refused, and faults of the system; then it is unknown whether the write was
    /// done if the connection was lost or no reply came.
    pub(crate) fn write(
        &self,
        mut attempt: impl FnMut(&mut Connection, &mut Progress) -> DriverResult<Answer>,
        mut look: impl FnMut(&mut Attempts<'_>) -> Result<Seen, Error>,
    ) -> Answer {
        let mut attempts = self.attempts();
        // Why it isn't known what became of an earlier attempt.
        let mut unknown = None;
        loop {
            let mut progress = Progress::default();
            let answer = attempts.run(Repetition::AfterALook, |connection| {
                progress = Progress::default();
                attempt(connection, &mut progress)
            });
            let (ended, may_repeat) = match (answer, unknown.take()) {
                (Ok(Ok(true)), _) => return Ok(true),
                (Ok(answer), None) => return answer,
                // The attempt that was lost may have been what has changed the session meanwhile.
                (Ok(_), Some(ended)) => (ended, false),
                // The server rolls back a transaction whose connection is lost.
                (Err(ended), before) if ended.is_lost() && !progress.is_sent => {
                    if !attempts.may_go_on(Outcome::Lost) {
                        return Err(self.explain(ended));
                    }
                    unknown = before;
                    continue;
                }
                (Err(ended), _) if ended.is_lost() => (ended, attempts.may_go_on(Outcome::Lost)),
                (Err(ended), _) => return Err(self.explain(ended)),
            };
            match look(&mut attempts)? {
                Seen::Done => return Ok(true),
                // If the lost attempt is still under way, it has the row locked, and the next one
                // waits for it, finds other data, and looks again.
                Seen::NotDone if may_repeat => unknown = Some(ended),
                Seen::NotDone | Seen::Hidden => return Err(self.explain(ended)),
            }
        }
    }
}
