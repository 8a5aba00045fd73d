//! The backend of a single-page application, all JSON: login and logout, devices, a password whose
//! change asks who is there, and roles that an administrator changes. With oxhttp: a server on the
//! types of the `http` crate.
//!
//! ```text
//! cargo run --package sync-session-manager --example api --features http -- 127.0.0.1:4000
//! curl -i 127.0.0.1:4000/login -d '{"user": "ada", "password": "engine"}'
//! ```
//!
//! A second argument says for how many seconds a login is proof enough for a new password.

mod answers;

use std::collections::HashMap;
use std::env;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use oxhttp::Server;
use oxhttp::model::header::{CACHE_CONTROL, USER_AGENT, WWW_AUTHENTICATE};
use oxhttp::model::{Body, HeaderValue, Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use session_manager::store_core::MemoryStore;
use session_manager::{BoxError, CookiePolicy, Device, Session, SessionId, SessionManager};

use crate::answers::{
    LOG_IN_FIRST, NO_SUCH_THING, Refusal, json, json_error, no_content, not_allowed, read,
};

const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
const ROTATION: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Administrator,
    Editor,
    Reader,
}

struct User {
    /// In an application, a hash of it.
    password: String,
    role: Role,
}

struct Api {
    sessions: SessionManager,
    /// In an application, its table of users.
    users: Mutex<HashMap<String, User>>,
    proof_lasts: Duration,
}

fn main() -> Result<(), BoxError> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:4000".to_owned());
    let proof_lasts = arguments.next().map_or(Ok(600), |seconds| seconds.parse())?;

    // This example speaks plain HTTP. Behind HTTPS, leave the cookie as it is: remove the second
    // line.
    let sessions = SessionManager::new(MemoryStore::new()?)
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?
        .with_idle_timeout(IDLE_TIMEOUT)?
        .with_rotation(ROTATION)?
        .with_error_responder(|error, _| json_error(error));
    let user = |name: &str, password: &str, role| {
        (name.to_owned(), User { password: password.to_owned(), role })
    };
    let users = [user("root", "secret", Role::Administrator), user("ada", "engine", Role::Editor)];
    let api = Api {
        sessions,
        users: Mutex::new(users.into()),
        proof_lasts: Duration::from_secs(proof_lasts),
    };

    let server = Server::new(move |request| api.serve(request));
    let server = server.bind(address.parse::<SocketAddr>()?).spawn()?;
    writeln!(io::stdout(), "Listening on http://{address}/")?;
    Ok(server.join()?)
}

impl Api {
    fn serve(&self, request: &mut Request<Body>) -> Response<Body> {
        let mut response =
            self.sessions.http(request, |request, session| self.route(request, session));
        if response.status() == StatusCode::UNAUTHORIZED {
            // Which HTTP demands. No browser asks for a password because of it.
            let scheme = HeaderValue::from_static("Session");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if *request.method() == Method::HEAD {
            // The server doesn't leave it out by itself.
            *response.body_mut() = Body::empty();
        }
        response
    }

    fn route(
        &self,
        request: &mut Request<Body>,
        session: &mut Session<'_>,
    ) -> Result<Response<Body>, BoxError> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let path: Vec<_> = path.split('/').skip(1).collect();
        let allowed = match path[..] {
            ["login" | "logout" | "password"] => "POST",
            ["me"] => "GET, HEAD",
            ["sessions"] => "GET, HEAD, DELETE",
            ["sessions", _] => "DELETE",
            ["users", _, "role"] => "PUT",
            _ => return Err(NO_SUCH_THING.into()),
        };
        match (method.as_str(), &path[..]) {
            ("POST", ["login"]) => self.log_in(request, session),
            ("POST", ["logout"]) => {
                session.destroy()?;
                no_content()
            }
            ("POST", ["password"]) => self.change_password(request, session),
            ("GET" | "HEAD", ["me"]) => me(session),
            ("GET" | "HEAD", ["sessions"]) => self.list_sessions(session),
            ("DELETE", ["sessions"]) => {
                user_of(session)?;
                session.destroy_others()?;
                no_content()
            }
            ("DELETE", ["sessions", id]) => self.end_session(id, session),
            ("PUT", ["users", name, "role"]) => self.change_role(name, request, session),
            _ => not_allowed(allowed),
        }
    }

