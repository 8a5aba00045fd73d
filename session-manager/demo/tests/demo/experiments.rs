//! The two experiments of the start page, and the events that it shows.

use std::thread;

use crate::TestResult;
use crate::browser::Browser;
use crate::pages::start;

#[test]
fn twenty_requests_at_once_are_all_counted() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    browser.get(&demo, "/")?;
    for counted in [20, 40] {
        thread::scope(|scope| {
            let post = || browser.clone().post(&demo, "/count", &[]);
            let threads: Vec<_> = (0..20).map(|_| scope.spawn(post)).collect();
            threads.into_iter().try_for_each(|thread| -> TestResult {
                let answer = thread.join().expect("no assertion fails")?;
                assert_eq!((answer.status, &*answer.location), (303, "/#experiments"));
                Ok(())
            })
        })?;
        assert_eq!(browser.get(&demo, "/")?.count(), counted);
    }
    assert!(browser.get(&demo, "/")?.events().contains("Two requests at once"));
    Ok(())
}

#[test]
fn logout_during_a_slow_request_is_final() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    assert_eq!(browser.post(&demo, "/slow", &[])?.status, 403, "nobody is logged in");
    // Which of the two is first isn't for the test to say: it waits for a slow one that is.
    let answered = (0..100).find_map(|_| -> Option<TestResult> {
        let outcome = (|| -> TestResult<_> {
            browser.log_in(&demo, "Ada")?;
            let mut slow = browser.clone();
            let answer = thread::scope(|scope| -> TestResult<_> {
                let thread = scope.spawn(|| slow.post(&demo, "/slow", &[]));
                browser.post(&demo, "/logout", &[])?;
                thread.join().expect("no assertion fails")
            })?;
            let mut old = slow.clone();
            assert_eq!(old.get(&demo, "/private")?.status, 303, "nobody is logged in");
            assert_eq!(browser.get(&demo, "/")?.user(), None);
            Ok(answer.status)
        })();
        match outcome {
            Ok(403) => None,
            Ok(status) => Some(if status == 409 { Ok(()) } else { Err(status.to_string().into()) }),
            Err(error) => Some(Err(error)),
        }
    });
    answered.expect("one of the slow requests was first")
}

#[test]
fn slow_request_without_a_logout_is_carried_out() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    browser.log_in(&demo, "Ada")?;
    assert_eq!(browser.post(&demo, "/slow", &[])?.status, 303);
    assert_eq!(browser.get(&demo, "/")?.flash(), Some("The slow request has written."));
    Ok(())
}

#[test]
fn page_of_now_is_no_visit_and_leaves_the_message() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    let first = browser.get(&demo, "/now")?;
    assert_eq!((first.visits(), first.set_cookie), (0, String::new()), "it begins no session");
    browser.get(&demo, "/")?;
    browser.log_in(&demo, "Ada")?;
    let now = browser.get(&demo, "/now")?;
    assert_eq!((now.visits(), now.flash(), now.user()), (1, None, Some("Ada")));
    let page = browser.get(&demo, "/")?;
    assert_eq!((page.visits(), page.flash()), (2, Some("Logged in.")));
    Ok(())
}

#[test]
fn events_are_shown_to_whose_they_are_alone() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let [mut here, mut there, mut grace, mut stranger] = [(); 4].map(|()| Browser::new());
    for browser in [&mut here, &mut there, &mut grace, &mut stranger] {
        browser.get(&demo, "/")?;
    }
    here.log_in(&demo, "Ada")?;
    there.log_in(&demo, "Ada")?;
    grace.log_in(&demo, "Grace")?;
    let page = here.get(&demo, "/")?;
    here.post(&demo, "/sessions/end-others", &[("csrf_token", page.form_token())])?;

    let ended = "ended: logout everywhere";
    let new_token = "got a new token";
    let began = "A session began";
    let shown = |browser: &mut Browser| -> TestResult<_> {
        let events = browser.get(&demo, "/")?.events().to_owned();
        Ok([ended, new_token, began].map(|event| events.matches(event).count()))
    };
    assert_eq!(shown(&mut here)?[0], 1, "by the browser that has ended the other");
    let mut another = Browser::new();
    another.log_in(&demo, "Ada")?;
    assert_eq!(shown(&mut another)?[0], 1, "and by each that she has");
    assert_eq!(shown(&mut grace)?[..2], [0, 1], "her own token alone");
    assert_eq!(shown(&mut stranger)?, [0, 0, 1], "nothing of those who have logged in");
    assert_eq!(shown(&mut Browser::new())?, [0, 0, 0]);
    here.log_in(&demo, "Grace")?;
    assert_eq!(shown(&mut here)?[0], 0, "nor of who was at this browser before");
    Ok(())
}
