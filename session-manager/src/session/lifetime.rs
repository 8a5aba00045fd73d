//! When the session ends, and whether the browser keeps its cookie.

use chrono::{DateTime, Utc};

use crate::codec::Codec;
use crate::content::edit::Edit;
use crate::content::reserved::REMEMBER_ME;
use crate::error::Error;
use crate::lifetimes::clamp_deadline;
use crate::session::Session;
#[cfg(doc)]
use crate::{CookiePolicy, SessionManager};

impl<C: Codec> Session<'_, C> {
    /// Returns when the session ends, however much it is used.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let session = sessions.load([])?;
    /// if session.deadline() - Utc::now() < TimeDelta::minutes(5) {
    ///     println!("You will be logged out soon. Please save your work.");
    /// }
    /// # assert!(session.deadline() - Utc::now() > TimeDelta::hours(23));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Deadline")]
    #[must_use]
    pub fn deadline(&self) -> DateTime<Utc> {
        self.content().deadline
    }

    /// Returns when the session expires unless it is used, as far as this request knows.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use std::time::Duration;
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let sessions = sessions.with_idle_timeout(Duration::from_secs(30 * 60))?;
    /// let session = sessions.load([])?;
    /// assert!(session.expiry() <= Utc::now() + TimeDelta::minutes(30));
    /// assert!(session.deadline() > session.expiry());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn expiry(&self) -> DateTime<Utc> {
        self.was_read.set(true);
        match self.origin.snapshot() {
            Some(snapshot) if self.edits.is_empty() => snapshot.expiry,
            _ => self.manager.lifetimes.expiry(self.content.deadline, self.manager.now()),
        }
    }

    /// Moves the deadline to a [lifetime](SessionManager::with_lifetime) from now, for example at a
    /// login.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.set_subject("7")?;
    /// session.reset_lifetime();
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn reset_lifetime(&mut self) {
        self.set_deadline(self.manager.fresh_deadline());
    }

    /// Moves the end of the session, either way. Instants before the year 2000 and after the year
    /// 9999 count as the ends of that range.
    ///
    /// A store that can't represent the deadline refuses the session when it is written: a
    /// `TIMESTAMP` of MySQL ends in 2038. If another request has just
    /// [rotated](SessionManager::with_rotation) this request's token, a
    /// [persistent](CookiePolicy::persistent) cookie gets its new age only with the next token.
    ///
    /// # Examples
    /// An identity provider says how long it vouches for the visitor:
    /// ```
    /// use chrono::{TimeDelta, Utc};
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// let until = Utc::now() + TimeDelta::hours(1);
    /// session.set_deadline(until);
    /// assert_eq!(session.deadline(), until);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "SetDeadline")]
    pub fn set_deadline(&mut self, deadline: DateTime<Utc>) {
        self.edit_infallible(Edit::Deadline(clamp_deadline(deadline)));
    }

    /// Sets whether the browser keeps the cookie of this session when it is closed, regardless of
    /// the [`CookiePolicy`].
    ///
    /// # Errors
    /// [`Error::Unencodable`], from a codec that can't represent a bool.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.set_subject("7")?;
    /// session.remember_me(true)?; // the box on the login form was ticked
    ///
    /// let headers = session.finish()?;
    /// assert!(headers[0].1.contains("Max-Age="));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "RememberMe")]
    pub fn remember_me(&mut self, remember: bool) -> Result<(), Error> {
        self.set(REMEMBER_ME, &remember)
    }

    /// Returns whether the browser keeps the cookie when it is closed.
    pub(super) fn persists(&self) -> bool {
        let remembered = self.content.values.get(REMEMBER_ME, self.data());
        let remembered = remembered.and_then(|value| self.manager.codec.decode_value(value).ok());
        remembered.unwrap_or(self.manager.cookie.is_persistent())
    }
}
