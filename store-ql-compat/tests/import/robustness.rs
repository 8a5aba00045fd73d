//! Files that no ql ever wrote: whatever their bytes, an import ends, with a report or an error,
//! without a panic and within bounded memory.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::genuine::{Genuine, options};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store_ql_compat::{ImportError, ImportReport, import_ql_dry_run};

/// Peak memory that all tests of this process together may need. The largest fixture has 1.5 MiB.
#[cfg(target_os = "linux")]
const MAX_MEMORY_KIB: u64 = 128 * 1024;

/// A change to a file.
#[derive(Clone, Debug)]
enum Mutation {
    Flip {
        place: prop::sample::Index,
        bit: u8,
    },
    Set {
        place: prop::sample::Index,
        bytes: Vec<u8>,
    },
    Truncate {
        place: prop::sample::Index,
    },
    /// Copies a part of the file over another.
    Splice {
        from: prop::sample::Index,
        to: prop::sample::Index,
        len: usize,
    },
    Append {
        bytes: Vec<u8>,
    },
}

impl Mutation {
    fn any() -> impl Strategy<Value = Self> {
        let place = any::<prop::sample::Index>;
        let bytes = || prop::collection::vec(any::<u8>(), 1..24);
        // Bytes that mean something: tags, small handles, lengths that are too large.
        let meaningful = prop::sample::select(vec![
            vec![0xFF; 8],
            vec![0; 16],
            vec![0xFD, 0, 0, 0, 0, 0, 0, 3],
            vec![0xFC, 0xFF, 0xFF],
            vec![0x54, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            vec![0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            vec![0x28, 0xFF, 0xFF],
            vec![0x58],
            vec![0xFE],
        ]);
        prop_oneof![
            4 => (place(), 0..8_u8).prop_map(|(place, bit)| Self::Flip { place, bit }),
            2 => (place(), bytes()).prop_map(|(place, bytes)| Self::Set { place, bytes }),
            3 => (place(), meaningful).prop_map(|(place, bytes)| Self::Set { place, bytes }),
            1 => place().prop_map(|place| Self::Truncate { place }),
            2 => (place(), place(), 1..600_usize)
                .prop_map(|(from, to, len)| Self::Splice { from, to, len }),
            1 => bytes().prop_map(|bytes| Self::Append { bytes }),
        ]
    }

    /// Changes what isn't zero, where there is a choice: most of a file of format 2 is.
    fn apply(&self, file: &mut Vec<u8>) {
        let end = file.iter().rposition(|byte| *byte != 0).map_or(file.len(), |last| last + 1);
        if end == 0 {
            return;
        }
        match self {
            Self::Flip { place, bit } => file[place.index(end)] ^= 1 << bit,
            Self::Set { place, bytes } => {
                let place = place.index(end);
                let len = bytes.len().min(file.len() - place);
                file[place..place + len].copy_from_slice(&bytes[..len]);
            }
            Self::Truncate { place } => file.truncate(place.index(end)),
            Self::Splice { from, to, len } => {
                let (from, to) = (from.index(end), to.index(end));
                let len = (*len).min(file.len() - from.max(to));
                file.copy_within(from..from + len, to);
            }
            Self::Append { bytes } => file.extend(bytes),
        }
    }
}

/// Reads a file, and asserts what holds for all.
fn check(path: &Path) -> Result<ImportReport, ImportError> {
    let result = import_ql_dry_run(path, &options().with_max_row_len(4 << 20));
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
        Err(error) => assert!(!error.to_string().contains("tok-"), "{error}"),
    }
    result
}

fn run(cases: u32, test: impl Fn(&Genuine, &mut Vec<u8>, &mut Vec<u8>, &Mutation)) {
    let names: Vec<_> =
        crate::genuine::all().into_iter().filter(|name| name != "v1-churn.db").collect();
    let originals: Vec<_> = names
        .iter()
        .map(|name| {
            let genuine = Genuine::copy(name);
            let mut database = fs::read(&genuine.path).expect("readable");
            // Files of format 2 have tens of kilobytes of zeros at the end.
            let end = database.iter().rposition(|byte| *byte != 0).expect("it isn't empty");
            database.truncate(end + 64);
            let wal = fs::read(&genuine.wal).unwrap_or_default();
            (genuine, database, wal)
        })
        .collect();
    let strategy =
        (0..originals.len(), prop::collection::vec(Mutation::any(), 1..6), any::<bool>());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |(number, mutations, with_wal)| {
            let (genuine, database, wal) = &originals[number];
            let (mut database, mut wal) = (database.clone(), wal.clone());
            for mutation in &mutations {
                test(genuine, &mut database, &mut wal, mutation);
            }
            fs::write(&genuine.path, &database).expect("written");
            if with_wal {
                fs::write(&genuine.wal, &wal).expect("written");
            } else if genuine.wal.exists() {
                fs::remove_file(&genuine.wal).expect("removed");
            }
            // Neither outcome is wrong; that there is one is the test.
            let _ = check(&genuine.path);
            Ok(())
        })
        .expect("no case fails");
    assert_memory();
}

