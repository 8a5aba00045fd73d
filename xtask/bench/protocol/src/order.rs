//! What is measured, and what comes out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a thread does all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Finds a session that is there.
    FindHit,
    /// Looks for a session that isn't there.
    FindMiss,
    /// Creates a session.
    CommitNew,
    /// Overwrites a session.
    CommitUpdate,
    /// Moves the expiry of a session.
    Touch,
    /// Overwrites a session whose data it knows.
    Replace,
    /// Deletes a session that is there.
    Delete,
    /// Gives a session whose data it knows a new token, a user and other data.
    Login,
    /// Nine finds, then a commit of a session that is there.
    Mix,
    /// Visits all live sessions, once.
    ForEach,
    /// Removes all expired sessions, once.
    Sweep,
}

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// A loss of power.
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
    /// Whether the expired sessions are removed meanwhile.
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
    /// How long, after a warm-up of a fifth of it.
    pub millis: u64,
}

/// What came out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measurement {
    /// How many operations ended in time; rows of a walk and a sweep.
    pub operations: u64,
    /// How long it took.
    pub seconds: f64,
    /// The median latency, in microseconds.
    pub p50_us: f64,
    /// The latency of one operation in a hundred.
    pub p99_us: f64,
    /// The longest latency.
    pub max_us: f64,
    /// Resident memory with the store open and one session found, in KiB.
    pub idle_kib: u64,
    /// The most resident memory since then, in KiB.
    pub peak_kib: u64,
    /// What the process had the system write to disk, in bytes an operation.
    pub written_per_operation: f64,
    /// How much longer the files are afterwards; the runner looks.
    #[serde(default)]
    pub grown_bytes: i64,
}

impl Measurement {
    /// Operations a second.
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
    /// What was set.
    pub settings: String,
    /// Its databases are on the server that [`url`](crate::url) names, so their files are none of the
    /// runner's business.
    #[serde(default)]
    pub is_on_server: bool,
}
