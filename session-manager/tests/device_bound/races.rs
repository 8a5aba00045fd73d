//! Requests to the endpoint and to pages at the same moment.

use std::sync::Arc;
use std::sync::Barrier;
use std::thread;

use chrono::TimeDelta;
use session_manager::{BindingPolicy, DeviceBinding, Error, SessionManager};
use store_core::Store;

use crate::TestResult;
use crate::browser::{Browser, ends};
use crate::counting_store::Failing;
use crate::fixture::{COOKIE_END, COOKIE_LIFETIME, Fixture, PATH};

/// Has another process change the session just before the endpoint writes.
fn before_the_write(
    fixture: &Fixture,
    browser: &Browser<'_>,
    change: impl FnOnce(&SessionManager, &str) -> TestResult + Send + 'static,
) -> TestResult {
    let (other, cookies) = (fixture.other_process()?, browser.cookies());
    fixture.store.before(Failing::Update, move || {
        change(&other, &cookies).expect("it comes first");
    });
    Ok(())
}

#[test]
fn registration_that_races_the_page_after_the_login_loses_nothing() -> TestResult {
    let fixture = Fixture::requiring_proof();
    let mut browser = Browser::logged_in(&fixture.sessions)?;
    // The page writes first.
    before_the_write(&fixture, &browser, |other, cookies| {
        let mut session = other.load_from_headers([cookies.as_bytes()])?;
        session.insert("cart", ["tea"])?;
        session.finish().map(drop)
    })?;
    assert_eq!(browser.register().status, 200);
    assert!(matches!(browser.session()?.device_binding(), DeviceBinding::Bound { .. }));
    assert!(browser.session()?.contains("cart"));

    // The registration writes first.
    let mut second = Browser::logged_in(&fixture.sessions)?;
    let mut page = second.session()?;
    page.insert("cart", ["tea"])?;
    assert_eq!(second.register().status, 200);
    page.finish()?;
    assert!(matches!(second.session()?.device_binding(), DeviceBinding::Bound { .. }));
    assert!(second.session()?.contains("cart"));
    second.refreshed();
    Ok(())
}

#[test]
fn registration_or_refresh_that_races_a_logout_revives_nothing() -> TestResult {
    for is_refresh in [false, true] {
        let fixture = Fixture::new();
        let mut browser = Browser::logged_in(&fixture.sessions)?;
        if is_refresh {
            browser.register();
            browser.refreshed();
        }
        before_the_write(&fixture, &browser, |other, cookies| {
            let mut session = other.load_from_headers([cookies.as_bytes()])?;
            session.destroy()?;
            session.finish().map(drop)
        })?;
        if is_refresh {
            assert!(ends(&browser.refresh()));
        } else {
            assert_eq!(browser.register().status, 403);
        }
        assert!(fixture.store.all()?.is_empty());
    }
    Ok(())
}

#[test]
fn refresh_that_races_a_renewal_changes_the_renewed_session() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    before_the_write(&fixture, &browser, |other, cookies| {
        let mut session = other.load_from_headers([cookies.as_bytes()])?;
        session.renew()?;
        session.finish().map(drop)
    })?;
    browser.refreshed();
    assert!(browser.session()?.is_empty(), "the old token opens nothing");
    assert_eq!(fixture.store.count()?, 1);
    Ok(())
}

#[test]
fn refresh_that_races_a_login_of_another_user_ends_the_binding() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    before_the_write(&fixture, &browser, |other, cookies| {
        let mut session = other.load_from_headers([cookies.as_bytes()])?;
        session.set_subject("8")?;
        session.finish().map(drop)
    })?;
    assert!(ends(&browser.refresh()));
    let of_other = fixture.sessions.sessions_of("8")?;
    assert_eq!((of_other.len(), fixture.store.count()?), (1, 1));
    Ok(())
}

#[test]
fn refresh_that_races_a_login_which_binds_anew_leaves_the_new_binding() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    fixture.clock.advance(COOKIE_END * 2);
    let mut other = browser.clone();
    browser.receive_instructions(&browser.post(Some(&browser.id), None));
    let challenge = browser.challenge.clone().expect("it has one");
    let (headers, sent) = std::sync::mpsc::channel();
    before_the_write(&fixture, &browser, move |other, cookies| {
        let mut session = other.load_from_headers([cookies.as_bytes()])?;
        session.mark_authenticated()?;
        session.bind_to_device()?;
        headers.send(session.finish()?.headers).expect("the test waits for it");
        Ok(())
    })?;
    let response = browser.post(Some(&browser.id), Some(&browser.proof(&challenge)));
    assert!(ends(&response), "{response:?}");
    other.receive(&sent.recv().expect("it was sent"));
    assert_eq!(other.register().status, 200);
    other.refreshed();
    other.session()?.check_device_binding()
}

#[test]
fn offer_that_races_a_registration_leaves_the_binding() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::logged_in(&fixture.sessions)?;
    // The page makes another offer, because this one is no more fresh.
    fixture.clock.advance(COOKIE_LIFETIME + TimeDelta::seconds(1));
    let mut page = browser.session()?;
    page.bind_to_device()?;
    assert_eq!(browser.register().status, 200);
    let headers = page.finish()?.headers;
    assert!(headers.iter().all(|(name, _)| *name != "Secure-Session-Registration"));
    assert!(matches!(browser.session()?.device_binding(), DeviceBinding::Bound { .. }));
    Ok(())
}

/// One challenge, signed once and sent many times at the same moment, to several processes.
#[test]
fn of_many_refreshes_with_one_challenge_one_succeeds() -> TestResult {
    let store: Arc<dyn Store> = Arc::new(store_core::MemoryStore::new()?);
    for _ in 0..10 {
        one_of_many(&store)?;
    }
    let directory = tempfile::tempdir().expect("there is room");
    let store = store_sqlite::SqliteStore::open(directory.path().join("sessions.db"))?;
    one_of_many(&(Arc::new(store) as Arc<dyn Store>))
}

fn one_of_many(store: &Arc<dyn Store>) -> TestResult {
    const PROCESSES: usize = 4;
    let process =
        || SessionManager::new(Arc::clone(store)).with_device_binding(BindingPolicy::new(PATH));
    let sessions = process()?;
    let mut browser = Browser::bound(&sessions)?;
    browser.refreshed();
    let challenge = browser.challenge.clone().expect("it has one");
    let proof = browser.proof(&challenge);
    let managers = (0..PROCESSES).map(|_| process()).collect::<Result<Vec<_>, Error>>()?;
    let start = Barrier::new(PROCESSES);
    let mut statuses: Vec<u16> = thread::scope(|scope| {
        let requests: Vec<_> = managers
            .iter()
            .map(|manager| {
                let (start, browser, proof) = (&start, &browser, &proof);
                scope.spawn(move || {
                    start.wait();
                    browser.at(manager).post(Some(&browser.id), Some(proof)).status
                })
            })
            .collect();
        requests.into_iter().map(|request| request.join().expect("no assertion fails")).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403, 403, 403]);
    browser.refreshed();
    browser.session()?.check_device_binding()
}
