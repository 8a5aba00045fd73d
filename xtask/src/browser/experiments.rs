//! What the script of the demo's start page does, and what is left without it.

use super::checks::{USER, expect, is_logged_in, log_in};
use super::chromium::Visitor;
use crate::Result;
use crate::serving_program::ServingProgram;

/// Notes when the page's message changes, by which it is announced.
const OBSERVE_MESSAGE: &str = "addEventListener('DOMContentLoaded', () => {
    const message = document.querySelector('.flash[role=status]');
    const note = () => { window.isAnnounced = true; };
    if (message) new MutationObserver(note).observe(message, { childList: true });
});";

/// Half an hour off, all year.
const ZONE: (&str, &str) = ("Asia/Kolkata", "GMT+5:30");

pub(super) fn run(visitor: &Visitor, demo: &ServingProgram) -> Result {
    pages_run_no_other_script(visitor, demo)?;
    requests_at_once_are_counted(visitor, demo)?;
    problem_stands_at_its_field(visitor, demo)?;
    message_is_announced(visitor, demo)?;
    logout_is_final(visitor, demo)?;
    times_are_the_visitors(visitor, demo)?;
    works_without_scripts(visitor, demo)
}

fn pages_run_no_other_script(visitor: &Visitor, demo: &ServingProgram) -> Result {
    visitor.open(&demo.url)?;
    let inject = "{ const script = document.createElement('script');
        script.textContent = 'window.isInjected = true';
        document.body.append(script);
        String(window.isInjected) }";
    let is_injected = visitor.string(inject)?;
    expect("a script in the page doesn't run", is_injected.as_deref() == Some("undefined"))
}

fn requests_at_once_are_counted(visitor: &Visitor, demo: &ServingProgram) -> Result {
    visitor.open(&demo.url)?;
    let visits = visitor.text("#visits")?;
    let page = page_of(visitor)?;
    for counted in ["20", "40"] {
        let outcome = outcome(visitor, "at-once")?;
        expect(
            "twenty requests at once are counted",
            outcome == "20 of 20 counted. None was lost.",
        )?;
        expect("the counter shows it", visitor.text("#count")?.as_deref() == Some(counted))?;
    }
    let events = visitor.text("#events")?.unwrap_or_default();
    expect("the events show that they ran at once", events.contains("Two requests at once"))?;
    expect("all without a reload", page == page_of(visitor)?)?;
    expect("and none was a visit", visits == visitor.text("#visits")?)
}

fn problem_stands_at_its_field(visitor: &Visitor, demo: &ServingProgram) -> Result {
    visitor.open(&demo.url)?;
    visitor.send("#login", &[("#user-field", "  ")])?;
    let described = visitor.string(
        "const { ariaInvalid, id } = document.activeElement;
        const problem = document.activeElement.getAttribute('aria-describedby');
        `${ariaInvalid} ${id} ${document.getElementById(problem).textContent}`",
    )?;
    let expected = "true user-field A name is needed.";
    expect(
        "the field with a problem has the focus and says it",
        described.as_deref() == Some(expected),
    )
}

fn message_is_announced(visitor: &Visitor, demo: &ServingProgram) -> Result {
    visitor.run_in_new_pages(OBSERVE_MESSAGE)?;
    visitor.open(&demo.url)?;
    log_in(visitor, &[])?;
    visitor.wait_until("window.isAnnounced === true")?;
    let message = visitor.text(".flash")?;
    expect("a message is announced, and stays", message.as_deref() == Some("Logged in."))
}

fn logout_is_final(visitor: &Visitor, demo: &ServingProgram) -> Result {
    expect("somebody is logged in", is_logged_in(visitor)?)?;
    let page = page_of(visitor)?;
    let expected = "The slow request was refused with status 409, and nobody is logged in.";
    expect("a logout ends a slow request", outcome(visitor, "meanwhile")? == expected)?;
    expect("the page shows it without a reload", page == page_of(visitor)?)?;
    let html = visitor.string("document.documentElement.outerHTML")?.unwrap_or_default();
    expect("and has nothing of the user any more", !html.contains(USER))?;
    expect("but the login form", visitor.text("#login")?.is_some())?;
    let expected = "Log in first, so that there is somebody to log out.";
    expect("nobody can't log out", outcome(visitor, "meanwhile")? == expected)?;
    visitor.open(&demo.url)?;
    expect("nobody is logged in after a reload", !is_logged_in(visitor)?)
}

fn times_are_the_visitors(visitor: &Visitor, demo: &ServingProgram) -> Result {
    let (zone, offset) = ZONE;
    visitor.move_to_zone(zone)?;
    visitor.open(&demo.url)?;
    let time = visitor.text("time")?.unwrap_or_default();
    expect("times are in the visitor's zone", time.ends_with(offset))
}

fn works_without_scripts(visitor: &Visitor, demo: &ServingProgram) -> Result {
    visitor.allow_scripts(false)?;
    visitor.open(&demo.url)?;
    let time = visitor.text("time")?.unwrap_or_default();
    expect("without scripts, times are in UTC", time.ends_with("UTC"))?;
    let before: u64 = visitor.text("#count")?.unwrap_or_default().parse()?;
    visitor.send("#at-once", &[])?;
    let after: u64 = visitor.text("#count")?.unwrap_or_default().parse()?;
    expect("the first button counts one", after == before + 1)?;
    log_in(visitor, &[])?;
    expect("one can log in", is_logged_in(visitor)?)?;
    visitor.send("#meanwhile", &[])?;
    let message = visitor.text(".flash")?;
    expect(
        "the second button writes, if there is no logout",
        message.as_deref() == Some("The slow request has written."),
    )?;
    visitor.send("#logout", &[])?;
    expect("and log out", !is_logged_in(visitor)?)?;
    visitor.allow_scripts(true)
}

/// Presses a button, and returns what comes of it, which is said in a live region.
fn outcome(visitor: &Visitor, form: &str) -> Result<String> {
    visitor.string(&format!("document.getElementById('{form}-outcome').textContent = ''"))?;
    visitor.press(&format!("#{form} button"))?;
    let region = format!("#{form}-outcome[role=status][aria-live=polite]");
    visitor.wait_until(&format!("/[^…]$/.test(document.querySelector('{region}').textContent)"))?;
    Ok(visitor.text(&region)?.unwrap_or_default())
}

/// Differs between pages, also those with the same address.
fn page_of(visitor: &Visitor) -> Result<Option<String>> {
    visitor.string("String(performance.timeOrigin)")
}
