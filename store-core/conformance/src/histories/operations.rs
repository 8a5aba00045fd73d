//! The operations of the model, done to a store.

use std::time::Duration;

use crate::calls::{HOUR, commit, found, loaded};
use store_core::{Change, Error, Loaded, Rotation, Store};

use super::model::{Call, Expected, Expiry, GROUP, Grace, NewSubject, Op, Outcome, Parts, Target};

/// The names of a group of tokens in a store. Each case has tokens of its own, because what a store
/// knows of rotations doesn't end with their sessions.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) case: u64,
    pub(super) group: usize,
}

impl Group {
    pub(super) fn token(self, i: usize) -> String {
        format!("case-{}-group-{}-token-{i}", self.case, self.group)
    }

    pub(super) fn subject(self, i: usize) -> String {
        format!("case-{}-group-{}-subject-{i}", self.case, self.group)
    }

    pub(super) fn index(self, token: &str) -> usize {
        (0..GROUP).find(|&i| self.token(i) == token).expect("a token of the group")
    }
}

/// Does to the store what [`model`] does to the model.
pub(super) fn run(store: &dyn Store, group: Group, call: Call) -> Outcome {
    let Call { op, data, .. } = call;
    let token = |i| group.token(i);
    match op {
        Op::Find(i) => Outcome::Found(found(store, &token(i)).map(|data| decode(&data))),
        Op::Load(i) => match loaded(store, &token(i)) {
            Loaded::Live { data, .. } => Outcome::Found(Some(decode(&data))),
            Loaded::Rotated { token, opens } => Outcome::Rotated(group.index(&token), opens),
            Loaded::Missing => Outcome::Found(None),
        },
        Op::Commit(i, expiry) => {
            commit(store, &token(i), &encode(data), expiry.instant());
            Outcome::Done
        }
        Op::Create(i, expiry, subject, expected) => {
            let subject = subject.map(|subject| group.subject(subject));
            let data = encode(data);
            let change = Change::new(&data, expiry.instant()).with_subject(subject.as_deref());
            match store.create_with(&token(i), &expecting(&change, group, call, expected)) {
                Ok(answer) => Outcome::Answer(answer),
                Err(Error::TokenTaken) => Outcome::Taken,
                Err(error) => panic!("{op:?} failed: {error:?}"),
            }
        }
        Op::Update(i, expiry, parts) => run_update(store, group, call, i, expiry, parts),
        Op::Touch(i, expiry) => {
            Outcome::Answer(store.touch(&token(i), expiry.instant()).expect("touch answers"))
        }
        Op::Delete(i) => {
            store.delete(&token(i)).expect("delete succeeds");
            Outcome::Done
        }
        Op::FindBySubject(subject) => {
            let mut records = [None; GROUP];
            for record in store.find_by_subject(&group.subject(subject)).expect("it succeeds") {
                let earlier = records[group.index(&record.token)].replace(decode(&record.data));
                assert_eq!(earlier, None, "a session is found once");
            }
            Outcome::Records(records)
        }
        Op::DeleteBySubject(subject, except) => {
            let except = except.map(token);
            let count = store.delete_by_subject(&group.subject(subject), except.as_deref());
            Outcome::Count(count.expect("it succeeds"))
        }
    }
}

pub(super) fn run_update(
    store: &dyn Store,
    group: Group,
    call: Call,
    i: usize,
    expiry: Expiry,
    parts: Parts,
) -> Outcome {
    let Call { current, absorbed, data, .. } = call;
    let (data, absorbed) = (encode(data), encode(absorbed));
    let new_token = parts.rotation.map(|rotation| group.token(rotation.to)).unwrap_or_default();
    let other = parts.absorbed.map(|other| group.token(other)).unwrap_or_default();
    let subject = parts.subject.after(None).map(|subject| group.subject(subject));
    let mut change = Change::new(&data, expiry.instant());
    if let Some(Target { opens, grace, .. }) = parts.rotation {
        let grace = if grace == Grace::Hour { HOUR } else { Duration::ZERO };
        let rotation = Rotation::new(&new_token).with_grace(grace);
        change = change.with_rotation(if opens { rotation.old_token_opens() } else { rotation });
    }
    if parts.subject != NewSubject::Unchanged {
        change = change.with_subject(subject.as_deref());
    }
    if parts.absorbed.is_some() {
        change = change.absorbing(&other, &absorbed);
    }
    let change = expecting(&change, group, call, parts.expected);
    match store.update(&group.token(i), &encode(current), &change) {
        Ok(answer) => Outcome::Answer(answer),
        Err(Error::TokenTaken) => Outcome::Taken,
        Err(error) => panic!("an update failed: {error:?}"),
    }
}

/// The same change with what it expects.
fn expecting(
    change: &Change<'_>,
    group: Group,
    call: Call,
    expected: Option<Expected>,
) -> Change<'static> {
    let Some(Expected { subject, .. }) = expected else { return change.to_static() };
    let subject = group.subject(subject);
    let tokens = (0..GROUP).filter(|&i| call.expected[i]).map(|i| group.token(i));
    let tokens: Vec<_> = tokens.collect();
    let tokens = tokens.iter().map(String::as_str);
    change.to_static().expecting_sessions_of(&subject, tokens).to_static()
}

/// Data that shows which write it is from, and whether it is whole. Never the same for two numbers.
pub(super) fn encode(number: u64) -> Vec<u8> {
    let len = 8 + usize::try_from(number % 300).expect("small") * 7;
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

pub(super) fn decode(data: &[u8]) -> u64 {
    let number = data.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    match number {
        Some(number) if encode(number) == data => number,
        _ => panic!("a torn value of {} bytes", data.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_round_trips_and_torn_data_is_noticed() {
        for number in [0, 1, 299, 300, u64::MAX] {
            assert_eq!(decode(&encode(number)), number);
        }
        let torn: Vec<u8> = encode(7).iter().chain(&encode(8)).copied().collect();
        assert!(std::panic::catch_unwind(|| decode(&torn)).is_err());
    }
}
