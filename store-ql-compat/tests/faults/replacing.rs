//! A backup that is put in the place of a file in use.

use std::fs;
use std::path::Path;

use store_core::Store;
use store_ql_compat::Error;

use crate::{TestResult, in_an_hour, options};

/// A file in use, a backup of it, and what the application did since.
fn with_backup(restore: impl Fn(&Path, &Path) -> std::io::Result<()>) -> TestResult {
    for is_idle in [true, false] {
        let directory = tempfile::tempdir()?;
        let (path, backup) = (directory.path().join("app.redb"), directory.path().join("backup"));
        let store = options().open(&path)?;
        store.commit("old", b"data", in_an_hour())?;
        drop(store);
        fs::copy(&path, &backup)?;
        let store = options().open(&path)?;
        store.commit("new", &vec![b'x'; 100_000], in_an_hour())?;

        restore(&backup, &path)?;
        let restored = fs::read(&path)?;
        if !is_idle {
            for _ in 0..3 {
                let refused = store.commit("newer", b"data", in_an_hour());
                assert!(matches!(refused, Err(Error::FileReplaced { .. })), "{refused:?}");
            }
            // By now it knows.
            let refused = store.find("new");
            assert!(matches!(refused, Err(Error::FileReplaced { .. })), "{refused:?}");
        }
        drop(store);
        assert!(fs::read(&path)? == restored, "the backup was written to");

        let store = options().open(&path)?;
        assert_eq!(store.all()?.into_keys().collect::<Vec<_>>(), ["old"]);
        store.commit("newest", b"data", in_an_hour())?;
    }
    Ok(())
}

#[test]
fn file_that_is_renamed_over_one_in_use_is_not_written_to() -> TestResult {
    with_backup(|backup, path| fs::rename(backup, path))
}

#[test]
fn backup_that_is_copied_into_a_file_in_use_is_not_written_to() -> TestResult {
    with_backup(|backup, path| {
        let content = fs::read(backup)?;
        fs::write(path, content)
    })
}
