//! Clauses 15, 18, 20, 21, 26 and 28 between processes: the tests start their own binary again, as
//! a child that runs the same test in another role.

use std::env;
use std::io::{self, BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::AtomicUsize;
use std::thread;

use chrono::{DateTime, TimeDelta, Utc};

use crate::DurableHarness;
use crate::calls::{an_hour_ago, commit, found, in_an_hour, unswept, walk};
use crate::concurrency::increment;
use store_core::{CleanupOptions, Error, Store};

/// Tells a child where the database is, and what to do there.
const LOCATION_VARIABLE: &str = "STORE_CONFORMANCE_LOCATION";
const ROLE_VARIABLE: &str = "STORE_CONFORMANCE_ROLE";
/// Begins each line of a child that is meant for its parent: the test runner prints some of its
/// own.
const MARK: &str = "@child@ ";

/// The child's side: what it was started for, on its parent's database.
pub(super) fn role<H: DurableHarness>() -> Option<(String, H)> {
    let role = env::var(ROLE_VARIABLE).ok()?;
    let location = env::var(LOCATION_VARIABLE).expect("a child is told the location");
    Some((role, H::attach(&location)))
}

/// Tells the parent something. Unlike `println!`, this passes the test runner's capture.
pub(super) fn tell(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "\n{MARK}{line}").and_then(|()| out.flush()).expect("the parent listens");
}

/// The parent's side: a child and what it tells. It is killed when dropped.
pub(super) struct Helper {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts this test again as a child.
    pub(super) fn start<H: DurableHarness>(
        harness: &H,
        test: &str,
        role: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        // The runner's names have no crate in front.
        let name = test.split_once("::").map_or(test, |(_, name)| name);
        let mut process = Command::new(env::current_exe().expect("tests know their binary"))
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(LOCATION_VARIABLE, harness.location())
            .env(ROLE_VARIABLE, role)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test binary can be started");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, output }
    }

    /// The next thing that the child tells; `None` when it has ended.
    pub(super) fn told(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.output.read_line(&mut line).expect("the pipe can be read") > 0 {
            // A line without its end is one that the child was killed in.
            if let Some(told) = line.strip_prefix(MARK).and_then(|told| told.strip_suffix('\n')) {
                return Some(told.to_owned());
            }
            line.clear();
        }
        None
    }

    pub(super) fn kill(&mut self) {
        // SIGKILL on Unix. It fails only where the child has ended by itself.
        let _ = self.process.kill();
    }

    /// Waits for the end, and for its asserts to have held.
    pub(super) fn finish(mut self) {
        while self.told().is_some() {}
        let status = self.process.wait().expect("the child can be waited for");
        assert!(status.success(), "the child failed with {status}");
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.kill();
        let _ = self.process.wait();
    }
}

/// Clause 28: a process killed with SIGKILL at any moment loses no session whose `commit` had
/// returned, and leaves a database that opens.
pub fn killed_process_loses_no_commit<H: DurableHarness>(new: impl Fn() -> H, test: &str) {
    if let Some((round, harness)) = role::<H>() {
        let store = unswept(&harness);
        for n in 0.. {
            // Sessions that stay, and others that are deleted again.
            commit(&store, &format!("token-{round}-{n}"), format!("{n}").as_bytes(), in_an_hour());
            commit(&store, &format!("last-{round}-{n}"), format!("{n}").as_bytes(), in_an_hour());
            if n > 0 {
                store.delete(&format!("last-{round}-{}", n - 1)).expect("delete succeeds");
            }
            tell(&n.to_string());
        }
    }
    let harness = new();
    let mut committed = Vec::new();
    for (round, kill_after) in [1, 3, 10, 40, 100].into_iter().enumerate() {
        let mut helper = Helper::start(&harness, test, &round.to_string(), &[]);
        let mut last = None;
        for _ in 0..kill_after {
            last = helper.told();
            assert!(last.is_some(), "the child ended by itself");
        }
        helper.kill();
        while let Some(told) = helper.told() {
            last = Some(told);
        }
        drop(helper);
        let last: usize = last.and_then(|n| n.parse().ok()).expect("it told a number");
        committed.push(last);

        // The database opens, and everything of this and the earlier rounds is there.
        let store = unswept(&harness);
        for (round, &last) in committed.iter().enumerate() {
            for n in 0..=last {
                let data = found(&store, &format!("token-{round}-{n}"));
                assert_eq!(data, Some(n.to_string().into_bytes()), "round {round}, commit {n}");
                // The child may have been killed between the next delete and telling of it.
                let deleted = found(&store, &format!("last-{round}-{n}"));
                assert!(deleted.is_none() || n == last, "round {round}, delete {n} of {last}");
            }
        }
        commit(&store, "after", b"the kill", in_an_hour());
    }
}

