//! What the store keeps of rotations: its bytes, its end, and that it behaves as the store in
//! memory does, which is the model.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{
    Change, CleanupOptions, Clock, Loaded, ManualClock, MemoryOptions, Rotation, Store,
};
use store_ql_compat::redb::backends::InMemoryBackend;
use store_ql_compat::redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use store_ql_compat::{Error, QlOptions, QlStore};

type TestResult = Result<(), Box<dyn StdError>>;

/// How long to wait before what doesn't return counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

const INDEXES: [&str; 2] = ["sessions_by_subject", "sessions_rotated"];

/// A store, and what is under it.
struct Opened {
    database: Arc<Database>,
    clock: Arc<ManualClock>,
    store: QlStore,
}

impl Opened {
    fn new(cleanup: CleanupOptions) -> Result<Self, Box<dyn StdError>> {
        let database = Database::builder().create_with_backend(InMemoryBackend::new())?;
        let database = Arc::new(database);
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let options = QlOptions::new().with_cleanup(cleanup).with_clock(clock.clone());
        let store = options.build(Arc::clone(&database))?;
        Ok(Self { database, clock, store })
    }

    fn rows(&self, table: &str) -> Result<Rows, Box<dyn StdError>> {
        let snapshot = self.database.begin_read()?;
        let mut rows = Rows::new();
        if INDEXES.contains(&table) {
            let table = snapshot.open_table(TableDefinition::<&[u8], ()>::new(table))?;
            for row in table.iter()? {
                rows.insert(row?.0.value().to_vec(), Vec::new());
            }
        } else {
            let table = snapshot.open_table(TableDefinition::<&[u8], &[u8]>::new(table))?;
            for row in table.iter()? {
                let (key, value) = row?;
                rows.insert(key.value().to_vec(), value.value().to_vec());
            }
        }
        Ok(rows)
    }

    /// Puts bytes of a test under a key.
    fn damage(&self, table: &str, key: &[u8], value: &[u8]) -> TestResult {
        let transaction = self.database.begin_write()?;
        transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(table))?.insert(key, value)?;
        Ok(transaction.commit()?)
    }

    fn in_an_hour(&self) -> DateTime<Utc> {
        self.clock.now() + TimeDelta::hours(1)
    }

    fn rotate(&self, old: &str, rotation: Rotation<'_>) -> Result<bool, Error> {
        let change = Change::new(b"data", self.in_an_hour()).with_rotation(rotation);
        self.store.update(old, b"data", &change)
    }

    /// Asserts that each row has exactly what belongs to it in the other tables.
    fn verify(&self) -> TestResult {
        let rows = |table| self.rows(table);
        let sessions = rows("sessions")?;
        let subjects = rows("sessions_subject")?;
        assert!(subjects.keys().all(|token| sessions.contains_key(token)));
        let len = |bytes: &[u8]| u8::try_from(bytes.len()).expect("short");
        let by_subject: Vec<_> = subjects
            .iter()
            .map(|(token, subject)| [&[len(subject)], &**subject, token].concat())
            .collect();
        assert_eq!(keys(&rows("sessions_by_subject")?), sorted(by_subject));

        let rotations = rows("sessions_rotation")?;
        let rotated: Vec<_> = rotations
            .iter()
            .map(|(old, value)| [&[0, 0, 0, len(&value[25..])], &value[25..], old].concat())
            .collect();
        assert_eq!(keys(&rows("sessions_rotated")?), sorted(rotated));
        Ok(())
    }
}

fn keys(rows: &Rows) -> Vec<Vec<u8>> {
    rows.keys().cloned().collect()
}

fn sorted(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.sort();
    keys
}

fn rotated(token: &str, opens: bool) -> Loaded {
    Loaded::Rotated { token: token.to_owned(), opens }
}

