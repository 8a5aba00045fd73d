//! The two sides: our store in this process, and SCS in a Go process.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use store_core::Store;

use crate::places::{Place, Shared};

/// What both stores can do.
pub(crate) trait Side: Sync {
    fn find(&self, token: &str) -> Option<Vec<u8>>;
    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>);
    fn delete(&self, token: &str);
    fn all(&self) -> HashMap<String, Vec<u8>>;
}

/// Both sides on one new database. The Go side sweeps at the given interval, ours when it is told
/// to.
pub(crate) struct Pair {
    pub(crate) rust: Rust,
    pub(crate) go: Go,
    _database: Shared,
}

impl Pair {
    pub(crate) fn new(place: Place) -> Self {
        Self::with_go_cleanup(place, "0s")
    }

    pub(crate) fn with_go_cleanup(place: Place, interval: &str) -> Self {
        let database = Shared::new(place);
        let rust = Rust(Arc::clone(&database.store));
        let go = Go::start(&database, interval);
        Self { rust, go, _database: database }
    }

    /// Who writes, and who reads it then.
    pub(crate) fn both_ways(&self) -> [(&dyn Side, &dyn Side); 2] {
        [(&self.rust, &self.go), (&self.go, &self.rust)]
    }
}

/// Our store.
pub(crate) struct Rust(pub(crate) Arc<dyn Store>);

impl Side for Rust {
    fn find(&self, token: &str) -> Option<Vec<u8>> {
        self.0.find(token).expect("ours finds")
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) {
        self.0.commit(token, data, expiry).expect("ours commits");
    }

    fn delete(&self, token: &str) {
        self.0.delete(token).expect("ours deletes");
    }

    fn all(&self) -> HashMap<String, Vec<u8>> {
        self.0.all().expect("ours walks")
    }
}

/// A Go process with SCS, which answers any number of threads at the same time, each from a
/// goroutine.
pub(crate) struct Go {
    process: Child,
    requests: Mutex<ChildStdin>,
    waiting: Arc<Mutex<HashMap<u64, Sender<Value>>>>,
    next_id: AtomicU64,
}

impl Go {
    fn start(database: &Shared, cleanup_interval: &str) -> Self {
        let program = env::var_os("INTEROP_GO").expect("run this with `cargo xtask interop`");
        let mut process = Command::new(program)
            .args([database.go_driver, &database.go_name, cleanup_interval])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Go program starts");
        let requests = Mutex::new(process.stdin.take().expect("it is piped"));
        let replies = BufReader::new(process.stdout.take().expect("it is piped"));
        let waiting = Arc::new(Mutex::new(HashMap::<u64, Sender<Value>>::new()));
        thread::spawn({
            let waiting = Arc::clone(&waiting);
            move || {
                let asker = |id| locked(&waiting).remove(&id);
                for line in replies.lines().map_while(Result::ok) {
                    let reply: Value = serde_json::from_str(&line).expect("replies are JSON");
                    if let Some(asker) = reply["ID"].as_u64().and_then(asker) {
                        let _ = asker.send(reply);
                    }
                }
                // The program has ended: who still waits for it is told by the end of the channel.
                locked(&waiting).clear();
            }
        });
        Self { process, requests, waiting, next_id: AtomicU64::new(1) }
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&self, mut request: Value) -> Value {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        request["ID"] = id.into();
        let (asker, reply) = channel();
        locked(&self.waiting).insert(id, asker);
        writeln!(locked(&self.requests), "{request}").expect("the Go program listens");
        let reply = reply.recv().expect("the Go program answers");
        assert_eq!(reply["Error"], "", "Go failed at {}", request["Op"]);
        reply
    }

    /// All rows of the table, expired ones as well.
    pub(crate) fn rows(&self) -> usize {
        let rows = self.ask(json!({"Op": "rows"}))["Rows"].as_u64().expect("a number");
        usize::try_from(rows).expect("few")
    }
}

impl Side for Go {
    fn find(&self, token: &str) -> Option<Vec<u8>> {
        let reply = self.ask(json!({"Op": "find", "Token": token}));
        (reply["Found"] == true).then(|| bytes(&reply["Data"]))
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) {
        let data = BASE64_STANDARD.encode(data);
        self.ask(json!({
            "Op": "commit", "Token": token, "Data": data, "Expiry": expiry.to_rfc3339(),
        }));
    }

    fn delete(&self, token: &str) {
        self.ask(json!({"Op": "delete", "Token": token}));
    }

    fn all(&self) -> HashMap<String, Vec<u8>> {
        let reply = self.ask(json!({"Op": "all"}));
        let sessions = reply["All"].as_object().expect("a map").iter();
        sessions.map(|(token, data)| (token.clone(), bytes(data))).collect()
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Go's form of bytes in JSON; no bytes may also be null.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64")
}

/// Goes on where another thread has panicked, so that its message is the one that is seen.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
