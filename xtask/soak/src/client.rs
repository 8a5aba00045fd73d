//! An HTTP client, and what it reads from the demo's pages.

use std::time::Duration;

use crate::Result;
use crate::model::{Request, Session, Shown};

/// What doesn't answer for so long hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Client(ureq::Agent);

pub(crate) struct Answer {
    status: u16,
    has_retry_after: bool,
    /// The cookie that the browser got, which is empty if it was taken away.
    pub(crate) cookie: Option<String>,
    page: String,
}

impl Client {
    pub(crate) fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .max_idle_connections_per_host(1)
            .max_idle_age(TIMEOUT)
            .timeout_global(Some(TIMEOUT))
            .build();
        Self(config.into())
    }

    /// Sends a request to the demo at this address, once. An error means that nobody knows whether
    /// it was carried out.
    pub(crate) fn send(
        &self,
        url: &str,
        request: &Request,
        cookie: &str,
    ) -> Result<Answer, ureq::Error> {
        let get = |path| self.0.get(format!("{url}{path}")).header("Cookie", cookie).call();
        let post = |path, fields: &[(&str, &str)]| {
            let form = fields.iter().copied();
            self.0.post(format!("{url}{path}")).header("Cookie", cookie).send_form(form)
        };
        let mut response = match request {
            Request::Visit => get("/"),
            Request::Private => get("/private"),
            Request::Note(note) => post("/note", &[("note", note)]),
            Request::LogIn(user) => post("/login", &[("user", user)]),
            Request::LogOut => post("/logout", &[]),
            Request::EndOthers(token) => post("/sessions/end-others", &[("csrf_token", token)]),
        }?;
        let cookie = response.headers().get("Set-Cookie").map(|header| {
            let text = String::from_utf8_lossy(header.as_bytes());
            let cookie = text.split(';').next().unwrap_or_default();
            if cookie.ends_with('=') { String::new() } else { cookie.to_owned() }
        });
        Ok(Answer {
            status: response.status().as_u16(),
            has_retry_after: response.headers().contains_key("Retry-After"),
            cookie,
            page: response.body_mut().read_to_string()?,
        })
    }
}

impl Answer {
    /// Whether the service was busy, and says when to come again, as it has to.
    pub(crate) fn is_refusal(&self) -> Result<bool> {
        match (self.status, self.has_retry_after) {
            (503, false) => Err("status 503 without Retry-After".into()),
            (status, _) => Ok(status == 503),
        }
    }

    /// What the answer shows, unless it is an error.
    pub(crate) fn shown(&self, request: &Request) -> Result<Shown> {
        match (self.status, request) {
            (200, Request::Visit) => {
                let visits = self.between("<span id=\"visits\">", "</span>");
                Ok(Shown::Start(Session {
                    visits: visits.ok_or("a page without visits")?.parse()?,
                    user: self.user(),
                    note: self.note(),
                    message: self.between("<p class=\"flash\" role=\"status\">", "</p>"),
                }))
            }
            (200, Request::Private) => Ok(Shown::Private { user: self.user(), note: self.note() }),
            (303, _) => Ok(Shown::Redirect),
            (409, _) => Ok(Shown::Superseded),
            (status, _) => Err(format!("status {status} to {request:?}:\n{}", self.page).into()),
        }
    }

    /// How often “Your sessions” has the one of this browser.
    pub(crate) fn own_sessions(&self) -> usize {
        self.page.matches("class=\"this\"").count()
    }

    /// The token of the form that logs out everywhere else, if there is such a form.
    pub(crate) fn form_token(&self) -> Option<String> {
        self.between("name=\"csrf_token\" value=\"", "\"")
    }

    fn user(&self) -> Option<String> {
        self.between("<span id=\"user\">", "</span>")
    }

    fn note(&self) -> Option<String> {
        self.between("<blockquote id=\"note\">", "</blockquote>")
    }

    fn between(&self, start: &str, end: &str) -> Option<String> {
        Some(self.page.split_once(start)?.1.split_once(end)?.0.to_owned())
    }
}
