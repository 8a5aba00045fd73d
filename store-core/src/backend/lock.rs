//! Locks that a panic doesn't close.

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock. Nothing that the locks of this crate's threads and writers guard can be left
/// half-changed by a panic, and no code of others runs while they are held.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
