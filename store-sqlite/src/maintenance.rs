//! What operators do with the file of a store in use.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, Result as SqliteResult};
use store_core::Error;
use store_core::backend::NewFile;

use crate::error;
use crate::retry::retry;
use crate::store::SqliteStore;

/// # Maintenance
impl SqliteStore {
    /// Writes a copy of the whole database to a new file, tables of the application included, as it
    /// is at one moment.
    ///
    /// The copy is one file without a log, smaller than the original if that has free pages, and
    /// can be opened as it is. It has its name only once it is complete and on the disk, and its
    /// owner alone can read it (mode 0600). Nobody waits for it in WAL mode, neither readers nor
    /// writers; the log grows by what is written meanwhile. In other journal modes writers wait.
    /// One connection of the pool is in use. `sqlite3 app.db "VACUUM INTO 'copy.db'"` does the same
    /// from a shell.
    ///
    /// # Errors
    /// [`Error::Backend`] if something has the name already, or the path is no UTF-8; otherwise
    /// faults of the system.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_sqlite::{SqliteStore, Store};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// let store = SqliteStore::open(directory.path().join("app.db"))?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    ///
    /// let copy = directory.path().join("copy.db");
    /// store.backup(&copy)?;
    /// assert_eq!(SqliteStore::open(&copy)?.count()?, 1);
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    #[doc(alias = "vacuum into")]
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let new = NewFile::create(path).map_err(error::from_new_file)?;
        let temporary = new.temporary_path();
        let name = temporary.to_str().ok_or_else(|| Error::backend("the path is no UTF-8"))?;
        let database = &self.shared.database;
        database.open.owner().check()?;
        database.read(|connection| {
            // An attempt that was cut short may have left something.
            if fs::metadata(temporary).is_ok_and(|metadata| metadata.len() > 0) {
                fs::write(temporary, "")
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            }
            connection.execute("VACUUM INTO ?1", [name]).map(drop)
        })?;
        new.publish().map_err(error::from_new_file)
    }

    /// Gives back to the file system what is free in the file, and returns how many bytes that
    /// were.
    ///
    /// **All writers wait while it runs**, those of other processes as well; in WAL mode readers
    /// don't. It writes all of the database again (`VACUUM`): for a while the disk has it up to
    /// three times, the log included. How long that takes is in the
    /// [guide](crate::guide#giving-space-back). A writer that waits longer than its
    /// [contention timeout](crate::SqliteOptions::with_contention_timeout) gets
    /// [`Error::Contended`]. A process that is killed while it runs loses nothing.
    ///
    /// It is seldom needed, and never called by the store itself: pages of deleted sessions are
    /// used again, so under a steady load the file doesn't grow. SQLite doesn't promise that rows
    /// keep their numbers, in whose order a [walk](store_core::Store::for_each) goes, so don't walk
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::Contended`] if others write for longer than the contention timeout;
    /// [`Error::StorageFull`]; and other faults of the system.
    ///
    /// # Examples
    /// ```
    /// use store_sqlite::{SqliteStore, Store};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_sqlite::Error::backend)?;
    /// # let path = directory.path().join("app.db");
    /// let store = SqliteStore::open(path)?;
    /// store.delete_expired()?;
    /// let bytes = store.compact()?;
    /// assert_eq!(bytes, 0, "it was empty");
    /// # Ok::<(), store_sqlite::Error>(())
    /// ```
    #[doc(alias = "vacuum")]
    pub fn compact(&self) -> Result<u64, Error> {
        let database = &self.shared.database;
        database.open.owner().check()?;
        let timeout = database.contention_timeout();
        database.write(self.shared.deadline(), |connection| {
            let before = size(connection)?;
            connection.execute("VACUUM", [])?;
            let after = size(connection)?;
            // The log has the new database until this. Readers that have begun before keep it; then
            // the file is cut by a later checkpoint.
            let checkpoint = || {
                let is_busy: bool =
                    connection
                        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
                if is_busy { Err(error::busy()) } else { Ok(()) }
            };
            if let Err(error) = retry(timeout, checkpoint) {
                log::warn!("the database was compacted, and its log isn't empty yet: {error}");
            }
            Ok(before.saturating_sub(after))
        })
    }
}

