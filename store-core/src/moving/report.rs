//! What was moved.

/// What [`MovingStore::move_all`](crate::MovingStore::move_all) has done so far.
///
/// # Examples
/// ```
/// use store_core::{MemoryStore, MovingStore};
///
/// let store = MovingStore::moving(MemoryStore::new()?, MemoryStore::new()?);
/// let report = store.move_all(&mut |report| println!("{} moved", report.moved))?;
/// assert_eq!((report.moved, report.refused), (0, 0));
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoveReport {
    /// Sessions that are in the new store now.
    pub moved: u64,
    /// Sessions that the new store refuses, and that stay in the old one until they end.
    pub refused: u64,
}
