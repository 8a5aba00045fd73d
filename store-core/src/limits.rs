//! The largest token, data and subject, and the checks that refuse more before it is written.

use crate::{Error, TokenProblem};

/// The longest subject, in bytes: what fits into an index of every database of the family.
///
/// # Examples
/// ```
/// use store_core::{Limits, MAX_SUBJECT_LEN};
///
/// assert!(Limits::check_subject(&"x".repeat(MAX_SUBJECT_LEN)).is_ok());
/// ```
pub const MAX_SUBJECT_LEN: usize = 255;

/// The largest token and data that a store takes.
///
/// Stores check these before anything reaches the database, so that nothing is ever truncated.
///
/// # Examples
/// ```
/// use store_core::{Error, Limits};
///
/// let limits = Limits { max_token_len: 43, max_data_len: 65_535 };
/// assert!(matches!(
///     limits.check_data(&[0; 65_536]),
///     Err(Error::DataTooLarge { len: 65_536, max: 65_535 })
/// ));
/// limits.check_token("token")?;
/// Limits::check_subject("user 7")?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest token, in bytes.
    pub max_token_len: usize,
    /// Largest data, in bytes.
    pub max_data_len: usize,
}

impl Limits {
    /// 255 bytes of token (the manager's have 43) and 16 MiB − 1 byte of data, which is what
    /// MySQL's `MEDIUMBLOB` holds: within these, sessions can move between all stores of the
    /// family.
    ///
    /// # Examples
    /// ```
    /// use store_core::Limits;
    ///
    /// assert_eq!(Limits::default(), Limits::DEFAULT);
    /// ```
    pub const DEFAULT: Self = Self { max_token_len: 255, max_data_len: 16 * 1024 * 1024 - 1 };

    /// Refuses an empty token and one that is too long.
    ///
    /// # Errors
    /// [`Error::InvalidToken`], which tells the length and not the token.
    ///
    /// # Examples
    /// ```
    /// use store_core::{Error, Limits, TokenProblem};
    ///
    /// let refused = Limits::DEFAULT.check_token("");
    /// assert!(matches!(refused, Err(Error::InvalidToken(TokenProblem::Empty))));
    /// ```
    pub fn check_token(&self, token: &str) -> Result<(), Error> {
        match token.len() {
            0 => Err(Error::InvalidToken(TokenProblem::Empty)),
            len if len > self.max_token_len => {
                Err(Error::InvalidToken(TokenProblem::TooLong { len, max: self.max_token_len }))
            }
            _ => Ok(()),
        }
    }

    /// Refuses data over the limit.
    ///
    /// # Errors
    /// [`Error::DataTooLarge`], with both sizes.
    ///
    /// # Examples
    /// ```
    /// use store_core::Limits;
    ///
    /// let limits = Limits { max_token_len: 43, max_data_len: 4 };
    /// assert!(limits.check_data(b"data").is_ok());
    /// assert!(limits.check_data(b"bytes").is_err());
    /// ```
    pub fn check_data(&self, data: &[u8]) -> Result<(), Error> {
        if data.len() > self.max_data_len {
            return Err(Error::DataTooLarge { len: data.len(), max: self.max_data_len });
        }
        Ok(())
    }

    /// Refuses a subject that is empty or longer than [`MAX_SUBJECT_LEN`], which is the same for
    /// all stores.
    ///
    /// # Errors
    /// [`Error::InvalidSubject`], with the length.
    ///
    /// # Examples
    /// ```
    /// use store_core::{Error, Limits};
    ///
    /// assert!(matches!(Limits::check_subject(""), Err(Error::InvalidSubject { len: 0, .. })));
    /// ```
    pub fn check_subject(subject: &str) -> Result<(), Error> {
        match subject.len() {
            1..=MAX_SUBJECT_LEN => Ok(()),
            len => Err(Error::InvalidSubject { len, max: MAX_SUBJECT_LEN }),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_default_limits_allow_fits_into_every_store() {
        const MEDIUMBLOB: usize = 16_777_215;
        assert_eq!(Limits::DEFAULT, Limits { max_token_len: 255, max_data_len: MEDIUMBLOB });
    }
}
