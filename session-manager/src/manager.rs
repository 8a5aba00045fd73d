//! The manager: what is the same for all sessions of an application.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Clock, Store, SubjectStore, SystemClock};

use crate::codec::{Codec, Json};
use crate::cookie_policy::CookiePolicy;
use crate::error::Error;
use crate::event::{Event, EventKind};
use crate::session::{Session, Stored};
use crate::superseded::Superseded;
use crate::token::{SessionKey, Token, TokensAtRest};
use crate::turns::Turns;

/// Cookies of the session's name that are tried when a request has several.
const MAX_COOKIES: usize = 4;

/// What browsers take off names and values of cookies. They leave other white space on, and take a name that
/// begins with it for an ordinary one, not for one with the prefix `__Host-`.
const COOKIE_SPACE: [char; 2] = [' ', '\t'];

/// Far enough for everybody, and within what all columns but a `TIMESTAMP` of MySQL can hold.
const MAX_LIFETIME: TimeDelta = TimeDelta::days(100 * 365);

type EventHook = Arc<dyn Fn(&Event) + Send + Sync>;

/// Loads sessions from requests and writes them back.
///
/// The defaults are secure: see [`CookiePolicy`], [`with_lifetime`](Self::with_lifetime), and
/// `docs/security.md`. A manager is shared by reference or in an `Arc`. Several, with cookies of different
/// names, can stand side by side.
///
/// # Examples
/// ```
/// use session_manager::{Error, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?);
///
/// // A request without a cookie gets a fresh session.
/// let mut session = sessions.load([])?;
/// session.insert("visits", 1)?;
/// let headers = session.finish()?;
///
/// // The next one brings the cookie back.
/// let cookie = headers.iter().find(|(name, _)| *name == "Set-Cookie").expect("it is new");
/// let token = cookie.1.split(['=', ';']).nth(1).expect("a value");
/// let session = sessions.load([token])?;
/// assert_eq!(session.get("visits")?, Some(1));
/// # Ok::<(), Error>(())
/// ```
pub struct SessionManager<C = Json> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) subjects: Option<Arc<dyn SubjectStore>>,
    pub(crate) codec: C,
    pub(crate) cookie: CookiePolicy,
    pub(crate) lifetime: TimeDelta,
    pub(crate) idle_timeout: Option<TimeDelta>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) superseded: Superseded,
    pub(crate) turns: Turns,
    tokens_at_rest: TokensAtRest,
    event_hook: Option<EventHook>,
    #[cfg(any(feature = "rouille", feature = "http"))]
    pub(crate) error_responder: crate::failure::ErrorResponder,
}

impl SessionManager {
    /// A manager of sessions in this store, with the defaults that the other methods name.
    #[doc(alias = "New")]
    pub fn new(store: impl Store + 'static) -> Self {
        Self::on(Arc::new(store), None)
    }

    /// A manager on a store that also keeps an index of subjects, so that the sessions of a user can be
    /// listed and destroyed: [`Session::set_subject`].
    pub fn with_subjects(store: impl SubjectStore + 'static) -> Self {
        let store: Arc<dyn SubjectStore> = Arc::new(store);
        Self::on(Arc::clone(&store) as Arc<dyn Store>, Some(store))
    }

    fn on(store: Arc<dyn Store>, subjects: Option<Arc<dyn SubjectStore>>) -> Self {
        Self {
            store,
            subjects,
            codec: Json,
            cookie: CookiePolicy::new(),
            lifetime: TimeDelta::hours(24),
            idle_timeout: None,
            clock: Arc::new(SystemClock),
            superseded: Superseded::default(),
            turns: Turns::default(),
            tokens_at_rest: TokensAtRest::Hashed,
            event_hook: None,
            #[cfg(any(feature = "rouille", feature = "http"))]
            error_responder: Arc::new(crate::failure::ErrorResponse::default_for),
        }
    }
}

impl<C: Codec> SessionManager<C> {
    /// The cookie's name and attributes. Default: [`CookiePolicy::new`].
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for values that browsers would refuse, ignore or misread.
    #[doc(alias = "Cookie")]
    pub fn with_cookie(mut self, cookie: CookiePolicy) -> Result<Self, Error> {
        cookie.check()?;
        self.cookie = cookie;
        Ok(self)
    }