#[test]
fn bytes_are_as_documented() -> TestResult {
    let opened = Opened::new(CleanupOptions::disabled())?;
    opened.store.create("old", b"data", opened.in_an_hour(), Some("one"))?;
    let rotation = Rotation::new("new").with_grace(Duration::from_secs(30)).old_token_opens();
    assert!(opened.rotate("old", rotation)?);
    assert!(opened.rotate("new", Rotation::new("newest").with_grace(Duration::from_secs(1)))?);

    let at = |byte: u8, seconds: u8| {
        [&[byte][..], &[if byte == 0x80 { 0 } else { 255 }; 6], &[seconds], &[0; 4]].concat()
    };
    let expected = |rows: &[(Vec<u8>, &[u8])]| -> Rows {
        rows.iter().map(|(key, value)| (key.clone(), value.to_vec())).collect()
    };
    let expiry = [0x80, 0, 0, 0, 0, 0, 0x0E, 0x10, 0, 0, 0, 0];
    let (begin, end) = (at(0x7F, 226), at(0x80, 30));
    let (begin_of_second, end_of_second) = (at(0x7F, 255), at(0x80, 1));
    assert_eq!(
        opened.rows("sessions")?,
        expected(&[(b"newest".to_vec(), &[&expiry[..], b"data"].concat())])
    );
    assert_eq!(opened.rows("sessions_subject")?, expected(&[(b"newest".to_vec(), b"one")]));
    assert_eq!(
        opened.rows("sessions_rotation")?,
        expected(&[
            (b"old".to_vec(), &[&*begin, &end, &[0], b"newest"].concat()),
            (b"new".to_vec(), &[&*begin_of_second, &end_of_second, &[0], b"newest"].concat()),
        ])
    );
    assert_eq!(
        keys(&opened.rows("sessions_rotated")?),
        [b"\0\0\0\x06newestnew".to_vec(), b"\0\0\0\x06newestold".to_vec()]
    );
    opened.verify()?;

    assert!(opened.rotate("newest", Rotation::new("last").old_token_opens())?);
    let opens: Vec<u8> =
        opened.rows("sessions_rotation")?.values().map(|value| value[24]).collect();
    assert_eq!(opens, [0, 1, 0], "of new, newest and old");
    Ok(())
}

#[test]
fn clock_that_goes_back_ends_the_grace() -> TestResult {
    let opened = Opened::new(CleanupOptions::disabled())?;
    opened.store.commit("old", b"data", opened.in_an_hour())?;
    assert!(opened.rotate("old", Rotation::new("new"))?);
    for (seconds, counts) in [(0, true), (-30, true), (-31, false), (29, true), (30, false)] {
        let by = TimeDelta::seconds(seconds);
        opened.clock.advance(by);
        let loaded = opened.store.load("old")?;
        assert_eq!(loaded, if counts { rotated("new", false) } else { Loaded::Missing }, "{by}");
        opened.clock.advance(-by);
    }
    opened.clock.advance(TimeDelta::hours(-1));
    assert_eq!(opened.store.load("old")?, Loaded::Missing);
    opened.store.delete("old")?;
    assert!(opened.store.find("new")?.is_some(), "the old token is like one never written");
    opened.clock.advance(TimeDelta::hours(1));
    opened.store.delete("old")?;
    assert!(opened.store.find("new")?.is_none());
    Ok(())
}

/// A clock that does something before it tells the time the next time.
#[derive(Default)]
struct Interruption(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Interruption {
    fn set(&self, interrupt: impl FnOnce() + Send + 'static) {
        *self.0.lock().expect("nobody panics with it") = Some(Box::new(interrupt));
    }
}

impl fmt::Debug for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interruption")
    }
}

impl Clock for Interruption {
    fn now(&self) -> DateTime<Utc> {
        let interrupt = self.0.lock().expect("nobody panics with it").take();
        if let Some(interrupt) = interrupt {
            interrupt();
        }
        DateTime::UNIX_EPOCH
    }
}

#[test]
fn session_that_is_rotated_inside_a_load_is_not_missing() -> TestResult {
    let clock = Arc::new(Interruption::default());
    let options = QlOptions::new().with_cleanup(CleanupOptions::disabled());
    let store = Arc::new(options.with_clock(clock.clone()).in_memory()?);
    let expiry = DateTime::UNIX_EPOCH + TimeDelta::hours(1);
    store.commit("a", b"data", expiry)?;
    for [old, new] in [["a", "b"], ["b", "c"], ["c", "a"]] {
        let rotating = Arc::downgrade(&store);
        clock.set(move || {
            let change = Change::new(b"data", expiry).with_rotation(Rotation::new(new));
            let outcome = rotating.upgrade().expect("it is there").update(old, b"data", &change);
            assert!(matches!(outcome, Ok(true)), "{outcome:?}");
        });
        let loaded = store.load("a")?;
        assert!(loaded != Loaded::Missing, "from {old} to {new}");
        assert!(store.find(new)?.is_some(), "it was rotated");
    }
    Ok(())
}

