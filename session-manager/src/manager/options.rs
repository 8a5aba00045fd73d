//! The manager's options.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use store_core::Clock;
#[cfg(doc)]
use store_core::SystemClock;

use crate::codec::Codec;
#[cfg(doc)]
use crate::codec::json::Json;
use crate::cookie_policy::CookiePolicy;
use crate::error::Error;
use crate::error_response::ErrorResponse;
use crate::event::Event;
#[cfg(doc)]
use crate::event::EventKind;
use crate::lifetimes;
use crate::manager::SessionManager;
use crate::request_head::RequestHead;
#[cfg(doc)]
use crate::session::Session;
use crate::session_limit::SessionLimit;
use crate::token::TokensAtRest;

impl<C: Codec> SessionManager<C> {
    /// Sets the cookie's name and attributes. Default: [`CookiePolicy::new`].
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for values that browsers would refuse, ignore or misread.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{CookiePolicy, Error, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let policy = CookiePolicy::new().with_name("__Host-shop").persistent();
    /// let sessions = SessionManager::new(MemoryStore::new()?).with_cookie(policy)?;
    ///
    /// // Browsers would drop a `__Host-` cookie with a domain, so this is an error.
    /// let policy = CookiePolicy::new().with_domain("example.org");
    /// assert!(matches!(sessions.with_cookie(policy), Err(Error::InvalidOption { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Cookie")]
    pub fn with_cookie(mut self, cookie: CookiePolicy) -> Result<Self, Error> {
        cookie.check()?;
        #[cfg(feature = "dbsc")]
        if let Some(policy) = &self.binding_policy {
            policy.check(&cookie)?;
        }
        self.cookie = cookie;
        Ok(self)
    }

    /// Sets how long a session lives at most, however much it is used. Default: 24 hours.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a lifetime of zero, or of more than 100 years.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// // A day at the office.
    /// let sessions = SessionManager::new(MemoryStore::new()?)
    ///     .with_lifetime(Duration::from_secs(8 * 60 * 60))?;
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Lifetime")]
    #[doc(alias = "absolute_timeout")]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Result<Self, Error> {
        self.lifetimes.lifetime = lifetimes::check("lifetime", lifetime)?;
        Ok(self)
    }

