//! Databases made byte by byte, in both formats.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{ManualClock, MemoryOptions, MemoryStore};
use tempfile::TempDir;

use super::super::sidecar::SidecarFiles;
use super::super::{ImportError, ImportOptions, ImportReport, import_ql, v1, v2};
use crate::ql_format::QlFormat;

/// When the tests take place.
pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).expect("the first of January 2026")
}

pub(super) fn options() -> ImportOptions {
    ImportOptions::new().with_clock(Arc::new(ManualClock::new(now())))
}

pub(super) fn target() -> MemoryStore {
    let clock = Arc::new(ManualClock::new(now()));
    MemoryOptions::new().with_clock(clock).build().expect("memory needs nothing")
}

/// A value to be encoded.
#[derive(Clone)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
    /// A blob of format 1 whose second chunk has this handle.
    Chunked(i64),
    /// Bytes of format 1 as they are.
    Bytes(Vec<u8>),
    /// This many hours from now.
    Time(i64),
}

pub(super) fn text(text: &str) -> Cell {
    Cell::Text(text.as_bytes().to_vec())
}

pub(super) fn blob(blob: &str) -> Cell {
    Cell::Blob(blob.as_bytes().to_vec())
}

impl Cell {
    fn encode(&self, format: QlFormat) -> Vec<u8> {
        let binary_time = |hours: i64| {
            let time = now() + TimeDelta::hours(hours);
            let seconds = time.timestamp() + 62_135_596_800;
            [&[1][..], &seconds.to_be_bytes(), &[0; 4], &[0xFF; 2]].concat()
        };
        match (format, self) {
            (_, Self::Null) => vec![0],
            (QlFormat::V1, Self::Int(number)) => [&[0x54][..], &number.to_be_bytes()].concat(),
            (QlFormat::V1, Self::Text(text)) => [&[0x3C][..], &be16(text.len()), text].concat(),
            (QlFormat::V1, Self::Bytes(bytes)) if bytes.is_empty() => vec![0x15],
            (QlFormat::V1, Self::Bytes(bytes)) => {
                [&[0x28][..], &be16(bytes.len() - 1), bytes].concat()
            }
            (QlFormat::V1, Self::Blob(bytes)) => {
                v1_typed(&[Self::Int(66), Self::Bytes(bytes.clone())])
            }
            (QlFormat::V1, Self::Chunked(next)) => {
                v1_typed(&[Self::Int(66), Self::Int(*next), Self::Bytes(b"first ".to_vec())])
            }
            (QlFormat::V1, Self::Time(hours)) => {
                let gob = [&[18, 0x22, 0, 15][..], &binary_time(*hours)].concat();
                v1_typed(&[Self::Int(84), Self::Bytes(gob)])
            }
            (QlFormat::V2, Self::Int(number)) => [&[18][..], &varint(*number)].concat(),
            (QlFormat::V2, Self::Text(text)) => {
                [&[22][..], &uvarint(text.len() as u64), text].concat()
            }
            (QlFormat::V2, Self::Blob(bytes)) => {
                [&[5][..], &uvarint(bytes.len() as u64), bytes].concat()
            }
            (QlFormat::V2, Self::Time(hours)) => [&[24, 15][..], &binary_time(*hours)].concat(),
            (QlFormat::V2, Self::Chunked(_) | Self::Bytes(_)) => unreachable!("not of this format"),
        }
    }
}

fn be16(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("short").to_be_bytes()
}

fn v1_typed(values: &[Cell]) -> Vec<u8> {
    Cell::Bytes(encode(QlFormat::V1, values)).encode(QlFormat::V1)
}

fn encode(format: QlFormat, values: &[Cell]) -> Vec<u8> {
    values.iter().flat_map(|value| value.encode(format)).collect()
}

fn uvarint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
    bytes
}

pub(super) fn varint(number: i64) -> Vec<u8> {
    uvarint(((number << 1) ^ (number >> 63)).cast_unsigned())
}

/// A database under construction. Handle 1 is the root, 20 the table, 40 its head; rows begin at
/// 100.
pub(super) struct Ql {
    format: QlFormat,
    bytes: Vec<u8>,
}

impl Ql {
    /// A database with a table of these columns, and `first` as the handle of its first row.
    pub(super) fn new(format: QlFormat, columns: &str, first: i64) -> Self {
        let magic = if format == QlFormat::V1 { b"\x60\xDBql" } else { b"\x61\xDBql" };
        let mut ql = Self { format, bytes: magic.to_vec() };
        ql.put(1, &[Cell::Int(20)]);
        ql.put(20, &[Cell::Int(0), text(columns), Cell::Int(40), text("sessions")]);
        ql.put(40, &[Cell::Int(first)]);
        ql
    }

    /// The usual table, with these rows, newest first.
    pub(super) fn with_rows(format: QlFormat, rows: &[(i64, [Cell; 3])]) -> Self {
        let mut ql = Self::new(format, "stoken|Bdata|Texpiry", 100);
        for (place, (id, cells)) in (0..).zip(rows) {
            let next = if place + 1 == rows.len() { 0 } else { handle_of(place + 1) };
            ql.put_row(handle_of(place), next, *id, cells);
        }
        ql
    }

    pub(super) fn put_row(&mut self, handle: i64, next: i64, id: i64, cells: &[Cell]) {
        self.put(handle, &[&[Cell::Int(next), Cell::Int(id)], cells].concat());
    }

    pub(super) fn put(&mut self, handle: i64, values: &[Cell]) {
        let content = encode(self.format, values);
        let record = match self.format {
            QlFormat::V1 => {
                let mut block = match u8::try_from(content.len()) {
                    Ok(len @ ..=251) => vec![len],
                    _ => [&[0xFC][..], &be16(content.len())].concat(),
                };
                block.extend(&content);
                block.resize((block.len() / 16 + 1) * 16, 0);
                block
            }
            QlFormat::V2 => {
                let len = i64::try_from(content.len()).expect("short");
                [varint(len), content].concat()
            }
        };
        self.put_raw(handle, &record);
    }

    pub(super) fn put_raw(&mut self, handle: i64, record: &[u8]) {
        let offset = match self.format {
            QlFormat::V1 => v1::offset_of(handle),
            QlFormat::V2 => v2::offset_of(handle),
        };
        let offset = usize::try_from(offset.expect("a handle")).expect("small");
        let end = offset + record.len();
        self.bytes.resize(self.bytes.len().max(end).next_multiple_of(16), 0);
        self.bytes[offset..end].copy_from_slice(record);
    }

    pub(super) fn save(&self) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        let path = directory.path().join("synthetic.db");
        std::fs::write(&path, &self.bytes).expect("written");
        // As ql leaves it: without a log, all damage could be half of a commit.
        let sidecars = SidecarFiles::find(&path).expect("it has a name").remove(0);
        std::fs::write(sidecars.wal, "").expect("written");
        (directory, path)
    }

    pub(super) fn import(
        &self,
        options: &ImportOptions,
    ) -> Result<(ImportReport, MemoryStore), ImportError> {
        let (_directory, path) = self.save();
        let store = target();
        Ok((import_ql(path, &store, options)?, store))
    }

    /// Asserts that the database is refused as damaged, for this reason.
    #[track_caller]
    pub(super) fn assert_damaged(&self, expected: &str) {
        match self.import(&options()) {
            Err(ImportError::Damaged { what, .. }) => assert_eq!(what, expected),
            other => panic!("expected: {expected}; got: {:?}", other.map(|(report, _)| report)),
        }
    }
}

pub(super) fn handle_of(place: usize) -> i64 {
    100 + 30 * i64::try_from(place).expect("few")
}