#[test]
fn ended_rotations_are_removed_after_the_sessions_in_bounded_batches() -> TestResult {
    let batch_size = NonZeroUsize::new(4).expect("not zero");
    let cleanup = CleanupOptions::new().with_batch_size(batch_size);
    let (cleanup, manual) = cleanup.with_manual_cleanup();
    let opened = Opened::new(cleanup)?;
    let end = opened.in_an_hour();
    for n in 0..9 {
        let (old, new) = (format!("old-{n}"), format!("new-{n}"));
        opened.store.commit(&old, b"data", end)?;
        let grace = Duration::from_secs(if n == 8 { 1_000 } else { 10 });
        assert!(opened.rotate(&old, Rotation::new(&new).with_grace(grace))?);
        if n < 6 {
            assert!(opened.store.touch(&new, opened.clock.now() + TimeDelta::seconds(20))?);
        }
    }
    let left = || -> Result<_, Box<dyn StdError>> {
        Ok((opened.rows("sessions")?.len(), opened.rows("sessions_rotation")?.len()))
    };
    opened.clock.advance(TimeDelta::seconds(9));
    assert!(manual.run() && manual.wait_until_idle());
    assert_eq!(left()?, (9, 9));

    opened.clock.advance(TimeDelta::seconds(11));
    // Each batch has four: sessions, then what belongs to none any more. Two have sessions.
    let (done, batches) = mpsc::channel();
    thread::spawn(move || {
        let is_removed =
            manual.run() && (0..2).all(|_| manual.next_batch()) && manual.wait_until_idle();
        // Nobody receives once the patience has ended.
        let _ = done.send(is_removed);
    });
    assert_eq!(batches.recv_timeout(PATIENCE), Ok(true), "it waits after each");
    assert_eq!(left()?, (3, 1));
    assert_eq!(opened.store.cleanup_statistics().removed, 6, "only sessions are counted");
    assert_eq!(opened.store.load("old-8")?, rotated("new-8", false));
    opened.verify()?;

    opened.clock.advance(TimeDelta::seconds(2_000));
    assert_eq!(opened.store.delete_expired()?, 0);
    assert_eq!(left()?, (3, 0));
    opened.verify()
}

#[test]
fn damaged_rotations_are_errors_where_they_are_needed() -> TestResult {
    const FROM: [u8; 12] = [0; 12];
    const UNTIL: [u8; 12] = [255; 12];
    for (value, what) in [
        (b"short".to_vec(), "short"),
        ([FROM, UNTIL].concat(), "no newest token"),
        ([&FROM[..], &UNTIL, &[0]].concat(), "an empty newest token"),
        ([&FROM[..], &UNTIL, &[2], b"new"].concat(), "neither opens nor not"),
    ] {
        let opened = Opened::new(CleanupOptions::disabled())?;
        let store = &opened.store;
        store.create("older", b"data", opened.in_an_hour(), Some("one"))?;
        assert!(opened.rotate("older", Rotation::new("old"))?);
        assert!(opened.rotate("old", Rotation::new("new"))?);
        opened.damage("sessions_rotation", b"old", &value)?;
        for outcome in [
            store.load("old").map(drop),
            store.delete("old"),
            store.delete_by_subject("one", Some("old")).map(drop),
            opened.rotate("new", Rotation::new("newest")).map(drop),
        ] {
            assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{what}: {outcome:?}");
        }
        assert_eq!(store.load("older")?, rotated("new", false), "{what}");
        assert_eq!(store.find("old")?, None, "{what}");
        assert_eq!(store.find("new")?.as_deref(), Some(&b"data"[..]), "{what}");
        opened.clock.advance(TimeDelta::minutes(1));
        let outcome = store.delete_expired();
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{what}: {outcome:?}");
        store.delete("new")?;
    }

    let opened = Opened::new(CleanupOptions::disabled())?;
    let newest = b"\xFF\xFE";
    opened.damage("sessions_rotation", b"old", &[&FROM[..], &UNTIL, &[1], newest].concat())?;
    assert_eq!(opened.store.load("old")?, Loaded::Missing, "it names no session");
    opened.damage("sessions", newest, &[&[0x80][..], &[1; 11], b"data"].concat())?;
    let outcome = opened.store.load("old");
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
    Ok(())
}

