//! For an application's own tests: requests with a session, and the session of a response.
//!
//! # Examples
#![cfg_attr(feature = "rouille", doc = "```")]
#![cfg_attr(not(feature = "rouille"), doc = "```text")]
//! use rouille::{Request, Response};
//! use session_manager::testing::Browser;
//! use session_manager::{Error, SessionManager};
//! use store_core::MemoryStore;
//!
//! /// The application.
//! fn respond(sessions: &SessionManager, request: &Request) -> Response {
//!     sessions.rouille(request, |session| {
//!         let Some(user) = session.subject() else { return Ok(Response::redirect_303("/login")) };
//!         session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
//!         Ok(Response::text(format!("Hello, {user}")))
//!     })
//! }
//!
//! let sessions = SessionManager::new(MemoryStore::new()?);
//! let mut browser = Browser::new(&sessions).with(|session| session.set_subject("ada"))?;
//! let request = Request::fake_http("GET", "/", browser.headers(), vec![]);
//! let response = respond(&sessions, &request);
//! assert_eq!(browser.receive(&response).session()?.get("visits")?, Some(1));
//! # Ok::<(), Error>(())
//! ```
//!
//! With the `http` crate, the request is `Request::get("/").header("Cookie", browser.cookie())`.

use std::fmt;

use crate::codec::Codec;
use crate::codec::json::Json;
use crate::error::Error;
use crate::manager::SessionManager;
use crate::session::Session;
pub use crate::set_cookies::SetCookies;
use crate::set_cookies::cookies_of_name;

/// A browser as far as the session cookie is concerned: it sends the cookie, and keeps what
/// responses make of it. Its `Debug` output doesn't show the cookie.
///
/// # Examples
/// See the [module](self).
pub struct Browser<'m, C = Json> {
    sessions: &'m SessionManager<C>,
    /// Empty if there is no cookie.
    token: String,
}

impl<'m, C: Codec> Browser<'m, C> {
    /// Returns a browser without a cookie.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// use session_manager::testing::Browser;
    ///
    /// assert_eq!(Browser::new(&sessions).cookie(), "");
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn new(sessions: &'m SessionManager<C>) -> Self {
        Self { sessions, token: String::new() }
    }

    /// Changes the session as a request of this browser would: logs in, or puts values into it.
    ///
    /// # Errors
    /// Those of the closure, of [`load`](SessionManager::load) and of
    /// [`finish`](Session::finish).
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// use session_manager::testing::Browser;
    ///
    /// let browser = Browser::new(&sessions).with(|session| {
    ///     session.set_subject("7")?;
    ///     session.insert("cart", ["tea"])
    /// })?;
    /// assert_eq!(browser.session()?.subject().as_deref(), Some("7"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn with(
        mut self,
        change: impl FnOnce(&mut Session<'m, C>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut session = self.session()?;
        change(&mut session)?;
        self.receive(&session.finish()?);
        Ok(self)
    }

    /// Returns the session that the browser's next request has.
    ///
    /// # Errors
    /// Those of [`load`](SessionManager::load).
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// use session_manager::testing::Browser;
    ///
    /// assert!(Browser::new(&sessions).session()?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn session(&self) -> Result<Session<'m, C>, Error> {
        self.sessions.load([&*self.token])
    }

    /// Returns the Cookie header of the browser's next request, which is empty if the browser has
    /// no cookie.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// use session_manager::testing::Browser;
    ///
    /// let browser = Browser::new(&sessions).with(|session| session.set_subject("7"))?;
    /// assert!(browser.cookie().starts_with("__Host-session="));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn cookie(&self) -> String {
        match &*self.token {
            "" => String::new(),
            token => format!("{}={token}", self.sessions.cookie_name()),
        }
    }

    /// Returns the same in a list of headers, to which others can be added, as
    /// `rouille::Request::fake_http` takes it.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// use session_manager::testing::Browser;
    ///
    /// let browser = Browser::new(&sessions).with(|session| session.set_subject("7"))?;
    /// assert_eq!(browser.headers(), [("Cookie".to_owned(), browser.cookie())]);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        vec![("Cookie".to_owned(), self.cookie())]
    }

    /// Keeps the cookie that a response sets, or drops the one that it takes away.
    ///
    /// # Examples
    /// For a framework without an adapter:
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// use session_manager::testing::Browser;
    ///
    /// let mut browser = Browser::new(&sessions);
    /// let mut session = browser.session()?;
    /// session.insert("visits", 1)?;
    /// let finished = session.finish()?;
    /// assert_eq!(browser.receive(&finished).session()?.get("visits")?, Some(1));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn receive<R: SetCookies + ?Sized>(&mut self, response: &R) -> &mut Self {
        if let Some(cookie) = cookies_of_name(response, self.sessions.cookie_name()).last() {
            // Empty if the cookie is taken away.
            cookie.value().clone_into(&mut self.token);
        }
        self
    }
}

impl<C> fmt::Debug for Browser<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").field("has_cookie", &!self.token.is_empty()).finish()
    }
}