/// Clause 15: an expiry is the same instant for processes in every time zone.
pub fn expiry_does_not_depend_on_the_time_zone<H: DurableHarness>(new: impl Fn() -> H, test: &str) {
    // Half an hour either way, and the hours around New York's clock changes of 2036.
    let instants = || {
        let minutes = |minutes| Utc::now() + TimeDelta::minutes(minutes);
        let at = |time: &str| time.parse::<DateTime<Utc>>().expect("an instant");
        [
            ("soon", minutes(30)),
            ("ago", minutes(-30)),
            ("spring", at("2036-03-09T07:30:00.001Z")),
            ("autumn-first", at("2036-11-02T05:30:00.001Z")),
            ("autumn-second", at("2036-11-02T06:30:00.001Z")),
        ]
    };
    if let Some((zone, harness)) = role::<H>() {
        let store = unswept(&harness);
        assert!(found(&store, "parent-soon").is_some(), "{zone}: it lives for half an hour");
        assert!(found(&store, "parent-ago").is_none(), "{zone}: it expired half an hour ago");
        for (name, expiry) in instants() {
            commit(&store, &format!("{zone}-{name}"), b"data", expiry);
            tell(&format!("{zone}-{name} {}", expiry.to_rfc3339()));
        }
        assert_eq!(store.delete_expired().expect("delete_expired succeeds"), 1, "{zone}: its own");
        return;
    }
    let harness = new();
    for zone in ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"] {
        // Closed before the child begins: not every durable database can be open twice.
        let store = unswept(&harness);
        commit(&store, "parent-soon", b"data", Utc::now() + TimeDelta::minutes(30));
        commit(&store, "parent-ago", b"data", Utc::now() - TimeDelta::minutes(30));
        store.delete_expired().expect("delete_expired succeeds");
        drop(store);
        let mut helper = Helper::start(&harness, test, zone, &[("TZ", zone)]);
        let told: Vec<_> = std::iter::from_fn(|| helper.told()).collect();
        helper.finish();

        let store = unswept(&harness);
        assert_eq!(told.len(), instants().len(), "{zone}");
        for line in told {
            let (token, expiry) = line.split_once(' ').expect("token and expiry");
            let expiry: DateTime<Utc> = expiry.parse().expect("an instant");
            let stored = walk(&store).into_iter().find(|(t, _, _)| t == token).map(|(_, _, at)| at);
            if expiry < Utc::now() {
                assert_eq!(stored, None, "{zone}: {token} has expired");
            } else {
                let early = expiry - stored.expect("it is live");
                let kept = early >= TimeDelta::zero() && early <= TimeDelta::milliseconds(1);
                assert!(kept, "{zone}: {token} was stored {early} early");
            }
        }
    }
}

/// Clauses 9, 18 and 21: processes that count together in one session lose no count, see what the
/// others wrote, and get no error.
pub fn processes_count_together<H: DurableHarness>(new: impl Fn() -> H, test: &str) {
    const PROCESSES: usize = 3;
    const INCREMENTS: usize = 60;
    if let Some((name, harness)) = role::<H>() {
        let store = unswept(&harness);
        let conflicts = AtomicUsize::new(0);
        for n in 0..INCREMENTS {
            increment(&store, &conflicts);
            commit(&store, &format!("{name}-{n}"), name.as_bytes(), in_an_hour());
        }
        return;
    }
    let harness = new();
    let store = unswept(&harness);
    commit(&store, "counter", b"0", in_an_hour());
    let helpers: Vec<_> = (0..PROCESSES)
        .map(|i| Helper::start(&harness, test, &format!("process-{i}"), &[]))
        .collect();
    let conflicts = AtomicUsize::new(0);
    for _ in 0..INCREMENTS {
        increment(&store, &conflicts);
    }
    helpers.into_iter().for_each(Helper::finish);
    let total = ((PROCESSES + 1) * INCREMENTS).to_string();
    assert_eq!(found(&store, "counter"), Some(total.into_bytes()));
    assert_eq!(walk(&store).len(), PROCESSES * INCREMENTS + 1, "nobody's sessions are lost");
}

