//! The pages, as HTML.

use std::error::Error;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};
use rouille::Response;
use session_manager::{ErrorResponse, SessionId, StoredSession};

use crate::app::events::Line;
use crate::app::fields::{FORM_TOKEN, MAX_NOTE, MAX_USER, NOTE, Problem, USER};

/// What the start page shows. All text of it is escaped where it becomes HTML.
pub(crate) struct Start<'a> {
    pub(crate) store: &'a str,
    pub(crate) deadline: DateTime<Utc>,
    pub(crate) visits: u64,
    pub(crate) count: u64,
    pub(crate) message: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) problem: Option<&'a Problem>,
    pub(crate) account: Option<Account<'a>>,
    pub(crate) events: Vec<Line>,
}

/// What it shows to a user who has logged in.
pub(crate) struct Account<'a> {
    pub(crate) user: String,
    /// This session first.
    pub(crate) sessions: Vec<StoredSession<'a>>,
    pub(crate) this: Option<SessionId>,
    pub(crate) form_token: String,
}

/// The script exchanges what has an id here.
pub(crate) fn start(start: &Start<'_>) -> Response {
    let Start { store, deadline, visits, count, message, note, problem, account, events } = start;
    let content = html! {
        @if let Some(message) = message { p.flash role="status" { (message) } }
        header #hello {
            h1 { "Hello, " @match account {
                Some(account) => span #user { (account.user) },
                None => "stranger",
            } }
            p { span #visits { (visits) } @if *visits == 1 { " visit" } @else { " visits" }
                " by this browser" }
            p.hint { "The session is kept in " (store) ", and expires on " (time(*deadline))
                ". Stop this demo, even with " code { "kill -9" }
                ", and start it again: the session goes on." }
        }
        div #state.column {
            section aria-labelledby="note-heading" {
                h2 #note-heading { "A note" }
                @if let Some(note) = note { blockquote #note { (note) } }
                form method="post" action="/note" {
                    (field(NOTE, "Keep this in the session", note.as_deref(), *problem, &html! {}))
                    button { "Save" }
                }
            }
            @match account {
                Some(account) => (show_account(account)),
                None => (log_in_form(*problem)),
            }
        }
        div.column {
            (experiments(*count))
            (show_events(events))
        }
    };
    let status = if problem.is_some() { 400 } else { 200 };
    Response::html(page("Sessions", &content)).with_status_code(status)
}

fn experiments(count: u64) -> Markup {
    html! {
        section #experiments aria-labelledby="experiments-heading" {
            h2 #experiments-heading { "Requests that run at once" }
            p #counter { "The counter of this session is at " strong #count { (count) } "." }
            form #at-once method="post" action="/count" {
                button { "Twenty requests at once" }
                p.hint { "Each adds one to the counter of this session, and takes its time between reading and writing." }
            }
            p #at-once-outcome.outcome role="status" aria-live="polite" {}
            form #meanwhile method="post" action="/slow" {
                button { "Log out during a slow request" }
                p.hint { "A request works for two seconds and then writes. The logout comes first." }
            }
            p #meanwhile-outcome.outcome role="status" aria-live="polite" {}
            noscript {
                p.hint { "Without JavaScript these buttons send one request each; the counter is the "
                    "outcome of the first. For the second, log out in another tab." }
            }
        }
    }
}

fn show_events(events: &[Line]) -> Markup {
    html! {
        section #events aria-labelledby="events-heading" {
            h2 #events-heading { "Latest events" }
            @if events.is_empty() { p.hint { "None yet." } }
            ol {
                @for line in events {
                    li { div {
                        (line.text) @if line.is_several { ", several times" }
                        p.hint { (time(line.time)) }
                    } }
                }
            }
            p.hint { "Of your sessions alone, as this process of the demo has seen them." }
        }
    }
}

fn log_in_form(problem: Option<&Problem>) -> Markup {
    let keep = html! {
        div.choice {
            input #remember type="checkbox" name="remember" value="on";
            label for="remember" { "Keep me logged in" }
        }
    };
    html! {
        section aria-labelledby="login-heading" {
            h2 #login-heading { "Log in" }
            form #login method="post" action="/login" {
                (field(USER, "Your name", None, problem, &keep))
                button { "Log in" }
            }
            p.hint { "Any name will do: this demo has no passwords." }
        }
    }
}

/// A labelled field. What is wrong with its text, which it keeps, stands below it.
fn field(
    name: &str,
    label: &str,
    value: Option<&str>,
    problem: Option<&Problem>,
    below: &Markup,
) -> Markup {
    let (id, problem_id) = (format!("{name}-field"), format!("{name}-problem"));
    let problem = problem.filter(|problem| problem.field == name);
    let value = problem.map(|problem| &*problem.value).or(value);
    let is_name = name == USER;
    html! {
        label for=(id) { (label) }
        input id=(id) name=(name) value=[value] maxlength=(if is_name { MAX_USER } else { MAX_NOTE })
            autocomplete=(if is_name { "username" } else { "off" }) required[is_name]
            aria-invalid=[problem.map(|_| "true")] aria-describedby=[problem.map(|_| &problem_id)]
            autofocus[problem.is_some()];
        @if let Some(problem) = problem { p.problem id=(problem_id) { (problem.message) } }
        (below)
    }
}

/// Where the user is logged in.
fn show_account(account: &Account<'_>) -> Markup {
    let token = html! { input type="hidden" name=(FORM_TOKEN) value=(account.form_token); };
    let is_this = |session: &StoredSession<'_>| account.this == Some(session.id());
    html! {
        section aria-labelledby="sessions-heading" {
            h2 #sessions-heading { "Your sessions" }
            ul #sessions {
                @for session in &account.sessions {
                    li {
                        div {
                            strong { (name_of(session)) }
                            @if is_this(session) { " " span.this { "this one" } }
                            @if let Some(since) = session.authenticated() {
                                p.hint { "Logged in on " (time(since)) }
                            }
                        }
                        @if !is_this(session) {
                            form method="post" action="/sessions/end" {
                                (token)
                                input type="hidden" name="session" value=(session.id());
                                button.quiet aria-label={ "End the session of " (name_of(session)) } { "End" }
                            }
                        }
                    }
                }
            }
            @if account.sessions.len() > 1 {
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
    }
}

fn name_of(session: &StoredSession<'_>) -> String {
    let device = session.device().unwrap_or_default();
    device.label().unwrap_or("Somewhere").to_owned()
}

/// The page of a user who has logged in.
pub(crate) fn private(user: &str, note: Option<&str>) -> Response {
    let content = html! {
        header { h1 { "For " span #user { (user) } " alone" } }
        div.column {
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
        }
    };
    Response::html(page("Private", &content))
}

/// The page for a request that isn't carried out.
pub(crate) fn refusal(status: u16, text: &str) -> Response {
    Response::html(message_page(text)).with_status_code(status)
}

/// The page for a request that failed.
pub(crate) fn error(error: &(dyn Error + 'static)) -> ErrorResponse {
    let mut response = ErrorResponse::default_for(error);
    response.body = message_page(response.body.trim_end());
    response.content_type = "text/html; charset=utf-8";
    response
}

fn message_page(text: &str) -> String {
    let content = html! {
        header { h1 { (text) } }
        section.row { a href="/" { "Back to the start" } }
    };
    page(text, &content)
}

/// In UTC; the script shows it in the visitor's zone.
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
                link rel="icon" href="/icon.svg";
                link rel="stylesheet" href="/style.css";
                script src="/script.js" defer {}
                title { (title) }
            }
            body { main { (content) } }
        }
    };
    page.into_string()
}
