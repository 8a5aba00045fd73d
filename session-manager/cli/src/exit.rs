//! How a command ends.

use std::process::ExitCode;

/// How a command ended that didn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// There is something that a person should look at; what it is stands on standard error.
    Attention,
    /// Nobody has confirmed it, so nothing was done.
    Unconfirmed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // `arguments::EXIT_CODES` tells them.
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Attention => 3,
            Exit::Unconfirmed => 4,
        })
    }
}
