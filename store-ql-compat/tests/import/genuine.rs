//! The databases that genuine ql wrote, and what is to come out of them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store_core::{ManualClock, MemoryOptions, MemoryStore};
use store_ql_compat::ImportOptions;
use tempfile::TempDir;

/// When the tests take place: the sessions of the fixtures have expired before, or will years
/// later.
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).expect("the first of January 2026")
}

pub(crate) fn options() -> ImportOptions {
    ImportOptions::new().with_clock(Arc::new(ManualClock::new(now())))
}

pub(crate) fn target() -> MemoryStore {
    let clock = Arc::new(ManualClock::new(now()));
    MemoryOptions::new().with_clock(clock).build().expect("memory needs nothing")
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The names of all fixtures, from the lists of their rows.
pub(crate) fn all() -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(fixtures())
        .expect("the fixtures are there")
        .filter_map(|entry| {
            let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    names
}

/// A copy of a fixture and of its log, alone in a directory.
pub(crate) struct Genuine {
    directory: TempDir,
    pub(crate) path: PathBuf,
    /// Where its log is, or would be.
    pub(crate) wal: PathBuf,
    listing: Value,
}

/// What a session has to be, from the listing: length and SHA-256 of the data, and the expiry.
#[derive(Debug, PartialEq)]
pub(crate) struct Expected {
    pub(crate) len: u64,
    pub(crate) sha256: String,
    pub(crate) expiry: DateTime<Utc>,
}

impl Expected {
    pub(crate) fn of(data: &[u8], expiry: DateTime<Utc>) -> Self {
        let sha256 = hex(&Sha256::digest(data));
        Self { len: data.len() as u64, sha256, expiry }
    }
}

impl Genuine {
    pub(crate) fn copy(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        let listing = fs::read(fixtures().join(format!("{name}.json"))).expect("it is listed");
        let listing: Value = serde_json::from_slice(&listing).expect("it is JSON");
        let wal_name = listing["wal_file"].as_str().expect("every log has a name").to_owned();
        let path = directory.path().join(name);
        let wal = directory.path().join(&wal_name);
        fs::copy(fixtures().join(name), &path).expect("the fixture is there");
        if fixtures().join(&wal_name).exists() {
            fs::copy(fixtures().join(&wal_name), &wal).expect("copied");
        }
        Self { directory, path, wal, listing }
    }

    pub(crate) fn format(&self) -> u64 {
        self.listing["format"].as_u64().expect("a number")
    }

    pub(crate) fn rows(&self) -> &[Value] {
        self.listing["rows"].as_array().expect("a list")
    }

    pub(crate) fn is_null(row: &Value) -> bool {
        row["data_null"].as_bool().unwrap_or(false)
    }

    pub(crate) fn expiry(row: &Value) -> DateTime<Utc> {
        let nanoseconds = row["expiry_nsec"].as_u64().expect("a number");
        let nanoseconds = u32::try_from(nanoseconds).expect("below a second");
        DateTime::from_timestamp(row["expiry_unix_s"].as_i64().expect("a number"), nanoseconds)
            .expect("an instant")
    }

    /// The live sessions; of several rows of one token, the one with the highest id.
    pub(crate) fn sessions(&self) -> BTreeMap<String, Expected> {
        let mut sessions: BTreeMap<String, (i64, Expected)> = BTreeMap::new();
        for row in self.rows() {
            let id = row["id"].as_i64().expect("a number");
            let expiry = Self::expiry(row);
            let token = row["token"].as_str().expect("a string").to_owned();
            let is_newest = sessions.get(&token).is_none_or(|(other, _)| *other < id);
            if now() < expiry && !Self::is_null(row) && is_newest {
                let len = row["data_len"].as_u64().expect("a number");
                let sha256 = row["data_sha256"].as_str().expect("a string").to_owned();
                sessions.insert(token, (id, Expected { len, sha256, expiry }));
            }
        }
        sessions.into_iter().map(|(token, (_, session))| (token, session)).collect()
    }

    /// Everything in the database's directory, with content and time of the last change.
    pub(crate) fn snapshot(&self) -> HashMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
        fs::read_dir(self.directory.path())
            .expect("the directory is there")
            .map(|entry| {
                let path = entry.expect("readable").path();
                let modified = fs::metadata(&path).expect("it is there").modified().expect("known");
                let content = fs::read(&path).expect("readable");
                (path, (content, modified))
            })
            .collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
