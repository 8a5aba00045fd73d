//! The hidden files that ql keeps next to a database: its write-ahead log and its lock.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha1_smol::Sha1;

use super::error::ImportError;

/// The paths of the log and the lock of a database. The files need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SidecarFiles {
    pub(super) wal: PathBuf,
    pub(super) lock: PathBuf,
}

impl SidecarFiles {
    /// Returns the sidecar files of a database. ql names them after the path by which it opened the
    /// database, so those of a symbolic link and of the file behind it differ, and both count.
    pub(super) fn find(path: &Path) -> Result<Vec<Self>, ImportError> {
        let canonical = path
            .canonicalize()
            .map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
        let mut all: Vec<_> = [path, &canonical].into_iter().filter_map(Self::next_to).collect();
        all.dedup_by(|other, one| {
            // A directory can have several paths, so it is compared if the names of the files are
            // equal.
            let directories = [one.lock.parent(), other.lock.parent()]
                .map(|directory| directory.and_then(|path| path.join(".").canonicalize().ok()));
            one.lock.file_name() == other.lock.file_name() && directories[0] == directories[1]
        });
        Ok(all)
    }

    fn next_to(path: &Path) -> Option<Self> {
        let name = path.file_name()?.as_encoded_bytes();
        let hidden = |suffix: &[u8]| {
            let mut sum = Sha1::new();
            sum.update(name);
            sum.update(suffix);
            path.with_file_name(format!(".{}", sum.digest()))
        };
        Some(Self { wal: hidden(b""), lock: hidden(b"lockfile") })
    }

    /// Fails if a process has the database open.
    ///
    /// The lock is only queried: it isn't taken, and no file is created.
    pub(super) fn refuse_if_locked(&self) -> Result<(), ImportError> {
        let lock = || self.lock.clone();
        match holder(&self.lock) {
            Ok(Holder::Nobody) => Ok(()),
            Ok(Holder::Process(pid)) => Err(ImportError::InUse { pid, lock: lock() }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(ImportError::Io { path: lock(), source }),
        }
    }
}

enum Holder {
    Nobody,
    /// A process, with its id where that is known.
    Process(Option<u32>),
}

/// Returns the holder of a lock, taken in either of the ways of `camlistore/go4/lock`, which ql
/// contains.
fn holder(lock: &Path) -> io::Result<Holder> {
    if !std::fs::metadata(lock)?.is_file() {
        return Ok(Holder::Process(None));
    }
    let mut file = File::open(lock)?;
    let mut content = String::new();
    // The portable way writes text. If something else did, ql wouldn't open the database either.
    let read = file.by_ref().take(1_000).read_to_string(&mut content);
    match read {
        Ok(0) => query_lock(&file),
        Ok(_) => Ok(owner(&content)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Holder::Process(None)),
        Err(error) => Err(error),
    }
}

/// The portable way: the file exists, and holds `{"OwnerPID":123}`. A process that was killed
/// leaves it.
fn owner(content: &str) -> Holder {
    let pid = content
        .split_once("\"OwnerPID\":")
        .map(|(_, number)| number.trim_matches(|c: char| !c.is_ascii_digit()))
        .and_then(|number| number.parse().ok());
    match pid {
        Some(pid) if !is_running(pid) => Holder::Nobody,
        _ => Holder::Process(pid),
    }
}

/// The usual way: `fcntl` locks the empty file.
#[cfg(unix)]
fn query_lock(file: &File) -> io::Result<Holder> {
    use rustix::process::{Flock, FlockType, fcntl_getlk};

    let conflict = fcntl_getlk(file, &Flock::from(FlockType::WriteLock))?;
    Ok(conflict.map_or(Holder::Nobody, |conflict| {
        let pid = conflict.pid.and_then(|pid| pid.as_raw_nonzero().get().try_into().ok());
        Holder::Process(pid)
    }))
}

/// Other systems have no such lock. An empty file is about to become a portable lock.
#[cfg(not(unix))]
fn query_lock(_file: &File) -> io::Result<Holder> {
    Ok(Holder::Nobody)
}

#[cfg(unix)]
fn is_running(pid: u32) -> bool {
    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};

    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // Another user's process may not be signalled, and runs nevertheless.
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// The process is assumed to run.
#[cfg(not(unix))]
fn is_running(_pid: u32) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_qls() {
        let sidecars = SidecarFiles::next_to(Path::new("a/v1-small.db")).expect("it has a name");
        assert_eq!(sidecars.wal, Path::new("a/.6ef7cac89d2b0e45267832f1ac0738211397f8e7"));
        assert_eq!(SidecarFiles::next_to(Path::new("..")), None);
    }

    #[test]
    fn links_have_two_pairs() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a.db");
        std::fs::write(&path, "")?;
        assert_eq!(SidecarFiles::find(&path)?.len(), 1);
        let roundabout = directory.path().join(".").join("a.db");
        assert_eq!(SidecarFiles::find(&roundabout)?.len(), 1);
        #[cfg(unix)]
        {
            let link = directory.path().join("b.db");
            std::os::unix::fs::symlink(&path, &link)?;
            assert_eq!(SidecarFiles::find(&link)?.len(), 2);
        }
        Ok(())
    }

    #[test]
    fn portable_locks_count_while_their_process_runs() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a.db");
        std::fs::write(&path, "")?;
        let sidecars = SidecarFiles::find(&path)?.remove(0);
        sidecars.refuse_if_locked()?;

        for (content, in_use) in [
            (String::new(), false),
            (format!("{{\"OwnerPID\":{}}}\n", std::process::id()), true),
            // Larger than any process id of Linux, so nobody's.
            ("{\"OwnerPID\":2000000000}\n".to_owned(), cfg!(not(unix))),
            ("something else".to_owned(), true),
        ] {
            std::fs::write(&sidecars.lock, &content)?;
            let refused = sidecars.refuse_if_locked();
            assert_eq!(matches!(refused, Err(ImportError::InUse { .. })), in_use, "{content}");
        }
        Ok(())
    }
}
