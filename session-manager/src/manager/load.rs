//! From a request's cookies to its session.

use chrono::DateTime;

use crate::codec::Codec;
use crate::content::Content;
use crate::content::reserved::ROTATED;
use crate::error::Error;
use crate::event::EventKind;
use crate::manager::SessionManager;
use crate::manager::resolve::{LiveSession, Resolved};
use crate::sent_device_cookies::SentDeviceCookies;
use crate::session::Session;
use crate::session::origin::{Origin, SentTokens, Snapshot};
use crate::token::{NewToken, Token};

/// Cookies of the session's name that are tried if a request has several.
pub(crate) const MAX_COOKIES: usize = 4;

/// What browsers strip from names and values of cookies. They keep other white space, and treat a
/// name that begins with it as an ordinary one, not as one with the prefix `__Host-`.
const COOKIE_SPACE: [char; 2] = [' ', '\t'];

impl<C: Codec> SessionManager<C> {
    /// Returns the session of a request, from the values of its cookies of
    /// [`cookie_name`](Self::cookie_name).
    ///
    /// If several have the form of a token, each is tried, four at most, until one names a session
    /// that this manager can go on with. A request without one gets a fresh session, which is
    /// stored once something is put into it. A token that the store doesn't know is never adopted.
    ///
    /// A token that another request, in any process, has [renewed](Session::renew) in the last 30
    /// seconds belongs to a request that was under way at that time. It sees an empty session and
    /// leaves the cookie alone. It can log in ([`Session::set_subject`]) or out
    /// ([`Session::destroy`]); other changes end with [`Error::Superseded`]. A token that was
    /// rotated [automatically](Self::with_rotation) opens the session.
    ///
    /// A request whose session only other processes can open is treated alike; its other changes
    /// end with [`Error::Unopened`].
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Randomness`] if the token has to be rotated.
    ///
    /// # Examples
    /// For a framework that has parsed the cookies already:
    /// ```
    /// use session_manager::{Error, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// let cookies = [("theme", "dark"), ("__Host-session", "stale")];
    /// let own = cookies.iter().filter(|(name, _)| *name == sessions.cookie_name());
    /// let session = sessions.load(own.map(|(_, value)| *value))?;
    /// assert!(session.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "Load")]
    pub fn load<'a>(
        &self,
        cookie_values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Session<'_, C>, Error> {
        self.load_cookies(cookie_values, SentDeviceCookies::default())
    }

    pub(super) fn load_cookies<'a>(
        &self,
        cookie_values: impl IntoIterator<Item = &'a str>,
        device_cookies: SentDeviceCookies,
    ) -> Result<Session<'_, C>, Error> {
        let mut has_cookie = false;
        let tokens = cookie_values.into_iter().inspect(|_| has_cookie = true);
        let tokens = tokens.filter_map(Token::parse).take(MAX_COOKIES);
        let mut tokens = tokens.collect::<Vec<_>>().into_iter();
        let (mut is_superseded, mut unopened) = (false, None);
        #[cfg(feature = "dbsc")]
        let mut unproven = None;
        let mut known = Vec::new();
        while let Some(token) = tokens.next() {
            let key = self.key(&token);
            match self.resolve_token(&token, &key)? {
                #[cfg(feature = "dbsc")]
                Resolved::Live(found) if self.refuses(&found, &device_cookies) => {
                    let LiveSession { data, content, .. } = &found;
                    unproven = Some(self.device_binding_of(content, data, &device_cookies));
                    known.push(token);
                }
                Resolved::Live(LiveSession { key: newest, data, content, expiry }) => {
                    known.push(token.clone());
                    let is_plain = self.plain_key(&token).is_some_and(|plain| newest == plain);
                    let token = (newest == key || is_plain).then_some(token);
                    let rotation = match &token {
                        // Under its hash, which nothing else leads to; the next request rotates it
                        // if that is due.
                        Some(token) if is_plain => {
                            Some(NewToken { token: token.clone(), key, old_token_opens: true })
                        }
                        Some(_) if !self.is_rotation_due(&content, &data) => None,
                        // Who has copied the cookie must not take the session over from its device.
                        #[cfg(feature = "dbsc")]
                        Some(_) if self.is_unproven(&content, &data, &device_cookies) => None,
                        Some(_) => Some(self.rotation()?),
                        // If another response brings the newest token, the next request rotates it.
                        _ => None,
                    };
                    let snapshot = Snapshot { token, key: newest, data, expiry };
                    let sent = SentTokens { known, untried: tokens.collect(), device_cookies };
                    let origin = Origin::Store(snapshot);
                    return Ok(Session::new(self, origin, content, sent, rotation));
                }
                Resolved::Superseded => {
                    is_superseded = true;
                    known.push(token);
                }
                Resolved::Unusable => known.push(token),
                Resolved::Unopened(why) => {
                    unopened = Some(why);
                    known.push(token);
                }
                Resolved::Missing => {
                    if self.reported_tokens.is_new(key.first_id()) {
                        self.report(EventKind::UnknownToken, &key);
                    }
                }
            }
        }
        let origin = match unopened {
            Some(why) => Origin::Unopened(why),
            None if is_superseded => Origin::Superseded,
            None => Origin::Fresh,
        };
        #[cfg(feature = "dbsc")]
        let origin = unproven.map_or(origin, Origin::Unproven);
        let is_dead = has_cookie && known.is_empty();
        let sent = SentTokens { known, untried: Vec::new(), device_cookies };
        let mut session = Session::new(self, origin, self.fresh_content(), sent, None);
        session.removes_cookie = self.removes_dead_cookies && is_dead;
        Ok(session)
    }

    /// Returns the session of a request, from its Cookie headers. They may be anything: bytes that
    /// aren't UTF-8, and what isn't a cookie, are skipped.
    ///
    /// # Errors
    /// As [`load`](Self::load).
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
        let cookies = cookies(cookie_headers);
        #[cfg(feature = "dbsc")]
        if self.binding_policy.is_some() {
            return self.load_with_device_cookies(cookies);
        }
        self.load(cookies.filter(|(name, _)| *name == self.cookie.name()).map(|(_, value)| value))
    }

    /// Returns whether a session's token has to be rotated automatically.
    fn is_rotation_due(&self, content: &Content, data: &[u8]) -> bool {
        let Some(every) = self.lifetimes.rotation else { return false };
        let rotated = content.values.get(ROTATED, data);
        let rotated = rotated.and_then(|value| self.codec.decode_value(value).ok());
        let rotated = rotated.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        // After a clock went back far nobody knows how old the token is.
        rotated.is_none_or(|rotated| (self.now() - rotated).abs() >= every)
    }

    /// Returns a new token that changes no rights.
    fn rotation(&self) -> Result<NewToken, Error> {
        Ok(NewToken { old_token_opens: true, ..self.new_token()? })
    }
}

/// Returns the names and values of cookies.
pub(crate) fn cookies<'a>(
    cookie_headers: impl IntoIterator<Item = &'a [u8]>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    // Bytes are split, not text, because another cookie of the header need not be UTF-8.
    let pairs = cookie_headers.into_iter().flat_map(|header| header.split(|&byte| byte == b';'));
    pairs.filter_map(|pair| {
        let (name, value) = str::from_utf8(pair).ok()?.split_once('=')?;
        let value = value.trim_matches(COOKIE_SPACE).trim_matches('"');
        Some((name.trim_matches(COOKIE_SPACE), value))
    })
}
