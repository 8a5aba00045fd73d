//! The checks, each on pages as a visitor sees them.

use std::path::Path;

use headless_chrome::protocol::cdp::Network::{Cookie, CookieSameSite};

use super::chromium::{Chromium, Screen, Visitor};
use super::servers::{Attacker, start_demo};
use super::{accessibility, experiments};
use crate::serving_program::ServingProgram;
use crate::{Result, say};

/// The session cookie of the demo.
const COOKIE: &str = "session";

pub(super) const USER: &str = "Ada Lovelace";
pub(super) const NOTE: &str = "Note G, seven";

pub(super) const PHONE: Screen = Screen { width: 390, height: 844, is_phone: true };

/// Runs the checks, each in a profile of its own; `axe` is the script of axe-core.
pub(super) fn run(chromium: &Path, program: &Path, axe: &Path) -> Result {
    let directory = tempfile::tempdir()?;
    let demo = start_demo(program, &directory.path().join("demo.db"))?;
    let attacker = Attacker::start(&demo.url)?;
    let profile = |name: &str| directory.path().join(name);

    restarts(chromium, &profile("restarts"), &demo)?;
    let browser = Chromium::start(chromium, &profile("visits"))?;
    cookie_is_invisible_and_renewed(&browser.tab()?, &demo)?;
    other_sites_are_kept_out(&browser.tab()?, &demo, &attacker)?;
    forms_have_the_token_of_their_page(&browser.tab()?, &demo)?;
    log_out_leaves_nothing(&browser.tab()?, &demo)?;
    tabs_work_together(&browser.tab()?, &browser.tab()?, &demo)?;
    fits_on_a_phone(&browser.tab()?, &demo)?;
    browser.close()?;

    let browser = Chromium::start(chromium, &profile("experiments"))?;
    let other = Chromium::start(chromium, &profile("other"))?;
    experiments::run(&browser.tab()?, &demo)?;
    accessibility::run(&browser.tab()?, &other.tab()?, &demo, axe)?;
    other.close()?;
    browser.close()
}

fn restarts(chromium: &Path, profile: &Path, demo: &ServingProgram) -> Result {
    let browser = Chromium::start(chromium, profile)?;
    let visitor = browser.tab()?;
    visitor.open(&demo.url)?;
    log_in(&visitor, &[])?;
    visitor.open(&demo.url)?;
    expect("a login lasts while the browser runs", is_logged_in(&visitor)?)?;
    browser.close()?;

    let browser = Chromium::start(chromium, profile)?;
    let visitor = browser.tab()?;
    visitor.open(&demo.url)?;
    expect("a login ends with the browser", !is_logged_in(&visitor)?)?;
    log_in(&visitor, &[("#remember", "on")])?;
    browser.close()?;

    let browser = Chromium::start(chromium, profile)?;
    let visitor = browser.tab()?;
    visitor.open(&demo.url)?;
    expect("“Keep me logged in” outlives the browser", is_logged_in(&visitor)?)?;
    browser.close()
}

fn cookie_is_invisible_and_renewed(visitor: &Visitor, demo: &ServingProgram) -> Result {
    visitor.open(&demo.url)?;
    visitor.open(&demo.url)?;
    expect("the session works", visitor.text("#visits")?.as_deref() == Some("2"))?;
    let visible = visitor.string("document.cookie")?;
    expect("its cookie is invisible to scripts", visible.as_deref() == Some(""))?;

    let before = session_cookie(visitor)?;
    expect("the cookie is HttpOnly", before.http_only)?;
    expect("the cookie is SameSite=Lax", before.same_site == Some(CookieSameSite::Lax))?;
    expect("the cookie ends with the browser", before.session)?;
    log_in(visitor, &[])?;
    let after = session_cookie(visitor)?;
    expect("login gives the cookie another value", before.value != after.value)?;
    expect("and leaves it HttpOnly", after.http_only)?;
    expect("and SameSite=Lax", after.same_site == Some(CookieSameSite::Lax))
}

fn other_sites_are_kept_out(
    visitor: &Visitor,
    demo: &ServingProgram,
    attacker: &Attacker,
) -> Result {
    visitor.open(&demo.url)?;
    save_note(visitor, NOTE)?;
    let is_kept = || -> Result<bool> {
        visitor.open(&demo.url)?;
        Ok(visitor.text("#note")?.as_deref() == Some(NOTE) && is_logged_in(visitor)?)
    };
    expect("a form of the demo's own page changes the note", is_kept()?)?;

    // What a form has with it is seen best by a server that only looks. The demo's cookie goes to
    // all ports of its host.
    let post = |host: &str, page: &str, target: &str| {
        visitor.open(&format!("http://{host}:{}/{page}", attacker.port))?;
        visitor.wait_until(&format!(
            "location.href.startsWith('{target}') && document.readyState === 'complete'"
        ))
    };
    let (posted, demo_page) =
        (format!("http://127.0.0.1:{}/posted", attacker.port), format!("{}/", demo.url));
    let mark = format!("{COOKIE}=");
    post("127.0.0.1", "post-to-attacker", &posted)?;
    expect("a form posted within the site has the cookie", attacker.cookie()?.contains(&mark))?;
    post("localhost", "post-to-attacker", &posted)?;
    expect("a form posted from another site has no cookie", attacker.cookie()?.is_empty())?;

    let before = cookie_value(visitor)?;
    post("localhost", "post-to-demo", &demo_page)?;
    expect("the answer to it leaves the visitor's cookie alone", before == cookie_value(visitor)?)?;
    expect("and it changes neither note nor login", is_kept()?)?;
    post("127.0.0.1", "post-to-demo", &demo_page)?;
    expect("nor does one from another port, though it has the cookie", is_kept()?)
}

