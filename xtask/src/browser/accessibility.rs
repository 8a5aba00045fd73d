//! What keeps people out of the demo's pages, as axe-core finds it, and borders that are hard to
//! see, which it doesn't look for: in each state of each page, in both schemes of colours, and on a
//! narrow screen.

use std::fs;
use std::path::Path;

use super::checks::{NOTE, PHONE, expect, log_in, save_note};
use super::chromium::{Screen, Visitor};
use crate::serving_program::ServingProgram;
use crate::{Result, say};

const DESKTOP: Screen = Screen { width: 1200, height: 900, is_phone: false };
const NARROW: Screen = Screen { width: 320, ..PHONE };

/// The ways in which a page is shown.
const VIEWS: [(&Screen, &str); 3] = [(&DESKTOP, "light"), (&DESKTOP, "dark"), (&NARROW, "light")];

/// What axe-core can't judge counts as found: the demo has no picture behind text.
const RUN: &str = "axe.run(document, { resultTypes: ['violations', 'incomplete'] }).then((found) =>
    [...found.violations, ...found.incomplete].map(({ help, nodes }) =>
        `${help}: ${nodes.map(({ target }) => target).join(', ')}`).join('\\n'))";

/// Fields, buttons and cards whose border has less than 3:1 against what is around it.
const FAINT_BORDERS: &str = "{
    const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const luminance = (colour) => channels(colour).slice(0, 3).map((channel) => channel / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const around = (element) => {
        const colour = element && getComputedStyle(element).backgroundColor;
        return !element || channels(colour)[3] === 0 ? around(element.parentElement) : colour;
    };
    const contrast = (element) => {
        const border = getComputedStyle(element).borderTopColor;
        if (channels(border)[3] === 0) return 1;
        const both = [border, around(element.parentElement)].map(luminance);
        const [low, high] = both.sort((one, other) => one - other);
        return (high + 0.05) / (low + 0.05);
    };
    const elements = [...document.querySelectorAll('input:not([type=hidden]), button, section')];
    elements.filter((element) => contrast(element) < 3).map((element) =>
        `a border of ${contrast(element).toFixed(2)}:1: ${element.outerHTML.slice(0, 60)}`).join('\\n');
}";

/// Changes that each of the two has to find.
const INVISIBLE_LABEL: &str = "document.querySelector('label').remove()";
const FAINT_FIELD: &str = "document.querySelector('input').style.borderColor = 'transparent'";

/// The checks of one page after the other, and how many there were.
struct Checks<'a> {
    visitor: &'a Visitor,
    axe: String,
    done: usize,
}

/// Looks at all pages as `visitor`, while `other` logs in elsewhere.
pub(super) fn run(visitor: &Visitor, other: &Visitor, demo: &ServingProgram, axe: &Path) -> Result {
    let mut checks = Checks { visitor, axe: fs::read_to_string(axe)?, done: 0 };
    let open = |path: &str| visitor.open(&format!("{}{path}", demo.url));

    open("/")?;
    checks.find_what_was_put_there()?;
    open("/")?;
    expect("the login form is there", visitor.text("#login")?.is_some())?;
    checks.run("nobody is logged in")?;
    visitor.send("#login", &[("#user-field", "  ")])?;
    checks.run("a name is missing")?;
    log_in(visitor, &[])?;
    checks.run("after the login")?;
    save_note(visitor, NOTE)?;
    other.open(&demo.url)?;
    log_in(other, &[])?;
    open("/")?;
    expect("the list has two sessions", visitor.text("#end-others")?.is_some())?;
    checks.run("two sessions")?;
    visitor.press("#at-once button")?;
    visitor
        .wait_until("document.querySelector('#at-once-outcome').textContent.includes('counted')")?;
    checks.run("twenty requests at once")?;
    open("/private")?;
    checks.run("the private page")?;
    open("/nowhere")?;
    checks.run("no such page")?;
    open("/")?;
    visitor.press("#meanwhile button")?;
    visitor
        .wait_until("document.querySelector('#meanwhile-outcome').textContent.includes('409')")?;
    checks.run("a logout during a slow request")?;
    say(&format!("ok: {} pages are accessible", checks.done));
    Ok(())
}

impl Checks<'_> {
    /// That each check can fail.
    fn find_what_was_put_there(&self) -> Result {
        expect("nothing is found before", self.found()?.is_empty())?;
        self.visitor.string(INVISIBLE_LABEL)?;
        expect("a field without a label is found", self.found()?.contains("#note-field"))?;
        self.visitor.string(FAINT_FIELD)?;
        expect("a border without contrast is found", self.found()?.contains("a border of 1.00:1"))
    }

    /// Looks at the page as it is, in all ways in which it can be shown.
    fn run(&mut self, state: &str) -> Result {
        for (screen, scheme) in VIEWS {
            self.visitor.use_screen(screen)?;
            self.visitor.use_colours(scheme)?;
            let width = screen.width;
            self.visitor.wait_until(&format!(
                "innerWidth === {width} && matchMedia('(prefers-color-scheme: {scheme})').matches"
            ))?;
            let found = self.found()?;
            if !found.is_empty() {
                return Err(format!("{state}, {scheme}, {width} pixels:\n{found}").into());
            }
            self.done += 1;
        }
        say(&format!("ok: nothing keeps anybody out: {state}"));
        Ok(())
    }

    /// What is found, one thing a line.
    fn found(&self) -> Result<String> {
        if self.visitor.string("typeof axe")?.as_deref() != Some("object") {
            self.visitor.string(&self.axe)?;
        }
        let found = self.visitor.promised(RUN)?.ok_or("axe-core doesn't answer")?;
        let faint = self.visitor.string(FAINT_BORDERS)?.ok_or("the borders can't be seen")?;
        Ok([found, faint].join("\n").trim().to_owned())
    }
}
