//! `copy`, `backup` and `compact`.

use std::fs;

use store_core::Store;
use test_servers::is_server_there;

use crate::TestResult;
use crate::place::{Kind, Place};
use crate::program::run;

fn places() -> Vec<Place> {
    let mut places = vec![Place::sqlite(), Place::ql()];
    if is_server_there() {
        places.push(Place::mysql());
    }
    places
}

/// Whether a line of the output says this number.
#[track_caller]
fn assert_line(out: &str, what: &str, number: u64) {
    let is_it =
        |line: &str| line.strip_prefix(what).is_some_and(|n| n.trim() == number.to_string());
    assert!(out.lines().any(is_it), "{what} {number} isn't in {out}");
}

#[test]
fn sessions_are_copied_between_every_two_stores() -> TestResult {
    for (source, target) in
        places().iter().flat_map(|source| places().into_iter().map(move |target| (source, target)))
    {
        source.open().delete_all()?;
        let filled = source.fill()?;
        target.run(&["create-table"]).done();
        let copy = |more: &[&str]| run([&["copy", &source.url, &target.url], more].concat());
        let copied = copy(&[]);
        let out = copied.out.clone() + &copied.err;
        assert_line(&copied.done(), "copied", 5);
        for secret in &filled.secrets {
            assert!(!out.contains(secret), "{out}");
        }
        assert_line(&copy(&[]).done(), "unchanged", 5);
        assert!(target.has(filled.first));

        // The application goes on.
        source.run(&["logout", "--subject", "7", "--yes"]).done();
        source.open().commit(
            "own-key",
            b"newer",
            chrono::Utc::now() + chrono::TimeDelta::hours(1),
        )?;
        let differing = copy(&["--quiet"]);
        differing.ended(3, "sessions that differ and were kept: 1; --replace");
        assert!(target.has(filled.first));
        let mirrored = copy(&["--mirror"]).done();
        assert_line(&mirrored, "replaced", 1);
        assert_line(&mirrored, "ended in the target", 2);
        assert!(!target.has(filled.first) && target.has(filled.anonymous));
    }
    Ok(())
}

#[test]
fn stores_that_can_not_be_copied_are_named() {
    let place = Place::sqlite();
    run(["copy", &place.url]).ended(2, "<TO>");
    run(["copy", &place.url, &place.url]).ended(1, "`sessions create-table` alone creates a file");
    place.run(&["create-table"]).done();
    let missing = format!("{}-missing", place.url);
    run(["copy", &place.url, &missing]).ended(1, &missing);
    run(["copy", &place.url, "nonsense"]).ended(2, "--store begins with");
}

#[test]
fn backup_is_a_store_and_overwrites_nothing() -> TestResult {
    for (place, kind) in [(Place::sqlite(), "sqlite"), (Place::ql(), "ql")] {
        place.fill()?;
        let (Kind::Sqlite(path) | Kind::Ql(path)) = &place.kind else { unreachable!() };
        let copy = path.with_extension("copy");
        let name = copy.to_str().ok_or("a path of ASCII")?;
        let said = place.run(&["backup", name]).done();
        assert!(said.contains(&format!("copied to {name}")), "{said}");
        let restored = run(["--store", &format!("{kind}:{name}"), "stats", "--json"]).done();
        assert_eq!(restored, place.run(&["stats", "--json"]).done());
        let before = fs::read(&copy)?;
        place.run(&["backup", name]).ended(1, "already");
        assert_eq!(fs::read(&copy)?, before);
    }
    Ok(())
}

#[test]
fn application_may_use_the_file_that_is_backed_up() -> TestResult {
    let place = Place::sqlite();
    place.fill()?;
    let application = place.open();
    let Kind::Sqlite(path) = &place.kind else { unreachable!() };
    let copy = path.with_extension("copy");
    place.run(&["backup", copy.to_str().ok_or("a path of ASCII")?]).done();
    place.run(&["compact"]).done();
    assert_eq!(application.count()?, 5);
    Ok(())
}

#[test]
fn compacted_file_is_smaller() -> TestResult {
    for place in [Place::sqlite(), Place::ql()] {
        let store = place.open();
        let expiry = chrono::Utc::now() + chrono::TimeDelta::hours(1);
        for n in 0..40 {
            store.commit(&format!("token-{n}"), &vec![b'x'; 100_000], expiry)?;
        }
        store.delete_all()?;
        drop(store);
        let (Kind::Sqlite(path) | Kind::Ql(path)) = &place.kind else { unreachable!() };
        let before = fs::metadata(path)?.len();
        let said = place.run(&["compact"]).done();
        let after = fs::metadata(path)?.len();
        // redb has given back what is free at its end as it was closed.
        let limit = if let Kind::Sqlite(_) = place.kind { before / 2 } else { before };
        assert!(after < limit, "{before} {after} {said}");
        assert!(said.contains("iB given back"), "{said}");
    }
    Ok(())
}

#[test]
fn tables_of_a_server_are_no_file() {
    if !is_server_there() {
        return;
    }
    let place = Place::mysql();
    place.run(&["create-table"]).done();
    place.run(&["backup", "copy.db"]).ended(1, "mysqldump --single-transaction");
    place.run(&["compact"]).ended(1, "OPTIMIZE TABLE");
}
