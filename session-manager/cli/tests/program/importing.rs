//! `import-ql`.

use std::fs;

use crate::TestResult;
use crate::place::{Kind, Place};
use crate::program::run;

/// A database of the Go store `qlstore`.
fn ql(name: &str) -> String {
    format!("{}/../../store-ql-compat/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

on_every_store! {
    sessions_of_ql_are_taken_over
}

fn sessions_of_ql_are_taken_over(place: &Place) -> TestResult {
    place.run(&["create-table"]).done();
    // MySQL's table takes no token with a space.
    let (code, taken) = if let Kind::Mysql(_) = place.kind { (3, 3) } else { (0, 4) };
    let import = |more: &[&str], line: &str| {
        let imported = place.run(&[&["import-ql", &ql("v1-small.db")], more].concat());
        imported.ended(code, if code == 0 { "" } else { "rows that can't be taken over: 1" });
        assert!(has_line(&imported.out, line, taken), "{}", imported.out);
        assert!(has_line(&imported.out, "expired", 1), "{}", imported.out);
    };
    import(&[], "imported");
    assert_eq!(place.open().find("tok-ascii-1")?.as_deref(), Some(&b"hello session"[..]));
    import(&[], "already present");
    import(&["--replace"], "imported");
    Ok(())
}

#[test]
fn dry_run_needs_no_store() {
    let read = run(["import-ql", "--dry-run", &ql("v2-small.db")]).done();
    assert!(read.contains("would be imported"), "{read}");
}

#[test]
fn what_is_left_out_is_said() {
    let read = run(["import-ql", "--dry-run", &ql("v1-altered.db")]);
    read.ended(3, "rows that can't be taken over: 1");
    assert!(has_line(&read.out, "with a NULL", 1), "{}", read.out);
}

#[test]
fn what_is_no_ql_database_is_refused() -> TestResult {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("old.db");
    let file = file.to_str().expect("a path of ASCII");
    run(["import-ql", "--dry-run", file]).ended(1, "can't be read");
    fs::write(file, b"SQLite format 3\0")?;
    run(["import-ql", "--dry-run", file]).ended(1, "not a ql database");
    run(["import-ql", "--dry-run", "--ql-table", "web", &ql("v1-small.db")])
        .ended(1, "there is no table \"web\"");
    run(["import-ql", &ql("v1-small.db")]).ended(2, "--store");
    Ok(())
}

fn has_line(text: &str, what: &str, number: u64) -> bool {
    text.lines()
        .any(|line| line.strip_prefix(what).is_some_and(|rest| rest.trim() == number.to_string()))
}
