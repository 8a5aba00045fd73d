//! `logout` and `sweep`.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::TestResult;
use crate::place::Place;
use crate::program::{Run, run};

on_every_store! {
    logout_ends_the_sessions_of_a_user
    logout_ends_one_session
    sessions_of_one_id_are_told_apart_by_their_user
    logout_ends_all
    logout_of_nobody_says_so
    logout_is_refused_without_an_answer
    logout_asks_at_a_terminal
    sweep_removes_what_has_expired
}

fn logout_ends_the_sessions_of_a_user(place: &Place) -> TestResult {
    let filled = place.fill()?;
    assert_eq!(place.run(&["logout", "--subject", "7", "--yes"]).done(), "2 sessions ended\n");
    assert!(!place.has(filled.first) && !place.has(filled.renewed));
    assert!(place.has(filled.anonymous) && place.has(filled.office), "they aren't that user's");
    let office = ["logout", "--subject", "7", "--cookie", "__Host-office", "--yes"];
    assert_eq!(place.run(&office).done(), "1 session ended\n");
    let own = ["logout", "--subject", "own:8", "--as-stored", "--yes"];
    assert_eq!(place.run(&own).done(), "1 session ended\n");
    assert_eq!(place.open().count()?, 1);
    Ok(())
}

fn logout_ends_one_session(place: &Place) -> TestResult {
    let filled = place.fill()?;
    let by_id =
        |id: &str, more: &[&str]| place.run(&[&["logout", "--id", id, "--yes"], more].concat());
    let (first, renewed) = (filled.first.to_string(), filled.renewed.to_string());
    by_id(&first, &["--subject", "8"]).ended(3, "no session has the id");
    by_id("0123456789abcdef", &[]).ended(3, "no session has the id 0123456789abcdef");
    assert_eq!(place.open().count()?, 5);
    assert_eq!(by_id(&renewed, &["--subject", "7"]).done(), "1 session ended\n");
    assert!(!place.has(filled.renewed) && place.has(filled.first));
    assert_eq!(by_id(&filled.office.to_string(), &[]).done(), "1 session ended\n");
    assert!(!place.has(filled.office) && place.has(filled.first));
    assert_eq!(place.open().count()?, 3);
    Ok(())
}

fn sessions_of_one_id_are_told_apart_by_their_user(place: &Place) -> TestResult {
    let filled = place.fill()?;
    let id = filled.renewed.to_string();
    // Another session with the same data, as a collision of two ids.
    let store = place.open();
    let found = store.find_by_subject("__Host-session:7")?;
    let has_id = |data: &[u8]| String::from_utf8_lossy(data).contains(&id);
    let original = found.iter().find(|session| has_id(&session.data)).expect("it is JSON");
    store.create("another", &original.data, original.expiry, Some("__Host-session:8"))?;
    drop(store);
    place.run(&["logout", "--id", &id, "--yes"]).ended(1, "2 sessions have this id");
    assert_eq!(place.open().count()?, 6);
    place.run(&["logout", "--id", &id, "--subject", "8", "--yes"]).done();
    assert_eq!(place.open().find("another")?, None);
    assert!(place.has(filled.renewed));
    Ok(())
}

fn logout_ends_all(place: &Place) -> TestResult {
    place.fill()?;
    assert_eq!(place.run(&["logout", "--all", "--yes"]).done(), "6 sessions ended\n");
    assert_eq!(place.open().count()?, 0);
    place.run(&["list"]).ended(0, "there are no live sessions");
    Ok(())
}

fn logout_of_nobody_says_so(place: &Place) -> TestResult {
    place.fill()?;
    place
        .run(&["logout", "--subject", "8", "--yes"])
        .ended(3, "under the cookie \"__Host-session\"");
    place.run(&["logout", "--subject", "", "--yes"]).ended(2, "--subject: ");
    place.run(&["logout", "--yes"]).ended(2, "--all");
    place.run(&["logout", "--id", "7", "--yes"]).ended(2, "16 hexadecimal digits");
    place.run(&["logout", "--all", "--subject", "7", "--yes"]).ended(2, "cannot be used with");
    assert_eq!(place.open().count()?, 5);
    Ok(())
}

fn logout_is_refused_without_an_answer(place: &Place) -> TestResult {
    let filled = place.fill()?;
    for arguments in [&["--subject", "7"][..], &["--id", &filled.first.to_string()], &["--all"]] {
        let refused = place.run(&[&["logout"], arguments].concat());
        refused.ended(4, "There is no terminal to ask at");
    }
    assert_eq!(place.open().count()?, 5);
    Ok(())
}

/// At a terminal of util-linux's `script`, which every Debian has.
fn logout_asks_at_a_terminal(place: &Place) -> TestResult {
    let filled = place.fill()?;
    let answered = |answer: &str| -> Result<Run, std::io::Error> {
        let program = env!("CARGO_BIN_EXE_sessions");
        let mut terminal = Command::new("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!("{program} logout --subject 7"))
            .arg("/dev/null")
            .env("SESSIONS_STORE", &place.url)
            .env_remove("MYSQL_PWD")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        terminal.stdin.take().expect("it is piped").write_all(answer.as_bytes())?;
        Ok(Run::of(&terminal.wait_with_output()?))
    };
    for answer in ["n\n", "\n", "yesterday\n"] {
        let refused = answered(answer)?;
        assert_eq!(refused.code, 4, "{}", refused.out);
        assert!(refused.out.contains("End 2 sessions of 7 in "), "{}", refused.out);
    }
    assert!(place.has(filled.first));
    let confirmed = answered("y\n")?;
    assert_eq!(confirmed.code, 0, "{}", confirmed.out);
    assert!(confirmed.out.contains("2 sessions ended"), "{}", confirmed.out);
    assert!(!place.has(filled.first));
    Ok(())
}

fn sweep_removes_what_has_expired(place: &Place) -> TestResult {
    place.fill()?;
    assert_eq!(place.run(&["sweep"]).done(), "1 expired session removed\n");
    assert_eq!(place.run(&["sweep"]).done(), "0 expired sessions removed\n");
    assert_eq!(run(["--store", &place.url, "sweep", "--quiet"]).done(), "");
    assert_eq!(place.open().count()?, 5);
    Ok(())
}
