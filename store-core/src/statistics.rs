//! What the sessions of a store come to.

/// How many sessions a store has, of how many subjects, as the `statistics` of the stores return
/// it.
///
/// # Examples
/// ```
/// use store_core::StoreStatistics;
///
/// let mut statistics = StoreStatistics::default();
/// statistics.live = 2;
/// statistics.bytes = 512;
/// println!("{} bytes a session", statistics.bytes / statistics.live.max(1));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStatistics {
    /// Live sessions.
    pub live: u64,
    /// Rows of sessions that have expired, and that no cleanup run has removed yet.
    pub expired: u64,
    /// The size of the data of the live sessions, in bytes.
    pub bytes: u64,
    /// Subjects that have live sessions. `None` where there is no index of subjects.
    pub subjects: Option<u64>,
    /// The subjects that have the most live sessions and how many, those with the most first, as
    /// many as were asked for.
    pub top_subjects: Vec<(String, u64)>,
}
