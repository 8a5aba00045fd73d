//! ql databases and their logs: an import ends with a report that adds up, or with a typed error,
//! within bounded memory and work.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use store_core::{CleanupOptions, ManualClock, MemoryOptions, Store};
use store_ql_compat::{
    ImportError, ImportOptions, ImportReport, QlFormat, import_ql, import_ql_dry_run,
};
use tempfile::TempDir;

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "ql",
    words: &[
        b"\x60\xDBql\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\x61\xDBql",
        b"sessions",
        b"stoken|Bdata|Texpiry",
        b"token",
        b"\x28\xFF\xFF",
        b"\x54\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\xFC\xFF\xFF",
        b"\xFD\0\0\0\0\0\0\x03",
        b"\xFE",
        b"\0\0\0\x03UU)\0\0\0\0\0\0\0\0\0",
        b"\0\0\0\x01X\0\0\0\0\0\0\0\0\0\0\0",
        b"\x12\x02",
        b"\x05\xFF\xFF\x03",
        b"\x80\x19\xCB\x57\xA7\xFD\x1A\xB4\xDA\xCD\xC4\x4D\x1A\x63\xFC\x37",
        b"\x57\x41\x4C\x32\x9E\x2B\x6D\xF1\x0A\xC4\x83\x55\xE7\x19\xBD\x42",
        b"\0\0\0\0\0\0\x02\0",
    ],
    seeds: fixtures,
    max_len: 512 * 1024,
    // Two of the largest rows, and the pages that are kept.
    max_memory: |len| 2 * MAX_ROW_LEN + (2 << 20) + 16 * len,
    test,
};

const MAX_ROW_LEN: usize = 1 << 20;

/// The length of a log that isn't there.
const NO_LOG: u32 = u32::MAX;

