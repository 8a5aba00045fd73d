//! Loading a session again, after another request has changed it.

use crate::codec::Codec;
use crate::content::typed::TypedReader;
use crate::error::Error;
use crate::event::EventKind;
use crate::manager::resolve::Resolved;
use crate::session::Session;
use crate::session::origin::{Origin, Snapshot};
use crate::token::Token;

/// What a request finds if the store has refused its write.
pub(super) enum Reloaded {
    /// The session, changed or rotated by others.
    Newer,
    /// Nothing that the request's edits could be written to: the session has ended or was renewed,
    /// or a session that it merges doesn't exist anymore.
    Gone,
}

impl<C: Codec> Session<'_, C> {
    /// Loads what the store has by now, and applies this request's edits again.
    pub(super) fn reload(&mut self) -> Result<Reloaded, Error> {
        let manager = self.manager;
        if let Origin::Store(snapshot) = &mut self.origin {
            let found = match self.is_elsewhere {
                Some(id) => manager.resolve_renewed(snapshot.key.clone(), id)?,
                None => manager.resolve(snapshot.key.clone())?,
            };
            let found = match found {
                Resolved::Live(found) => found,
                Resolved::Superseded => return Ok(Reloaded::Gone),
                Resolved::Unopened(why) => return Err(Error::Unopened(why)),
                Resolved::Missing | Resolved::Unusable => {
                    let lost =
                        manager.event_of_stored(EventKind::Lost, &snapshot.key, &snapshot.data);
                    manager.report_event(&lost);
                    return Ok(Reloaded::Gone);
                }
            };
            if self.merged.iter().any(|merged| merged.key == found.key) {
                // The other session has taken over this one in the meantime; its token isn't this
                // request's to decide on.
                return Ok(Reloaded::Gone);
            }
            // A rotation by another request leaves this one without a token to give to the browser,
            // unless that has only moved the session under the token's hash.
            let is_own =
                |token: &Token| found.key == snapshot.key || found.key == manager.key(token);
            let token = snapshot.token.take().filter(is_own);
            if self.new_token.as_ref().is_some_and(|new| new.key == found.key) {
                self.new_token = None;
            }
            let (key, data, expiry) = (found.key, found.data, found.expiry);
            let newest = found.content.metadata(&manager.codec, &data);
            manager.report_session(EventKind::Conflict, &key, &newest);
            *snapshot = Snapshot { token, key, data, expiry };
            self.content = found.content;
        } else {
            self.content = manager.fresh_content();
        }
        for merged in &mut self.merged {
            match manager.resolve(merged.key.clone())? {
                // Under the token that the browser has.
                Resolved::Live(found) if found.key == merged.key => {
                    (merged.data, merged.content) = (found.data, found.content);
                }
                Resolved::Unopened(why) => return Err(Error::Unopened(why)),
                _ => return Ok(Reloaded::Gone),
            }
        }
        // A panic of an application's closure drops the session with nothing written.
        let session = self.origin.snapshot().map(|own| (&own.key, &*own.data));
        let reader = TypedReader { manager, session };
        let before = self.content.values.len();
        for edit in &mut self.edits {
            self.content.apply(edit, &reader, self.origin.data(), &self.merged)?;
        }
        self.content.check_len(before)?;
        Ok(Reloaded::Newer)
    }
}
