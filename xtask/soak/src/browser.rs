//! A browser with one cookie, and what it may see.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Result;
use crate::client::{Answer, Client};
use crate::model::{Outcome, Request, Session, Shown, State};
use crate::site::{Site, Tally};

/// After a rotation the old token opens the session for so long.
const GRACE: Duration = Duration::from_secs(30);

/// Between the clocks of sessions and of this program.
const MARGIN: Duration = Duration::from_millis(50);

/// How long a visitor that was refused waits, far less than it was told to.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Browser {
    client: Client,
    /// How the names and notes of its visitor begin.
    mark: String,
    idle_timeout: Duration,
    pub(crate) cookie: String,
    /// The token of the form that ends the other sessions, if the last page had that form.
    pub(crate) form_token: Option<String>,
    /// The states in which the session can be, unless it has expired.
    possible: Vec<State>,
    /// Before this the session can't have expired.
    lives_until: Instant,
    /// After this it must have.
    gone_from: Instant,
    /// After a request that wasn't answered the session may have a new token, which the browser
    /// hasn't got; from then on the old one may not open it any more.
    orphaned_from: Option<Instant>,
}

impl Browser {
    pub(crate) fn new(mark: &str, idle_timeout: Duration) -> Self {
        let now = Instant::now();
        Self {
            client: Client::new(),
            mark: mark.to_owned(),
            idle_timeout,
            cookie: String::new(),
            form_token: None,
            possible: vec![State::Gone],
            lives_until: now,
            gone_from: now,
            orphaned_from: None,
        }
    }

    /// A browser of the same visitor with a cookie that names what is said.
    pub(crate) fn with_cookie(&self, cookie: &str, state: State) -> Self {
        let browser = Self::new(&self.mark, self.idle_timeout);
        let client = self.client.clone();
        Self { client, cookie: cookie.to_owned(), possible: vec![state], ..browser }
    }

    /// Forgets the session, which may live on.
    pub(crate) fn abandon(&mut self) {
        *self = self.with_cookie("", State::Gone);
    }

    /// The session, if it is known and can't expire during the next requests.
    pub(crate) fn session(&self) -> Option<&Session> {
        let is_fresh = Instant::now() + self.idle_timeout / 2 < self.lives_until;
        match &*self.possible {
            [State::Live(session)] if is_fresh && self.orphaned_from.is_none() => Some(session),
            _ => None,
        }
    }

    /// Somebody else may have ended the session, or must have.
    pub(crate) fn may_have_ended(&mut self, user: &str, is_certain: bool) {
        let is_theirs = |state: &State| matches!(state, State::Live(session) if session.user.as_deref() == Some(user));
        if self.possible.iter().any(is_theirs) {
            if is_certain {
                self.possible.retain(|state| !is_theirs(state));
            }
            self.add(State::Gone);
        }
    }

