//! Removes what has expired: a walk through the tables, step by step, finds it outside the write
//! transaction, so that the search delays nobody.
//!
//! An index in the order of expiries would find it at once, but each write would change it: without
//! one a commit writes three fifths of the bytes.

use std::mem;
use std::ops::Bound;

use redb::{Error as RedbError, ReadTransaction, TableDefinition};
use store_core::Error;
use store_core::backend::Batch;

use super::format::{Instant, split};
use super::read::Order;
use super::rotations::Rotated;
use super::shared::Shared;
use super::tables::{Bytes, Tables};
use super::write::Write;

/// A step ends after this many rows, or bytes, so that no snapshot is kept for long: its pages
/// can't be used again meanwhile.
const MAX_ROWS: usize = 10_000;
const MAX_BYTES: usize = 16 << 20;

/// The tokens that a step has found.
#[derive(Clone, Default)]
pub(super) struct Expired {
    pub(super) sessions: Vec<Vec<u8>>,
    /// Old tokens, whose grace has ended.
    pub(super) rotations: Vec<Vec<u8>>,
}

/// A run of the cleanup: where the next step begins.
#[derive(Default)]
pub(super) struct CleanupRun {
    next: Position,
}

/// A place in the walk through the sessions and then the rotations.
enum Position {
    /// After the session with this token.
    Sessions(Vec<u8>),
    /// After the rotation of this old token.
    Rotations(Vec<u8>),
}

/// No token is empty.
const START: Vec<u8> = Vec::new();

impl Default for Position {
    fn default() -> Self {
        Self::Sessions(START)
    }
}

impl Shared {
    /// Removes what the next step of a run finds. After the last one `run` is the next run.
    pub(super) fn remove_batch(&self, run: &mut CleanupRun) -> Result<Batch, Error> {
        let position = mem::take(&mut run.next);
        let (expired, next) = self
            .engine
            .read(|snapshot| position.step(&self.tables, snapshot, self.now(), self.batch_size))?;
        let removed = if expired.sessions.is_empty() && expired.rotations.is_empty() {
            0
        } else {
            self.write(&Write::Remove(expired))?.sessions
        };
        let has_more = next.is_some();
        run.next = next.unwrap_or_default();
        Ok(Batch { removed, has_more })
    }
}

impl Position {
    /// Returns what has expired, this much at most, and where the run goes on, unless it is over.
    fn step(
        &self,
        tables: &Tables,
        snapshot: &ReadTransaction,
        now: Instant,
        limit: usize,
    ) -> Result<(Expired, Option<Self>), RedbError> {
        let mut expired = Expired::default();
        let mut after = &START;
        match self {
            Self::Sessions(after) => {
                let has_expired = |value: &[u8]| Ok(split(value)?.0 <= now);
                let (found, last) = walk(snapshot, tables.sessions(), after, limit, has_expired)?;
                expired.sessions = found;
                if let Some(last) = last {
                    return Ok((expired, Some(Self::Sessions(last))));
                }
            }
            Self::Rotations(last) => after = last,
        }
        let has_ended = |value: &[u8]| Ok(Rotated::parse(value)?.has_ended(now));
        let limit = limit - expired.sessions.len();
        let (found, last) = walk(snapshot, tables.rotations(), after, limit, has_ended)?;
        expired.rotations = found;
        Ok((expired, last.map(Self::Rotations)))
    }
}

/// Returns the keys of rows that have expired, and the last key that it looked at, unless it has
/// come to the end of the table.
fn walk(
    snapshot: &ReadTransaction,
    table: TableDefinition<'_, Bytes, Bytes>,
    after: &[u8],
    limit: usize,
    has_expired: impl Fn(&[u8]) -> Result<bool, RedbError>,
) -> Result<(Vec<Vec<u8>>, Option<Vec<u8>>), RedbError> {
    let table = snapshot.open_table(table)?;
    let (mut found, mut rows, mut bytes, mut order) = (Vec::new(), 0, 0, Order::default());
    for row in table.range::<&[u8]>((Bound::Excluded(after), Bound::Unbounded))? {
        let (key, value) = row?;
        let (key, value) = (key.value(), value.value());
        order.check(key)?;
        if has_expired(value)? {
            found.push(key.to_vec());
        }
        rows += 1;
        bytes += value.len();
        if found.len() >= limit || rows >= MAX_ROWS || bytes >= MAX_BYTES {
            return Ok((found, Some(key.to_vec())));
        }
    }
    Ok((found, None))
}