    /// Ends a session that was not used for this long. Default: none.
    ///
    /// To keep reading cheap, not every use is written down: the expiry is moved only once a tenth
    /// of the timeout has passed since it was moved last. So a session may end up to a tenth of the
    /// timeout early, and never late.
    ///
    /// Only the store's expiry counts, so a new timeout holds for what is written from then on:
    /// after a shorter one was set, a session that is only read lives on until the expiry that it
    /// had, and after a longer one, or none, it may end at that expiry. To make a shorter timeout
    /// hold at once, end the sessions: [`for_each`](Self::for_each) and [`destroy`](Self::destroy).
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a timeout of zero, or of more than 100 years.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?)
    ///     .with_idle_timeout(Duration::from_secs(30 * 60))?;
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "IdleTimeout")]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Result<Self, Error> {
        self.lifetimes.idle_timeout = Some(lifetimes::check("idle timeout", timeout)?);
        Ok(self)
    }

    /// Gives a session a new token automatically, once its token is this old: OWASP's renewal
    /// timeout. Default: never.
    ///
    /// Such a rotation changes no rights, so the old token opens the session for 30 seconds more,
    /// and requests that are under way with it go on: they read and write the session, and leave
    /// the browser's cookie alone. Only a change of rights ([`Session::renew`],
    /// [`Session::set_subject`], [`Session::clear_subject`]) has to come with the new token, or it
    /// fails with [`Error::Superseded`].
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a time of zero, or of more than 100 years.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?)
    ///     .with_rotation(Duration::from_secs(15 * 60))?;
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "renewal_timeout")]
    pub fn with_rotation(mut self, every: Duration) -> Result<Self, Error> {
        self.lifetimes.rotation = Some(lifetimes::check("rotation", every)?);
        Ok(self)
    }

    /// Limits how many sessions of one user there are at the same time. Default: no limit.
    ///
    /// It is kept in the same atomic step as the login, in any number of processes that have it. A
    /// login reads the user's sessions before it writes. A limit that is lowered, or new, holds for
    /// a user from the next login on; sessions that a Go program begins have no user here, and
    /// aren't counted.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a limit of zero.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Error, SessionLimit, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions =
    ///     SessionManager::new(MemoryStore::new()?).with_session_limit(SessionLimit::Refuse(1))?;
    /// let mut phone = sessions.load([])?;
    /// phone.set_subject("7")?;
    /// phone.finish()?;
    /// let mut laptop = sessions.load([])?;
    /// assert!(matches!(laptop.set_subject("7"), Err(Error::TooManySessions { max: 1 })));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "maximum_sessions")]
    #[doc(alias = "concurrent")]
    pub fn with_session_limit(mut self, limit: SessionLimit) -> Result<Self, Error> {
        if limit.max() == 0 {
            let problem = "nobody could log in".to_owned();
            return Err(Error::InvalidOption { option: "session limit", problem });
        }
        self.session_limit = Some(limit);
        Ok(self)
    }

    /// Names the values that stay when a session passes from one user to another
    /// ([`Session::set_subject`]) or its login is cleared ([`Session::clear_subject`]): those that
    /// belong to the browser and not to the user. Default: none.
    ///
    /// # Examples
    /// ```
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// let sessions =
    ///     SessionManager::new(MemoryStore::new()?).with_kept_values(["language", "theme"]);
    /// let mut session = sessions.load([])?;
    /// session.set_subject("ada")?;
    /// session.insert("language", "fr")?;
    /// session.insert("cart", ["tea"])?;
    ///
    /// session.set_subject("grace")?;
    /// assert_eq!(session.keys().collect::<Vec<_>>(), ["language"]);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn with_kept_values<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.kept_values = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Makes a value of another type than the application asks for an error,
    /// [`Error::WrongType`]. Default: it is reported as [`EventKind::WrongType`], and counts as
    /// absent.
    ///
    /// When a new version of the application changes the type of a value, sessions still have the
    /// old one. With strict types each request that reads it fails until the session ends.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Error, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// let mut session = sessions.load([])?;
    /// session.insert("theme", "dark")?;
    /// assert_eq!(session.get::<u32>("theme")?, None);
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?).with_strict_types();
    /// let mut session = sessions.load([])?;
    /// session.insert("theme", "dark")?;
    /// assert!(matches!(session.get::<u32>("theme"), Err(Error::WrongType { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn with_strict_types(mut self) -> Self {
        self.has_strict_types = true;
        self
    }

    /// Keeps the tokens themselves in the store instead of their hashes: for a table that is shared
    /// with a Go program that doesn't hash them. Anyone who can read the table, or a copy of it,
    /// can then take over every session. Default: hashed, together with the name of the cookie.
    ///
    /// A Go program doesn't say which manager a session belongs to. So managers with different
    /// cookies accept each other's tokens for sessions that Go has written, and the hash that a Go
    /// program with `HashTokenInStore` has written opens its session as a cookie: give each manager
    /// its own table. Sessions that a manager has written are told apart, and the keys of one with
    /// hashed tokens never open anything as a cookie.
    ///
    /// # Examples
    /// ```
    /// use session_manager::SessionManager;
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = std::sync::Arc::new(MemoryStore::new()?);
    /// let sessions = SessionManager::new(store.clone()).with_plain_tokens_in_store();
    /// let mut session = sessions.load([])?;
    /// session.insert("visits", 1)?;
    /// let headers = session.finish()?.headers;
    ///
    /// for (key, _) in store.all()? {
    ///     assert!(headers[0].1.contains(&key), "the cookie has what the store has");
    /// }
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn with_plain_tokens_in_store(mut self) -> Self {
        self.tokens_at_rest = TokensAtRest::Plain;
        self.takes_plain_tokens = false;
        self
    }

    /// Keeps the hashes in the store that SCS makes with `HashTokenInStore`: for a table that is
    /// shared with such a Go program. They don't depend on the name of the cookie; see
    /// [`with_plain_tokens_in_store`](Self::with_plain_tokens_in_store) for what that means for
    /// several managers, and the [guide](crate::guide::from_scs) for the rest of the set-up.
    ///
    /// # Examples
    /// ```
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?).with_scs_hashed_tokens_in_store();
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "HashTokenInStore")]
    #[must_use]
    pub fn with_scs_hashed_tokens_in_store(mut self) -> Self {
        self.tokens_at_rest = TokensAtRest::ScsHashed;
        self.takes_plain_tokens = false;
        self
    }

    /// Keeps hashes of the tokens in the store, as by default, and goes on with sessions that are
    /// there under the tokens themselves: for a table of a Go program that doesn't hash them, or of
    /// a manager [`with_plain_tokens_in_store`](Self::with_plain_tokens_in_store). Nobody is logged
    /// out.
    ///
    /// A token that the store doesn't have under its hash is looked up as it is, by one more read.
    /// The first request with it, even one that only reads, moves the session under the hash; the
    /// browser keeps its cookie. Once a lifetime has passed, the option has nothing left to do.
    ///
    /// Programs that know only plain tokens don't find a session that was moved: switch all
    /// processes over together. The key of a hashed session opens nothing as a cookie, because
    /// sessions say by which kind of manager they were written. Those that Go writes don't: so this
    /// isn't for a table in which a Go program keeps hashes (`HashTokenInStore`).
    ///
    /// # Examples
    /// ```
    /// use session_manager::SessionManager;
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store = std::sync::Arc::new(MemoryStore::new()?);
    /// let before = SessionManager::new(store.clone()).with_plain_tokens_in_store();
    /// let mut session = before.load([])?;
    /// session.insert("visits", 1)?;
    /// let finished = session.finish()?;
    /// let token = finished.headers[0].1.split(['=', ';']).nth(1).expect("a value");
    ///
    /// let after = SessionManager::new(store.clone()).with_hashed_tokens_and_plain_fallback();
    /// let session = after.load([token])?;
    /// assert_eq!(session.get("visits")?, Some(1));
    /// session.finish()?;
    /// assert_eq!(store.find(token)?, None, "the store has the hash alone by now");
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn with_hashed_tokens_and_plain_fallback(mut self) -> Self {
        self.tokens_at_rest = TokensAtRest::Hashed;
        self.takes_plain_tokens = true;
        self
    }

    /// Sets the format of the sessions' bytes. Default: [`Json`].
    ///
    /// Sessions that the store has in another format can't be read anymore. `Sealed` (feature
    /// `sealed`) encrypts what another codec writes, and can be turned on while there are sessions.
    ///
    /// # Examples
    #[cfg_attr(feature = "messagepack", doc = "```")]
    #[cfg_attr(not(feature = "messagepack"), doc = "```text")]
    /// use session_manager::{MessagePack, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// // Smaller data; bytes aren't lists of numbers. With the feature `messagepack`.
    /// let sessions = SessionManager::new(MemoryStore::new()?).with_codec(MessagePack);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Codec")]
    pub fn with_codec<D: Codec>(self, codec: D) -> SessionManager<D> {
        SessionManager {
            store: self.store,
            codec,
            cookie: self.cookie,
            lifetimes: self.lifetimes,
            kept_values: self.kept_values,
            conflict_locks: self.conflict_locks,
            session_limit: self.session_limit,
            reported_tokens: self.reported_tokens,
            clock: self.clock,
            tokens_at_rest: self.tokens_at_rest,
            #[cfg(feature = "sealed")]
            subject_key: self.subject_key,
            takes_plain_tokens: self.takes_plain_tokens,
            has_strict_types: self.has_strict_types,
            removes_dead_cookies: self.removes_dead_cookies,
            #[cfg(feature = "dbsc")]
            binding_policy: self.binding_policy,
            event_hook: self.event_hook,
            origin_check: self.origin_check,
            error_responder: self.error_responder,
        }
    }

    /// Has browsers forget cookies that name nothing: those of sessions that have ended elsewhere
    /// or expired, and of any other form. A session from which a request removes the last value
    /// ends, unless somebody is logged in or has a form of it open. Default: they stay until they
    /// are replaced, and so do empty sessions until they expire.
    ///
    /// Browsers can't be told to remove a cookie only if it still has a certain value, and
    /// responses overtake each other. So a visitor who logs in while another page of theirs is
    /// being loaded with the dead cookie may have to log in again: the session is stored, and the
    /// cookie gone. The same is true of what a request puts into a session that another one is
    /// emptying.
    ///
    /// # Examples
    /// ```
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?).with_dead_cookies_removed();
    /// let session = sessions.load(["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])?;
    /// let headers = session.finish()?.headers;
    /// assert!(headers[0].1.contains("Max-Age=0"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn with_dead_cookies_removed(mut self) -> Self {
        self.removes_dead_cookies = true;
        self
    }

    /// Calls `hook` for each [`Event`], on the thread of the request. A hook that panics harms
    /// nothing. Default: events go to the `log` crate, undecodable data and values of another type
    /// as warnings, the others as debug lines.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use session_manager::{EventKind, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let unknown_tokens = Arc::new(AtomicU64::new(0));
    /// let counter = Arc::clone(&unknown_tokens);
    /// let sessions = SessionManager::new(MemoryStore::new()?).with_event_hook(move |event| {
    ///     if event.kind == EventKind::UnknownToken {
    ///         counter.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// });
    /// sessions.load(["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])?;
    /// assert_eq!(unknown_tokens.load(Ordering::Relaxed), 1);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn with_event_hook(mut self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.event_hook = Some(Arc::new(hook));
        self
    }

    /// Sets the clock by which lifetimes are counted. Default: the one by which the store decides
    /// what is live, [`Store::now`](store_core::Store::now), so that the two never differ.
    ///
    /// # Examples
    /// A test needn't wait for a session to end:
    /// ```
    /// use std::sync::Arc;
    /// use chrono::{TimeDelta, Utc};
    /// use session_manager::SessionManager;
    /// use store_core::{ManualClock, MemoryOptions};
    ///
    /// let clock = Arc::new(ManualClock::new(Utc::now()));
    /// let store = MemoryOptions::new().with_clock(clock.clone()).build()?;
    /// let sessions = SessionManager::new(store).with_clock(clock.clone());
    /// let mut session = sessions.load([])?;
    /// session.set_subject("7")?;
    /// session.finish()?;
    ///
    /// clock.advance(TimeDelta::hours(24));
    /// assert!(sessions.sessions_of("7")?.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets how the adapters answer requests whose handler or session failed. It gets the error and
    /// the request. Default: [`ErrorResponse::default_for`].
    ///
    /// # Examples
    /// JSON for a script, and a page for a person:
    /// ```
    /// use session_manager::{ErrorResponse, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// let sessions = sessions.with_error_responder(|error, request| {
    ///     let mut response = ErrorResponse::default_for(error);
    ///     if request.header("Accept") == Some("application/json") {
    ///         response.content_type = "application/json";
    ///         response.body = format!(r#"{{"status":{}}}"#, response.status);
    ///     } else {
    ///         response.content_type = "text/html; charset=utf-8";
    ///         response.body = format!("<h1>Sorry</h1><p>Error {}.</p>", response.status);
    ///     }
    ///     response
    /// });
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "ErrorFunc")]
    #[must_use]
    pub fn with_error_responder(
        mut self,
        responder: impl Fn(&(dyn StdError + 'static), &RequestHead<'_>) -> ErrorResponse
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.error_responder = Arc::new(responder);
        self
    }
}
