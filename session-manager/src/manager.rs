//! The manager: what is the same for all sessions of an application.

mod options;

pub(crate) mod load;

pub(crate) mod resolve;

mod stored_sessions;

#[cfg(feature = "dbsc")]
mod bound_sessions;

#[cfg(feature = "sealed")]
mod hashed_subjects;

use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use store_core::{Clock, OwnedRecord, Store};

use crate::codec::json::Json;
#[cfg(feature = "sealed")]
use crate::codec::sealed::key::SecretKey;
use crate::codec::{Codec, CodecError, OpenError, Row, unless_same};
use crate::conflicts::StripedLocks;
use crate::content::Content;
use crate::content::metadata::Metadata;
use crate::content::reserved::MANAGER;
use crate::content::values::Values;
use crate::cookie_policy::CookiePolicy;
use crate::cross_origin::OriginCheck;
#[cfg(feature = "dbsc")]
use crate::device_bound::binding_policy::BindingPolicy;
use crate::error::Error;
use crate::error_response::{ErrorResponder, ErrorResponse};
use crate::event::{Event, EventKind};
use crate::lifetimes::Lifetimes;
use crate::reported_tokens::ReportedTokens;
use crate::request_head::RequestHead;
use crate::session_key::SessionKey;
use crate::session_limit::SessionLimit;
#[cfg(feature = "sealed")]
use crate::subject::hashed_subject_in_store;
use crate::subject::subject_in_store;
use crate::token::{NewToken, Token, TokensAtRest};

type EventHook = Arc<dyn Fn(&Event) + Send + Sync>;

/// Loads sessions from requests and writes them back.
///
/// The defaults are secure: see [`CookiePolicy`], [`with_lifetime`](Self::with_lifetime) and the
/// [security guide](crate::guide::security). A manager is shared by reference or in an `Arc`.
/// Several, with cookies of different names, can be used side by side.
///
/// # Examples
/// ```
/// use session_manager::testing::Browser;
/// use session_manager::{Error, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?);
///
/// // A request without a cookie gets a fresh session.
/// let mut session = sessions.load([])?;
/// session.insert("visits", 1)?;
/// let finished = session.finish()?; // its headers go into the response
///
/// // The next one brings the cookie back.
/// let session = Browser::new(&sessions).receive(&finished).session()?;
/// assert_eq!(session.get("visits")?, Some(1));
/// # Ok::<(), Error>(())
/// ```
pub struct SessionManager<C = Json> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) codec: C,
    pub(crate) cookie: CookiePolicy,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) kept_values: Arc<[String]>,
    pub(crate) conflict_locks: StripedLocks,
    pub(crate) session_limit: Option<SessionLimit>,
    pub(crate) reported_tokens: ReportedTokens,
    /// None for that of the store.
    clock: Option<Arc<dyn Clock>>,
    tokens_at_rest: TokensAtRest,
    /// The key of the hashes that the store's index has of subjects, if it has hashes.
    #[cfg(feature = "sealed")]
    subject_key: Option<SecretKey>,
    /// Tokens are hashed, and sessions that are still under their plain ones are found, too.
    pub(crate) takes_plain_tokens: bool,
    pub(crate) has_strict_types: bool,
    /// Also cookies of sessions that have become empty, which end.
    pub(crate) removes_dead_cookies: bool,
    /// None if sessions aren't bound to devices.
    #[cfg(feature = "dbsc")]
    pub(crate) binding_policy: Option<Arc<BindingPolicy>>,
    event_hook: Option<EventHook>,
    pub(crate) origin_check: OriginCheck,
    error_responder: ErrorResponder,
}

