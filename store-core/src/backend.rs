//! What the authors of stores share; applications need nothing of it.
//!
//! - [`CleanupThread`] runs a store's closure that removes one [`Batch`] of expired sessions, and
//!   [`delete_in_batches`] does the same on the caller's thread.
//! - [`GroupCommit`] joins the writes of concurrent threads into one transaction; an [`Operation`]
//!   is such a write.
//! - [`BackgroundThread`] is a thread that ends when it is told to, whatever a store needs it for.
//! - [`OwnerProcess`] tells a store that its process was forked, and [`OpenStore`] keeps such a
//!   process from opening another.
//! - [`SubjectCounts`] keeps the subjects that have the most sessions, for a store's statistics.
//! - [`NewFile`] is a file that gets its name once it is complete, as a backup.
//! - [`TableName`] is a name that can stand in a statement.
//! - [`record_pool_wait`] records how long a connection was waited for.

mod cleanup;

mod process;

mod thread;

mod group_commit;

mod operation;

mod table_name;

mod subject_counts;

mod new_file;

pub(crate) mod pool_wait;

mod lock;

pub use cleanup::{Batch, CleanupThread, delete_in_batches};
pub use group_commit::{GroupCommit, SubmitError};
pub use new_file::NewFile;
pub use operation::Operation;
pub use pool_wait::record_pool_wait;
pub use process::{OpenStore, OwnerProcess};
pub use subject_counts::SubjectCounts;
pub use table_name::TableName;
pub use thread::{BackgroundThread, StopSignal};
