//! Rows of results, read.

use chrono::{DateTime, Utc};
use mysql::{Row, Value};

use crate::time;

/// A row of a live session.
pub(crate) struct Session {
    pub(crate) token: String,
    pub(crate) data: Vec<u8>,
    pub(crate) expiry: DateTime<Utc>,
}

impl Session {
    /// Rows that aren't sessions, which others may have written, are none.
    pub(crate) fn read(mut row: Row) -> Option<Self> {
        Self::read_from(&mut row, 0)
    }

    /// Reads token, data and expiry from the columns that begin at `first`.
    pub(crate) fn read_from(row: &mut Row, first: usize) -> Option<Self> {
        let (token, data) = (bytes(row, first)?, bytes(row, first + 1)?);
        let expiry = time::to_instant(&row.take::<Value, _>(first + 2)?)?;
        Some(Self { token: String::from_utf8(token).ok()?, data, expiry })
    }
}

/// A column as bytes; NULL and numbers are none.
pub(crate) fn bytes(row: &mut Row, index: usize) -> Option<Vec<u8>> {
    match row.take::<Value, _>(index) {
        Some(Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}

/// Whether a column is true, as comparisons are.
pub(crate) fn is_true(row: &mut Row, index: usize) -> bool {
    matches!(row.take::<Value, _>(index), Some(Value::Int(1..) | Value::UInt(1..)))
}
