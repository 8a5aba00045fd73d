//! The manager: what is the same for all sessions of an application.

pub(crate) mod resolve;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Clock, MAX_SUBJECT_LEN, Store, SystemClock};

use crate::codec::{Codec, Json};
use crate::conflicts::Turns;
use crate::content::{Content, MANAGER, ROTATED, SUBJECT, Values};
use crate::cookie_policy::CookiePolicy;
use crate::error::Error;
use crate::event::{Event, EventKind};
use crate::manager::resolve::{Found, Resolved};
use crate::session::{LATEST, NewToken, Origin, Session, Stored};
use crate::token::{SessionKey, Token, TokensAtRest, digest};

/// Cookies of the session's name that are tried when a request has several.
const MAX_COOKIES: usize = 4;

/// What browsers take off names and values of cookies. They leave other white space on, and take a name that
/// begins with it for an ordinary one, not for one with the prefix `__Host-`.
const COOKIE_SPACE: [char; 2] = [' ', '\t'];

/// Longer names of cookies stand as their hash before a subject in the store.
const MAX_PREFIX_LEN: usize = 64;

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
    pub(crate) codec: C,
    pub(crate) cookie: CookiePolicy,
    pub(crate) lifetime: TimeDelta,
    pub(crate) idle_timeout: Option<TimeDelta>,
    pub(crate) rotation: Option<TimeDelta>,
    pub(crate) kept_values: Arc<[String]>,
    clock: Arc<dyn Clock>,
    pub(crate) turns: Turns,
    tokens_at_rest: TokensAtRest,
    event_hook: Option<EventHook>,
    #[cfg(any(feature = "rouille", feature = "http"))]
    pub(crate) error_responder: crate::adapter::ErrorResponder,
}

impl SessionManager {
    /// A manager of sessions in this store, with the defaults that the other methods name.
    #[doc(alias = "New")]
    pub fn new(store: impl Store + 'static) -> Self {
        Self {
            store: Arc::new(store),
            codec: Json,
            cookie: CookiePolicy::new(),
            lifetime: TimeDelta::hours(24),
            idle_timeout: None,
            rotation: None,
            kept_values: Arc::new([]),
            clock: Arc::new(SystemClock),
            turns: Turns::default(),
            tokens_at_rest: TokensAtRest::Hashed,
            event_hook: None,
            #[cfg(any(feature = "rouille", feature = "http"))]
            error_responder: Arc::new(crate::adapter::ErrorResponse::default_for),
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

    /// How long a session lives at most, however much it is used. Default: 24 hours.
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
    /// The store's expiry is all there is, so another timeout holds for what is written from then on:
    /// after a shorter one was set, a session that is only read lives on until the expiry that it
    /// had, and after a longer one, or none, it may end at that. To have a shorter timeout hold at
    /// once, end the sessions: [`for_each`](Self::for_each) and [`destroy`](Self::destroy).
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a timeout of zero, or of more than 100 years.
    #[doc(alias = "IdleTimeout")]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Result<Self, Error> {
        self.idle_timeout = Some(time_delta("idle timeout", timeout)?);
        Ok(self)
    }

    /// Gives a session a new token by itself, once the token is this old: OWASP's renewal timeout.
    /// Default: never.
    ///
    /// Such a rotation changes no rights, so the old token opens the session for 30 seconds more, and
    /// requests that are under way with it go on: they read and write the session, and leave the
    /// browser's cookie alone. Only a change of rights ([`Session::renew`], [`Session::set_subject`],
    /// [`Session::clear_subject`]) has to come with the new token, or it fails with
    /// [`Error::Superseded`].
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
    pub fn with_rotation(mut self, every: Duration) -> Result<Self, Error> {
        self.rotation = Some(time_delta("rotation", every)?);
        Ok(self)
    }

    /// Names values that stay when a session passes from one user to another
    /// ([`Session::set_subject`]) or its login is cleared: those that belong to the browser and not
    /// to the user. Default: none.
    ///
    /// # Examples
    /// ```
    /// use session_manager::SessionManager;
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?).with_kept_values(["language", "theme"]);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn with_kept_values<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.kept_values = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Keeps the tokens themselves in the store instead of their hashes: for a table that is shared with a Go
    /// program that doesn't hash them. Whoever can read the table, or a copy of it, can then take over every
    /// session. Default: hashed, together with the name of the cookie.
    ///
    /// A Go program doesn't say which manager a session is of, so managers with different cookies
    /// take each other's tokens where Go has written the session, and the hash that a Go program with
    /// `HashTokenInStore` has written opens its session as a cookie: give each a table of its own.
    /// Sessions that a manager has written are told apart, and the keys of one with hashed tokens
    /// never open anything as a cookie.
    #[must_use]
    pub fn with_plain_tokens_in_store(mut self) -> Self {
        self.tokens_at_rest = TokensAtRest::Plain;
        self
    }

