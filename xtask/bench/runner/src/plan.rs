//! The points that are measured: a star around 100,000 sessions of 256 bytes.

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
            Self::Usual => 3,
            Self::Full => 7,
        }
    }

    fn millis(self) -> u64 {
        match self {
            Self::Quick => 250,
            Self::Usual => 750,
            Self::Full => 2_000,
        }
    }
}

/// A scenario and its contenders.
pub(crate) struct Point {
    pub(crate) scenario: Scenario,
    pub(crate) contenders: Vec<&'static str>,
    pub(crate) millis: u64,
}

pub(crate) const CENTRE: Scenario = Scenario {
    operation: Operation::FindHit,
    threads: 1,
    rows: 100_000,
    data_len: 256,
    durability: Durability::Full,
    half_expired: false,
    swept: false,
};

const STORE: &str = "store-sqlite";
const MAPPED: &str = "store-sqlite-mmap";
const UNLOCKED: &str = "store-sqlite-unlocked";
const RAW: &str = "raw-sqlite";
const RAW_IN_STEPS: &str = "raw-sqlite-in-steps";
const RAW_MAPPED: &str = "raw-sqlite-mmap";
const GO: &str = "go-sqlite3store";
const TOWER: &str = "tower-sessions-rusqlite-store";
const TOWER_SQLX: &str = "tower-sessions-sqlx-store";

const QL: [&str; 2] = ["store-ql", "raw-redb"];

const MYSQL: [&str; 5] = [
    "store-mysql",
    "raw-mysql",
    "go-mysqlstore",
    "go-mysqlstore-interpolated",
    "tower-sessions-sqlx-store-mysql",
];

/// What is compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Sqlite,
    Ql,
    Mysql,
}

impl Family {
    pub(crate) const ALL: [Self; 3] = [Self::Sqlite, Self::Ql, Self::Mysql];

    pub(crate) fn of(contender: &str) -> Self {
        if QL.contains(&contender) {
            Self::Ql
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
            Self::Ql => "redb",
            Self::Mysql => "MySQL",
        }
    }

    /// What commits of [`Durability::Normal`] are done with.
    pub(crate) fn normal(self) -> &'static str {
        match self {
            Self::Sqlite => "with synchronous=NORMAL",
            Self::Ql => "with relaxed durability",
            Self::Mysql => "with the log flushed once per second",
        }
    }
}

/// All points, or those that the filter leaves, for the contenders that are there.
pub(crate) fn points(extent: Extent, programs: &Programs, filter: &str) -> Vec<Point> {
    let mut plan = Plan { points: Vec::new(), millis: extent.millis() };
    plan.sqlite(extent);
    plan.ql();
    plan.mysql();
    for point in &mut plan.points {
        let scenario = point.scenario.clone();
        point.contenders.retain(|contender| {
            let name = name(&scenario, contender);
            programs.has(contender) && filter.split(',').all(|part| name.contains(part))
        });
    }
    plan.points.retain(|point| !point.contenders.is_empty());
    plan.points
}