/// The databases of the repository that genuine ql has written, but for the one of 1.5 MB, each
/// with its log and without.
fn fixtures() -> Vec<Vec<u8>> {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../store-ql-compat/tests/fixtures");
    let mut names: Vec<PathBuf> = fs::read_dir(&directory)
        .expect("the fixtures are there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .filter(|path| !path.ends_with("v1-churn.db"))
        .collect();
    names.sort();
    let mut seeds = Vec::new();
    for path in names {
        let listing = fs::read(path.with_extension("db.json")).expect("it is listed");
        let listing: serde_json::Value = serde_json::from_slice(&listing).expect("it is JSON");
        let mut database = fs::read(&path).expect("readable");
        // Files of format 2 end with tens of kilobytes of zeros.
        let end = database.iter().rposition(|byte| *byte != 0).expect("it isn't empty");
        database.truncate(end + 64);
        seeds.push(input(None, &database));
        let log = listing["wal_file"].as_str().expect("every log has a name");
        if let Ok(log) = fs::read(directory.join(log)) {
            seeds.push(input(Some(&log), &database));
        }
    }
    seeds
}

/// The length of the log, the log, and the database.
fn input(log: Option<&[u8]>, database: &[u8]) -> Vec<u8> {
    let len = log.map_or(NO_LOG, |log| u32::try_from(log.len()).expect("short"));
    [&len.to_be_bytes(), log.unwrap_or_default(), database].concat()
}

thread_local! {
    static FILES: RefCell<Files> = RefCell::new(Files::new());
}

/// Where an import finds what it reads.
struct Files {
    _directory: TempDir,
    database: PathBuf,
    log: PathBuf,
}

impl Files {
    fn new() -> Self {
        // In memory, if there is such a place.
        let memory = Path::new("/dev/shm");
        let directory =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.expect("temporary directories can be made");
        let database = directory.path().join("sessions.db");
        // The SHA-1 of the database's name, as ql calls its log.
        let log = directory.path().join(".ec91164739eda67aff21a01b29dc7396ee2ac0e5");
        Self { _directory: directory, database, log }
    }
}

fn test(input: &[u8]) -> String {
    let (len, rest) = input.split_first_chunk().unwrap_or((&[0xFF; 4], input));
    let len = u32::from_be_bytes(*len);
    let has_log = len != NO_LOG;
    let log_len = if has_log { rest.len().min(usize::try_from(len).expect("32 bits")) } else { 0 };
    let (log, database) = rest.split_at(log_len);
    FILES.with_borrow(|files| {
        fs::write(&files.database, database).expect("written");
        if has_log {
            fs::write(&files.log, log).expect("written");
        } else if files.log.exists() {
            fs::remove_file(&files.log).expect("removed");
        }
        import(&files.database, input.len())
    })
}

fn import(path: &Path, len: usize) -> String {
    let read = read(path, len);
    let clock = Arc::new(ManualClock::new(now()));
    let store = MemoryOptions::new().with_clock(clock).with_cleanup(CleanupOptions::disabled());
    let store = store.build().expect("memory needs nothing");
    let imported = import_ql(path, &store, &options());
    match (read, imported) {
        (Ok(read), Ok(report)) => {
            assert_eq!(report.rows, read.rows);
            assert_eq!(report.imported + report.rejected, read.imported + read.rejected);
            assert_eq!(store.count().expect("in memory"), report.imported, "{report:?}");
            if report.format == QlFormat::V2 {
                // Nothing is compressed there, so nothing was read twice.
                let data: usize = store.all().expect("in memory").values().map(Vec::len).sum();
                assert!(data <= len, "{data} bytes of data in {len}");
            }
            let counts = [report.null, report.wrong_type, report.expired, report.rejected];
            let some = counts.map(|count| u8::from(count > 0));
            format!("{} rows, {some:?}, {:?}", report.rows.min(9), report.wal)
        }
        (Err(read), Err(error)) => {
            assert_eq!(read.to_string(), error.to_string());
            match error {
                ImportError::Damaged { what, .. } => format!("damaged: {what}"),
                ImportError::WalDamaged { what, .. } => format!("damaged log: {what}"),
                ImportError::WalMissing { what, .. } => format!("damaged, without a log: {what}"),
                ImportError::Unsupported { what } => format!("unsupported: {what}"),
                ImportError::NotQl { looks_like } => format!("not ql: {looks_like}"),
                ImportError::NoTable { present, .. } => {
                    format!("no table of {}", present.len().min(3))
                }
                ImportError::WrongColumns { expected, .. } => format!("no column {expected}"),
                ImportError::RowTooLarge { .. } => "a row is too large".to_owned(),
                other => panic!("{other:?}"),
            }
        }
        (read, imported) => panic!("{read:?}, but {imported:?}"),
    }
}

/// Reads the rows, and counts them in each pass: a row is at least 16 bytes long, and there are
/// two passes over so few.
fn read(path: &Path, len: usize) -> Result<ImportReport, ImportError> {
    let max_rows = 2 * (len as u64 / 16 + 1);
    let rows = AtomicU64::new(0);
    let rows = Arc::new(rows);
    let counted = Arc::clone(&rows);
    let options = options().with_progress_hook(1, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let result = import_ql_dry_run(path, &options);
    let rows = rows.load(Ordering::Relaxed);
    assert!(rows <= max_rows, "{rows} rows in {len} bytes");
    match &result {
        Ok(report) => {
            let counted = report.imported
                + report.expired
                + report.null
                + report.wrong_type
                + report.duplicates
                + report.already_present
                + report.rejected;
            assert_eq!(counted, report.rows, "{report:?}");
        }
        // The tokens of the fixtures begin like this.
        Err(error) => assert!(!error.to_string().contains("tok-"), "{error}"),
    }
    result
}

fn options() -> ImportOptions {
    let clock = Arc::new(ManualClock::new(now()));
    ImportOptions::new().with_clock(clock).with_max_row_len(MAX_ROW_LEN)
}

/// When the sessions of the fixtures have expired before, or will years later.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).expect("the first of January 2026")
}
