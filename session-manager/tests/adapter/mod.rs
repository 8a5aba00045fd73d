//! Both adapters behind one function, so that the same is claimed of both.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../hooked_store/mod.rs"]
mod hooked_store;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hooked_store::{Call, Hook, HookedStore};
use http::HeaderValue;
use session_manager::{BoxError, Error, Session, SessionManager};
use store_core::{CleanupOptions, MemoryOptions, MemoryStore};

pub(crate) type TestResult<T = ()> = Result<T, BoxError>;

pub(crate) const NAME: &str = "__Host-session";

/// What a handler does to its session.
pub(crate) type Act = fn(&mut Session<'_>) -> Result<(), Error>;

/// What a handler answers, in no framework's form.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: String,
}

impl From<String> for Page {
    fn from(body: String) -> Self {
        Self { body, ..Self::default() }
    }
}

/// What comes back through an adapter.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// The values of all headers of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let own = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.as_str()).collect()
    }

    /// The token that the browser is given in a cookie of this name.
    pub(crate) fn token_of(&self, name: &str) -> Option<String> {
        let cookies = self.all("Set-Cookie");
        let mut cookies = cookies.iter().filter_map(|cookie| value_of(cookie, name));
        let token = cookies.next();
        assert!(cookies.next().is_none(), "two cookies of one name in one response: {self:?}");
        token.map(str::to_owned)
    }

    pub(crate) fn token(&self) -> Option<String> {
        self.token_of(NAME)
    }
}

/// The value that a Set-Cookie header sets for a cookie of this name.
pub(crate) fn value_of<'c>(set_cookie: &'c str, name: &str) -> Option<&'c str> {
    let (own, value) = set_cookie.split(';').next()?.split_once('=')?;
    (own == name).then_some(value)
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Adapter {
    Rouille,
    Http,
}

pub(crate) const ADAPTERS: [Adapter; 2] = [Adapter::Rouille, Adapter::Http];

impl Adapter {
    /// Serves a request with these Cookie headers.
    pub(crate) fn serve(
        self,
        sessions: &SessionManager,
        cookie_headers: &[&str],
        handler: impl FnOnce(&mut Session<'_>) -> Result<Page, BoxError>,
    ) -> Reply {
        match self {
            Self::Rouille => {
                let headers =
                    cookie_headers.iter().map(|value| ("Cookie".to_owned(), (*value).to_owned()));
                let request = rouille::Request::fake_http("GET", "/", headers.collect(), vec![]);
                from_rouille(sessions.rouille(&request, |session| {
                    let page = handler(session)?;
                    let mut response = rouille::Response::text(page.body)
                        .with_status_code(page.status.unwrap_or(200));
                    for (name, value) in page.headers {
                        response = response.with_additional_header(name, value);
                    }
                    Ok(response)
                }))
            }
            Self::Http => {
                let mut request = http::Request::new(());
                for value in cookie_headers {
                    let value = HeaderValue::from_str(value).expect("the test sends what it can");
                    request.headers_mut().append("cookie", value);
                }
                from_http(sessions.http(&mut request, |_, session| {
                    let page = handler(session)?;
                    let mut response = http::Response::builder().status(page.status.unwrap_or(200));
                    for (name, value) in page.headers {
                        response = response.header(name, value);
                    }
                    Ok(response.body(page.body)?)
                }))
            }
        }
    }

    /// A visit of the page that counts visits.
    pub(crate) fn visit(self, sessions: &SessionManager, cookie_headers: &[&str]) -> Reply {
        self.serve(sessions, cookie_headers, count_visits)
    }

    /// Stores a session by a first visit, and returns its token.
    pub(crate) fn stored(self, sessions: &SessionManager) -> String {
        self.visit(sessions, &[]).token().expect("it is new")
    }
}

pub(crate) fn from_rouille(response: rouille::Response) -> Reply {
    let mut body = String::new();
    let (mut reader, _) = response.data.into_reader_and_size();
    reader.read_to_string(&mut body).expect("the body is text");
    let headers = response.headers.into_iter();
    let headers = headers.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    Reply { status: response.status_code, headers, body }
}

pub(crate) fn from_http(response: http::Response<String>) -> Reply {
    let headers = response.headers().iter().map(|(name, value)| {
        (name.to_string(), value.to_str().expect("visible characters alone").to_owned())
    });
    let (status, headers) = (response.status().as_u16(), headers.collect());
    Reply { status, headers, body: response.into_body() }
}

pub(crate) fn count_visits(session: &mut Session<'_>) -> Result<Page, BoxError> {
    let visits: u32 = session.get("visits")?.unwrap_or(0);
    session.insert("visits", visits + 1)?;
    Ok(format!("visit {}", visits + 1).into())
}

/// The name and the value that a browser sends back.
pub(crate) fn cookie(token: &str) -> String {
    format!("{NAME}={token}")
}

pub(crate) fn memory() -> MemoryStore {
    let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
    options.build().expect("no thread is needed")
}

pub(crate) fn manager() -> SessionManager {
    SessionManager::new(memory())
}

/// A store that can be switched off, and that counts how often it is asked.
pub(crate) type Switched = HookedStore<MemoryStore, Switch>;

#[derive(Debug, Default)]
pub(crate) struct Switch {
    is_down: AtomicBool,
    calls: AtomicUsize,
}

impl Switched {
    pub(crate) fn on() -> Arc<Self> {
        Arc::new(Self::new(memory(), Switch::default()))
    }

    pub(crate) fn switch(&self, is_down: bool) {
        self.hook.is_down.store(is_down, Ordering::Relaxed);
    }

    /// How often it was asked since the last call.
    pub(crate) fn calls(&self) -> usize {
        self.hook.calls.swap(0, Ordering::Relaxed)
    }
}

impl Hook for Switch {
    fn before(&self, _: Call) -> Result<(), store_core::Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.is_down.load(Ordering::Relaxed) {
            return Err(store_core::Error::Unreachable { source: "switched off".into() });
        }
        Ok(())
    }
}
