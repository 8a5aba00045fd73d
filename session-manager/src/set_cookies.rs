//! The cookies that a response sets, whatever the framework.

use cookie::Cookie;

use crate::session::finish::Finished;
use crate::session::headers::Header;

/// A response of some framework, or what [`Session::finish`](crate::Session::finish) returns.
///
/// # Examples
/// ```
/// use session_manager::testing::SetCookies;
///
/// let headers = [("Set-Cookie", "theme=dark; Path=/".to_owned()), ("Vary", "Cookie".to_owned())];
/// assert_eq!(headers[..].set_cookies(), ["theme=dark; Path=/"]);
/// ```
pub trait SetCookies {
    /// Returns the values of the Set-Cookie headers that are text.
    ///
    /// # Examples
    /// ```
    /// use session_manager::testing::SetCookies;
    ///
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let mut session = sessions.load([])?;
    /// session.insert("visits", 1)?;
    /// let finished = session.finish()?;
    /// assert!(finished.set_cookies()[0].starts_with("__Host-session="));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    fn set_cookies(&self) -> Vec<&str>;
}

impl SetCookies for [Header] {
    fn set_cookies(&self) -> Vec<&str> {
        let own = self.iter().filter(|(name, _)| *name == "Set-Cookie");
        own.map(|(_, value)| value.as_str()).collect()
    }
}

impl SetCookies for Finished {
    fn set_cookies(&self) -> Vec<&str> {
        self.headers.set_cookies()
    }
}

#[cfg(feature = "rouille")]
impl SetCookies for rouille::Response {
    fn set_cookies(&self) -> Vec<&str> {
        let headers = self.headers.iter();
        let own = headers.filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie"));
        own.map(|(_, value)| &**value).collect()
    }
}

#[cfg(feature = "http")]
impl<B> SetCookies for http::Response<B> {
    fn set_cookies(&self) -> Vec<&str> {
        let own = self.headers().get_all(http::header::SET_COOKIE).into_iter();
        own.filter_map(|value| value.to_str().ok()).collect()
    }
}

/// Returns the cookies of a name that a response sets or removes, in their order.
pub(crate) fn cookies_of_name<'r>(
    response: &'r (impl SetCookies + ?Sized),
    name: &str,
) -> impl Iterator<Item = Cookie<'r>> {
    let cookies = response.set_cookies().into_iter().filter_map(|value| Cookie::parse(value).ok());
    cookies.filter(move |cookie| cookie.name() == name)
}
