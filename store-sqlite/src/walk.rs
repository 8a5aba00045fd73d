//! A walk through all sessions, page by page.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Result as SqliteResult, params};
use store_core::Record;

use crate::statements::Statements;
use crate::{julian, row};

/// The rowid before the first page.
pub(crate) const START: i64 = i64::MIN;

/// A page ends after this many rows, or bytes of data.
const MAX_ROWS: usize = 500;
const MAX_BYTES: usize = 256 * 1024;

/// A part of a walk, copied so that no statement stays open while the visitor runs.
pub(crate) struct Page {
    /// The tokens of all rows, one after the other, and so is the data: a copy of each row on its
    /// own takes half as long again.
    tokens: String,
    data: Vec<u8>,
    rows: Vec<Row>,
    /// The last row of the page, if there may be more after it.
    next_after: Option<i64>,
}

struct Row {
    token_len: usize,
    data_len: usize,
    expiry: DateTime<Utc>,
}

impl Page {
    /// Reads the page that begins after a row.
    pub(crate) fn read(
        statements: &Statements,
        connection: &Connection,
        after: i64,
        now: f64,
    ) -> SqliteResult<Self> {
        let mut statement = connection.prepare_cached(&statements.page)?;
        let mut found = statement.query(params![after, now])?;
        let (tokens, data, rows) = (String::new(), Vec::new(), Vec::with_capacity(MAX_ROWS));
        let mut page = Self { tokens, data, rows, next_after: None };
        while let Some(row) = found.next()? {
            if let Some(token) = row::token(row.get_ref(1)?)
                && let Some(data) = row::data(row.get_ref(2)?)
            {
                page.tokens.push_str(token);
                page.data.extend_from_slice(data);
                let expiry = julian::to_instant(row.get(3)?);
                page.rows.push(Row { token_len: token.len(), data_len: data.len(), expiry });
            }
            if page.rows.len() >= MAX_ROWS || page.data.len() >= MAX_BYTES {
                page.next_after = Some(row.get(0)?);
                break;
            }
        }
        Ok(page)
    }

    /// Shows each session to the visitor. Returns the row after which the next page begins, unless
    /// the walk is over.
    pub(crate) fn visit(
        &self,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<(), i64> {
        let (mut tokens, mut data) = (&*self.tokens, &*self.data);
        for row in &self.rows {
            let (token, other_tokens) = tokens.split_at(row.token_len);
            let (own, other_data) = data.split_at(row.data_len);
            visit(Record::new(token, own, row.expiry))?;
            (tokens, data) = (other_tokens, other_data);
        }
        match self.next_after {
            Some(row) => ControlFlow::Continue(row),
            None => ControlFlow::Break(()),
        }
    }
}
