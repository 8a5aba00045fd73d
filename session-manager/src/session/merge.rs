//! Taking over another session.

use std::sync::Arc;

#[cfg(doc)]
use crate::SessionManager;
use crate::codec::Codec;
use crate::content::Merged;
use crate::content::edit::Edit;
use crate::error::Error;
use crate::manager::resolve::{LiveSession, Resolved};
use crate::session::Session;
use crate::token::Token;

impl<C: Codec> Session<'_, C> {
    /// Takes over the values of another session, which ends in the step that writes this one;
    /// returns whether there was one.
    ///
    /// If both have a value under a key, the other session's counts; the later deadline counts.
    /// Values don't pass from one subject to another: of another subject's session, only flash
    /// values and those that [`with_kept_values`](SessionManager::with_kept_values) names are taken
    /// over, and if nobody has logged in yet, the values go once anyone but their subject does.
    ///
    /// What other requests do to either session in the meantime is not lost: the values are taken
    /// over as they are when this one is written. If the other session has ended by then, or was
    /// taken over by another request, nothing is written, and [`finish`](Self::finish) returns
    /// [`Error::Superseded`].
    ///
    /// It is for tokens that get lost on the way through another site, such as a login by OAuth
    /// with SameSite=Strict. Never pass a token from a URL or a body that the application hasn't
    /// signed.
    ///
    /// # Errors
    /// [`Error::Superseded`] if the other session has got a newer token
    /// [automatically](SessionManager::with_rotation), which another response brings to the
    /// browser; [`Error::Unopened`] if only other processes can open it; [`Error::TooManyValues`]
    /// if both together have too many, and then nothing is taken over; [`Error::Store`].
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut before = sessions.load([])?;
    /// # before.insert("cart", ["tea"])?;
    /// # let headers = before.finish()?.headers;
    /// # let signed_state = headers[0].1.split(['=', ';']).nth(1).unwrap_or_default();
    /// // The provider's redirect comes without the cookie, but with the token in the signed state.
    /// let mut session = sessions.load([])?;
    /// if session.merge(signed_state)? {
    ///     session.set_subject("7")?;
    /// }
    /// assert!(session.contains("cart"));
    /// # session.finish()?;
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "MergeSession")]
    pub fn merge(&mut self, token: &str) -> Result<bool, Error> {
        let Some(token) = Token::parse(token) else { return Ok(false) };
        let key = self.manager.key(&token);
        let found = match self.manager.resolve_token(&token, &key)? {
            Resolved::Live(found) => found,
            Resolved::Unopened(why) => return Err(Error::Unopened(why)),
            Resolved::Superseded | Resolved::Unusable | Resolved::Missing => return Ok(false),
        };
        #[cfg(feature = "dbsc")]
        if self.manager.refuses(&found, &self.sent_tokens.device_cookies) {
            return Ok(false);
        }
        let is_own = self.origin.snapshot().is_some_and(|snapshot| snapshot.key == found.key);
        if is_own || self.merged.iter().any(|merged| merged.key == found.key) {
            return Ok(true);
        }
        if found.key != key && Some(&found.key) != self.manager.plain_key(&token).as_ref() {
            return Err(Error::Superseded);
        }
        let LiveSession { key, data, content, .. } = found;
        self.merged.push(Merged { key, data, content });
        let kept = Arc::clone(&self.manager.kept_values);
        let before = self.content.clone();
        self.edit_infallible(Edit::Merge(self.merged.len() - 1, kept));
        if let Err(error) = self.content.check_len(before.values.len()) {
            self.content = before;
            self.edits.pop();
            self.merged.pop();
            return Err(error);
        }
        Ok(true)
    }
}
