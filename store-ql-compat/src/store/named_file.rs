//! Whether the file that a database is in is still the one that has its name, with the content that
//! redb has written.
//!
//! Another file can be renamed over it, or a backup copied into it. What is written to the first
//! then is lost, and to the second it would be damage. So it is looked at before each write, which
//! costs a stat and a read of the file's beginning. No two states of a database begin alike.

use std::error::Error as StdError;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::file::is_same;

/// redb's header has 320 bytes.
const HEADER_LEN: u64 = 320;

/// The file of a database, if it has a name by now.
#[derive(Clone, Debug, Default)]
pub(super) struct NamedFile(Arc<Mutex<Option<Opened>>>);

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// How the file begins, if that is known.
    header: Option<Vec<u8>>,
}

/// What became of the file.
#[derive(Debug)]
pub(super) struct Replaced(&'static str);

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl StdError for Replaced {}

impl NamedFile {
    /// From here on it is this file, which has this name.
    pub(super) fn set(&self, path: &Path, file: File) -> io::Result<()> {
        let (metadata, header) = (file.metadata()?, read_header(&file).ok());
        *self.0.lock() = Some(Opened { path: path.to_owned(), file, metadata, header });
        Ok(())
    }

    /// From here on it has no name.
    pub(super) fn clear(&self) {
        *self.0.lock() = None;
    }

    /// Checks that the file still has its name, and its content.
    pub(super) fn check(&self) -> io::Result<()> {
        self.0.lock().as_ref().map_or(Ok(()), Opened::check)
    }

    /// Writes to the file, unless another has taken its place.
    pub(super) fn write(
        &self,
        offset: u64,
        data: &[u8],
        write: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        // The lock is held so that no other thread sees what isn't noted yet.
        let mut guard = self.0.lock();
        let Some(opened) = &mut *guard else { return write() };
        opened.check()?;
        let outcome = write();
        if offset < HEADER_LEN {
            opened.note_write(offset, data, outcome.is_ok());
        }
        outcome
    }

    /// What is in the file isn't known any more, as after a failed sync. Its name still counts.
    pub(super) fn forget_content(&self) {
        if let Some(opened) = &mut *self.0.lock() {
            opened.header = None;
        }
    }
}

impl Opened {
    fn check(&self) -> io::Result<()> {
        let replaced = |what| Err(io::Error::other(Replaced(what)));
        match fs::metadata(&self.path) {
            Ok(named) if is_same(&named, &self.metadata) => {}
            Ok(_) => return replaced("another file has its name"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return replaced("no file has its name");
            }
            // Another user's rights, for example after a process has given up its own, say nothing.
            Err(_) => {}
        }
        match (&self.header, read_header(&self.file)) {
            (Some(header), Ok(found)) if found != *header => {
                replaced("its content was written by another program")
            }
            // What can't be read says nothing.
            _ => Ok(()),
        }
    }

    fn note_write(&mut self, offset: u64, data: &[u8], is_done: bool) {
        if !is_done {
            self.header = None;
        }
        let (Some(header), Ok(begin)) = (&mut self.header, usize::try_from(offset)) else { return };
        let count = data.len().min(header.len().saturating_sub(begin));
        header[begin..begin + count].copy_from_slice(&data[..count]);
    }
}

/// redb never uses the position.
fn read_header(mut file: &File) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    file.rewind()?;
    file.take(HEADER_LEN).read_to_end(&mut header)?;
    Ok(header)
}
