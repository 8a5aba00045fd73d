//! The response to a request that failed, the same for every framework.

use std::error::Error as StdError;
use std::iter;
use std::sync::Arc;

use store_core::ErrorChain;

#[cfg(feature = "rouille")]
use crate::adapter::rouille::is_bad_input;
use crate::error::Error;
use crate::request_head::RequestHead;
use crate::session::headers::Header;

pub(crate) type ErrorResponder =
    Arc<dyn Fn(&(dyn StdError + 'static), &RequestHead<'_>) -> ErrorResponse + Send + Sync>;

const TEXT: &str = "text/plain; charset=utf-8";

/// The response to a request that failed. The adapters send it; without one, see
/// [`SessionManager::error_response`](crate::SessionManager::error_response).
///
/// # Examples
/// ```
/// use session_manager::{ErrorResponse, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?).with_error_responder(|error, _| {
///     let mut response = ErrorResponse::default_for(error);
///     response.body = "<h1>Sorry</h1><p>Please try again.</p>".to_owned();
///     response.content_type = "text/html; charset=utf-8";
///     response
/// });
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorResponse {
    /// The HTTP status.
    pub status: u16,
    /// Seconds after which the visitor may try again, for a Retry-After header.
    pub retry_after: Option<u32>,
    /// The type of the body.
    pub content_type: &'static str,
    /// The body. It should not quote the error.
    pub body: String,
    /// Others than those of the fields.
    more_headers: Vec<Header>,
}

impl ErrorResponse {
    /// Returns a response to an error that is the application's own, such as a request that it
    /// refuses. Nothing goes to the log.
    ///
    /// # Examples
    /// ```
    /// use std::fmt;
    ///
    /// use session_manager::{ErrorResponse, SessionManager};
    /// use store_core::MemoryStore;
    ///
    /// /// A handler returns it, and nothing of the session is written.
    /// #[derive(Debug)]
    /// struct LogInFirst;
    ///
    /// impl fmt::Display for LogInFirst {
    ///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    ///         f.write_str("nobody has logged in")
    ///     }
    /// }
    ///
    /// impl std::error::Error for LogInFirst {}
    ///
    /// let sessions = SessionManager::new(MemoryStore::new()?);
    /// let sessions = sessions.with_error_responder(|error, _| match error.downcast_ref() {
    ///     Some(LogInFirst) => ErrorResponse::new(401, "text/plain", "Please log in.\n"),
    ///     None => ErrorResponse::default_for(error),
    /// });
    /// # let request = session_manager::RequestHead::new("GET", "/", |_| None);
    /// # assert_eq!(sessions.error_response(&LogInFirst, &request).status, 401);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn new(status: u16, content_type: &'static str, body: impl Into<String>) -> Self {
        let (body, more_headers) = (body.into(), Vec::new());
        Self { status, retry_after: None, content_type, body, more_headers }
    }

    /// Adds a header, unless the value has control characters, which no header may have.
    ///
    /// # Examples
    /// ```
    /// use session_manager::ErrorResponse;
    ///
    /// let response = ErrorResponse::new(303, "text/plain", "").with_header("Location", "/login");
    /// assert!(response.headers().contains(&("Location", "/login".to_owned())));
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.contains(char::is_control) {
            self.more_headers.push((name, value));
        }
        self
    }

    /// Returns the response unless the application has another one. What decides is the first of
    /// the error and its causes ([`source`](StdError::source)) that is one of these:
    ///
    /// | error | status |
    /// |---|---|
    /// | [`Error::Superseded`]: the session has ended or was renewed in the meantime | 409 |
    /// | [`Error::TooManySessions`]: a login is refused | 409 |
    /// | [`Error::CrossOrigin`]: the request comes from another site | 403 |
    /// | [`Error::FormToken`]: the form has no token of this session | 403 |
    /// | with the feature `dbsc`: a bound session without a proof of its device | 403 |
    /// | one that may pass ([`Error::is_retryable`]; the store's, too) | 503, with Retry-After: 5 |
    /// | with the feature `rouille`: a form or JSON that the request should have and hasn't | 400 |
    /// | any other | 500 |
    ///
    /// The error and its causes go to the log.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Error, ErrorResponse};
    ///
    /// let response = ErrorResponse::default_for(&Error::Conflict { attempts: 64 });
    /// assert_eq!((response.status, response.retry_after), (503, Some(5)));
    /// let response = ErrorResponse::default_for(&Error::Superseded);
    /// assert_eq!((response.status, response.retry_after), (409, None));
    /// ```
    #[must_use]
    pub fn default_for(error: &(dyn StdError + 'static)) -> Self {
        let mut causes = iter::successors(Some(error), |&error| error.source());
        let cause = causes.find_map(Cause::of).unwrap_or(Cause::Unknown);
        let level = match cause {
            Cause::Superseded
            | Cause::OtherSite
            | Cause::OldForm
            | Cause::TooManySessions
            | Cause::BadInput => log::Level::Info,
            #[cfg(feature = "dbsc")]
            Cause::OtherDevice => log::Level::Info,
            Cause::Temporary | Cause::Unknown => log::Level::Error,
        };
        log::log!(level, "a request failed: {}", ErrorChain(error));
        let (status, body) = match cause {
            Cause::Superseded => (
                409,
                "Your session has ended or changed in the meantime. \
                 Please reload the page and try again.\n",
            ),
            Cause::OtherSite => (403, "This request came from another site.\n"),
            Cause::OldForm => {
                (403, "This form is outdated. Please reload its page and try again.\n")
            }
            #[cfg(feature = "dbsc")]
            Cause::OtherDevice => (
                403,
                "Your browser has not shown yet that this is your device. \
                 Please reload the page, or log in again.\n",
            ),
            Cause::TooManySessions => (
                409,
                "You are logged in on as many devices as you may be. \
                 Please log out on one of them and try again.\n",
            ),
            Cause::BadInput => (400, "That isn't what this page expects.\n"),
            Cause::Temporary => {
                (503, "The service is busy or down for a moment. Please try again.\n")
            }
            Cause::Unknown => (500, "Something went wrong on our side.\n"),
        };
        let retry_after = matches!(cause, Cause::Temporary).then_some(5);
        Self { retry_after, ..Self::new(status, TEXT, body) }
    }

    /// Returns the headers of the response: Content-Type, Cache-Control, Retry-After if there is
    /// one, and those that were added.
    ///
    /// # Examples
    /// ```
    /// use session_manager::{Error, ErrorResponse};
    ///
    /// let headers = ErrorResponse::default_for(&Error::Superseded).headers();
    /// assert!(headers.contains(&("Cache-Control", "no-store".to_owned())));
    /// ```
    #[must_use]
    pub fn headers(&self) -> Vec<Header> {
        let mut headers = vec![
            ("Content-Type", self.content_type.to_owned()),
            ("Cache-Control", "no-store".to_owned()),
        ];
        if let Some(seconds) = self.retry_after {
            headers.push(("Retry-After", seconds.to_string()));
        }
        headers.extend(self.more_headers.iter().cloned());
        headers
    }
}

