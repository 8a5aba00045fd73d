//! A file that gets its name once it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;

/// A new file, as a backup is: it has a temporary name next to its own until it is complete and on
/// the disk, and never takes the place of another. Without [`publish`](Self::publish) it is removed
/// on drop.
///
/// On Unix, its owner alone can read and write it.
///
/// # Examples
/// ```
/// use store_core::backend::NewFile;
///
/// # let directory = std::env::temp_dir().join(format!("new-file-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// let path = directory.join("backup");
/// let file = NewFile::create(&path)?;
/// std::fs::write(file.temporary_path(), "data")?;
/// assert!(!path.exists());
/// file.publish()?;
/// assert_eq!(std::fs::read(&path)?, b"data");
/// assert!(NewFile::create(&path).is_err(), "it exists");
/// # std::fs::remove_dir_all(directory)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
}

impl NewFile {
    /// Creates the file, empty, under its temporary name.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if something has the name, and other errors of the system.
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use store_core::backend::NewFile;
    ///
    /// let error = NewFile::create("/".as_ref()).map(drop).map_err(|error| error.kind());
    /// assert_eq!(error, Err(ErrorKind::AlreadyExists));
    /// ```
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
        name.push(format!(".{}-{:08x}.partial", process::id(), fastrand::u32(..)));
        let temporary = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&temporary)?;
        Ok(Self { path: path.to_owned(), temporary })
    }

    /// Returns the name that it has until it is complete.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::NewFile;
    ///
    /// # let path = std::env::temp_dir().join(format!("new-file-path-{}", std::process::id()));
    /// let file = NewFile::create(&path)?;
    /// assert_eq!(file.temporary_path().parent(), path.parent());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn temporary_path(&self) -> &Path {
        &self.temporary
    }

    /// Waits until the file is on the disk, and gives it its name.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if something has got the name since, and other errors of the
    /// system.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::NewFile;
    ///
    /// # let path = std::env::temp_dir().join(format!("new-file-done-{}", std::process::id()));
    /// NewFile::create(&path)?.publish()?;
    /// assert!(path.exists());
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn publish(self) -> io::Result<()> {
        OpenOptions::new().read(true).write(true).open(&self.temporary)?.sync_all()?;
        match fs::hard_link(&self.temporary, &self.path) {
            // A second name is all or nothing, which not every file system has.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                if self.path.symlink_metadata().is_ok() {
                    return Err(exists());
                }
                fs::rename(&self.temporary, &self.path)?;
            }
            linked => linked?,
        }
        if cfg!(unix) {
            let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

fn exists() -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, "something has the name of the new file already")
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // What can't be removed does no harm, and after a rename there is nothing.
        let _ = fs::remove_file(&self.temporary);
    }
}
