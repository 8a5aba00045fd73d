//! What one atomic [`update`](crate::Store::update) does to a session.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};

use crate::{Error, ExpectedSessions, Limits, Rotation};

/// What [`Store::update`](crate::Store::update) does to a live session, in one atomic step, and
/// [`Store::create_with`](crate::Store::create_with) to a new one.
///
/// It always sets the data, and the expiry unless it [keeps](Change::keeping_expiry) that. Where
/// asked for, it also gives the session a new token, sets or
/// clears its subject, and ends other sessions that this one absorbs, or does nothing unless a
/// subject's sessions are those that are expected. Its `Debug` output shows neither tokens nor
/// data.
///
/// # Examples
/// A login: the session gets a new token and a subject, and takes over another one's place.
/// ```
/// use chrono::{TimeDelta, Utc};
/// use store_core::{Change, Loaded, MemoryStore, Rotation, Store};
///
/// let store = MemoryStore::new()?;
/// let expiry = Utc::now() + TimeDelta::hours(1);
/// store.create("anonymous", b"cart", expiry, None)?;
/// store.create("other", b"more", expiry, None)?;
///
/// let login = Change::new(b"cart and more", expiry)
///     .with_rotation(Rotation::new("logged-in"))
///     .with_subject(Some("user 7"))
///     .absorbing("other", b"more");
/// assert!(store.update("anonymous", b"cart", &login)?);
///
/// assert_eq!(store.find("logged-in")?.as_deref(), Some(&b"cart and more"[..]));
/// assert!(store.find("other")?.is_none());
/// for old in ["anonymous", "other"] {
///     assert!(matches!(store.load(old)?, Loaded::Rotated { opens: false, .. }));
/// }
/// assert_eq!(store.find_by_subject("user 7")?.len(), 1);
/// # Ok::<(), store_core::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
#[must_use]
pub struct Change<'a> {
    /// The data that the session has afterwards.
    pub data: Cow<'a, [u8]>,
    /// When the session expires. `None` leaves the expiry as it is.
    pub expiry: Option<DateTime<Utc>>,
    /// The session's new token, if it gets one.
    pub rotation: Option<Rotation<'a>>,
    /// The session's new subject, or `Some(None)` for no subject. `None` leaves the subject as it
    /// is.
    pub subject: Option<Option<Cow<'a, str>>>,
    /// The sessions that end with this change.
    pub absorbed: Vec<Absorbed<'a>>,
    /// What the sessions of a subject must be, or else nothing is changed. In a box, because few
    /// changes have it.
    pub expected_sessions: Option<Box<ExpectedSessions<'a>>>,
}

impl<'a> Change<'a> {
    /// A change of data and expiry alone.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let change = Change::new(b"data", DateTime::UNIX_EPOCH);
    /// assert!(change.rotation.is_none() && change.subject.is_none());
    /// assert!(change.absorbed.is_empty());
    /// ```
    pub fn new(data: &'a [u8], expiry: DateTime<Utc>) -> Self {
        Self {
            data: Cow::Borrowed(data),
            expiry: Some(expiry),
            rotation: None,
            subject: None,
            absorbed: Vec::new(),
            expected_sessions: None,
        }
    }

