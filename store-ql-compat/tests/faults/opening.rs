//! Opening a file: whatever its path names, and whichever process has it.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use store_core::Store;
use store_ql_compat::Error;
use store_ql_compat::redb::DatabaseError;

use crate::{TestResult, causes, in_an_hour, options};

#[test]
fn second_opener_is_refused_and_gets_the_file_when_the_first_is_gone() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    let first = options().open(&path)?;
    first.commit("token", b"data", in_an_hour())?;
    match options().open(&path) {
        Err(error @ Error::InUse { .. }) => {
            assert!(error.to_string().contains("open already"), "{error}");
            assert!(error.is_retryable());
        }
        other => panic!("{other:?}"),
    }
    let other = store_ql_compat::redb::Database::open(&path);
    assert!(matches!(other, Err(DatabaseError::DatabaseAlreadyOpen)), "{other:?}");
    assert!(first.find("token")?.is_some(), "the first isn't disturbed");
    drop(first);
    assert!(options().open(&path)?.find("token")?.is_some());
    Ok(())
}

#[test]
fn files_of_others_are_named_and_left_alone() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    let ql = |name: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name))
    };
    for (content, named) in [
        (ql("v1-small.db")?, "import_ql"),
        (ql("v2-small.db")?, "import_ql"),
        (b"SQLite format 3\0 and so on".to_vec(), "SQLite"),
        (b"some text".to_vec(), "no database of redb"),
        (b"redb".to_vec(), "no database of redb"),
        (vec![0; 100_000], "no database of redb"),
    ] {
        fs::write(&path, &content)?;
        match options().open(&path) {
            Err(error @ Error::Corrupt { .. }) => {
                assert!(causes(&error).contains(named), "{}", causes(&error));
            }
            other => panic!("{named}: {other:?}"),
        }
        assert!(fs::read(&path)? == content, "{named}: it was changed");
    }
    let entries = fs::read_dir(directory.path())?.count();
    assert_eq!(entries, 1, "nothing is left next to it");
    Ok(())
}

