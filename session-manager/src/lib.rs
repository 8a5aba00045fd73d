//! HTTP sessions for blocking web frameworks.
//!
//! [`SessionManager`] stands between a framework and any [`store_core::Store`]: it reads the cookie, loads
//! the session, and writes it back. [`Session`] has typed values, lifetimes and renewal. What sets it apart:
//!
//! - **Logout is final.** A request that loaded a session before another one destroyed or renewed it can't
//!   bring it back.
//! - **No update is lost.** Requests of one session that run at the same time both win; see
//!   [`Session::update`] for values that depend on the old one.
//! - **Reading costs one read.** An unchanged session writes nothing.
//! - **The defaults are secure**, and the store has only hashes of the tokens.
//!
//! # In an application
//! With rouille (feature `rouille`) a session takes three lines: see `SessionManager::rouille`.
//! Servers on the types of the `http` crate, such as oxhttp, use `SessionManager::http` (feature
//! `http`). For everything else: call [`SessionManager::load_from_headers`] with the request's Cookie
//! headers, and add what [`Session::finish`] gives to the response.
//!
//! ```
//! use session_manager::{Error, Header, SessionManager};
//! use store_core::MemoryStore;
//!
//! fn serve(sessions: &SessionManager, cookie_header: &[u8]) -> Result<(String, Vec<Header>), Error> {
//!     let mut session = sessions.load_from_headers([cookie_header])?;
//!     let visits = session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
//!     let page = format!("visit {visits}");
//!     Ok((page, session.finish()?))
//! }
//!
//! let sessions = SessionManager::new(MemoryStore::new()?);
//! let (page, headers) = serve(&sessions, b"")?;
//! assert_eq!(page, "visit 1");
//! assert_eq!(headers[0].0, "Set-Cookie");
//! # Ok::<(), Error>(())
//! ```

mod manager;

mod session;

mod stored_session;

mod content;

mod conflicts;

mod token;

mod cookie_policy;

mod codec;

mod event;

mod error;

#[cfg(any(feature = "rouille", feature = "http"))]
mod adapter;

#[cfg(any(feature = "rouille", feature = "http"))]
pub use adapter::ErrorResponse;
#[cfg(feature = "messagepack")]
pub use codec::messagepack::MessagePack;
pub use codec::{Codec, CodecError, Decoded, Json};
pub use cookie_policy::{CookiePolicy, SameSite};
pub use error::Error;
pub use event::{Event, EventKind};
pub use manager::SessionManager;
pub use session::finish::Header;
pub use session::{Session, Status};
pub use store_core::BoxError;
pub use stored_session::StoredSession;
pub use token::{Fingerprint, SessionKey};