/// The user has sessions in browsers that were closed before.
fn forms_have_the_token_of_their_page(visitor: &Visitor, demo: &ServingProgram) -> Result {
    visitor.open(&demo.url)?;
    visitor.send("#end-others", &[("#end-others [name=csrf_token]", "")])?;
    let answer = visitor.text("body")?.unwrap_or_default();
    expect("a form without the token of its page is refused", answer.contains("outdated"))?;
    visitor.open(&demo.url)?;
    expect("and changes nothing", visitor.text("#end-others")?.is_some())?;
    visitor.send("#end-others", &[])?;
    let flash = visitor.text(".flash")?;
    expect("one with it is taken", flash.as_deref() == Some("Logged out everywhere else."))?;
    expect("and changes something", visitor.text("#end-others")?.is_none())
}

fn log_out_leaves_nothing(visitor: &Visitor, demo: &ServingProgram) -> Result {
    visitor.open(&demo.url)?;
    if !is_logged_in(visitor)? {
        log_in(visitor, &[])?;
    }
    save_note(visitor, NOTE)?;
    visitor.open(&format!("{}/private", demo.url))?;
    expect("the private page shows name and note", is_private(visitor)?)?;
    visitor.send("#logout", &[])?;
    expect("logout says so", visitor.text(".flash")?.as_deref() == Some("Logged out."))?;
    expect("after logout nothing private is shown", !is_private(visitor)?)?;
    visitor.go_back()?;
    expect("nor when going back to the private page", !is_private(visitor)?)?;
    visitor.go_back()?;
    expect("nor further back", !is_private(visitor)?)
}

fn tabs_work_together(one: &Visitor, other: &Visitor, demo: &ServingProgram) -> Result {
    one.open(&demo.url)?;
    other.open(&demo.url)?;
    log_in(one, &[])?;
    expect("the other tab is as it was", !is_logged_in(other)?)?;
    save_note(other, NOTE)?;
    expect("a page loaded before the login works on", is_logged_in(other)?)?;
    for visitor in [one, other, one] {
        visitor.reload()?;
        expect("both tabs stay logged in", is_private(visitor)?)?;
    }
    one.send("#logout", &[])?;
    other.reload()?;
    expect("logout in one tab logs out the other", !is_private(other)?)
}

fn fits_on_a_phone(visitor: &Visitor, demo: &ServingProgram) -> Result {
    visitor.use_screen(&PHONE)?;
    visitor.open(&demo.url)?;
    expect("the page fits on a phone", fits(visitor)?)?;
    log_in(visitor, &[])?;
    save_note(visitor, NOTE)?;
    expect("so it does when logged in", fits(visitor)?)?;
    save_note(visitor, &"W".repeat(200))?;
    expect("and with a word that is too long for it", fits(visitor)?)?;
    visitor.open(&format!("{}/private", demo.url))?;
    expect("the private page fits, too", fits(visitor)?)
}

pub(super) fn log_in(visitor: &Visitor, fields: &[(&str, &str)]) -> Result {
    visitor.send("#login", &[&[("#user-field", USER)], fields].concat())
}

pub(super) fn save_note(visitor: &Visitor, note: &str) -> Result {
    visitor.send("form[action=\"/note\"]", &[("#note-field", note)])?;
    match visitor.text(".flash")?.as_deref() {
        Some("Saved.") => Ok(()),
        _ => Err("the note was not saved".into()),
    }
}

pub(super) fn is_logged_in(visitor: &Visitor) -> Result<bool> {
    Ok(visitor.text("#user")?.as_deref() == Some(USER))
}

/// Whether anything of the user's stands anywhere in the page, in its fields for example.
fn is_private(visitor: &Visitor) -> Result<bool> {
    let page = visitor.string("document.documentElement.outerHTML")?.unwrap_or_default();
    Ok(page.contains(USER) || page.contains(NOTE))
}

/// Where something is too wide, a phone shows a wider page at a smaller scale, so the page's own
/// idea of its width isn't enough.
fn fits(visitor: &Visitor) -> Result<bool> {
    let fits = format!(
        "String(document.documentElement.scrollWidth <= Math.min(innerWidth, {}))",
        PHONE.width
    );
    Ok(visitor.string(&fits)?.as_deref() == Some("true"))
}

fn cookie_value(visitor: &Visitor) -> Result<String> {
    Ok(session_cookie(visitor)?.value)
}

fn session_cookie(visitor: &Visitor) -> Result<Cookie> {
    let cookies = visitor.cookies()?;
    let cookie = cookies.into_iter().find(|cookie| cookie.name == COOKIE);
    cookie.ok_or_else(|| "the browser has no session cookie".into())
}

pub(super) fn expect(claim: &str, holds: bool) -> Result {
    if !holds {
        return Err(format!("it isn't so: {claim}").into());
    }
    say(&format!("ok: {claim}"));
    Ok(())
}
