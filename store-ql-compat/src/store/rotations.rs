//! What has become of old tokens: for the grace after a rotation they lead to the newest one.
//!
//! An entry holds names only. Whether its newest token names a live session is for the caller to see.

use redb::{Error as RedbError, ReadTransaction, ReadableTable, Table, WriteTransaction};
use store_core::Loaded;

use super::format::{Bytes, Instant, Tables, find_live, join, split, text};

/// What is recorded of an old token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rotated<'a> {
    /// It counts from this instant,
    pub(crate) from: Instant,
    /// and before this one.
    pub(crate) until: Instant,
    /// Whether the old token may open the session.
    pub(crate) opens: bool,
    pub(crate) newest: &'a [u8],
}

impl<'a> Rotated<'a> {
    /// What the bytes of the file mean.
    fn parse(value: &'a [u8]) -> Result<Self, RedbError> {
        let damaged = || RedbError::Corrupted("a rotation is damaged".to_owned());
        let (from, rest) = split(value)?;
        let (until, rest) = split(rest)?;
        let (opens, newest) = match rest {
            [0, newest @ ..] => (false, newest),
            [1, newest @ ..] => (true, newest),
            _ => return Err(damaged()),
        };
        if newest.is_empty() {
            return Err(damaged());
        }
        Ok(Self { from, until, opens, newest })
    }

    fn to_bytes(self) -> Vec<u8> {
        [&self.from[..], &self.until, &[u8::from(self.opens)], self.newest].concat()
    }

    /// Whether the grace is under way. It isn't where the clock was set back to before its beginning.
    fn counts(&self, now: Instant) -> bool {
        self.from <= now && now < self.until
    }
}

/// What a snapshot says of a token that names no live session.
pub(crate) fn find_rotated(
    tables: &Tables,
    snapshot: &ReadTransaction,
    token: &[u8],
    now: Instant,
) -> Result<Loaded, RedbError> {
    let rotations = snapshot.open_table(tables.rotations())?;
    let Some(value) = rotations.get(token)? else { return Ok(Loaded::Missing) };
    let rotated = Rotated::parse(value.value())?;
    if !rotated.counts(now)
        || find_live(tables, snapshot, rotated.newest, now, |_, _| ())?.is_none()
    {
        return Ok(Loaded::Missing);
    }
    Ok(Loaded::Rotated { token: text(rotated.newest)?.to_owned(), opens: rotated.opens })
}

/// The tables of rotations, in a write transaction. Each method leaves them true to each other.
pub(crate) struct Rotations<'t> {
    /// Old token → what has become of it.
    records: Table<'t, Bytes, Bytes>,
    by_newest: Table<'t, Bytes, ()>,
    by_end: Table<'t, Bytes, ()>,
}

impl<'t> Rotations<'t> {
    pub(crate) fn new(
        tables: &Tables,
        transaction: &'t WriteTransaction,
    ) -> Result<Self, RedbError> {
        Ok(Self {
            records: transaction.open_table(tables.rotations())?,
            by_newest: transaction.open_table(tables.rotated())?,
            by_end: transaction.open_table(tables.rotation_ends())?,
        })
    }

    /// The newest token of the session that had this one, if the grace is under way.
    pub(crate) fn newest(&self, old: &[u8], now: Instant) -> Result<Option<Vec<u8>>, RedbError> {
        let Some(value) = self.records.get(old)? else { return Ok(None) };
        let rotated = Rotated::parse(value.value())?;
        Ok(rotated.counts(now).then(|| rotated.newest.to_vec()))
    }

    /// Records a rotation, and leads the tokens from before the old one to the newest as well.
    pub(crate) fn record(&mut self, old: &[u8], rotated: Rotated<'_>) -> Result<(), RedbError> {
        for older in self.leading_to(old)? {
            let value = self.records.get(&*older)?.map(|value| value.value().to_vec());
            let Some(value) = value else { continue };
            let before = Rotated::parse(&value)?;
            // The index is true; where a damaged one isn't, no token of another session may lead to this one.
            if before.newest == old {
                let opens = before.opens && rotated.opens;
                self.insert(&older, Rotated { newest: rotated.newest, opens, ..before })?;
            }
        }
        self.insert(old, rotated)
    }

    /// Removes those that ended first, and returns how many.
    pub(crate) fn delete_ended(&mut self, max: usize, now: Instant) -> Result<usize, RedbError> {
        let mut ended = Vec::new();
        for row in self.by_end.iter()?.take(max) {
            let key = row?.0;
            if split(key.value())?.0 > now {
                break;
            }
            ended.push(key.value().to_vec());
        }
        for key in &ended {
            let (until, old) = split(key)?;
            self.by_end.remove(&**key)?;
            let value = self.records.get(old)?.map(|value| value.value().to_vec());
            let Some(value) = value else { continue };
            let rotated = Rotated::parse(&value)?;
            // Nor may a rotation go whose grace is under way.
            if rotated.until == until {
                self.records.remove(old)?;
                self.by_newest.remove(&*newest_key(rotated.newest, old))?;
            }
        }
        Ok(ended.len())
    }

    /// The old tokens that lead to this one.
    fn leading_to(&self, newest: &[u8]) -> Result<Vec<Vec<u8>>, RedbError> {
        let mut tokens = Vec::new();
        let prefix = newest_key(newest, b"");
        for row in self.by_newest.range(&*prefix..)? {
            let key = row?.0;
            let Some(old) = key.value().strip_prefix(&*prefix) else { break };
            tokens.push(old.to_vec());
        }
        Ok(tokens)
    }

    fn insert(&mut self, old: &[u8], rotated: Rotated<'_>) -> Result<(), RedbError> {
        let before = self.records.insert(old, &*rotated.to_bytes())?;
        let before = before.map(|before| before.value().to_vec());
        if let Some(before) = before {
            let before = Rotated::parse(&before)?;
            self.by_newest.remove(&*newest_key(before.newest, old))?;
            self.by_end.remove(&*join(before.until, old))?;
        }
        self.by_newest.insert(&*newest_key(rotated.newest, old), ())?;
        self.by_end.insert(&*join(rotated.until, old), ())?;
        Ok(())
    }
}

/// The length of the newest token comes first, so that none is the beginning of another. Tokens are
/// far shorter than four bytes can say.
fn newest_key(newest: &[u8], old: &[u8]) -> Vec<u8> {
    let len = u32::try_from(newest.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes(), newest, old].concat()
}