    /// How long a session lives at the most, however much it is used. Default: 24 hours.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a lifetime of zero, or of more than 100 years.
    #[doc(alias = "Lifetime")]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Result<Self, Error> {
        self.lifetime = time_delta("lifetime", lifetime)?;
        Ok(self)
    }

    /// Ends a session that was not used for this long. Default: none.
    ///
    /// Each use would have to be written down; to keep reading cheap, the expiry is moved only once a tenth
    /// of the timeout has passed since it was moved last. So a session may end up to a tenth of the timeout
    /// early, and never late.
    ///
    /// The store's expiry is all there is, so another timeout holds for what is written from then on: after a shorter one was
    /// set, a session that is only read lives on until the expiry that it had, and after a longer one, or none, it may end
    /// at that. To have a shorter timeout hold at once, end the sessions: [`for_each`](Self::for_each) and
    /// [`destroy`](Self::destroy).
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a timeout of zero, or of more than 100 years.
    #[doc(alias = "IdleTimeout")]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Result<Self, Error> {
        self.idle_timeout = Some(time_delta("idle timeout", timeout)?);
        Ok(self)
    }

    /// Keeps the tokens themselves in the store instead of their hashes: for a table that is shared with a Go
    /// program that doesn't hash them. Whoever can read the table, or a copy of it, can then take over every
    /// session. Default: hashed, as SCS does with `HashTokenInStore`.
    #[doc(alias = "HashTokenInStore")]
    #[must_use]
    pub fn with_plain_tokens_in_store(mut self) -> Self {
        self.tokens_at_rest = TokensAtRest::Plain;
        self
    }

    /// The form of the sessions' bytes. Default: [`Json`].
    #[doc(alias = "Codec")]
    pub fn with_codec<D: Codec>(self, codec: D) -> SessionManager<D> {
        SessionManager {
            store: self.store,
            subjects: self.subjects,
            codec,
            cookie: self.cookie,
            lifetime: self.lifetime,
            idle_timeout: self.idle_timeout,
            clock: self.clock,
            superseded: self.superseded,
            turns: self.turns,
            tokens_at_rest: self.tokens_at_rest,
            event_hook: self.event_hook,
            #[cfg(any(feature = "rouille", feature = "http"))]
            error_responder: self.error_responder,
        }
    }

    /// Calls `hook` for each [`Event`], on the thread of the request. Default: events go to the `log` crate,
    /// poisoned data as a warning, the others as debug lines.
    #[must_use]
    pub fn with_event_hook(mut self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.event_hook = Some(Arc::new(hook));
        self
    }

    /// The clock by which lifetimes are counted. Default: [`SystemClock`].
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The session of a request, from the values of its cookies of [`cookie_name`](Self::cookie_name).
    ///
    /// Where there are several of the form of a token, each is tried, four at the most. A request without a live session gets a
    /// fresh one, which is stored once something is put into it. A token that the store doesn't know is never
    /// adopted. One that this manager has renewed or destroyed in the last 30 seconds belongs to a request that was on
    /// its way meanwhile: it sees an empty session, writes nothing, and leaves the cookie alone, unless it logs in
    /// ([`Session::set_subject`]) or out ([`Session::destroy`]).
    ///
    /// # Errors
    /// [`Error::Store`].
    #[doc(alias = "Load")]
    pub fn load<'a>(
        &self,
        cookie_values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Session<'_, C>, Error> {
        let mut superseded = Vec::new();
        for token in cookie_values.into_iter().filter_map(Token::parse).take(MAX_COOKIES) {
            let key = self.key(&token);
            match self.store.find_with_expiry(key.as_str())? {
                Some((data, expiry)) => {
                    let stored = Stored { token, key, data, expiry, is_newer: false };
                    return Ok(Session::stored(self, stored, superseded));
                }
                None if self.superseded.contains(&key, self.now()) => {
                    self.report(EventKind::Lost, &key);
                    superseded.push(key);
                }
                None => self.report(EventKind::UnknownToken, &key),
            }
        }
        if superseded.is_empty() {
            return Ok(Session::fresh(self));
        }
        Ok(Session::superseded(self, superseded))
    }

    /// The session of a request, from its Cookie headers. They may be anything: bytes that aren't UTF-8, and
    /// what isn't a cookie, are passed over.
    ///
    /// # Errors
    /// [`Error::Store`].
    ///
    /// # Examples
    /// ```
    /// # use session_manager::{Error, SessionManager};
    /// # let sessions = SessionManager::new(store_core::MemoryStore::new()?);
    /// let session = sessions.load_from_headers([&b"theme=dark; __Host-session=stale"[..]])?;
    /// assert!(session.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn load_from_headers<'a>(
        &self,
        cookie_headers: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Session<'_, C>, Error> {
        // Bytes are split, not text, because another cookie of the header need not be UTF-8.
        let pairs =
            cookie_headers.into_iter().flat_map(|header| header.split(|&byte| byte == b';'));
        self.load(pairs.filter_map(|pair| {
            let pair = str::from_utf8(pair).ok()?;
            let (name, value) = pair.split_once('=')?;
            let name = name.trim_matches(COOKIE_SPACE);
            let value = value.trim_matches(COOKIE_SPACE).trim_matches('"');
            (name == self.cookie.name()).then_some(value)
        }))
    }

    /// The name of the session cookie.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        self.cookie.name()
    }

    pub(crate) fn key(&self, token: &Token) -> SessionKey {
        self.tokens_at_rest.key(token)
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// When a session with this deadline expires if it is used now.
    pub(crate) fn expiry(&self, deadline: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let idle = self.idle_timeout.and_then(|timeout| now.checked_add_signed(timeout));
        idle.map_or(deadline, |idle| idle.min(deadline))
    }

    pub(crate) fn report(&self, kind: EventKind, key: &SessionKey) {
        let event = Event::new(kind, key.fingerprint());
        match &self.event_hook {
            Some(hook) => hook(&event),
            None if kind == EventKind::Poisoned => {
                log::warn!("session {}: its data can't be decoded", event.session);
            }
            None => log::debug!("session {}: {kind:?}", event.session),
        }
    }
}

fn time_delta(option: &'static str, time: Duration) -> Result<TimeDelta, Error> {
    match TimeDelta::from_std(time) {
        Ok(delta) if delta > TimeDelta::zero() && delta <= MAX_LIFETIME => Ok(delta),
        _ => {
            let problem = "it must be longer than zero and at most 100 years".to_owned();
            Err(Error::InvalidOption { option, problem })
        }
    }
}

impl<C: fmt::Debug> fmt::Debug for SessionManager<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionManager")
            .field("codec", &self.codec)
            .field("cookie", &self.cookie)
            .field("lifetime", &self.lifetime)
            .field("idle_timeout", &self.idle_timeout)
            .field("tokens_at_rest", &self.tokens_at_rest)
            .finish_non_exhaustive()
    }
}
