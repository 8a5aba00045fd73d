//! The targets, each relative to a driver or a peer, and whether the results meet them.

use bench_protocol::Operation::{CommitUpdate, FindHit, ForEach, Login, SweepUnderLoad};
use bench_protocol::Scenario;

use crate::plan::{MILLION, at, half_expired, normal};
use crate::results::{Figures, Results};

const STORE: &str = "store-sqlite";
const MAPPED: &str = "store-sqlite-mmap";
const EXCLUSIVE: &str = "store-sqlite-exclusive";
const EXCLUSIVE_MAPPED: &str = "store-sqlite-exclusive-mmap";
/// As it is usually opened, on the table with the index on expiry.
const RAW: &str = "raw-sqlite";
/// On the table of [`STORE`].
const RAW_LEAN: &str = "raw-sqlite-lean";
const GO: &str = "go-sqlite3store";

/// A target.
pub(crate) struct Target {
    /// What it is about, as in the table.
    pub(crate) what: String,
    bound: Bound,
    figure: Figure,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// What is compared with the bound.
enum Figure {
    /// The ratio of the throughputs of two contenders: the median over the rounds.
    Throughput([Cell; 2]),
    /// The ratio of the 99th percentiles of two contenders.
    P99([Cell; 2]),
    /// The ratio of what two contenders write to the disk.
    Written([Cell; 2]),
    /// Operations per second.
    Rate(Cell),
    /// Memory above that of the open store, in MiB.
    Memory(Cell),
    /// A micro-benchmark, in microseconds.
    Micro(&'static str),
    /// The crates that an application depends on.
    Crates,
}

/// A contender at a point of the plan.
struct Cell(&'static str, Scenario);

/// Whether a target was met.
pub(crate) struct Verdict {
    pub(crate) measured: String,
    pub(crate) is_met: bool,
}

impl Target {
    fn at_most(what: &str, bound: f64, figure: Figure) -> Self {
        Self { what: what.to_owned(), bound: Bound::AtMost(bound), figure }
    }

    /// The throughput of one contender, relative to another's at the same point.
    fn ratio(what: &str, bound: f64, [ours, theirs]: [&'static str; 2], point: Scenario) -> Self {
        Self::speed(what, bound, [Cell(ours, point.clone()), Cell(theirs, point)])
    }

    fn speed(what: &str, bound: f64, cells: [Cell; 2]) -> Self {
        let figure = Figure::Throughput(cells);
        Self { what: what.to_owned(), bound: Bound::AtLeast(bound), figure }
    }

    /// The bound, as in the table.
    pub(crate) fn bound(&self) -> String {
        let unit = match self.figure {
            Figure::Throughput(_) | Figure::P99(_) | Figure::Written(_) => " ×",
            Figure::Rate(_) => "/s",
            Figure::Memory(_) => " MiB",
            Figure::Micro(_) => " µs",
            Figure::Crates => " crates",
        };
        match self.bound {
            Bound::AtLeast(bound) => format!("≥ {bound}{unit}"),
            Bound::AtMost(bound) => format!("≤ {bound}{unit}"),
        }
    }

    /// `None` if it wasn't measured.
    pub(crate) fn verdict(&self, results: &Results) -> Option<Verdict> {
        let (value, detail) = self.figure.value(results)?;
        let is_met = match self.bound {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        };
        Some(Verdict { measured: format!("{value:.2}{detail}"), is_met })
    }
}

impl Figure {
    /// The value, and what it was computed from.
    fn value(&self, results: &Results) -> Option<(f64, String)> {
        let figures = |Cell(contender, scenario): &Cell| results.figures(contender, scenario);
        let ratio = |[ours, theirs]: &[Cell; 2], figure: fn(&Figures) -> f64, unit: &str| {
            let (ours, theirs) = (figure(figures(ours)?), figure(figures(theirs)?));
            Some((ours / theirs, format!(" ({ours:.0}{unit} : {theirs:.0}{unit})")))
        };
        let alone = |value: f64| (value, String::new());
        match self {
            Self::Throughput(cells) => {
                let (_, medians) = ratio(cells, |it| f64::from(it.per_second), "/s")?;
                Some((results.ratio(cells.each_ref().map(|Cell(it, at)| (*it, at)))?, medians))
            }
            Self::P99(cells) => ratio(cells, |it| it.p99_us, " µs"),
            Self::Written(cells) => {
                ratio(cells, |it| it.written_bytes.map_or(f64::NAN, f64::from), " bytes")
            }
            Self::Rate(cell) => Some(alone(f64::from(figures(cell)?.per_second))),
            Self::Memory(cell) => Some(alone(f64::from(figures(cell)?.memory_kib) / 1024.0)),
            Self::Micro(name) => Some(alone(results.run.micro_ns.get(*name)? / 1e3)),
            Self::Crates => Some(alone(f64::from(results.run.crates?))),
        }
    }
}

/// All targets, in the order of the table.
pub(crate) fn all() -> Vec<Target> {
    let mut targets = sqlite_finds();
    targets.extend(sqlite_commits());
    targets.extend(sqlite_others());
    targets.extend(mysql());
    targets.extend(redb());
    targets.push(Target::at_most(
        "dependencies of an application on store-sqlite and session-manager, rouille's own aside",
        45.0,
        Figure::Crates,
    ));
    targets
}

fn sqlite_finds() -> Vec<Target> {
    let (ratio, find) = (Target::ratio, |threads| at(FindHit, threads));
    let exclusive = "SQLite find, 1 thread, for one process";
    let exclusive_mapped = "SQLite find, 1 thread, for one process and memory-mapped";
    vec![
        ratio("SQLite find, 1 thread : raw driver", 0.95, [STORE, RAW], find(1)),
        ratio(
            "SQLite find, 1 thread, memory-mapped : raw driver, memory-mapped",
            0.95,
            [MAPPED, "raw-sqlite-mmap"],
            find(1),
        ),
        ratio(&format!("{exclusive} : raw driver"), 1.12, [EXCLUSIVE, RAW], find(1)),
        ratio(&format!("{exclusive} : Go"), 2.8, [EXCLUSIVE, GO], find(1)),
        ratio(&format!("{exclusive_mapped} : raw driver"), 1.6, [EXCLUSIVE_MAPPED, RAW], find(1)),
        ratio(&format!("{exclusive_mapped} : Go"), 4.5, [EXCLUSIVE_MAPPED, GO], find(1)),
        ratio(
            "SQLite find, 1 thread : tower-sessions-rusqlite-store",
            10.0,
            [STORE, "tower-sessions-rusqlite-store"],
            find(1),
        ),
        ratio("SQLite find, 8 threads, with defaults : Go", 1.2, [STORE, GO], find(8)),
        ratio("SQLite find, 8 threads, memory-mapped : Go", 3.5, [MAPPED, GO], find(8)),
    ]
}

fn sqlite_commits() -> Vec<Target> {
    let (ratio, commit) = (Target::ratio, |threads| at(CommitUpdate, threads));
    let durable = "SQLite durable commit, 1 thread";
    let with_index = "raw driver, with the index on expiry";
    let mut targets = vec![
        ratio(&format!("{durable} : raw driver"), 0.95, [STORE, RAW_LEAN], commit(1)),
        ratio(&format!("{durable} : {with_index}"), 1.3, [STORE, RAW], commit(1)),
        ratio(
            &format!("{durable}, for one process : {with_index}"),
            1.5,
            [EXCLUSIVE, RAW],
            commit(1),
        ),
        Target::at_most(
            &format!("bytes written by a durable commit, 1 thread : {with_index}"),
            0.5,
            Figure::Written([STORE, RAW].map(|contender| Cell(contender, commit(1)))),
        ),
        ratio("SQLite durable commit, 8 threads : Go", 10.0, [STORE, GO], commit(8)),
        ratio("SQLite durable commit, 32 threads : Go", 15.0, [STORE, GO], commit(32)),
        ratio(
            &format!("SQLite commit at NORMAL, 1 thread : {with_index}"),
            2.0,
            [STORE, RAW],
            normal(1),
        ),
        ratio("SQLite commit at NORMAL, 8 threads : Go", 5.0, [STORE, GO], normal(8)),
    ];
    targets.extend([1, 2, 8, 32].map(|threads| {
        let what = format!("SQLite commit at NORMAL, {} : a transaction each", count(threads));
        ratio(&what, 1.0, [STORE, RAW_LEAN], normal(threads))
    }));
    targets
}

fn sqlite_others() -> Vec<Target> {
    let million = |operation| Scenario { rows: MILLION, ..at(operation, 1) };
    let few = Scenario { rows: 10_000, ..at(FindHit, 1) };
    let swept = |operation| {
        Figure::P99([true, false].map(|swept| Cell(STORE, half_expired(operation, swept))))
    };
    vec![
        Target::ratio(
            "SQLite durable login, 1 thread : token, user and data in a transaction each",
            2.0,
            [STORE, "raw-sqlite-in-steps"],
            at(Login, 1),
        ),
        Target {
            what: "rows that a sweep removes beside 8 threads that write without a pause"
                .to_owned(),
            bound: Bound::AtLeast(20_000.0),
            figure: Figure::Rate(Cell(
                STORE,
                Scenario { half_expired: true, ..at(SweepUnderLoad, 8) },
            )),
        },
        Target::at_most(
            "p99 of find while 500,000 of 1 million rows are swept : without",
            3.0,
            swept(FindHit),
        ),
        Target::at_most(
            "p99 of commit while 500,000 of 1 million rows are swept : without",
            3.0,
            swept(CommitUpdate),
        ),
        Target::at_most(
            "for_each over 1 million sessions, above idle",
            16.0,
            Figure::Memory(Cell(STORE, million(ForEach))),
        ),
        Target::ratio(
            "for_each over 1 million sessions : raw scan",
            0.7,
            [STORE, RAW],
            million(ForEach),
        ),
        Target::speed(
            "find at 1 million rows : at 10 thousand",
            0.6,
            [Cell(STORE, million(FindHit)), Cell(STORE, few)],
        ),
        Target::at_most(
            "session-manager, a request that reads",
            1.5,
            Figure::Micro("request_that_reads"),
        ),
        Target::at_most(
            "session-manager, a request that writes",
            2.5,
            Figure::Micro("request_that_writes"),
        ),
    ]
}

fn mysql() -> Vec<Target> {
    let mut targets = Vec::new();
    let points: [(&str, fn(usize) -> Scenario); 3] = [
        ("find", |threads| at(FindHit, threads)),
        ("durable commit", |threads| at(CommitUpdate, threads)),
        ("commit, flushed once per second", normal),
    ];
    for (name, point) in points {
        for threads in [1, 8] {
            for (who, contender, bound) in [
                ("raw driver", "raw-mysql", 0.95),
                ("Go", "go-mysqlstore", 2.0),
                ("Go, interpolating", "go-mysqlstore-interpolated", 1.3),
            ] {
                let what = format!("MySQL {name}, {} : {who}", count(threads));
                targets.push(Target::ratio(
                    &what,
                    bound,
                    ["store-mysql", contender],
                    point(threads),
                ));
            }
        }
    }
    targets
}

fn redb() -> impl Iterator<Item = Target> {
    let both = ["store-ql", "raw-redb"];
    let finds = [1, 8].map(|threads| {
        let what = format!("redb find, {} : raw engine", count(threads));
        Target::ratio(&what, 0.9, both, at(FindHit, threads))
    });
    let commits = [(8, 3.0), (32, 6.0)].map(|(threads, bound)| {
        let what = format!("redb durable commit, {} : a transaction each", count(threads));
        Target::ratio(&what, bound, both, at(CommitUpdate, threads))
    });
    finds.into_iter().chain(commits)
}

fn count(threads: usize) -> String {
    if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }
}
