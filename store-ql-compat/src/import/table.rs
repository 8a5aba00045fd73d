//! Tables and their rows, which are lists linked by handles.
//!
//! ql's `storage.go` has the records of tables, its `file.go` those of rows and, in format 1, the
//! chunks of large values.

use chrono::{DateTime, Utc};

use super::database::{Database, RawRecord};
use super::error::ImportError;
use super::scalars::{Malformed, Value};
use super::time::{from_binary, from_gob};
use super::values::Values;
use crate::ql_format::QlFormat;

/// The record that leads to the first table.
const ROOT: i64 = 1;

/// The letters that ql has for its types, in tables and, in format 1, in blob-like values.
const STRING: u8 = b's';
const BLOB: u8 = b'B';
const TIME: u8 = b'T';

/// The most names that a message lists, and the longest of them.
const MAX_LISTED: usize = 32;
const MAX_LISTED_LEN: usize = 100;

/// A table of sessions: where its rows are, and which of its columns are which.
#[derive(Debug)]
pub(super) struct Table {
    /// The handle of the newest row, and where that handle was found.
    first: (i64, u64),
    token: usize,
    data: usize,
    expiry: usize,
}

/// A value of a column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column<T> {
    Null,
    WrongType,
    Value(T),
}

/// A row. Of large data only the beginning was read.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) id: i64,
    pub(super) token: Column<&'a [u8]>,
    pub(super) data: Column<Payload<'a>>,
    pub(super) expiry: Column<DateTime<Utc>>,
    offset: u64,
}

/// The bytes of a blob-like value: the first of them, and the handle of the next ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    first: &'a [u8],
    next: i64,
}

impl Table {
    /// Looks up a table of sessions.
    pub(super) fn find(db: &mut Database, name: &str) -> Result<Self, ImportError> {
        let root = db.read(ROOT, 0)?;
        let mut next = match root.values().exactly() {
            // Nothing was ever created.
            _ if root.content.is_empty() => 0,
            Ok([Value::Int(first)]) => first,
            Ok(_) => return Err(root.damaged("the root leads to no table")),
            Err(what) => return Err(root.damaged(what)),
        };
        let mut at = root.offset;
        let mut present = Vec::new();
        let mut cycles = CycleDetector::default();
        while next != 0 {
            cycles.check(next, at)?;
            let stored = db.read(next, at)?;
            let record = TableRecord::from_values(&stored).map_err(|what| stored.damaged(what))?;
            if record.name == name.as_bytes() {
                return Self::from_record(db, &stored, &record, name);
            }
            // The names of ql's own tables of indexes and columns begin like this.
            if !record.name.starts_with(b"__") && present.len() < MAX_LISTED {
                present.push(listed(record.name));
            }
            (next, at) = (record.next, stored.offset);
        }
        Err(ImportError::NoTable { table: name.to_owned(), present })
    }

    /// Returns the table, if it has the columns of sessions.
    fn from_record(
        db: &mut Database,
        stored: &RawRecord,
        record: &TableRecord<'_>,
        name: &str,
    ) -> Result<Self, ImportError> {
        let position = |expected: &'static str, column: &str, kind: u8| {
            let is_it =
                |declared: &[u8]| declared.split_first() == Some((&kind, column.as_bytes()));
            // A dropped column keeps its place, under an empty name.
            record.columns().position(is_it).ok_or_else(|| ImportError::WrongColumns {
                table: name.to_owned(),
                expected,
                present: record.columns().take(MAX_LISTED).filter_map(described).collect(),
            })
        };
        let token = position("token string", "token", STRING)?;
        let data = position("data blob", "data", BLOB)?;
        let expiry = position("expiry time", "expiry", TIME)?;

