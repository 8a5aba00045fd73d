//! Losses of power under the stores that keep a file: strace shows what a scripted process does to
//! its files, and the database is opened from what could be left of them at each sync.
//!
//! Of a file, what was written since it was last synced is there or not, each sector by itself: so
//! writes are dropped, reordered and torn, and so are changes of its length. Names are as of the
//! directory's last sync, or as of some moment since, because file systems keep their order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fmt, fs};

use chrono::{TimeDelta, Utc};
use fastrand::Rng;
use store_core::{ErrorChain, Store};

use crate::Result;
use crate::child::tell;
use crate::observation::Observation;
use crate::stores;
use crate::trace::{Event, trace};
use crate::workload::{COUNTER, Data, Workload, create_counter};

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// How often the scripted process opens the database and closes it, and what it does each time.
const SESSIONS: u64 = 4;
const OPERATIONS: u64 = 25;

/// How many different things are left at each sync: nothing of what wasn't synced, all of it, and
/// some of it.
const VARIANTS: usize = 8;

/// One of so many things that are left is opened by a process that loses its power or is killed as
/// well, and so is everything that a kill leaves while names aren't synced.
const RECOVERIES: u64 = 30;

/// As [`VARIANTS`], under a process that opens what was left.
const RECOVERY_VARIANTS: usize = 3;

/// The session of a process that opens what was left, under a token that the script doesn't use.
const REOPENED: &str = "t1-0";

/// What was tried.
#[derive(Default)]
pub(crate) struct Tally {
    scripts: u64,
    recoveries: u64,
    syncs: u64,
    losses: u64,
    kills: u64,
    happened: u64,
}

impl Tally {
    fn images(&self) -> u64 {
        self.losses + self.kills
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scripts, recoveries, syncs, losses, kills, happened } = self;
        write!(
            formatter,
            "{losses} losses of power at {syncs} syncs and {kills} kills at other I/O calls of \
             {scripts} scripted processes and {recoveries} that opened what others had left; \
             after {happened} of them an operation had happened that wasn't acknowledged"
        )
    }
}

/// What the traced process does.
pub(crate) fn script(store: &str, location: &str, seed: u64, number: u64) -> Result {
    let mut workload = Workload::new(seed, number, 0)?;
    for session in 1..=SESSIONS {
        let opened = stores::open(store, location)?;
        create_counter(&*opened.store)?;
        while workload.applied() < session * OPERATIONS {
            let outcome = workload.next().run(&*opened.store)?;
            tell(&format!("ack {}", workload.applied()))?;
            if outcome != workload.advance()? {
                return Err(format!("operation {} went wrong", workload.applied() - 1).into());
            }
        }
        if let Some(compact) = &opened.compact {
            compact()?;
        }
    }
    Ok(())
}

/// What a traced process does that opens what another has left.
pub(crate) fn reopen(store: &str, location: &str) -> Result {
    let opened = stores::open(store, location)?;
    opened.store.commit(REOPENED, b"reopened", Utc::now() + TimeDelta::days(1_000))?;
    Ok(tell("reopened")?)
}

/// Takes power away until the time is over. Without strace it can't.
pub(crate) fn run(
    store: &str,
    directory: &Path,
    seed: u64,
    time: Duration,
) -> Result<Option<Tally>> {
    let deadline = Instant::now() + time;
    // strace shows paths without links in them.
    fs::create_dir_all(directory)?;
    let directory = directory.canonicalize()?;
    let mut run = Run {
        store,
        left: directory.join(format!("{store}-left")),
        traced: directory.join(format!("{store}-traced")),
        random: Rng::with_seed(seed),
        expected: Vec::new(),
        deadline,
        tally: Tally::default(),
    };
    make_empty(&run.left)?;
    for number in 0.. {
        make_empty(&run.traced)?;
        let numbers = [seed.to_string(), number.to_string()];
        let Some(events) = run.trace("script", &numbers)? else { return Ok(None) };
        run.tally.scripts += 1;
        run.expected = expectations(seed, number)?;
        run.explore(&events, 0, true).map_err(|error| format!("process {number}, {error}"))?;
        if run.is_over() {
            break;
        }
    }
    fs::remove_dir_all(&run.left)?;
    fs::remove_dir_all(&run.traced)?;
    Ok(Some(run.tally))
}