    /// A change of the data alone, of a session that may be touched at the same time: if its expiry
    /// is moved after it was read here, it isn't moved back.
    ///
    /// # Examples
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{Change, Loaded, MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// let later = Utc::now() + TimeDelta::hours(2);
    /// store.create("token", b"data", Utc::now() + TimeDelta::hours(1), None)?;
    /// store.touch("token", later)?;
    /// assert!(store.update("token", b"data", &Change::keeping_expiry(b"new"))?);
    /// assert!(matches!(store.load("token")?, Loaded::Live { expiry, .. } if expiry == later));
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn keeping_expiry(data: &'a [u8]) -> Self {
        Self { expiry: None, ..Self::new(data, DateTime::UNIX_EPOCH) }
    }

    /// Also gives the session a new token.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::{Change, Rotation};
    ///
    /// let change = Change::new(b"data", DateTime::UNIX_EPOCH).with_rotation(Rotation::new("new"));
    /// assert_eq!(change.rotation.map(|rotation| rotation.new_token).as_deref(), Some("new"));
    /// ```
    pub fn with_rotation(mut self, rotation: Rotation<'a>) -> Self {
        self.rotation = Some(rotation);
        self
    }

    /// Also sets the session's subject, or clears it with `None`.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let login = Change::new(b"data", DateTime::UNIX_EPOCH).with_subject(Some("user 7"));
    /// let logout = Change::new(b"data", DateTime::UNIX_EPOCH).with_subject(None);
    /// assert_eq!(login.subject, Some(Some("user 7".into())));
    /// assert_eq!(logout.subject, Some(None));
    /// ```
    pub fn with_subject(mut self, subject: Option<&'a str>) -> Self {
        self.subject = Some(subject.map(Cow::Borrowed));
        self
    }

    /// Also ends another session, which must be live and have exactly this data. What is known of
    /// it goes on in this one: for the grace its token leads to this session like one that was
    /// rotated, and opens nothing.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let merge = Change::new(b"both", DateTime::UNIX_EPOCH).absorbing("other", b"data");
    /// assert_eq!(merge.absorbed[0].token, "other");
    /// ```
    pub fn absorbing(self, token: &'a str, data: &'a [u8]) -> Self {
        self.end(token, data, true)
    }

    /// Also ends another session, which must be live and have exactly this data, and has nothing to
    /// do with this one: its token is like one of a session that was deleted.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let login = Change::new(b"data", DateTime::UNIX_EPOCH).ending("oldest", b"other data");
    /// assert!(!login.absorbed[0].leads_on);
    /// ```
    pub fn ending(self, token: &'a str, data: &'a [u8]) -> Self {
        self.end(token, data, false)
    }

    fn end(mut self, token: &'a str, data: &'a [u8], leads_on: bool) -> Self {
        let (token, data) = (Cow::Borrowed(token), Cow::Borrowed(data));
        self.absorbed.push(Absorbed { token, data, leads_on });
        self
    }

    /// Makes the change only if the live sessions of a subject are those with these tokens, and no
    /// others: what [`find_by_subject`](crate::Store::find_by_subject) returns, in any order. The
    /// changed session and those that it absorbs are among them if they have the subject before the
    /// change.
    ///
    /// By this a login keeps a limit to the number of a user's sessions. It finds them, decides
    /// which of them it ends, if any, and expects the ones that it has found. Of several that do so
    /// at the same time, in any number of processes, one gets `true`; the others find the sessions
    /// again.
    ///
    /// Writes without an expectation needn't be noticed if they happen at the same time. A session
    /// that ends or is rotated then does no harm to a limit; one that gets the subject goes beyond
    /// it. So all of a user's logins have to expect, those of other programs as well.
    ///
    /// # Examples
    /// At most two sessions of a user; the login on a third device ends one of them.
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use store_core::{Change, MemoryStore, Store};
    ///
    /// let store = MemoryStore::new()?;
    /// let expiry = Utc::now() + TimeDelta::hours(1);
    /// store.create("phone", b"data", expiry, Some("user 7"))?;
    /// store.create("laptop", b"data", expiry, Some("user 7"))?;
    ///
    /// let found = store.find_by_subject("user 7")?;
    /// let login = Change::new(b"new", expiry)
    ///     .with_subject(Some("user 7"))
    ///     .ending(&found[0].token, &found[0].data)
    ///     .expecting_sessions_of("user 7", found.iter().map(|record| &*record.token));
    /// assert!(store.create_with("tablet", &login)?);
    /// assert_eq!(store.find_by_subject("user 7")?.len(), 2);
    ///
    /// assert!(!store.create_with("television", &login)?, "the user's sessions are others by now");
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn expecting_sessions_of(
        mut self,
        subject: &'a str,
        tokens: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let tokens = tokens.into_iter().map(Cow::Borrowed).collect();
        let expected = ExpectedSessions { subject: Cow::Borrowed(subject), tokens };
        self.expected_sessions = Some(Box::new(expected));
        self
    }

    /// What becomes of the token of an absorbed session, if the changed one has `token` before the
    /// change. Stores record it like a rotation. The grace is that of the change's rotation, if it
    /// has one.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let merge = Change::new(b"both", DateTime::UNIX_EPOCH).absorbing("other", b"data");
    /// let recorded = merge.absorption("token");
    /// assert_eq!(recorded.new_token, "token", "the token `other` leads to it");
    /// assert!(!recorded.old_token_opens);
    /// ```
    pub fn absorption<'t>(&'t self, token: &'t str) -> Rotation<'t> {
        match &self.rotation {
            Some(rotation) => Rotation::new(&rotation.new_token).with_grace(rotation.grace),
            None => Rotation::new(token),
        }
    }

    /// The same for another thread.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let data = vec![1, 2, 3];
    /// let change = Change::new(&data, DateTime::UNIX_EPOCH).to_static();
    /// std::thread::spawn(move || assert_eq!(*change.data, [1, 2, 3])).join().expect("no panic");
    /// ```
    pub fn to_static(&self) -> Change<'static> {
        Change {
            data: Cow::Owned(self.data.to_vec()),
            expiry: self.expiry,
            rotation: self.rotation.as_ref().map(Rotation::to_static),
            subject: self
                .subject
                .as_ref()
                .map(|subject| subject.as_deref().map(|subject| Cow::Owned(subject.to_owned()))),
            absorbed: self.absorbed.iter().map(Absorbed::to_static).collect(),
            expected_sessions: self
                .expected_sessions
                .as_ref()
                .map(|expected| Box::new(expected.to_static())),
        }
    }

