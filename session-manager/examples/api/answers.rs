//! JSON in, JSON out, and refusals.

use std::error::Error;
use std::fmt;
use std::io::Read as _;

use oxhttp::model::header::{ALLOW, CONTENT_TYPE};
use oxhttp::model::{Body, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use session_manager::{BoxError, ErrorResponse};

const JSON: &str = "application/json";

/// In bytes. What is longer is cut off.
const MAX_BODY: u64 = 4096;

/// A request that the application refuses. Nothing of its session is written.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) &'static str);

pub(crate) const LOG_IN_FIRST: Refusal = Refusal(StatusCode::UNAUTHORIZED, "log in first");
pub(crate) const NO_SUCH_THING: Refusal = Refusal(StatusCode::NOT_FOUND, "there is no such thing");

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }
}

impl Error for Refusal {}

/// The application's refusals, and what else may fail: the store, a request of another site.
pub(crate) fn json_error(error: &(dyn Error + 'static)) -> ErrorResponse {
    let mut response = match error.downcast_ref() {
        Some(Refusal(status, why)) => ErrorResponse::new(status.as_u16(), JSON, *why),
        None => ErrorResponse::default_for(error),
    };
    response.content_type = JSON;
    response.body = json!({ "error": response.body.trim_end() }).to_string();
    response
}

pub(crate) fn json(status: StatusCode, body: &Value) -> Result<Response<Body>, BoxError> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, JSON);
    Ok(response.body(Body::from(body.to_string()))?)
}

pub(crate) fn not_allowed(allowed: &str) -> Result<Response<Body>, BoxError> {
    let mut response =
        json(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "this has other methods" }))?;
    response.headers_mut().insert(ALLOW, allowed.try_into()?);
    Ok(response)
}

pub(crate) fn no_content() -> Result<Response<Body>, BoxError> {
    Ok(Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty())?)
}

pub(crate) fn read<T: DeserializeOwned>(request: &mut Request<Body>) -> Result<T, Refusal> {
    let read = serde_json::from_reader(request.body_mut().take(MAX_BODY));
    read.map_err(|_| Refusal(StatusCode::BAD_REQUEST, "the body isn't what is expected"))
}