/// The most memory that this process has had, where the system tells.
fn assert_memory() {
    #[cfg(target_os = "linux")]
    {
        let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
        let peak: u64 = peak.expect("the line has this form");
        assert!(peak < MAX_MEMORY_KIB, "{peak} KiB");
    }
}

#[test]
fn mutated_databases() {
    run(2_000, |_, database, _, mutation| mutation.apply(database));
}

#[test]
fn mutated_logs() {
    run(1_000, |_, _, wal, mutation| mutation.apply(wal));
}

#[test]
fn random_bytes_behind_the_magic() {
    let genuine = Genuine::copy("v1-empty.db");
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let strategy = (0x60..0x62_u8, prop::collection::vec(any::<u8>(), 0..2_000), any::<bool>());
    TestRunner::new(config)
        .run(&strategy, |(version, bytes, as_log)| {
            let content = [&[version, 0xDB, b'q', b'l'], &[0; 12][..], &bytes].concat();
            fs::write(&genuine.path, &content).expect("written");
            fs::write(&genuine.wal, if as_log { &bytes[..] } else { &[] }).expect("written");
            let _ = check(&genuine.path);
            Ok(())
        })
        .expect("no case fails");
    assert_memory();
}

/// A database that is changed in place, which is faster than to write it again.
struct Changing {
    genuine: Genuine,
    file: File,
    content: Vec<u8>,
}

impl Changing {
    fn copy(name: &str) -> Self {
        let genuine = Genuine::copy(name);
        let content = fs::read(&genuine.path).expect("readable");
        let file = File::options().write(true).open(&genuine.path).expect("writable");
        Self { genuine, file, content }
    }

    /// Reads the database with this byte changed.
    fn check_with(&mut self, place: usize, byte: u8) -> Result<ImportReport, ImportError> {
        self.write(place, byte);
        let result = check(&self.genuine.path);
        self.write(place, self.content[place]);
        result
    }

    fn write(&mut self, place: usize, byte: u8) {
        self.file.seek(SeekFrom::Start(place as u64)).expect("it is a file");
        self.file.write_all(&[byte]).expect("writable");
    }
}

#[test]
fn every_truncation_of_small_databases() {
    for name in crate::genuine::all() {
        let changing = Changing::copy(&name);
        if changing.content.len() > 3_000 {
            continue;
        }
        let whole = check(&changing.genuine.path).expect("it is whole");
        for len in (0..changing.content.len()).rev() {
            changing.file.set_len(len as u64).expect("writable");
            match check(&changing.genuine.path) {
                Err(ImportError::Damaged { .. } | ImportError::WalMissing { .. }) => {}
                Err(ImportError::NotQl { .. }) => assert!(len < 4, "{name}: {len}"),
                // What is missing was an index.
                Ok(report) => {
                    assert_eq!(format!("{report:?}"), format!("{whole:?}"), "{name}: {len}");
                }
                Err(error) => panic!("{name}: {len}: {error}"),
            }
        }
    }
}

