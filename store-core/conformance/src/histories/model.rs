//! What a store must answer, as a model of a group of tokens.

use chrono::{DateTime, Utc};

use crate::calls::{an_hour_ago, in_an_hour};

/// Tokens in a group; rotations and absorptions stay within one.
pub(super) const GROUP: usize = 5;

/// Subjects of a group; they stay within one, so that a group is still one object.
pub(super) const SUBJECTS: usize = 2;

/// What the model knows of a group: the live sessions, and what has become of old tokens. No grace
/// ends, so a rotation that has one is known until the old token is rotated again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) sessions: [Option<Session>; GROUP],
    rotated: [Option<Rotated>; GROUP],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) data: u64,
    pub(super) subject: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rotated {
    newest: usize,
    pub(super) opens: bool,
}

impl State {
    /// Where the session lives that was rotated away from a token.
    pub(super) fn rotated(&self, i: usize) -> Option<Rotated> {
        self.rotated[i].filter(|rotated| self.sessions[rotated.newest].is_some())
    }

    /// Where the session lives that a token names, or named before.
    pub(super) fn live_or_rotated(&self, i: usize) -> Option<usize> {
        match self.sessions[i] {
            Some(_) => Some(i),
            None => self.rotated(i).map(|rotated| rotated.newest),
        }
    }

    /// Leads the tokens that led to one on to another.
    pub(super) fn lead(&mut self, i: usize, to: usize, opens: bool) {
        for rotated in self.rotated.iter_mut().flatten().filter(|rotated| rotated.newest == i) {
            *rotated = Rotated { newest: to, opens: rotated.opens && opens };
        }
    }

    pub(super) fn has(&self, i: usize, data: u64) -> bool {
        self.sessions[i].is_some_and(|session| session.data == data)
    }

    /// The tokens that an operation expects, if it is to be done to this state.
    pub(super) fn expected(&self, op: Op) -> [bool; GROUP] {
        let (Op::Create(.., Some(expected))
        | Op::Update(_, _, Parts { expected: Some(expected), .. })) = op
        else {
            return [false; GROUP];
        };
        let mut tokens = self.of_subject(expected.subject).map(|data| data.is_some());
        if let Some(but) = expected.but {
            tokens[but] = !tokens[but];
        }
        tokens
    }

    fn meets(&self, expected: Option<Expected>, tokens: [bool; GROUP]) -> bool {
        expected.is_none_or(|Expected { subject, .. }| {
            self.of_subject(subject).map(|data| data.is_some()) == tokens
        })
    }

    pub(super) fn of_subject(&self, subject: usize) -> [Option<u64>; GROUP] {
        self.sessions.map(|session| {
            session.filter(|session| session.subject == Some(subject)).map(|session| session.data)
        })
    }
}

/// A random operation on token `i` of a group. What data it writes is decided when it runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Find(usize),
    Load(usize),
    Commit(usize, Expiry),
    Create(usize, Expiry, Option<usize>, Option<Expected>),
    /// Updates what this thread saw last under the token.
    Update(usize, Expiry, Parts),
    Touch(usize, Expiry),
    Delete(usize),
    FindBySubject(usize),
    DeleteBySubject(usize, Option<usize>),
}

/// What an update changes besides data and expiry.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    pub(super) rotation: Option<Target>,
    pub(super) subject: NewSubject,
    /// Absorbs what this thread saw last under the token. There is a rotation then, if only to the
    /// same token, which says how long the grace is.
    pub(super) absorbed: Option<usize>,
    pub(super) expected: Option<Expected>,
}

/// The sessions that a subject is expected to have: those that it has, but for one token if it is
/// to have others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) subject: usize,
    pub(super) but: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NewSubject {
    #[default]
    Unchanged,
    None,
    Some(usize),
}

