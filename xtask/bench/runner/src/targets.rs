//! What is to be reached, each time against whom: evaluated from the results alone.

use bench_protocol::{Durability, Operation, Scenario};

use crate::plan::CENTRE;
use crate::results::{Figures, Results};

/// A target.
pub(crate) struct Target {
    /// The row of the table.
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
    /// Throughput of the one, at its point, over that of the other.
    Throughput([Cell; 2]),
    /// The 99th percentile of the one over that of the other.
    P99([Cell; 2]),
    /// The memory that it takes more than before, in MiB.
    Memory(Cell),
    /// A micro-benchmark, in microseconds.
    Micro(&'static str),
    /// The crates an application depends on.
    Crates,
}

/// A contender at a point.
struct Cell(&'static str, Scenario);

/// How it went.
pub(crate) struct Verdict {
    pub(crate) measured: String,
    pub(crate) is_met: bool,
}

impl Target {
    /// The target as the table has it.
    pub(crate) fn bound(&self) -> String {
        let unit = match self.figure {
            Figure::Throughput(_) | Figure::P99(_) => " ×",
            Figure::Memory(_) => " MiB",
            Figure::Micro(_) => " µs",
            Figure::Crates => " crates",
        };
        match self.bound {
            Bound::AtLeast(bound) => format!("≥ {bound}{unit}"),
            Bound::AtMost(bound) => format!("≤ {bound}{unit}"),
        }
    }

    /// `None` where it wasn't measured.
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
            Self::Throughput(cells) => ratio(cells, |it| f64::from(it.per_second), "/s"),
            Self::P99(cells) => ratio(cells, |it| it.p99_us, " µs"),
            Self::Memory(cell) => Some(alone(f64::from(figures(cell)?.memory_kib) / 1024.0)),
            Self::Micro(name) => Some(alone(results.run.micro_ns.get(*name)? / 1e3)),
            Self::Crates => Some(alone(f64::from(results.run.crates?))),
        }
    }
}

