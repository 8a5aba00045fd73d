//! The application of the demo, on any store: login and logout, a note, the list of a user's
//! sessions, and what happens to requests that run at once.

mod assets;
mod device;
mod events;
mod fields;
mod form;
mod page;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use rouille::{Request, Response};
use session_manager::{BoxError, Device, Session, SessionManager};

use crate::app::events::EventLog;
use crate::app::fields::{FORM_TOKEN, MAX_NOTE, MAX_USER, NOTE, Problem, USER};
use crate::app::form::Form;
pub(crate) use crate::app::page::error as error_page;
use crate::app::page::{Account, Start, refusal};

/// How long a login lasts, and with “Keep me logged in”.
const LOGGED_IN: TimeDelta = TimeDelta::hours(24);
const KEPT_LOGGED_IN: TimeDelta = TimeDelta::days(30);

/// How long requests of the experiments work between reading their session and writing it.
const COUNTING: Duration = Duration::from_millis(50);
const SLOW: Duration = Duration::from_secs(2);

/// The keys of the session's values, besides the note.
const VISITS: &str = "visits";
const COUNT: &str = "count";
const MESSAGE: &str = "message";

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

/// The application, which all threads share.
pub(crate) struct App {
    sessions: SessionManager,
    /// What keeps the sessions, for visitors.
    store: String,
    events: Arc<EventLog>,
}

impl App {
    pub(crate) fn new(sessions: SessionManager, store: String) -> Self {
        let events = Arc::new(EventLog::default());
        let sessions = sessions.with_event_hook({
            let events = Arc::clone(&events);
            move |event| events.add(Utc::now(), event.clone())
        });
        Self { sessions, store, events }
    }

    /// Answers a request, with the session of its cookie.
    pub(crate) fn respond(&self, request: &Request) -> Response {
        let response = assets::respond(request).unwrap_or_else(|| {
            let response = self.sessions.rouille(request, |session| self.route(request, session));
            // The browser's back button must show nothing after a logout.
            response.with_unique_header("Cache-Control", "no-store")
        });
        response
            .with_unique_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            .with_unique_header("X-Content-Type-Options", "nosniff")
            .with_unique_header("Referrer-Policy", "same-origin")
    }

