//! A database file as its readers see it: bounded, read at any offset, overlaid by the commit of a
//! log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::error::ImportError;
use super::overlay::{Origin, Overlay};

/// Reads go through pages, so that the small records of a database don't cost a system call each.
const PAGE_LEN: usize = 16 * 1024;

/// Pages that are kept: 1 MiB in all.
const PAGES: u64 = 64;

/// A file that is read and never written.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    file: File,
    pub(super) len: u64,
}

impl SourceFile {
    /// Opens a file, and nothing else that a path can name: opening a pipe would wait for its
    /// writer.
    pub(super) fn open(path: PathBuf) -> Result<Self, ImportError> {
        let opened = std::fs::metadata(&path).and_then(|metadata| {
            if !metadata.is_file() {
                return Ok(None);
            }
            let file = File::open(&path)?;
            let len = file.metadata()?.len();
            Ok(Some((file, len)))
        });
        match opened {
            Ok(Some((file, len))) => Ok(Self { path, file, len }),
            Ok(None) => Err(ImportError::NotQl { looks_like: "a directory or a device" }),
            Err(source) => Err(ImportError::Io { path, source }),
        }
    }

    /// Fills the buffer from this place on.
    pub(super) fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ImportError> {
        let read =
            self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(buffer));
        read.map_err(|source| match source.kind() {
            // It was long enough when it was opened.
            io::ErrorKind::UnexpectedEof => ImportError::Changed,
            _ => ImportError::Io { path: self.path.clone(), source },
        })
    }

    /// What changes whenever the file is written to.
    pub(super) fn stamp(&self) -> Result<Stamp, ImportError> {
        let stamp = self.file.metadata().map(|now| (now.len(), now.modified().ok()));
        stamp.map_err(|source| ImportError::Io { path: self.path.clone(), source })
    }
}

/// Length and time of the last change of a file.
pub(super) type Stamp = (u64, Option<std::time::SystemTime>);

/// How the log of a crashed process changes the file.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) wal: SourceFile,
    pub(super) overlay: Overlay,
    /// How much of the file itself is still valid; what follows is zeros, unless the log overlays
    /// it.
    pub(super) valid_len: u64,
    /// How long the file is after the commit.
    pub(super) len: u64,
}

/// A database file, with the commit of its log if that has to be replayed.
#[derive(Debug)]
pub(super) struct Source {
    file: SourceFile,
    replay: Option<Replay>,
    len: u64,
    /// Pages of the file without its log. A page is at the index that is its number modulo their
    /// count.
    pages: Vec<Option<(u64, Box<[u8]>)>>,
    /// How many parts were read from the log.
    #[cfg(test)]
    log_reads: u64,
    /// Bytes that records may still take up; see [`charge`](Self::charge).
    budget: u64,
}

impl Source {
    pub(super) fn new(file: SourceFile, replay: Option<Replay>) -> Self {
        let len = replay.as_ref().map_or(file.len, |replay| replay.len);
        let pages = (0..PAGES).map(|_| None).collect();
        let mut source = Self {
            file,
            replay,
            len,
            pages,
            #[cfg(test)]
            log_reads: 0,
            budget: 0,
        };
        source.begin_pass();
        source
    }

    pub(super) fn file(&self) -> &SourceFile {
        &self.file
    }

    /// Begins a walk that meets every record at most once.
    pub(super) fn begin_pass(&mut self) {
        // A file may be sparse after a commit, but no record is.
        let stored = self.replay.as_ref().map_or(0, |replay| replay.wal.len);
        self.budget = self.len.min(self.file.len.saturating_add(stored));
    }

