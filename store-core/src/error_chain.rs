//! An error and what caused it, in one line.

use std::error::Error;
use std::fmt;

/// Displays an error followed by its causes, as logs want it: `session storage failed: database or
/// disk is full`.
///
/// Like the unstable
/// [`std::error::Report`](https://doc.rust-lang.org/std/error/struct.Report.html), in one line.
///
/// # Examples
/// ```
/// use store_core::{Error, ErrorChain};
///
/// let error = Error::Unreachable { source: "connection refused".into() };
/// assert_eq!(ErrorChain(&error).to_string(), format!("{error}: connection refused"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
