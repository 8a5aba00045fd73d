//! The writes of the tests, each in one line.

use chrono::{DateTime, Utc};
use store_core::{Change, Error, Loaded, Rotation, Store};
use test_servers::Database;

/// How many commands a write is that is one statement: `TiDB` gets it in a transaction.
pub(crate) fn commands_of_a_write(database: &Database) -> u64 {
    if database.is_tidb() { 3 } else { 1 }
}

/// Sets data and expiry of a session that has this data.
pub(crate) fn set(
    store: &dyn Store,
    token: &str,
    current: &[u8],
    data: &[u8],
    expiry: DateTime<Utc>,
) -> Result<bool, Error> {
    store.update(token, current, &Change::new(data, expiry))
}

/// Rotates the token of a session, which has this data and keeps it.
pub(crate) fn rotate(
    store: &dyn Store,
    token: &str,
    new_token: &str,
    data: &[u8],
    expiry: DateTime<Utc>,
) -> Result<bool, Error> {
    let rotation = Rotation::new(new_token);
    store.update(token, data, &Change::new(data, expiry).with_rotation(rotation))
}

/// Sets the subject of a session, which has this data and keeps it, or clears it.
pub(crate) fn set_subject(
    store: &dyn Store,
    token: &str,
    subject: Option<&str>,
    data: &[u8],
    expiry: DateTime<Utc>,
) -> Result<bool, Error> {
    store.update(token, data, &Change::new(data, expiry).with_subject(subject))
}

/// The expiry of a live session.
pub(crate) fn expiry_of(store: &dyn Store, token: &str) -> Result<Option<DateTime<Utc>>, Error> {
    Ok(match store.load(token)? {
        Loaded::Live { expiry, .. } => Some(expiry),
        Loaded::Rotated { .. } | Loaded::Missing => None,
    })
}

/// Whether a token was rotated to another one a moment ago, and opens nothing.
pub(crate) fn leads_to(store: &dyn Store, token: &str, newest: &str) -> Result<bool, Error> {
    Ok(store.load(token)? == Loaded::Rotated { token: newest.to_owned(), opens: false })
}

/// The tokens of a subject's live sessions, in order.
pub(crate) fn tokens_of(store: &dyn Store, subject: &str) -> Result<Vec<String>, Error> {
    let mut tokens: Vec<_> =
        store.find_by_subject(subject)?.into_iter().map(|record| record.token).collect();
    tokens.sort();
    Ok(tokens)
}