struct Run<'a> {
    store: &'a str,
    left: PathBuf,
    traced: PathBuf,
    random: Rng,
    /// What the store shows after each number of operations.
    expected: Vec<Observation>,
    deadline: Instant,
    tally: Tally,
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        Instant::now() > self.deadline
    }

    /// Traces a process that has the directory to itself.
    fn trace(&self, role: &str, numbers: &[String]) -> Result<Option<Vec<Event>>> {
        let mut command = Command::new(env::current_exe()?);
        command.args([role, self.store]).arg(self.traced.join("sessions.db")).args(numbers);
        trace(&command, &self.traced)
    }

    /// Ends a process at each of its syncs by a loss of power, and at each other call by a kill, in
    /// random order. It begins at `begin`.
    fn explore(&mut self, events: &[Event], begin: usize, is_script: bool) -> Result {
        let is_call = |event: &Event| !matches!(event, Event::Told(_) | Event::Begin);
        let mut calls: Vec<_> = (begin..events.len()).filter(|&at| is_call(&events[at])).collect();
        self.random.shuffle(&mut calls);
        // What is left of names is the rarest.
        let unsynced = unsynced_names(events);
        calls.sort_by_key(|&at| !unsynced[at]);
        for at in calls {
            let disk = Disk::after(&events[..at]);
            let is_sync = matches!(events[at], Event::Sync { .. } | Event::SyncDirectory);
            // A kill leaves everything.
            let variants = match (is_sync, is_script) {
                (true, true) => 0..VARIANTS,
                (true, false) => 0..RECOVERY_VARIANTS,
                (false, _) => 1..2,
            };
            self.tally.syncs += u64::from(is_sync);
            for variant in variants {
                let count = if is_sync { &mut self.tally.losses } else { &mut self.tally.kills };
                *count += 1;
                let mut same = self.random.clone();
                // A place of its own: a store's last connection may be closed after the store, and
                // then SQLite deletes the log by its path.
                let left = self.left.join(self.tally.images().to_string());
                make_empty(&left)?;
                disk.leave(variant, &mut self.random, &left)?;
                let happened = self.compare(&disk, &left).map_err(|error| {
                    let (event, left) = (&events[at], left.display());
                    format!(
                        "at {at}, {event:?}, variant {variant}, left in {left}: {}",
                        ErrorChain(&*error)
                    )
                })?;
                fs::remove_dir_all(&left)?;
                self.tally.happened += u64::from(happened);
                let is_chosen = !is_sync && unsynced[at] || self.random.u64(..RECOVERIES) == 0;
                if is_script && is_chosen {
                    make_empty(&self.traced)?;
                    disk.leave(variant, &mut same, &self.traced)?;
                    self.tally.recoveries += 1;
                    let recovery = self.trace("reopen", &[])?.ok_or("strace is gone")?;
                    let (events, begin) = if is_sync {
                        after_loss(disk.acknowledged, recovery)
                    } else {
                        (after_kill(&events[..at], recovery), at)
                    };
                    self.explore(&events, begin, false).map_err(|error| {
                        format!("at {at}, variant {variant}, opened by another: {error}")
                    })?;
                }
            }
            if self.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Opens what was left. Returns whether the operation has happened that wasn't acknowledged.
    fn compare(&self, disk: &Disk<'_>, left: &Path) -> Result<bool> {
        let location = left.join("sessions.db");
        let before = &self.expected[disk.acknowledged];
        let after = self.expected.get(disk.acknowledged + 1);
        let mut has_happened = false;
        // Once more, because opening repairs what was left.
        for time in 0..2 {
            let opened = stores::open(self.store, &location.to_string_lossy())?;
            let store = &*opened.store;
            let observed = Observation::of_all(store)?.swap_remove(0);
            if observed != *before {
                has_happened = true;
                if after != Some(&observed) {
                    let difference = observed.difference(before);
                    return Err(format!("opened {time} times before: {difference}").into());
                }
            }
            if disk.is_reopened && store.find(REOPENED)?.is_none() {
                return Err("what the process committed that opened it is lost".into());
            }
            write(store)?;
        }
        Ok(has_happened)
    }
}

/// Writes something that the comparison doesn't look at.
fn write(store: &dyn Store) -> Result {
    create_counter(store)?;
    let is_live = store.touch(COUNTER, Utc::now() + TimeDelta::days(1_000))?;
    if is_live { Ok(()) } else { Err("what was just created is gone".into()) }
}

fn make_empty(directory: &Path) -> Result {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    Ok(fs::create_dir(directory)?)
}

/// What the store shows after each number of operations.
fn expectations(seed: u64, number: u64) -> Result<Vec<Observation>> {
    let mut workload = Workload::new(seed, number, 0)?;
    let mut expected = vec![Observation::of_model(workload.model(), 0)?];
    for _ in 0..SESSIONS * OPERATIONS {
        workload.advance()?;
        expected.push(Observation::of_model(workload.model(), 0)?);
    }
    Ok(expected)
}

/// Whether there are names, before each event, that the directory's sync hasn't reached.
fn unsynced_names(events: &[Event]) -> Vec<bool> {
    let mut is_unsynced = false;
    let before = |event: &Event| {
        let was_unsynced = is_unsynced;
        match event {
            Event::Link { .. } | Event::Unlink { .. } => is_unsynced = true,
            Event::SyncDirectory | Event::Begin => is_unsynced = false,
            _ => {}
        }
        was_unsynced
    };
    events.iter().map(before).collect()
}

/// What a process does that opens what a loss of power has left, and where it begins. All that was
/// left is on the disk.
fn after_loss(acknowledged: usize, recovery: Vec<Event>) -> (Vec<Event>, usize) {
    let mut events = vec![Event::Told("ack ".to_owned()); acknowledged];
    events.extend(recovery);
    let begin = events.iter().position(|event| matches!(event, Event::Begin)).unwrap_or(0);
    (events, begin)
}

/// What a process does after another one was killed. What that one hasn't synced is still pending.
fn after_kill(killed: &[Event], recovery: Vec<Event>) -> Vec<Event> {
    let mut names = BTreeMap::new();
    let mut files = 0;
    for event in killed {
        match event {
            Event::Link { name, file } => {
                names.insert(name, *file);
                files = files.max(file + 1);
            }
            Event::Unlink { name } => {
                names.remove(name);
            }
            _ => {}
        }
    }
    let mut events = killed.to_vec();
    // A file that both know by a name has its number of before; the others' numbers are new.
    let mut known = BTreeMap::new();
    let mut has_begun = false;
    for mut event in recovery {
        if let Event::Link { name, file } = &event
            && !has_begun
            && let Some(before) = names.get(name)
        {
            known.insert(*file, *before);
        }
        has_begun |= matches!(event, Event::Begin);
        if let Event::Write { file, .. }
        | Event::SetLen { file, .. }
        | Event::Sync { file }
        | Event::Link { file, .. } = &mut event
        {
            *file = known.get(file).copied().unwrap_or(files + *file);
        }
        if has_begun && !matches!(event, Event::Begin) {
            events.push(event);
        }
    }
    events
}

/// What is on a disk for sure, and what may be.
#[derive(Default)]
struct Disk<'a> {
    files: BTreeMap<usize, Vec<u8>>,
    names: BTreeMap<String, usize>,
    /// What wasn't synced.
    pending: Vec<&'a Event>,
    /// How many operations were acknowledged.
    acknowledged: usize,
    /// Whether a process that opened what was left has acknowledged its commit.
    is_reopened: bool,
}

