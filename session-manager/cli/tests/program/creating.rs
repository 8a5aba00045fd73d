//! `create-table`, and what other commands don't create.

use std::fs;

use store_sqlite::rusqlite::Connection;
use test_servers::CLASSIC;

use crate::TestResult;
use crate::place::{Kind, Place};

on_every_store! {
    create_table_creates_what_is_missing
    no_other_command_creates_anything
    dry_run_prints_what_would_be_run
    unsuitable_tables_are_refused
}

fn create_table_creates_what_is_missing(place: &Place) -> TestResult {
    for _ in 0..2 {
        let created = place.run(&["create-table"]).done();
        assert!(created.contains("table \"sessions\" is there"), "{created}");
    }
    place.run(&["check"]).done();
    place.run(&["check", "--table", "web"]).ended(1, "there is no table \"web\"");
    place.run(&["--table", "web", "create-table"]).done();
    assert!(place.run(&["check", "--table", "web"]).done().contains("web, suitable"));
    let filled = place.fill()?;
    place.run(&["create-table"]).done();
    assert!(place.has(filled.first), "what was there stays");
    #[cfg(unix)]
    if let Kind::Sqlite(path) | Kind::Ql(path) = &place.kind {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(path)?.permissions().mode() & 0o777, 0o600);
    }
    Ok(())
}

const OTHERS: [&[&str]; 8] = [
    &["check"],
    &["stats"],
    &["list"],
    &["list", "--subject", "7"],
    &["logout", "--subject", "7", "--yes"],
    &["logout", "--id", "0123456789abcdef", "--yes"],
    &["logout", "--all", "--yes"],
    &["sweep"],
];

fn no_other_command_creates_anything(place: &Place) -> TestResult {
    let ql =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../store-ql-compat/tests/fixtures/v1-small.db");
    let import: &[&str] = &["import-ql", ql];
    for arguments in OTHERS.into_iter().chain([import]) {
        let refused = place.run(arguments);
        match &place.kind {
            Kind::Mysql(_) => refused.ended(1, "there is no table \"sessions\""),
            Kind::Sqlite(path) | Kind::Ql(path) => {
                refused.ended(1, "`sessions create-table` alone creates a file");
                assert!(!path.exists(), "{arguments:?} has created {}", path.display());
            }
        }
    }
    // In a file that is there, no table.
    if let Kind::Sqlite(path) | Kind::Ql(path) = &place.kind {
        place.run(&["--table", "other", "create-table"]).done();
        let before = fs::read(path)?;
        for arguments in OTHERS.into_iter().chain([import]) {
            place.run(arguments).ended(1, "there is no table \"sessions\"");
        }
        if let Kind::Sqlite(_) = place.kind {
            assert!(fs::read(path)? == before, "the file has changed");
        }
    }
    Ok(())
}

fn dry_run_prints_what_would_be_run(place: &Place) -> TestResult {
    let printed = place.run(&["--table", "web", "create-table", "--dry-run"]);
    match &place.kind {
        Kind::Ql(path) => {
            printed.ended(1, "redb has no DDL");
            assert!(!path.exists());
        }
        Kind::Sqlite(path) => {
            assert!(!path.exists());
            Connection::open(path)?.execute_batch(&printed.done())?;
            place.run(&["--table", "web", "check"]).done();
        }
        Kind::Mysql(database) => {
            let ddl = printed.done();
            place.run(&["--table", "web", "check"]).ended(1, "there is no table \"web\"");
            for statement in ddl.split(';').filter(|statement| !statement.trim().is_empty()) {
                database.run(statement);
            }
            place.run(&["--table", "web", "check"]).done();
        }
    }
    Ok(())
}

fn unsuitable_tables_are_refused(place: &Place) -> TestResult {
    match &place.kind {
        Kind::Ql(path) => {
            fs::write(path, b"what isn't a database")?;
            place.run(&["check"]).ended(1, "no database of redb");
            place.run(&["create-table"]).ended(1, "no database of redb");
        }
        Kind::Sqlite(path) => {
            Connection::open(path)?.execute_batch("CREATE TABLE sessions (token TEXT)")?;
            place.run(&["check"]).ended(1, "can't keep sessions");
            place.run(&["create-table"]).ended(1, "can't keep sessions");
            let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
            let tables = Connection::open(path)?.query_row(tables, [], |row| row.get::<_, i64>(0));
            assert_eq!(tables?, 1, "nothing is created next to it");
            fs::write(path, b"what isn't a database, either, and long enough for SQLite to see that. Some more words follow, until there are enough of them.")?;
            place.run(&["check"]).ended(1, "damaged or is not a database");
        }
        Kind::Mysql(database) => {
            // The Go store's table, without the store's own next to it, nor an index on expiry.
            database.run(&CLASSIC.replace(",\n    INDEX sessions_expiry_idx (expiry)", ""));
            let checked = place.run(&["check"]);
            for complaint in ["index of subjects", "records of rotations", "index on expiry"] {
                checked.ended(3, complaint);
            }
            assert!(
                checked.out.contains("classic table") && checked.out.contains("65535 bytes"),
                "{}",
                checked.out
            );
            database.run("DROP TABLE sessions");
            database.run("CREATE TABLE sessions (token TEXT)");
            place.run(&["check"]).ended(1, "can't keep sessions");
        }
    }
    Ok(())
}