#[test]
fn indexes_that_lead_nowhere_take_nothing_with_them() -> TestResult {
    let opened = Opened::new(CleanupOptions::disabled())?;
    opened.store.commit("old", b"data", DateTime::<Utc>::MAX_UTC)?;
    assert!(opened.rotate("old", Rotation::new("new"))?);
    opened.store.commit("older of another", b"data", DateTime::<Utc>::MAX_UTC)?;
    assert!(opened.rotate("older of another", Rotation::new("another"))?);
    let transaction = opened.database.begin_write()?;
    let index = |table| TableDefinition::<&[u8], ()>::new(table);
    // One that leads to another session, and one of a token that was never rotated.
    let mut newest = transaction.open_table(index("sessions_rotated"))?;
    newest.insert(&b"\0\0\0\x03newnever"[..], ())?;
    newest.insert(&b"\0\0\0\x03newolder of another"[..], ())?;
    drop(newest);
    transaction.commit()?;

    assert_eq!(opened.store.delete_expired()?, 0);
    assert_eq!(opened.store.load("old")?, rotated("new", false));
    assert!(opened.rotate("new", Rotation::new("newest"))?);
    assert_eq!(opened.store.load("old")?, rotated("newest", false));
    assert_eq!(opened.store.load("never")?, Loaded::Missing);
    assert_eq!(opened.store.load("older of another")?, rotated("another", false));
    Ok(())
}

#[test]
fn operations_that_need_no_rotations_leave_their_tables_alone() -> TestResult {
    let opened = Opened::new(CleanupOptions::disabled())?;
    let rotations = TableDefinition::<&[u8], &[u8]>::new("sessions_rotation");
    let index = TableDefinition::<&[u8], ()>::new("sessions_rotated");
    let transaction = opened.database.begin_write()?;
    assert!(transaction.delete_table(rotations)?);
    assert!(transaction.delete_table(index)?);
    transaction.commit()?;

    let (store, expiry) = (&opened.store, opened.in_an_hour());
    store.create("token", b"data", expiry, Some("one"))?;
    let change = Change::new(b"new", expiry).with_subject(Some("two"));
    assert!(store.update("token", b"data", &change)?);
    assert!(store.touch("token", expiry)?);
    assert!(matches!(store.load("token")?, Loaded::Live { .. }));
    assert_eq!(store.delete_by_subject("two", Some("token"))?, 0);
    store.delete("token")?;
    assert_eq!((store.count()?, store.find("token")?), (0, None));
    // They would have made the tables again.
    assert_eq!(opened.database.begin_read()?.list_tables()?.count(), 4);

    let refused = store.load("token");
    assert!(matches!(refused, Err(Error::TableMismatch { .. })), "{refused:?}");
    Ok(())
}

/// A small generator, so that a failing round can be run again.
fn random_numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 29)) % below
    }
}

const TOKENS: [&str; 7] = ["a", "ab", "abc", "b", "bc", "c", "d"];
const SUBJECTS: [&str; 3] = ["a", "ab", "user"];
const DATA: [&[u8]; 3] = [b"", b"one", b"two"];

