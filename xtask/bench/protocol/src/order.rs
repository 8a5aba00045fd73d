//! What is measured, and what comes out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a thread does, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Finds a session that exists.
    FindHit,
    /// Looks for a session that doesn't exist.
    FindMiss,
    /// Creates a session.
    CommitNew,
    /// Overwrites a session.
    CommitUpdate,
    /// Changes the expiry of a session.
    Touch,
    /// Overwrites a session whose data it knows.
    Replace,
    /// Deletes a session that exists.
    Delete,
    /// Gives a session whose data it knows a new token, a user and other data.
    Login,
    /// Nine finds, then a commit of a session that exists.
    Mix,
    /// Visits all live sessions, once.
    ForEach,
    /// Removes all expired sessions, once.
    Sweep,
    /// The same beside threads that overwrite sessions without a pause.
    SweepUnderLoad,
    /// Ends all sessions, each of which has a user, once, while another thread begins new ones,
    /// whose latencies are measured.
    DeleteAll,
}

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// A power failure.
    Full,
    /// A crash of the process.
    Normal,
}

/// One point of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scenario {
    /// What each thread does.
    pub operation: Operation,
    /// How many threads, or tasks, do it.
    pub threads: usize,
    /// How many sessions there are.
    pub rows: u64,
    /// The size of their data.
    pub data_len: usize,
    /// What a commit survives.
    pub durability: Durability,
    /// Whether every other session has expired.
    pub half_expired: bool,
    /// Whether the expired sessions are removed concurrently.
    pub swept: bool,
}

/// What a program is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The name of the contender, one of those that the program lists.
    pub contender: String,
    /// The point of the plan.
    pub scenario: Scenario,
    /// The database. On a server, its [`name`](crate::database) comes from this.
    pub path: PathBuf,
    /// The duration of the warm-up.
    pub warm_up_millis: u64,
    /// The duration of the measurement, which follows.
    pub millis: u64,
}

/// What came out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measurement {
    /// The number of operations that ended in time, or of rows that were visited or removed.
    pub operations: u64,
    /// The duration.
    pub seconds: f64,
    /// The median latency, in microseconds.
    pub p50_us: f64,
    /// The 99th percentile of the latency.
    pub p99_us: f64,
    /// The longest latency.
    pub max_us: f64,
    /// Resident memory with the store open and one session found, in KiB.
    pub idle_kib: u64,
    /// The peak of resident memory since then, in KiB.
    pub peak_kib: u64,
    /// Bytes that the process wrote to disk per operation.
    pub written_per_operation: f64,
    /// How much longer the database's files are afterwards, which the runner looks up.
    #[serde(default)]
    pub grown_bytes: i64,
}

impl Measurement {
    /// Operations per second.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let operations = self.operations as f64;
        operations / self.seconds
    }
}

/// How a program describes a contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in orders and results.
    pub name: String,
    /// Contenders of one format can use one filled database.
    pub format: String,
    /// Its version.
    pub version: String,
    /// The version of the engine underneath.
    pub engine: String,
    /// Its settings.
    pub settings: String,
    /// Whether its databases are on the server at [`url`](crate::url), so that the runner has no
    /// files of theirs.
    #[serde(default)]
    pub is_on_server: bool,
}
