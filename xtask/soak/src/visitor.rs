//! A visitor: a person with two browsers, who does what people do, and looks at what comes back.

use std::time::Duration;

use fastrand::Rng;

use crate::Result;
use crate::browser::Browser;
use crate::model::{Request, State};
use crate::site::{Site, Tally};

/// So many cookies that must open nothing are kept.
const DEAD_COOKIES: usize = 16;

/// The longest pause between two requests.
const MAX_PAUSE_MILLIS: u64 = 40;

struct Visitor<'a> {
    site: &'a Site,
    random: Rng,
    mark: String,
    idle_timeout: Duration,
    browsers: [Browser; 2],
    /// Cookies of sessions that were ended, or had a new token by a login, and what they are.
    dead: Vec<(String, State)>,
    notes: u64,
}

/// Visits the site until it is closed.
pub(crate) fn run(site: &Site, number: usize, seed: u64, idle_timeout: Duration) -> Result {
    let mark = format!("v{number}-");
    let browsers = [(); 2].map(|()| Browser::new(&mark, idle_timeout));
    let random = Rng::with_seed(Rng::with_seed(seed ^ number as u64).u64(..));
    let mut visitor =
        Visitor { site, random, mark, idle_timeout, browsers, dead: Vec::new(), notes: 0 };
    while visitor.act()?.is_some() {
        let pause = Duration::from_millis(visitor.random.u64(..MAX_PAUSE_MILLIS));
        site.wait_for_close(pause);
    }
    Ok(())
}

impl Visitor<'_> {
    /// Does one thing; none if the site is closed.
    fn act(&mut self) -> Result<Option<()>> {
        let browser = self.random.usize(..2);
        match self.random.u8(..100) {
            0..40 => self.send(browser, &Request::Visit),
            40..52 => self.send(browser, &Request::Private),
            52..62 => {
                self.notes += 1;
                let note = format!("{}{}", self.mark, self.notes);
                self.send(browser, &Request::Note(note))
            }
            62..70 => self.log_in(browser),
            70..75 => self.log_out(browser),
            75..78 => self.end_others(browser),
            78..84 => {
                Tally::count(&self.site.tally.bursts);
                let tabs = self.random.usize(2..5);
                self.browsers[browser].visit_at_once(self.site, &mut self.random, tabs)
            }
            84..92 => self.try_dead_cookie(),
            92..99 => {
                // Somebody who comes once.
                self.browsers[browser].abandon();
                self.send(browser, &Request::Visit)
            }
            _ => {
                // Longer than the session lives.
                self.site.wait_for_close(self.idle_timeout.mul_f64(1.1));
                self.send(browser, &Request::Visit)
            }
        }
    }

    fn send(&mut self, browser: usize, request: &Request) -> Result<Option<()>> {
        let sent = self.browsers[browser].send(self.site, &mut self.random, request)?;
        Ok(sent.map(drop))
    }

    fn log_in(&mut self, browser: usize) -> Result<Option<()>> {
        let name = if self.random.u8(..5) == 0 { "grace" } else { "ada" };
        let request = Request::LogIn(format!("{}{name}", self.mark));
        let browser = &mut self.browsers[browser];
        let (had_session, cookie) = (browser.session().is_some(), browser.cookie.clone());
        let Some(answered) = browser.send(self.site, &mut self.random, &request)? else {
            return Ok(None);
        };
        if answered {
            Tally::count(&self.site.tally.log_ins);
            // The next request is logged in: the model says so.
            let is_renewed = cookie != browser.cookie;
            if had_session && is_renewed {
                self.bury(cookie, State::Superseded);
            }
        }
        Ok(Some(()))
    }

    fn log_out(&mut self, browser: usize) -> Result<Option<()>> {
        let browser = &mut self.browsers[browser];
        let cookie = browser.cookie.clone();
        let Some(answered) = browser.send(self.site, &mut self.random, &Request::LogOut)? else {
            return Ok(None);
        };
        if answered {
            Tally::count(&self.site.tally.log_outs);
            if !cookie.is_empty() {
                self.bury(cookie, State::Gone);
            }
            return Ok(Some(()));
        }
        // It is there, or it isn't; and a server that couldn't be asked may still be at it.
        let seen = browser.send(self.site, &mut self.random, &Request::Private)?;
        browser.abandon();
        Ok(seen.map(drop))
    }

    fn end_others(&mut self, browser: usize) -> Result<Option<()>> {
        let [first, second] = &mut self.browsers;
        let (here, other) = if browser == 0 { (first, second) } else { (second, first) };
        // The page that has the form for it, if there are others.
        let Some(is_shown) = here.send(self.site, &mut self.random, &Request::Visit)? else {
            return Ok(None);
        };
        let Some(token) = here.form_token.take().filter(|_| is_shown) else { return Ok(Some(())) };
        let user = here.session().and_then(|session| session.user.clone());
        let request = Request::EndOthers(token);
        let Some(answered) = here.send(self.site, &mut self.random, &request)? else {
            return Ok(None);
        };
        if !answered {
            other.abandon();
        } else if let Some(user) = user {
            let was_theirs =
                other.session().and_then(|session| session.user.as_ref()) == Some(&user);
            let cookie = other.cookie.clone();
            other.may_have_ended(&user, true);
            if was_theirs {
                self.bury(cookie, State::Gone);
            }
        } else {
            for name in ["ada", "grace"] {
                other.may_have_ended(&format!("{}{name}", self.mark), false);
            }
        }
        Ok(Some(()))
    }

    /// A session that was ended never comes back.
    fn try_dead_cookie(&mut self) -> Result<Option<()>> {
        if self.dead.is_empty() {
            return Ok(Some(()));
        }
        let (cookie, state) = self.dead[self.random.usize(..self.dead.len())].clone();
        let mut browser = self.browsers[0].with_cookie(&cookie, state);
        let request = if self.random.bool() { Request::Visit } else { Request::Private };
        Tally::count(&self.site.tally.dead_cookies);
        Ok(browser.send(self.site, &mut self.random, &request)?.map(drop))
    }

    fn bury(&mut self, cookie: String, state: State) {
        if self.dead.len() == DEAD_COOKIES {
            self.dead.remove(self.random.usize(..DEAD_COOKIES));
        }
        self.dead.push((cookie, state));
    }
}
