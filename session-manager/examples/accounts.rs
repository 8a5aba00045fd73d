//! Accounts: login and logout, messages that are shown once, “remember me”, a list of devices whose
//! sessions can be ended, and a role that an administrator takes away at once. With rouille.
//!
//! ```text
//! cargo run --package sync-session-manager --example accounts --features rouille -- 127.0.0.1:4000
//! ```
//!
//! It has no passwords: whoever says that they are “root” is the administrator.

#![expect(clippy::needless_continue, reason = "rouille's `post_input!` has one")]

use std::io::Write as _;
use std::time::Duration;
use std::{env, io};

use chrono::{TimeDelta, Utc};
use rouille::{Request, Response, Server, post_input};
use session_manager::store_core::MemoryStore;
use session_manager::{
    BoxError, CookiePolicy, Device, Session, SessionId, SessionLimit, SessionManager,
};

const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// “Remember me”.
const REMEMBERED: TimeDelta = TimeDelta::days(30);

/// How long after a login what is dangerous needs no other one.
const FRESH: Duration = Duration::from_secs(10 * 60);

fn main() -> Result<(), BoxError> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4000".to_owned());

    // This example speaks plain HTTP. Behind HTTPS, leave the cookie as it is: remove the second
    // line.
    let sessions = SessionManager::new(MemoryStore::new()?)
        .with_cookie(CookiePolicy::new().insecure_for_local_development())?
        .with_idle_timeout(IDLE_TIMEOUT)?
        .with_session_limit(SessionLimit::EndOldest(5))?;

    let server = Server::new(address, move |request| {
        sessions.rouille(request, |session| route(&sessions, request, session))
    })?;
    writeln!(io::stdout(), "Open http://{}/ in a browser.", server.server_addr())?;
    server.run();
    Ok(())
}

fn route(
    sessions: &SessionManager,
    request: &Request,
    session: &mut Session<'_>,
) -> Result<Response, BoxError> {
    match (request.method(), &*request.url()) {
        ("GET", "/") => home(sessions, session),
        // A page asks for it every 30 seconds, also while its visitor is away.
        ("GET", "/alive") => {
            session.ignore_use();
            Ok(Response::text(session.subject().unwrap_or_default()))
        }
        ("POST", "/login") => log_in(request, session),
        ("POST", "/logout") => {
            session.destroy()?;
            session.flash("message", "Logged out.")?;
            Ok(Response::redirect_303("/"))
        }
        ("POST", "/end") => end(sessions, request, session),
        ("POST", "/demote") => demote(sessions, request, session),
        _ => Ok(Response::empty_404()),
    }
}

fn log_in(request: &Request, session: &mut Session<'_>) -> Result<Response, BoxError> {
    let form = post_input!(request, { token: String, user: String, remember: bool })?;
    session.check_form_token(&form.token)?;
    session.set_subject(&form.user)?;
    // Also if the same user logs in again.
    session.mark_authenticated()?;
    session.insert("role", if form.user == "root" { "administrator" } else { "editor" })?;
    let user_agent = request.header("User-Agent").unwrap_or_default();
    let address = request.remote_addr().ip().to_string();
    session.set_device(&Device::new().with_user_agent(user_agent).with_address(&address))?;
    if form.remember {
        session.remember_me(true)?;
        session.set_idle_timeout(None)?;
        session.set_deadline(Utc::now() + REMEMBERED);
    }
    session.flash("message", "Welcome.")?;
    Ok(Response::redirect_303("/"))
}

/// Ends another session of the user.
fn end(
    sessions: &SessionManager,
    request: &Request,
    session: &mut Session<'_>,
) -> Result<Response, BoxError> {
    let form = post_input!(request, { token: String, session: String })?;
    session.check_form_token(&form.token)?;
    let Some(user) = session.subject() else { return Ok(Response::redirect_303("/")) };
    if !session.authenticated_within(FRESH) {
        session.flash("message", "Please log in again for that.")?;
        return Ok(Response::redirect_303("/"));
    }
    let Ok(id) = form.session.parse::<SessionId>() else { return Ok(Response::empty_400()) };
    let message =
        if sessions.destroy_one_of(&user, id)? { "It has ended." } else { "It had ended before." };
    session.flash("message", message)?;
    Ok(Response::redirect_303("/"))
}

/// Takes a role away from a user, in all of their sessions.
fn demote(
    sessions: &SessionManager,
    request: &Request,
    session: &mut Session<'_>,
) -> Result<Response, BoxError> {
    let form = post_input!(request, { token: String, user: String })?;
    session.check_form_token(&form.token)?;
    if session.get::<String>("role")?.as_deref() != Some("administrator") {
        return Ok(Response::text("Only administrators may do that.").with_status_code(403));
    }
    let changed = sessions.update_all_of(&form.user, |other| other.insert("role", "reader"))?;
    session.flash("message", format!("{changed} sessions have a reader's role now."))?;
    Ok(Response::redirect_303("/"))
}

/// A page in plain text, with a form's parts on lines of their own.
fn home(sessions: &SessionManager, session: &mut Session<'_>) -> Result<Response, BoxError> {
    let mut page = Vec::new();
    page.extend(session.take_flash::<String>("message")?);
    page.push(format!("token: {}", session.form_token()?));
    if let Some(user) = session.subject() {
        let role: Option<String> = session.get("role")?;
        page.push(format!("user: {user}, {}", role.unwrap_or_default()));
        for other in sessions.sessions_of(&user)? {
            let device = other.device().unwrap_or_default();
            let is_this = if session.id() == Some(other.id()) { ", this one" } else { "" };
            let agent = device.user_agent().unwrap_or("unknown");
            page.push(format!("session: {} on {agent}{is_this}", other.id()));
        }
    }
    Ok(Response::text(page.join("\n")))
}