        let head = db.read(record.head, stored.offset)?;
        match head.values().exactly() {
            Ok([Value::Int(first)]) => {
                Ok(Self { first: (first, head.offset), token, data, expiry })
            }
            Ok(_) => Err(head.damaged("a table leads to no row")),
            Err(what) => Err(head.damaged(what)),
        }
    }

    /// Visits the rows, beginning with the newest.
    pub(super) fn for_each_row(
        &self,
        db: &mut Database,
        visit: &mut dyn FnMut(&mut Database, &Row<'_>) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        db.source.begin_pass();
        let (mut next, mut at) = self.first;
        let mut cycles = CycleDetector::default();
        while next != 0 {
            cycles.check(next, at)?;
            let stored = db.read(next, at)?;
            let (older, row) = self.row(db, &stored)?;
            visit(db, &row)?;
            (next, at) = (older, stored.offset);
        }
        Ok(())
    }

    /// Decodes a row, and returns the handle of the next older one with it.
    fn row<'a>(
        &self,
        db: &mut Database,
        stored: &'a RawRecord,
    ) -> Result<(i64, Row<'a>), ImportError> {
        let damaged = |what| stored.damaged(what);
        let (mut next, mut id) = (None, None);
        // Columns that were added after the row was written are missing, which means NULL.
        let [mut token, mut data, mut expiry] = [Value::Null; 3];
        for (place, value) in stored.values().enumerate() {
            let value = value.map_err(damaged)?;
            match (place.checked_sub(2), value) {
                (None, Value::Int(number)) => {
                    *(if place == 0 { &mut next } else { &mut id }) = Some(number);
                }
                (None, _) => return Err(damaged("a row doesn't begin with two numbers")),
                (Some(column), value) if column == self.token => token = value,
                (Some(column), value) if column == self.data => data = value,
                (Some(column), value) if column == self.expiry => expiry = value,
                (Some(_), _) => {}
            }
        }
        let (Some(next), Some(id)) = (next, id) else {
            return Err(damaged("a row has neither id nor columns"));
        };
        let token = match token {
            Value::Null => Column::Null,
            Value::Text(token) => Column::Value(token),
            _ => Column::WrongType,
        };
        let data = match (db.format, data) {
            (_, Value::Null) => Column::Null,
            (QlFormat::V1, Value::Bytes(encoded)) => payload(encoded, BLOB).map_err(damaged)?,
            (QlFormat::V2, Value::Bytes(first)) => Column::Value(Payload { first, next: 0 }),
            _ => Column::WrongType,
        };
        let expiry = match (db.format, expiry) {
            (_, Value::Null) => Column::Null,
            (QlFormat::V1, Value::Bytes(encoded)) => {
                match payload(encoded, TIME).map_err(damaged)? {
                    Column::Value(message) => {
                        let message = message.collect(db, stored.offset)?;
                        Column::Value(from_gob(&message).map_err(damaged)?)
                    }
                    Column::Null => Column::Null,
                    Column::WrongType => Column::WrongType,
                }
            }
            (QlFormat::V2, Value::Time(binary)) => {
                Column::Value(from_binary(binary).map_err(damaged)?)
            }
            _ => Column::WrongType,
        };
        Ok((next, Row { id, token, data, expiry, offset: stored.offset }))
    }
}

impl Row<'_> {
    /// Reads all bytes of the data.
    pub(super) fn read_data(
        &self,
        db: &mut Database,
        data: &Payload<'_>,
    ) -> Result<Vec<u8>, ImportError> {
        data.collect(db, self.offset)
    }
}

impl Payload<'_> {
    /// Follows the chunks of a large value.
    fn collect(&self, db: &mut Database, row: u64) -> Result<Vec<u8>, ImportError> {
        let mut bytes = self.first.to_vec();
        let (mut next, mut at) = (self.next, row);
        let mut cycles = CycleDetector::default();
        while next != 0 {
            cycles.check(next, at)?;
            let stored = db.read(next, at)?;
            let (older, part) = chunk(stored.values()).map_err(|what| stored.damaged(what))?;
            bytes.extend_from_slice(part);
            if bytes.len() > db.max_row_len {
                return Err(ImportError::RowTooLarge { offset: row, max: db.max_row_len });
            }
            (next, at) = (older, stored.offset);
        }
        Ok(bytes)
    }
}

/// Decodes a blob-like value of format 1: its type, the handle of the next chunk if there is one,
/// and bytes.
fn payload(encoded: &[u8], kind: u8) -> Result<Column<Payload<'_>>, Malformed> {
    let values = Values::from_bytes(QlFormat::V1, encoded);
    let (found, payload) = match values.clone().exactly() {
        Ok([Value::Int(found), Value::Bytes(first)]) => (found, Payload { first, next: 0 }),
        _ => match values.exactly()? {
            [Value::Int(found), Value::Int(next), Value::Bytes(first)] if next != 0 => {
                (found, Payload { first, next })
            }
            _ => return Err("a value has no type or no bytes"),
        },
    };
    Ok(if found == i64::from(kind) { Column::Value(payload) } else { Column::WrongType })
}

