//! What the browser is told about the session.

use chrono::{DateTime, TimeDelta, Utc};

use crate::codec::Codec;
use crate::content::edit::Edit;
use crate::content::reserved::REMEMBER_ME;
use crate::session::Session;
use crate::session::write::Written;

/// A response header: its name and value, both of ASCII.
///
/// # Examples
/// ```
/// use session_manager::Header;
///
/// /// Writes headers for a framework without an adapter.
/// fn lines(headers: &[Header]) -> String {
///     headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
/// }
///
/// assert_eq!(lines(&[("Vary", "Cookie".to_owned())]), "Vary: Cookie\r\n");
/// ```
pub type Header = (&'static str, String);

impl<C: Codec> Session<'_, C> {
    /// Returns the headers for a response that doesn't write the session, because the handler or
    /// [`finish`](Self::finish) has failed: if the session was destroyed, they remove the cookie.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Error, Header, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// fn log_out(
    ///     sessions: &SessionManager,
    ///     token: &str,
    ///     page: Option<&str>,
    /// ) -> Result<Vec<Header>, Error> {
    ///     let mut session = sessions.load([token])?;
    ///     session.destroy()?;
    ///     // The logout is done, whether there is a page to answer with or not.
    ///     match page {
    ///         Some(_) => Ok(session.finish()?.headers),
    ///         None => Ok(session.removal_headers()),
    ///     }
    /// }
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.insert("user_id", 7)?;
    /// # let headers = session.finish()?.headers;
    /// # let token = headers[0].1.split(['=', ';']).nth(1).expect("a value");
    /// let headers = log_out(&sessions, token, None)?;
    /// assert!(headers[0].1.contains("Max-Age=0"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn removal_headers(&self) -> Vec<Header> {
        match self.removal() {
            Some(set_cookie) => self.headers(Some(set_cookie)),
            None => Vec::new(),
        }
    }

    /// Returns the Set-Cookie header that removes the cookie, if it names nothing anymore.
    pub(super) fn removal(&self) -> Option<String> {
        self.removes_cookie.then(|| self.manager.cookie.remove())
    }

    pub(super) fn headers(&self, set_cookie: Option<String>) -> Vec<Header> {
        let mut headers = Vec::new();
        if let Some(set_cookie) = set_cookie {
            headers.push(("Set-Cookie", set_cookie));
            headers.push(("Cache-Control", "no-store".to_owned()));
        }
        if self.was_read.get() {
            headers.push(("Vary", "Cookie".to_owned()));
        }
        headers
    }

    /// Returns the Set-Cookie header that the browser needs after a write, if it needs one.
    pub(super) fn cookie_after(&self, written: &Written, now: DateTime<Utc>) -> Option<String> {
        if written.is_over(now) {
            return Some(self.manager.cookie.remove());
        }
        // If only another response can bring the token, this one leaves the browser's cookie alone.
        let token = written.token.as_ref()?;
        if self.needs_cookie(written) {
            let persistent_until = self.persists().then_some(written.expiry);
            Some(self.manager.cookie.set(token.as_str(), persistent_until, now))
        } else {
            None
        }
    }

    fn needs_cookie(&self, written: &Written) -> bool {
        let Some(snapshot) = self.origin.snapshot() else { return true };
        let is_rotated = snapshot.token != written.token;
        let changes_remembering = self.edits.iter().any(|edit| {
            matches!(edit, Edit::Set(key, _) if key == REMEMBER_ME)
                || matches!(edit, Edit::Merge(..))
        });
        let moves_expiry = (written.expiry - snapshot.expiry).abs() > TimeDelta::seconds(1);
        is_rotated || changes_remembering || (moves_expiry && self.persists())
    }
}
