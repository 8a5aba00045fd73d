//! The report in Markdown.

use bench_protocol::Operation::{CommitUpdate, FindHit};

use crate::charts::Chart;
use crate::plan::{at, normal};
use crate::results::{Results, Run};
use crate::targets;

/// The table of the targets.
pub(crate) fn targets(results: &Results) -> String {
    let rows = targets::all().into_iter().map(|target| {
        let (measured, word) = match target.verdict(results) {
            Some(verdict) if verdict.is_met => (verdict.measured, "met"),
            Some(verdict) => (verdict.measured, "**missed**"),
            None => (String::new(), "not measured"),
        };
        format!("| {} | {} | {measured} | {word} |\n", target.what, target.bound())
    });
    "| what | target | measured | |\n|---|---|---|---|\n".to_owned() + &rows.collect::<String>()
}

/// The whole report.
pub(crate) fn markdown(results: &Results, charts: &[Chart]) -> String {
    let charts = charts.iter().map(|chart| format!("![{}]({})\n\n", chart.title, chart.file));
    format!(
        "# Benchmarks

`cargo xtask bench` measures all of this and writes this page; `cargo xtask bench --redraw` writes it
again from the results. Ratios carry over to other machines, figures don't.

## Charts
Higher is better. Both axes are logarithmic, so that twice as fast is the same distance everywhere.
Where the chart doesn't say otherwise there are 100,000 sessions of 256 bytes.

- Thick lines with circles, `store-*`: the stores of this repository.
- Crosses, `raw-*`: the driver or engine under the store, used directly: the limit.
- Triangles, `go-*`: the stores of scs, in Go.
- Squares, `tower-*`: the stores of tower-sessions, which are async.

{charts}## What to set
Operations per second, relative to the store on SQLite as it comes.

{settings}
## Machine and settings
{machine}
## Everything that was measured
[`results.csv`](results.csv) has a row for each contender at each point of the plan,
[`run.json`](run.json) the rest. In each of `threads` threads the contender did `operation` again and
again, on `rows` sessions of `data_len` bytes. If `half_expired`, every other session had expired; if
`swept`, these were removed concurrently.

The figures are medians over the rounds, and `rounds` has the operations per second of each.
`p50_us`, `p99_us` and `max_us`, the longest, are latencies in microseconds, `memory_kib` is the peak of
resident memory above what the process had with the store open, `written_bytes` what the process wrote
to disk per operation, and `growth_kib` how much longer the database's files became, at most. What a
database server takes and writes isn't counted. Before all of this the contender warms up; those who write do
so until the log of SQLite has its full length, so that what is measured isn't how the file system
makes a file longer. `delete_all` ends all sessions once; its latencies are those of a thread that
begins new ones meanwhile.
{micro}
## Tried in vain
- A cleanup thread that copies the log into the database instead of the writers: it competes with them
  for the disk.
- Half of that copying done by a writer whose reply is ready, while the others write on: 44,700 instead
  of 42,700 commits per second with two threads at NORMAL, within the noise. SQLite syncs the database
  in the checkpoint that reaches the end of the log, for which all wait as before, and that is most of
  it.
- Batches of a sweep that don't wait for the disk themselves: the writers wait as long.
- A page cache of 8 or 16 MiB for a million rows: 0.49 and 0.47 of ten thousand, because small tables
  gain more by it.
- No index on the end of a rotation's grace: a login of one thread is 2 to 3 % faster.
- InnoDB without the index on expiry: 1.05, 1.26 and 1.07 of the durable commits with 1, 8 and 32
  threads, and 0.90, 1.18 and 0.96 of those that are flushed once per second, of which most is noise. Go
  programs sweep by it.
- Several cookies found in one statement on MySQL: a browser sends several only where two paths or
  domains set one, and what the store adds to a round trip can't be measured (a median of 106.8 µs, the
  driver's is 107.1).
- A fork noticed without asking for the process's number: 0.1 to 0.15 µs of a find, and what does that
  notices no process that was cloned directly.
- XChaCha20-Poly1305 for sealed sessions: 1.7 instead of 0.8 µs.
- Leaders that don't linger, where a commit doesn't wait for the disk: 0.7 of a transaction each instead
  of 0.8 to 0.9 with two threads.

What a transaction each is ahead by at NORMAL:

- With one thread, the question whether the file is still the one that was opened, which the store asks
  before it writes: a `statx`, 6 % of the samples of a profile.
- With two threads and more, that one thread commits some hundred times in a row while the others
  sleep. The longest wait of a commit (`max_us`) is up to 0.8 s there with two threads, and up to 1.2 s
  with eight; in the store it is 43 and 25 ms.
- With the checkpoints that SQLite does by itself (`raw-sqlite-unbounded`) the log doesn't end while two
  threads write: it grows by 100 MB per second.

## Targets
Each is a ratio, with the two medians in parentheses, or one figure. A ratio of operations per second is
the median of the ratios within a round. [Whole runs](runs.md) has the ratios of each whole run so far.

{targets}",
        settings = settings(results),
        charts = charts.collect::<String>(),
        targets = targets(results),
        machine = machine(&results.run),
        micro = micro(&results.run),
    )
}