/// What is to blame, as far as the response differs by it.
#[derive(Clone, Copy)]
enum Cause {
    /// Another request of the same session.
    Superseded,
    OtherSite,
    /// A form without a good token.
    OldForm,
    /// No proof of the session's device.
    #[cfg(feature = "dbsc")]
    OtherDevice,
    TooManySessions,
    /// The request.
    BadInput,
    /// Something that may pass by itself.
    Temporary,
    Unknown,
}

impl Cause {
    /// Returns what one error of a chain says.
    fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        if is_bad_input(error) {
            return Some(Self::BadInput);
        }
        let is_retryable = match error.downcast_ref() {
            Some(Error::Superseded) => return Some(Self::Superseded),
            Some(Error::CrossOrigin { .. }) => return Some(Self::OtherSite),
            Some(Error::FormToken) => return Some(Self::OldForm),
            #[cfg(feature = "dbsc")]
            Some(Error::DeviceUnproven) => return Some(Self::OtherDevice),
            Some(Error::TooManySessions { .. }) => return Some(Self::TooManySessions),
            Some(error) => error.is_retryable(),
            None => error.downcast_ref().is_some_and(store_core::Error::is_retryable),
        };
        is_retryable.then_some(Self::Temporary)
    }
}

/// Without an adapter's framework there are no errors of one.
#[cfg(not(feature = "rouille"))]
fn is_bad_input(_: &(dyn StdError + 'static)) -> bool {
    false
}
