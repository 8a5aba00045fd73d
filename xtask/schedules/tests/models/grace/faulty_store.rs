//! A memory store in which one thing may be wrong, to see that it is found.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use store_core::{
    Change, CleanupStatistics, Error, Loaded, MemoryStore, OwnedRecord, Record, Store,
};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// An update doesn't ask whether the session is as it was read.
    UpdateIgnoresCurrent,
    /// A logout with a token from before a rotation ends nothing.
    DeleteForgetsRotations,
    /// Every token from before opens the session for the grace.
    OldTokensAlwaysOpen,
    /// A token from before names nothing, not even in the grace.
    LoadForgetsRotations,
}

pub(crate) struct FaultyStore {
    pub(crate) inner: MemoryStore,
    pub(crate) fault: Fault,
}

impl Store for FaultyStore {
    fn load(&self, token: &str) -> Result<Loaded, Error> {
        Ok(match (self.inner.load(token)?, self.fault) {
            (Loaded::Rotated { token, .. }, Fault::OldTokensAlwaysOpen) => {
                Loaded::Rotated { token, opens: true }
            }
            (Loaded::Rotated { .. }, Fault::LoadForgetsRotations) => Loaded::Missing,
            (loaded, _) => loaded,
        })
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.inner.commit(token, data, expiry)
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        self.inner.create_with(token, change)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        if self.fault == Fault::UpdateIgnoresCurrent
            && let Some(current) = self.inner.find(token)?
        {
            return self.inner.update(token, &current, change);
        }
        self.inner.update(token, current, change)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        self.inner.touch(token, expiry)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        if self.fault == Fault::DeleteForgetsRotations && self.inner.find(token)?.is_none() {
            return Ok(());
        }
        self.inner.delete(token)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.inner.find_by_subject(subject)
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.inner.subject_of(token)
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.inner.delete_by_subject(subject, except)
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.inner.delete_all()
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        self.inner.delete_expired()
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.inner.for_each(visit)
    }

    fn count(&self) -> Result<u64, Error> {
        self.inner.count()
    }

    fn now(&self) -> DateTime<Utc> {
        self.inner.now()
    }

    fn stop_cleanup(&self) {
        self.inner.stop_cleanup();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.inner.cleanup_statistics()
    }
}
