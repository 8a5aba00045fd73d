//! The picture of the demo in the README.

use std::fs;
use std::path::Path;

use super::checks::{NOTE, log_in, save_note};
use super::chromium::{Chromium, Screen};
use super::servers::start_demo;
use crate::{Result, say};

/// The window, before it is made as high as the page.
const WINDOW: Screen = Screen { width: 1200, height: 600, is_phone: false };

/// Where the user is logged in as well.
const PHONE: &str =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) Version/26.0 Safari/604.1";

/// The times of the picture, which would be others whenever it is made.
const SET_TIMES: &str = "for (const time of document.querySelectorAll('time')) {
    time.textContent = `${time.closest('header') ? 2 : 1} July 2026 at 09:30 UTC`;
}";

/// Saves what a desktop shows of the demo after a few steps of a visitor.
pub(super) fn save(chromium: &Path, program: &Path, picture: &Path) -> Result {
    let directory = tempfile::tempdir()?;
    let demo = start_demo(program, &directory.path().join("demo.db"))?;
    let profile = |name: &str| directory.path().join(name);
    let phone = Chromium::start(chromium, &profile("phone"))?;
    let desktop = Chromium::start(chromium, &profile("desktop"))?;

    let visitor = phone.tab()?;
    visitor.pretend_to_be(PHONE)?;
    visitor.open(&demo.url)?;
    log_in(&visitor, &[])?;

    let visitor = desktop.tab()?;
    visitor.use_screen(&WINDOW)?;
    visitor.use_colours("light")?;
    visitor.move_to_zone("UTC")?;
    visitor.open(&demo.url)?;
    log_in(&visitor, &[])?;
    save_note(&visitor, NOTE)?;
    visitor.open(&demo.url)?;
    visitor.press("#at-once button")?;
    visitor
        .wait_until("document.querySelector('#at-once-outcome').textContent.includes('counted')")?;
    visitor.string(SET_TIMES)?;
    let height = visitor.string("String(document.documentElement.scrollHeight)")?;
    let height = height.ok_or("the page has no height")?.parse()?;
    visitor.use_screen(&Screen { height, ..WINDOW })?;
    visitor.wait_until(&format!("innerHeight === {height}"))?;
    fs::write(picture, visitor.screenshot()?)?;
    say(&format!("the picture is {}", picture.display()));
    phone.close()?;
    desktop.close()
}
