//! A table's name, checked.

use std::fmt;

use crate::Error;

/// The name of a table of sessions, which needs nothing but quotes to stand in a statement.
///
/// It has 1 to 40 ASCII letters, digits and underscores and doesn't begin with a digit or with
/// `sqlite_`. The rule is the same for all stores, so that a name which is good for one is good for
/// each, and leaves room for what the names of side tables and indexes append to it: MySQL's names
/// have at most 64 characters.
///
/// # Examples
/// ```
/// use store_core::Error;
/// use store_core::backend::TableName;
///
/// let name = TableName::new("web_sessions")?;
/// assert_eq!(format!("\"{name}_subjects\""), "\"web_sessions_subjects\"");
/// assert!(matches!(TableName::new("a b"), Err(Error::InvalidOption { .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName(String);

impl TableName {
    /// The most characters of a name.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::TableName;
    ///
    /// assert!(TableName::new("x".repeat(TableName::MAX_LEN)).is_ok());
    /// ```
    pub const MAX_LEN: usize = 40;

    /// Checks a name.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], which says what is wrong with it.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::TableName;
    ///
    /// assert!(TableName::new("sessions").is_ok());
    /// assert!(TableName::new("sessions; DROP TABLE users").is_err());
    /// ```
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let problem = if name.is_empty() || name.len() > Self::MAX_LEN {
            format!("a table name has 1 to {} characters, this one {}", Self::MAX_LEN, name.len())
        } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            format!("{name:?} has other characters than ASCII letters, digits and underscores")
        } else if name.as_bytes()[0].is_ascii_digit() {
            format!("{name:?} begins with a digit")
        } else if format!("{name}_").to_ascii_lowercase().starts_with("sqlite_") {
            format!("{name:?} is reserved: SQLite's own tables begin with sqlite_")
        } else {
            return Ok(Self(name));
        };
        Err(Error::InvalidOption { option: "table name", problem })
    }

    /// Returns the name as a string slice.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::TableName;
    ///
    /// assert_eq!(TableName::new("sessions")?.as_str(), "sessions");
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["sessions", "Sessions_2", "_s", "order", &"x".repeat(40)] {
            let table = TableName::new(name).expect("it is right");
            assert_eq!((table.as_str(), &*table.to_string()), (name, name));
        }
        for name in [
            "",
            "2s",
            "42",
            "a b",
            "a\"b",
            "a`b",
            "a-b",
            "a;--",
            "main.sessions",
            "séance",
            "sqlite_x",
            "SQLite_x",
            // Those of its side tables and indexes would begin like that.
            "sqlite",
            &"x".repeat(41),
        ] {
            let refused = TableName::new(name);
            assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{name}: {refused:?}");
        }
    }
}
