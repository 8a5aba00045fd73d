//! What the session manager takes for one request, without the store's time.
//!
//! The store always has the session, and writes nothing. It counts: a request that reads costs one
//! find and no write, one that writes a find and a write.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use criterion::Criterion;
use session_manager::{Error, SessionManager};
use store_core::{Change, CleanupStatistics, Loaded, OwnedRecord, Record, Store};

/// One session, which stays as its first commit left it.
#[derive(Default)]
struct OneSession {
    stored: Mutex<Option<(Vec<u8>, DateTime<Utc>)>>,
    finds: AtomicUsize,
    writes: AtomicUsize,
}

impl OneSession {
    fn write(&self) -> bool {
        self.writes.fetch_add(1, Ordering::Relaxed);
        true
    }
}

impl Store for OneSession {
    fn load(&self, _: &str) -> Result<Loaded, store_core::Error> {
        self.finds.fetch_add(1, Ordering::Relaxed);
        let stored = self.stored.lock().expect("nobody panics with it").clone();
        Ok(stored.map_or(Loaded::Missing, |(data, expiry)| Loaded::Live { data, expiry }))
    }

    fn commit(&self, _: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), store_core::Error> {
        self.write();
        *self.stored.lock().expect("nobody panics with it") = Some((data.to_vec(), expiry));
        Ok(())
    }

    fn create(
        &self,
        token: &str,
        data: &[u8],
        expiry: DateTime<Utc>,
        _: Option<&str>,
    ) -> Result<(), store_core::Error> {
        self.commit(token, data, expiry)
    }

    fn update(&self, _: &str, _: &[u8], change: &Change<'_>) -> Result<bool, store_core::Error> {
        black_box(change);
        Ok(self.write())
    }

    fn touch(&self, _: &str, _: DateTime<Utc>) -> Result<bool, store_core::Error> {
        Ok(self.write())
    }

    fn delete(&self, _: &str) -> Result<(), store_core::Error> {
        self.write();
        Ok(())
    }

    fn find_by_subject(&self, _: &str) -> Result<Vec<OwnedRecord>, store_core::Error> {
        Ok(Vec::new())
    }

    fn delete_by_subject(&self, _: &str, _: Option<&str>) -> Result<u64, store_core::Error> {
        Ok(0)
    }

    fn delete_expired(&self) -> Result<u64, store_core::Error> {
        Ok(0)
    }

    fn for_each(
        &self,
        _: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), store_core::Error> {
        Ok(())
    }

    fn count(&self) -> Result<u64, store_core::Error> {
        Ok(1)
    }

    fn stop_cleanup(&self) {}

    fn cleanup_statistics(&self) -> CleanupStatistics {
        CleanupStatistics::default()
    }
}

/// A manager with a session of about 256 bytes, and the Cookie header that names it.
fn manager() -> Result<(SessionManager, Arc<OneSession>, String), Error> {
    let store = Arc::new(OneSession::default());
    let sessions = SessionManager::new(Arc::clone(&store));
    let mut session = sessions.load([])?;
    session.insert("user", 12_345)?;
    session.insert("name", "A name as people have it")?;
    session.insert("visits", 41)?;
    session.insert("cart", ["a tin of sardines", "a loaf of bread", "two pounds of apples"])?;
    session.insert("note", "x".repeat(80))?;
    let headers = session.finish()?;
    let header = &headers.first().expect("a new session has a cookie").1;
    let cookie = header.split(';').next().expect("there is always a first part").to_owned();
    Ok((sessions, store, cookie))
}

fn read(sessions: &SessionManager, cookie: &str) -> Result<(), Error> {
    let session = sessions.load_from_headers([cookie.as_bytes()])?;
    let user: Option<u32> = session.get("user")?;
    assert_eq!(user, Some(12_345));
    black_box(session.finish()?);
    Ok(())
}

fn write(sessions: &SessionManager, cookie: &str) -> Result<(), Error> {
    let mut session = sessions.load_from_headers([cookie.as_bytes()])?;
    session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    black_box(session.finish()?);
    Ok(())
}

pub(crate) fn requests(criterion: &mut Criterion) {
    let (sessions, store, cookie) = manager().expect("the store never fails");
    let counts =
        || (store.finds.swap(0, Ordering::Relaxed), store.writes.swap(0, Ordering::Relaxed));
    counts();
    read(&sessions, &cookie).expect("the store never fails");
    assert_eq!(counts(), (1, 0), "a request that reads costs one find");
    write(&sessions, &cookie).expect("the store never fails");
    assert_eq!(counts(), (1, 1), "a request that writes costs one find and one write");

    criterion.bench_function("request_that_reads", |bencher| {
        bencher.iter(|| read(&sessions, black_box(&cookie)).expect("the store never fails"));
    });
    criterion.bench_function("request_that_writes", |bencher| {
        bencher.iter(|| write(&sessions, black_box(&cookie)).expect("the store never fails"));
    });
    // What is the store's share of the above.
    criterion.bench_function("store_find", |bencher| {
        bencher.iter(|| black_box(store.load("token")));
    });
}