impl NewSubject {
    pub(super) fn after(self, before: Option<usize>) -> Option<usize> {
        match self {
            Self::Unchanged => before,
            Self::None => None,
            Self::Some(subject) => Some(subject),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) to: usize,
    pub(super) opens: bool,
    pub(super) grace: Grace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grace {
    Hour,
    None,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Expiry {
    Live,
    Past,
}

impl Expiry {
    pub(super) fn instant(self) -> DateTime<Utc> {
        match self {
            Self::Live => in_an_hour(),
            Self::Past => an_hour_ago(),
        }
    }

    /// What the model holds after a session was written with this expiry.
    pub(super) fn keeps(self, session: Session) -> Option<Session> {
        match self {
            Self::Live => Some(session),
            Self::Past => None,
        }
    }
}

/// An operation with the data that it used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) op: Op,
    pub(super) current: u64,
    pub(super) absorbed: u64,
    pub(super) data: u64,
    /// The tokens that the subject is expected to have.
    pub(super) expected: [bool; GROUP],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Found(Option<u64>),
    Rotated(usize, bool),
    Answer(bool),
    Taken,
    Done,
    Records([Option<u64>; GROUP]),
    Count(u64),
}

/// What an operation does to the model, and what it must return.
pub(super) fn model(state: &mut State, call: Call) -> Outcome {
    let Call { op, data, .. } = call;
    match op {
        Op::Find(i) => Outcome::Found(state.sessions[i].map(|session| session.data)),
        Op::Load(i) => match (state.sessions[i], state.rotated(i)) {
            (None, Some(Rotated { newest, opens })) => Outcome::Rotated(newest, opens),
            (session, _) => Outcome::Found(session.map(|session| session.data)),
        },
        Op::Commit(i, expiry) => {
            let subject = state.sessions[i].and_then(|session| session.subject);
            state.sessions[i] = expiry.keeps(Session { data, subject });
            Outcome::Done
        }
        Op::Create(.., expected) if !state.meets(expected, call.expected) => Outcome::Answer(false),
        Op::Create(i, ..) if state.sessions[i].is_some() => Outcome::Taken,
        Op::Create(i, expiry, subject, _) => {
            state.sessions[i] = expiry.keeps(Session { data, subject });
            Outcome::Answer(true)
        }
        Op::Update(i, expiry, parts) => model_update(state, call, i, expiry, parts),
        Op::Touch(i, expiry) => {
            let live = state.sessions[i];
            state.sessions[i] = live.and_then(|session| expiry.keeps(session));
            Outcome::Answer(live.is_some())
        }
        Op::Delete(i) => {
            if let Some(i) = state.live_or_rotated(i) {
                state.sessions[i] = None;
            }
            Outcome::Done
        }
        Op::FindBySubject(subject) => Outcome::Records(state.of_subject(subject)),
        Op::DeleteBySubject(subject, except) => {
            let except = except.and_then(|except| state.live_or_rotated(except));
            let mut count = 0;
            for (i, session) in state.of_subject(subject).iter().enumerate() {
                if session.is_some() && except != Some(i) {
                    state.sessions[i] = None;
                    count += 1;
                }
            }
            Outcome::Count(count)
        }
    }
}

pub(super) fn model_update(
    state: &mut State,
    Call { current, absorbed, data, expected, .. }: Call,
    i: usize,
    expiry: Expiry,
    parts: Parts,
) -> Outcome {
    let Some(session) = state.sessions[i].filter(|session| session.data == current) else {
        return Outcome::Answer(false);
    };
    if parts.absorbed.is_some_and(|other| other == i || !state.has(other, absorbed))
        || !state.meets(parts.expected, expected)
    {
        return Outcome::Answer(false);
    }
    let rotation = parts.rotation.filter(|rotation| rotation.to != i);
    if rotation.is_some_and(|rotation| state.sessions[rotation.to].is_some()) {
        return Outcome::Taken;
    }
    if let (Some(other), Some(Target { to, grace, .. })) = (parts.absorbed, parts.rotation) {
        state.sessions[other] = None;
        // Its tokens lead to what absorbed it, and open nothing.
        state.lead(other, to, false);
        state.rotated[other] =
            (grace == Grace::Hour).then_some(Rotated { newest: to, opens: false });
    }
    let subject = parts.subject.after(session.subject);
    state.sessions[i] = None;
    let to = rotation.map_or(i, |rotation| rotation.to);
    state.sessions[to] = expiry.keeps(Session { data, subject });
    if let Some(Target { to, opens, grace }) = rotation {
        state.lead(i, to, opens);
        state.rotated[i] = (grace == Grace::Hour).then_some(Rotated { newest: to, opens });
    }
    Outcome::Answer(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_leads_old_tokens_to_the_newest() {
        let mut state = State::default();
        let rotate = |to, opens| Parts {
            rotation: Some(Target { to, opens, grace: Grace::Hour }),
            ..Parts::default()
        };
        let mut done = |op| {
            let expected = state.expected(op);
            model(&mut state, Call { op, current: 1, absorbed: 0, data: 1, expected })
        };
        let create = |expected| Op::Create(0, Expiry::Live, Some(1), expected);
        let others = Expected { subject: 1, but: Some(0) };
        assert_eq!(done(create(Some(others))), Outcome::Answer(false));
        assert_eq!(done(create(Some(Expected { but: None, ..others }))), Outcome::Answer(true));
        for (from, opens) in [(0, true), (1, true), (2, false)] {
            let update = Op::Update(from, Expiry::Live, rotate(from + 1, opens));
            assert_eq!(done(update), Outcome::Answer(true));
            assert_eq!(done(Op::Load(0)), Outcome::Rotated(from + 1, opens));
        }
        let mut records = [None; GROUP];
        records[3] = Some(1);
        assert_eq!(done(Op::FindBySubject(1)), Outcome::Records(records));
        assert_eq!(done(Op::DeleteBySubject(1, Some(0))), Outcome::Count(0));
        assert_eq!(done(Op::Delete(1)), Outcome::Done);
        assert_eq!(done(Op::Load(0)), Outcome::Found(None));
        assert_eq!(done(Op::Load(3)), Outcome::Found(None));
    }
}
