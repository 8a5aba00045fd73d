//! Sessions that are bound to the device, on the example `device_bound`, over HTTPS.

use std::path::Path;
use std::process::Command;

use headless_chrome::protocol::cdp::Network::Cookie;

use super::checks::expect;
use super::chromium::{Chromium, Visitor};
use super::https::HttpsProxy;
use crate::serving_program::ServingProgram;
use crate::{Result, say};

const SESSION_COOKIE: &str = "__Host-session";
const DEVICE_COOKIE: &str = "__Host-session-device";

const SITE: &str = "site.test";
const ELSEWHERE: &str = "elsewhere.test";

/// A key in a file instead of the device's hardware, which a test machine doesn't have.
const FEATURES: &str = "--enable-features=DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting";

/// Runs the checks, in two profiles.
pub(super) fn run(chromium: &Path, example: &Path) -> Result {
    if !cfg!(target_os = "linux") {
        // There Chromium trusts whom the system trusts, which a test had better not change.
        crate::test_all::skip("bindings to a device. They are checked in Chromium on Linux.");
        return Ok(());
    }
    test_servers::obtain_certutil()?;
    let directory = tempfile::tempdir()?;
    let mut command = Command::new(example);
    command.arg("127.0.0.1:0");
    let example = ServingProgram::start(command)?;
    let address = example.url.trim_start_matches("http://");
    let authority = directory.path().join("authority.pem");
    let links = |port| {
        let form = |id: &str, path: &str| {
            let go = format!("location.href = \"https://{SITE}:{port}{path}\"; return false");
            format!("<form id={id} onsubmit='{go}'><button>Go</button></form>")
        };
        let forms = [form("link", "/"), form("callback", "/callback")].concat();
        format!("<!DOCTYPE html><title>Elsewhere</title>{forms}")
    };
    let https = HttpsProxy::start(address, &[SITE, ELSEWHERE], (ELSEWHERE, links), &authority)?;
    test_servers::trust_authority(directory.path(), &authority)?;
    let start = |profile: &str| {
        let mut command = Chromium::command(chromium, &directory.path().join(profile));
        command
            .env("HOME", directory.path())
            .args([FEATURES, "--host-resolver-rules=MAP *.test 127.0.0.1"]);
        Chromium::start_command(command)
    };
    let (browser, thief) = (start("device")?, start("thief")?);
    let (visitor, thief_visitor) = (browser.tab()?, thief.tab()?);
    let site = format!("https://{SITE}:{}/", https.port);
    binds(&visitor, &site)?;
    copied_cookie_is_refused(&visitor, &thief_visitor, &site)?;
    links_of_other_sites_lead_in(&visitor, https.port)?;
    logout_ends_the_binding(&visitor, &site)?;
    // In the other profile, because a browser signs only six times in nine minutes.
    login_at_another_site_binds(&thief_visitor, &site, https.port)?;
    browser.close()?;
    thief.close()
}

fn binds(visitor: &Visitor, site: &str) -> Result {
    visitor.open(site)?;
    expect("nobody is logged in on a device", state(visitor)? == "logged out")?;
    visitor.send("#login", &[])?;
    wait_until_bound(visitor, site)?;
    say("ok: a login binds the session to the device");
    let first = device_cookie(visitor)?;
    expect("the device cookie is HttpOnly and Secure", first.http_only && first.secure)?;

    // Without it, the browser asks for a challenge and signs it before it asks for the page.
    visitor.end_cookie(&first)?;
    visitor.open(site)?;
    expect("at the device cookie's end the browser proves its key", state(visitor)? == "bound")?;
    let second = device_cookie(visitor)?;
    expect("and gets another device cookie", first.value != second.value)?;
    visitor.end_cookie(&second)?;
    visitor.open(site)?;
    expect("it does so again, by the next challenge", state(visitor)? == "bound")?;
    expect("with another cookie", device_cookie(visitor)?.value != second.value)
}

fn copied_cookie_is_refused(visitor: &Visitor, thief: &Visitor, site: &str) -> Result {
    let session = cookie(visitor, SESSION_COOKIE)?.ok_or("there is no session cookie")?;
    thief.open(site)?;
    thief.copy_cookie(&session, site)?;
    thief.open(site)?;
    expect("a cookie that was copied to another device is refused", state(thief)? == "unproven")?;
    expect("and shows nothing of the user", thief.text("#user")?.is_none())?;
    visitor.open(site)?;
    expect("the device goes on", state(visitor)? == "bound")
}

/// Chromium asks for no new device cookie when another site has led to the page.
fn links_of_other_sites_lead_in(visitor: &Visitor, port: u16) -> Result {
    visitor.end_cookie(&device_cookie(visitor)?)?;
    visitor.open(&format!("https://{ELSEWHERE}:{port}/"))?;
    visitor.send("#link", &[])?;
    visitor.wait_until("document.querySelector('#state')?.textContent === 'bound'")?;
    say("ok: by a link of another site one gets in, too, because the page loads itself again");
    Ok(())
}

fn logout_ends_the_binding(visitor: &Visitor, site: &str) -> Result {
    visitor.send("#logout", &[])?;
    expect("after logout nobody is logged in", state(visitor)? == "logged out")?;
    visitor.end_cookie(&device_cookie(visitor)?)?;
    visitor.open(site)?;
    expect("the browser gets no other device cookie", cookie(visitor, DEVICE_COOKIE)?.is_none())?;
    Ok(())
}

/// Chromium registers without the session cookie when another site has led to the login's response.
fn login_at_another_site_binds(visitor: &Visitor, site: &str, port: u16) -> Result {
    visitor.open(&format!("https://{ELSEWHERE}:{port}/"))?;
    visitor.send("#callback", &[])?;
    wait_until_bound(visitor, site)?;
    say("ok: a login that ends a visit to another site is bound by the next page of this one");
    Ok(())
}

/// The browser registers on its own; a page that comes too early says so.
fn wait_until_bound(visitor: &Visitor, site: &str) -> Result {
    visitor.wait_for_page(|| {
        visitor.open(site)?;
        Ok(state(visitor)? == "bound" && cookie(visitor, DEVICE_COOKIE)?.is_some())
    })
}

fn state(visitor: &Visitor) -> Result<String> {
    visitor.text("#state")?.ok_or_else(|| "the page has no state".into())
}

fn device_cookie(visitor: &Visitor) -> Result<Cookie> {
    cookie(visitor, DEVICE_COOKIE)?.ok_or_else(|| "there is no device cookie".into())
}

fn cookie(visitor: &Visitor, name: &str) -> Result<Option<Cookie>> {
    Ok(visitor.cookies()?.into_iter().find(|cookie| cookie.name == name))
}
