//! A sound store in which one thing is wrong.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::env;
use std::fmt;
use std::mem;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::backend::{Batch, CleanupThread, OwnerProcess};
use store_core::{
    Change, CleanupOptions, CleanupStatistics, Clock, Error, Loaded, MAX_SUBJECT_LEN,
    MemoryOptions, OwnedRecord, Record, Store, TokenProblem,
};

use crate::fault::Fault;
use crate::journal::{Journaled, Writing};
use crate::{FILE_LIMITS, LIMITS, lock};

type Cache = HashMap<(u64, String), Option<Vec<u8>>>;

type Row = (Vec<u8>, DateTime<Utc>);

thread_local! {
    /// What the stores take for the present on this thread, if not the present.
    static PRETENDED: Cell<Option<DateTime<Utc>>> = const { Cell::new(None) };

    /// What [`Fault::ReadsAreStale`] has found on this thread, by store and token.
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// Tells stores apart in [`CACHE`].
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct PretendedClock;

impl Clock for PretendedClock {
    fn now(&self) -> DateTime<Utc> {
        PRETENDED.get().unwrap_or_else(Utc::now)
    }
}

/// An hour fast in every time zone but UTC.
#[derive(Debug)]
struct LocalClock;

impl Clock for LocalClock {
    fn now(&self) -> DateTime<Utc> {
        let is_utc = env::var("TZ").is_ok_and(|zone| zone == "UTC");
        PretendedClock.now() + TimeDelta::hours(i64::from(!is_utc))
    }
}

/// Runs something that takes another instant for the present.
fn pretending<T>(now: DateTime<Utc>, run: impl FnOnce() -> T) -> T {
    PRETENDED.set(Some(now));
    let outcome = run();
    PRETENDED.set(None);
    outcome
}

/// Runs something for which nothing has expired yet.
pub(crate) fn forgetting_expiries<T>(run: impl FnOnce() -> T) -> T {
    pretending(DateTime::<Utc>::MIN_UTC, run)
}

pub(crate) fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn cut_to_the_second(expiry: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(expiry.timestamp(), 0).unwrap_or(expiry)
}

pub(crate) fn round_up_to_the_second(expiry: DateTime<Utc>) -> DateTime<Utc> {
    cut_to_the_second(expiry + TimeDelta::nanoseconds(999_999_999))
}

/// Beyond what databases with four digits for the year can hold.
pub(crate) fn is_far(expiry: DateTime<Utc>) -> bool {
    expiry.timestamp() >= 253_402_300_800
}

pub(crate) fn too_far(expiry: DateTime<Utc>) -> Error {
    let (earliest, latest) = (DateTime::UNIX_EPOCH, in_an_hour());
    Error::ExpiryOutOfRange { expiry, earliest, latest }
}

pub(crate) fn cut_to_limit(token: &str) -> &str {
    token.get(..LIMITS.max_token_len).unwrap_or(token)
}

/// Lets other threads into the gap between two steps that should be one.
pub(crate) fn pause() {
    thread::sleep(Duration::from_micros(300));
}

/// A lock that can be held from one call to the next.
#[derive(Default)]
struct Gate {
    held: Mutex<bool>,
    released: Condvar,
}

impl Gate {
    fn set_held(&self, held: bool) {
        *lock(&self.held) = held;
        self.released.notify_all();
    }

    fn pass(&self) {
        let guard = self.released.wait_while(lock(&self.held), |held| *held);
        drop(guard.unwrap_or_else(PoisonError::into_inner));
    }
}

/// A sound store in which one thing is wrong.
pub(crate) struct Broken {
    pub(crate) fault: Fault,
    owner: OwnerProcess,
    id: u64,
    /// Whether other processes use it.
    is_shared: bool,
    pub(crate) inner: Arc<Journaled>,
    /// Takes the place of the inner store's thread where that is at fault.
    cleanup: Option<CleanupThread>,
    is_disabled: bool,
    gate: Arc<Gate>,
    is_stopped: AtomicBool,
    is_busy: AtomicBool,
    commits: AtomicU64,
    /// Rows that should not be there, but would have to be swept.
    leftovers: AtomicU64,
    inserted: Mutex<HashSet<String>>,
    inserted_twice: Mutex<HashSet<String>>,
    pub(crate) notes: Mutex<Notes>,
}

/// What a store at fault keeps for itself.
#[derive(Default)]
pub(crate) struct Notes {
    /// The new token of each rotation, by the old one.
    pub(crate) next: HashMap<String, String>,
    /// Whether a rotation let the old token open the session, by the old one.
    pub(crate) opens: HashMap<String, bool>,
    /// The same by the new one.
    pub(crate) last_opens: HashMap<String, bool>,
    /// Rotations that failed.
    pub(crate) failed: HashMap<String, String>,
    /// Old tokens that a cleanup has forgotten.
    pub(crate) forgotten: HashSet<String>,
    /// The subject that each token got last.
    pub(crate) subjects: HashMap<String, String>,
    /// Tokens with subjects that they had before.
    pub(crate) earlier: HashSet<(String, String)>,
    /// Subjects of updates that were refused.
    pub(crate) refused: HashMap<String, String>,
}

impl Broken {
    /// Opens the store in memory, or on a journal.
    pub(crate) fn open(
        fault: Fault,
        options: CleanupOptions,
        journal: Option<&Path>,
    ) -> Result<Self, Error> {
        let batch_size = options.batch_size();
        let writing = match fault {
            Fault::WritesAreBuffered => Writing::Buffered,
            Fault::GraceIsCountedPerProcess => Writing::WithoutGrace,
            _ => Writing::AtOnce,
        };
        let inner = |cleanup| {
            let memory = MemoryOptions::new()
                .with_cleanup(cleanup)
                .with_limits(if journal.is_some() { FILE_LIMITS } else { LIMITS })
                .with_clock(match fault {
                    Fault::ClockIsLocal => Arc::new(LocalClock),
                    _ => Arc::new(PretendedClock),
                })
                .build()?;
            Ok::<_, Error>(Arc::new(match journal {
                Some(path) => Journaled::open(memory, path, writing),
                None => Journaled::in_memory(memory),
            }))
        };
        let is_disabled =
            !CleanupThread::start(options.clone(), || Ok(Batch { removed: 0, has_more: false }))?
                .is_running();
        let gate = Arc::<Gate>::default();
        let has_own_thread = matches!(
            fault,
            Fault::ThreadNeverRuns
                | Fault::ThreadIsMissing
                | Fault::CleanupIsOneBatch
                | Fault::CleanupEndsAfterABatch
                | Fault::CleanupHoldsTheLock
                | Fault::CleanupLogsTheToken
        );
        let (inner, cleanup) = if has_own_thread {
            let inner = inner(CleanupOptions::disabled().with_batch_size(batch_size))?;
            let remove_batch = {
                let (inner, gate) = (Arc::clone(&inner), Arc::clone(&gate));
                move || remove_batch(&inner, &gate, fault, batch_size.get())
            };
            let has_thread = fault != Fault::ThreadIsMissing;
            let cleanup =
                has_thread.then(|| CleanupThread::start(options, remove_batch)).transpose()?;
            (inner, cleanup)
        } else {
            (inner(options)?, None)
        };
        Ok(Self {
            fault,
            is_shared: journal.is_some(),
            owner: OwnerProcess::current(),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            inner,
            cleanup,
            is_disabled,
            gate,
            is_stopped: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            leftovers: AtomicU64::new(0),
            inserted: Mutex::default(),
            inserted_twice: Mutex::default(),
            notes: Mutex::default(),
        })
    }

    fn stop_wrongly(&self) {
        let is_again = self.is_stopped.swap(true, Ordering::AcqRel);
        match self.fault {
            Fault::StopHangsAfterAFork if self.owner.is_forked() => loop {
                thread::park();
            },
            Fault::StopWaitsForTheTick => loop {
                thread::park();
            },
            Fault::StopLeavesTheThread => return,
            Fault::StopOnlySignals => {
                let inner = Arc::clone(&self.inner);
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(30));
                    inner.stop_cleanup();
                });
                return;
            }
            Fault::StopPanicsTheSecondTime => assert!(!is_again, "there is no thread to stop"),
            Fault::StopWaitsForTheFirstCallerOnly => {
                if is_again {
                    return;
                }
                thread::sleep(Duration::from_millis(30));
            }
            Fault::StopRunsOnceMore => {
                self.inner.delete_expired().expect("a cleanup in memory succeeds");
            }
            _ => {}
        }
        self.inner.stop_cleanup();
        if let Some(cleanup) = &self.cleanup {
            cleanup.stop();
        }
    }

    /// Lets other threads into a gap, or a parent that is about to kill this process.
    pub(crate) fn pause(&self) {
        if self.is_shared { thread::sleep(Duration::from_millis(3)) } else { pause() }
    }

    /// What every operation but a find begins with.
    fn begin(&self) -> Result<(), Error> {
        if self.fault == Fault::StopClosesTheStore && self.is_stopped.load(Ordering::Acquire) {
            return Err(Error::backend("the store is closed"));
        }
        self.gate.pass();
        Ok(())
    }

    /// What the store makes of a token.
    fn token<'a>(&self, token: &'a str) -> Cow<'a, str> {
        match self.fault {
            Fault::TokensFoldCase => token.to_ascii_lowercase().into(),
            Fault::TokensFoldAccents => token.replace('á', "a").replace('\u{301}', "").into(),
            Fault::TokensAreNormalised => token.replace("a\u{301}", "á").into(),
            Fault::TokensAreTrimmed => token.trim_end_matches(' ').into(),
            Fault::TokensEndAtNul => token.split('\0').next().unwrap_or_default().into(),
            Fault::OverlongTokensAreCut => cut_to_limit(token).into(),
            _ => token.into(),
        }
    }

    /// What the store makes of a subject.
    fn subject<'a>(&self, subject: &'a str) -> Cow<'a, str> {
        match self.fault {
            Fault::SubjectsFoldCase => subject.to_ascii_lowercase().into(),
            Fault::OverlongSubjectsAreCut => {
                let longest = MAX_SUBJECT_LEN.min(subject.len());
                let end = (0..=longest).rev().find(|&end| subject.is_char_boundary(end));
                subject[..end.unwrap_or_default()].into()
            }
            _ => subject.into(),
        }
    }

    /// What the store makes of data.
    fn data<'a>(&self, data: &'a [u8]) -> Cow<'a, [u8]> {
        match self.fault {
            Fault::DataIsCutAt64KiB => data[..data.len().min(65_536)].into(),
            Fault::OversizedDataIsCut => data[..data.len().min(LIMITS.max_data_len)].into(),
            _ => data.into(),
        }
    }

    /// What the store makes of an expiry.
    fn expiry(&self, expiry: DateTime<Utc>) -> DateTime<Utc> {
        match self.fault {
            Fault::ExpiryIsRoundedUp if !is_far(expiry) => round_up_to_the_second(expiry),
            Fault::ExpiryIsCutToTheSecond => cut_to_the_second(expiry),
            Fault::FarExpiryWraps if is_far(expiry) => DateTime::<Utc>::MIN_UTC,
            Fault::FarExpiryPanics => {
                assert!(!is_far(expiry), "attempt to add with overflow");
                expiry
            }
            Fault::FarExpiryIsMovedNearer if is_far(expiry) => {
                DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(expiry)
            }
            Fault::EarlyExpiryWraps if expiry.timestamp() < -1_000_000_000 => {
                DateTime::<Utc>::MAX_UTC
            }
            Fault::EpochMeansNever if expiry == DateTime::UNIX_EPOCH => DateTime::<Utc>::MAX_UTC,
            _ => expiry,
        }
    }

    /// What the store makes of a change.
    fn change(&self, change: &Change<'_>) -> Change<'static> {
        let mut change = change.to_static();
        change.data = self.data(&change.data).into_owned().into();
        change.expiry = change.expiry.map(|expiry| self.expiry(expiry));
        if let Some(rotation) = &mut change.rotation {
            rotation.new_token = self.token(&rotation.new_token).into_owned().into();
        }
        if let Some(Some(subject)) = &mut change.subject {
            *subject = self.subject(subject).into_owned().into();
        }
        for absorbed in &mut change.absorbed {
            absorbed.token = self.token(&absorbed.token).into_owned().into();
            absorbed.data = self.data(&absorbed.data).into_owned().into();
        }
        if let Some(expected) = &mut change.expected_sessions {
            expected.subject = self.subject(&expected.subject).into_owned().into();
            for token in &mut expected.tokens {
                *token = self.token(token).into_owned().into();
            }
        }
        change
    }

    /// The data and expiry of a session, also of an expired one.
    pub(crate) fn row(&self, token: &str) -> Result<Option<Row>, Error> {
        let mut row = None;
        forgetting_expiries(|| {
            self.inner.for_each(&mut |record| {
                if record.token == token {
                    row = Some((record.data.to_owned(), record.expiry));
                }
                ControlFlow::Continue(())
            })
        })?;
        Ok(row)
    }

    /// Makes this thread read again what it has changed itself.
    pub(crate) fn forget_cached(&self, token: &str) {
        if self.fault == Fault::ReadsAreStale {
            pause();
            CACHE.with_borrow_mut(|cache| cache.remove(&(self.id, token.to_owned())));
        }
    }

    fn find_cached(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        pause();
        let key = (self.id, token.to_owned());
        if let Some(data) = CACHE.with_borrow(|cache| cache.get(&key).cloned()) {
            return Ok(data);
        }
        let data = self.inner.find(token)?;
        CACHE.with_borrow_mut(|cache| cache.insert(key, data.clone()));
        Ok(data)
    }

    /// Visits page by page in the order of tokens, each page read when its turn comes.
    fn walk_in_order_of_tokens(
        &self,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut last = String::new();
        loop {
            let mut page = Vec::new();
            self.inner.for_each(&mut |record| {
                if record.token > &*last {
                    page.push((record.token.to_owned(), record.data.to_owned(), record.expiry));
                }
                ControlFlow::Continue(())
            })?;
            page.sort();
            page.truncate(50);
            let Some((token, ..)) = page.last() else { return Ok(()) };
            last.clone_from(token);
            for (token, data, expiry) in &page {
                if visit(Record::new(token, data, *expiry)).is_break() {
                    return Ok(());
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The tokens of some expired sessions, as they are now.
fn expired_tokens(store: &Journaled, max: usize) -> Result<Vec<String>, Error> {
    let now = Utc::now();
    let mut tokens = Vec::new();
    forgetting_expiries(|| {
        store.for_each(&mut |record| {
            if record.expiry <= now && tokens.len() < max {
                tokens.push(record.token.to_owned());
            }
            ControlFlow::Continue(())
        })
    })?;
    Ok(tokens)
}

/// A batch on a cleanup thread that is at fault.
fn remove_batch(store: &Journaled, gate: &Gate, fault: Fault, max: usize) -> Result<Batch, Error> {
    match fault {
        Fault::ThreadNeverRuns => return Ok(Batch { removed: 0, has_more: false }),
        Fault::CleanupIsOneBatch => {
            return Ok(Batch { removed: store.delete_expired()?, has_more: false });
        }
        _ => {}
    }
    if fault == Fault::CleanupHoldsTheLock {
        gate.set_held(true);
    }
    let tokens = expired_tokens(store, max)?;
    for token in &tokens {
        if fault == Fault::CleanupLogsTheToken {
            log::trace!("removing {token}");
        }
        store.delete(token)?;
    }
    let more = tokens.len() == max && fault != Fault::CleanupEndsAfterABatch;
    if !more {
        gate.set_held(false);
    }
    Ok(Batch { removed: tokens.len() as u64, has_more: more })
}

impl Store for Broken {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        let token = &*self.token(token);
        match self.fault {
            Fault::FindForgetsTheExpiry => forgetting_expiries(|| self.inner.find(token)),
            Fault::FindRefusesEmptyTokens if token.is_empty() => {
                Err(Error::InvalidToken(TokenProblem::Empty))
            }
            Fault::FindRefusesOverlongTokens if !token.is_empty() => {
                LIMITS.check_token(token)?;
                self.inner.find(token)
            }
            Fault::FindCutsOverlongTokens => self.inner.find(cut_to_limit(token)),
            Fault::FindGivesAnotherSession => match self.inner.find(token)? {
                None => Ok(self.inner.all()?.into_values().next()),
                found => Ok(found),
            },
            Fault::EmptyDataIsMissing => {
                Ok(self.inner.find(token)?.filter(|data| !data.is_empty()))
            }
            Fault::DataIsMadeUtf8 => {
                let data = self.inner.find(token)?;
                Ok(data.map(|data| String::from_utf8_lossy(&data).into_owned().into_bytes()))
            }
            Fault::ReadsAreStale => self.find_cached(token),
            Fault::FindIgnoresTheFork if self.owner.is_forked() => Ok(None),
            Fault::CleanupHoldsTheLock => {
                self.gate.pass();
                self.inner.find(token)
            }
            Fault::FindFollowsRotations => self.inner.find(&self.newest(token)?),
            Fault::FindLogsTheToken => {
                log::trace!("looking for {token}");
                self.inner.find(token)
            }
            _ => self.inner.find(token),
        }
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.load_wrongly(&self.token(token))
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.begin()?;
        let (token, data) = (&*self.token(token), &*self.data(data));
        let mut expiry = self.expiry(expiry);
        match self.fault {
            Fault::CommitKeepsTheOldExpiry => {
                expiry = self.row(token)?.map_or(expiry, |(_, expiry)| expiry);
            }
            Fault::CommitKeepsTheOldData => {
                if let Some((old, _)) = self.row(token)? {
                    return self.inner.commit(token, &old, expiry);
                }
            }
            Fault::CommitLeavesTheExpiredRow
                if self.inner.find(token)?.is_none() && self.row(token)?.is_some() =>
            {
                self.leftovers.fetch_add(1, Ordering::Relaxed);
            }
            Fault::CommitIgnoresPastExpiries if expiry < Utc::now() => return Ok(()),
            Fault::QuotesBreakTheStatement if token.contains('\'') => {
                return Err(Error::backend("syntax error"));
            }
            Fault::OversizedDataWipesTheOld if LIMITS.check_data(data).is_err() => {
                self.inner.commit(token, b"", expiry)?;
            }
            Fault::OversizedDataIsMisreported => {
                let refused = self.inner.commit(token, data, expiry);
                return refused.map_err(|error| match error {
                    Error::DataTooLarge { max, .. } => Error::DataTooLarge { len: max, max },
                    error => error,
                });
            }
            Fault::OutOfRangeIsReportedTooLate if is_far(expiry) => {
                self.inner.commit(token, data, in_an_hour())?;
                return Err(too_far(expiry));
            }
            Fault::SomeCommitsAreLost
                if self.commits.fetch_add(1, Ordering::Relaxed) % 20 == 19 =>
            {
                return Ok(());
            }
            Fault::ValuesAreTorn => {
                let half = data.len() / 2;
                self.inner.commit(token, &data[..half], expiry)?;
                pause();
            }
            Fault::FirstCommitsInsertTwice => {
                let is_new = self.inner.find(token)?.is_none();
                pause();
                if is_new && !lock(&self.inserted).insert(token.to_owned()) {
                    lock(&self.inserted_twice).insert(token.to_owned());
                }
            }
            Fault::ContentionIsReported | Fault::CleanupReportsContention => {
                let is_busy = self.is_busy.swap(true, Ordering::AcqRel);
                if is_busy && self.fault == Fault::ContentionIsReported {
                    return Err(Error::Contended { source: "database is locked".into() });
                }
                pause();
                self.is_busy.store(false, Ordering::Release);
            }
            Fault::RunsAlthoughDisabled if self.is_disabled => {
                self.inner.delete_expired()?;
            }
            Fault::CommitMovesToTheEnd => self.inner.delete(token)?,
            Fault::ErrorsNameTheToken => {
                let refused = self.inner.commit(token, data, expiry);
                return refused
                    .map_err(|error| Error::backend(format!("{token} was refused: {error}")));
            }
            // Or the cleanup would be over before there is anything to renew.
            Fault::CleanupPicksFirst => pause(),
            Fault::CommitLogsTheToken => log::trace!("writing {token}"),
            _ => {}
        }
        self.forget_cached(token);
        let is_new = self.inner.find(token)?.is_none();
        // For this fault alone: to see the row, the store forgets expiries for a moment.
        let was_expired = self.fault == Fault::CommitKeepsTheExpiredSubject
            && is_new
            && self.row(token)?.is_some();
        self.inner.commit(token, data, expiry)?;
        let subject = match self.fault {
            Fault::CommitClearsTheSubject => None,
            Fault::SubjectOutlivesTheSession if is_new => {
                lock(&self.notes).subjects.get(token).cloned()
            }
            Fault::CommitKeepsTheExpiredSubject if was_expired => {
                lock(&self.notes).subjects.get(token).cloned()
            }
            Fault::RefusedSubjectIsKept if is_new => lock(&self.notes).refused.get(token).cloned(),
            _ => return Ok(()),
        };
        let change = Change::new(data, expiry).with_subject(subject.as_deref());
        self.inner.update(token, data, &change).map(drop)
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        self.begin()?;
        self.create_wrongly(&self.token(token), self.change(change))
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        self.begin()?;
        self.update_wrongly(&self.token(token), &self.data(current), self.change(change))
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        self.begin()?;
        let token = &*self.token(token);
        let mut expiry = self.expiry(expiry);
        match self.fault {
            Fault::TouchFoldsCase => {
                let mut touched = false;
                for other in self.inner.all()?.keys() {
                    touched |=
                        other.eq_ignore_ascii_case(token) && self.inner.touch(other, expiry)?;
                }
                return Ok(touched);
            }
            Fault::TouchCutsToTheSecond => expiry = cut_to_the_second(expiry),
            Fault::OutOfRangeIsReportedTooLate if is_far(expiry) => return Err(too_far(expiry)),
            Fault::TouchWrapsFarExpiries if is_far(expiry) => expiry = DateTime::<Utc>::MIN_UTC,
            Fault::TouchCreates if self.row(token)?.is_none() => {
                self.inner.commit(token, b"", expiry)?;
                return Ok(true);
            }
            Fault::TouchRevives => {
                return forgetting_expiries(|| self.inner.touch(token, expiry));
            }
            Fault::TouchChangesTheData => {
                let Some(data) = self.inner.find(token)? else { return Ok(false) };
                let data = data.strip_suffix(b"\0").unwrap_or(&data);
                self.inner.commit(token, data, expiry)?;
                return Ok(true);
            }
            Fault::TouchDoesNothing => return Ok(self.inner.find(token)?.is_some()),
            Fault::TouchOnlyExtends => {
                expiry = self.row(token)?.map_or(expiry, |(_, old)| old.max(expiry));
            }
            Fault::TouchMovesAll => {
                let is_live = self.inner.find(token)?.is_some();
                for other in self.inner.all()?.keys() {
                    self.inner.touch(other, expiry)?;
                }
                return Ok(is_live);
            }
            Fault::TouchFollowsRotations => {
                return self.inner.touch(&self.newest(token)?, expiry);
            }
            Fault::TouchClearsTheSubject => {
                let Some(data) = self.inner.find(token)? else { return Ok(false) };
                let change = Change::new(&data, expiry).with_subject(None);
                return self.inner.update(token, &data, &change);
            }
            Fault::TouchLogsTheToken => log::trace!("touching {token}"),
            _ => {}
        }
        self.forget_cached(token);
        self.inner.touch(token, expiry)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        self.begin()?;
        let token = &*self.token(token);
        match self.fault {
            Fault::DeleteCutsOverlongTokens => return self.inner.delete(cut_to_limit(token)),
            Fault::DeleteMatchesPatterns => {
                let Some(prefix) = token.strip_suffix('%') else { return self.inner.delete(token) };
                for other in self.inner.all()?.keys().filter(|other| other.starts_with(prefix)) {
                    self.inner.delete(other)?;
                }
                return Ok(());
            }
            Fault::DeleteOfAMissingSessionFails if self.row(token)?.is_none() => {
                return Err(Error::backend("no row was deleted"));
            }
            Fault::DeleteDoesNothing => return Ok(()),
            Fault::DeleteTakesEffectLater => {
                return self.inner.touch(token, Utc::now() + TimeDelta::seconds(60)).map(drop);
            }
            Fault::DeleteOnlyExpires => {
                return self.inner.touch(token, DateTime::UNIX_EPOCH).map(drop);
            }
            Fault::DeleteFollowsNoRotation
            | Fault::DeleteFollowsOneRotation
            | Fault::DeleteFollowsInTwoSteps => return self.delete_following(token),
            Fault::DeleteLogsTheToken => log::trace!("deleting {token}"),
            _ => {}
        }
        self.forget_cached(token);
        self.inner.delete(token)
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.begin()?;
        match self.fault {
            Fault::DeleteAllLeavesTheExpired => {
                let tokens: Vec<_> = self.inner.all()?.into_keys().collect();
                tokens.iter().try_for_each(|token| self.inner.delete(token))?;
                Ok(tokens.len() as u64)
            }
            Fault::DeleteAllLeavesTheSubjects => {
                let (mut removed, expired) = (0, Utc::now() - TimeDelta::hours(1));
                for token in self.inner.all()?.into_keys() {
                    self.inner.touch(&token, expired)?;
                    removed += 1;
                }
                Ok(removed)
            }
            _ => self.inner.delete_all(),
        }
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        self.begin()?;
        match self.fault {
            Fault::CommitLeavesTheExpiredRow => {
                Ok(self.inner.delete_expired()? + self.leftovers.swap(0, Ordering::Relaxed))
            }
            Fault::CleanupReportsContention if self.is_busy.load(Ordering::Acquire) => {
                Err(Error::Contended { source: "database is locked".into() })
            }
            Fault::CleanupRemovesTheLive => {
                pretending(Utc::now() + TimeDelta::hours(2), || self.inner.delete_expired())
            }
            Fault::CleanupForgetsRotations => {
                let mut notes = lock(&self.notes);
                notes.forgotten = notes.next.keys().cloned().collect();
                self.inner.delete_expired()
            }
            Fault::CleanupCountsRotations => {
                Ok(self.inner.delete_expired()? + lock(&self.notes).next.len() as u64)
            }
            Fault::CleanupMiscounts => Ok(self.inner.delete_expired()?.min(1)),
            Fault::CleanupRemovesOneBatch | Fault::CleanupPicksFirst => {
                let tokens = expired_tokens(&self.inner, 10)?;
                if self.fault == Fault::CleanupPicksFirst {
                    pause();
                }
                for token in &tokens {
                    self.inner.delete(token)?;
                }
                Ok(tokens.len() as u64)
            }
            _ => self.inner.delete_expired(),
        }
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.begin()?;
        match self.fault {
            Fault::FirstCommitsInsertTwice => self.inner.for_each(&mut |record| {
                if lock(&self.inserted_twice).contains(record.token) {
                    visit(record)?;
                }
                visit(record)
            }),
            Fault::WalkShowsTheExpired => forgetting_expiries(|| self.inner.for_each(visit)),
            Fault::WalkShowsOneTwice | Fault::WalkSkipsAtPages => {
                let mut n = 0;
                self.inner.for_each(&mut |record| {
                    n += 1;
                    if n == 1_000 && self.fault == Fault::WalkShowsOneTwice {
                        visit(record)?;
                    }
                    if n % 256 == 0 && self.fault == Fault::WalkSkipsAtPages {
                        return ControlFlow::Continue(());
                    }
                    visit(record)
                })
            }
            Fault::WalkIgnoresTheBreak => self.inner.for_each(&mut |record| {
                let _ = visit(record);
                ControlFlow::Continue(())
            }),
            Fault::WalkHoldsALock => {
                self.gate.set_held(true);
                let outcome = self.inner.for_each(visit);
                self.gate.set_held(false);
                outcome
            }
            Fault::WalkInOrderOfTokens => self.walk_in_order_of_tokens(visit),
            Fault::CommitMovesToTheEnd => self.inner.for_each(&mut |record| {
                let outcome = visit(record);
                thread::yield_now();
                outcome
            }),
            Fault::WalkLogsTheToken => self.inner.for_each(&mut |record| {
                log::trace!("visiting {}", record.token);
                visit(record)
            }),
            _ => self.inner.for_each(visit),
        }
    }

    fn all(&self) -> Result<HashMap<String, Vec<u8>>, Error> {
        let mut sessions = HashMap::new();
        self.for_each(&mut |record| {
            sessions.insert(record.token.to_owned(), record.data.to_owned());
            if self.fault == Fault::AllShowsOne {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(sessions)
    }

    fn count(&self) -> Result<u64, Error> {
        self.begin()?;
        match self.fault {
            Fault::CountIncludesTheExpired => forgetting_expiries(|| self.inner.count()),
            Fault::CountIncludesOldTokens => {
                Ok(self.inner.count()? + lock(&self.notes).next.len() as u64)
            }
            _ => self.inner.count(),
        }
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.begin()?;
        self.find_by_subject_wrongly(&self.subject(subject))
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.begin()?;
        match self.fault {
            Fault::SubjectOfShowsTheExpired => {
                forgetting_expiries(|| self.inner.subject_of(&self.token(token)))
            }
            Fault::SubjectOfFollowsRotations => match self.inner.load(&self.token(token))? {
                Loaded::Rotated { token, .. } => self.inner.subject_of(&token),
                _ => self.inner.subject_of(&self.token(token)),
            },
            Fault::SubjectOfIsNone => Ok(None),
            _ => self.inner.subject_of(&self.token(token)),
        }
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        self.begin()?;
        let except = except.map(|except| self.token(except));
        self.delete_by_subject_wrongly(&self.subject(subject), except.as_deref())
    }

    fn now(&self) -> DateTime<Utc> {
        match self.fault {
            Fault::NowIsOfAnotherClock => self.inner.now() - TimeDelta::minutes(20),
            _ => self.inner.now(),
        }
    }

    fn stop_cleanup(&self) {
        self.stop_wrongly();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        match (self.fault, &self.cleanup) {
            (Fault::StatisticsAreEmpty, _) => CleanupStatistics::default(),
            (_, Some(cleanup)) => cleanup.statistics(),
            (_, None) => self.inner.cleanup_statistics(),
        }
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Broken");
        debug.field("fault", &self.fault).field("inner", &self.inner);
        let sessions = self.inner.all().unwrap_or_default();
        match self.fault {
            Fault::DebugShowsTheToken => debug.field("tokens", &sessions.keys()).finish(),
            Fault::DebugShowsTheData => debug.field("data", &sessions.values()).finish(),
            _ => debug.finish_non_exhaustive(),
        }
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        if self.fault == Fault::DropLeaksTheThread {
            mem::forget(Arc::clone(&self.inner));
        }
    }
}
