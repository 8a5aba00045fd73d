//! Requests that really run at the same time: in two processes on one SQLite file, and through two
//! pools on one MySQL server.
//!
//! What comes out of each round must hold as for the interleavings that the controller makes.

use std::env;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState};
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::thread;

use serde_json::{Value, json};
use store_core::{CleanupOptions, Store};
use store_mysql::MysqlOptions;
use store_sqlite::SqliteOptions;
use test_servers::Database;

use crate::requests::{ALL, Answer, Kind, Run, Start, StoreWithDebug, World};
use crate::verdict::Reference;

/// Two for each process.
const REQUESTS: usize = 4;
const ROUNDS: u64 = 100;

/// Set in the child process, to the file of the database.
const CHILD_VARIABLE: &str = "SCHEDULER_CHILD";
const TEST: &str = "processes::requests_of_two_processes_on_sqlite_are_serializable";

/// A process that serves requests.
trait Server {
    fn begin(&mut self, world: &'static World, requests: &[(usize, Kind)]);

    fn answers(&mut self) -> Vec<(usize, Answer)>;
}

/// This process, with its own store.
struct Local {
    store: Arc<dyn StoreWithDebug>,
    serving: Vec<(usize, thread::JoinHandle<Answer>)>,
}

impl Local {
    fn new(store: Arc<dyn StoreWithDebug>) -> Self {
        Self { store, serving: Vec::new() }
    }
}

impl Server for Local {
    fn begin(&mut self, world: &'static World, requests: &[(usize, Kind)]) {
        let start = Arc::new(Barrier::new(requests.len()));
        self.serving = requests
            .iter()
            .map(|&(n, kind)| {
                let (store, start) = (Arc::clone(&self.store), Arc::clone(&start));
                let serve = move || {
                    start.wait();
                    world.serve(kind, n, store)
                };
                (n, thread::spawn(serve))
            })
            .collect();
    }

    fn answers(&mut self) -> Vec<(usize, Answer)> {
        let serving = self.serving.drain(..);
        serving.map(|(n, thread)| (n, thread.join().expect("no request panics"))).collect()
    }
}

/// A child process, which is given requests in lines of JSON, and answers in such.
struct Other {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Other {
    fn start(path: &Path) -> Self {
        let mut process = Command::new(env::current_exe().expect("the test program"))
            .args([TEST, "--exact", "--nocapture"])
            .env(CHILD_VARIABLE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let requests = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, requests, answers }
    }
}

impl Server for Other {
    fn begin(&mut self, world: &'static World, requests: &[(usize, Kind)]) {
        let place = |kind| ALL.iter().position(|own| *own == kind);
        let requests: Vec<_> = requests.iter().map(|&(n, kind)| (n, place(kind))).collect();
        let line = json!({ "world": world.to_json(), "requests": requests });
        writeln!(self.requests, "{line}").expect("the child listens");
    }

