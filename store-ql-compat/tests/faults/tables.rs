//! The store's tables next to those of others, and the options that are refused.

use std::error::Error as StdError;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use store_core::{Limits, Store};
use store_ql_compat::redb::{
    Database, MultimapTableDefinition, ReadableDatabase, TableDefinition, WriteTransaction,
};
use store_ql_compat::{Durability, Error};

use crate::{TestResult, causes, in_an_hour, options};

#[test]
fn empty_file_and_database_of_others_get_the_tables() -> TestResult {
    const THEIRS: TableDefinition<'_, u64, u64> = TableDefinition::new("theirs");
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.redb");
    fs::write(&path, b"")?;
    options().open(&path)?.commit("token", b"data", in_an_hour())?;

    let path = directory.path().join("app.redb");
    let theirs = Database::create(&path)?;
    let transaction = theirs.begin_write()?;
    transaction.open_table(THEIRS)?.insert(1, 2)?;
    transaction.commit()?;
    drop(theirs);
    options().open(&path)?.commit("token", b"data", in_an_hour())?;

    let database = Arc::new(Database::open(&path)?);
    let store = options().build(Arc::clone(&database))?;
    assert!(store.find("token")?.is_some(), "the same tables, shared or not");
    let row = database.begin_read()?.open_table(THEIRS)?.get(1)?;
    assert_eq!(row.map(|row| row.value()), Some(2));
    match store.compact() {
        Err(error @ Error::Backend { .. }) => {
            assert!(causes(&error).contains("application"), "{}", causes(&error));
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn tables_of_others_and_newer_formats_are_refused_and_left_alone() -> TestResult {
    const BYTES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sessions");
    const NUMBERS: TableDefinition<'_, u64, u64> = TableDefinition::new("sessions_by_subject");
    const MULTIMAP: MultimapTableDefinition<'_, u64, u64> =
        MultimapTableDefinition::new("sessions_subject");
    const ROTATIONS: TableDefinition<'_, u64, u64> = TableDefinition::new("sessions_rotation");
    const META: TableDefinition<'_, &[u8], u64> = TableDefinition::new("sessions_meta");
    let refused = |make: &dyn Fn(&WriteTransaction) -> TestResult, named: &str| -> TestResult {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("app.redb");
        let database = Database::create(&path)?;
        let transaction = database.begin_write()?;
        make(&transaction)?;
        transaction.commit()?;
        let database = Arc::new(database);
        let tables = || -> Result<usize, Box<dyn StdError>> {
            let snapshot = database.begin_read()?;
            Ok(snapshot.list_tables()?.count() + snapshot.list_multimap_tables()?.count())
        };
        let before = tables()?;
        match options().build(Arc::clone(&database)) {
            Err(Error::TableMismatch { problem, .. }) => {
                assert!(problem.contains(named), "{problem}");
            }
            other => panic!("{named}: {other:?}"),
        }
        assert_eq!(tables()?, before, "{named}");
        options().with_table_name("web").build(database)?.commit("token", b"data", in_an_hour())?;
        Ok(())
    };
    let of_another = "another table name";
    refused(&|write| write.open_table(BYTES).map(drop).map_err(Into::into), of_another)?;
    refused(&|write| write.open_table(NUMBERS).map(drop).map_err(Into::into), of_another)?;
    let make_multimap = |write: &WriteTransaction| -> TestResult {
        write.open_multimap_table(MULTIMAP)?;
        Ok(())
    };
    refused(&make_multimap, of_another)?;
    refused(&|write| write.open_table(ROTATIONS).map(drop).map_err(Into::into), of_another)?;
    refused(
        &|write| {
            write.open_table(META)?.insert(&b"format"[..], 7)?;
            Ok(())
        },
        "format 7",
    )?;
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    for (options, what) in [
        (
            options().with_limits(Limits { max_data_len: (1 << 30) + 1, ..Limits::DEFAULT }),
            "data limit",
        ),
        (options().with_limits(Limits { max_token_len: 0, ..Limits::DEFAULT }), "token limit"),
        (options().with_limits(Limits { max_token_len: 5_000, ..Limits::DEFAULT }), "long tokens"),
        (options().with_contention_timeout(Duration::MAX), "endless contention timeout"),
        (options().with_durability(Durability::Relaxed(Duration::ZERO)), "no interval"),
        (options().with_durability(Durability::Relaxed(Duration::MAX)), "endless interval"),
        (options().with_table_name("a b"), "table name"),
    ] {
        let refused = options.in_memory();
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{what}: {refused:?}");
    }
}
