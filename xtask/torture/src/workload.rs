//! The operations of each thread, and the model that says what they leave.
//!
//! The operations of a thread depend on the seed alone, because nothing but its own operations
//! changes its sessions. So both the child, which runs them, and the parent, which knows how many
//! were acknowledged, can say what must be in the store.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use store_core::{
    Change, CleanupOptions, Error, Loaded, MemoryOptions, MemoryStore, Rotation, Store,
};

/// The session that all threads change.
pub(crate) const COUNTER: &str = "counter";

/// The threads that work on a database, in one process or several.
pub(crate) const THREADS: usize = 8;

/// The tokens of a thread; sessions end and begin under the same ones.
const TOKENS: usize = 12;

const SUBJECTS: usize = 3;

/// A token of a thread.
pub(crate) fn tokens(thread: usize) -> impl Iterator<Item = String> {
    (0..TOKENS).map(move |n| format!("t{thread}-{n}"))
}

/// The subjects of a thread.
pub(crate) fn subjects(thread: usize) -> impl Iterator<Item = String> {
    (0..SUBJECTS).map(move |n| format!("s{thread}-{n}"))
}

/// An expiry that comes after every run, and that every store can hold. Stores may keep an expiry
/// that is up to a millisecond earlier; [`whole_seconds`] makes up for it.
fn later(random: &mut Rng) -> DateTime<Utc> {
    at(1_900_000_000 + random.i64(0..100_000_000))
}

/// An expiry that is past.
pub(crate) fn long_ago() -> DateTime<Utc> {
    at(1_000_000_000)
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

/// The whole seconds that a stored expiry was given as.
pub(crate) fn whole_seconds(expiry: DateTime<Utc>) -> i64 {
    (expiry + TimeDelta::milliseconds(1)).timestamp()
}

/// Data, of which messages show the beginning: the rest is padding.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Data(pub(crate) Vec<u8>);

impl fmt::Debug for Data {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = String::from_utf8_lossy(&self.0[..self.0.len().min(16)]);
        write!(formatter, "{begin:?} of {} bytes", self.0.len())
    }
}

/// An operation on the sessions of one thread.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Commit { token: String, data: Data, expiry: DateTime<Utc> },
    Create { token: String, data: Data, expiry: DateTime<Utc>, subject: Option<String> },
    Update { token: String, current: Data, change: Change<'static> },
    Touch { token: String, expiry: DateTime<Utc> },
    Delete { token: String },
    DeleteBySubject { subject: String, except: Option<String> },
    DeleteExpired,
    Load { token: String },
    FindBySubject { subject: String },
    Increment { thread: usize },
}

/// What an operation returned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Wrote(bool),
    Taken,
    Ended(u64),
    Live(Data, i64),
    Rotated(String, bool),
    Missing,
    Tokens(Vec<String>),
}

impl From<Loaded> for Outcome {
    fn from(loaded: Loaded) -> Self {
        match loaded {
            Loaded::Live { data, expiry } => Self::Live(Data(data), whole_seconds(expiry)),
            Loaded::Rotated { token, opens } => Self::Rotated(token, opens),
            Loaded::Missing => Self::Missing,
        }
    }
}

impl Op {
    /// Runs the operation on a store.
    pub(crate) fn run(&self, store: &dyn Store) -> Result<Outcome, Error> {
        let done = match self {
            Self::Commit { token, data, expiry } => {
                store.commit(token, &data.0, *expiry).map(|()| Outcome::Done)
            }
            Self::Create { token, data, expiry, subject } => {
                store.create(token, &data.0, *expiry, subject.as_deref()).map(|()| Outcome::Done)
            }
            Self::Update { token, current, change } => {
                store.update(token, &current.0, change).map(Outcome::Wrote)
            }
            Self::Touch { token, expiry } => store.touch(token, *expiry).map(Outcome::Wrote),
            Self::Delete { token } => store.delete(token).map(|()| Outcome::Done),
            Self::DeleteBySubject { subject, except } => {
                store.delete_by_subject(subject, except.as_deref()).map(Outcome::Ended)
            }
            // How many have expired depends on the other threads, and on the cleanup thread.
            Self::DeleteExpired => store.delete_expired().map(|_| Outcome::Done),
            Self::Load { token } => store.load(token).map(Outcome::from),
            Self::FindBySubject { subject } => store.find_by_subject(subject).map(|records| {
                let mut tokens: Vec<_> = records.into_iter().map(|record| record.token).collect();
                tokens.sort_unstable();
                Outcome::Tokens(tokens)
            }),
            Self::Increment { thread } => increment(store, *thread).map(|()| Outcome::Done),
        };
        match done {
            Err(Error::TokenTaken) => Ok(Outcome::Taken),
            done => done,
        }
    }
}

/// Adds one to the thread's number in the session that all threads change.
fn increment(store: &dyn Store, thread: usize) -> Result<(), Error> {
    loop {
        let Loaded::Live { data, expiry } = store.load(COUNTER)? else {
            return Err(Error::backend("the shared session is lost"));
        };
        let mut counts = counts(&data)?;
        counts[thread] += 1;
        let counted = counts.map(|count| count.to_string()).join(" ");
        if store.update(COUNTER, &data, &Change::new(counted.as_bytes(), expiry))? {
            return Ok(());
        }
    }
}

