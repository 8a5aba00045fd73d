//! Sessions that are sealed in the store.

#[path = "../counting_store/mod.rs"]
mod counting_store;

/// Makes a test of each claim of every store, on sealed sessions with hashed subjects in memory.
macro_rules! on_every_store {
    ($($claim:ident)*) => {
        mod sealed {
            $(#[test]
            fn $claim() -> crate::TestResult {
                super::$claim(&crate::memory())
            })*
        }
    };
}

#[path = "../every_store/fixture.rs"]
mod fixture;

#[path = "../every_store/overlaps.rs"]
mod overlaps;

#[path = "../every_store/races.rs"]
mod races;

#[path = "../every_store/subjects.rs"]
mod subjects;

#[path = "../every_store/limits.rs"]
mod limits;

mod keys;

mod rows;

mod places;

mod rotation;

mod turning_on;

mod unopened;

mod hashed_subjects;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use session_manager::{Error, EventKind, Json, KeyRing, Sealed, SecretKey, SessionManager};
use store_core::{CleanupOptions, MemoryOptions, Store};

type TestResult = Result<(), Error>;

/// What is tested.
type Manager = SessionManager<Sealed<Json>>;
type Session<'m> = session_manager::Session<'m, Sealed<Json>>;

/// The manager with the key 1, which seals.
fn manager(store: impl Store + 'static) -> Manager {
    manager_with(store, Sealed::new(Json, keys(&[1])))
}

fn manager_with(store: impl Store + 'static, codec: Sealed<Json>) -> Manager {
    SessionManager::new(store).with_hashed_subjects(secret(100)).with_codec(codec)
}

fn memory() -> Arc<dyn Store> {
    let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
    Arc::new(options.build().expect("no thread is needed"))
}

/// The key with an id.
fn secret(id: u8) -> SecretKey {
    SecretKey::from_bytes(&[id; 32]).expect("it has the length of one")
}

/// The ring of the keys with these ids, of which the first one seals.
fn keys(ids: &[u8]) -> KeyRing {
    let [first, others @ ..] = ids else { panic!("a ring has a key") };
    let ring = KeyRing::new((*first).into(), secret(*first));
    let add = |ring: KeyRing, id: &u8| ring.with_key((*id).into(), secret(*id));
    others.iter().try_fold(ring, add).expect("each is there once")
}

fn rows(store: &dyn Store) -> HashMap<String, Vec<u8>> {
    store.all().expect("a walk in memory succeeds")
}

/// The one row of the store.
fn row(store: &dyn Store) -> (String, Vec<u8>) {
    let rows = rows(store);
    assert_eq!(rows.len(), 1);
    rows.into_iter().next().expect("there is one")
}

/// The id of the key with which a row is sealed.
fn key_id(data: &[u8]) -> u8 {
    assert_eq!(data[..5], [0xC1, 1, 0, 0, 0], "it is sealed");
    data[5]
}

/// What a manager reports.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<EventKind>>>);

impl Events {
    fn of(sessions: Manager) -> (Manager, Self) {
        let events = Self::default();
        let own = events.clone();
        let hook = move |event: &session_manager::Event| {
            own.0.lock().expect("nobody panics with it").push(event.kind.clone());
        };
        (sessions.with_event_hook(hook), events)
    }

    /// What was reported since the last call.
    fn take(&self) -> Vec<EventKind> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
    }
}
