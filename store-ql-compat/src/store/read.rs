//! What is read from a snapshot.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use redb::{Error as RedbError, ReadTransaction, ReadableTable};
use store_core::{Error, Loaded, MAX_SUBJECT_LEN, OwnedRecord, Record};

use super::error::{catch_panic, from_redb};
use super::format::{Instant, split, subject_prefix, to_text, to_utc};
use super::rotations::Rotated;
use super::tables::{Bytes, Tables};

/// Looks up a live session.
pub(super) fn find_live<T>(
    tables: &Tables,
    snapshot: &ReadTransaction,
    token: &[u8],
    now: Instant,
    get: impl FnOnce(DateTime<Utc>, &[u8]) -> T,
) -> Result<Option<T>, RedbError> {
    let sessions = snapshot.open_table(tables.sessions())?;
    let Some(value) = sessions.get(token)? else { return Ok(None) };
    let (expiry, data) = split(value.value())?;
    if expiry <= now {
        return Ok(None);
    }
    Ok(Some(get(to_utc(expiry)?, data)))
}

/// Looks up a token that names a live session, or named one until a moment ago.
pub(super) fn load(
    tables: &Tables,
    snapshot: &ReadTransaction,
    token: &[u8],
    now: Instant,
) -> Result<Loaded, RedbError> {
    let to_live = |expiry, data: &[u8]| Loaded::Live { data: data.to_vec(), expiry };
    match find_live(tables, snapshot, token, now, to_live)? {
        Some(live) => Ok(live),
        None => find_rotated(tables, snapshot, token, now),
    }
}

/// Looks up what has become of a token that names no live session.
fn find_rotated(
    tables: &Tables,
    snapshot: &ReadTransaction,
    token: &[u8],
    now: Instant,
) -> Result<Loaded, RedbError> {
    let rotations = snapshot.open_table(tables.rotations())?;
    let Some(value) = rotations.get(token)? else { return Ok(Loaded::Missing) };
    let rotated = Rotated::parse(value.value())?;
    if !rotated.is_in_effect(now)
        || find_live(tables, snapshot, rotated.newest, now, |_, _| ())?.is_none()
    {
        return Ok(Loaded::Missing);
    }
    Ok(Loaded::Rotated { token: to_text(rotated.newest)?.to_owned(), opens: rotated.opens })
}

/// Returns the live sessions of a subject.
pub(super) fn find_by_subject(
    tables: &Tables,
    snapshot: &ReadTransaction,
    subject: &str,
    now: Instant,
) -> Result<Vec<OwnedRecord>, RedbError> {
    let by_subject = snapshot.open_table(tables.by_subject())?;
    let mut live = Vec::new();
    for token in tokens_of(&by_subject, subject.as_bytes())? {
        let to_session = |expiry, data: &[u8]| (data.to_vec(), expiry);
        if let Some((data, expiry)) = find_live(tables, snapshot, &token, now, to_session)? {
            live.push(OwnedRecord::new(to_text(&token)?, data, expiry));
        }
    }
    Ok(live)
}

/// Returns the subject of a live session.
pub(super) fn subject_of(
    tables: &Tables,
    snapshot: &ReadTransaction,
    token: &[u8],
    now: Instant,
) -> Result<Option<String>, RedbError> {
    if find_live(tables, snapshot, token, now, |_, _| ())?.is_none() {
        return Ok(None);
    }
    let subjects = snapshot.open_table(tables.subjects())?;
    let Some(subject) = subjects.get(token)? else { return Ok(None) };
    Ok(Some(to_text(subject.value())?.to_owned()))
}

/// Returns the tokens that are linked to a subject, of live sessions and others.
pub(super) fn tokens_of(
    by_subject: &impl ReadableTable<Bytes, ()>,
    subject: &[u8],
) -> Result<Vec<Vec<u8>>, RedbError> {
    let mut tokens = Vec::new();
    // A longer one has no sessions, and no length in one byte: its prefix would match the keys of
    // the subject that it begins with, and parts of their tokens would be taken for tokens.
    if subject.len() > MAX_SUBJECT_LEN {
        return Ok(tokens);
    }
    let prefix = subject_prefix(subject);
    for row in by_subject.range(&*prefix..)? {
        let key = row?.0;
        let Some(token) = key.value().strip_prefix(&*prefix) else { break };
        tokens.push(token.to_vec());
    }
    Ok(tokens)
}

/// Counts the live sessions.
pub(super) fn count(
    tables: &Tables,
    snapshot: &ReadTransaction,
    now: Instant,
) -> Result<u64, RedbError> {
    let sessions = snapshot.open_table(tables.sessions())?;
    let (mut live, mut order) = (0, Order::default());
    for row in sessions.iter()? {
        let (token, value) = row?;
        order.check(token.value())?;
        live += u64::from(split(value.value())?.0 > now);
    }
    Ok(live)
}

/// Checks the order of a table's keys. In a damaged file a page can lead back to one before it, so
/// that a walk through the table would never end.
#[derive(Default)]
pub(super) struct Order {
    /// No key is empty.
    last: Vec<u8>,
}

impl Order {
    /// Checks that a key comes after all others.
    pub(super) fn check(&mut self, key: &[u8]) -> Result<(), RedbError> {
        if *key <= *self.last {
            return Err(RedbError::Corrupted("keys are out of order".to_owned()));
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        Ok(())
    }
}

/// Visits the live sessions.
///
/// The visitor is the application's, so its panics pass, while those of redb are caught.
pub(super) fn for_each(
    tables: &Tables,
    snapshot: &ReadTransaction,
    now: Instant,
    visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let sessions = catch_panic(|| Ok(snapshot.open_table(tables.sessions())?))?;
    let mut rows = catch_panic(|| Ok(sessions.iter()?))?;
    let mut order = Order::default();
    while let Some((token, value)) = catch_panic(|| Ok(rows.next().transpose()?))? {
        // Where a row lies in its page is looked up only now, and may be damaged.
        let (token, value) = catch_panic(|| Ok((token.value(), value.value())))?;
        order.check(token).map_err(from_redb)?;
        let (expiry, data) = split(value).map_err(from_redb)?;
        if expiry <= now {
            continue;
        }
        let token = to_text(token).map_err(from_redb)?;
        let record = Record::new(token, data, to_utc(expiry).map_err(from_redb)?);
        if visit(record).is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_come_again_or_go_back_are_damage() -> Result<(), RedbError> {
        for last in [&b"b"[..], b"a", b""] {
            let mut order = Order::default();
            order.check(b"a")?;
            order.check(b"b")?;
            let damaged = order.check(last);
            assert!(matches!(damaged, Err(RedbError::Corrupted(_))), "{last:?}: {damaged:?}");
        }
        Ok(())
    }
}
