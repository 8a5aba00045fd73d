//! `check`, `stats` and `list`.

use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::process::Stdio;

use serde_json::Value;

use crate::TestResult;
use crate::place::{Kind, Place};
use crate::program::{Run, command};

on_every_store! {
    check_finds_nothing_wrong
    statistics_count_what_is_there
    list_shows_sessions
    list_is_of_one_user
    list_ends_at_the_limit
    nothing_secret_is_shown
    looking_changes_nothing
    a_reader_may_have_enough
}

fn check_finds_nothing_wrong(place: &Place) -> TestResult {
    place.fill()?;
    let checked = place.run(&["check"]).done();
    let (engine, data, clock) = match &place.kind {
        Kind::Sqlite(_) => ("SQLite 3", "16777215 bytes", "this machine's"),
        Kind::Ql(_) => ("redb, format 1", "16777215 bytes", "this machine's"),
        // What the server's packets hold.
        Kind::Mysql(_) => ("MariaDB 1", "16773120 bytes", "the server's, "),
    };
    for shown in [engine, "sessions, suitable", "255 bytes", data, clock] {
        assert!(checked.contains(shown), "{shown:?} isn't in {checked}");
    }
    Ok(())
}

fn statistics_count_what_is_there(place: &Place) -> TestResult {
    place.fill()?;
    let json: Value = serde_json::from_str(&place.run(&["stats", "--json"]).done())?;
    assert_eq!(
        (&json["live"], &json["expired"], &json["subjects"]),
        (&5.into(), &1.into(), &3.into())
    );
    assert_eq!(json["top_subjects"][0]["subject"], "__Host-session:7");
    assert_eq!(json["top_subjects"][0]["sessions"], 2);
    assert_eq!(json["top_subjects"].as_array().map(Vec::len), Some(3));
    let mut bytes = 0;
    place.open().for_each(&mut |record| {
        bytes += record.data.len();
        ControlFlow::Continue(())
    })?;
    assert_eq!(json["data_bytes"], bytes);

    let text = place.run(&["stats", "--top", "1"]).done();
    assert!(text.contains("__Host-session:7") && !text.contains("own:8"), "{text}");

    let metrics = place.run(&["stats", "--prometheus"]).done();
    assert_eq!(metrics.lines().filter(|line| line.starts_with("# TYPE ")).count(), 4);
    for line in ["sessions_live{table=\"sessions\"} 5", "sessions_expired{table=\"sessions\"} 1"] {
        assert!(metrics.lines().any(|other| other == line), "{line:?} isn't in {metrics}");
    }
    assert!(!metrics.contains("__Host-"), "users are no metric: {metrics}");
    Ok(())
}

fn list_shows_sessions(place: &Place) -> TestResult {
    let filled = place.fill()?;
    let listed = place.run(&["list"]).done();
    for (id, subject, cookie) in [
        (filled.first, "7", "__Host-session"),
        (filled.renewed, "7", "__Host-session"),
        (filled.anonymous, "-", "__Host-session"),
        (filled.office, "7", "__Host-office"),
    ] {
        let row = listed.lines().find(|row| row.starts_with(&id.to_string())).unwrap_or(&listed);
        let columns: Vec<_> = row.split_whitespace().collect();
        assert_eq!((columns[1], columns[2]), (subject, cookie), "{row}");
        assert!(columns[3].ends_with('Z') && columns.last() == Some(&"bytes"), "{row}");
    }
    assert_eq!(listed.matches("unknown").count(), 3, "{listed}");

    let json = place.run(&["list", "--json"]).done();
    let sessions: Vec<Value> = json.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(sessions.len(), 5);
    let office = filled.office.to_string();
    let office = sessions.iter().find(|session| session["id"] == *office).expect("it is listed");
    assert_eq!((&office["subject"], &office["cookie"]), (&"7".into(), &"__Host-office".into()));
    assert_eq!(sessions.iter().filter(|session| session["id"].is_null()).count(), 1);
    Ok(())
}

fn list_is_of_one_user(place: &Place) -> TestResult {
    let filled = place.fill()?;
    let ids = |arguments: &[&str]| {
        let listed = place.run(&[&["list", "--subject"], arguments].concat()).done();
        let first = |row: &str| row.split_whitespace().next().unwrap_or_default().to_owned();
        let mut ids: Vec<_> = listed.lines().skip(1).map(first).collect();
        ids.sort();
        ids
    };
    let mut own = vec![filled.first.to_string(), filled.renewed.to_string()];
    own.sort();
    assert_eq!(ids(&["7"]), own);
    assert_eq!(ids(&["7", "--cookie", "__Host-office"]), [filled.office.to_string()]);
    assert_eq!(ids(&["own:8", "--as-stored"]), ["unknown"]);
    place.run(&["list", "--subject", "8"]).ended(0, "no session of \"8\"");
    Ok(())
}

fn list_ends_at_the_limit(place: &Place) -> TestResult {
    place.fill()?;
    let listed = place.run(&["list", "--limit", "2"]);
    listed.ended(0, "there are more");
    assert_eq!(listed.out.lines().count(), 3, "{}", listed.out);
    assert_eq!(place.run(&["list", "--limit", "5"]).done().lines().count(), 6);
    Ok(())
}

fn nothing_secret_is_shown(place: &Place) -> TestResult {
    let filled = place.fill()?;
    assert!(filled.secrets.len() > 10);
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["list", "--subject", "7"],
        &["list", "--subject", "own:8", "--as-stored", "--json"],
        &["stats"],
        &["stats", "--json"],
        &["check"],
        &["logout", "--subject", "7", "--yes"],
        &["logout", "--id", &filled.office.to_string(), "--yes"],
        &["logout", "--all", "--yes"],
    ] {
        let Run { code, out, err } = place.run(arguments);
        assert_eq!(code, 0, "{err}");
        for secret in &filled.secrets {
            let has = out.contains(secret) || err.contains(secret);
            assert!(!has, "{arguments:?} shows {secret}: {out} {err}");
        }
    }
    Ok(())
}

/// As `list` on a database of another mode, and one without the tables next to that of sessions.
fn looking_changes_nothing(place: &Place) -> TestResult {
    let Kind::Sqlite(path) = &place.kind else { return Ok(()) };
    place.fill()?;
    let connection = store_sqlite::rusqlite::Connection::open(path)?;
    connection.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    connection.execute_batch("DROP TABLE sessions_subjects; DROP TABLE sessions_rotations")?;
    drop(connection);
    let before = fs::read(path)?;
    place.run(&["check"]).ended(3, "index of subjects");
    place.run(&["list", "--subject", "7"]).ended(1, "there is no table \"sessions_subjects\"");
    assert_eq!(place.run(&["list"]).code, 0);
    assert!(place.run(&["stats"]).out.contains("unknown: no index"));
    assert!(fs::read(path)? == before, "the file has changed");
    // What writes needs the tables, and leaves the mode.
    assert_eq!(place.run(&["sweep"]).done(), "1 expired session removed\n");
    let connection = store_sqlite::rusqlite::Connection::open(path)?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    assert_eq!(mode, "delete");
    Ok(())
}

/// `sessions list --json | head -1`.
fn a_reader_may_have_enough(place: &Place) -> TestResult {
    place.fill()?;
    let mut listing = command(["--store", &place.url, "list", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(listing.stdout.take());
    let mut err = String::new();
    listing.stderr.take().expect("it is piped").read_to_string(&mut err)?;
    assert_eq!((listing.wait()?.code(), &*err), (Some(1), ""));
    Ok(())
}
