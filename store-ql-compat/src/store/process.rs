//! The process that made a store, and what other processes do with it.
//!
//! A fork, as of a program that becomes a daemon, copies a store into a process that has neither
//! its threads nor those that held its locks at the time. The copy shares the file and its lock
//! with the original, so the only thing to do with it is nothing.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use store_core::Error;

/// The process that made a store.
pub(super) struct Owner(AtomicU32);

impl Owner {
    pub(super) fn this_process() -> Self {
        Self(AtomicU32::new(process::id()))
    }

    /// Whether this process is another one, to which a fork has copied the store.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.0.load(Ordering::Relaxed) != process::id()
    }

    /// Fails in another process.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.is_elsewhere() { Err(Error::Forked) } else { Ok(()) }
    }

    /// Makes this process another one.
    #[cfg(test)]
    pub(super) fn pretend_fork(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use chrono::{DateTime, Utc};
    use store_core::{CleanupOptions, Store};

    use super::*;
    use crate::{Durability, QlOptions};

    #[test]
    fn store_says_that_it_was_forked_and_touches_nothing() -> Result<(), Error> {
        let directory = tempfile::tempdir().map_err(Error::backend)?;
        let path = directory.path().join("sessions.redb");
        let hour = Duration::from_secs(3_600);
        let options = || {
            QlOptions::new()
                .with_cleanup(CleanupOptions::new().with_interval(hour))
                .with_durability(Durability::Relaxed(hour))
        };
        let store = options().open(&path)?;
        store.commit("token", b"data", DateTime::<Utc>::MAX_UTC)?;
        let is_flushed_later = Arc::clone(&store.shared.is_flushed_later);
        let before = std::fs::read(&path).map_err(Error::backend)?;

        store.shared.engine.owner.pretend_fork();
        let outcomes = [
            store.find("token").map(drop),
            store.load("token").map(drop),
            store.commit("token", b"new", DateTime::<Utc>::MAX_UTC),
            store.delete("token"),
            store.count().map(drop),
            store.all().map(drop),
            store.find_by_subject("one").map(drop),
            store.delete_expired().map(drop),
            store.compact().map(drop),
        ];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(Error::Forked)), "{outcome:?}");
        }
        store.stop_cleanup();
        drop(store);
        // The threads are those of the parent, and the lock and the file, too.
        assert!(
            is_flushed_later.load(Ordering::Relaxed),
            "it would wait for threads that aren't here"
        );
        assert!(matches!(options().open(&path), Err(Error::InUse { .. })));
        assert!(std::fs::read(&path).map_err(Error::backend)? == before, "it was written to");
        Ok(())
    }
}
