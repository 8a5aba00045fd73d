//! The points that are measured: a star around 100,000 sessions of 256 bytes.

use bench_protocol::Operation::{
    CommitNew, CommitUpdate, Delete, DeleteAll, FindHit, FindMiss, ForEach, Login, Mix, Replace,
    Sweep, SweepUnderLoad, Touch,
};
use bench_protocol::{Durability, Operation, Scenario};

use crate::programs::Programs;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Quick,
    Usual,
    Full,
}

impl Extent {
    pub(crate) fn rounds(self) -> usize {
        match self {
            Self::Quick => 1,
            Self::Usual => 5,
            Self::Full => 7,
        }
    }

    fn millis(self) -> u64 {
        match self {
            Self::Quick => 250,
            Self::Usual => 450,
            Self::Full => 2_000,
        }
    }
}

/// A scenario and its contenders.
pub(crate) struct Point {
    pub(crate) scenario: Scenario,
    pub(crate) contenders: Vec<&'static str>,
    pub(crate) warm_up_millis: u64,
    pub(crate) millis: u64,
}

const CENTRE: Scenario = Scenario {
    operation: FindHit,
    threads: 1,
    rows: 100_000,
    data_len: 256,
    durability: Durability::Full,
    half_expired: false,
    swept: false,
};

/// The most sessions of any point.
pub(crate) const MILLION: u64 = 1_000_000;

/// The operation at the centre, on this number of threads.
pub(crate) const fn at(operation: Operation, threads: usize) -> Scenario {
    Scenario { operation, threads, ..CENTRE }
}

/// The end of a million sessions.
pub(crate) const fn delete_all() -> Scenario {
    Scenario { rows: MILLION, ..at(DeleteAll, 1) }
}

/// Commits that a power failure may undo.
pub(crate) const fn normal(threads: usize) -> Scenario {
    Scenario { durability: Durability::Normal, ..at(CommitUpdate, threads) }
}

/// The operation on a million sessions of which half have expired, perhaps while these are removed.
pub(crate) const fn half_expired(operation: Operation, swept: bool) -> Scenario {
    Scenario { rows: MILLION, half_expired: true, swept, ..at(operation, 2) }
}

const STORE: &str = "store-sqlite";
const INDEXED: &str = "store-sqlite-indexed";
const MAPPED: &str = "store-sqlite-mmap";
const EXCLUSIVE: &str = "store-sqlite-exclusive";
const EXCLUSIVE_MAPPED: &str = "store-sqlite-exclusive-mmap";
const UNLOCKED: &str = "store-sqlite-unlocked";
const RAW: &str = "raw-sqlite";
const RAW_LEAN: &str = "raw-sqlite-lean";
const RAW_UNBOUNDED: &str = "raw-sqlite-unbounded";
const RAW_IN_STEPS: &str = "raw-sqlite-in-steps";
const RAW_MAPPED: &str = "raw-sqlite-mmap";
const RAW_EXCLUSIVE: &str = "raw-sqlite-exclusive";
const RAW_EXCLUSIVE_MAPPED: &str = "raw-sqlite-exclusive-mmap";
const GO: &str = "go-sqlite3store";
const TOWER: &str = "tower-sessions-rusqlite-store";
const TOWER_SQLX: &str = "tower-sessions-sqlx-store";

const REDB: [&str; 3] = ["store-ql", "raw-redb", "raw-lmdb"];

const MYSQL: [&str; 5] = [
    "store-mysql",
    "raw-mysql",
    "go-mysqlstore",
    "go-mysqlstore-interpolated",
    "tower-sessions-sqlx-store-mysql",
];

/// The contenders that are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Sqlite,
    Redb,
    Mysql,
}

impl Family {
    pub(crate) const ALL: [Self; 3] = [Self::Sqlite, Self::Redb, Self::Mysql];

    pub(crate) fn of(contender: &str) -> Self {
        if REDB.contains(&contender) {
            Self::Redb
        } else if MYSQL.contains(&contender) {
            Self::Mysql
        } else {
            Self::Sqlite
        }
    }

    /// In headings.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Redb => "redb",
            Self::Mysql => "MySQL",
        }
    }

    /// What commits of [`Durability::Normal`] are done with.
    pub(crate) fn normal(self) -> &'static str {
        match self {
            Self::Sqlite => "with synchronous=NORMAL",
            Self::Redb => "with relaxed durability",
            Self::Mysql => "with the log flushed once per second",
        }
    }
}

/// The points of the plan that match the filter, with the contenders that are available.
pub(crate) fn points(extent: Extent, programs: &Programs, filter: &str) -> Vec<Point> {
    let mut plan = Plan { points: Vec::new(), millis: extent.millis() };
    plan.sqlite(extent);
    plan.redb();
    plan.mysql();
    for Point { scenario, contenders, .. } in &mut plan.points {
        contenders.retain(|contender| {
            let name = format!("{contender} {}", title(scenario));
            programs.has(contender) && filter.split(',').all(|part| name.contains(part))
        });
    }
    plan.points.retain(|point| !point.contenders.is_empty());
    plan.points
}

/// A scenario in words.
pub(crate) fn title(scenario: &Scenario) -> String {
    let Scenario { operation, threads, rows, data_len, durability, half_expired, swept } = scenario;
    let operation = serde_json::to_string(operation).unwrap_or_default();
    let durability = match durability {
        Durability::Full => "",
        Durability::Normal => " normal",
    };
    let expired = if *half_expired { " half_expired" } else { "" };
    let swept = if *swept { " swept" } else { "" };
    let operation = operation.trim_matches('"');
    format!(
        "{operation}{durability} threads={threads} rows={rows} bytes={data_len}{expired}{swept}"
    )
}