    /// Sends a request, and checks what it shows. Returns whether it was answered, and not refused.
    pub(crate) fn send(
        &mut self,
        site: &Site,
        random: &mut Rng,
        request: &Request,
    ) -> Result<Option<bool>> {
        let Some(target) = site.choose(random)? else { return Ok(None) };
        let started = Instant::now();
        match self.client.send(&target.url, request, &self.cookie) {
            Err(error) => {
                site.wait_for_successor(&target, &error.to_string())?;
                Tally::count(&site.tally.unanswered);
                self.not_answered(request, started);
            }
            Ok(answer) if answer.is_refusal()? => {
                Tally::count(&site.tally.refused);
                self.keep_cookie(&answer, site);
                self.not_answered(request, started);
                site.wait_for_close(PAUSE);
            }
            Ok(answer) => {
                Tally::count(&site.tally.answered);
                self.answered(request, &answer, started, site)?;
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// Visits the start page several times at once, with a session that is known.
    pub(crate) fn visit_at_once(
        &mut self,
        site: &Site,
        random: &mut Rng,
        tabs: usize,
    ) -> Result<Option<()>> {
        let Some(before) = self.session().filter(|session| session.message.is_none()).cloned()
        else {
            return Ok(Some(()));
        };
        let started = Instant::now();
        let mut targets = Vec::new();
        for _ in 0..tabs {
            let Some(target) = site.choose(random)? else { return Ok(None) };
            targets.push(target);
        }
        let (client, cookie) = (&self.client, &self.cookie);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let tabs: Vec<_> = targets
                .iter()
                .map(|target| {
                    scope.spawn(move || client.send(&target.url, &Request::Visit, cookie))
                })
                .collect();
            tabs.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        let mut seen = Vec::new();
        let mut is_lost = false;
        for (answer, target) in answers.into_iter().zip(&targets) {
            match answer.map_err(|_| "a thread panicked")? {
                Err(error) => {
                    site.wait_for_successor(target, &error.to_string())?;
                    Tally::count(&site.tally.unanswered);
                    is_lost = true;
                }
                Ok(answer) if answer.is_refusal()? => {
                    Tally::count(&site.tally.refused);
                    is_lost = true;
                }
                Ok(answer) => {
                    Tally::count(&site.tally.answered);
                    self.keep_cookie(&answer, site);
                    let shown = answer.shown(&Request::Visit)?;
                    self.check_owner(&shown)?;
                    seen.push(shown);
                }
            }
        }
        let ended = Instant::now();
        self.gone_from = ended + self.idle_timeout + MARGIN;
        if is_lost {
            self.orphaned_from = Some(started + GRACE);
        }
        let most = before.visits + tabs as u64;
        let least = before.visits + seen.len() as u64;
        let after = |visits| State::Live(Session { visits, ..before.clone() });
        self.possible = (least..=if is_lost { most } else { least }).map(after).collect();
        if ended >= self.lives_until {
            // It may have expired in between, and begun again in another tab.
            self.abandon();
            return Ok(Some(()));
        }
        self.lives_until = self.lives_after(started);
        for shown in &seen {
            // What two tabs found at the same time may be the same; the next visit, which is a
            // later one than all of them, shows that each was counted.
            let fits = matches!(shown, Shown::Start(session)
                if (before.visits + 1..=most).contains(&session.visits)
                    && *session == Session { visits: session.visits, ..before.clone() });
            if !fits {
                return Err(format!("after {before:?}, one of {tabs} tabs sees {shown:?}").into());
            }
        }
        Ok(Some(()))
    }

    fn not_answered(&mut self, request: &Request, started: Instant) {
        let may_live = self.possible.iter().any(|state| matches!(state, State::Live(_)));
        for state in self.possible.clone() {
            self.add(request.unanswered(&state));
        }
        if may_live {
            self.gone_from = self.gone_from.max(Instant::now() + self.idle_timeout + MARGIN);
            let from = started + GRACE;
            self.orphaned_from = Some(self.orphaned_from.map_or(from, |before| before.min(from)));
        }
    }

    fn answered(
        &mut self,
        request: &Request,
        answer: &Answer,
        started: Instant,
        site: &Site,
    ) -> Result {
        let ended = Instant::now();
        let shown = answer.shown(request)?;
        self.check_owner(&shown)?;
        let is_orphan = self.orphaned_from.is_some();
        let states = self.states(started, ended);
        let matching = |state: &State| -> Vec<(State, Outcome)> {
            let mut outcomes = request.outcomes(state);
            // Whoever hasn't got the new token can't change rights.
            if is_orphan && matches!((request, state), (Request::LogIn(_), State::Live(_))) {
                outcomes.push(Outcome::refused(state.clone()));
            }
            let has_cookie = answer.cookie.as_ref().is_some_and(|cookie| !cookie.is_empty());
            outcomes
                .into_iter()
                .filter(|outcome| outcome.shown == shown && (has_cookie || !outcome.needs_cookie))
                .map(|outcome| (state.clone(), outcome))
                .collect()
        };
        let outcomes: Vec<_> = states.iter().flat_map(matching).collect();
        if outcomes.is_empty() {
            return Err(format!(
                "{request:?} shows {shown:?}{}, and the session can be {states:?} only",
                if answer.cookie.is_none() { " without a new cookie" } else { "" },
            )
            .into());
        }
        let was_live = self.possible.iter().any(|state| matches!(state, State::Live(_)));
        if was_live && outcomes.iter().all(|(before, _)| *before == State::Gone) {
            Tally::count(&site.tally.expiries);
        }
        let has_started = |(before, _): &(State, Outcome)| *before == State::Gone;
        let is_surely_live = ended < self.lives_until && !outcomes.iter().any(has_started);
        if let (true, Shown::Start(Session { user: Some(_), .. })) = (is_surely_live, &shown)
            && answer.own_sessions() != 1
        {
            return Err(
                format!("the list of sessions doesn't have this one, once: {shown:?}").into()
            );
        }
        if is_surely_live || outcomes.iter().all(|(_, outcome)| outcome.is_write) {
            self.lives_until = self.lives_after(started);
        }
        self.gone_from = ended + self.idle_timeout + MARGIN;
        self.possible.clear();
        for (_, outcome) in outcomes {
            self.add(outcome.after);
        }
        self.keep_cookie(answer, site);
        self.form_token = answer.form_token();
        Ok(())
    }

    /// Until when a session lives that was used by a request which began then: its expiry is moved
    /// once a tenth of the idle timeout has passed.
    fn lives_after(&self, started: Instant) -> Instant {
        started + self.idle_timeout.mul_f64(0.9).saturating_sub(MARGIN)
    }

    /// The states in which the request may have found the session.
    fn states(&self, started: Instant, ended: Instant) -> Vec<State> {
        let mut states = self.possible.clone();
        let is_live = |state: &State| matches!(state, State::Live(_));
        if !states.iter().any(is_live) {
            return states;
        }
        if started > self.gone_from {
            states.retain(|state| !is_live(state));
            states.push(State::Gone);
        } else if ended >= self.lives_until {
            // It may also expire while the request is under way.
            states.extend([State::Gone, State::Ending]);
        }
        if self.orphaned_from.is_some_and(|from| ended >= from) {
            states.push(State::Gone);
        }
        states
    }

    /// Names and notes say whose they are.
    fn check_owner(&self, shown: &Shown) -> Result {
        let (user, note) = match shown {
            Shown::Start(session) => (&session.user, &session.note),
            Shown::Private { user, note } => (user, note),
            Shown::Redirect | Shown::Superseded => return Ok(()),
        };
        for text in [user, note].into_iter().flatten() {
            if !text.starts_with(&self.mark) {
                return Err(format!("{:?} sees {text:?}, of somebody else", self.mark).into());
            }
        }
        Ok(())
    }

    fn keep_cookie(&mut self, answer: &Answer, site: &Site) {
        if let Some(cookie) = &answer.cookie {
            if !self.cookie.is_empty() && !cookie.is_empty() {
                Tally::count(&site.tally.rotations);
            }
            self.cookie.clone_from(cookie);
            self.orphaned_from = None;
        }
    }

    fn add(&mut self, state: State) {
        if !self.possible.contains(&state) {
            self.possible.push(state);
        }
    }
}
