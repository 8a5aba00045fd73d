//! How a session gets a new token, and for how long the store knows the old one.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

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

    pub(crate) fn to_static(&self) -> Rotation<'static> {
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
}
