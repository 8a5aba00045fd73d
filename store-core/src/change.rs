//! What one atomic [`update`](crate::Store::update) does to a session.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{Error, Limits};

/// What [`Store::update`](crate::Store::update) does to a live session, in one atomic step.
///
/// It always sets data and expiry. Where asked for, it also gives the session a new token, sets or
/// clears its subject, and ends other sessions that this one absorbs. Its `Debug` output shows
/// neither tokens nor data.
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
    /// When the session expires.
    pub expiry: DateTime<Utc>,
    /// The session's new token, if it gets one.
    pub rotation: Option<Rotation<'a>>,
    /// The session's new subject, or `Some(None)` for no subject. `None` leaves the subject as it
    /// is.
    pub subject: Option<Option<Cow<'a, str>>>,
    /// The sessions that end with this change.
    pub absorbed: Vec<Absorbed<'a>>,
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
            expiry,
            rotation: None,
            subject: None,
            absorbed: Vec::new(),
        }
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
    pub fn absorbing(mut self, token: &'a str, data: &'a [u8]) -> Self {
        self.absorbed.push(Absorbed { token: Cow::Borrowed(token), data: Cow::Borrowed(data) });
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
        }
    }

    /// Refuses a change with data, a new token or a subject that no session can have. Stores call
    /// it before they write.
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
        match &self.subject {
            Some(Some(subject)) => Limits::check_subject(subject),
            Some(None) | None => Ok(()),
        }
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
            .finish()
    }
}

/// A new token for a session, and what the old one is good for during the *grace*.
///
/// For the grace, which is stored with the rotation and counted by the store's clock,
/// [`load`](crate::Store::load) of the old token names the newest one, and
/// [`delete`](crate::Store::delete) of it ends the session. Afterwards the old token is like one
/// never written. Its `Debug` output doesn't show the token.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use store_core::Rotation;
///
/// let renewal = Rotation::new("new-token");
/// assert_eq!(renewal.grace, Rotation::DEFAULT_GRACE);
/// assert!(!renewal.old_token_opens);
///
/// let routine = Rotation::new("new-token").with_grace(Duration::from_secs(5)).old_token_opens();
/// assert!(routine.old_token_opens);
/// ```
#[derive(Clone)]
#[non_exhaustive]
#[must_use]
pub struct Rotation<'a> {
    /// The token that the session has afterwards. It must not name a live session.
    pub new_token: Cow<'a, str>,
    /// How long the store knows what has become of the old token.
    pub grace: Duration,
    /// Whether the old token may still open the session during the grace. It may only if each later
    /// rotation allows it, too.
    pub old_token_opens: bool,
}

impl<'a> Rotation<'a> {
    /// 30 seconds: longer than a request is usually under way.
    ///
    /// # Examples
    /// ```
    /// use store_core::Rotation;
    ///
    /// assert_eq!(Rotation::DEFAULT_GRACE.as_secs(), 30);
    /// ```
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);

    /// One day.
    ///
    /// # Examples
    /// ```
    /// use store_core::Rotation;
    ///
    /// assert_eq!(Rotation::MAX_GRACE.as_secs(), 86_400);
    /// ```
    pub const MAX_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

    /// A rotation after which the old token opens nothing, with a grace of
    /// [`DEFAULT_GRACE`](Self::DEFAULT_GRACE): for a login, or whatever else changes rights.
    ///
    /// # Examples
    /// ```
    /// use store_core::Rotation;
    ///
    /// let login = Rotation::new("new-token");
    /// assert!(login.grace == Rotation::DEFAULT_GRACE && !login.old_token_opens);
    /// ```
    pub fn new(new_token: &'a str) -> Self {
        Self {
            new_token: Cow::Borrowed(new_token),
            grace: Self::DEFAULT_GRACE,
            old_token_opens: false,
        }
    }

    /// Sets the grace. More than [`MAX_GRACE`](Self::MAX_GRACE) counts as that.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use store_core::Rotation;
    ///
    /// let rotation = Rotation::new("new-token").with_grace(Duration::from_secs(5));
    /// assert_eq!(rotation.grace.as_secs(), 5);
    /// assert_eq!(rotation.with_grace(Duration::MAX).grace, Rotation::MAX_GRACE);
    /// ```
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(Self::MAX_GRACE);
        self
    }

    /// Lets the old token open the session during the grace: for a rotation that changes no rights.
    ///
    /// # Examples
    /// ```
    /// use store_core::Rotation;
    ///
    /// let routine = Rotation::new("new-token").old_token_opens();
    /// assert!(routine.old_token_opens);
    /// ```
    pub fn old_token_opens(mut self) -> Self {
        self.old_token_opens = true;
        self
    }

    /// The instants from and until which the grace counts, for a rotation at `now`.
    ///
    /// The grace counts for `from <= now < until`. It begins a grace before the rotation, so that
    /// the clocks of several servers may differ by that much. A clock that is set back further ends
    /// the grace and doesn't lengthen it.
    ///
    /// # Examples
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    /// use store_core::Rotation;
    ///
    /// let now = DateTime::UNIX_EPOCH;
    /// let (from, until) = Rotation::new("new-token").window(now);
    /// assert_eq!((now - from, until - now), (TimeDelta::seconds(30), TimeDelta::seconds(30)));
    /// ```
    #[must_use]
    pub fn window(&self, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let grace = TimeDelta::from_std(self.grace.min(Self::MAX_GRACE)).unwrap_or(TimeDelta::MAX);
        let from = now.checked_sub_signed(grace).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let until = now.checked_add_signed(grace).unwrap_or(DateTime::<Utc>::MAX_UTC);
        (from, until)
    }

    fn to_static(&self) -> Rotation<'static> {
        Rotation {
            new_token: Cow::Owned(self.new_token.as_ref().to_owned()),
            grace: self.grace,
            old_token_opens: self.old_token_opens,
        }
    }
}

impl fmt::Debug for Rotation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("grace", &self.grace)
            .field("old_token_opens", &self.old_token_opens)
            .finish_non_exhaustive()
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
}

impl Absorbed<'_> {
    fn to_static(&self) -> Absorbed<'static> {
        Absorbed {
            token: Cow::Owned(self.token.as_ref().to_owned()),
            data: Cow::Owned(self.data.to_vec()),
        }
    }
}

impl fmt::Debug for Absorbed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Absorbed").field("data_len", &self.data.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_stays_within_the_calendar() {
        let rotation = Rotation::new("new").with_grace(Duration::MAX);
        assert_eq!(rotation.grace, Duration::from_secs(86_400));
        let (from, _) = rotation.window(DateTime::<Utc>::MIN_UTC);
        assert_eq!(from, DateTime::<Utc>::MIN_UTC);
        let (_, until) = rotation.window(DateTime::<Utc>::MAX_UTC);
        assert_eq!(until, DateTime::<Utc>::MAX_UTC);
        let now = DateTime::UNIX_EPOCH;
        let (from, until) = Rotation::new("new").window(now);
        assert_eq!((now - from, until - now), (TimeDelta::seconds(30), TimeDelta::seconds(30)));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let change = Change::new(b"SECRET", DateTime::UNIX_EPOCH)
            .with_rotation(Rotation::new("SECRET"))
            .with_subject(Some("SECRET"))
            .absorbing("SECRET", b"SECRET");
        let output = format!("{change:?} {:?} {:?}", change.rotation, change.absorbed);
        assert!(!output.contains("SECRET") && !output.contains("83, 69"), "{output}");
    }
}
