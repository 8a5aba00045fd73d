//! HTTP sessions for blocking web frameworks.
//!
//! [`SessionManager`] stands between a framework and any [`store_core::Store`]: it reads the
//! cookie, loads the session, and writes it back. [`Session`] has typed values, lifetimes and
//! renewal. What sets it apart:
//!
//! - **One request, one write.** What a request changes happens as a whole or not at all.
//! - **Logout is final.** A request that loaded a session before another one destroyed or renewed
//!   it can't bring it back.
//! - **No update is lost.** Requests of one session that run at the same time both win; see
//!   [`Session::update`] for values that depend on the old one.
//! - **Reading costs one read.** An unchanged session writes nothing.
//! - **The defaults are secure**, and the store has only hashes of the tokens.
//!
//! # In an application
//! With rouille (feature `rouille`) a session takes three lines: see
//! [`SessionManager::rouille`](SessionManager#method.rouille). Servers on the types of the `http`
//! crate, such as oxhttp, use [`SessionManager::http`](SessionManager#method.http) (feature
//! `http`). For everything else: call [`SessionManager::check_origin`] with what the request says
//! of itself, [`SessionManager::load_from_headers`] with its Cookie headers, and add the headers
//! that [`Session::finish`] returns to the response. For each of the three ways there is an
//! application to copy from among the package's examples: `accounts`, `api` and `shop`.
//!
//! ```
//! use session_manager::{Error, Header, SessionManager};
//! use store_core::MemoryStore;
//!
//! fn serve(
//!     sessions: &SessionManager,
//!     cookie_header: &[u8],
//! ) -> Result<(String, Vec<Header>), Error> {
//!     let mut session = sessions.load_from_headers([cookie_header])?;
//!     let visits = session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
//!     let page = format!("visit {visits}");
//!     Ok((page, session.finish()?.headers))
//! }
//!
//! let sessions = SessionManager::new(MemoryStore::new()?);
//! let (page, headers) = serve(&sessions, b"")?;
//! assert_eq!(page, "visit 1");
//! assert_eq!(headers[0].0, "Set-Cookie");
//! # Ok::<(), Error>(())
//! ```
//!
//! # Login and logout
//! [`Session::set_subject`] at a login, [`Session::destroy`] at a logout; with a subject, the
//! sessions of a user can be listed ([`SessionManager::sessions_of`]) and ended
//! ([`Session::destroy_others`], [`SessionManager::destroy_all_of`]).
//!
//! # Forms
//! The adapters refuse requests that another site has made the browser send
//! ([`SessionManager::check_origin`]). The forms of what is dangerous can have a token as well:
//! [`Session::form_token`], [`Session::check_form_token`].
//!
//! # Tests
//! [`testing::Browser`] makes requests with a session, and reads the session of a response.
//!
//! # Guides
//! - [`guide::security`]: the defaults, what the application has to do, and how OWASP, ASVS and RFC
//!   6265bis are met.
//! - [`guide::encryption`]: sessions that are encrypted in the store, and keys that change.
//! - [`guide::device_bound`]: sessions that are bound to the device of their browser.
//! - [`guide::states`]: what requests of the same session can do to each other.
//! - [`guide::from_scs`]: for Go programmers who know SCS, and for sharing sessions with a Go
//!   program.
//! - [`guide::peers`]: what the tests of SCS, tower-sessions, Django and express-session check, and
//!   what happens here.
//!
//! # Features
//! | feature | what it adds |
//! |---|---|
//! | `rouille` | [`SessionManager::rouille`](SessionManager#method.rouille) |
//! | `http` | [`SessionManager::http`](SessionManager#method.http), for servers on that crate's types |
//! | `messagepack` | the codec `MessagePack` |
//! | `sealed` | the codec `Sealed`: a copy of the store shows no values; users as hashes |
//! | `dbsc` | sessions that are bound to their device, `Session::bind_to_device` |
//! | `dbsc-rs256` | also to devices that have RSA keys alone, `BindingPolicy::with_rsa_keys` |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod manager;

mod session;

mod stored_session;

mod content;

mod lifetimes;

mod conflicts;

mod reported_tokens;

mod sync;

mod token;

mod form_secret;

mod session_key;

mod session_id;

mod session_limit;

mod session_summary;

mod subject;

mod device;

#[cfg(feature = "dbsc")]
mod device_bound;

mod sent_device_cookies;

mod cookie_policy;

mod codec;

mod event;

mod error;

mod unopened;

mod request_head;

mod cross_origin;

mod error_response;

mod set_cookies;

pub mod testing;

#[cfg(any(feature = "rouille", feature = "http"))]
mod adapter;

#[cfg(doc)]
pub mod guide;

#[cfg(any(feature = "rouille", feature = "http"))]
pub use adapter::handler_result::HandlerResult;
/// The crate of the API's instants, so that an application needs no version of its own.
pub use chrono;
pub use codec::json::Json;
#[cfg(feature = "messagepack")]
pub use codec::messagepack::MessagePack;
#[cfg(feature = "sealed")]
pub use codec::sealed::{
    Sealed, key::SecretKey, key_error::KeyError, key_ring::KeyRing, reseal::Resealed,
};
pub use codec::{Codec, CodecError, Decoded, OpenError, Row};
pub use content::values::MAX_VALUES;
pub use cookie_policy::{CookiePolicy, SameSite};
pub use device::Device;
#[cfg(feature = "dbsc")]
pub use device_bound::{
    binding_policy::BindingPolicy, device_binding::DeviceBinding, device_response::DeviceResponse,
};
pub use error::Error;
pub use error_response::ErrorResponse;
pub use event::{EndCause, Event, EventKind};
pub use manager::SessionManager;
pub use request_head::RequestHead;
pub use session::finish::Finished;
pub use session::headers::Header;
pub use session::{Session, Status};
pub use session_id::{ParseSessionIdError, SessionId};
pub use session_key::SessionKey;
pub use session_limit::SessionLimit;
pub use session_summary::SessionSummary;
/// The crate of the stores' trait and of the store in memory, so that an application needs no
/// version of its own.
pub use store_core;
pub use store_core::BoxError;
pub use stored_session::StoredSession;
#[cfg(feature = "sealed")]
pub use subject::hashed_subject_in_store;
pub use subject::subject_in_store;
pub use unopened::Unopened;

// The examples of the repository's guide.
#[cfg(all(doctest, feature = "rouille"))]
mod pages {
    #[doc = include_str!("../../docs/login.md")]
    struct Login;

    #[doc = include_str!("../../docs/lifetimes.md")]
    struct Lifetimes;

    #[doc = include_str!("../../docs/testing.md")]
    struct Testing;

    #[doc = include_str!("../../docs/moving-a-store.md")]
    struct Moving;
}