    fn answers(&mut self) -> Vec<(usize, Answer)> {
        let mut line = String::new();
        // The test harness prints its own lines.
        while !line.starts_with('[') {
            line.clear();
            assert!(self.answers.read_line(&mut line).expect("it is text") > 0, "the child ended");
        }
        let answers: Vec<(usize, Value)> = serde_json::from_str(&line).expect("it is JSON");
        let answer = |value: &Value| match value.as_str() {
            Some("superseded") => Answer::Superseded,
            Some("refused") => Answer::Refused,
            Some("failed") => Answer::Failed,
            _ => Answer::Ok(value["token"].as_str().map(str::to_owned)),
        };
        answers.iter().map(|(n, value)| (*n, answer(value))).collect()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the child does: it serves requests until there are no more.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn serve_as_child(path: &Path) {
    let mut server = Local::new(sqlite(path));
    for line in std::io::stdin().lines() {
        let order: Value = serde_json::from_str(&line.expect("it is text")).expect("it is JSON");
        let world = World::from_json(&order["world"]);
        let requests: Vec<(usize, usize)> =
            serde_json::from_value(order["requests"].clone()).expect("places of kinds");
        let requests: Vec<_> = requests.into_iter().map(|(n, place)| (n, ALL[place])).collect();
        server.begin(world, &requests);
        let answers = server.answers().into_iter().map(|(n, answer)| match answer {
            Answer::Ok(token) => json!([n, { "token": token }]),
            Answer::Superseded => json!([n, "superseded"]),
            Answer::Refused => json!([n, "refused"]),
            Answer::Failed => json!([n, "failed"]),
        });
        println!("\n{}", answers.collect::<Value>());
    }
}

fn sqlite(path: &Path) -> Arc<dyn StoreWithDebug> {
    let options = SqliteOptions::new().with_cleanup(CleanupOptions::disabled());
    Arc::new(options.open(path).expect("the file opens"))
}

fn mysql(database: &Database) -> Arc<dyn StoreWithDebug> {
    let options = MysqlOptions::new().with_cleanup(CleanupOptions::disabled());
    let pool = options.pool(&database.url()).expect("the server is there");
    options.create_table(&pool).expect("the tables can be made");
    Arc::new(options.build(pool).expect("the table suits"))
}

/// Random requests, half of them for each server.
fn check_rounds(store: &Arc<dyn StoreWithDebug>, servers: &mut [Box<dyn Server>; 2]) {
    let seed = RandomState::new().hash_one(0);
    let random = |round: u64, n: usize, below: usize| {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        usize::try_from(hasher.hash_one((seed, round, n)) % below as u64).expect("it is small")
    };
    // They need a list that only the process has which made the world.
    let is_listed = |kind: &Kind| matches!(kind, Kind::DestroyByKey | Kind::ChangeListed);
    let kinds: Vec<_> = ALL.into_iter().filter(|kind| !is_listed(kind)).collect();
    let mut answered = [0; 3];
    for round in 0..ROUNDS {
        // New tokens each time, because what became of the old ones is known for the grace.
        let [nobody, ada, plain] = World::all();
        let worlds = [nobody, ada, plain, World::sealed()];
        let world = worlds[random(round, REQUESTS, worlds.len())];
        let kinds: Vec<_> = (0..REQUESTS).map(|n| kinds[random(round, n, kinds.len())]).collect();
        clear(store);
        world.fill(store);
        let requests: Vec<_> = kinds.iter().copied().enumerate().collect();
        let halves = requests.chunks(REQUESTS / 2);
        for (server, requests) in servers.iter_mut().zip(halves) {
            server.begin(world, requests);
        }
        let mut answers: Vec<_> = servers.iter_mut().flat_map(|server| server.answers()).collect();
        answers.sort_by_key(|(n, _)| *n);
        let answers: Vec<_> = answers.into_iter().map(|(_, answer)| answer).collect();
        for answer in &answers {
            answered[match answer {
                Answer::Ok(_) => 0,
                Answer::Superseded | Answer::Refused => 1,
                Answer::Failed => 2,
            }] += 1;
        }
        let run = Run {
            state: world.state(store),
            store: Arc::clone(store),
            has_fault_struck: false,
            answers,
        };
        if let Err(violation) = Reference::new(world, &kinds).check(world, &kinds, &run) {
            let (start, is_plain, is_sealed) = (world.start, world.is_plain, world.is_sealed);
            let (answers, state) = (&run.answers, &run.state);
            panic!(
                "round {round} of {seed}, {kinds:?} from {start:?} (plain: {is_plain}, sealed: \
                 {is_sealed}): {violation}\n{answers:?}\n{state}"
            );
        }
    }
    let [ok, superseded, failed] = answered;
    assert!(ok > superseded && superseded > 0, "{ok} were answered Ok, {superseded} were not");
    assert_eq!(failed, 0, "the store waits for what is in the way");
}

fn clear(store: &Arc<dyn StoreWithDebug>) {
    let mut tokens = Vec::new();
    let walk = store.for_each(&mut |record| {
        tokens.push(record.token.to_owned());
        ControlFlow::Continue(())
    });
    walk.expect("the walk succeeds");
    for token in tokens {
        store.delete(&token).expect("delete succeeds");
    }
}

#[test]
fn requests_of_two_processes_on_sqlite_are_serializable() {
    if let Some(path) = env::var_os(CHILD_VARIABLE) {
        return serve_as_child(Path::new(&path));
    }
    let directory = tempfile::tempdir().expect("temporary directories can be made");
    let path = directory.path().join("sessions.db");
    let store = sqlite(&path);
    let (this, other) = (Local::new(Arc::clone(&store)), Other::start(&path));
    check_rounds(&store, &mut [Box::new(this), Box::new(other)]);
}

#[test]
fn requests_through_two_pools_on_mysql_are_serializable() {
    if !test_servers::is_server_there() {
        return;
    }
    let database = Database::new();
    let stores = [mysql(&database), mysql(&database)];
    let [first, second] = stores.each_ref().map(|store| Local::new(Arc::clone(store)));
    check_rounds(&stores[0], &mut [Box::new(first), Box::new(second)]);
}

impl World {
    /// What another process needs to serve requests.
    fn to_json(&self) -> Value {
        json!({
            "is_ada": self.start == Start::Ada, "is_plain": self.is_plain,
            "is_sealed": self.is_sealed, "now": self.now.to_rfc3339(),
            "cookie": self.cookie, "other": self.other, "device": self.device,
            "form": self.form,
        })
    }

    fn from_json(world: &Value) -> &'static Self {
        let text = |key: &str| world[key].as_str().expect("a text").to_owned();
        Box::leak(Box::new(Self {
            start: if world["is_ada"] == true { Start::Ada } else { Start::Nobody },
            is_plain: world["is_plain"] == true,
            is_sealed: world["is_sealed"] == true,
            now: text("now").parse().expect("an instant"),
            rows: Vec::new(),
            cookie: text("cookie"),
            other: text("other"),
            device: text("device"),
            form: text("form"),
            device_request: None,
        }))
    }
}
