//! The conformance kit can fail: each of these stores breaks a promise, and a claim notices.
//!
//! A [`Broken`] store is a sound one with one [`Fault`]. Each test below is named after a claim of the
//! kit and a fault that it must catch; a store without a fault passes all claims.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::mem;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::conformance::{self, Harness};
use store_core::{
    Batch, Cleanup, CleanupOptions, Clock, Error, Limits, MemoryOptions, MemoryStore, Record,
    Store, SubjectStore, TokenProblem,
};

/// Small, so that data at the limit is quick to make.
const LIMITS: Limits = Limits { max_token_len: 255, max_data_len: 1 << 20 };

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing: the control.
    None,

    // Finding.
    FindForgetsTheExpiry,
    FindRefusesEmptyTokens,
    FindRefusesOverlongTokens,
    FindCutsOverlongTokens,
    FindGivesAnotherSession,
    EmptyDataIsMissing,
    DataIsCutAt64KiB,
    DataIsMadeUtf8,

    FindWithExpiryForgetsTheExpiry,
    FindWithExpiryShowsALaterOne,
    FindWithExpiryGivesOldData,

    // Committing.
    CommitKeepsTheOldExpiry,
    CommitKeepsTheOldData,
    CommitLeavesTheExpiredRow,
    CommitIgnoresPastExpiries,

    // Tokens.
    TokensFoldCase,
    TokensFoldAccents,
    TokensAreNormalised,
    TokensAreTrimmed,
    TokensEndAtNul,
    TouchFoldsCase,
    RenameFoldsCase,
    QuotesBreakTheStatement,
    DeleteMatchesPatterns,

    // Limits.
    OverlongTokensAreCut,
    RenameCutsOverlongTokens,
    RenameToAnInvalidTokenDeletes,
    DeleteCutsOverlongTokens,
    OversizedDataIsCut,
    OversizedDataWipesTheOld,
    OversizedDataIsMisreported,

    // Expiries.
    ExpiryIsRoundedUp,
    ExpiryIsCutToTheSecond,
    TouchCutsToTheSecond,
    FarExpiryWraps,
    FarExpiryPanics,
    FarExpiryIsMovedNearer,
    TouchWrapsFarExpiries,
    ReplacePanicsAtFarExpiries,
    EarlyExpiryWraps,
    EpochMeansNever,
    OutOfRangeIsReportedTooLate,

    // Replacing.
    ReplaceCreates,
    ReplaceRevives,
    ReplaceIgnoresCurrent,
    ReplaceFoldsCase,
    ReplaceDeniesTheSameBytes,
    ReplaceKeepsTheOldExpiry,
    ReplaceRoundsUp,
    ReplaceNeverMatches,
    ReplaceIsTwoSteps,

    // Touching.
    TouchCreates,
    TouchRevives,
    TouchChangesTheData,
    TouchDoesNothing,
    TouchOnlyExtends,
    TouchMovesAll,

    // Renaming.
    RenameCopies,
    RenameDeletesFirst,
    RenameDeletesLast,
    RenameOverwrites,
    RenameChecksFirst,
    RenameResetsTheExpiry,
    RenameRevives,
    RenameOfAMissingSessionFails,
    RenameFails,

    // Deleting.
    DeleteOfAMissingSessionFails,
    DeleteDoesNothing,
    DeleteTakesEffectLater,
    DeleteOnlyExpires,

    // Many at once.
    SomeCommitsAreLost,
    ValuesAreTorn,
    ReadsAreStale,
    FirstCommitsInsertTwice,
    ContentionIsReported,
    SweepReportsContention,

    // The cleanup thread.
    ThreadNeverSweeps,
    ThreadIsMissing,
    SweepsAlthoughDisabled,
    StopSweepsOnceMore,
    StopWaitsForTheTick,
    StopLeavesTheThread,
    StopOnlySignals,
    StopPanicsTheSecondTime,
    StopWaitsForTheFirstCallerOnly,
    StopClosesTheStore,
    DropLeaksTheThread,
    SweepIsOneBatch,

    // Sweeping.
    SweepEndsAfterABatch,
    SweepHoldsTheLock,
    SweepRemovesTheLive,
    SweepMiscounts,
    SweepRemovesOneBatch,
    SweepPicksFirst,

    // Walking.
    WalkShowsTheExpired,
    WalkShowsOneTwice,
    WalkSkipsAtPages,
    WalkIgnoresTheBreak,
    WalkHoldsALock,
    WalkInOrderOfTokens,
    CommitMovesToTheEnd,
    AllShowsOne,

    // Subjects.
    SubjectsFoldCase,
    SetSubjectCreates,
    SetSubjectRevives,
    SetSubjectAddsAnother,
    RenameLosesTheSubject,
    FindBySubjectShowsTheExpired,
    DeleteBySubjectTakesAll,
    DeleteBySubjectOnlyUnties,
    OverlongSubjectsAreCut,

    // Secrets.
    ErrorsNameTheToken,
    DebugShowsTheToken,
    DebugShowsTheData,
    CommitLogsTheToken,
    FindLogsTheToken,
    ReplaceLogsTheData,
    TouchLogsTheToken,
    RenameLogsTheToken,
    DeleteLogsTheToken,
    WalkLogsTheToken,
    SweepLogsTheToken,
}

