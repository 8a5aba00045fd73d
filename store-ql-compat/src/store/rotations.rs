//! What has become of old tokens: for the grace after a rotation they lead to the newest one.
//!
//! An entry holds names only. Whether its newest token names a live session is for the caller to
//! find out.

use redb::{Error as RedbError, ReadableTable, Table, WriteTransaction};

use super::format::{Instant, newest_key, split};
use super::tables::{Bytes, Tables};

/// What is recorded of an old token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotated<'a> {
    /// When the grace begins.
    pub(super) from: Instant,
    /// When the grace ends: at this instant the entry is no longer in effect.
    pub(super) until: Instant,
    /// Whether the old token may open the session.
    pub(super) opens: bool,
    pub(super) newest: &'a [u8],
}

impl<'a> Rotated<'a> {
    /// Parses the value of a row.
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, RedbError> {
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

    /// Whether the grace is under way. It isn't if the clock was set back to before its beginning.
    pub(super) fn is_in_effect(&self, now: Instant) -> bool {
        self.from <= now && !self.has_ended(now)
    }

    pub(super) fn has_ended(&self, now: Instant) -> bool {
        self.until <= now
    }
}

/// The tables of rotations, in a write transaction. Each method leaves them consistent with each
/// other.
pub(super) struct Rotations<'t> {
    /// Old token → what has become of it.
    records: Table<'t, Bytes, Bytes>,
    by_newest: Table<'t, Bytes, ()>,
}

impl<'t> Rotations<'t> {
    pub(super) fn new(
        tables: &Tables,
        transaction: &'t WriteTransaction,
    ) -> Result<Self, RedbError> {
        Ok(Self {
            records: transaction.open_table(tables.rotations())?,
            by_newest: transaction.open_table(tables.rotated())?,
        })
    }

    /// The newest token of the session that had this one, if the grace is under way.
    pub(super) fn newest(&self, old: &[u8], now: Instant) -> Result<Option<Vec<u8>>, RedbError> {
        let Some(value) = self.records.get(old)? else { return Ok(None) };
        let rotated = Rotated::parse(value.value())?;
        Ok(rotated.is_in_effect(now).then(|| rotated.newest.to_vec()))
    }

    /// Records a rotation, and leads the tokens from before the old one to the newest as well.
    pub(super) fn record(&mut self, old: &[u8], rotated: Rotated<'_>) -> Result<(), RedbError> {
        for older in self.leading_to(old)? {
            let value = self.records.get(&*older)?.map(|value| value.value().to_vec());
            let Some(value) = value else { continue };
            let before = Rotated::parse(&value)?;
            // The index agrees with the records. If a damaged one doesn't, no token of another
            // session may lead to this one.
            if before.newest == old {
                let opens = before.opens && rotated.opens;
                self.insert(&older, Rotated { newest: rotated.newest, opens, ..before })?;
            }
        }
        self.insert(old, rotated)
    }

    /// Removes the record of an old token, if its grace has ended.
    pub(super) fn delete_if_ended(&mut self, old: &[u8], now: Instant) -> Result<(), RedbError> {
        let value = self.records.get(old)?.map(|value| value.value().to_vec());
        let Some(value) = value else { return Ok(()) };
        let rotated = Rotated::parse(&value)?;
        if rotated.has_ended(now) {
            self.records.remove(old)?;
            self.by_newest.remove(&*newest_key(rotated.newest, old))?;
        }
        Ok(())
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
        }
        self.by_newest.insert(&*newest_key(rotated.newest, old), ())?;
        Ok(())
    }
}