    fn route(&self, request: &Request, session: &mut Session<'_>) -> Result<Response, BoxError> {
        match (request.method(), &*request.url()) {
            ("GET", "/") => {
                session.update(VISITS, |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
                let message = session.take_flash(MESSAGE)?;
                self.start_page(session, message, None)
            }
            // For the page's script, which is no visitor.
            ("GET", "/now") => self.start_page(session, None, None),
            ("GET", "/private") => private_page(session),
            ("POST", "/login") => with_form(request, |form| self.log_in(form, request, session)),
            ("POST", "/logout") => {
                session.destroy()?;
                // This goes into a fresh session.
                session.flash(MESSAGE, "Logged out.")?;
                Ok(Response::redirect_303("/"))
            }
            ("POST", "/note") => with_form(request, |form| self.keep_note(form, session)),
            ("POST", "/sessions/end") => with_form(request, |form| self.end_session(form, session)),
            ("POST", "/sessions/end-others") => {
                with_form(request, |form| end_other_sessions(form, session))
            }
            ("POST", "/count") => count(session),
            ("POST", "/slow") => work_slowly(session),
            _ => Ok(refusal(404, "There is no such page.")),
        }
    }

    fn start_page(
        &self,
        session: &mut Session<'_>,
        message: Option<String>,
        problem: Option<&Problem>,
    ) -> Result<Response, BoxError> {
        let account = match session.subject() {
            Some(user) => {
                let mut sessions = self.sessions.sessions_of(&user)?;
                // The newest logins, after this one.
                sessions.sort_by_key(|other| session.id() != Some(other.id()));
                let (this, form_token) = (session.id(), session.form_token()?);
                Some(Account { user, sessions, this, form_token })
            }
            None => None,
        };
        Ok(page::start(&Start {
            store: &self.store,
            deadline: session.deadline(),
            visits: session.get_or_default(VISITS)?,
            count: session.get_or_default(COUNT)?,
            message,
            note: session.get(NOTE)?,
            problem,
            account,
            events: self.events.of(session.subject().as_deref(), session.id()),
        }))
    }

    fn log_in(
        &self,
        form: &Form,
        request: &Request,
        session: &mut Session<'_>,
    ) -> Result<Response, BoxError> {
        let name = match form.text(USER, MAX_USER) {
            Ok(name) if !name.is_empty() => name.to_owned(),
            Ok(name) => {
                let message = "A name is needed.".to_owned();
                let problem = Problem { field: USER, value: name.to_owned(), message };
                return self.start_page(session, None, Some(&problem));
            }
            Err(problem) => return self.start_page(session, None, Some(&problem)),
        };

        // Anyone who knew the token before must not be logged in with it, also where the same
        // person logs in again. What another person kept isn't for this one: `set_subject` begins
        // with empty values then.
        session.renew()?;
        session.set_subject(&name)?;
        let keep = form.has("remember");
        session.remember_me(keep)?;
        session.set_deadline(Utc::now() + if keep { KEPT_LOGGED_IN } else { LOGGED_IN });
        let user_agent = request.header("User-Agent").unwrap_or_default();
        session.set_device(&Device::new().with_label(&device::label(user_agent)))?;
        session.flash(MESSAGE, "Logged in.")?;
        Ok(Response::redirect_303("/"))
    }

    fn keep_note(&self, form: &Form, session: &mut Session<'_>) -> Result<Response, BoxError> {
        match form.text(NOTE, MAX_NOTE) {
            Ok("") => {
                session.remove(NOTE);
            }
            Ok(note) => session.insert(NOTE, note)?,
            Err(problem) => return self.start_page(session, None, Some(&problem)),
        }
        session.flash(MESSAGE, "Saved.")?;
        Ok(Response::redirect_303("/"))
    }

    fn end_session(&self, form: &Form, session: &mut Session<'_>) -> Result<Response, BoxError> {
        let Some(user) = session.subject() else { return Ok(Response::redirect_303("/")) };
        session.check_form_token(form.get(FORM_TOKEN))?;
        let Ok(id) = form.get("session").parse() else {
            return Ok(refusal(400, "That is no session."));
        };
        self.sessions.destroy_one_of(&user, id)?;
        session.flash(MESSAGE, "That session has ended.")?;
        Ok(Response::redirect_303("/"))
    }
}

/// Passes the posted form on, or refuses what isn't one.
fn with_form(
    request: &Request,
    handle: impl FnOnce(&Form) -> Result<Response, BoxError>,
) -> Result<Response, BoxError> {
    match Form::of(request) {
        Ok(form) => handle(&form),
        Err(refusal) => Ok(refusal),
    }
}

fn end_other_sessions(form: &Form, session: &mut Session<'_>) -> Result<Response, BoxError> {
    if session.subject().is_some() {
        session.check_form_token(form.get(FORM_TOKEN))?;
        session.destroy_others()?;
        session.flash(MESSAGE, "Logged out everywhere else.")?;
    }
    Ok(Response::redirect_303("/"))
}

/// Many of these run at once. The closure is called again on newer data if another request has
/// changed the session meanwhile, so none of them undoes another.
fn count(session: &mut Session<'_>) -> Result<Response, BoxError> {
    session.update(COUNT, |count: Option<u64>| count.unwrap_or(0) + 1)?;
    thread::sleep(COUNTING);
    Ok(Response::redirect_303("/#experiments"))
}

/// If the user logs out while this runs, nothing is written, and the answer has status 409.
fn work_slowly(session: &mut Session<'_>) -> Result<Response, BoxError> {
    if session.subject().is_none() {
        return Ok(refusal(403, "Log in first, so that there is somebody to log out."));
    }
    thread::sleep(SLOW);
    session.flash(MESSAGE, "The slow request has written.")?;
    Ok(Response::redirect_303("/"))
}

fn private_page(session: &Session<'_>) -> Result<Response, BoxError> {
    let Some(user) = session.subject() else { return Ok(Response::redirect_303("/")) };
    let note: Option<String> = session.get(NOTE)?;
    Ok(page::private(&user, note.as_deref()))
}
