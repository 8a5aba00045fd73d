//! When the session ends, and whether the browser keeps its cookie.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::codec::Codec;
use crate::content::edit::Edit;
use crate::content::reserved::{IDLE_TIMEOUT, REMEMBER_ME};
use crate::error::Error;
use crate::lifetimes::{self, clamp_deadline};
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
            _ => self.expiry_after_use(self.manager.now()),
        }
    }

    /// Returns when the session expires if it is used now.
    pub(super) fn expiry_after_use(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let lifetimes = self.manager.lifetimes.of(&self.metadata());
        let expiry = lifetimes.expiry(self.content.deadline, now);
        match self.origin.snapshot() {
            Some(snapshot) if self.is_no_use && lifetimes.idle_timeout.is_some() => {
                expiry.min(snapshot.expiry)
            }
            _ => expiry,
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
    /// 9999 count as the ends of that range, and a leap second as the end of the second before it.
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

    /// Gives this session an idle timeout of its own, or none, whatever
    /// [`with_idle_timeout`](SessionManager::with_idle_timeout) says for the others. It holds from
    /// the write of this request on, until the session passes to another user.
    ///
    /// The [deadline](Self::deadline) holds nevertheless.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a timeout of less than a millisecond, or of more than 100
    /// years; [`Error::Unencodable`], from a codec that can't represent an integer.
    ///
    /// # Examples
    /// “Remember me” for 30 days, beside half an hour for the others:
    /// ```
    /// use std::time::Duration;
    /// use chrono::{TimeDelta, Utc};
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let sessions = sessions.with_idle_timeout(Duration::from_secs(30 * 60))?;
    /// let mut session = sessions.load([])?;
    /// session.set_subject("7")?;
    /// session.remember_me(true)?;
    /// session.set_idle_timeout(None)?;
    /// session.set_deadline(Utc::now() + TimeDelta::days(30));
    /// assert!(session.expiry() > Utc::now() + TimeDelta::days(29));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn set_idle_timeout(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        const OPTION: &str = "idle timeout";
        let millis = match timeout {
            Some(timeout) => lifetimes::check(OPTION, timeout)?.num_milliseconds(),
            None => 0,
        };
        if timeout.is_some() && millis == 0 {
            let problem = "it must be a millisecond at least".to_owned();
            return Err(Error::InvalidOption { option: OPTION, problem });
        }
        self.set(IDLE_TIMEOUT, &millis)
    }

    /// Says that this request is no use of the session, so that it doesn't put off the idle
    /// timeout: for a page that polls by itself while its visitor is away.
    ///
    /// The session is loaded and written like any other.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # let path = "/notifications";
    /// if path == "/notifications" {
    ///     session.ignore_use();
    /// }
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "sliding_expiration")]
    #[doc(alias = "poll")]
    pub fn ignore_use(&mut self) {
        self.is_no_use = true;
    }

    /// Sets whether the browser keeps the cookie of this session when it is closed, regardless of
    /// the [`CookiePolicy`].
    ///
    /// # Errors
    /// [`Error::Unencodable`], from a codec that can't represent a bool; [`Error::TooManyValues`].
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.set_subject("7")?;
    /// session.remember_me(true)?; // the box on the login form was ticked
    ///
    /// let headers = session.finish()?.headers;
    /// assert!(headers[0].1.contains("Max-Age="));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "RememberMe")]
    pub fn remember_me(&mut self, remember: bool) -> Result<(), Error> {
        self.set(REMEMBER_ME, &remember)
    }

    /// Returns whether the browser keeps the cookie when it is closed.
    pub(super) fn persists(&self) -> bool {
        self.metadata().remembers().unwrap_or(self.manager.cookie.is_persistent())
    }
}