/// All targets, in the order of the table.
#[expect(clippy::too_many_lines, reason = "it is a table")]
pub(crate) fn all() -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    let find = |threads| Scenario { threads, ..CENTRE };
    let commit = |threads| Scenario { operation: Operation::CommitUpdate, ..find(threads) };
    let normal = |threads| Scenario { durability: Durability::Normal, ..commit(threads) };
    let million = || Scenario { rows: 1_000_000, ..CENTRE };
    let swept = |operation, swept| Scenario {
        operation,
        threads: 2,
        half_expired: true,
        swept,
        ..million()
    };
    let walk = || Scenario { operation: Operation::ForEach, ..million() };
    let (store, mapped, raw) = ("store-sqlite", "store-sqlite-mmap", "raw-sqlite");
    let (raw_mapped, go) = ("raw-sqlite-mmap", "go-sqlite3store");
    let tower = "tower-sessions-rusqlite-store";

    let mut targets = Vec::new();
    let mut add =
        |what: &str, bound, figure| targets.push(Target { what: what.to_owned(), bound, figure });
    let against = |ours, theirs, scenario: Scenario| {
        Figure::Throughput([Cell(ours, scenario.clone()), Cell(theirs, scenario)])
    };

    add("SQLite find, 1 thread : raw driver", AtLeast(0.9), against(store, raw, find(1)));
    add(
        "SQLite find, 1 thread, memory-mapped : raw driver, memory-mapped",
        AtLeast(0.9),
        against(mapped, raw_mapped, find(1)),
    );
    add("SQLite find, 1 thread, with defaults : Go", AtLeast(2.5), against(store, go, find(1)));
    add(
        "SQLite find, 1 thread, memory-mapped as the docs recommend : Go",
        AtLeast(2.5),
        against(mapped, go, find(1)),
    );
    add(
        "SQLite find, 1 thread : tower-sessions-rusqlite-store",
        AtLeast(10.0),
        against(store, tower, find(1)),
    );
    add(
        "SQLite find, 8 threads, memory-mapped as the docs recommend : Go",
        AtLeast(3.5),
        against(mapped, go, find(8)),
    );
    add("SQLite find, 8 threads, with defaults : Go", AtLeast(1.2), against(store, go, find(8)));
    add(
        "SQLite durable commit, 1 thread : raw driver",
        AtLeast(0.95),
        against(store, raw, commit(1)),
    );
    add("SQLite durable commit, 8 threads : Go", AtLeast(4.0), against(store, go, commit(8)));
    add("SQLite durable commit, 32 threads : Go", AtLeast(5.0), against(store, go, commit(32)));
    add("SQLite commit at NORMAL, 8 threads : Go", AtLeast(1.7), against(store, go, normal(8)));
    for threads in [1, 2, 8, 32] {
        add(
            &format!("SQLite commit at NORMAL, {} : a transaction each", count(threads)),
            AtLeast(1.0),
            against(store, raw, normal(threads)),
        );
    }
    add(
        "SQLite durable login, 1 thread : token, user and data in a transaction each",
        AtLeast(2.0),
        against(store, "raw-sqlite-in-steps", Scenario { operation: Operation::Login, ..CENTRE }),
    );
    for (name, operation) in [("find", Operation::FindHit), ("commit", Operation::CommitUpdate)] {
        add(
            &format!("p99 of {name} while 500,000 of 1 million rows are swept : without"),
            AtMost(3.0),
            Figure::P99([
                Cell(store, swept(operation, true)),
                Cell(store, swept(operation, false)),
            ]),
        );
    }
    add(
        "for_each over 1 million sessions, above idle",
        AtMost(16.0),
        Figure::Memory(Cell(store, walk())),
    );
    add("for_each over 1 million sessions : raw scan", AtLeast(0.7), against(store, raw, walk()));
    add(
        "find at 1 million rows : at 10 thousand",
        AtLeast(0.6),
        Figure::Throughput([
            Cell(store, million()),
            Cell(store, Scenario { rows: 10_000, ..CENTRE }),
        ]),
    );
    add("session-manager, a request that reads", AtMost(3.0), Figure::Micro("request_that_reads"));
    add(
        "session-manager, a request that writes",
        AtMost(8.0),
        Figure::Micro("request_that_writes"),
    );
    families(&mut add);
    add(
        "dependencies of an application on store-sqlite and session-manager, rouille's own aside",
        AtMost(60.0),
        Figure::Crates,
    );
    targets
}

fn count(threads: usize) -> String {
    if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }
}

/// The targets of the stores that aren't on SQLite.
fn families(add: &mut impl FnMut(&str, Bound, Figure)) {
    use Bound::AtLeast;
    let find = |threads| Scenario { threads, ..CENTRE };
    let commit = |threads| Scenario { operation: Operation::CommitUpdate, ..find(threads) };
    let normal = |threads| Scenario { durability: Durability::Normal, ..commit(threads) };
    let against = |ours, theirs, scenario: Scenario| {
        Figure::Throughput([Cell(ours, scenario.clone()), Cell(theirs, scenario)])
    };

    let mysql: [(&str, &dyn Fn(usize) -> Scenario); 3] = [
        ("find", &find),
        ("durable commit", &commit),
        ("commit, flushed once per second", &normal),
    ];
    for (name, scenario) in mysql {
        for threads in [1, 8] {
            for (who, contender, bound) in [
                ("raw driver", "raw-mysql", 0.95),
                ("Go", "go-mysqlstore", 2.0),
                ("Go, interpolating", "go-mysqlstore-interpolated", 1.3),
            ] {
                add(
                    &format!("MySQL {name}, {} : {who}", count(threads)),
                    AtLeast(bound),
                    against("store-mysql", contender, scenario(threads)),
                );
            }
        }
    }
    for threads in [1, 8] {
        add(
            &format!("redb find, {} : raw engine", count(threads)),
            AtLeast(0.9),
            against("store-ql", "raw-redb", find(threads)),
        );
    }
    for (threads, bound) in [(8, 2.5), (32, 5.0)] {
        add(
            &format!("redb durable commit, {threads} threads : a transaction each"),
            AtLeast(bound),
            against("store-ql", "raw-redb", commit(threads)),
        );
    }
}
