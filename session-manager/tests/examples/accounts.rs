//! With rouille.

use super::{Browser, Example, TestResult};

/// A browser and the lines of the page that it shows.
struct Visitor<'e> {
    browser: Browser<'e>,
    lines: Vec<String>,
}

impl<'e> Visitor<'e> {
    fn new(example: &'e Example, name: &'static str) -> TestResult<Self> {
        let mut visitor = Self { browser: Browser::new(example, name), lines: Vec::new() };
        visitor.look()?;
        Ok(visitor)
    }

    fn look(&mut self) -> TestResult {
        self.lines = self.browser.get("")?.body.lines().map(str::to_owned).collect();
        Ok(())
    }

    /// Sends a form, with the token of the page, and looks at the page after it. Returns the
    /// status.
    fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> TestResult<u16> {
        let token = self.line("token: ").to_owned();
        let form: Vec<_> = fields.iter().copied().chain([("token", &*token)]).collect();
        let reply = self.browser.post_form(path, &form)?;
        self.look()?;
        Ok(reply.status)
    }

    /// What follows this at the beginning of a line.
    fn line(&self, beginning: &str) -> &str {
        let mut found = self.lines.iter().filter_map(|line| line.strip_prefix(beginning));
        found.next().unwrap_or_default()
    }

    fn sees(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

#[test]
fn accounts_example_has_logins_devices_and_roles() -> TestResult {
    let example = Example::start("accounts", &[])?;
    let mut ada = Visitor::new(&example, "laptop")?;
    assert_eq!(ada.send("login", &[("user", "ada")])?, 303);
    assert_eq!(ada.line("user: "), "ada, editor");
    assert!(ada.sees("Welcome.") && ada.sees("on laptop, this one"), "{:?}", ada.lines);
    assert!(!ada.browser.set_cookie.contains("Max-Age"), "{}", ada.browser.set_cookie);
    ada.look()?;
    assert!(!ada.sees("Welcome."), "it is shown once");

    let mut phone = Visitor::new(&example, "telephone")?;
    phone.send("login", &[("user", "ada"), ("remember", "on")])?;
    assert_eq!(phone.browser.max_age_rounded(), Some(30 * 24 * 60 * 60));

    // An administrator takes the role away: no session has it from then on.
    let mut root = Visitor::new(&example, "console")?;
    root.send("login", &[("user", "root")])?;
    assert_eq!(ada.send("demote", &[("user", "root")])?, 403);
    assert_eq!(root.send("demote", &[("user", "ada")])?, 303);
    assert!(root.sees("2 sessions have a reader's role now."), "{:?}", root.lines);
    for visitor in [&mut ada, &mut phone] {
        visitor.look()?;
        assert_eq!(visitor.line("user: "), "ada, reader");
    }

    // She has lost the telephone, and nobody else can end what isn't theirs.
    let lost = ada.lines.iter().find(|line| line.ends_with(" on telephone"));
    let lost = lost.and_then(|line| line.split(' ').nth(1)).expect("it is in the list").to_owned();
    root.send("end", &[("session", &lost)])?;
    assert!(root.sees("It had ended before."), "{:?}", root.lines);
    assert_eq!(ada.send("end", &[("session", "the telephone's")])?, 400);
    ada.send("end", &[("session", &lost)])?;
    assert!(ada.sees("It has ended."), "{:?}", ada.lines);
    phone.look()?;
    assert_eq!(phone.line("user: "), "");

    // She proves again who she is, as she is asked to some minutes later.
    let before = ada.browser.cookie.clone();
    assert_eq!(ada.send("login", &[("user", "ada")])?, 303);
    assert_ne!(ada.browser.cookie, before, "it counts");

    // A form of another session, one without a field, and a logout.
    assert_eq!(ada.send("login", &[])?, 400);
    ada.lines = root.lines.clone();
    assert_eq!(ada.send("login", &[("user", "root")])?, 403);
    ada.send("logout", &[])?;
    assert!(ada.sees("Logged out."));
    assert_eq!(ada.line("user: "), "");
    Ok(())
}