impl<'a> Disk<'a> {
    fn after(events: &'a [Event]) -> Self {
        let mut disk = Self::default();
        for event in events {
            match event {
                Event::Told(line) => {
                    disk.acknowledged += usize::from(line.starts_with("ack "));
                    disk.is_reopened |= line == "reopened";
                }
                Event::Sync { file: synced } => {
                    disk.settle(|event| {
                        matches!(event, Event::Write { file, .. } | Event::SetLen { file, .. }
                            if file == synced)
                    });
                }
                Event::SyncDirectory | Event::Begin => {
                    disk.settle(|event| matches!(event, Event::Link { .. } | Event::Unlink { .. }));
                }
                _ => disk.pending.push(event),
            }
        }
        disk
    }

    /// Makes some of what is pending certain.
    fn settle(&mut self, is_synced: impl Fn(&Event) -> bool) {
        let (synced, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|event| is_synced(event));
        self.pending = pending;
        let synced: Vec<_> = synced;
        for event in synced {
            apply(&mut self.files, &mut self.names, event, || true);
        }
    }

    /// Makes a directory as a loss of power leaves it.
    fn leave(&self, variant: usize, random: &mut Rng, directory: &Path) -> Result {
        let (mut files, mut names) = (self.files.clone(), self.names.clone());
        let is_name = |event: &Event| matches!(event, Event::Link { .. } | Event::Unlink { .. });
        let pending_names = self.pending.iter().filter(|event| is_name(event)).count();
        let (mut names_left, kept) = match variant {
            0 => (0, 0),
            1 => (pending_names, 4),
            _ => (random.usize(..=pending_names), [1, 2, 3, 4][random.usize(..4)]),
        };
        for event in &self.pending {
            if is_name(event) {
                if names_left == 0 {
                    continue;
                }
                names_left -= 1;
            }
            let is_kept = || is_name(event) || random.u8(..4) < kept;
            apply(&mut files, &mut names, event, is_kept);
        }
        let mut written: BTreeMap<usize, &str> = BTreeMap::new();
        for (name, file) in &names {
            let path = directory.join(name);
            if let Some(first) = written.get(file) {
                fs::hard_link(directory.join(first), path)?;
            } else {
                fs::write(path, files.get(file).map_or(&[][..], Vec::as_slice))?;
                written.insert(*file, name);
            }
        }
        Ok(())
    }
}

/// Does what an event says, as far as it is kept: `is_kept` is asked for each sector.
fn apply(
    files: &mut BTreeMap<usize, Vec<u8>>,
    names: &mut BTreeMap<String, usize>,
    event: &Event,
    mut is_kept: impl FnMut() -> bool,
) {
    match event {
        Event::Write { file, start, data: Data(data) } => {
            let content = files.entry(*file).or_default();
            let mut at = *start;
            let end = start + data.len();
            while at < end {
                let until = ((at / SECTOR + 1) * SECTOR).min(end);
                if is_kept() {
                    content.resize(content.len().max(until), 0);
                    content[at..until].copy_from_slice(&data[at - start..until - start]);
                }
                at = until;
            }
        }
        Event::SetLen { file, len } if is_kept() => {
            files.entry(*file).or_default().resize(*len, 0);
        }
        Event::Link { name, file } if is_kept() => {
            names.insert(name.clone(), *file);
        }
        Event::Unlink { name } if is_kept() => {
            names.remove(name);
        }
        _ => {}
    }
}