/// Decodes a chunk of format 1: the handle of the next one, or 0, and bytes.
fn chunk(values: Values<'_>) -> Result<(i64, &[u8]), Malformed> {
    if let Ok([Value::Bytes(part)]) = values.clone().exactly() {
        return Ok((0, part));
    }
    match values.exactly()? {
        [Value::Int(next), Value::Bytes(part)] => Ok((next, part)),
        _ => Err("a part of a large value has no bytes"),
    }
}

/// The record of a table. Those with indexes have two more values, which an import doesn't need.
struct TableRecord<'a> {
    next: i64,
    columns: &'a [u8],
    head: i64,
    name: &'a [u8],
}

impl<'a> TableRecord<'a> {
    fn from_values(stored: &'a RawRecord) -> Result<Self, Malformed> {
        let (table, indexes) = if let Ok(table) = stored.values().exactly() {
            (table, [Value::Text(&[]), Value::Int(0)])
        } else {
            let [next, columns, head, name, indexes, roots] = stored.values().exactly()?;
            ([next, columns, head, name], [indexes, roots])
        };
        match (table, indexes) {
            (
                [Value::Int(next), Value::Text(columns), Value::Int(head), Value::Text(name)],
                [Value::Text(_), Value::Int(_)],
            ) => Ok(Self { next, columns, head, name }),
            _ => Err("a table's record has values of the wrong types"),
        }
    }

    /// Each column is a letter for the type, and the name.
    fn columns(&self) -> impl Iterator<Item = &'a [u8]> {
        self.columns.split(|byte| *byte == b'|')
    }
}

/// Detects cycles in a list, by remembering one handle at a time (Brent's algorithm).
#[derive(Debug, Default)]
struct CycleDetector {
    remembered: i64,
    steps: u64,
    steps_until_next: u64,
}

impl CycleDetector {
    /// Takes note of a handle, which isn't 0. Fails if it is the remembered one.
    fn check(&mut self, handle: i64, at: u64) -> Result<(), ImportError> {
        if handle == self.remembered {
            return Err(ImportError::Damaged { offset: at, what: "a list has a cycle" });
        }
        if self.steps == self.steps_until_next {
            self.remembered = handle;
            self.steps = 0;
            self.steps_until_next = self.steps_until_next * 2 + 1;
        }
        self.steps += 1;
        Ok(())
    }
}

/// Returns a name for a message. Names are no secrets, but a damaged file may have anything in
/// their place, so they are cut.
fn listed(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(MAX_LISTED_LEN)]).into_owned()
}

/// Returns a column for a message, unless it was dropped.
fn described(declared: &[u8]) -> Option<String> {
    let (kind, name) = declared.split_first()?;
    let kind = match *kind {
        STRING => "string",
        BLOB => "blob",
        TIME => "time",
        b'b' => "bool",
        b'l' => "int64",
        b'D' => "duration",
        _ => "of another type",
    };
    (!name.is_empty()).then(|| format!("{} {kind}", listed(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_detected_within_three_rounds() {
        for (before, round) in [(0, 1), (0, 2), (1, 1), (5, 7), (100, 3), (3, 100)] {
            let mut cycles = CycleDetector::default();
            let handles = (1..=before).chain((before + 1..=before + round).cycle());
            let met = handles.take_while(|handle| cycles.check(*handle, 0).is_ok()).count();
            assert!(met >= usize::try_from(before + round).expect("small"), "{before} {round}");
            assert!(met <= usize::try_from(3 * (before + round) + 3).expect("small"), "{met}");
        }
        let mut cycles = CycleDetector::default();
        assert!((1..10_000).all(|handle| cycles.check(handle, 0).is_ok()));
    }

    #[test]
    fn payloads_have_types() -> Result<(), Malformed> {
        // 66 is 'B'; small numbers are tags from 0x55 on, and bytes of length n have the tag 0x15 +
        // n.
        let blob = [0x55 + 66, 0x17, 1, 2];
        assert!(matches!(payload(&blob, BLOB)?, Column::Value(Payload { first: [1, 2], next: 0 })));
        assert!(matches!(payload(&blob, TIME)?, Column::WrongType));
        let chunked = [0x55 + 66, 0x55 + 9, 0x16, 1];
        assert!(matches!(payload(&chunked, BLOB)?, Column::Value(Payload { first: [1], next: 9 })));
        for malformed in [&[][..], &[0x55], &[0x55 + 66, 0x55, 0x16, 1], &[0x16, 1], &[0x16]] {
            assert!(payload(malformed, BLOB).is_err(), "{malformed:?}");
        }
        Ok(())
    }
}