/// How large the database is, in bytes.
fn size(connection: &Connection) -> SqliteResult<u64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok(pragma("page_count")?.unsigned_abs() * pragma("page_size")?.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use chrono::{DateTime, TimeDelta, Utc};
    use store_core::{CleanupOptions, Store};
    use tempfile::TempDir;

    use super::*;
    use crate::{Durability, SqliteOptions};

    fn in_an_hour() -> DateTime<Utc> {
        Utc::now() + TimeDelta::hours(1)
    }

    fn store() -> Result<(TempDir, PathBuf, SqliteStore), Box<dyn StdError>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.db");
        // No test waits for the disk with each commit.
        let options = SqliteOptions::new().with_durability(Durability::Normal);
        let store = options.with_cleanup(CleanupOptions::disabled()).open(&path)?;
        Ok((directory, path, store))
    }

    fn len_of_log(path: &Path) -> u64 {
        fs::metadata(path.with_extension("db-wal")).map_or(0, |metadata| metadata.len())
    }

    #[test]
    fn log_that_a_reader_has_kept_shrinks_once_it_is_gone() -> Result<(), Box<dyn StdError>> {
        let (_directory, path, store) = store()?;
        store.commit("first", b"data", in_an_hour())?;
        // A reader of another process, which stays.
        let reader = Connection::open(&path)?;
        reader.execute_batch("BEGIN; SELECT * FROM sessions")?;
        let data = vec![b'x'; 4 << 20];
        for n in 0..12 {
            store.commit(&format!("token-{n}"), &data, in_an_hour())?;
        }
        assert!(len_of_log(&path) > 40 << 20, "the reader keeps all of it");
        reader.execute_batch("COMMIT")?;
        // The first ends with a checkpoint, and the second begins the log again.
        for n in 0..2 {
            store.commit("last", &[n], in_an_hour())?;
        }
        assert!(len_of_log(&path) <= 32 << 20, "{}", len_of_log(&path));
        assert_eq!(store.count()?, 14);
        Ok(())
    }

    #[test]
    fn backup_is_the_database_at_one_moment() -> Result<(), Box<dyn StdError>> {
        let (directory, _, store) = store()?;
        // Each session and the one before it are in the same transaction, or neither is.
        let is_over = AtomicBool::new(false);
        store.create("token-0", b"data", in_an_hour(), Some("user 7"))?;
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let new = format!("token-{}", n + 1);
                    let rotation = store_core::Change::new(b"data", in_an_hour())
                        .with_rotation(store_core::Rotation::new(&new));
                    let rotated = store.update(&format!("token-{n}"), b"data", &rotation);
                    assert!(rotated.expect("a backup holds up nobody"));
                }
            });
            let backups = (0..20).try_for_each(|n| {
                let copy = directory.path().join(format!("copy-{n}.db"));
                store.backup(&copy)?;
                let restored = SqliteOptions::new().open_existing(&copy)?;
                assert_eq!(restored.count()?, 1, "one session, rotated all the time");
                assert_eq!(restored.find_by_subject("user 7")?.len(), 1);
                Ok::<_, Error>(())
            });
            is_over.store(true, Ordering::Relaxed);
            backups
        })?;
        let leftovers = fs::read_dir(directory.path())?.filter(|entry| {
            let name = entry.as_ref().map(fs::DirEntry::file_name);
            name.is_ok_and(|name| name.to_string_lossy().contains("partial"))
        });
        assert_eq!(leftovers.count(), 0);
        Ok(())
    }

    #[test]
    fn backup_overwrites_nothing_and_is_its_owners_alone() -> Result<(), Box<dyn StdError>> {
        let (directory, path, store) = store()?;
        let copy = directory.path().join("copy.db");
        store.backup(&copy)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&copy)?.permissions().mode() & 0o777, 0o600);
        }
        let before = fs::read(&copy)?;
        store.commit("token", b"data", in_an_hour())?;
        for taken in [&copy, &path] {
            let refused = store.backup(taken).expect_err("the name is taken");
            assert!(refused.source().expect("a cause").to_string().contains("already"));
        }
        assert_eq!(fs::read(&copy)?, before);
        assert!(store.backup(directory.path().join("no/such/directory.db")).is_err());
        Ok(())
    }

    #[test]
    fn compacted_file_is_as_small_as_its_sessions() -> Result<(), Box<dyn StdError>> {
        let (_directory, path, store) = store()?;
        let data = [b'x'; 1_000];
        for n in 0..2_000 {
            store.create(&format!("token-{n}"), &data, in_an_hour(), Some("user"))?;
        }
        for n in 0..1_990 {
            store.delete(&format!("token-{n}"))?;
        }
        let walked = |store: &SqliteStore| {
            let mut tokens = Vec::new();
            store.for_each(&mut |record| {
                tokens.push(record.token.to_owned());
                std::ops::ControlFlow::Continue(())
            })?;
            Ok::<_, Error>(tokens)
        };
        let before = walked(&store)?;
        let given_back = store.compact()?;
        assert!(given_back > 2_000_000, "{given_back}");
        assert!(fs::metadata(&path)?.len() < 200_000);
        assert_eq!(len_of_log(&path), 0);
        assert_eq!(walked(&store)?, before);
        assert_eq!(store.find_by_subject("user")?.len(), 10);
        assert_eq!(store.compact()?, 0);
        Ok(())
    }
}