/// An operation at random, and what came of it.
fn operate(store: &dyn Store, now: DateTime<Utc>, seed: u64) -> String {
    let mut random = random_numbers(seed);
    let mut pick = |below: usize| usize::try_from(random(below as u64)).expect("small");
    let (token, subject, data) = (TOKENS[pick(7)], SUBJECTS[pick(3)], DATA[pick(3)]);
    let expiry = now + TimeDelta::seconds([-1, 5, 40, 60, 60, 60][pick(6)]);
    match pick(20) {
        0 => format!("commit {:?}", store.commit(token, data, expiry)),
        1 | 2 => {
            let subject = (pick(2) == 0).then_some(subject);
            format!("create {:?}", store.create(token, data, expiry, subject))
        }
        3 => format!("touch {:?}", store.touch(token, expiry)),
        4 => format!("delete {:?}", store.delete(token)),
        5 => {
            let except = (pick(3) > 0).then_some(token);
            format!("delete_by_subject {:?}", store.delete_by_subject(subject, except))
        }
        6 => format!("delete_expired {:?}", store.delete_expired()),
        _ => update(store, data, expiry, &mut pick),
    }
}

/// An update at random, of which most are possible.
fn update(
    store: &dyn Store,
    data: &[u8],
    expiry: DateTime<Utc>,
    pick: &mut dyn FnMut(usize) -> usize,
) -> String {
    // A live session where there is one, mostly with its data.
    let mut session = || {
        let begin = pick(7);
        let tokens = (0..7).map(|n| TOKENS[(begin + n) % 7]);
        let mut live = tokens.filter_map(|token| Some((token, store.find(token).ok()??)));
        let (token, data) = live.next().unwrap_or((TOKENS[begin], Vec::new()));
        (token, if pick(8) == 0 { b"one".to_vec() } else { data })
    };
    let ((token, current), other) = (session(), session());
    let mut change = Change::new(data, expiry);
    if pick(4) > 0 {
        let grace = Duration::from_secs([0, 10, 30, 30][pick(4)]);
        let mut rotation = Rotation::new(TOKENS[pick(7)]).with_grace(grace);
        if pick(3) > 0 {
            rotation = rotation.old_token_opens();
        }
        change = change.with_rotation(rotation);
    }
    change = match pick(4) {
        0 => change.with_subject(Some(SUBJECTS[pick(3)])),
        1 => change.with_subject(None),
        _ => change,
    };
    for _ in 0..[0, 0, 0, 0, 1, 2][pick(6)] {
        change = change.absorbing(other.0, &other.1);
    }
    format!("update {:?}", store.update(token, &current, &change))
}

/// All that a store says.
fn state(store: &dyn Store) -> Result<Vec<String>, Error> {
    let mut state = vec![format!("{} live", store.count()?)];
    for token in TOKENS {
        // The `Debug` output shows no token and no data.
        state.push(match store.load(token)? {
            Loaded::Live { data, expiry } => format!("{token} has {data:?} until {expiry}"),
            Loaded::Rotated { token: newest, opens } => format!("{token} → {newest}, {opens}"),
            Loaded::Missing => format!("no {token}"),
        });
        state.push(format!("{:?} is found", store.find(token)?));
    }
    for subject in SUBJECTS {
        let mut sessions: Vec<_> = store
            .find_by_subject(subject)?
            .into_iter()
            .map(|session| (session.token, session.data, session.expiry))
            .collect();
        sessions.sort();
        state.push(format!("{subject} has {sessions:?}"));
    }
    Ok(state)
}

#[test]
fn every_operation_does_what_it_does_in_the_store_in_memory() -> TestResult {
    for seed in 0..20 {
        let mut random = random_numbers(seed);
        let opened = Opened::new(CleanupOptions::disabled())?;
        let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
        let model = options.with_clock(opened.clock.clone()).build()?;
        let mut history = Vec::new();
        for _ in 0..150 {
            if random(4) == 0 {
                let by = TimeDelta::seconds(i64::try_from(random(10))?);
                opened.clock.advance(by);
            }
            let (now, operation) = (opened.clock.now(), random(u64::MAX));
            let outcome = operate(&opened.store, now, operation);
            let expected = operate(&model, now, operation);
            history.push(outcome.clone());
            assert_eq!(outcome, expected, "seed {seed}: {history:?}");
            let (state, expected) = (state(&opened.store)?, state(&model)?);
            assert_eq!(state, expected, "seed {seed}: {history:?}");
            if outcome.starts_with("update Ok(true)") {
                opened.verify()?;
            }
        }
        opened.verify()?;
    }
    Ok(())
}