impl SessionManager {
    /// Returns a manager of the sessions in this store, with the defaults that the other methods
    /// name.
    ///
    /// # Examples
    /// Any store will do, also one in an `Arc`, which several managers share:
    /// ```
    /// use std::sync::Arc;
    /// use session_manager::{CookiePolicy, SessionManager};
    /// use store_core::{MemoryStore, Store};
    ///
    /// let store: Arc<dyn Store> = Arc::new(MemoryStore::new()?);
    /// let shop = SessionManager::new(Arc::clone(&store));
    /// let office = SessionManager::new(store)
    ///     .with_cookie(CookiePolicy::new().with_name("__Host-office"))?;
    /// assert_ne!(shop.cookie_name(), office.cookie_name());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "New")]
    pub fn new(store: impl Store + 'static) -> Self {
        Self {
            store: Arc::new(store),
            codec: Json,
            cookie: CookiePolicy::new(),
            lifetimes: Lifetimes::DEFAULT,
            kept_values: Arc::new([]),
            conflict_locks: StripedLocks::default(),
            session_limit: None,
            reported_tokens: ReportedTokens::default(),
            clock: None,
            tokens_at_rest: TokensAtRest::Hashed,
            #[cfg(feature = "sealed")]
            subject_key: None,
            takes_plain_tokens: false,
            has_strict_types: false,
            removes_dead_cookies: false,
            #[cfg(feature = "dbsc")]
            binding_policy: None,
            event_hook: None,
            origin_check: OriginCheck::Trusting(Vec::new()),
            error_responder: Arc::new(|error, _| ErrorResponse::default_for(error)),
        }
    }
}

impl<C> SessionManager<C> {
    /// Returns the name of the session cookie.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// assert_eq!(sessions.cookie_name(), "__Host-session");
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        self.cookie.name()
    }

    /// Returns the response to a request that failed: the [error
    /// responder's](Self::with_error_responder). The adapters send it by themselves.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::RequestHead;
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let request = RequestHead::new("GET", "/cart", |_| None);
    /// if let Err(error) = sessions.load([]) {
    ///     let response = sessions.error_response(&error, &request);
    ///     println!("{} {:?} {}", response.status, response.headers(), response.body);
    /// }
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn error_response(
        &self,
        error: &(dyn StdError + 'static),
        request: &RequestHead<'_>,
    ) -> ErrorResponse {
        (self.error_responder)(error, request)
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.as_ref().map_or_else(|| self.store.now(), |clock| clock.now())
    }

    pub(crate) fn fresh_deadline(&self) -> DateTime<Utc> {
        self.lifetimes.fresh_deadline(self.now())
    }

    pub(crate) fn fresh_content(&self) -> Content {
        Content { deadline: self.fresh_deadline(), values: Values::default(), is_another: false }
    }

    pub(crate) fn key(&self, token: &Token) -> SessionKey {
        self.tokens_at_rest.key(self.cookie.name(), token)
    }

    /// Returns the key of a session that is still under its plain token, if those are taken.
    pub(crate) fn plain_key(&self, token: &Token) -> Option<SessionKey> {
        self.takes_plain_tokens.then(|| TokensAtRest::Plain.key(self.cookie.name(), token))
    }

    /// Returns a new token, after which the old one opens nothing.
    pub(crate) fn new_token(&self) -> Result<NewToken, Error> {
        let token = Token::generate()?;
        let key = self.key(&token);
        Ok(NewToken { token, key, old_token_opens: false })
    }

    /// Returns what sessions are marked with, so that managers that share a table can tell theirs.
    pub(crate) fn mark(&self) -> String {
        format!("{}:{}", self.tokens_at_rest.name(), self.cookie.name())
    }

    /// Returns a subject as the store's index has it: managers with different cookies have
    /// different users.
    ///
    /// # Errors
    /// [`Error::Store`] for one that is empty or too long.
    pub(crate) fn subject_in_store(&self, subject: &str) -> Result<String, Error> {
        let name = self.cookie.name();
        #[cfg(feature = "sealed")]
        if let Some(key) = &self.subject_key {
            return Ok(hashed_subject_in_store(name, subject, key)?);
        }
        Ok(subject_in_store(name, subject)?)
    }

    /// Reports what has happened to a session of which nothing but a key is known.
    pub(crate) fn report(&self, kind: EventKind, key: &SessionKey) {
        self.report_event(&Event::new(kind, key.first_id()));
    }

    pub(crate) fn report_event(&self, event: &Event) {
        match &self.event_hook {
            // What the request has done is done, and a panic of the hook must not lose its
            // response.
            Some(hook) => {
                if catch_unwind(AssertUnwindSafe(|| hook(event))).is_err() {
                    log::error!("the event hook panicked");
                }
            }
            None => match &event.kind {
                EventKind::Undecodable => {
                    log::warn!("session {}: its data can't be decoded", event.session);
                }
                EventKind::Unopened(unopened) => {
                    log::warn!("session {}: it can't be opened: {unopened}", event.session);
                }
                EventKind::WrongType { key, expected } => {
                    log::warn!(
                        "session {}: its value {key:?} is not of type {expected}",
                        event.session
                    );
                }
                kind => log::debug!("session {}: {kind:?}", event.session),
            },
        }
    }
}

