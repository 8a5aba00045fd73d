//! A store that asks a hook before and after each operation: to count, to fail, or to let others go
//! first.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use store_core::{Change, CleanupStatistics, Error, Loaded, OwnedRecord, Record, Store};

/// An operation of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Call {
    Load,
    Commit,
    Create,
    Update,
    Touch,
    Delete,
    FindBySubject,
    DeleteBySubject,
    DeleteAll,
    DeleteExpired,
    Walk,
    Count,
}

/// What a test does around the operations of a store.
pub(crate) trait Hook: Send + Sync {
    /// If it fails, the operation isn't done.
    fn before(&self, call: Call) -> Result<(), Error>;

    /// If it fails, the operation is done, and its answer lost.
    fn after(&self, _call: Call) -> Result<(), Error> {
        Ok(())
    }

    /// Whether an update answers that the session was another.
    fn refuses_updates(&self) -> bool {
        false
    }
}

pub(crate) struct HookedStore<S, H> {
    pub(crate) inner: S,
    pub(crate) hook: H,
}

impl<S: Store, H: Hook> HookedStore<S, H> {
    pub(crate) fn new(inner: S, hook: H) -> Self {
        Self { inner, hook }
    }

    fn call<T>(
        &self,
        call: Call,
        operation: impl FnOnce(&S) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.hook.before(call)?;
        let outcome = operation(&self.inner)?;
        self.hook.after(call)?;
        Ok(outcome)
    }
}

impl<S: fmt::Debug, H> fmt::Debug for HookedStore<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl<S: Store, H: Hook> Store for HookedStore<S, H> {
    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.call(Call::Load, |store| store.load(token))
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.call(Call::Commit, |store| store.commit(token, data, expiry))
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        self.call(Call::Create, |store| store.create_with(token, change))
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        self.call(Call::Update, |store| {
            if self.hook.refuses_updates() {
                return Ok(false);
            }
            store.update(token, current, change)
        })
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        self.call(Call::Touch, |store| store.touch(token, expiry))
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.call(Call::Delete, |store| store.delete(token))
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.call(Call::FindBySubject, |store| store.find_by_subject(subject))
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.call(Call::FindBySubject, |store| store.subject_of(token))
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.call(Call::DeleteBySubject, |store| store.delete_by_subject(subject, except))
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.call(Call::DeleteAll, Store::delete_all)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        self.call(Call::DeleteExpired, Store::delete_expired)
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.call(Call::Walk, |store| store.for_each(visit))
    }

    fn all(&self) -> Result<HashMap<String, Vec<u8>>, Error> {
        self.call(Call::Walk, Store::all)
    }

    fn count(&self) -> Result<u64, Error> {
        self.call(Call::Count, Store::count)
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