    /// Refuses a change with data, a new token or a subject that no session can have. Stores call
    /// it before they update.
    ///
    /// # Errors
    /// [`Error::DataTooLarge`], [`Error::InvalidToken`], [`Error::InvalidSubject`].
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::{Change, Error, Limits};
    ///
    /// let limits = Limits { max_token_len: 43, max_data_len: 2 };
    /// let change = Change::new(b"too long", DateTime::UNIX_EPOCH);
    /// assert!(matches!(change.check(&limits), Err(Error::DataTooLarge { len: 8, max: 2 })));
    /// ```
    pub fn check(&self, limits: &Limits) -> Result<(), Error> {
        limits.check_data(&self.data)?;
        if let Some(rotation) = &self.rotation {
            limits.check_token(&rotation.new_token)?;
        }
        if let Some(expected) = &self.expected_sessions {
            Limits::check_subject(&expected.subject)?;
        }
        self.new_subject().map_or(Ok(()), Limits::check_subject)
    }

    /// As [`check`](Self::check), for a session that is to be created with this token. Stores call
    /// it before they create.
    ///
    /// # Errors
    /// As for [`check`](Self::check), and [`Error::InvalidOption`] for a rotation and for a kept
    /// expiry: the session has no token yet that could become an old one, and no expiry.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::{Change, Error, Limits, Rotation};
    ///
    /// let change = Change::new(b"data", DateTime::UNIX_EPOCH);
    /// assert!(change.check_creation("token", &Limits::DEFAULT).is_ok());
    /// let rotation = change.with_rotation(Rotation::new("new"));
    /// let refused = rotation.check_creation("token", &Limits::DEFAULT);
    /// assert!(matches!(refused, Err(Error::InvalidOption { option: "rotation", .. })));
    /// ```
    pub fn check_creation(&self, token: &str, limits: &Limits) -> Result<(), Error> {
        limits.check_token(token)?;
        self.check(limits)?;
        if self.rotation.is_some() {
            let problem = "a session that is created has no earlier token".to_owned();
            return Err(Error::InvalidOption { option: "rotation", problem });
        }
        self.first_expiry().map(drop)
    }

