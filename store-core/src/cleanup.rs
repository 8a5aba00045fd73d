//! What applications see of the cleanup of expired sessions; its thread is in `backend`.

mod options;

mod failure;

mod statistics;

mod manual;

pub use failure::CleanupFailure;
pub use manual::ManualCleanup;
pub(crate) use manual::{ManualSchedule, Step};
pub use options::CleanupOptions;
pub(crate) use options::{FailureHook, Schedule};
pub use statistics::{CleanupStatistics, LastRun};
