//! Feeds a target with inputs until one breaks it, or until it is enough.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::mutation::Plan;
use crate::{Target, corpus, memory};

/// No input may keep a target busy for so long; the slowest takes a fraction of a second.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// How often a failing input is made smaller at most.
const MAX_SHRINKS: usize = 2_000;

/// When it is enough.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// After this many inputs that were made from the corpus.
    Inputs(u64),
    /// At this time.
    Until(Instant),
}

/// What a run did that broke nothing.
#[derive(Debug, Default)]
pub struct Report {
    /// How many inputs were read.
    pub executions: u64,
    /// What happened, and how often.
    pub outcomes: BTreeMap<String, u64>,
    /// Inputs that made something happen for the first time and aren't in the corpus.
    pub new: Vec<Vec<u8>>,
    /// The most memory that an input needed, in bytes.
    pub peak_memory: usize,
}

/// An input that breaks a target.
#[derive(Debug)]
pub struct Failure {
    /// Where the input is kept.
    pub input: PathBuf,
    /// What is broken.
    pub message: String,
}

/// Feeds a target with its corpus, and with mutations that follow from the seed. The input that is
/// being read is always in a file of the directory, for inputs that end the process.
///
/// # Errors
/// If files can't be read or written.
pub fn run(
    target: &Target,
    seed: u64,
    limit: Limit,
    directory: &Path,
) -> io::Result<Result<Report, Failure>> {
    let mut run = Run::new(target, directory)?;
    let mut pool = Vec::new();
    let corpus = corpus::read(target)?.into_iter().map(|(_, input)| input);
    for input in corpus.chain((target.seeds)()) {
        if let Err(message) = run.read(&input)? {
            return run.failed(seed, &input, message).map(Err);
        }
        pool.push(input);
    }
    let kept = pool.len();
    let mut runner = TestRunner::new_with_rng(Config::default(), random_numbers(seed));
    let strategy = Plan::any(target.words);
    let mut made = 0;
    while match limit {
        Limit::Inputs(inputs) => made < inputs,
        Limit::Until(end) => Instant::now() < end,
    } {
        made += 1;
        let mut plan =
            strategy.new_tree(&mut runner).map_err(|why| io::Error::other(why.to_string()))?;
        let input = plan.current().input(&pool, target.max_len);
        match run.read(&input)? {
            Ok(true) => pool.push(input),
            Ok(false) => {}
            Err(message) => {
                let (input, message) = shrink(&mut run, &mut plan, &pool, (input, message))?;
                return run.failed(seed, &input, message).map(Err);
            }
        }
    }
    run.report.new = pool.split_off(kept);
    Ok(Ok(run.report))
}

/// Feeds a target with one input.
///
/// # Errors
/// As [`run`].
pub fn replay(
    target: &Target,
    input: &[u8],
    directory: &Path,
) -> io::Result<Result<Report, Failure>> {
    let mut run = Run::new(target, directory)?;
    match run.read(input)? {
        Ok(_) => Ok(Ok(run.report)),
        Err(message) => run.failed(0, input, message).map(Err),
    }
}

fn random_numbers(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// Makes a failing input smaller as long as it fails.
fn shrink(
    run: &mut Run<'_>,
    plan: &mut impl ValueTree<Value = Plan>,
    pool: &[Vec<u8>],
    mut failing: (Vec<u8>, String),
) -> io::Result<(Vec<u8>, String)> {
    let mut fails = true;
    // The panics of smaller inputs would say the same hundreds of times.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    for _ in 0..MAX_SHRINKS {
        if !(if fails { plan.simplify() } else { plan.complicate() }) {
            break;
        }
        let input = plan.current().input(pool, run.target.max_len);
        let outcome = run.read(&input)?;
        fails = outcome.is_err();
        if let Err(message) = outcome {
            failing = (input, message);
        }
    }
    panic::set_hook(hook);
    Ok(failing)
}

/// A run in progress.
struct Run<'a> {
    target: &'a Target,
    directory: &'a Path,
    /// The input that is being read.
    current: File,
    watchdog: Watchdog,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(target: &'a Target, directory: &'a Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join(format!("{}.current", target.name));
        let current = File::create(&path)?;
        let watchdog = Watchdog::start(path);
        Ok(Self { target, directory, current, watchdog, report: Report::default() })
    }

    /// Reads an input. Returns whether something happened that hadn't happened before, or what is
    /// broken.
    fn read(&mut self, input: &[u8]) -> io::Result<Result<bool, String>> {
        self.current.set_len(0)?;
        self.current.rewind()?;
        self.current.write_all(input)?;
        self.watchdog.executions.fetch_add(1, Ordering::Relaxed);
        let test = || catch_unwind(AssertUnwindSafe(|| (self.target.test)(input)));
        let (outcome, needed) = memory::measured(test);
        self.report.executions += 1;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(panic) => return Ok(Err(message(&*panic))),
        };
        let allowed = (self.target.max_memory)(input.len());
        if needed > allowed {
            let len = input.len();
            return Ok(Err(format!(
                "an input of {len} bytes needs {needed} bytes of memory, more than {allowed}"
            )));
        }
        self.report.peak_memory = self.report.peak_memory.max(needed);
        let count = self.report.outcomes.entry(outcome).or_default();
        *count += 1;
        Ok(Ok(*count == 1))
    }

    fn failed(&self, seed: u64, input: &[u8], message: String) -> io::Result<Failure> {
        let path = self.directory.join(format!("{}-{seed}.failing", self.target.name));
        fs::write(&path, input)?;
        Ok(Failure { input: path, message })
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// Ends the process if an input keeps the target busy forever.
struct Watchdog {
    executions: Arc<AtomicU64>,
    /// Dropping it ends the thread.
    _run: mpsc::Sender<()>,
}

impl Watchdog {
    fn start(current: PathBuf) -> Self {
        let executions = Arc::new(AtomicU64::new(0));
        let (run, ended) = mpsc::channel();
        let seen_executions = Arc::clone(&executions);
        thread::spawn(move || {
            let mut seen = 0;
            while ended.recv_timeout(HANGS_AFTER) == Err(RecvTimeoutError::Timeout) {
                let now = seen_executions.load(Ordering::Relaxed);
                if now == seen {
                    let current = current.display();
                    // Without a terminal there is nobody to tell.
                    let _ = writeln!(io::stderr(), "it hangs over the input in {current}");
                    process::abort();
                }
                seen = now;
            }
        });
        Self { executions, _run: run }
    }
}