/// The numbers in the session that all threads change.
pub(crate) fn counts(data: &[u8]) -> Result<[u64; THREADS], Error> {
    let numbers = str::from_utf8(data).unwrap_or_default().split(' ').map(str::parse);
    let numbers = numbers.collect::<Result<Vec<_>, _>>().map_err(Error::backend)?;
    numbers.try_into().map_err(|_| Error::backend("the shared session is torn"))
}

/// Creates the session that all threads change, if it isn't there.
pub(crate) fn create_counter(store: &dyn Store) -> Result<(), Error> {
    let zeros = ["0"; THREADS].join(" ");
    match store.create(COUNTER, zeros.as_bytes(), at(2_000_000_000), None) {
        Ok(()) | Err(Error::TokenTaken) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The operations of a thread, one after the other, and the model to which they were applied.
#[derive(Debug)]
pub(crate) struct Workload {
    thread: usize,
    random: Rng,
    model: MemoryStore,
    applied: u64,
    next: Op,
}

impl Workload {
    /// The operations of a thread on a database of a run.
    pub(crate) fn new(seed: u64, database: u64, thread: usize) -> Result<Self, Error> {
        let model = MemoryOptions::new().with_cleanup(CleanupOptions::disabled()).build()?;
        create_counter(&model)?;
        let mut seeds = Rng::with_seed(seed ^ database.rotate_left(32) ^ (thread as u64) << 56);
        let random = Rng::with_seed(seeds.u64(..));
        let mut workload = Self { thread, random, model, applied: 0, next: Op::DeleteExpired };
        workload.next = workload.draw()?;
        Ok(workload)
    }

    /// How many operations were applied to the model.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// The model.
    pub(crate) fn model(&self) -> &dyn Store {
        &self.model
    }

    /// The operation that comes next.
    pub(crate) fn next(&self) -> &Op {
        &self.next
    }

    /// Applies the next operation to the model, and returns what it must return.
    pub(crate) fn advance(&mut self) -> Result<Outcome, Error> {
        let outcome = self.next.run(&self.model)?;
        self.applied += 1;
        self.next = self.draw()?;
        Ok(outcome)
    }

    /// Applies operations until so many were.
    pub(crate) fn advance_to(&mut self, applied: u64) -> Result<(), Error> {
        while self.applied < applied {
            self.advance()?;
        }
        Ok(())
    }

    fn draw(&mut self) -> Result<Op, Error> {
        let mut live: BTreeMap<_, _> = self.model.all()?.into_iter().collect();
        live.remove(COUNTER);
        let live: Vec<_> = live.into_iter().collect();
        let thread = self.thread;
        let data = self.data();
        let random = &mut self.random;
        let token = |random: &mut Rng| format!("t{thread}-{}", random.usize(..TOKENS));
        let subject = |random: &mut Rng| format!("s{thread}-{}", random.usize(..SUBJECTS));
        let expiry = if random.u8(..16) == 0 { long_ago() } else { later(random) };
        Ok(match random.u8(..100) {
            kind @ 0..32 => {
                let token = token(random);
                if kind < 14 {
                    Op::Commit { token, data: Data(data), expiry }
                } else {
                    let subject = random.bool().then(|| subject(random));
                    Op::Create { token, data: Data(data), expiry, subject }
                }
            }
            32..62 if !live.is_empty() => {
                let (of, current) = live[random.usize(..live.len())].clone();
                let mut change = Change::new(&data, expiry);
                let new_token = token(random);
                let (other, its_data) = &live[random.usize(..live.len())];
                if random.bool() {
                    let rotation = Rotation::new(&new_token).with_grace(Rotation::MAX_GRACE);
                    let opens = random.bool();
                    let rotation = if opens { rotation.old_token_opens() } else { rotation };
                    change = change.with_rotation(rotation);
                    // Without a rotation the grace is short, and what is there depends on the time.
                    if random.u8(..3) == 0 {
                        change = change.absorbing(other, its_data);
                    }
                }
                let subject = subject(random);
                match random.u8(..6) {
                    0 | 1 => change = change.with_subject(Some(&subject)),
                    2 => change = change.with_subject(None),
                    _ => {}
                }
                let is_outdated = random.u8(..12) == 0;
                let current = if is_outdated { b"outdated".to_vec() } else { current };
                Op::Update { token: of, current: Data(current), change: change.to_static() }
            }
            32..70 => Op::Touch { token: token(random), expiry },
            70..78 => Op::Delete { token: token(random) },
            78..82 => {
                let except = random.bool().then(|| token(random));
                Op::DeleteBySubject { subject: subject(random), except }
            }
            82..84 => Op::DeleteExpired,
            84..89 => Op::Load { token: token(random) },
            89..92 => Op::FindBySubject { subject: subject(random) },
            _ => Op::Increment { thread },
        })
    }

    /// Data that no other write has. Some spans several pages of a database.
    fn data(&mut self) -> Vec<u8> {
        let mut data = format!("{}-{} ", self.thread, self.applied).into_bytes();
        let len = match self.random.u8(..20) {
            0 => self.random.usize(4_000..20_000),
            _ => self.random.usize(..300),
        };
        data.resize_with(data.len() + len, || self.random.lowercase() as u8);
        data
    }
}
