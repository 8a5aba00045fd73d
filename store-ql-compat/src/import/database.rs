//! A ql database: its records, whatever the format, and the files that belong to it.

use std::path::Path;

use super::error::ImportError;
use super::file::{Source, SourceFile, Stamp};
use super::report::WalStatus;
use super::scalars::Malformed;
use super::sidecar::SidecarFiles;
use super::values::Values;
use super::{v1, v2, wal};
use crate::ql_format::QlFormat;

/// An open database. It isn't locked, so what was read is valid only if it wasn't locked or written
/// to by others since: [`verify_unchanged`](Self::verify_unchanged).
#[derive(Debug)]
pub(super) struct Database {
    pub(super) format: QlFormat,
    pub(super) wal_status: WalStatus,
    pub(super) source: Source,
    pub(super) max_row_len: usize,
    sidecars: Vec<SidecarFiles>,
    stamp: Stamp,
}

/// A record, before it is decoded.
#[derive(Debug)]
pub(super) struct RawRecord {
    format: QlFormat,
    /// Where it is in the file.
    pub(super) offset: u64,
    pub(super) content: Vec<u8>,
}

impl RawRecord {
    pub(super) fn values(&self) -> Values<'_> {
        Values::from_bytes(self.format, &self.content)
    }

    /// The error for content that doesn't decode.
    pub(super) fn damaged(&self, what: Malformed) -> ImportError {
        ImportError::Damaged { offset: self.offset, what }
    }
}

impl Database {
    pub(super) fn open(path: &Path, max_row_len: usize) -> Result<Self, ImportError> {
        let mut file = SourceFile::open(path.to_owned())?;
        let mut first = [0; 16];
        let len = file.len.min(16);
        let first = &mut first[..usize::try_from(len).expect("at most 16")];
        file.read_at(0, first)?;
        let format = QlFormat::from_first_bytes(first)
            .ok_or_else(|| ImportError::NotQl { looks_like: looks_like(first) })?;

        let sidecars = SidecarFiles::find(path)?;
        sidecars.iter().try_for_each(SidecarFiles::refuse_if_locked)?;
        let stamp = file.stamp()?;
        let mut wal_status = WalStatus::Absent;
        let mut replay = None;
        for SidecarFiles { wal, .. } in &sidecars {
            if !wal.try_exists().map_err(|source| ImportError::Io { path: wal.clone(), source })? {
                continue;
            }
            let (examined, found) = wal::examine(format, SourceFile::open(wal.clone())?, &file)?;
            if replay.is_some() && found.is_some() {
                return Err(ImportError::Unsupported {
                    what: "the symbolic link and the file behind it each have a write-ahead log \
                           with a commit: let ql open the one that was used last",
                });
            }
            if found.is_some() || replay.is_none() {
                wal_status = examined;
            }
            replay = found.or(replay);
        }
        let source = Source::new(file, replay);
        Ok(Self { format, wal_status, source, max_row_len, sidecars, stamp })
    }

    /// Reads the record that a handle leads to. `at` is where the handle was found.
    pub(super) fn read(&mut self, handle: i64, at: u64) -> Result<RawRecord, ImportError> {
        let offset = match self.format {
            QlFormat::V1 => v1::offset_of(handle),
            QlFormat::V2 => v2::offset_of(handle),
        };
        let offset = offset
            .ok_or(ImportError::Damaged { offset: at, what: "a handle is out of all bounds" })?;
        let (offset, content) = match self.format {
            QlFormat::V1 => v1::read(&mut self.source, offset)?,
            QlFormat::V2 => v2::read(&mut self.source, offset, self.max_row_len)?,
        };
        Ok(RawRecord { format: self.format, offset, content })
    }

    /// Fails if a process has opened the database since, or changed it.
    pub(super) fn verify_unchanged(&self) -> Result<(), ImportError> {
        self.sidecars.iter().try_for_each(SidecarFiles::refuse_if_locked)?;
        if self.source.file().stamp()? == self.stamp { Ok(()) } else { Err(ImportError::Changed) }
    }

    /// Returns the error for damage. Without the log that ql leaves next to every database, it may
    /// be half of a commit.
    pub(super) fn explain(&self, error: ImportError) -> ImportError {
        match (error, self.sidecars.first()) {
            (ImportError::Damaged { offset, what }, Some(sidecars))
                if self.wal_status == WalStatus::Absent =>
            {
                ImportError::WalMissing { wal: sidecars.wal.clone(), offset, what }
            }
            (error, _) => error,
        }
    }
}

/// Describes a file that isn't a ql database, by its first bytes.
fn looks_like(first: &[u8]) -> &'static str {
    const KINDS: [(&[u8], &str); 7] = [
        (b"SQLite format 3\0", "a SQLite database"),
        (b"redb", "a redb database, such as those of this crate's store"),
        (b"\x1F\x8B", "a gzip archive: unpack it first"),
        (b"\x28\xB5\x2F\xFD", "a zstd archive: unpack it first"),
        (b"PK\x03\x04", "a zip archive: unpack it first"),
        (b"\0\0\0\x03UU)", "the write-ahead log of a ql database"),
        (b"", "something unknown"),
    ];
    if first.is_empty() {
        return "an empty file";
    }
    if first.iter().all(|byte| *byte == 0) {
        return "zeros";
    }
    let (_, kind) = KINDS
        .into_iter()
        .find(|(magic, _)| first.starts_with(magic))
        .expect("the last one matches all");
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_named() {
        for (first, kind) in [
            (&b""[..], "an empty file"),
            (b"SQLite format 3\0", "a SQLite database"),
            (&[0; 16], "zeros"),
            (b"\x62\xDBql", "something unknown"),
        ] {
            assert_eq!(looks_like(first), kind);
        }
    }
}
