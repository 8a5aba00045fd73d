//! The application of the demo, on any store: login and logout, a note, and the list of a user's
//! sessions.

use std::error::Error;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use rouille::{Request, Response};
use session_manager::{BoxError, Device, ErrorResponse, Session, SessionManager, StoredSession};

/// In characters; the forms have the same limits.
const MAX_NAME: usize = 40;
const MAX_NOTE: usize = 200;

/// Room for the longest note with every byte percent-encoded.
const MAX_FORM_BYTES: usize = 4 * 1024;

/// How long a login lasts, and with “Keep me logged in”.
const LOGGED_IN: TimeDelta = TimeDelta::hours(24);
const KEPT_LOGGED_IN: TimeDelta = TimeDelta::days(30);

/// The keys of the session's values.
const VISITS: &str = "visits";
const NOTE: &str = "note";
const MESSAGE: &str = "message";

/// The field of the forms that end sessions. All forms are checked by where they come from; these
/// are also told from forged ones by browsers that don't say it.
const FORM_TOKEN: &str = "csrf_token";

/// Answers a request, with the session of its cookie.
pub(crate) fn respond(sessions: &SessionManager, request: &Request) -> Response {
    let response = sessions.rouille(request, |session| route(sessions, request, session));
    // The browser's back button must show nothing after a logout.
    response
        .with_unique_header("Cache-Control", "no-store")
        .with_unique_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        .with_unique_header("X-Content-Type-Options", "nosniff")
        .with_unique_header("Referrer-Policy", "same-origin")
}

fn route(
    sessions: &SessionManager,
    request: &Request,
    session: &mut Session<'_>,
) -> Result<Response, BoxError> {
    match (request.method(), &*request.url()) {
        ("GET", "/") => start_page(sessions, session),
        ("GET", "/private") => private_page(session),
        ("POST", "/login") => log_in(request, session),
        ("POST", "/logout") => {
            session.destroy()?;
            // This goes into a fresh session.
            session.flash(MESSAGE, "Logged out.")?;
            Ok(Response::redirect_303("/"))
        }
        ("POST", "/note") => keep_note(request, session),
        ("POST", "/sessions/end") => end_session(sessions, request, session),
        ("POST", "/sessions/end-others") => end_other_sessions(request, session),
        _ => Ok(refusal(404, "There is no such page.")),
    }
}

fn log_in(request: &Request, session: &mut Session<'_>) -> Result<Response, BoxError> {
    let form = match Form::of(request) {
        Ok(form) => form,
        Err(refusal) => return Ok(refusal),
    };
    let name = match form.text("user", MAX_NAME) {
        Ok(name) if !name.is_empty() => name.to_owned(),
        Ok(_) => return Ok(refusal(400, "A name is needed.")),
        Err(refusal) => return Ok(refusal),
    };

    // Anyone who knew the token before must not be logged in with it, also where the same person
    // logs in again. What another person kept isn't for this one: `set_subject` begins with empty
    // values then.
    session.renew()?;
    session.set_subject(&name)?;
    let keep = form.has("remember");
    session.remember_me(keep)?;
    session.set_deadline(Utc::now() + if keep { KEPT_LOGGED_IN } else { LOGGED_IN });
    let user_agent = request.header("User-Agent").unwrap_or_default();
    session.set_device(&Device::new().with_label(&device(user_agent)))?;
    session.flash(MESSAGE, "Logged in.")?;
    Ok(Response::redirect_303("/"))
}

fn keep_note(request: &Request, session: &mut Session<'_>) -> Result<Response, BoxError> {
    let form = match Form::of(request) {
        Ok(form) => form,
        Err(refusal) => return Ok(refusal),
    };
    match form.text("note", MAX_NOTE) {
        Ok("") => {
            session.remove(NOTE);
        }
        Ok(note) => session.insert(NOTE, note)?,
        Err(refusal) => return Ok(refusal),
    }
    session.flash(MESSAGE, "Saved.")?;
    Ok(Response::redirect_303("/"))
}

