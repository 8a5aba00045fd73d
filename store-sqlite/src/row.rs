//! What a row of the table holds. Others write to it as well, so not every row is a session.

use rusqlite::types::ValueRef;

/// Returns the token of a session; other values than UTF-8 text are none.
pub(crate) fn token(value: ValueRef<'_>) -> Option<&str> {
    match value {
        ValueRef::Text(text) => str::from_utf8(text).ok(),
        _ => None,
    }
}

/// Returns the data of a session. Others may have written it as text; NULL and numbers are none.
pub(crate) fn data(value: ValueRef<'_>) -> Option<&[u8]> {
    match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(bytes),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    }
}
