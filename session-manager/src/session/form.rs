//! Tokens of forms, against forged requests.

use std::sync::Arc;

use chrono::TimeDelta;
use store_core::Loaded;

#[cfg(doc)]
use crate::SessionManager;
use crate::codec::Codec;
use crate::content::edit::Edit;
use crate::content::reserved::{FORM, FORM_BEFORE};
use crate::content::{Content, FormBefore};
use crate::error::Error;
use crate::form_secret::FormSecret;
use crate::manager::resolve::Resolved;
use crate::session::Session;
use crate::session::origin::Origin;
use crate::session_key::SessionKey;
use crate::token::Token;

/// How long the forms of pages from before a renewal are good: as long as the store knows the old
/// token.
const GRACE: TimeDelta = TimeDelta::seconds(30);

impl<C: Codec> Session<'_, C> {
    /// Returns a token for a form of this session: a field of the form, usually hidden and named
    /// `csrf_token`, or a header of scripts' requests, usually `X-CSRF-Token`. It has 86 characters
    /// of base64url, and is another one each time.
    ///
    /// The request that the form makes passes it to [`check_form_token`](Self::check_form_token).
    /// A page of another site can't read it, so it can't forge the request. The adapters
    /// [refuse](SessionManager::check_origin) forged requests by themselves; a token also defends
    /// what is dangerous from browsers that say nothing, and from errors in that check.
    ///
    /// The token is good as long as the session, in any number of pages. After a renewal of the
    /// session (a login) those of older pages are good for 30 seconds more, and not at all if
    /// another user has logged in, so call it after what renews the session. The first token of a
    /// session is a change of it, which is written; a session that wasn't stored is stored.
    ///
    /// # Errors
    /// [`Error::Superseded`] if another request has just renewed the session; also from
    /// [`finish`](Self::finish), if another request has done so in the meantime.
    /// [`Error::Randomness`]; [`Error::Unencodable`], from a codec that can't represent a string.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let mut session = sessions.load([])?;
    /// let field = format!(
    ///     r#"<input type="hidden" name="csrf_token" value="{}">"#,
    ///     session.form_token()?,
    /// );
    /// # let token = field.split('"').nth(5).expect("the value");
    /// # let finished = session.finish()?;
    /// # let mut browser = session_manager::testing::Browser::new(&sessions);
    /// # let session = browser.receive(&finished).session()?;
    ///
    /// // The request that the form makes:
    /// session.check_form_token(token)?;
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "csrf")]
    #[doc(alias = "xsrf")]
    #[doc(alias = "authenticity_token")]
    pub fn form_token(&mut self) -> Result<String, Error> {
        self.check_superseded()?;
        if let Some(secret) = stored_secret(&self.manager.codec, &self.content, self.data()) {
            return secret.masked();
        }
        let secret = self.new_form_secret()?;
        self.edit(Edit::Form(self.encode_secret(&secret)?))?;
        secret.masked()
    }

    /// Refuses a request whose form has no token of this session. Call it before anything is
    /// changed, also before [`set_subject`](Self::set_subject).
    ///
    /// # Errors
    /// [`Error::FormToken`] for a token that is none, or outdated, or of another session, which the
    /// adapters answer with status 403. [`Error::Store`], where another request has just renewed
    /// the session: then the new one is asked.
    ///
    /// # Examples
    /// ```
    /// use session_manager::Error;
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// let token = session.form_token()?;
    /// session.check_form_token(&token)?;
    /// assert!(matches!(session.check_form_token("guessed"), Err(Error::FormToken)));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "csrf")]
    #[doc(alias = "xsrf")]
    pub fn check_form_token(&self, token: &str) -> Result<(), Error> {
        self.was_read.set(true);
        let sent = FormSecret::unmask(token).ok_or(Error::FormToken)?;
        let is_good = match self.origin {
            Origin::Superseded => self.is_from_before_the_renewal(&sent)?,
            Origin::Unopened(why) => return Err(Error::Unopened(why)),
            #[cfg(feature = "dbsc")]
            Origin::Unproven(_) => return Err(Error::DeviceUnproven),
            Origin::Fresh | Origin::Store(_) => {
                let stored = stored_secret(&self.manager.codec, &self.content, self.data());
                let before = self.before_renewal(&self.content, self.data());
                let owner = self.content.owner_text(&self.manager.codec, self.data());
                stored.is_some_and(|stored| stored.is(&sent))
                    // The values may be another user's by now; a page from before then isn't
                    // theirs.
                    || before.is_some_and(|(secret, user)| {
                        secret.is(&sent) && (user.is_none() || user == owner)
                    })
            }
        };
        if is_good { Ok(()) } else { Err(Error::FormToken) }
    }

    /// Returns whether a secret is the one that the session had before another request renewed it.
    /// So both clicks of two on “Log in” are good. All that a request can do with such a session is
    /// to log in or out.
    fn is_from_before_the_renewal(&self, sent: &FormSecret) -> Result<bool, Error> {
        let manager = self.manager;
        for token in &self.sent_tokens.known {
            let Loaded::Rotated { token: newest, .. } =
                manager.store.load(manager.key(token).as_str())?
            else {
                continue;
            };
            // One that was renewed once more since then doesn't have the secret anymore.
            match manager.resolve(SessionKey::from_store(&newest))? {
                Resolved::Live(found) => {
                    let before = self.before_renewal(&found.content, &found.data);
                    if before.is_some_and(|(secret, _)| secret.is(sent)) {
                        return Ok(true);
                    }
                }
                Resolved::Unopened(why) => return Err(Error::Unopened(why)),
                Resolved::Superseded | Resolved::Unusable | Resolved::Missing => {}
            }
        }
        Ok(false)
    }

    /// Returns the secret from before the last renewal and whose the session was then, while it is
    /// good.
    fn before_renewal(
        &self,
        content: &Content,
        data: &[u8],
    ) -> Option<(FormSecret, Option<String>)> {
        let before = content.values.get(FORM_BEFORE, data)?;
        let (secret, renewed_at, user): FormBefore =
            self.manager.codec.decode_value(before).ok()?;
        let age = self.manager.now().timestamp_millis().checked_sub(renewed_at)?;
        // Clocks of two processes may differ. After one went back far nobody knows how old it is.
        let is_young = age.unsigned_abs() < GRACE.num_milliseconds().unsigned_abs();
        is_young.then_some((FormSecret::from_text(&secret)?, user))
    }

    /// Gives the forms another secret, if they have one, because the session gets another token.
    pub(super) fn renew_form_secret(&mut self) -> Result<(), Error> {
        let secret = self.encode_secret(&self.new_form_secret()?)?;
        let now = self.manager.now().timestamp_millis();
        self.edit(Edit::RenewForm(secret, now))
    }

    /// Returns the secret of a session that has none yet, or gets a new one.
    fn new_form_secret(&self) -> Result<FormSecret, Error> {
        let renewed = self.new_token.as_ref().filter(|new| !new.old_token_opens);
        let token = renewed.map(|new| &new.token).or(self.sent_tokens.known.last());
        match (&self.origin, token) {
            // Other requests that show the session's first forms at the same time come to the same.
            (Origin::Store(_), Some(token)) => Ok(FormSecret::of(token)),
            _ => Ok(FormSecret::of(&Token::generate()?)),
        }
    }

    fn encode_secret(&self, secret: &FormSecret) -> Result<Arc<[u8]>, Error> {
        let encoded = self.manager.codec.encode_value(&secret.to_text());
        encoded.map(Into::into).map_err(|_| Error::unencodable::<str>(FORM))
    }
}

fn stored_secret<C: Codec>(codec: &C, content: &Content, data: &[u8]) -> Option<FormSecret> {
    let text: String = codec.decode_value(content.values.get(FORM, data)?).ok()?;
    FormSecret::from_text(&text)
}