/// Clause 20: of processes that create the same sessions, exactly one succeeds for each, and its
/// data is what is there.
pub fn processes_race_to_create<H: DurableHarness>(new: impl Fn() -> H, test: &str) {
    const PROCESSES: usize = 3;
    const SESSIONS: usize = 60;
    let token = |n: usize| format!("token-{n}");
    // All begin when the session "go" is there.
    let work = |store: &dyn Store, name: &str| {
        while found(store, "go").is_none() {
            thread::yield_now();
        }
        let mut won = 0;
        for n in 0..SESSIONS {
            match store.create(&token(n), name.as_bytes(), in_an_hour(), None) {
                Ok(()) => won += 1,
                Err(Error::TokenTaken) => {}
                Err(error) => panic!("create: {error:?}"),
            }
            assert!(found(store, &token(n)).is_some(), "somebody has created it");
        }
        won
    };
    if let Some((name, harness)) = role::<H>() {
        let store = unswept(&harness);
        tell("ready");
        tell(&work(&store, &name).to_string());
        return;
    }
    let harness = new();
    let store = unswept(&harness);
    let names: Vec<_> = (0..PROCESSES).map(|i| format!("process-{i}")).collect();
    let mut helpers: Vec<_> =
        names.iter().map(|name| Helper::start(&harness, test, name, &[])).collect();
    for helper in &mut helpers {
        assert_eq!(helper.told().as_deref(), Some("ready"));
    }
    commit(&store, "go", b"", in_an_hour());
    let mut wins = vec![("parent".to_owned(), work(&store, "parent"))];
    for (name, helper) in names.into_iter().zip(&mut helpers) {
        let told = helper.told().and_then(|told| told.parse().ok());
        wins.push((name, told.expect("it tells how many")));
    }
    helpers.into_iter().for_each(Helper::finish);
    assert_eq!(wins.iter().map(|(_, won)| won).sum::<usize>(), SESSIONS, "{wins:?}");
    let created: Vec<_> =
        (0..SESSIONS).map(|n| found(&store, &token(n)).expect("it is live")).collect();
    for (name, won) in wins {
        let own = created.iter().filter(|data| **data == name.as_bytes()).count();
        assert_eq!(own, won, "what {name} created is what is there");
    }
}

/// Clause 26: several processes clean up one table that all of them write, without an error, and
/// remove every expired session and no live one.
pub fn processes_clean_up_together<H: DurableHarness>(new: impl Fn() -> H, test: &str) {
    const PROCESSES: usize = 3;
    const SESSIONS: usize = 60;
    let batch = std::num::NonZeroUsize::new(7).expect("not zero");
    let work = |store: &dyn Store, name: &str| {
        let mut removed = 0;
        for n in 0..SESSIONS {
            commit(store, &format!("{name}-expired-{n}"), b"data", an_hour_ago());
            commit(store, &format!("{name}-live-{n}"), b"data", in_an_hour());
            if n % 4 == 0 {
                removed += store.delete_expired().expect("delete_expired succeeds");
            }
        }
        removed
    };
    if let Some((name, harness)) = role::<H>() {
        let store = harness.store(CleanupOptions::disabled().with_batch_size(batch));
        tell(&work(&store, &name).to_string());
        return;
    }
    let harness = new();
    let store = harness.store(CleanupOptions::disabled().with_batch_size(batch));
    let mut helpers: Vec<_> = (0..PROCESSES)
        .map(|i| Helper::start(&harness, test, &format!("process-{i}"), &[]))
        .collect();
    let mut removed = work(&store, "parent");
    for helper in &mut helpers {
        let told = helper.told().expect("it tells what it removed");
        removed += told.parse::<u64>().expect("a whole number");
    }
    helpers.into_iter().for_each(Helper::finish);
    removed += store.delete_expired().expect("delete_expired succeeds");
    let total = (PROCESSES + 1) * SESSIONS;
    assert_eq!(removed, total as u64, "each expired session was removed, and counted, once");
    assert_eq!(walk(&store).len(), total, "no live session was");
}
