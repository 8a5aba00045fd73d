//! What the session manager takes for one request, its store aside: prints it in nanoseconds, as
//! JSON. The sessions are in memory, and what the same calls of the store take by themselves is
//! subtracted, each a median.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use session_manager::{Codec, Json, KeyRing, Sealed, SecretKey, SessionManager};
use store_core::{Change, CleanupOptions, Loaded, MemoryOptions, MemoryStore, Store};

/// Short batches, of which an interruption by another program spoils few.
const BATCH: Duration = Duration::from_millis(10);
const BATCHES: usize = 201;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result {
    let store = || MemoryOptions::new().with_cleanup(CleanupOptions::disabled()).build();
    let (plain, sealed) = (Arc::new(store()?), Arc::new(store()?));
    let keys = KeyRing::new(1, SecretKey::from_bytes(&[7; 32])?);
    let codec = Sealed::new(Json, keys);
    let [reads, writes] = measure(&plain, &SessionManager::new(Arc::clone(&plain)))?;
    let sealed_manager = SessionManager::new(Arc::clone(&sealed)).with_codec(codec);
    let [sealed_reads, sealed_writes] = measure(&sealed, &sealed_manager)?;
    let requests = BTreeMap::from([
        ("request_that_reads", rounded(reads)),
        ("request_that_writes", rounded(writes)),
        ("sealed_request_that_reads", rounded(sealed_reads)),
        ("sealed_request_that_writes", rounded(sealed_writes)),
    ]);
    println!("{}", serde_json::to_string(&requests)?);
    Ok(())
}

/// What requests that read and that write take, without what the store takes by itself.
fn measure<C: Codec>(store: &Arc<MemoryStore>, sessions: &SessionManager<C>) -> Result<[f64; 2]> {
    let cookie = begin_session(sessions)?;
    let key = store.all()?.into_keys().next().ok_or("the session is stored")?;
    let reads = median_ns(|| read(sessions, &cookie))? - median_ns(|| load(store, &key))?;
    let writes = median_ns(|| write(sessions, &cookie))? - median_ns(|| replace(store, &key))?;
    Ok([reads, writes])
}

fn rounded(ns: f64) -> f64 {
    (ns * 10.0).round() / 10.0
}

/// Stores a session of about 256 bytes and returns the Cookie header that names it.
fn begin_session<C: Codec>(sessions: &SessionManager<C>) -> Result<String> {
    let mut session = sessions.load([])?;
    session.insert("user", 12_345)?;
    session.insert("name", "A name as people have it")?;
    session.insert("visits", 41)?;
    session.insert("cart", ["a tin of sardines", "a loaf of bread", "two pounds of apples"])?;
    session.insert("note", "x".repeat(80))?;
    let headers = session.finish()?.headers;
    let (_, header) = headers.first().ok_or("a new session has a cookie")?;
    Ok(header.split(';').next().unwrap_or_default().to_owned())
}

fn read<C: Codec>(sessions: &SessionManager<C>, cookie: &str) -> Result {
    let session = sessions.load_from_headers([cookie.as_bytes()])?;
    let user: Option<u32> = session.get("user")?;
    assert_eq!(user, Some(12_345));
    black_box(session.finish()?);
    Ok(())
}

fn write<C: Codec>(sessions: &SessionManager<C>, cookie: &str) -> Result {
    let mut session = sessions.load_from_headers([cookie.as_bytes()])?;
    session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    black_box(session.finish()?);
    Ok(())
}

/// What a request that reads asks of the store.
fn load(store: &MemoryStore, key: &str) -> Result {
    assert!(matches!(black_box(store.load(key)?), Loaded::Live { .. }));
    Ok(())
}

/// What a request that writes asks of the store.
fn replace(store: &MemoryStore, key: &str) -> Result {
    let Loaded::Live { data, expiry } = store.load(key)? else { return Err("it is live".into()) };
    assert!(store.update(key, &data, &Change::new(&data, expiry))?);
    Ok(())
}

/// The median over many batches of what one call takes.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn median_ns(mut call: impl FnMut() -> Result) -> Result<f64> {
    let mut times = Vec::new();
    // The first batch warms up.
    for _ in 0..=BATCHES {
        let (start, mut calls) = (Instant::now(), 0_u64);
        while start.elapsed() < BATCH {
            // The clock is read once in a hundred calls, because it takes time itself.
            for _ in 0..100 {
                call()?;
            }
            calls += 100;
        }
        times.push(start.elapsed().as_nanos() as f64 / calls as f64);
    }
    let times = &mut times[1..];
    times.sort_by(f64::total_cmp);
    Ok(times[BATCHES / 2])
}