    /// Returns the expiry of a session that the change creates.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if it keeps the expiry, which such a session doesn't have yet.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let expiry = DateTime::UNIX_EPOCH;
    /// assert_eq!(Change::new(b"data", expiry).first_expiry()?, expiry);
    /// assert!(Change::keeping_expiry(b"data").first_expiry().is_err());
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn first_expiry(&self) -> Result<DateTime<Utc>, Error> {
        let problem = || "a session that is created has no earlier expiry".to_owned();
        self.expiry.ok_or_else(|| Error::InvalidOption { option: "expiry", problem: problem() })
    }

    /// Returns the subject that the change sets, if it sets one.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let change = Change::new(b"data", DateTime::UNIX_EPOCH);
    /// assert_eq!(change.new_subject(), None);
    /// assert_eq!(change.with_subject(Some("user 7")).new_subject(), Some("user 7"));
    /// ```
    #[must_use]
    pub fn new_subject(&self) -> Option<&str> {
        self.subject.as_ref()?.as_deref()
    }

    /// Returns whether the change has conditions on sessions other than its own: those that it
    /// absorbs, and those of a subject.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let change = || Change::new(b"data", DateTime::UNIX_EPOCH).with_subject(Some("user 7"));
    /// assert!(!change().has_conditions());
    /// assert!(change().absorbing("other", b"data").has_conditions());
    /// assert!(change().expecting_sessions_of("user 7", []).has_conditions());
    /// ```
    #[must_use]
    pub fn has_conditions(&self) -> bool {
        !self.absorbed.is_empty() || self.expected_sessions.is_some()
    }

    /// Returns whether the change has to do with subjects, other than by clearing one: what a store
    /// without an index of subjects refuses.
    ///
    /// # Examples
    /// ```
    /// use chrono::DateTime;
    /// use store_core::Change;
    ///
    /// let change = || Change::new(b"data", DateTime::UNIX_EPOCH);
    /// assert!(change().with_subject(Some("user 7")).needs_subjects());
    /// assert!(change().expecting_sessions_of("user 7", []).needs_subjects());
    /// assert!(!change().with_subject(None).needs_subjects());
    /// ```
    #[must_use]
    pub fn needs_subjects(&self) -> bool {
        self.new_subject().is_some() || self.expected_sessions.is_some()
    }
}

impl fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("data_len", &self.data.len())
            .field("expiry", &self.expiry)
            .field("rotation", &self.rotation)
            .field("changes_subject", &self.subject.is_some())
            .field("absorbed", &self.absorbed.len())
            .field("expected_sessions", &self.expected_sessions)
            .finish()
    }
}

/// A session that ends with a [`Change`] of another one.
///
/// Its `Debug` output shows neither token nor data.
///
/// # Examples
/// ```
/// use chrono::DateTime;
/// use store_core::Change;
///
/// let merge = Change::new(b"both", DateTime::UNIX_EPOCH).absorbing("other", b"data");
/// assert_eq!(merge.absorbed[0].data.as_ref(), b"data");
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Absorbed<'a> {
    /// The token under which it is live.
    pub token: Cow<'a, str>,
    /// The data that it has, or else nothing is changed.
    pub data: Cow<'a, [u8]>,
    /// Whether its token leads to the changed session for the grace.
    pub leads_on: bool,
}

impl Absorbed<'_> {
    fn to_static(&self) -> Absorbed<'static> {
        Absorbed {
            token: Cow::Owned(self.token.as_ref().to_owned()),
            data: Cow::Owned(self.data.to_vec()),
            leads_on: self.leads_on,
        }
    }
}

impl fmt::Debug for Absorbed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Absorbed")
            .field("data_len", &self.data.len())
            .field("leads_on", &self.leads_on)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_secret() {
        let change = Change::new(b"SECRET", DateTime::UNIX_EPOCH)
            .with_rotation(Rotation::new("SECRET"))
            .with_subject(Some("SECRET"))
            .absorbing("SECRET", b"SECRET")
            .expecting_sessions_of("SECRET", ["SECRET"]);
        let output = format!("{change:?} {:?} {:?}", change.rotation, change.absorbed);
        assert!(!output.contains("SECRET") && !output.contains("83, 69"), "{output}");
    }
}
