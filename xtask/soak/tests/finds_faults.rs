//! The visitors see each kind of fault, and nothing wrong without one: the demo's own application
//! on a store that loses, mixes up and revives sessions.

// The demo has no library.
#[path = "../../../session-manager/demo/src"]
mod demo {
    pub(crate) mod app;
}

use std::error::Error as StdError;
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use demo::app::{self, App};
use session_manager::{CookiePolicy, SessionManager};
use store_core::{
    Change, CleanupStatistics, Error, Loaded, MemoryStore, OwnedRecord, Record, Store,
};

type TestResult = Result<(), Box<dyn StdError>>;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// A write is acknowledged and not done.
    Write,
    /// A session is there, and then it isn't.
    Loss,
    /// A token opens the session of another one.
    MixUp,
    /// A read returns what was there before.
    OldRead,
    /// A logout does nothing.
    Logout,
    /// A token from before a login goes on opening the session.
    OldToken,
    /// Logging out elsewhere does nothing.
    LogoutElsewhere,
    /// Sessions don't expire.
    Expiry,
    /// An error that trying again doesn't help against.
    Error,
    /// A busy service that doesn't say when to come again.
    RetryAfter,
}

struct Faulty {
    fault: Fault,
    inner: MemoryStore,
    calls: AtomicUsize,
    last: Mutex<(String, Option<Loaded>)>,
}

impl Faulty {
    fn new(fault: Fault) -> Result<Self, Error> {
        let (inner, calls) = (MemoryStore::new()?, AtomicUsize::new(0));
        Ok(Self { fault, inner, calls, last: Mutex::default() })
    }

    /// Whether this call is one of those that go wrong with this fault.
    fn goes_wrong(&self, fault: Fault) -> bool {
        self.fault == fault && self.calls.fetch_add(1, Ordering::Relaxed) % 20 == 19
    }
}

impl Store for Faulty {
    fn load(&self, token: &str) -> Result<Loaded, Error> {
        let mut last = self.last.lock().expect("nobody panics with it");
        if self.goes_wrong(Fault::MixUp) {
            return self.inner.load(&last.0);
        }
        let loaded = self.inner.load(token)?;
        if self.goes_wrong(Fault::OldRead)
            && let (of, Some(old)) = &*last
            && of == token
        {
            return Ok(old.clone());
        }
        // Of one session at a time, as it was when it came first.
        if last.0 != token && matches!(loaded, Loaded::Live { .. }) {
            *last = (token.to_owned(), Some(loaded.clone()));
        }
        Ok(loaded)
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        self.inner.commit(token, data, expiry)
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        self.inner.create_with(token, change)
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        if self.goes_wrong(Fault::Error) {
            return Err(Error::backend("the database failed"));
        }
        if self.goes_wrong(Fault::RetryAfter) {
            return Err(Error::Contended { source: "locked".into() });
        }
        if self.goes_wrong(Fault::Write) {
            return Ok(true);
        }
        let is_done = self.inner.update(token, current, change)?;
        if self.goes_wrong(Fault::Loss) {
            self.inner.delete(token)?;
        }
        if self.fault == Fault::OldToken && is_done && change.rotation.is_some() {
            self.inner.commit(token, &change.data, change.first_expiry()?)?;
        }
        Ok(is_done)
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        self.inner.touch(token, expiry)
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        if self.fault == Fault::Logout { Ok(()) } else { self.inner.delete(token) }
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.inner.find_by_subject(subject)
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.inner.subject_of(token)
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        match self.fault {
            Fault::LogoutElsewhere => Ok(0),
            _ => self.inner.delete_by_subject(subject, except),
        }
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.inner.delete_all()
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        self.inner.delete_expired()
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        self.inner.for_each(visit)
    }

    fn count(&self) -> Result<u64, Error> {
        self.inner.count()
    }

    fn now(&self) -> DateTime<Utc> {
        self.inner.now()
    }

    fn stop_cleanup(&self) {
        self.inner.stop_cleanup();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.inner.cleanup_statistics()
    }
}

/// Serves the demo's application for as long as the test runs, and returns its address.
fn serve(fault: Fault) -> Result<String, Box<dyn StdError>> {
    let mut sessions = SessionManager::new(Faulty::new(fault)?)
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?
        .with_rotation(Duration::from_secs(3))?;
    if fault != Fault::Expiry {
        // As the visitors expect it.
        sessions = sessions.with_idle_timeout(Duration::from_secs(4))?;
    }
    sessions = sessions.with_error_responder(move |error, _| {
        let mut response = app::error_page(error);
        response.retry_after = response.retry_after.filter(|_| fault != Fault::RetryAfter);
        response
    });
    let app = App::new(sessions, "memory".to_owned());
    let server = rouille::Server::new("127.0.0.1:0", move |request| app.respond(request));
    let server = server.map_err(|error| error.to_string())?;
    let url = format!("http://{}", server.server_addr());
    thread::spawn(move || server.run());
    Ok(url)
}

/// Lets visitors come, and returns whether they are content, and what they say.
fn visit(fault: Fault, seconds: &str) -> Result<(bool, String), Box<dyn StdError>> {
    let output = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args(["visit", &serve(fault)?, "1", seconds])
        .output()?;
    Ok((output.status.success(), String::from_utf8(output.stderr)?))
}

#[test]
fn nothing_is_wrong_with_a_good_store() -> TestResult {
    let (is_content, said) = visit(Fault::None, "2")?;
    assert!(is_content, "{said}");
    Ok(())
}

/// What is said of a session that should be gone: by its next visit, or by a login that goes on
/// with it.
const LIVES_ON: &str = "the session can be [";

/// Visitors see the fault, and one of them says so.
fn is_seen(fault: Fault, words: &str) -> TestResult {
    // Only ends what finds nothing.
    let (is_content, said) = visit(fault, "120")?;
    assert!(!is_content && said.contains(words), "{said}");
    Ok(())
}

#[test]
fn write_that_is_not_done_is_seen() -> TestResult {
    is_seen(Fault::Write, "error: visitor")
}

#[test]
fn session_that_is_lost_is_seen() -> TestResult {
    is_seen(Fault::Loss, "error: visitor")
}

#[test]
fn session_of_somebody_else_is_seen() -> TestResult {
    is_seen(Fault::MixUp, "error: visitor")
}

#[test]
fn counter_that_goes_back_is_seen() -> TestResult {
    is_seen(Fault::OldRead, "error: visitor")
}

#[test]
fn session_that_outlives_its_logout_is_seen() -> TestResult {
    is_seen(Fault::Logout, LIVES_ON)
}

#[test]
fn token_that_outlives_a_login_is_seen() -> TestResult {
    is_seen(Fault::OldToken, "error: visitor")
}

#[test]
fn session_that_outlives_its_logout_from_elsewhere_is_seen() -> TestResult {
    is_seen(Fault::LogoutElsewhere, LIVES_ON)
}

#[test]
fn session_that_does_not_expire_is_seen() -> TestResult {
    is_seen(Fault::Expiry, LIVES_ON)
}

#[test]
fn error_for_good_is_seen() -> TestResult {
    is_seen(Fault::Error, "status 500")
}

#[test]
fn busy_service_that_does_not_say_when_to_come_again_is_seen() -> TestResult {
    is_seen(Fault::RetryAfter, "without Retry-After")
}
