//! A small rouille application that keeps its sessions in a SQLite file.
//!
//! ```text
//! cargo run --package store-sqlite --example demo -- 127.0.0.1:4000 target/demo.db
//! ```
//!
//! Count your visits, leave a note, log in and out; stop it with `kill -9` and start it again: everybody is
//! still logged in.

use std::error::Error;
use std::process::ExitCode;
use std::{env, io};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use cookie::{Cookie, SameSite};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use rouille::{Request, Response};
use serde_json::{Map, Value};
use store_sqlite::{SqliteStore, Store};

const COOKIE: &str = "session";
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// The values of a session; the store keeps their JSON.
type Values = Map<String, Value>;

/// The values after a change, and when the session now expires.
type Updated = (Values, DateTime<Utc>);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log_error(&*error);
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:4000".to_owned());
    let path = arguments.next().unwrap_or_else(|| "demo.db".to_owned());

    let store =
        SqliteStore::open(&path).inspect_err(|_| log(&format!("can't keep sessions in {path}")))?;
    let server = rouille::Server::new(&address, move |request| {
        respond(&store, request).unwrap_or_else(|error| {
            log_error(&*error);
            Response::text("Our session store is busy or down. Please try again in a moment.")
                .with_status_code(503)
                .with_additional_header("Retry-After", "5")
        })
    })
    .map_err(|error| format!("can't listen on {address} (another one: --addr): {error}"))?;
    announce(&format!(
        "Sessions are in {path}. Open http://{}/ in a browser.",
        server.server_addr()
    ))?;
    server.run();
    Ok(())
}

fn respond(store: &dyn Store, request: &Request) -> Result<Response> {
    let token = live_token(store, request)?;
    match (request.method(), &*request.url()) {
        ("GET", "/") => {
            // A token that the store doesn't know is never adopted: the client could have invented it.
            let token = match token {
                Some(token) => token,
                None => create(store)?,
            };
            let Some((values, expiry)) = update(store, &token, |values| {
                let visits = values.get("visits").and_then(Value::as_u64).unwrap_or(0);
                values.insert("visits".to_owned(), (visits + 1).into());
            })?
            else {
                // It ended between two statements, for example by logging out in another tab.
                return Ok(Response::redirect_303("/"));
            };
            Ok(with_cookie(Response::html(page(&values, expiry).into_string()), &token, LIFETIME))
        }
        ("POST", "/note") => {
            let Some(note) = field(request, "note") else { return Ok(Response::empty_400()) };
            if let Some(token) = token {
                update(store, &token, |values| {
                    values.insert("note".to_owned(), note.clone().into());
                })?;
            }
            Ok(Response::redirect_303("/"))
        }
        ("POST", "/login") => {
            let Some(user) = field(request, "user") else { return Ok(Response::empty_400()) };
            let token = match token {
                Some(token) => token,
                None => create(store)?,
            };
            // Whoever knew the token before must not be logged in with it.
            let renewed = new_token()?;
            if !store.rename(&token, &renewed)? {
                return Ok(Response::redirect_303("/"));
            }
            update(store, &renewed, |values| {
                values.insert("user".to_owned(), user.clone().into());
            })?;
            Ok(with_cookie(Response::redirect_303("/"), &renewed, LIFETIME))
        }
        ("POST", "/logout") => {
            if let Some(token) = token {
                store.delete(&token)?;
            }
            Ok(with_cookie(Response::redirect_303("/"), "", TimeDelta::zero()))
        }
        _ => Ok(Response::empty_404()),
    }
}

/// A field of the form that was posted.
fn field(request: &Request, name: &str) -> Option<String> {
    let fields = rouille::input::post::raw_urlencoded_post_input(request).ok()?;
    fields.into_iter().find_map(|(field, value)| (field == name).then_some(value))
}