    fn log_in(
        &self,
        request: &mut Request<Body>,
        session: &mut Session<'_>,
    ) -> Result<Response<Body>, BoxError> {
        #[derive(Deserialize)]
        struct Login {
            user: String,
            password: String,
        }
        let login: Login = read(request)?;
        let role = match self.users.lock().get(&login.user) {
            Some(user) if user.password == login.password => user.role,
            _ => return Err(Refusal(StatusCode::UNAUTHORIZED, "wrong name or password").into()),
        };
        session.set_subject(&login.user)?;
        // Also if the same user logs in again.
        session.mark_authenticated()?;
        session.insert("role", role)?;
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        session.set_device(&Device::new().with_user_agent(agent.unwrap_or_default()))?;
        me(session)
    }

    fn change_password(
        &self,
        request: &mut Request<Body>,
        session: &mut Session<'_>,
    ) -> Result<Response<Body>, BoxError> {
        #[derive(Deserialize)]
        struct Passwords {
            current: Option<String>,
            new: String,
        }
        let user = user_of(session)?;
        let passwords: Passwords = read(request)?;
        let mut users = self.users.lock();
        let own = users.get_mut(&user).ok_or(LOG_IN_FIRST)?;
        match passwords.current {
            Some(current) if current == own.password => session.mark_authenticated()?,
            None if session.authenticated_within(self.proof_lasts) => session.renew()?,
            _ => {
                return Err(Refusal(
                    StatusCode::FORBIDDEN,
                    "the current password is needed as well",
                )
                .into());
            }
        }
        // Whoever knew the old one is out.
        session.destroy_others()?;
        own.password = passwords.new;
        no_content()
    }

    fn list_sessions(&self, session: &Session<'_>) -> Result<Response<Body>, BoxError> {
        let user = user_of(session)?;
        let all = self.sessions.sessions_of(&user)?.into_iter().map(|other| {
            json!({
                "id": other.id().to_string(),
                "is_this": session.id() == Some(other.id()),
                "user_agent": other.device().unwrap_or_default().user_agent(),
                "last_used": other.last_used().map(|time| time.to_rfc3339()),
            })
        });
        json(StatusCode::OK, &all.collect())
    }

    fn end_session(&self, id: &str, session: &mut Session<'_>) -> Result<Response<Body>, BoxError> {
        let user = user_of(session)?;
        let id: SessionId = id.parse().map_err(|_| NO_SUCH_THING)?;
        if session.id() == Some(id) {
            session.destroy()?;
        } else if !self.sessions.destroy_one_of(&user, id)? {
            return Err(NO_SUCH_THING.into());
        }
        no_content()
    }

    fn change_role(
        &self,
        name: &str,
        request: &mut Request<Body>,
        session: &mut Session<'_>,
    ) -> Result<Response<Body>, BoxError> {
        user_of(session)?;
        if session.get("role")? != Some(Role::Administrator) {
            return Err(Refusal(StatusCode::FORBIDDEN, "only administrators may do that").into());
        }
        let role: Role = read(request)?;
        // For later logins, and then for the sessions that there are.
        self.users.lock().get_mut(name).ok_or(NO_SUCH_THING)?.role = role;
        let changed = self.sessions.update_all_of(name, |other| other.insert("role", role))?;
        json(StatusCode::OK, &json!({ "sessions": changed }))
    }
}

fn me(session: &Session<'_>) -> Result<Response<Body>, BoxError> {
    let role: Option<Role> = session.get("role")?;
    json(StatusCode::OK, &json!({ "user": user_of(session)?, "role": role }))
}

fn user_of(session: &Session<'_>) -> Result<String, Refusal> {
    session.subject().ok_or(LOG_IN_FIRST)
}