/// Links are integers, and small ones are a byte: let each lead to many other records.
#[test]
fn links_to_everywhere() {
    for name in ["v1-reopened.db", "v1-gobshift.db"] {
        let mut changing = Changing::copy(name);
        let mut cycles = 0;
        for place in 128..changing.content.len() {
            // Handle 0, 1, and so on; there are some 90.
            let links = 0x55..0xB0;
            if !links.contains(&changing.content[place]) {
                continue;
            }
            for link in links.skip(place % 4).step_by(4) {
                let result = changing.check_with(place, link);
                let is_cycle = |error: ImportError| error.to_string().contains("has a cycle");
                cycles += u32::from(result.is_err_and(is_cycle));
            }
        }
        assert!(cycles > 0, "{name}");
    }
    assert_memory();
}

/// The same for format 2, whose integers are the tag 18 and a number.
#[test]
fn numbers_of_format_2() {
    let mut changing = Changing::copy("v2-zerotime.db");
    let integers: Vec<_> =
        (304..changing.content.len() - 1).filter(|place| changing.content[*place] == 18).collect();
    assert!(integers.len() > 10);
    for place in integers {
        for number in (0..=u8::MAX).skip(place % 4).step_by(4) {
            // Neither outcome is wrong.
            let _ = changing.check_with(place + 1, number);
        }
    }
    assert_memory();
}

/// A log of format 1 that writes each byte by itself, and ends with a commit.
fn scattered_log(writes: i64) -> Vec<u8> {
    let number = |number: i64| [&[0x54][..], &number.to_be_bytes()].concat();
    let mut log = Vec::new();
    let mut packet = |content: &[u8]| {
        log.extend(u32::try_from(content.len()).expect("short").to_be_bytes());
        log.extend(content);
        log.resize(log.len().next_multiple_of(16), 0);
    };
    // Small numbers are a byte, and 0x29 is an empty text.
    packet(&[0x55, 0x55, 0x29]);
    for place in 0..writes {
        // Bytes of length 1. With gaps, so that no two writes are one.
        packet(&[&[0x56, 0x16, 7][..], &number(1_000_000 + 2 * place)].concat()[..]);
    }
    packet(&[&[0x57][..], &number(1_000_000 + 2 * writes)].concat());
    log
}

#[test]
fn memory_for_a_log_of_small_writes_is_bounded() {
    let genuine = Genuine::copy("v1-small.db");
    fs::write(&genuine.wal, scattered_log(10_000)).expect("written");
    assert!(check(&genuine.path).is_ok());
    // 21 MiB.
    fs::write(&genuine.wal, scattered_log(1_376_256)).expect("written");
    let refused = check(&genuine.path);
    assert!(matches!(refused, Err(ImportError::Unsupported { .. })), "{refused:?}");
    assert_memory();
}

#[test]
fn log_pages_that_ql_never_wrote_are_refused() {
    let genuine = Genuine::copy("v2-small.db");
    let tag = *b"\x80\x19\xCB\x57\xA7\xFD\x1A\xB4\xDA\xCD\xC4\x4D\x1A\x63\xFC\x37";
    let len = fs::metadata(&genuine.path).expect("it is there").len();
    for (page_len, is_accepted) in
        [(2_u64, false), (256, false), (512, true), (4_096, true), (65_536, true), (131_072, false)]
    {
        // Of no pages, so the database stays as it is.
        let numbers = [page_len, 0, len, 0].map(u64::to_be_bytes).concat();
        fs::write(&genuine.wal, [&numbers[..], &tag].concat()).expect("written");
        match check(&genuine.path) {
            Ok(_) => assert!(is_accepted, "{page_len}"),
            Err(ImportError::WalDamaged { .. }) => assert!(!is_accepted, "{page_len}"),
            Err(other) => panic!("{page_len}: {other}"),
        }
    }
}
