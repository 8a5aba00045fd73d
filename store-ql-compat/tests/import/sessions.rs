//! Databases that genuine ql wrote: everything comes out as it went in, and nothing is changed.

use std::fs;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use crate::genuine::{Expected, Genuine, now, options, target};
use store_core::{Limits, MemoryOptions, MemoryStore, Store};
use store_ql_compat::{
    ImportError, ImportReport, QlFormat, WalStatus, import_ql, import_ql_dry_run,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn import(genuine: &Genuine) -> Result<(ImportReport, MemoryStore)> {
    let store = target();
    let report = import_ql(&genuine.path, &store, &options())?;
    Ok((report, store))
}

fn sessions_of(store: &dyn Store) -> Result<std::collections::BTreeMap<String, Expected>> {
    let mut sessions = std::collections::BTreeMap::new();
    store.for_each(&mut |record| {
        let session = Expected::of(record.data, record.expiry);
        assert!(sessions.insert(record.token.to_owned(), session).is_none());
        ControlFlow::Continue(())
    })?;
    Ok(sessions)
}

#[test]
fn every_session_of_every_database_is_imported_exactly() -> Result {
    for name in crate::genuine::all() {
        let genuine = Genuine::copy(&name);
        let (report, store) = import(&genuine).map_err(|error| format!("{name}: {error}"))?;
        assert_eq!(sessions_of(&store)?, genuine.sessions(), "{name}");

        let rows = genuine.rows();
        let count = |wanted: &dyn Fn(&serde_json::Value) -> bool| {
            rows.iter().filter(|row| wanted(row)).count() as u64
        };
        assert_eq!(report.rows, rows.len() as u64, "{name}");
        assert_eq!(report.null, count(&Genuine::is_null), "{name}");
        let expired = |row: &_| Genuine::expiry(row) <= now() && !Genuine::is_null(row);
        assert_eq!(report.expired, count(&expired), "{name}");
        assert_eq!(report.imported, genuine.sessions().len() as u64, "{name}");
        assert_eq!([report.rejected, report.wrong_type, report.already_present], [0; 3], "{name}");
        let left = report.rows - report.imported - report.null - report.expired;
        assert_eq!(report.duplicates, left, "{name}");
        let format = if genuine.format() == 1 { QlFormat::V1 } else { QlFormat::V2 };
        assert_eq!(report.format, format, "{name}");

        let checked = import_ql_dry_run(&genuine.path, &options())?;
        assert_eq!(format!("{checked:?}"), format!("{report:?}"), "{name}");
    }
    Ok(())
}

#[test]
fn nothing_is_changed_or_created() -> Result {
    for name in crate::genuine::all() {
        let genuine = Genuine::copy(&name);
        let before = genuine.snapshot();
        import(&genuine)?;
        assert!(genuine.snapshot() == before, "{name}");
    }
    Ok(())
}

#[test]
fn duplicate_rows_are_skipped() -> Result {
    let genuine = Genuine::copy("v1-churn.db");
    let (report, store) = import(&genuine)?;
    assert_eq!(report.duplicates + report.expired, 1, "{report:?}");
    assert!(store.find("dup-token")?.is_some());
    Ok(())
}

#[test]
fn finished_commits_are_replayed_and_others_ignored() -> Result {
    for name in ["v1-crash-full.db", "v1-crash-torn.db"] {
        let genuine = Genuine::copy(name);
        let (report, store) = import(&genuine)?;
        assert_eq!(report.wal, WalStatus::Replayed);
        assert_eq!(store.find("base-00")?.as_deref(), Some(&b"updated in the WAL"[..]));
    }
    // Every log that ends before its commit was never finished, and the database was not yet
    // touched.
    let genuine = Genuine::copy("v1-crash-full.db");
    let log = fs::read(&genuine.wal)?;
    let mut old = None;
    for len in (1..log.len()).rev().step_by(701).chain([16, 3]) {
        fs::write(&genuine.wal, &log[..len])?;
        let (report, store) = import(&genuine)?;
        assert_eq!(report.wal, WalStatus::Unfinished, "{len}");
        let sessions = sessions_of(&store)?;
        assert_ne!(sessions, genuine.sessions());
        assert_eq!(*old.get_or_insert_with(|| sessions_of(&store).expect("memory")), sessions);
    }
    fs::write(&genuine.wal, "")?;
    assert_eq!(import(&genuine)?.0.wal, WalStatus::Empty);
    fs::remove_file(&genuine.wal)?;
    assert_eq!(import(&genuine)?.0.wal, WalStatus::Absent);
    Ok(())
}

#[test]
fn commits_of_format_2_are_replayed_if_they_are_whole() -> Result {
    for name in ["v2-crash.db", "v2-crash-later.db"] {
        let genuine = Genuine::copy(name);
        let log = fs::read(&genuine.wal)?;
        let end = log.iter().rposition(|byte| *byte != 0).ok_or("it isn't empty")? + 1;
        // As it is, without the zeros of its mapping, and with more of them.
        for log in [&log, &log[..end], &[&log[..], &vec![0; 70_000]].concat()] {
            fs::write(&genuine.wal, log)?;
            let (report, store) = import(&genuine)?;
            assert_eq!(report.wal, WalStatus::Replayed, "{name}");
            assert_eq!(sessions_of(&store)?, genuine.sessions(), "{name}");
        }
        // Without the last byte of the tag it was never finished.
        for len in [end - 1, end - 16, end - 40, end - 100, 4_000, 1] {
            fs::write(&genuine.wal, [&log[..len], &[0; 100]].concat())?;
            let (report, store) = import(&genuine)?;
            assert!(
                [WalStatus::Unfinished, WalStatus::Empty].contains(&report.wal),
                "{name}: {len}"
            );
            assert_eq!(store.all()?.len(), 12, "{name}: {len}");
            assert!(store.find("wal-02")?.is_none());
        }
        // Page size, count and offset must fit the log.
        let trailer = end - if name == "v2-crash.db" { 48 } else { 56 };
        for place in [trailer + 6, trailer + 15, trailer + 16, trailer + 31] {
            let mut log = log.clone();
            log[place] ^= 0x81;
            fs::write(&genuine.wal, &log)?;
            let refused = import_ql(&genuine.path, &target(), &options());
            assert!(matches!(refused, Err(ImportError::WalDamaged { .. })), "{refused:?}");
        }
    }
    Ok(())
}

#[test]
fn torn_database_is_refused_without_its_log() -> Result {
    let genuine = Genuine::copy("v1-crash-torn.db");
    fs::remove_file(&genuine.wal)?;
    match import_ql(&genuine.path, &target(), &options()) {
        Err(error @ ImportError::WalMissing { .. }) => {
            let name = genuine.wal.file_name().expect("it has one").to_str().expect("UTF-8");
            assert!(error.to_string().contains(name), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // With an empty log there was no commit, and it is damage.
    fs::write(&genuine.wal, "")?;
    let refused = import_ql(&genuine.path, &target(), &options());
    assert!(matches!(refused, Err(ImportError::Damaged { .. })), "{refused:?}");
    Ok(())
}

#[test]
fn doubtful_logs_are_refused() -> Result {
    let genuine = Genuine::copy("v1-crash-full.db");
    let log = fs::read(&genuine.wal)?;
    let refused = |log: &[u8]| -> Result<ImportError> {
        fs::write(&genuine.wal, log)?;
        Ok(import_ql(&genuine.path, &target(), &options()).expect_err("it is in doubt"))
    };
    // What follows the commit may be an earlier log, and then the commit may be that one's.
    for behind in [&[0; 16][..], &log] {
        assert!(matches!(refused(&[&log, behind].concat())?, ImportError::Unsupported { .. }));
    }
    let flipped = |place: usize| {
        let mut log = log.clone();
        log[place] ^= 0x80;
        log
    };
    // The header, the length of a packet, its kind, and the length of the last write.
    let last = log.len() - 16 - 4112;
    for (place, offset) in [(4, 0), (16, 16), (20, 16), (last, last)] {
        match refused(&flipped(place + if place == last { 2 } else { 0 }))? {
            ImportError::WalDamaged { offset: found, .. } => assert_eq!(found, offset as u64),
            other => panic!("{place}: {other:?}"),
        }
    }
    Ok(())
}

#[test]
fn sessions_that_the_target_cannot_hold_are_named() -> Result {
    let genuine = Genuine::copy("v1-churn.db");
    let store = MemoryOptions::new()
        .with_limits(Limits { max_data_len: 1_000, ..Limits::DEFAULT })
        .with_clock(Arc::new(store_core::ManualClock::new(now())))
        .build()?;
    let report = import_ql(&genuine.path, &store, &options())?;
    let large = genuine.sessions().values().filter(|session| session.len > 1_000).count() as u64;
    assert!(large > 0);
    assert_eq!(
        [report.imported + report.rejected, report.rejected],
        [genuine.sessions().len() as u64, large]
    );
    let first = report.first_rejection.ok_or("it is kept")?;
    assert!(matches!(*first.error, store_core::Error::DataTooLarge { max: 1_000, .. }));
    Ok(())
}

#[test]
fn importing_again_changes_nothing() -> Result {
    let genuine = Genuine::copy("v1-churn.db");
    let (first, store) = import(&genuine)?;
    let again = import_ql(&genuine.path, &store, &options())?;
    assert_eq!([again.imported, again.already_present], [0, first.imported]);
    assert_eq!(sessions_of(&store)?, genuine.sessions());
    Ok(())
}

#[test]
fn progress_is_reported_in_steps() -> Result {
    let genuine = Genuine::copy("v1-churn.db");
    let reports = Arc::new(Mutex::new(Vec::new()));
    let recorded = reports.clone();
    let options = options().with_progress_hook(50, move |report| {
        recorded.lock().expect("nobody panics").push((report.rows, report.imported));
    });
    import_ql_dry_run(&genuine.path, &options)?;
    let reports = reports.lock().expect("nobody panics");
    assert_eq!(reports.len(), 240 / 50);
    assert_eq!(reports[..2], [(50, 0), (100, 0)]);
    assert!(reports.is_sorted());
    Ok(())
}

#[test]
fn what_is_no_database_is_named() -> Result {
    let genuine = Genuine::copy("v1-crash-full.db");
    let directory = genuine.path.parent().ok_or("it is in one")?;
    let sqlite = directory.join("sqlite.db");
    fs::write(&sqlite, "SQLite format 3\0 and so on")?;
    let empty = directory.join("empty.db");
    fs::write(&empty, "")?;
    for (path, expected) in [
        (&*sqlite, "a SQLite database"),
        (&empty, "an empty file"),
        (directory, "a directory or a device"),
        (&genuine.wal, "the write-ahead log of a ql database"),
    ] {
        match import_ql_dry_run(path, &options()) {
            Err(ImportError::NotQl { looks_like }) => assert_eq!(looks_like, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let missing = import_ql_dry_run(directory.join("missing.db"), &options());
    assert!(matches!(missing, Err(ImportError::Io { .. })));

    let other = import_ql_dry_run(
        Genuine::copy("v1-churn.db").path,
        &options().with_table_name("Sessions"),
    );
    match other {
        Err(ImportError::NoTable { present, .. }) => assert_eq!(present, ["other", "sessions"]),
        other => panic!("{other:?}"),
    }
    Ok(())
}