    /// Counts the room that a record takes up. Records don't overlap, so those met in one walk
    /// can't take more room than there is: this ends what would otherwise read the same bytes again
    /// and again.
    pub(super) fn charge(&mut self, offset: u64, len: u64) -> Result<(), ImportError> {
        match self.budget.checked_sub(len) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => Err(ImportError::Damaged { offset, what: "its records overlap" }),
        }
    }

    /// Fills the buffer from this place on.
    pub(super) fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ImportError> {
        if self.remaining(offset) < buffer.len() as u64 {
            return Err(ImportError::Damaged { offset, what: "it ends in the middle of a record" });
        }
        self.read_file(offset, buffer)?;
        self.read_log(offset, buffer)
    }

    /// Fills the buffer as if there were no log.
    fn read_file(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ImportError> {
        let mut offset = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let number = offset / PAGE_LEN as u64;
            let at = index(offset % PAGE_LEN as u64);
            let page = self.page(number)?;
            let count = rest.len().min(PAGE_LEN - at);
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&page[at..at + count]);
            rest = later;
            offset += count as u64;
        }
        Ok(())
    }

    /// How many bytes there are from this place on.
    pub(super) fn remaining(&self, offset: u64) -> u64 {
        self.len.saturating_sub(offset)
    }

    fn page(&mut self, number: u64) -> Result<&[u8], ImportError> {
        let slot = index(number % PAGES);
        if self.pages[slot].as_ref().is_none_or(|(present, _)| *present != number) {
            let mut page = match self.pages[slot].take() {
                Some((_, mut page)) => {
                    page.fill(0);
                    page
                }
                None => vec![0; PAGE_LEN].into_boxed_slice(),
            };
            self.load(number * PAGE_LEN as u64, &mut page)?;
            self.pages[slot] = Some((number, page));
        }
        let (_, page) = self.pages[slot].as_ref().expect("loaded above");
        Ok(page)
    }

    /// Fills a page that is all zeros, as far as there is something to fill it with.
    fn load(&mut self, start: u64, page: &mut [u8]) -> Result<(), ImportError> {
        let valid_len = self.replay.as_ref().map_or(self.file.len, |replay| replay.valid_len);
        let stored = index(valid_len.saturating_sub(start).min(page.len() as u64));
        self.file.read_at(start, &mut page[..stored])
    }

    /// Overwrites what the log does. It reads no more than is asked for: a log can write each byte
    /// of a page by itself, and to read whole pages for small records would take as many times
    /// longer.
    fn read_log(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ImportError> {
        let Some(replay) = &mut self.replay else { return Ok(()) };
        let end = offset + buffer.len() as u64;
        for (from, len, origin) in replay.overlay.within(offset, end) {
            let from = index(from - offset);
            let part = &mut buffer[from..from + index(len)];
            match origin {
                Origin::Log(offset) => replay.wal.read_at(offset, part)?,
                Origin::Zeros => part.fill(0),
            }
            #[cfg(test)]
            {
                self.log_reads += 1;
            }
        }
        Ok(())
    }
}

/// A place in a page or a buffer.
fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("less than a length in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source_of(content: &[u8]) -> Source {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        let path = directory.path().join("file");
        std::fs::write(&path, content).expect("written");
        Source::new(SourceFile::open(path).expect("opened"), None)
    }

    #[test]
    fn reads_across_pages_and_stops_at_the_end() -> Result<(), ImportError> {
        let content: Vec<u8> = (0..PAGE_LEN * 3 + 5).map(|at| at.to_le_bytes()[0] ^ 7).collect();
        let mut source = source_of(&content);
        for (offset, len) in [(0, 1), (PAGE_LEN - 3, 6), (5, PAGE_LEN * 3), (PAGE_LEN * 3, 5)] {
            let mut read = vec![0; len];
            source.read(offset as u64, &mut read)?;
            assert_eq!(read, content[offset..offset + len]);
        }
        for offset in [content.len() as u64, u64::MAX] {
            assert!(matches!(source.read(offset, &mut [0]), Err(ImportError::Damaged { .. })));
            source.read(offset, &mut [])?;
        }
        Ok(())
    }

    #[test]
    fn no_more_is_read_from_the_log_than_is_asked_for() -> Result<(), ImportError> {
        const READS: u64 = 50;
        let content = vec![7; PAGE_LEN * 65];
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        let path = directory.path().join("log");
        std::fs::write(&path, &content).expect("written");
        let wal = SourceFile::open(path)?;
        // Two pages that have the same place among those that are kept, written byte by byte.
        let far = 64 * PAGE_LEN as u64;
        let mut overlay = Overlay::default();
        for place in (0..PAGE_LEN as u64).flat_map(|place| [place, far + place]) {
            // From the end to the beginning, so that no two ranges are one.
            overlay.write(place, 1, Origin::Log(content.len() as u64 - 1 - place));
        }
        let mut source = source_of(&vec![1; content.len()]);
        let len = content.len() as u64;
        source.replay = Some(Replay { wal, overlay, valid_len: len, len });
        let mut record = [0; 16];
        for n in 0..READS {
            source.read(far * (n % 2) + n, &mut record)?;
            assert_eq!(record, [7; 16]);
        }
        assert_eq!(source.log_reads, 16 * READS);
        Ok(())
    }

    #[test]
    fn budget_ends_what_reads_the_same_bytes_again() -> Result<(), ImportError> {
        let mut source = source_of(&[0; 64]);
        for _ in 0..4 {
            source.charge(0, 16)?;
        }
        assert!(matches!(source.charge(0, 16), Err(ImportError::Damaged { offset: 0, .. })));
        source.begin_pass();
        source.charge(0, 64)
    }
}