impl<C: Codec> SessionManager<C> {
    /// Opens and decodes what the store has under a key.
    pub(crate) fn read(&self, key: &SessionKey, data: &[u8]) -> Result<Content, OpenError> {
        let opened = self.codec.open(&self.row(key), data)?;
        let decoded = self.codec.decode(&opened);
        let decoded = decoded.map_err(|CodecError| OpenError::Unreadable)?;
        Ok(Content::from_decoded(decoded, unless_same(opened, data)))
    }

    /// Returns what the store gets under a key, for a session that is encoded.
    pub(crate) fn seal(&self, key: &SessionKey, encoded: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.codec.seal(&self.row(key), encoded)
    }

    pub(crate) fn row<'a>(&'a self, key: &'a SessionKey) -> Row<'a> {
        Row::new(self.cookie.name(), key.as_str())
    }

    /// Returns whether a session is this manager's. One without a mark was written by a Go program,
    /// with which only managers without hashes of their own share tables.
    pub(crate) fn owns(&self, content: &Content, data: &[u8]) -> bool {
        let is_taken = self.takes_plain_tokens && self.is_plain(content, data);
        is_taken || self.is_marked(content, data, self.tokens_at_rest)
    }

    /// Returns whether a session is of the kind whose key is the token itself.
    pub(crate) fn is_plain(&self, content: &Content, data: &[u8]) -> bool {
        self.is_marked(content, data, TokensAtRest::Plain)
    }

    fn is_marked(&self, content: &Content, data: &[u8], tokens_at_rest: TokensAtRest) -> bool {
        let Some(mark) = content.values.get(MANAGER, data) else {
            return tokens_at_rest != TokensAtRest::Hashed;
        };
        let Ok(mark) = self.codec.decode_value::<String>(mark) else { return false };
        mark.split_once(':') == Some((tokens_at_rest.name(), self.cookie.name()))
    }

    /// Returns the subject of a session, for the store's index.
    pub(crate) fn subject_of(&self, content: &Content, data: &[u8]) -> Option<String> {
        let subject = content.metadata(&self.codec, data).subject();
        self.subject_in_store(&subject?).ok()
    }

    /// Reports what has happened to a session.
    pub(crate) fn report_session(
        &self,
        kind: EventKind,
        key: &SessionKey,
        session: &Metadata<'_, C>,
    ) {
        self.report_event(&session.event(kind, key));
    }

    /// Returns what can be told of a session that the store has with this data.
    pub(crate) fn event_of_stored(&self, kind: EventKind, key: &SessionKey, data: &[u8]) -> Event {
        match self.read(key, data) {
            Ok(content) => content.metadata(&self.codec, data).event(kind, key),
            Err(_) => Event::new(kind, key.first_id()),
        }
    }

    /// Returns when the user of a stored session logged in, as far as that is known. What can't be
    /// told is the oldest, but what only others can tell yet is the newest.
    pub(crate) fn login_time(&self, record: &OwnedRecord) -> Option<DateTime<Utc>> {
        match self.read(&SessionKey::from_store(&record.token), &record.data) {
            Ok(content) => content.metadata(&self.codec, &record.data).login(),
            Err(OpenError::Unreadable) => None,
            Err(OpenError::Unopened(_)) => Some(DateTime::<Utc>::MAX_UTC),
        }
    }

    /// Encodes the time of something that happens to a session, in seconds since 1970.
    pub(crate) fn encode_time(&self, key: &str, time: DateTime<Utc>) -> Result<Arc<[u8]>, Error> {
        let encoded = self.codec.encode_value(&time.timestamp());
        encoded.map(Arc::from).map_err(|_| Error::unencodable::<i64>(key))
    }
}

impl<C: fmt::Debug> fmt::Debug for SessionManager<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionManager")
            .field("codec", &self.codec)
            .field("cookie", &self.cookie)
            .field("lifetime", &self.lifetimes.lifetime)
            .field("idle_timeout", &self.lifetimes.idle_timeout)
            .field("session_limit", &self.session_limit)
            .field("tokens_at_rest", &self.tokens_at_rest)
            .finish_non_exhaustive()
    }
}
