//! What the adapters for web frameworks share.

#[cfg(feature = "rouille")]
pub(crate) mod rouille;

#[cfg(feature = "http")]
mod http;

pub(crate) mod handler_result;

use cookie::Cookie;
use store_core::BoxError;

use crate::adapter::handler_result::HandlerResult;
use crate::codec::Codec;
use crate::error::Error;
use crate::session::Session;
use crate::session::headers::Header;
use crate::set_cookies::{SetCookies, cookies_of_name};
use crate::token::Token;

/// The handler's response with the headers to add to it, or why the handler or the session failed
/// with the headers for the response to that.
pub(crate) type Answer<R> = Result<(R, Vec<Header>), (BoxError, Vec<Header>)>;

/// Calls the handler and writes the session. `cookie` is the name of the session's cookie.
pub(crate) fn run<'m, C: Codec, R: SetCookies, H: HandlerResult<R>>(
    cookie: &str,
    session: Result<Session<'m, C>, Error>,
    handler: impl FnOnce(&mut Session<'m, C>) -> H,
) -> Answer<R> {
    let mut session = session.map_err(|error| (error.into(), Vec::new()))?;
    let answer = handler(&mut session).into_result();
    // A logout is carried out by now, so the cookie is removed, whatever fails.
    let mut removal = session.removal_headers();
    // Responses to failures have that header already.
    removal.retain(|(name, _)| *name != "Cache-Control");
    let written = answer.and_then(|response| {
        // An adapter inside the handler has given the browser another session. It may still remove
        // one, as an application may that has moved its cookie to another path or domain.
        let is_session = |cookie: Cookie<'_>| Token::parse(cookie.value()).is_some();
        if cookies_of_name(&response, cookie).any(is_session) {
            return Err(Error::CookieSetTwice.into());
        }
        Ok((response, session.write_back()?.0))
    });
    written.map_err(|failure| (failure, removal))
}
