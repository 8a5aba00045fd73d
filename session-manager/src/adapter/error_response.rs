//! The response to a request that failed, the same for every framework.

use std::error::Error as StdError;
use std::sync::Arc;

use store_core::ErrorChain;

use crate::error::Error;

pub(crate) type ErrorResponder =
    Arc<dyn Fn(&(dyn StdError + 'static)) -> ErrorResponse + Send + Sync>;

/// How an adapter answers a request that failed.
///
/// # Examples
/// ```
/// use session_manager::{ErrorResponse, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?).with_error_responder(|error| {
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
}

impl ErrorResponse {
    /// Returns what adapters answer unless told otherwise: 503 with Retry-After: 5 if a later
    /// request may succeed ([`Error::is_retryable`]), 409 if the session has ended or was renewed
    /// in the meantime ([`Error::Superseded`]), 500 for everything else. The error and its causes
    /// go to the log.
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
        if let Some(Error::Superseded) = error.downcast_ref() {
            log::info!("a request failed: {}", ErrorChain(error));
            return Self {
                status: 409,
                retry_after: None,
                content_type: "text/plain; charset=utf-8",
                body: "Your session has ended or changed in the meantime. \
                       Please reload the page and try again.\n"
                    .to_owned(),
            };
        }
        log::error!("a request failed: {}", ErrorChain(error));
        let is_retryable = match error.downcast_ref::<store_core::Error>() {
            Some(error) => error.is_retryable(),
            None => error.downcast_ref().is_some_and(Error::is_retryable),
        };
        Self {
            status: if is_retryable { 503 } else { 500 },
            retry_after: is_retryable.then_some(5),
            content_type: "text/plain; charset=utf-8",
            body: if is_retryable {
                "The service is busy or down for a moment. Please try again.\n".to_owned()
            } else {
                "Something went wrong on our side.\n".to_owned()
            },
        }
    }
}