struct Plan {
    points: Vec<Point>,
    millis: u64,
}

impl Plan {
    fn add(&mut self, contenders: &[&'static str], scenario: Scenario) {
        let (contenders, millis) = (contenders.to_vec(), self.millis);
        let warm_up_millis = millis / 5;
        self.points.push(Point { scenario, contenders, warm_up_millis, millis });
    }

    /// As [`add`](Self::add), for those who write to SQLite's log. Until it is written to the
    /// database for the first time, the log gets longer, which takes the file system twice as long
    /// as to write over it.
    fn add_writing(&mut self, contenders: &[&'static str], scenario: Scenario) {
        // Alone, one writes some thousand pages a second, of the 4,000 that the log has.
        let factor = if scenario.threads < 8 { 3 } else { 1 };
        self.add(contenders, scenario);
        if let Some(point) = self.points.last_mut() {
            point.warm_up_millis = factor * point.millis;
        }
    }

    fn sqlite(&mut self, extent: Extent) {
        let all = [STORE, RAW, MAPPED, RAW_MAPPED, UNLOCKED, GO, TOWER, TOWER_SQLX];
        let exclusive = [EXCLUSIVE, EXCLUSIVE_MAPPED, RAW_EXCLUSIVE, RAW_EXCLUSIVE_MAPPED];
        for threads in [1, 2, 8, 32] {
            self.add(&[&all[..], &exclusive].concat(), at(FindHit, threads));
        }
        for threads in [1, 2, 8, 32] {
            let tables = [STORE, INDEXED, RAW, RAW_LEAN, GO];
            let others = [EXCLUSIVE, RAW_EXCLUSIVE, TOWER, TOWER_SQLX];
            self.add_writing(&[&tables[..], &others].concat(), at(CommitUpdate, threads));
            self.add_writing(&[&tables[..], &[RAW_UNBOUNDED]].concat(), normal(threads));
            if threads == 1
                && let [.., durable, normal] = &mut self.points[..]
            {
                // Some ten thousand commits, so that there are several checkpoints.
                durable.millis *= 4;
                normal.millis *= 2;
            }
        }
        for threads in [1, 8] {
            self.add(&[STORE, RAW, GO], at(FindMiss, threads));
            self.add_writing(&[STORE, INDEXED, RAW, RAW_LEAN, GO], at(CommitNew, threads));
            self.add_writing(&[STORE, RAW_LEAN], at(Touch, threads));
            self.add_writing(&[STORE, RAW_LEAN], at(Replace, threads));
            self.add_writing(&[STORE, RAW_LEAN, GO], at(Delete, threads));
            self.add_writing(&[STORE, RAW_LEAN, RAW_IN_STEPS, GO], at(Login, threads));
            self.add(&[STORE, MAPPED, RAW_LEAN, GO], at(Mix, threads));
        }
        for (data_len, rows) in [(4 << 10, 20_000), (64 << 10, 2_000)] {
            for operation in [FindHit, CommitUpdate] {
                self.add(&[STORE, RAW_LEAN, GO], Scenario { data_len, rows, ..at(operation, 1) });
            }
        }
        for rows in [10_000, 1_000_000] {
            for threads in [1, 8] {
                self.add(&[STORE, MAPPED, RAW, GO], Scenario { rows, ..at(FindHit, threads) });
            }
        }
        self.add(&[STORE, RAW], Scenario { rows: MILLION, ..at(ForEach, 1) });
        self.add(&[STORE, INDEXED, RAW], Scenario { half_expired: true, ..at(Sweep, 1) });
        let sweep = Scenario { half_expired: true, ..at(SweepUnderLoad, 8) };
        self.add(&[STORE, INDEXED], sweep);
        self.add(&[STORE], delete_all());
        for operation in [FindHit, CommitUpdate] {
            for swept in [false, true] {
                self.add(&[STORE, INDEXED], half_expired(operation, swept));
                if let Some(point) = self.points.last_mut() {
                    // The 99th percentile needs many operations.
                    point.millis *= 3;
                }
            }
        }
        if extent == Extent::Full {
            for operation in [FindHit, CommitUpdate] {
                for threads in [2, 8, 32] {
                    for (data_len, rows) in
                        [(4 << 10, 100_000), (64 << 10, 10_000), (CENTRE.data_len, MILLION)]
                    {
                        let scenario = Scenario { data_len, rows, ..at(operation, threads) };
                        self.add(&[STORE, MAPPED, RAW, GO], scenario);
                    }
                }
            }
        }
    }

    fn redb(&mut self) {
        for operation in [FindHit, CommitUpdate] {
            for threads in [1, 2, 8, 32] {
                self.add(&REDB, at(operation, threads));
            }
        }
        for threads in [1, 8] {
            self.add(&REDB[..1], at(Login, threads));
        }
        self.add(&REDB[..1], delete_all());
    }

    fn mysql(&mut self) {
        for scenario in
            [|threads| at(FindHit, threads), |threads| at(CommitUpdate, threads), normal]
        {
            for threads in [1, 8, 32] {
                self.add(&MYSQL, scenario(threads));
            }
        }
        for threads in [1, 8] {
            self.add(&[MYSQL[0], MYSQL[2]], at(Login, threads));
        }
        self.add(&MYSQL[..1], delete_all());
    }
}