    /// Keeps the hashes in the store that SCS has with `HashTokenInStore`: for a table that is shared
    /// with such a Go program. They don't depend on the name of the cookie; see
    /// [`with_plain_tokens_in_store`](Self::with_plain_tokens_in_store) for what that means for
    /// several managers.
    #[doc(alias = "HashTokenInStore")]
    #[must_use]
    pub fn with_scs_hashed_tokens_in_store(mut self) -> Self {
        self.tokens_at_rest = TokensAtRest::ScsHashed;
        self
    }

    /// The form of the sessions' bytes. Default: [`Json`].
    #[doc(alias = "Codec")]
    pub fn with_codec<D: Codec>(self, codec: D) -> SessionManager<D> {
        SessionManager {
            store: self.store,
            codec,
            cookie: self.cookie,
            lifetime: self.lifetime,
            idle_timeout: self.idle_timeout,
            rotation: self.rotation,
            kept_values: self.kept_values,
            clock: self.clock,
            turns: self.turns,
            tokens_at_rest: self.tokens_at_rest,
            event_hook: self.event_hook,
            #[cfg(any(feature = "rouille", feature = "http"))]
            error_responder: self.error_responder,
        }
    }

    /// Calls `hook` for each [`Event`], on the thread of the request. A hook that panics harms
    /// nothing. Default: events go to the `log` crate, undecodable data as a warning, the others as
    /// debug lines.
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
    /// Where there are several of the form of a token, each is tried, four at most, until one names a
    /// session that this manager can go on with. A request without one gets a fresh session, which is
    /// stored once something is put into it. A token that the store doesn't know is never adopted.
    ///
    /// A token that another request, in whatever process, has [renewed](Session::renew) in the last
    /// 30 seconds belongs to a request that was under way meanwhile. It sees an empty session and
    /// leaves the cookie alone. It can log in ([`Session::set_subject`]) or out
    /// ([`Session::destroy`]); other changes end with [`Error::Superseded`]. A token that was rotated
    /// [by itself](Self::with_rotation) opens the session.
    ///
    /// # Errors
    /// [`Error::Store`].
    #[doc(alias = "Load")]
    pub fn load<'a>(
        &self,
        cookie_values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Session<'_, C>, Error> {
        let tokens = cookie_values.into_iter().filter_map(Token::parse).take(MAX_COOKIES);
        let mut tokens = tokens.collect::<Vec<_>>().into_iter();
        let mut is_superseded = false;
        let mut cookies = Vec::new();
        while let Some(token) = tokens.next() {
            let key = self.key(&token);
            match self.resolve(key.clone())? {
                Resolved::Live(Found { key: newest, data, content, expiry }) => {
                    cookies.push(token.clone());
                    let token = (newest == key).then_some(token);
                    // Where another response brings the newest token, the next request is the one to
                    // rotate it.
                    let is_due = token.is_some() && self.is_rotation_due(&content, &data);
                    let stored = Stored { token, key: newest, data, expiry };
                    let mut session = Session::new(self, Origin::Stored(stored), content);
                    (session.cookies, session.untried) = (cookies, tokens.collect());
                    if is_due {
                        let new_token = self.new_token()?;
                        session.new_token = Some(NewToken { old_token_opens: true, ..new_token });
                    }
                    return Ok(session);
                }
                Resolved::Superseded => {
                    is_superseded = true;
                    cookies.push(token);
                }
                Resolved::Unusable => cookies.push(token),
                Resolved::Missing => self.report(EventKind::UnknownToken, &key),
            }
        }
        let origin = if is_superseded { Origin::Superseded } else { Origin::Fresh };
        let mut session = Session::new(self, origin, self.fresh_content());
        session.cookies = cookies;
        Ok(session)
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
        self.tokens_at_rest.key(self.cookie.name(), token)
    }

    /// A new token, after which the old one opens nothing.
    pub(crate) fn new_token(&self) -> Result<NewToken, Error> {
        let token = Token::generate()?;
        let key = self.key(&token);
        Ok(NewToken { token, key, old_token_opens: false })
    }

    /// Whether a session's token is to be rotated by itself.
    fn is_rotation_due(&self, content: &Content, data: &[u8]) -> bool {
        let Some(every) = self.rotation else { return false };
        let rotated = content.values.get(ROTATED, data);
        let rotated = rotated.and_then(|value| self.codec.decode_value(value).ok());
        let rotated = rotated.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        // After a clock went back far nobody knows how old the token is.
        rotated.is_none_or(|rotated| (self.now() - rotated).abs() >= every)
    }

    /// What new sessions are marked with, so that managers that share a table can tell theirs.
    pub(crate) fn mark(&self) -> String {
        format!("{}:{}", self.tokens_at_rest.name(), self.cookie.name())
    }

    /// Whether a session is this manager's. One without a mark was written by a Go program, with
    /// which only managers without hashes of their own share tables.
    pub(crate) fn owns(&self, content: &Content, data: &[u8]) -> bool {
        match content.values.get(MANAGER, data) {
            Some(mark) => {
                self.codec.decode_value::<String>(mark).is_ok_and(|mark| mark == self.mark())
            }
            None => self.tokens_at_rest != TokensAtRest::Hashed,
        }
    }

    /// A subject as the store's index has it: managers with different cookies have different users.
    ///
    /// # Errors
    /// [`Error::Store`] for one that is empty or too long.
    pub(crate) fn subject_in_store(&self, subject: &str) -> Result<String, Error> {
        let name = self.cookie.name();
        let mut in_store = if name.len() > MAX_PREFIX_LEN { digest(name) } else { name.to_owned() };
        // No name of a cookie has a colon in it.
        in_store.push(':');
        let (len, max) = (subject.len(), MAX_SUBJECT_LEN - in_store.len());
        if subject.is_empty() || len > max {
            return Err(store_core::Error::InvalidSubject { len, max }.into());
        }
        in_store.push_str(subject);
        Ok(in_store)
    }

    /// The subject of a session, for the store's index. What isn't a subject wasn't written by this crate.
    pub(crate) fn subject_of(&self, content: &Content, data: &[u8]) -> Option<String> {
        let subject = self.codec.decode_value::<String>(content.values.get(SUBJECT, data)?);
        self.subject_in_store(&subject.ok()?).ok()
    }

    pub(crate) fn fresh_deadline(&self) -> DateTime<Utc> {
        let deadline = self.now().checked_add_signed(self.lifetime);
        deadline.map_or(LATEST, |deadline| deadline.min(LATEST))
    }

    pub(crate) fn fresh_content(&self) -> Content {
        Content { deadline: self.fresh_deadline(), values: Values::default() }
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
            // What the request has done is done, and its answer must not be lost over it.
            Some(hook) => {
                if catch_unwind(AssertUnwindSafe(|| hook(&event))).is_err() {
                    log::error!("the event hook panicked");
                }
            }
            None if kind == EventKind::Undecodable => {
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