/// What the options of the store on SQLite gain, and what they cost.
fn settings(results: &Results) -> String {
    let points = [
        at(FindHit, 1),
        at(FindHit, 8),
        at(CommitUpdate, 1),
        at(CommitUpdate, 8),
        normal(1),
        normal(8),
    ];
    let rows = [
        ("mmap", "`with_mmap_size`", "a disk that fails while it is read ends the process"),
        ("exclusive", "`with_exclusive_process`", "no other process, not even to read"),
        ("exclusive-mmap", "both", "both"),
        ("unlocked", "SQLite without its locks", "the application builds it with flags"),
        ("indexed", "`with_expiry_index`", "nothing: the cleanup of a huge table reads less"),
    ]
    .map(|(contender, setting, cost)| {
        let ratios = points.each_ref().map(|point| {
            let ours = format!("store-sqlite-{contender}");
            match results.ratio([&*ours, "store-sqlite"].map(|contender| (contender, point))) {
                Some(ratio) => format!("{ratio:.2} |"),
                None => " |".to_owned(),
            }
        });
        format!("| {setting} | {} {cost} |\n", ratios.join(" "))
    });
    "| | find, 1 thread | 8 | durable commit, 1 thread | 8 | at NORMAL, 1 thread | 8 | the price |\n\
     |---|---|---|---|---|---|---|---|\n"
        .to_owned()
        + &rows.concat()
}

/// What it was measured on, and with what.
fn machine(run: &Run) -> String {
    let mut text = format!(
        "{}, {} cores, {} GiB of memory; Linux {}; {}; {}. Revision {}. The load average was {:.2} at \
         the start. {} rounds, in each of which each contender ran once, in a process of its own.\n\n",
        run.processor,
        run.cores,
        run.memory_gib,
        run.kernel,
        run.file_system,
        run.compiler,
        run.revision,
        run.load_before,
        run.rounds,
    );
    if run.load_before > 0.5 {
        text += "**Either this task had just been built, or other programs were running.** If they were, \
            latencies, and commits that wait for the disk, mean little here.\n\n";
    }
    text.extend(run.absent.iter().map(|absent| format!("**{absent}**\n\n")));
    text.extend(run.server.iter().map(|server| format!("The server: {server}\n\n")));
    text += "| contender | version | engine | settings |\n|---|---|---|---|\n";
    text.extend(run.contenders.iter().map(|entry| {
        format!("| {} | {} | {} | {} |\n", entry.name, entry.version, entry.engine, entry.settings)
    }));
    text
}

fn micro(run: &Run) -> String {
    if run.micro_ns.is_empty() {
        return String::new();
    }
    let rows = run.micro_ns.iter().map(|(name, ns)| format!("| {name} | {ns:.1} |\n"));
    "\n## Micro-benchmarks\nWhat the session manager takes for a request, with the sessions in memory.\n
| what | ns |\n|---|---|\n"
        .to_owned()
        + &rows.collect::<String>()
}