/// What a filter is compared with.
fn name(scenario: &Scenario, contender: &str) -> String {
    format!("{contender} {}", title(scenario))
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
        self.points.push(Point { scenario, contenders: contenders.to_vec(), millis: self.millis });
    }

    fn sqlite(&mut self, extent: Extent) {
        use Operation::{
            CommitNew, CommitUpdate, Delete, FindHit, FindMiss, ForEach, Login, Mix, Replace,
            Sweep, Touch,
        };
        for threads in [1, 2, 8, 32] {
            self.add(
                &[STORE, RAW, MAPPED, RAW_MAPPED, UNLOCKED, GO, TOWER, TOWER_SQLX],
                Scenario { threads, ..CENTRE },
            );
        }
        for threads in [1, 2, 8, 32] {
            self.add(
                &[STORE, RAW, GO, TOWER, TOWER_SQLX],
                Scenario { operation: CommitUpdate, threads, ..CENTRE },
            );
            self.add(
                &[STORE, RAW, GO],
                Scenario {
                    operation: CommitUpdate,
                    threads,
                    durability: Durability::Normal,
                    ..CENTRE
                },
            );
        }
        for threads in [1, 8] {
            self.add(&[STORE, RAW, GO], Scenario { operation: FindMiss, threads, ..CENTRE });
            self.add(&[STORE, RAW, GO], Scenario { operation: CommitNew, threads, ..CENTRE });
            self.add(&[STORE, RAW], Scenario { operation: Touch, threads, ..CENTRE });
            self.add(&[STORE, RAW], Scenario { operation: Replace, threads, ..CENTRE });
            self.add(&[STORE, RAW, GO], Scenario { operation: Delete, threads, ..CENTRE });
            self.add(
                &[STORE, RAW, RAW_IN_STEPS, GO],
                Scenario { operation: Login, threads, ..CENTRE },
            );
            self.add(&[STORE, MAPPED, RAW, GO], Scenario { operation: Mix, threads, ..CENTRE });
        }
        for (data_len, rows) in [(4 << 10, 20_000), (64 << 10, 2_000)] {
            for operation in [FindHit, CommitUpdate] {
                self.add(&[STORE, RAW, GO], Scenario { operation, data_len, rows, ..CENTRE });
            }
        }
        for rows in [10_000, 1_000_000] {
            for threads in [1, 8] {
                self.add(&[STORE, MAPPED, RAW, GO], Scenario { threads, rows, ..CENTRE });
            }
        }
        let million = Scenario { rows: 1_000_000, ..CENTRE };
        self.add(&[STORE, RAW], Scenario { operation: ForEach, ..million.clone() });
        self.add(&[STORE, RAW], Scenario { operation: Sweep, half_expired: true, ..CENTRE });
        for operation in [FindHit, CommitUpdate] {
            for swept in [false, true] {
                self.add(
                    &[STORE],
                    Scenario {
                        operation,
                        threads: 2,
                        half_expired: true,
                        swept,
                        ..million.clone()
                    },
                );
                if let Some(point) = self.points.last_mut() {
                    // One operation in a hundred has to be many.
                    point.millis *= 3;
                }
            }
        }
        if extent == Extent::Full {
            for operation in [FindHit, CommitUpdate] {
                for threads in [2, 8, 32] {
                    for (data_len, rows) in [(4 << 10, 100_000), (64 << 10, 10_000)] {
                        self.add(
                            &[STORE, MAPPED, RAW, GO],
                            Scenario { operation, threads, data_len, rows, ..CENTRE },
                        );
                    }
                    self.add(
                        &[STORE, MAPPED, RAW, GO],
                        Scenario { operation, threads, ..million.clone() },
                    );
                }
            }
        }
    }
    fn ql(&mut self) {
        for threads in [1, 2, 8, 32] {
            self.add(&QL, Scenario { threads, ..CENTRE });
        }
        for threads in [1, 2, 8, 32] {
            let operation = Operation::CommitUpdate;
            self.add(&QL, Scenario { operation, threads, ..CENTRE });
        }
        for threads in [1, 8] {
            self.add(&QL[..1], Scenario { operation: Operation::Login, threads, ..CENTRE });
        }
    }

    fn mysql(&mut self) {
        for threads in [1, 8, 32] {
            self.add(&MYSQL, Scenario { threads, ..CENTRE });
        }
        for durability in [Durability::Full, Durability::Normal] {
            for threads in [1, 8, 32] {
                let operation = Operation::CommitUpdate;
                self.add(&MYSQL, Scenario { operation, threads, durability, ..CENTRE });
            }
        }
        for threads in [1, 8] {
            let operation = Operation::Login;
            self.add(&[MYSQL[0], MYSQL[2]], Scenario { operation, threads, ..CENTRE });
        }
    }
}