fn end_session(
    sessions: &SessionManager,
    request: &Request,
    session: &mut Session<'_>,
) -> Result<Response, BoxError> {
    let form = match Form::of(request) {
        Ok(form) => form,
        Err(refusal) => return Ok(refusal),
    };
    let Some(user) = session.subject() else { return Ok(Response::redirect_303("/")) };
    session.check_form_token(form.get(FORM_TOKEN))?;
    let Ok(id) = form.text("session", MAX_NAME).unwrap_or_default().parse() else {
        return Ok(refusal(400, "That is no session."));
    };
    sessions.destroy_one_of(&user, id)?;
    session.flash(MESSAGE, "That session has ended.")?;
    Ok(Response::redirect_303("/"))
}

fn end_other_sessions(request: &Request, session: &mut Session<'_>) -> Result<Response, BoxError> {
    let form = match Form::of(request) {
        Ok(form) => form,
        Err(refusal) => return Ok(refusal),
    };
    if session.subject().is_some() {
        session.check_form_token(form.get(FORM_TOKEN))?;
        session.destroy_others()?;
        session.flash(MESSAGE, "Logged out everywhere else.")?;
    }
    Ok(Response::redirect_303("/"))
}

fn start_page(sessions: &SessionManager, session: &mut Session<'_>) -> Result<Response, BoxError> {
    let visits = session.update(VISITS, |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
    let message: Option<String> = session.take_flash(MESSAGE)?;
    let note: Option<String> = session.get(NOTE)?;
    let user = session.subject();
    let devices = match &user {
        Some(user) => {
            let mut all = sessions.sessions_of(user)?;
            // The newest logins, after this one.
            all.sort_by_key(|other| session.id() != Some(other.id()));
            all
        }
        None => Vec::new(),
    };
    let account = match &user {
        Some(_) => Some(account(&devices, session)?),
        None => None,
    };
    Ok(Response::html(page(
        "Sessions",
        &html! {
            @if let Some(message) = message { p.flash role="status" { (message) } }
            header {
                h1 { "Hello, " @match &user {
                    Some(user) => span #user { (user) },
                    None => "stranger",
                } }
                p { span #visits { (visits) } @if visits == 1 { " visit" } @else { " visits" }
                    " by this browser" }
                p.hint { "This session expires on " (time(session.deadline())) ". Stop the demo, even with "
                    code { "kill -9" } ", and start it again: it goes on." }
            }
            section aria-labelledby="note-heading" {
                h2 #note-heading { "A note" }
                @if let Some(note) = &note { blockquote #note { (note) } }
                form method="post" action="/note" {
                    label for="note-field" { "Keep this in the session" }
                    input #note-field name="note" maxlength=(MAX_NOTE) autocomplete="off" value=[note.as_ref()];
                    button { "Save" }
                }
            }
            @if let Some(account) = account { (account) } @else { (log_in_form()) }
        },
    )))
}

fn log_in_form() -> Markup {
    html! {
        section aria-labelledby="login-heading" {
            h2 #login-heading { "Log in" }
            form #login method="post" action="/login" {
                label for="user-field" { "Your name" }
                input #user-field name="user" required maxlength=(MAX_NAME) autocomplete="username";
                button { "Log in" }
                div.choice {
                    input #remember type="checkbox" name="remember" value="on";
                    label for="remember" { "Keep me logged in" }
                }
            }
            p.hint { "Any name will do: this demo has no passwords." }
        }
    }
}

/// Where the user is logged in.
fn account(devices: &[StoredSession<'_>], session: &mut Session<'_>) -> Result<Markup, BoxError> {
    let this = session.id();
    let token = session.form_token()?;
    let token = html! { input type="hidden" name=(FORM_TOKEN) value=(token); };
    Ok(html! {
        section aria-labelledby="sessions-heading" {
            h2 #sessions-heading { "Your sessions" }
            ul #sessions {
                @for device in devices {
                    li {
                        div {
                            strong { (name_of(device)) }
                            @if this == Some(device.id()) { " " span.this { "this one" } }
                            @if let Some(since) = device.authenticated() {
                                p.hint { "Logged in on " (time(since)) }
                            }
                        }
                        @if this != Some(device.id()) {
                            form method="post" action="/sessions/end" {
                                (token)
                                input type="hidden" name="session" value=(device.id());
                                button.quiet aria-label={ "End the session of " (name_of(device)) } { "End" }
                            }
                        }
                    }
                }
            }
            @if devices.len() > 1 {
                form #end-others method="post" action="/sessions/end-others" {
                    (token)
                    button.quiet { "Log out everywhere else" }
                }
            }
        }
        section.row {
            a #private href="/private" { "Your private page" }
            form #logout method="post" action="/logout" { button { "Log out" } }
        }
    })
}

