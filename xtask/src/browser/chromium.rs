//! Chromium as a process, and a tab of it.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use headless_chrome::protocol::cdp::Network::Cookie;
use headless_chrome::protocol::cdp::{Browser as BrowserDomain, Emulation, Network, Page};
use headless_chrome::util::Wait;
use headless_chrome::{Browser, Tab};

use crate::Result;

/// Only ends what hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running Chromium; killed when dropped.
///
/// The library could start it, but would kill it at the end: what it then has not yet written to
/// its profile is lost, and the checks of a restart would show nothing.
pub(super) struct Chromium {
    process: Child,
    browser: Browser,
    /// Disconnected once the process has ended.
    output: Receiver<String>,
}

impl Chromium {
    pub(super) fn start(program: &Path, profile: &Path) -> Result<Self> {
        Self::start_command(Self::command(program, profile))
    }

    /// The command that starts it, to which more can be added.
    pub(super) fn command(program: &Path, profile: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .args(["--headless", "--remote-debugging-port=0", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--disable-dev-shm-usage"])
            // No keyring of the person's desktop is asked for a key to the cookies.
            .args(["--password-store=basic", "--use-mock-keychain"])
            .arg(format!("--user-data-dir={}", profile.display()));
        if super::is_root() {
            command.arg("--no-sandbox");
        }
        command
    }

    pub(super) fn start_command(mut command: Command) -> Result<Self> {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let (sender, output) = mpsc::channel();
        if let Some(errors) = process.stderr.take() {
            thread::Builder::new().name("chromium output".to_owned()).spawn(move || {
                // Read to the end, because Chromium would stand still in front of a full pipe.
                for line in BufReader::new(errors).lines().map_while(std::io::Result::ok) {
                    let _ = sender.send(line);
                }
            })?;
        }

        match connect(&output) {
            Ok(browser) => Ok(Self { process, browser, output }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    pub(super) fn tab(&self) -> Result<Visitor> {
        let tab = self.browser.new_tab()?;
        tab.set_default_timeout(TIMEOUT);
        Ok(Visitor { tab })
    }

    /// Closes the browser as a person does, and waits until it has written its profile.
    pub(super) fn close(mut self) -> Result {
        let tab = self.browser.new_tab()?;
        // The answer may be cut off by the end.
        let _ = tab.call_method(BrowserDomain::Close(None));
        while self.output.recv_timeout(TIMEOUT).is_ok() {}
        if self.process.try_wait()?.is_none()
            && self.output.try_recv() == Err(mpsc::TryRecvError::Empty)
        {
            return Err("Chromium doesn't close".into());
        }
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn connect(output: &Receiver<String>) -> Result<Browser> {
    let mut lines = Vec::new();
    loop {
        let Ok(line) = output.recv_timeout(TIMEOUT) else {
            return Err(format!("Chromium doesn't start:\n{}", lines.join("\n")).into());
        };
        if let Some(url) = line.strip_prefix("DevTools listening on ") {
            return Ok(Browser::connect_with_timeout(url.trim().to_owned(), TIMEOUT)?);
        }
        lines.push(line);
    }
}

/// What pages are shown on, in CSS pixels.
pub(super) struct Screen {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) is_phone: bool,
}

/// What a person does in one tab. Each step waits until the page that it leads to has loaded.
pub(super) struct Visitor {
    tab: Arc<Tab>,
}

impl Visitor {
    pub(super) fn open(&self, url: &str) -> Result {
        self.leave(|| self.tab.navigate_to(url).map(drop))
    }

    pub(super) fn reload(&self) -> Result {
        self.leave(|| self.tab.evaluate("location.reload()", false).map(drop))
    }

    pub(super) fn go_back(&self) -> Result {
        self.leave(|| self.tab.evaluate("history.back()", false).map(drop))
    }

    /// Fills in a form, whose fields are named by their ids, and sends it with its button.
    pub(super) fn send(&self, form: &str, fields: &[(&str, &str)]) -> Result {
        for (id, text) in fields {
            self.wait_for(id)?;
            let fill = match *text {
                "on" => format!("document.querySelector('{id}').checked = true"),
                text => format!("document.querySelector('{id}').value = '{text}'"),
            };
            self.tab.evaluate(&fill, false)?;
        }
        self.wait_for(form)?;
        let click = format!("document.querySelector('{form} button').click()");
        self.leave(|| self.tab.evaluate(&click, false).map(drop))
    }

    /// The text of an element, if the page has it.
    pub(super) fn text(&self, selector: &str) -> Result<Option<String>> {
        self.string(&format!("document.querySelector('{selector}')?.textContent"))
    }

    /// Returns the value of a JavaScript expression, if it is a string.
    pub(super) fn string(&self, expression: &str) -> Result<Option<String>> {
        let value = self.tab.evaluate(expression, false)?.value;
        Ok(value.and_then(|value| value.as_str().map(str::to_owned)))
    }

    fn wait_for(&self, selector: &str) -> Result {
        self.wait_until(&format!("document.querySelector('{selector}') !== null"))
    }

    /// Waits until an expression of JavaScript is true.
    pub(super) fn wait_until(&self, condition: &str) -> Result {
        // While one page gives way to another, an expression may fail.
        let is_true = || self.tab.evaluate(condition, false).ok()?.value?.as_bool();
        let outcome = Wait::new(TIMEOUT, Duration::from_millis(20))
            .until(|| is_true().filter(|is_true| *is_true));
        let place = || self.tab.get_url();
        outcome.map(drop).map_err(|_| format!("at {}: never {condition}", place()).into())
    }

    /// Does something again and again until it finds what it looks for.
    pub(super) fn wait_for_page(&self, mut is_right: impl FnMut() -> Result<bool>) -> Result {
        let outcome = Wait::new(TIMEOUT, Duration::from_millis(20))
            .until(|| is_right().map_or_else(|error| Some(Err(error)), |is| is.then_some(Ok(()))));
        outcome.map_err(|_| format!("at {}: never the right page", self.tab.get_url()))?
    }

    /// The cookies that the page's requests have.
    pub(super) fn cookies(&self) -> Result<Vec<Cookie>> {
        Ok(self.tab.get_cookies()?)
    }

    /// Takes a cookie away, as its end does.
    pub(super) fn end_cookie(&self, cookie: &Cookie) -> Result {
        self.tab.call_method(Network::DeleteCookies {
            name: cookie.name.clone(),
            url: None,
            domain: Some(cookie.domain.clone()),
            path: Some(cookie.path.clone()),
            partition_key: None,
        })?;
        Ok(())
    }

    /// Puts a cookie of another browser here.
    pub(super) fn copy_cookie(&self, cookie: &Cookie, url: &str) -> Result {
        self.tab.set_cookies(vec![Network::CookieParam {
            name: cookie.name.clone(),
            value: cookie.value.clone(),
            url: Some(url.to_owned()),
            domain: None,
            path: Some(cookie.path.clone()),
            secure: Some(cookie.secure),
            http_only: Some(cookie.http_only),
            same_site: cookie.same_site.clone(),
            expires: None,
            priority: None,
            same_party: None,
            source_scheme: None,
            source_port: None,
            partition_key: None,
        }])?;
        Ok(())
    }

    /// Shows pages on such a screen from now on.
    pub(super) fn use_screen(&self, screen: &Screen) -> Result {
        self.tab.call_method(Emulation::SetDeviceMetricsOverride {
            width: screen.width,
            height: screen.height,
            device_scale_factor: if screen.is_phone { 2.0 } else { 1.0 },
            mobile: screen.is_phone,
            scale: None,
            screen_width: None,
            screen_height: None,
            position_x: None,
            position_y: None,
            dont_set_visible_size: None,
            screen_orientation: None,
            viewport: None,
            display_feature: None,
            device_posture: None,
        })?;
        Ok(())
    }

    pub(super) fn pretend_to_be(&self, user_agent: &str) -> Result {
        Ok(self.tab.set_user_agent(user_agent, None, None)?)
    }

    /// Prefers a scheme of colours, `light` or `dark`.
    pub(super) fn use_colours(&self, scheme: &str) -> Result {
        let feature = Emulation::MediaFeature {
            name: "prefers-color-scheme".to_owned(),
            value: scheme.to_owned(),
        };
        self.tab.call_method(Emulation::SetEmulatedMedia {
            media: None,
            features: Some(vec![feature]),
        })?;
        Ok(())
    }

    pub(super) fn move_to_zone(&self, zone: &str) -> Result {
        self.tab.call_method(Emulation::SetTimezoneOverride { timezone_id: zone.to_owned() })?;
        Ok(())
    }

    /// Lets pages run scripts from now on, or not; [`string`](Self::string) works either way.
    pub(super) fn allow_scripts(&self, allow: bool) -> Result {
        self.tab.call_method(Emulation::SetScriptExecutionDisabled { value: !allow })?;
        Ok(())
    }

    /// Runs a script in each page that is opened from now on, before its own.
    pub(super) fn run_in_new_pages(&self, script: &str) -> Result {
        self.tab.call_method(Page::AddScriptToEvaluateOnNewDocument {
            source: script.to_owned(),
            world_name: None,
            include_command_line_api: None,
            run_immediately: None,
        })?;
        Ok(())
    }

    /// Presses a button, and stays on the page.
    pub(super) fn press(&self, button: &str) -> Result {
        self.tab.evaluate(&format!("document.querySelector('{button}').click()"), false)?;
        Ok(())
    }

    /// Returns the value of a promise, if it is a string.
    pub(super) fn promised(&self, expression: &str) -> Result<Option<String>> {
        let value = self.tab.evaluate(expression, true)?.value;
        Ok(value.and_then(|value| value.as_str().map(str::to_owned)))
    }

    pub(super) fn screenshot(&self) -> Result<Vec<u8>> {
        let png = Page::CaptureScreenshotFormatOption::Png;
        Ok(self.tab.capture_screenshot(png, None, None, true)?)
    }

    /// Does what leads to another page, and waits until that has loaded. Two pages differ by when
    /// they began, even if they have the same address.
    fn leave<E: Display>(&self, act: impl FnOnce() -> std::result::Result<(), E>) -> Result {
        let origin = self.string("String(performance.timeOrigin)")?.unwrap_or_default();
        act().map_err(|error| error.to_string())?;
        self.wait_until(&format!(
            "document.readyState === 'complete' && String(performance.timeOrigin) !== '{origin}'"
        ))
    }
}
