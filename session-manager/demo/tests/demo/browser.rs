//! A browser, and what it gets.

use std::time::Duration;

use crate::TestResult;
use crate::process::Demo;

/// A browser with one cookie.
#[derive(Clone)]
pub(crate) struct Browser {
    agent: ureq::Agent,
    user_agent: &'static str,
    pub(crate) cookie: String,
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self::named("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    }

    pub(crate) fn named(user_agent: &'static str) -> Self {
        let config = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            // What doesn't answer for so long hangs.
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { agent: config.into(), user_agent, cookie: String::new() }
    }

    pub(crate) fn get(&mut self, demo: &Demo, path: &str) -> TestResult<Answer> {
        let request = self.agent.get(format!("{}{path}", demo.url));
        let response =
            request.header("Cookie", &self.cookie).header("User-Agent", self.user_agent).call()?;
        self.keep(response)
    }

    pub(crate) fn post(
        &mut self,
        demo: &Demo,
        path: &str,
        fields: &[(&str, &str)],
    ) -> TestResult<Answer> {
        self.post_with(demo, path, &[], fields)
    }

    pub(crate) fn post_with(
        &mut self,
        demo: &Demo,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> TestResult<Answer> {
        let mut request = self.agent.post(format!("{}{path}", demo.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request
            .header("Cookie", &self.cookie)
            .header("User-Agent", self.user_agent)
            .send_form(fields.iter().copied())?;
        self.keep(response)
    }

    pub(crate) fn log_in(&mut self, demo: &Demo, user: &str) -> TestResult {
        assert_eq!(self.post(demo, "/login", &[("user", user)])?.status, 303);
        Ok(())
    }

    fn keep(&mut self, mut response: ureq::http::Response<ureq::Body>) -> TestResult<Answer> {
        let header = |name: &str| -> TestResult<String> {
            let value = response.headers().get(name).map(|value| value.to_str()).transpose()?;
            Ok(value.unwrap_or_default().to_owned())
        };
        let set_cookie = header("Set-Cookie")?;
        let (location, cache_control) = (header("Location")?, header("Cache-Control")?);
        let policy = header("Content-Security-Policy")?;
        if !set_cookie.is_empty() {
            set_cookie.split(';').next().unwrap_or_default().clone_into(&mut self.cookie);
        }
        let status = response.status().as_u16();
        let page = response.body_mut().read_to_string()?;
        Ok(Answer { status, set_cookie, location, cache_control, policy, page })
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) set_cookie: String,
    pub(crate) location: String,
    pub(crate) cache_control: String,
    /// The Content-Security-Policy.
    pub(crate) policy: String,
    pub(crate) page: String,
}

impl Answer {
    /// What stands in the page after `start` and before `end`.
    pub(crate) fn between(&self, start: &str, end: &str) -> Option<&str> {
        Some(self.page.split_once(start)?.1.split_once(end)?.0)
    }

    pub(crate) fn visits(&self) -> usize {
        let number = self.between("<span id=\"visits\">", "</span>");
        number.and_then(|number| number.parse().ok()).expect("the page shows the visits")
    }

    /// What the requests of the first experiment have counted.
    pub(crate) fn count(&self) -> usize {
        let number = self.between("<strong id=\"count\">", "</strong>");
        number.and_then(|number| number.parse().ok()).expect("the page shows the count")
    }

    /// “Latest events”.
    pub(crate) fn events(&self) -> &str {
        self.between("<section id=\"events\"", "</section>").expect("the page shows events")
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.between("<span id=\"user\">", "</span>")
    }

    pub(crate) fn note(&self) -> Option<&str> {
        self.between("<blockquote id=\"note\">", "</blockquote>")
    }

    pub(crate) fn flash(&self) -> Option<&str> {
        self.between("<p class=\"flash\" role=\"status\">", "</p>")
    }

    /// The token of the page's forms.
    pub(crate) fn form_token(&self) -> &str {
        self.between("name=\"csrf_token\" value=\"", "\"").expect("the page has such a form")
    }

    /// The lines of “Your sessions”.
    pub(crate) fn sessions(&self) -> Vec<&str> {
        let list = self.between("<ul id=\"sessions\">", "</ul>").unwrap_or_default();
        list.split("<li>").skip(1).collect()
    }
}