impl Fault {
    /// Whether the store with this fault stops answering, which costs the patience.
    fn hangs(self) -> bool {
        matches!(
            self,
            Self::StopWaitsForTheTick
                | Self::SweepEndsAfterABatch
                | Self::SweepHoldsTheLock
                | Self::WalkHoldsALock
        )
    }
}

/// Opens stores with one fault.
struct Faulty(Fault);

impl Harness for Faulty {
    type Store = Broken;

    fn store(&self, cleanup: CleanupOptions) -> Broken {
        Broken::open(self.0, cleanup).expect("a thread is to be had")
    }

    fn stop_cleanup(store: &Broken) {
        store.stop_cleanup();
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn patience(&self) -> Duration {
        if self.0.hangs() { Duration::from_millis(300) } else { Duration::from_secs(60) }
    }
}

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

/// Runs something that takes another instant for the present.
fn pretending<T>(now: DateTime<Utc>, run: impl FnOnce() -> T) -> T {
    PRETENDED.set(Some(now));
    let outcome = run();
    PRETENDED.set(None);
    outcome
}

/// Runs something for which nothing has expired yet.
fn forgetting_expiries<T>(run: impl FnOnce() -> T) -> T {
    pretending(DateTime::<Utc>::MIN_UTC, run)
}

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn cut_to_the_second(expiry: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(expiry.timestamp(), 0).unwrap_or(expiry)
}

fn round_up_to_the_second(expiry: DateTime<Utc>) -> DateTime<Utc> {
    cut_to_the_second(expiry + TimeDelta::nanoseconds(999_999_999))
}

/// Beyond what databases with four digits for the year can hold.
fn is_far(expiry: DateTime<Utc>) -> bool {
    expiry.timestamp() >= 253_402_300_800
}

fn too_far(expiry: DateTime<Utc>) -> Error {
    let (earliest, latest) = (DateTime::UNIX_EPOCH, in_an_hour());
    Error::ExpiryOutOfRange { expiry, earliest, latest }
}

fn cut_to_limit(token: &str) -> &str {
    token.get(..LIMITS.max_token_len).unwrap_or(token)
}

/// Lets other threads into the gap between two steps that should be one.
fn pause() {
    thread::sleep(Duration::from_micros(300));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
struct Broken {
    fault: Fault,
    id: u64,
    inner: Arc<MemoryStore>,
    /// Takes the place of the inner store's thread where that is at fault.
    cleanup: Option<Cleanup>,
    is_disabled: bool,
    gate: Arc<Gate>,
    is_stopped: AtomicBool,
    is_busy: AtomicBool,
    commits: AtomicU64,
    /// Rows that should not be there, but would have to be swept.
    leftovers: AtomicU64,
    inserted: Mutex<HashSet<String>>,
    inserted_twice: Mutex<HashSet<String>>,
}

impl Broken {
    fn open(fault: Fault, options: CleanupOptions) -> Result<Self, Error> {
        let batch_size = options.batch_size();
        let inner = |cleanup| {
            MemoryOptions::new()
                .with_cleanup(cleanup)
                .with_limits(LIMITS)
                .with_clock(Arc::new(PretendedClock))
                .build()
                .map(Arc::new)
        };
        let is_disabled =
            !Cleanup::start(options.clone(), || Ok(Batch { removed: 0, more: false }))?
                .is_running();
        let gate = Arc::<Gate>::default();
        let has_own_thread = matches!(
            fault,
            Fault::ThreadNeverSweeps
                | Fault::ThreadIsMissing
                | Fault::SweepIsOneBatch
                | Fault::SweepEndsAfterABatch
                | Fault::SweepHoldsTheLock
                | Fault::SweepLogsTheToken
        );
        let (inner, cleanup) = if has_own_thread {
            let inner = inner(CleanupOptions::disabled().with_batch_size(batch_size))?;
            let remove_batch = {
                let (inner, gate) = (Arc::clone(&inner), Arc::clone(&gate));
                move || remove_batch(&inner, &gate, fault, batch_size.get())
            };
            let has_thread = fault != Fault::ThreadIsMissing;
            let cleanup = has_thread.then(|| Cleanup::start(options, remove_batch)).transpose()?;
            (inner, cleanup)
        } else {
            (inner(options)?, None)
        };
        Ok(Self {
            fault,
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
        })
    }

    fn stop_cleanup(&self) {
        let is_again = self.is_stopped.swap(true, Ordering::AcqRel);
        match self.fault {
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
            Fault::StopSweepsOnceMore => {
                self.inner.delete_expired().expect("a sweep in memory succeeds");
            }
            _ => {}
        }
        self.inner.stop_cleanup();
        if let Some(cleanup) = &self.cleanup {
            cleanup.stop();
        }
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

    /// The data and expiry of a session, also of an expired one.
    fn row(&self, token: &str) -> Result<Option<Row>, Error> {
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
    fn forget_cached(&self, token: &str) {
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
fn expired_tokens(store: &MemoryStore, max: usize) -> Result<Vec<String>, Error> {
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
fn remove_batch(
    store: &MemoryStore,
    gate: &Gate,
    fault: Fault,
    max: usize,
) -> Result<Batch, Error> {
    match fault {
        Fault::ThreadNeverSweeps => return Ok(Batch { removed: 0, more: false }),
        Fault::SweepIsOneBatch => {
            return Ok(Batch { removed: store.delete_expired()?, more: false });
        }
        _ => {}
    }
    if fault == Fault::SweepHoldsTheLock {
        gate.set_held(true);
    }
    let tokens = expired_tokens(store, max)?;
    for token in &tokens {
        if fault == Fault::SweepLogsTheToken {
            log::trace!("sweeping {token}");
        }
        store.delete(token)?;
    }
    let more = tokens.len() == max && fault != Fault::SweepEndsAfterABatch;
    if !more {
        gate.set_held(false);
    }
    Ok(Batch { removed: tokens.len() as u64, more })
}

impl Store for Broken {
    fn find_with_expiry(&self, token: &str) -> Result<Option<Row>, Error> {
        let token = &*self.token(token);
        let find = || self.inner.find_with_expiry(token);
        match self.fault {
            Fault::FindWithExpiryForgetsTheExpiry => forgetting_expiries(find),
            Fault::FindWithExpiryShowsALaterOne => {
                Ok(find()?.map(|(data, expiry)| (data, expiry + TimeDelta::milliseconds(2))))
            }
            Fault::FindWithExpiryGivesOldData => {
                Ok(find()?.map(|(_, expiry)| (b"data".into(), expiry)))
            }
            _ => find(),
        }
    }

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
            Fault::SweepHoldsTheLock => {
                self.gate.pass();
                self.inner.find(token)
            }
            Fault::FindLogsTheToken => {
                log::trace!("looking for {token}");
                self.inner.find(token)
            }
            _ => self.inner.find(token),
        }
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
            Fault::ContentionIsReported | Fault::SweepReportsContention => {
                let is_busy = self.is_busy.swap(true, Ordering::AcqRel);
                if is_busy && self.fault == Fault::ContentionIsReported {
                    return Err(Error::Contended { source: "database is locked".into() });
                }
                pause();
                self.is_busy.store(false, Ordering::Release);
            }
            Fault::SweepsAlthoughDisabled if self.is_disabled => {
                self.inner.delete_expired()?;
            }
            Fault::CommitMovesToTheEnd => self.inner.delete(token)?,
            Fault::ErrorsNameTheToken => {
                let refused = self.inner.commit(token, data, expiry);
                return refused
                    .map_err(|error| Error::backend(format!("{token} was refused: {error}")));
            }
            // Or the sweeps would be over before there is anything to renew.
            Fault::SweepPicksFirst => pause(),
            Fault::CommitLogsTheToken => log::trace!("writing {token}"),
            _ => {}
        }
        self.forget_cached(token);
        self.inner.commit(token, data, expiry)
    }

    fn replace(
        &self,
        token: &str,
        current: &[u8],
        data: &[u8],
        expiry: DateTime<Utc>,
    ) -> Result<bool, Error> {
        self.begin()?;
        let (token, current, data) = (&*self.token(token), &*self.data(current), &*self.data(data));
        let mut expiry = self.expiry(expiry);
        match self.fault {
            Fault::ReplaceCreates if self.row(token)?.is_none() => {
                self.inner.commit(token, data, expiry)?;
                return Ok(true);
            }
            Fault::ReplaceRevives => {
                return forgetting_expiries(|| self.inner.replace(token, current, data, expiry));
            }
            Fault::ReplaceIgnoresCurrent => {
                let Some(current) = self.inner.find(token)? else { return Ok(false) };
                return self.inner.replace(token, &current, data, expiry);
            }
            Fault::ReplaceFoldsCase => {
                let Some(found) = self.inner.find(token)? else { return Ok(false) };
                return Ok(found.eq_ignore_ascii_case(current)
                    && self.inner.replace(token, &found, data, expiry)?);
            }
            Fault::ReplaceDeniesTheSameBytes => {
                return Ok(self.inner.replace(token, current, data, expiry)? && data != current);
            }
            Fault::ReplaceKeepsTheOldExpiry => {
                expiry = self.row(token)?.map_or(expiry, |(_, expiry)| expiry);
            }
            Fault::ReplaceRoundsUp => expiry = round_up_to_the_second(expiry),
            Fault::ReplaceNeverMatches => return Ok(false),
            Fault::ReplaceIsTwoSteps => {
                if self.inner.find(token)?.as_deref() != Some(current) {
                    return Ok(false);
                }
                pause();
                self.inner.commit(token, data, expiry)?;
                return Ok(true);
            }
            Fault::OutOfRangeIsReportedTooLate if is_far(expiry) => return Err(too_far(expiry)),
            Fault::ReplacePanicsAtFarExpiries => {
                assert!(!is_far(expiry), "attempt to add with overflow");
            }
            Fault::ReplaceLogsTheData => {
                log::trace!("replacing {}", String::from_utf8_lossy(current));
            }
            _ => {}
        }
        self.forget_cached(token);
        self.inner.replace(token, current, data, expiry)
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
            Fault::TouchLogsTheToken => log::trace!("touching {token}"),
            _ => {}
        }
        self.forget_cached(token);
        self.inner.touch(token, expiry)
    }

    fn rename(&self, token: &str, new_token: &str) -> Result<bool, Error> {
        self.begin()?;
        let (token, new_token) = (&*self.token(token), &*self.token(new_token));
        match self.fault {
            Fault::RenameFoldsCase => {
                let tokens = self.inner.all()?.into_keys();
                let first = tokens.filter(|other| other.eq_ignore_ascii_case(token)).min();
                return self.inner.rename(first.as_deref().unwrap_or(token), new_token);
            }
            Fault::RenameCutsOverlongTokens => {
                return self.inner.rename(token, cut_to_limit(new_token));
            }
            Fault::RenameLosesTheSubject => {
                let renamed = self.inner.rename(token, new_token)?;
                if renamed {
                    self.inner.set_subject(new_token, None)?;
                }
                return Ok(renamed);
            }
            Fault::RenameToAnInvalidTokenDeletes if LIMITS.check_token(new_token).is_err() => {
                self.inner.delete(token)?;
            }
            Fault::RenameCopies
            | Fault::RenameDeletesFirst
            | Fault::RenameDeletesLast
            | Fault::RenameOverwrites
            | Fault::RenameChecksFirst
            | Fault::RenameResetsTheExpiry => {
                return self.rename_in_steps(token, new_token);
            }
            Fault::RenameRevives => {
                return forgetting_expiries(|| self.inner.rename(token, new_token));
            }
            Fault::RenameOfAMissingSessionFails => {
                if !self.inner.rename(token, new_token)? {
                    return Err(Error::backend("no such session"));
                }
                return Ok(true);
            }
            Fault::RenameFails => {
                return Err(Error::Contended { source: "deadlock found".into() });
            }
            Fault::RenameLogsTheToken => log::trace!("renaming {token}"),
            _ => {}
        }
        self.forget_cached(token);
        self.forget_cached(new_token);
        self.inner.rename(token, new_token)
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
            Fault::DeleteLogsTheToken => log::trace!("deleting {token}"),
            _ => {}
        }
        self.forget_cached(token);
        self.inner.delete(token)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        self.begin()?;
        match self.fault {
            Fault::CommitLeavesTheExpiredRow => {
                Ok(self.inner.delete_expired()? + self.leftovers.swap(0, Ordering::Relaxed))
            }
            Fault::SweepReportsContention if self.is_busy.load(Ordering::Acquire) => {
                Err(Error::Contended { source: "database is locked".into() })
            }
            Fault::SweepRemovesTheLive => {
                pretending(Utc::now() + TimeDelta::hours(2), || self.inner.delete_expired())
            }
            Fault::SweepMiscounts => Ok(self.inner.delete_expired()?.min(1)),
            Fault::SweepRemovesOneBatch | Fault::SweepPicksFirst => {
                let tokens = expired_tokens(&self.inner, 10)?;
                if self.fault == Fault::SweepPicksFirst {
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
}

impl Broken {
    /// A rename made of other operations.
    fn rename_in_steps(&self, token: &str, new_token: &str) -> Result<bool, Error> {
        LIMITS.check_token(new_token)?;
        let Some(data) = self.inner.find(token)? else { return Ok(false) };
        let Some((_, mut expiry)) = self.row(token)? else { return Ok(false) };
        if token == new_token {
            return Ok(true);
        }
        if self.fault != Fault::RenameOverwrites && self.inner.find(new_token)?.is_some() {
            return Err(Error::TokenTaken);
        }
        match self.fault {
            Fault::RenameDeletesFirst => {
                self.inner.delete(token)?;
                pause();
                self.inner.commit(new_token, &data, expiry)?;
                return Ok(true);
            }
            Fault::RenameChecksFirst => {
                pause();
                self.inner.delete(new_token)?;
                return self.inner.rename(token, new_token);
            }
            Fault::RenameResetsTheExpiry => expiry = in_an_hour(),
            _ => {}
        }
        self.inner.commit(new_token, &data, expiry)?;
        if self.fault == Fault::RenameDeletesLast {
            pause();
        }
        if self.fault != Fault::RenameCopies {
            self.inner.delete(token)?;
        }
        Ok(true)
    }
}

impl Broken {
    /// What the store makes of a subject.
    fn subject<'a>(&self, subject: &'a str) -> Cow<'a, str> {
        match self.fault {
            Fault::SubjectsFoldCase => subject.to_ascii_lowercase().into(),
            Fault::OverlongSubjectsAreCut => {
                let longest = store_core::MAX_SUBJECT_LEN.min(subject.len());
                let end = (0..=longest).rev().find(|&end| subject.is_char_boundary(end));
                let end = end.unwrap_or_default();
                subject[..end].into()
            }
            _ => subject.into(),
        }
    }
}

impl SubjectStore for Broken {
    fn set_subject(&self, token: &str, subject: Option<&str>) -> Result<bool, Error> {
        let subject = subject.map(|subject| self.subject(subject));
        let subject = subject.as_deref();
        match self.fault {
            Fault::SetSubjectCreates if self.inner.find(token)?.is_none() && !token.is_empty() => {
                self.inner.commit(
                    token.get(..LIMITS.max_token_len).unwrap_or(token),
                    b"",
                    in_an_hour(),
                )?;
            }
            Fault::SetSubjectRevives => {
                return forgetting_expiries(|| self.inner.set_subject(token, subject));
            }
            Fault::SetSubjectAddsAnother if subject.is_some() => {
                self.inner.commit(&format!("{token}-tie"), b"", in_an_hour())?;
                self.inner.set_subject(&format!("{token}-tie"), subject)?;
            }
            _ => {}
        }
        self.inner.set_subject(token, subject)
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<String>, Error> {
        let find = || self.inner.find_by_subject(&self.subject(subject));
        match self.fault {
            Fault::FindBySubjectShowsTheExpired => forgetting_expiries(find),
            _ => find(),
        }
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        let subject = &*self.subject(subject);
        match self.fault {
            Fault::DeleteBySubjectTakesAll => self.inner.delete_by_subject(subject, None),
            Fault::DeleteBySubjectOnlyUnties => {
                let tokens = self.inner.find_by_subject(subject)?;
                let tokens = tokens.iter().filter(|token| Some(&***token) != except);
                let untied: Result<Vec<_>, _> =
                    tokens.map(|token| self.inner.set_subject(token, None)).collect();
                Ok(untied?.len() as u64)
            }
            _ => self.inner.delete_by_subject(subject, except),
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

/// The claim must fail for a store with this fault, and by hanging only where the fault is a hang.
fn assert_caught(fault: Fault, claim: impl FnOnce(&Faulty)) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| claim(&Faulty(fault)))) else {
        panic!("the claim holds for a store with the fault {fault:?}");
    };
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    assert_eq!(message.contains("did not end within"), fault.hangs(), "caught by: {message}");
}

/// Makes a test of each fault behind a claim: that the claim catches it.
macro_rules! claims_catch_faults {
    ($($claim:ident: $($fault:ident)+;)+) => {$(
        #[expect(non_snake_case, reason = "the tests are named as the faults")]
        mod $claim {
            use super::{Fault, assert_caught, conformance};
            $(
                #[test]
                fn $fault() {
                    assert_caught(Fault::$fault, conformance::$claim);
                }
            )+
        }
    )+};
}

claims_catch_faults! {
    missing_sessions_are_not_found: FindGivesAnotherSession DeleteDoesNothing;
    expired_session_is_not_found: FindForgetsTheExpiry WalkShowsTheExpired;
    impossible_tokens_are_not_found:
        FindRefusesEmptyTokens FindRefusesOverlongTokens DeleteOfAMissingSessionFails
        RenameOfAMissingSessionFails;
    data_comes_back_byte_for_byte: DataIsCutAt64KiB DataIsMadeUtf8 EmptyDataIsMissing;
    commit_overwrites_data_and_expiry:
        CommitKeepsTheOldExpiry CommitKeepsTheOldData ExpiryIsRoundedUp;
    commit_over_an_expired_session_leaves_one: CommitLeavesTheExpiredRow SweepRemovesTheLive;
    commit_in_the_past_leaves_nothing_findable: CommitIgnoresPastExpiries CommitKeepsTheOldExpiry;
    tokens_are_compared_byte_for_byte:
        TokensFoldCase TokensFoldAccents TokensAreNormalised TokensAreTrimmed TokensEndAtNul
        TouchFoldsCase RenameFoldsCase TouchMovesAll;
    hostile_tokens_are_data: QuotesBreakTheStatement DeleteMatchesPatterns;
    invalid_tokens_are_refused:
        OverlongTokensAreCut RenameCutsOverlongTokens RenameToAnInvalidTokenDeletes
        FindCutsOverlongTokens DeleteCutsOverlongTokens;
    oversized_data_is_refused_and_changes_nothing:
        OversizedDataIsCut OversizedDataWipesTheOld OversizedDataIsMisreported;
    find_with_expiry_agrees_with_find:
        FindWithExpiryForgetsTheExpiry FindWithExpiryShowsALaterOne FindWithExpiryGivesOldData;
    expiry_is_kept_to_the_millisecond:
        ExpiryIsRoundedUp ExpiryIsCutToTheSecond TouchCutsToTheSecond ReplaceRoundsUp;
    extreme_expiries_do_no_harm:
        FarExpiryWraps FarExpiryPanics FarExpiryIsMovedNearer TouchWrapsFarExpiries
        ReplacePanicsAtFarExpiries EarlyExpiryWraps EpochMeansNever OutOfRangeIsReportedTooLate;
    replace_needs_the_current_data:
        ReplaceIgnoresCurrent ReplaceFoldsCase ReplaceDeniesTheSameBytes ReplaceKeepsTheOldExpiry
        ReplaceNeverMatches;
    replace_never_creates_or_revives: ReplaceCreates ReplaceRevives;
    one_of_many_racing_replaces_wins: ReplaceIsTwoSteps ReplaceIgnoresCurrent;
    touch_moves_the_expiry_alone: TouchChangesTheData TouchDoesNothing TouchOnlyExtends;
    touch_never_creates_or_revives: TouchCreates TouchRevives;
    rename_moves_the_whole_session: RenameCopies RenameResetsTheExpiry;
    rename_to_a_taken_token_changes_nothing: RenameOverwrites;
    rename_of_a_missing_session_is_false: RenameOfAMissingSessionFails RenameRevives RenameCopies;
    rename_is_seen_as_one_step: RenameDeletesFirst RenameDeletesLast RenameFails;
    one_of_many_racing_renames_wins: RenameChecksFirst RenameCopies;
    delete_is_final_and_idempotent:
        DeleteOfAMissingSessionFails DeleteDoesNothing DeleteTakesEffectLater DeleteOnlyExpires;
    stores_are_shared_and_object_safe: AllShowsOne;
    random_operations_follow_the_model:
        SomeCommitsAreLost TouchMovesAll RenameCopies ReplaceNeverMatches FindForgetsTheExpiry;
    concurrent_histories_are_linearizable:
        ReadsAreStale ValuesAreTorn ReplaceIsTwoSteps RenameDeletesFirst SweepReportsContention;
    first_commits_of_one_token_leave_one_session: FirstCommitsInsertTwice;
    contention_is_waited_out: ContentionIsReported ReplaceIsTwoSteps ReplaceNeverMatches;
    cleanup_sweeps_when_told: ThreadNeverSweeps ThreadIsMissing;
    disabled_cleanup_never_sweeps: SweepsAlthoughDisabled StopSweepsOnceMore;
    stop_is_prompt_and_idempotent:
        StopWaitsForTheTick StopLeavesTheThread StopOnlySignals StopPanicsTheSecondTime
        StopClosesTheStore;
    stop_may_be_called_by_many_threads:
        StopWaitsForTheTick StopLeavesTheThread StopPanicsTheSecondTime
        StopWaitsForTheFirstCallerOnly;
    stop_ends_a_sweep_after_its_batch: SweepIsOneBatch;
    dropping_the_store_stops_the_thread: DropLeaksTheThread;
    sweep_removes_the_expired_and_only_those:
        SweepRemovesTheLive SweepMiscounts SweepRemovesOneBatch;
    sweep_gives_way_between_batches: SweepHoldsTheLock SweepEndsAfterABatch;
    sweep_never_removes_a_renewed_session: SweepPicksFirst SweepRemovesTheLive;
    walk_sees_each_live_session_once: WalkShowsTheExpired WalkShowsOneTwice WalkSkipsAtPages;
    walk_sees_renamed_and_rewritten_sessions_once: WalkInOrderOfTokens CommitMovesToTheEnd;
    subject_finds_its_live_sessions: SetSubjectAddsAnother;
    subject_follows_a_rename: RenameLosesTheSubject;
    subject_ends_with_the_session: DeleteOnlyExpires FindBySubjectShowsTheExpired;
    setting_a_subject_never_creates_or_revives: SetSubjectCreates SetSubjectRevives;
    deleting_by_subject_removes_all_but_one: DeleteBySubjectTakesAll DeleteBySubjectOnlyUnties;
    subjects_are_compared_byte_for_byte: SubjectsFoldCase OverlongSubjectsAreCut;
    racing_log_ins_and_log_outs_leave_a_true_index: RenameLosesTheSubject;
    walk_stops_early: WalkIgnoresTheBreak;
    walk_holds_no_lock: WalkHoldsALock;
    secrets_stay_out_of_errors_logs_and_debug_output:
        ErrorsNameTheToken DebugShowsTheToken DebugShowsTheData CommitLogsTheToken
        FindLogsTheToken ReplaceLogsTheData TouchLogsTheToken RenameLogsTheToken
        DeleteLogsTheToken WalkLogsTheToken SweepLogsTheToken;
}

mod no_fault {
    use super::{Fault, Faulty};

    store_core::conformance_tests!(Faulty(Fault::None));
    store_core::subject_conformance_tests!(Faulty(Fault::None));
}
