//! The session of one request.

mod room;

pub(crate) mod origin;

mod typed_values;

mod lifetime;

mod device;

#[cfg(feature = "dbsc")]
mod binding;

mod login;

mod form;

mod merge;

pub(crate) mod finish;

mod write;

mod reload;

pub(crate) mod headers;

use std::cell::Cell;
use std::fmt;

use crate::codec::Codec;
use crate::codec::json::Json;
use crate::content::edit::Edit;
use crate::content::metadata::Metadata;
use crate::content::typed::TypedReader;
use crate::content::{Content, Merged};
use crate::error::Error;
use crate::manager::SessionManager;
use crate::manager::resolve::LiveSession;
use crate::sent_device_cookies::SentDeviceCookies;
use crate::session::origin::{Origin, SentTokens, Snapshot};
use crate::session_id::SessionId;
use crate::token::NewToken;

/// The session of one request.
///
/// Only [`destroy`](Self::destroy) reaches the store before [`finish`](Self::finish), which then
/// writes everything in one atomic step, except for what [`destroy_others`](Self::destroy_others)
/// does to other sessions. A session that is dropped, for example by a panic of the handler,
/// changes nothing. Values are typed through serde.
///
/// Requests of one session may run at the same time. Each sees the session as it was when it was
/// loaded, with its own changes; when it finishes, these are applied to the newest data, so two
/// requests that change different values both win. If the new value depends on the old one, use
/// [`update`](Self::update).
///
/// # Examples
/// ```
/// use session_manager::{Error, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?);
/// let mut session = sessions.load([])?;
/// session.insert("user_id", 7)?;
/// session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
/// assert_eq!(session.get("user_id")?, Some(7));
/// assert_eq!(session.get::<String>("cart")?, None);
/// # Ok::<(), Error>(())
/// ```
pub struct Session<'m, C = Json> {
    manager: &'m SessionManager<C>,
    origin: Origin,
    /// The content with this request's edits.
    content: Content,
    /// The application has asked something of the session, so the response may depend on the
    /// cookie.
    was_read: Cell<bool>,
    edits: Vec<Edit<C>>,
    new_token: Option<NewToken>,
    sent_tokens: SentTokens,
    /// The application has destroyed the session.
    is_destroyed: bool,
    /// The browser has a cookie that names nothing anymore.
    pub(crate) removes_cookie: bool,
    /// The sessions that end in the step that writes this one.
    merged: Vec<Merged>,
    /// The subject whose other sessions end.
    destroys_others: Option<String>,
    /// The request isn't a use of the session.
    is_no_use: bool,
    /// The session is another browser's, and has this name.
    is_elsewhere: Option<SessionId>,
    /// The id of the binding that this request offers to the browser.
    #[cfg(feature = "dbsc")]
    offered_binding: Option<String>,
}

/// What has become of a session during the request.
///
/// # Examples
/// ```
/// use session_manager::Status;
///
/// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
/// let mut session = sessions.load([])?;
/// assert_eq!(session.status(), Status::Unmodified);
/// session.insert("visits", 1)?;
/// assert_eq!(session.status(), Status::Modified);
/// session.destroy()?;
/// assert_eq!(session.status(), Status::Destroyed);
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is as it was loaded.
    Unmodified,
    /// Something is going to be written.
    Modified,
    /// It was destroyed, and nothing has been put into a new one.
    Destroyed,
}

impl<'m, C: Codec> Session<'m, C> {
    pub(crate) fn new(
        manager: &'m SessionManager<C>,
        origin: Origin,
        content: Content,
        sent_tokens: SentTokens,
        rotation: Option<NewToken>,
    ) -> Self {
        Self {
            manager,
            origin,
            content,
            was_read: Cell::new(false),
            edits: Vec::new(),
            new_token: rotation,
            sent_tokens,
            is_destroyed: false,
            removes_cookie: false,
            merged: Vec::new(),
            destroys_others: None,
            is_no_use: false,
            is_elsewhere: None,
            #[cfg(feature = "dbsc")]
            offered_binding: None,
        }
    }

    /// Returns a session that another browser has.
    pub(crate) fn elsewhere(manager: &'m SessionManager<C>, session: LiveSession) -> Self {
        let LiveSession { key, data, content, expiry } = session;
        let id = content.metadata(&manager.codec, &data).id(&key);
        let origin = Origin::Store(Snapshot { token: None, key, data, expiry });
        let sent = SentTokens {
            known: Vec::new(),
            untried: Vec::new(),
            device_cookies: SentDeviceCookies::default(),
        };
        let mut session = Self::new(manager, origin, content, sent, None);
        session.is_no_use = true;
        session.is_elsewhere = Some(id);
        session
    }

    /// Returns what has become of the session during this request.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::Status;
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let mut session = sessions.load([])?;
    /// assert_eq!(session.status(), Status::Unmodified);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Status")]
    #[must_use]
    pub fn status(&self) -> Status {
        if self.has_changes() || self.destroys_others.is_some() {
            Status::Modified
        } else if self.is_destroyed {
            Status::Destroyed
        } else {
            Status::Unmodified
        }
    }

    /// Returns whether the request has something to write. A rotation that is due isn't the
    /// request's.
    fn has_changes(&self) -> bool {
        !self.edits.is_empty() || self.new_token.as_ref().is_some_and(|new| !new.old_token_opens)
    }

    /// Returns whether the session gets a new token.
    pub(crate) fn is_renewed(&self) -> bool {
        self.new_token.is_some()
    }

    /// Returns whether the session is to be moved from its token to the hash of it.
    fn is_moved(&self) -> bool {
        let token = self.origin.snapshot().and_then(|snapshot| snapshot.token.as_ref());
        token.is_some() && token == self.new_token.as_ref().map(|new| &new.token)
    }

    /// Returns the content with this request's edits.
    fn content(&self) -> &Content {
        self.was_read.set(true);
        &self.content
    }

    /// Returns what the session knows about itself.
    fn metadata(&self) -> Metadata<'_, C> {
        self.content.metadata(&self.manager.codec, self.data())
    }

    /// Returns what the store has of the session.
    fn data(&self) -> &[u8] {
        self.origin.data()
    }

    /// Returns what reads this session's values.
    fn reader(&self) -> TypedReader<'_, C> {
        let session = self.origin.snapshot().map(|own| (&own.key, &*own.data));
        TypedReader { manager: self.manager, session }
    }

    /// Applies an edit to the content, and keeps it for the case that another request writes first.
    fn edit(&mut self, mut edit: Edit<C>) -> Result<(), Error> {
        self.was_read.set(true);
        let session = self.origin.snapshot().map(|own| (&own.key, &*own.data));
        let reader = TypedReader { manager: self.manager, session };
        self.content.apply(&mut edit, &reader, self.origin.data(), &self.merged)?;
        self.edits.push(edit);
        Ok(())
    }

    /// Applies an edit that calls no code of the application.
    fn edit_infallible(&mut self, edit: Edit<C>) {
        debug_assert!(!matches!(edit, Edit::Update(..)), "an update may fail");
        let _ = self.edit(edit);
    }
}

impl<C> fmt::Debug for Session<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = self.origin.snapshot().map(|snapshot| snapshot.key.first_id());
        f.debug_struct("Session")
            .field("stored", &stored)
            .field("merged", &self.merged.len())
            .field("edits", &self.edits.len())
            .field("is_renewed", &self.new_token.is_some())
            .field("is_destroyed", &self.is_destroyed)
            .finish_non_exhaustive()
    }
}