#[test]
fn paths_that_cannot_be_opened_are_unreachable() -> TestResult {
    let directory = tempfile::tempdir()?;
    for path in [directory.path(), &directory.path().join("missing/sessions.redb")] {
        match options().open(path) {
            Err(error @ Error::Unreachable { .. }) => drop(causes(&error)),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    for path in ["", ":memory:"] {
        match options().open(path) {
            Err(Error::InvalidOption { option: "path", problem }) => {
                assert!(problem.contains("in_memory()"), "{problem}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_named_and_not_waited_for() -> TestResult {
    let directory = tempfile::tempdir()?;
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
    for path in [&*pipe, Path::new("/dev/null")] {
        match options().open(path) {
            Err(error @ Error::Corrupt { .. }) => assert!(causes(&error).contains("pipe")),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn files_without_permission_are_named() -> TestResult {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    drop(options().open(&path)?);
    let permit = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
    permit(0o444)?;
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        // Root may do everything, so there is nothing to test.
        return Ok(());
    }
    let refused = options().open(&path);
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    permit(0)?;
    let refused = options().open(&path);
    assert!(matches!(refused, Err(Error::Unreachable { .. })), "{refused:?}");
    permit(0o600)?;
    options().open(&path)?.commit("token", b"data", in_an_hour())?;
    Ok(())
}

/// An empty file is replaced by a complete database: what would be written into it step by step
/// could never be opened again after a crash in between.
#[cfg(unix)]
#[test]
fn empty_file_keeps_its_name_its_permissions_and_links_to_it() -> TestResult {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let directory = tempfile::tempdir()?;
    let (path, link) = (directory.path().join("sessions.redb"), directory.path().join("link"));
    fs::write(&path, b"")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640))?;
    symlink(&path, &link)?;
    // Another process that creates the database at this moment.
    let other = fs::OpenOptions::new().write(true).open(&path)?;
    other.lock()?;
    let refused = options().open(&link);
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    drop(other);

    options().open(&link)?.commit("token", b"data", in_an_hour())?;
    assert!(fs::symlink_metadata(&link)?.is_symlink());
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(directory.path())?.count(), 2, "nothing is left next to it");
    assert!(options().open(&path)?.find("token")?.is_some());
    Ok(())
}

#[cfg(unix)]
#[test]
fn new_file_is_its_owners_alone_unless_the_application_says_otherwise() -> TestResult {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir()?;
    let mode = |path: &Path| fs::metadata(path).map(|file| file.permissions().mode() & 0o777);
    let [private, shared] = ["private", "shared"].map(|name| directory.path().join(name));
    drop(options().open(&private)?);
    assert_eq!(mode(&private)?, 0o600);
    let group = fs::Permissions::from_mode(0o660);
    drop(options().with_file_permissions(group.clone()).open(&shared)?);
    assert_eq!(mode(&shared)?, 0o660);
    // What is there is left alone.
    drop(options().with_file_permissions(group).open(&private)?);
    assert_eq!(mode(&private)?, 0o600);
    Ok(())
}

/// A process that was killed with the file open may have seen a sync fail, so the file is replaced.
#[cfg(unix)]
#[test]
fn file_that_was_not_closed_is_replaced_under_its_name() -> TestResult {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    let directory = tempfile::tempdir()?;
    let [open_file, path, link, hard_link] =
        ["open", "sessions.redb", "link", "hard link"].map(|name| directory.path().join(name));
    let other = options().open(&open_file)?;
    other.commit("token", b"data", in_an_hour())?;
    fs::copy(&open_file, &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640))?;
    symlink(&path, &link)?;
    fs::hard_link(&path, &hard_link)?;
    // Only root may; for others the owner stays the same.
    let _ = std::os::unix::fs::chown(&path, Some(1_234), Some(4_321));
    let before = fs::metadata(&path)?;

    // Another process that has it open.
    let reader = store_ql_compat::redb::Database::open(&path)?;
    let refused = options().open(&link);
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    assert_eq!(fs::metadata(&path)?.ino(), before.ino());
    drop(reader);
    fs::write(&path, fs::read(&open_file)?)?;

    let store = options().open(&link)?;
    assert!(store.find("token")?.is_some());
    assert!(matches!(options().open(&path), Err(Error::InUse { .. })), "the copy is locked");
    drop(store);
    assert!(fs::symlink_metadata(&link)?.is_symlink());
    let after = fs::metadata(&path)?;
    assert_ne!(after.ino(), before.ino());
    assert_eq!(fs::metadata(&hard_link)?.ino(), before.ino(), "it names the old file");
    let rights = |file: &fs::Metadata| (file.mode(), file.uid(), file.gid());
    assert_eq!(rights(&after), rights(&before));
    assert_eq!(fs::read_dir(directory.path())?.count(), 4, "nothing is left next to it");
    // One that was closed isn't copied.
    drop(options().open(&path)?);
    assert_eq!(fs::metadata(&path)?.ino(), after.ino());
    Ok(())
}

/// Of many that want to replace it one does, and no other opens or replaces the old file.
#[cfg(unix)]
#[test]
fn file_that_was_not_closed_is_replaced_once() -> TestResult {
    const THREADS: usize = 8;
    let directory = tempfile::tempdir()?;
    let [open_file, path] = ["open", "sessions.redb"].map(|name| directory.path().join(name));
    let other = options().open(&open_file)?;
    other.commit("token", b"data", in_an_hour())?;
    for round in 0..20 {
        fs::copy(&open_file, &path)?;
        let start = Barrier::new(THREADS);
        let opened = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|n| {
                    let (start, path) = (&start, &path);
                    scope.spawn(move || {
                        start.wait();
                        let store = loop {
                            match options().open(path) {
                                Ok(store) => break store,
                                Err(Error::InUse { .. }) => thread::yield_now(),
                                Err(other) => panic!("{other:?}"),
                            }
                        };
                        store.commit(&format!("token-{n}"), b"data", in_an_hour()).is_ok()
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|ok| *ok).count()
        });
        assert_eq!(opened, THREADS, "round {round}");
        let found = options().open(&path)?.all()?.len();
        assert_eq!(found, THREADS + 1, "round {round}: another file was replaced");
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn leftovers_of_killed_processes_are_removed_unless_one_may_be_in_use() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    let leftover = directory.path().join(".sessions-0123456789abcdef.new");
    let others = [".sessions-0123.new", ".sessions-0123456789abcdeg.new", "sessions.new"]
        .map(|name| directory.path().join(name));
    for file in others.iter().chain([&leftover]) {
        fs::write(file, "")?;
    }
    // A process that is creating a database.
    let creating = fs::File::open(directory.path())?;
    creating.lock_shared()?;
    drop(options().open(&path)?);
    assert!(leftover.exists());
    drop(creating);
    drop(options().open(&path)?);
    assert!(!leftover.exists());
    assert!(others.iter().all(|other| other.exists()), "they are someone else's");
    Ok(())
}

#[test]
fn file_that_is_removed_is_not_created_again() -> TestResult {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    let store = options().open(&path)?;
    store.commit("token", b"data", in_an_hour())?;
    fs::remove_file(&path)?;
    assert!(store.find("token")?.is_some());
    let refused = store.commit("token", b"new", in_an_hour());
    assert!(matches!(refused, Err(Error::FileReplaced { .. })), "{refused:?}");
    drop(store);
    assert!(!path.exists());
    Ok(())
}

#[test]
fn new_file_is_created_once() -> TestResult {
    const THREADS: usize = 8;
    for _ in 0..5 {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("sessions.redb");
        let start = Barrier::new(THREADS);
        let opened = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        match options().open(&path) {
                            Ok(store) => {
                                // Each that opens it finds what those before it have written.
                                let count = store.all().map(|sessions| sessions.len());
                                let count = count.expect("all succeeds");
                                let token = format!("token-{count}");
                                store.commit(&token, b"data", in_an_hour()).expect("it succeeds");
                                1
                            }
                            Err(Error::InUse { .. }) => 0,
                            Err(other) => panic!("{other:?}"),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<usize>()
        });
        assert!(opened > 0);
        assert_eq!(options().open(&path)?.all()?.len(), opened, "no file was replaced");
        assert_eq!(fs::read_dir(directory.path())?.count(), 1, "nothing is left next to it");
    }
    Ok(())
}