fn private_page(session: &Session<'_>) -> Result<Response, BoxError> {
    let Some(user) = session.subject() else { return Ok(Response::redirect_303("/")) };
    let note: Option<String> = session.get(NOTE)?;
    Ok(Response::html(page(
        "Private",
        &html! {
            header { h1 { "For " span #user { (user) } " alone" } }
            section {
                @match note {
                    Some(note) => blockquote #note { (note) },
                    None => p { "You have kept no note." },
                }
                p.hint { "Log out and go back: your browser doesn't show this page again." }
            }
            section.row {
                a href="/" { "Back to the start" }
                form #logout method="post" action="/logout" { button { "Log out" } }
            }
        },
    )))
}

fn name_of(session: &StoredSession<'_>) -> String {
    let device = session.device().unwrap_or_default();
    device.label().unwrap_or("Somewhere").to_owned()
}

/// A few words for a browser, by which its owner recognizes it.
fn device(user_agent: &str) -> String {
    let known = |names: &[(&str, &'static str)]| {
        let found = names.iter().find(|(mark, _)| user_agent.contains(mark));
        found.map(|(_, name)| *name)
    };
    // Most claim to be others too, so the order matters.
    let browser = known(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("CriOS/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = known(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    let browser = browser.unwrap_or("A browser");
    system.map_or_else(|| browser.to_owned(), |system| format!("{browser} on {system}"))
}

/// The fields of a form that was posted.
struct Form(Vec<(String, String)>);

impl Form {
    /// The form, or what to answer to something else.
    fn of(request: &Request) -> Result<Self, Response> {
        // The body's length has to be known beforehand, because it is read into memory as a whole.
        let length = request.header("Content-Length").and_then(|length| length.parse().ok());
        let length: Option<usize> =
            length.filter(|_| request.header("Transfer-Encoding").is_none());
        match length {
            None => return Err(refusal(411, "The form has no length.")),
            Some(length) if length > MAX_FORM_BYTES => {
                return Err(refusal(413, "That is too long."));
            }
            Some(_) => {}
        }
        let fields = rouille::input::post::raw_urlencoded_post_input(request);
        fields.map(Self).map_err(|_| refusal(400, "That isn't a form."))
    }

    /// Returns the text of a field, or the response if it is missing or too long.
    fn text(&self, name: &str, max: usize) -> Result<&str, Response> {
        let Some((_, text)) = self.0.iter().find(|(field, _)| field == name) else {
            return Err(refusal(400, "A field of the form is missing."));
        };
        let text = text.trim();
        if text.chars().count() > max {
            return Err(refusal(400, &format!("At most {max} characters, please.")));
        }
        if text.chars().any(char::is_control) {
            return Err(refusal(400, "Letters, digits and the like, please."));
        }
        Ok(text)
    }

    /// Returns the text of a field, which is empty if there is none.
    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, text)| text)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }
}

/// The page for a request that failed.
pub(crate) fn error_page(error: &(dyn Error + 'static)) -> ErrorResponse {
    let mut response = ErrorResponse::default_for(error);
    response.body = message_page(response.body.trim_end());
    response.content_type = "text/html; charset=utf-8";
    response
}

fn refusal(status: u16, text: &str) -> Response {
    Response::html(message_page(text)).with_status_code(status)
}

fn message_page(text: &str) -> String {
    let content = html! {
        header { h1 { (text) } }
        section.row { a href="/" { "Back to the start" } }
    };
    page(text, &content)
}

fn time(time: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(time.format("%FT%TZ")) { (time.format("%-d %B %Y at %H:%M UTC")) }
    }
}

fn page(title: &str, content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (content) } }
        }
    };
    page.into_string()
}

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("style.css");
