//! Stores that can't be used, and passwords.

use chrono::{TimeDelta, Utc};
use store_core::{CleanupOptions, Store};
use store_sqlite::SqliteOptions;
use test_servers::is_server_there;

use crate::TestResult;
use crate::place::{Kind, Place};
use crate::program::{Run, command, run};

const PASSWORD: &str = "s3cret p@ss:/?#%";

#[test]
fn file_of_a_running_application_is_left_to_it() -> TestResult {
    let place = Place::ql();
    place.fill()?;
    let application = place.open();
    for arguments in [&["list"][..], &["check"], &["logout", "--all", "--yes"], &["create-table"]] {
        let refused = place.run(arguments);
        refused.ended(1, "the database is open already");
        refused.ended(1, "redb lets one process in");
        refused.ended(1, "SessionManager::destroy_all_of");
    }
    assert_eq!(application.count()?, 5);
    Ok(())
}

#[test]
fn databases_of_running_applications_are_shared() -> TestResult {
    let mut places = vec![Place::sqlite()];
    if is_server_there() {
        places.push(Place::mysql());
    }
    for place in places {
        let filled = place.fill()?;
        let application = place.open();
        let id = filled.renewed.to_string();
        place.run(&["logout", "--subject", "7", "--id", &id, "--yes"]).done();
        assert_eq!(application.count()?, 4);
        place.run(&["logout", "--subject", "7", "--yes"]).done();
        assert_eq!(application.count()?, 3);
        application.stop_cleanup();
    }
    Ok(())
}

#[test]
fn what_names_no_store_is_refused() {
    run(["list"]).ended(2, "SESSIONS_STORE");
    for store in ["app.db", "postgres://app:s3cret@one/db", "sqlite:", "mysql:app:s3cret@one/db"] {
        let refused = run(["--store", store, "list"]);
        refused.ended(2, "--store ");
        assert!(!refused.err.contains("s3cret"), "{}", refused.err);
    }
    let place = Place::sqlite();
    place.run(&["--table", "web sessions", "list"]).ended(1, "");
    place.run(&["create-table", "--table", "web sessions"]).ended(1, "table name");
}

#[test]
fn no_error_and_no_help_has_the_password() {
    for url in [
        "mysql://app:s3cret@127.0.0.1:1/db",
        "mysql://app:s3cret@127.0.0.1:1/db?nonsense=s3cret",
        "mysql://app:s3cret@127.0.0.1:s3cret/db",
        "mysql://app:s3cret@:s3cret@/db",
        "mysql://app:s3cret@one/db?ssl-mode=s3cret",
        "mysql://app:s3cret/db",
        "mysql://s3cret",
    ] {
        for arguments in [&["check"][..], &["sweep"], &["create-table"], &["--help"], &["nonsense"]]
        {
            let output = command(arguments).env("SESSIONS_STORE", url).output();
            let Run { code, out, err } = Run::of(&output.expect("it can be run"));
            assert_eq!(code == 0, arguments == ["--help"], "{err}");
            assert!(!out.contains("s3cret") && !err.contains("s3cret"), "{url}: {out} {err}");
        }
    }
    let output = command(["--store", "mysql://app@127.0.0.1:1/db", "check"])
        .env("MYSQL_PWD", "s3cret")
        .output();
    let refused = Run::of(&output.expect("it can be run"));
    refused.ended(1, "mysql://127.0.0.1:1/db: the database can't be reached");
    refused.ended(1, "MYSQL_PWD");
    assert!(!refused.err.contains("s3cret"), "{}", refused.err);
}

#[test]
fn password_comes_from_the_environment() -> TestResult {
    if !is_server_there() {
        return Ok(());
    }
    let place = Place::mysql();
    let Kind::Mysql(database) = &place.kind else { unreachable!("it is MySQL's") };
    let user = database.name();
    database.run(&format!("CREATE USER '{user}' IDENTIFIED BY '{PASSWORD}'"));
    database.run(&format!("GRANT SELECT ON `{user}`.* TO '{user}'"));
    let outcome = check_passwords(&place, &database.url_for(user));
    database.run(&format!("DROP USER '{user}'"));
    outcome
}

fn check_passwords(place: &Place, url: &str) -> TestResult {
    let with = |password: Option<&str>, arguments: &[&str]| {
        let mut command = command(["--store", url].iter().chain(arguments));
        if let Some(password) = password {
            command.env("MYSQL_PWD", password);
        }
        Run::of(&command.output().expect("it can be run"))
    };
    place.run(&["create-table"]).done();
    with(Some(PASSWORD), &["check"]).done();
    with(Some(PASSWORD), &["stats"]).done();
    for password in [None, Some("another")] {
        let refused = with(password, &["check"]);
        refused.ended(1, "check the host, the account and its password");
        assert!(!refused.err.contains("another"), "{}", refused.err);
    }
    // An account that may only read: ending sessions is refused, by the server.
    place.fill()?;
    let refused = with(Some(PASSWORD), &["logout", "--all", "--yes"]);
    assert_eq!(refused.code, 1, "{} {}", refused.out, refused.err);
    assert_eq!(place.open().count()?, 5);
    Ok(())
}

#[test]
fn file_that_a_process_keeps_for_itself_is_left_to_it() -> TestResult {
    let place = Place::sqlite();
    let Kind::Sqlite(path) = &place.kind else { unreachable!("it is SQLite's") };
    let options = SqliteOptions::new().with_cleanup(CleanupOptions::disabled());
    let application = options.with_exclusive_process().open(path)?;
    application.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    let refused = place.run(&["list"]);
    refused.ended(1, "kept the database locked");
    refused.ended(1, "with_exclusive_process");
    Ok(())
}
