//! A copy of a store in use.

use std::fs::OpenOptions;
use std::path::Path;

use redb::{
    Builder, Database, Durability, Error as RedbError, Key, ReadTransaction, ReadableTable,
    TableDefinition, Value, WriteTransaction,
};
use store_core::Error;
use store_core::backend::NewFile;

use super::QlStore;
use super::error::{catch_panic, from_io};

/// A copy is written once, from one end to the other.
const CACHE_SIZE: usize = 8 << 20;

/// # Backups
impl QlStore {
    /// Writes a copy of the store to a new file, as it is at one moment.
    ///
    /// The copy has this store's tables, without the free pages of the original, and not those that
    /// the application may keep in the same file. It has its name only once it is complete and on
    /// the disk, and its owner alone can read it (mode 0600). Nobody waits for it, neither readers
    /// nor writers; the file of the store grows by what is written meanwhile, as during a walk. In
    /// the mode [`Durability::Relaxed`](crate::Durability::Relaxed) it includes what isn't durable
    /// yet.
    ///
    /// # Errors
    /// [`Error::Backend`] if something has the name already; [`Error::Corrupt`] if what is read is
    /// damaged; otherwise faults of the system.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_ql_compat::{QlStore, Store};
    ///
    /// # let directory = tempfile::tempdir().map_err(store_ql_compat::Error::backend)?;
    /// let store = QlStore::open(directory.path().join("sessions.redb"))?;
    /// store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    ///
    /// let copy = directory.path().join("copy.redb");
    /// store.backup(&copy)?;
    /// assert_eq!(QlStore::open(&copy)?.count()?, 1);
    /// # Ok::<(), store_ql_compat::Error>(())
    /// ```
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let shared = &self.shared;
        let snapshot = shared.engine.snapshot()?;
        let new = NewFile::create(path.as_ref()).map_err(from_io)?;
        let file = OpenOptions::new().read(true).write(true).open(new.temporary_path());
        let file = file.map_err(from_io)?;
        catch_panic(|| {
            let mut builder = Builder::new();
            let database = builder.set_cache_size(CACHE_SIZE).create_file(file)?;
            copy(&snapshot, &database, |snapshot, transaction| {
                for table in shared.tables.with_values() {
                    copy_table(snapshot, transaction, table)?;
                }
                for table in shared.tables.with_keys_alone() {
                    copy_table(snapshot, transaction, table)?;
                }
                copy_table(snapshot, transaction, shared.tables.meta())
            })
        })?;
        new.publish().map_err(from_io)
    }
}

fn copy(
    snapshot: &ReadTransaction,
    database: &Database,
    tables: impl Fn(&ReadTransaction, &WriteTransaction) -> Result<(), RedbError>,
) -> Result<(), RedbError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    tables(snapshot, &transaction)?;
    Ok(transaction.commit()?)
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    snapshot: &ReadTransaction,
    transaction: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), RedbError> {
    let from = snapshot.open_table(table)?;
    let mut to = transaction.open_table(table)?;
    for row in from.iter()? {
        let (key, value) = row?;
        // A key that comes again, in a damaged file, is one that a walk would meet forever.
        if to.insert(key.value(), value.value())?.is_some() {
            return Err(RedbError::Corrupted("a key is there twice".to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use chrono::{TimeDelta, Utc};
    use store_core::{Change, CleanupOptions, Loaded, Rotation, Store};

    use super::*;
    use crate::QlOptions;

    #[test]
    fn backup_is_the_store_at_one_moment() -> Result<(), Box<dyn StdError>> {
        let directory = tempfile::tempdir()?;
        let options = || QlOptions::new().with_cleanup(CleanupOptions::disabled());
        let store = options().open(directory.path().join("sessions.redb"))?;
        let in_an_hour = Utc::now() + TimeDelta::hours(1);
        store.create("token-0", b"data", in_an_hour, Some("user 7"))?;
        let (is_over, rotations) = (AtomicBool::new(false), std::sync::Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0.. {
                    let new = format!("token-{}", n + 1);
                    let rotation =
                        Change::new(b"data", in_an_hour).with_rotation(Rotation::new(&new));
                    let rotated = store.update(&format!("token-{n}"), b"data", &rotation);
                    assert!(rotated.expect("a backup holds up nobody"));
                    if n == 0 {
                        rotations.wait();
                    }
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            rotations.wait();
            let backups = (0..10).try_for_each(|n| {
                let copy = directory.path().join(format!("copy-{n}.redb"));
                store.backup(&copy)?;
                let restored = options().open(&copy)?;
                assert_eq!(restored.count()?, 1, "one session, rotated all the time");
                let token = restored.find_by_subject("user 7")?.remove(0).token;
                match restored.load("token-0")? {
                    Loaded::Rotated { token: newest, .. } => assert_eq!(newest, token),
                    other => panic!("the rotation is in the backup: {other:?}"),
                }
                Ok::<_, Error>(())
            });
            is_over.store(true, Ordering::Relaxed);
            backups
        })?;
        Ok(())
    }

    #[test]
    fn backup_overwrites_nothing_and_is_its_owners_alone() -> Result<(), Box<dyn StdError>> {
        let directory = tempfile::tempdir()?;
        let store = QlStore::in_memory()?;
        let copy = directory.path().join("copy.redb");
        store.backup(&copy)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&copy)?.permissions().mode() & 0o777, 0o600);
        }
        let before = fs::read(&copy)?;
        store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
        let refused = store.backup(&copy).expect_err("the name is taken");
        assert!(refused.source().expect("a cause").to_string().contains("already"));
        assert_eq!(fs::read(&copy)?, before);
        assert_eq!(fs::read_dir(directory.path())?.count(), 1, "nothing is left over");
        Ok(())
    }
}