/// The token of the request's cookie, if it names a live session.
fn live_token(store: &dyn Store, request: &Request) -> Result<Option<String>> {
    for (name, token) in rouille::input::cookies(request) {
        if name == COOKIE && store.find(token)?.is_some() {
            return Ok(Some(token.to_owned()));
        }
    }
    Ok(None)
}

fn create(store: &dyn Store) -> Result<String> {
    let token = new_token()?;
    store.commit(&token, b"{}", Utc::now() + LIFETIME)?;
    Ok(token)
}

/// 256 bits from the operating system.
fn new_token() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Changes the values of a live session. Requests that come at the same time each see the change of the
/// other, because `replace` succeeds only on what was read; a session that ended is not revived.
fn update(store: &dyn Store, token: &str, change: impl Fn(&mut Values)) -> Result<Option<Updated>> {
    loop {
        let Some(current) = store.find(token)? else { return Ok(None) };
        let mut values: Values = serde_json::from_slice(&current)?;
        change(&mut values);
        let expiry = Utc::now() + LIFETIME;
        if store.replace(token, &current, &serde_json::to_vec(&values)?, expiry)? {
            return Ok(Some((values, expiry)));
        }
    }
}

fn with_cookie(response: Response, token: &str, lifetime: TimeDelta) -> Response {
    let cookie = Cookie::build((COOKIE, token))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(cookie::time::Duration::seconds(lifetime.num_seconds()));
    response
        .with_additional_header("Set-Cookie", cookie.to_string())
        .with_additional_header("Cache-Control", "no-store")
}

fn page(values: &Values, expiry: DateTime<Utc>) -> Markup {
    let text =
        |name: &str| values.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Sessions in SQLite" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { @match text("user") {
                        Some(user) => { "Hello, " (user) },
                        None => "Hello, stranger",
                    } }
                    p.visits { strong #visits { (values["visits"]) } " visits by this browser" }
                    p { "This session expires on " time { (expiry.format("%-d %B %Y at %H:%M:%S UTC")) }
                        ". Stop the demo, even with kill -9, and start it again: it goes on." }

                    h2 { "A note" }
                    @if let Some(note) = text("note") { blockquote #note { (note) } }
                    form method="post" action="/note" {
                        label for="note-field" { "Keep this in the session" }
                        input #note-field name="note" maxlength="200" autocomplete="off"
                            value=[text("note")];
                        button { "Save" }
                    }

                    h2 { "Who you are" }
                    @if text("user").is_some() {
                        form method="post" action="/logout" { button { "Log out" } }
                    } @else {
                        form method="post" action="/login" {
                            label for="user-field" { "Your name" }
                            input #user-field name="user" required maxlength="40"
                                autocomplete="username";
                            button { "Log in" }
                        }
                    }
                }
            }
        }
    }
}

const STYLE: &str = "
:root { color-scheme: light dark; font: 1.05rem/1.5 system-ui, sans-serif; }
body { margin: 0; }
main { max-width: 34rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; }
h1 { font-size: 1.7rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.visits strong { font-size: 2.6rem; }
blockquote { margin: 0 0 1rem; padding: .5rem 1rem; border-left: .25rem solid #4a7; overflow-wrap: anywhere; }
form { display: flex; flex-wrap: wrap; gap: .5rem; }
label { flex-basis: 100%; }
input { flex: 1 1 12rem; min-width: 0; }
input, button { font: inherit; padding: .5rem .8rem; border: 1px solid #888; border-radius: .4rem; }
button { background: #256; color: #fff; border-color: #256; cursor: pointer; }
";

fn announce(line: &str) -> io::Result<()> {
    use io::Write as _;
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

fn log_error(error: &dyn Error) {
    let mut causes = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes = format!("{causes}: {error}");
        cause = error.source();
    }
    log(&causes);
}

fn log(line: &str) {
    use io::Write as _;
    // Where not even standard error can be written to, nobody is left to tell.
    let _ = writeln!(io::stderr(), "{line}");
}
