//! What a visitor may see: the state of a session as far as its browser can know it, and what each
//! request shows of it and makes of it.

/// The messages that the demo shows once, on the next page.
pub(crate) const SAVED: &str = "Saved.";
pub(crate) const LOGGED_IN: &str = "Logged in.";
pub(crate) const LOGGED_OUT: &str = "Logged out.";
pub(crate) const LOGGED_OUT_ELSEWHERE: &str = "Logged out everywhere else.";

/// The values of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) visits: u64,
    pub(crate) user: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) message: Option<String>,
}

/// What a browser's cookie names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Live(Session),
    /// Nothing: the browser has no cookie, or the session has expired or was ended.
    Gone,
    /// A session that has a new token, with which the old one doesn't open it, for the grace;
    /// afterwards nothing.
    Superseded,
    /// A session that expires while the request is under way.
    Ending,
}

/// A request of a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Visit,
    Private,
    Note(String),
    LogIn(String),
    LogOut,
    /// With the token of the page that has the form.
    EndOthers(String),
}

/// What an answer shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Start(Session),
    Private {
        user: Option<String>,
        note: Option<String>,
    },
    Redirect,
    /// Status 409.
    Superseded,
}

/// A possible outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) shown: Shown,
    /// What the browser's cookie names afterwards.
    pub(crate) after: State,
    /// Whether the browser must have got a new cookie. It may always get one if the session is
    /// rotated.
    pub(crate) needs_cookie: bool,
    /// Whether it means that the session was written, and its expiry moved.
    pub(crate) is_write: bool,
}

impl Outcome {
    /// Status 409: nothing was written.
    pub(crate) fn refused(after: State) -> Self {
        Self { shown: Shown::Superseded, after, needs_cookie: false, is_write: false }
    }
}

impl Request {
    /// The possible outcomes of an answered request.
    pub(crate) fn outcomes(&self, state: &State) -> Vec<Outcome> {
        match state {
            State::Live(session) => vec![self.on(session, false)],
            State::Gone => vec![self.on(&Session::default(), true)],
            State::Superseded => {
                let mut outcomes = self.outcomes(&State::Gone);
                for outcome in outcomes.iter_mut().filter(|outcome| !outcome.is_write) {
                    outcome.after = State::Superseded;
                }
                if matches!(self, Self::Visit | Self::Note(_)) {
                    outcomes.push(Outcome::refused(State::Superseded));
                }
                outcomes
            }
            State::Ending => vec![Outcome::refused(State::Gone)],
        }
    }

    /// What became of the session, as the browser's old cookie names it, if the request was done
    /// but not answered.
    pub(crate) fn unanswered(&self, state: &State) -> State {
        match (self, state) {
            (Self::LogOut, _) => State::Gone,
            (Self::LogIn(_), State::Live(_)) => State::Superseded,
            (_, State::Live(session)) => self.on(session, false).after,
            (_, state) => state.clone(),
        }
    }

    fn on(&self, session: &Session, is_fresh: bool) -> Outcome {
        let written = |shown, session, needs_cookie| Outcome {
            shown,
            after: State::Live(session),
            needs_cookie,
            is_write: true,
        };
        let unchanged = |shown| Outcome {
            shown,
            after: if is_fresh { State::Gone } else { State::Live(session.clone()) },
            needs_cookie: false,
            is_write: false,
        };
        let with_message =
            |message: &str| Session { message: Some(message.to_owned()), ..session.clone() };
        match self {
            Self::Visit => {
                let shown = Session { visits: session.visits + 1, ..session.clone() };
                let after = Session { message: None, ..shown.clone() };
                written(Shown::Start(shown), after, is_fresh)
            }
            Self::Private => match &session.user {
                Some(_) => unchanged(Shown::Private {
                    user: session.user.clone(),
                    note: session.note.clone(),
                }),
                None => unchanged(Shown::Redirect),
            },
            Self::Note(note) => {
                let after = Session { note: Some(note.clone()), ..with_message(SAVED) };
                written(Shown::Redirect, after, is_fresh)
            }
            Self::LogIn(user) => {
                // Another user begins with an empty session.
                let is_other = session.user.as_ref().is_some_and(|before| before != user);
                let kept = if is_other { Session::default() } else { session.clone() };
                let message = Some(LOGGED_IN.to_owned());
                let after = Session { user: Some(user.clone()), message, ..kept };
                written(Shown::Redirect, after, true)
            }
            Self::LogOut => {
                let message = Some(LOGGED_OUT.to_owned());
                written(Shown::Redirect, Session { message, ..Session::default() }, true)
            }
            Self::EndOthers(_) => match &session.user {
                Some(_) => written(Shown::Redirect, with_message(LOGGED_OUT_ELSEWHERE), false),
                None => unchanged(Shown::Redirect),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unanswered_request_has_happened_or_not_under_the_old_cookie() {
        let session = Session { visits: 3, user: Some("ada".to_owned()), ..Session::default() };
        let state = State::Live(session.clone());
        let visited = State::Live(Session { visits: 4, ..session });
        assert_eq!(Request::Visit.unanswered(&state), visited);
        assert_eq!(Request::Private.unanswered(&state), state);
        // The browser didn't get the new cookie.
        assert_eq!(Request::LogIn("ada".to_owned()).unanswered(&state), State::Superseded);
        assert_eq!(Request::LogOut.unanswered(&state), State::Gone);
        assert_eq!(Request::Visit.unanswered(&State::Gone), State::Gone);
    }

    #[test]
    fn another_user_sees_nothing_of_the_last_one() {
        let note = Some("secret".to_owned());
        let session = Session { visits: 3, user: Some("ada".to_owned()), note, message: None };
        let outcomes = Request::LogIn("grace".to_owned()).outcomes(&State::Live(session));
        let [Outcome { after: State::Live(after), needs_cookie: true, .. }] = &*outcomes else {
            panic!("{outcomes:?}");
        };
        assert_eq!((after.visits, &after.note, after.user.as_deref()), (0, &None, Some("grace")));
    }
}
