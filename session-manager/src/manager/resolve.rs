//! From a key to the session that it names now.

use chrono::{DateTime, Utc};
use store_core::Loaded;

use crate::codec::{Codec, OpenError};
use crate::content::Content;
use crate::error::Error;
use crate::event::{EndCause, EventKind};
use crate::manager::SessionManager;
use crate::session_id::SessionId;
use crate::session_key::SessionKey;
use crate::token::Token;
use crate::unopened::Unopened;

/// What a key names.
pub(crate) enum Resolved {
    /// A session that this manager can go on with.
    Live(LiveSession),
    /// A session that was renewed a moment ago, and that the key doesn't open anymore.
    Superseded,
    /// A session that nobody can go on with, or that this version can't read.
    Unusable,
    /// A session that this process can't open, and others may.
    Unopened(Unopened),
    /// Nothing of this manager's.
    Missing,
}

/// A live session, as it was loaded.
#[derive(Clone)]
pub(crate) struct LiveSession {
    /// Its newest key, which may not be the one that was asked for.
    pub(crate) key: SessionKey,
    pub(crate) data: Vec<u8>,
    pub(crate) content: Content,
    pub(crate) expiry: DateTime<Utc>,
}

impl<C: Codec> SessionManager<C> {
    /// Loads the session that a browser's token names, as [`resolve`](Self::resolve) does: under
    /// the token's key or, if there is none and such sessions are taken, under the token itself.
    pub(crate) fn resolve_token(&self, token: &Token, key: &SessionKey) -> Result<Resolved, Error> {
        let resolved = self.resolve(key.clone())?;
        let (Resolved::Missing, Some(plain)) = (&resolved, self.plain_key(token)) else {
            return Ok(resolved);
        };
        Ok(match self.resolve(plain.clone())? {
            Resolved::Live(found) if self.is_plain(&found.content, &found.data) => {
                Resolved::Live(found)
            }
            // The “token” is the key of a hashed session, and somebody has read the table.
            Resolved::Live(found) if found.key == plain => Resolved::Missing,
            Resolved::Live(_) => match self.resolve(key.clone())? {
                // The same, or a token from before a manager with plain tokens rotated the session
                // and another request moved it: it opens nothing, and the browser's cookie stays.
                Resolved::Missing => Resolved::Superseded,
                // Another request has moved it since the first read, and may have rotated it.
                resolved => resolved,
            },
            other => other,
        })
    }

    /// Loads the session that a key names, under its newest key if the key may still open it.
    /// Everything but [`Resolved::Live`] and [`Resolved::Missing`] is reported.
    pub(crate) fn resolve(&self, key: SessionKey) -> Result<Resolved, Error> {
        self.follow(key, false)
    }

    /// As [`resolve`](Self::resolve), also for a session that was renewed, unless it has become
    /// another one: for what is done to a session whoever has its token.
    pub(crate) fn resolve_renewed(
        &self,
        key: SessionKey,
        id: SessionId,
    ) -> Result<Resolved, Error> {
        Ok(match self.follow(key, true)? {
            Resolved::Live(LiveSession { key, data, content, .. })
                if content.metadata(&self.codec, &data).id(&key) != id =>
            {
                Resolved::Missing
            }
            resolved => resolved,
        })
    }

    /// Loads the session that a key names, under its newest key; if that is asked for, also if only
    /// a renewal leads there.
    pub(crate) fn follow(
        &self,
        mut key: SessionKey,
        through_renewals: bool,
    ) -> Result<Resolved, Error> {
        loop {
            match self.store.load(key.as_str())? {
                Loaded::Live { data, expiry } => return Ok(self.judge(key, data, expiry)),
                // Each round means that another request has rotated the session since the last
                // round.
                Loaded::Rotated { token, opens } if opens || through_renewals => {
                    key = SessionKey::from_store(&token);
                }
                Loaded::Rotated { .. } => {
                    self.report(EventKind::Lost, &key);
                    return Ok(Resolved::Superseded);
                }
                Loaded::Missing => return Ok(Resolved::Missing),
            }
        }
    }

    fn judge(&self, key: SessionKey, data: Vec<u8>, expiry: DateTime<Utc>) -> Resolved {
        let content = match self.read(&key, &data) {
            Ok(content) => content,
            Err(OpenError::Unreadable) => {
                self.report(EventKind::Undecodable, &key);
                return Resolved::Unusable;
            }
            Err(OpenError::Unopened(unopened)) => {
                self.report(EventKind::Unopened(unopened), &key);
                return Resolved::Unopened(unopened);
            }
        };
        if !self.owns(&content, &data) {
            return Resolved::Missing;
        }
        if content.deadline <= self.now() {
            let ended = EventKind::Ended(EndCause::Deadline);
            self.report_session(ended, &key, &content.metadata(&self.codec, &data));
            // The clocks of the manager and of the store differ, or a `touch` has moved the expiry
            // past a deadline that another request had just moved nearer.
            return Resolved::Unusable;
        }
        Resolved::Live(LiveSession { key, data, content, expiry })
    }
}
