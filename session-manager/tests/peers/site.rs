//! A site with sessions, and the browsers that visit it.

use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use cookie::Cookie;
use cookie::time::Duration as SignedDuration;
use session_manager::{Error, Header, Session, SessionManager};
use store_core::{ManualClock, Store as _};

use crate::counting_store::{CountingStore, counting_store};

/// A site, its store, and the clock of both, which stands at noon.
pub(crate) struct Site {
    pub(crate) sessions: SessionManager,
    pub(crate) store: Arc<CountingStore>,
    pub(crate) clock: Arc<ManualClock>,
}

/// What a browser got.
pub(crate) struct Reply<T> {
    /// What the handler returned.
    pub(crate) page: T,
    pub(crate) headers: Vec<Header>,
    /// The cookie that the browser was told to keep, or to forget.
    pub(crate) cookie: Option<Cookie<'static>>,
}

/// A browser with one cookie, or none.
pub(crate) struct Browser<'s> {
    site: &'s Site,
    pub(crate) token: Option<String>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().expect("noon")));
        let store = counting_store(clock.clone());
        let sessions = SessionManager::new(Arc::clone(&store)).with_clock(clock.clone());
        Self { sessions, store, clock }
    }

    pub(crate) fn with(
        mut self,
        change: impl FnOnce(SessionManager) -> Result<SessionManager, Error>,
    ) -> Self {
        self.sessions = change(self.sessions).expect("the options are right");
        self
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser { site: self, token: None }
    }

    /// A browser whose session has one value.
    pub(crate) fn visited(&self) -> Result<Browser<'_>, Error> {
        let mut browser = self.browser();
        browser.visit(|session| session.insert("foo", "bar"))?;
        self.store.calls().take();
        Ok(browser)
    }

    /// The keys and expiries of the live sessions.
    pub(crate) fn rows(&self) -> Vec<(String, DateTime<Utc>)> {
        let mut rows = Vec::new();
        let walk = self.store.for_each(&mut |record| {
            rows.push((record.token.to_owned(), record.expiry));
            ControlFlow::Continue(())
        });
        walk.expect("a walk in memory succeeds");
        rows
    }

    /// How often the store was asked to find, to move an expiry, and to write, since the last call.
    pub(crate) fn calls(&self) -> (usize, usize, usize) {
        self.store.calls().take()
    }
}

impl<'s> Browser<'s> {
    pub(crate) fn visit<T>(
        &mut self,
        handler: impl FnOnce(&mut Session<'s>) -> Result<T, Error>,
    ) -> Result<Reply<T>, Error> {
        let mut session = self.site.sessions.load(self.token.as_deref())?;
        let page = handler(&mut session)?;
        let headers = session.finish()?.headers;
        let cookie = headers.iter().find(|(name, _)| *name == "Set-Cookie").map(|(_, value)| {
            Cookie::parse(value.clone()).expect("browsers understand what they get")
        });
        if let Some(cookie) = &cookie {
            assert_eq!(cookie.name(), self.site.sessions.cookie_name());
            let is_removed = cookie.max_age().is_some_and(SignedDuration::is_zero);
            assert_eq!(cookie.value().is_empty(), is_removed);
            self.token = (!is_removed).then(|| cookie.value().to_owned());
        }
        Ok(Reply { page, headers, cookie })
    }

    /// The value of the key in its session.
    pub(crate) fn value(&mut self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.visit(|session| session.get(key))?.page)
    }

    /// Another browser that sends the same cookie, as a request does that was under way.
    pub(crate) fn twin(&self) -> Self {
        Self { site: self.site, token: self.token.clone() }
    }
}

impl<T> Reply<T> {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }

    /// For how many seconds the browser was told to keep the cookie.
    pub(crate) fn max_age(&self) -> Option<i64> {
        self.cookie.as_ref()?.max_age().map(SignedDuration::whole_seconds)
    }
}
