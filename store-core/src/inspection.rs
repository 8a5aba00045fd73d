//! What a store's database and its table are like.

use chrono::{DateTime, TimeDelta, Utc};

use crate::Limits;

/// What the `inspect` of the stores' options finds: a table in which sessions can be kept, and what
/// an operator wants to know of it. One that can't keep sessions is an [`Error`](crate::Error).
///
/// # Examples
/// ```
/// use chrono::{DateTime, TimeDelta, Utc};
/// use store_core::{Inspection, Limits};
///
/// let mut found = Inspection::new("SQLite 3.50.4", Limits::DEFAULT, DateTime::<Utc>::MAX_UTC);
/// found.has_expiry_index = Some(false);
/// assert_eq!(found.clock_offset, None, "it goes by the clock of this process");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The engine, its version, and what else matters of it, to be shown.
    pub engine: String,
    /// The largest token and data that the store takes, in bytes.
    pub limits: Limits,
    /// The latest expiry that the store takes.
    pub latest_expiry: DateTime<Utc>,
    /// Whether the table has an index on expiry. `None` where the engine needs none.
    pub has_expiry_index: Option<bool>,
    /// Whether there is an index of subjects.
    pub has_subjects: bool,
    /// Whether there are records of rotations.
    pub has_rotations: bool,
    /// How far the clock of the server is ahead of this process's; negative if it is behind. `None`
    /// where the process's own clock decides what is live.
    pub clock_offset: Option<TimeDelta>,
}

impl Inspection {
    /// An inspection that found the tables next to that of the sessions; stores call this.
    ///
    /// # Examples
    /// ```
    /// use chrono::{DateTime, Utc};
    /// use store_core::{Inspection, Limits};
    ///
    /// let found = Inspection::new("redb", Limits::DEFAULT, DateTime::<Utc>::MAX_UTC);
    /// assert!(found.has_subjects && found.has_rotations);
    /// ```
    #[must_use]
    pub fn new(engine: impl Into<String>, limits: Limits, latest_expiry: DateTime<Utc>) -> Self {
        Self {
            engine: engine.into(),
            limits,
            latest_expiry,
            has_expiry_index: None,
            has_subjects: true,
            has_rotations: true,
            clock_offset: None,
        }
    }
}
