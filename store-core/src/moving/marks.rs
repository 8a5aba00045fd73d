//! What stands in the two databases of a session that moves.

use crate::Error;

/// What all marks begin with. No session manager's format begins so.
const MARK: &[u8] = b"\0sync-session moves\0";

const FROZEN: u8 = b'f';
const STUB: u8 = b's';
const FENCE: u8 = b'p';

/// What a row of the old store is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form<'a> {
    /// A session with this data.
    Plain(&'a [u8]),
    /// A session with this data, which nobody changes any more.
    Frozen(&'a [u8]),
    /// The session is in the new store.
    Stub,
}

impl<'a> Form<'a> {
    pub(crate) fn of(data: &'a [u8]) -> Self {
        match data.strip_prefix(MARK).and_then(<[u8]>::split_first) {
            None => Self::Plain(data),
            Some((&FROZEN, data)) => Self::Frozen(data),
            Some(_) => Self::Stub,
        }
    }
}

fn marked(kind: u8, rest: &[u8]) -> Vec<u8> {
    [MARK, &[kind], rest].concat()
}

pub(super) fn frozen(data: &[u8]) -> Vec<u8> {
    marked(FROZEN, data)
}

pub(super) fn stub() -> Vec<u8> {
    marked(STUB, b"")
}

/// A fence that no other process has made or will make. It is no secret.
pub(super) fn new_fence() -> Vec<u8> {
    let now = chrono::Utc::now().timestamp_nanos_opt().unwrap_or_default();
    let numbers = [u128::from(std::process::id()), now.cast_unsigned().into(), fastrand::u128(..)];
    marked(FENCE, &numbers.map(u128::to_le_bytes).concat())
}

pub(super) fn is_fence(data: &[u8]) -> bool {
    data.strip_prefix(MARK).is_some_and(|rest| rest.first() == Some(&FENCE))
}

/// Whether the data is no session of the new store.
pub(super) fn is_marked(data: &[u8]) -> bool {
    data.starts_with(MARK)
}

/// Refuses data that would be taken for a mark.
pub(super) fn check(data: &[u8]) -> Result<(), Error> {
    if is_marked(data) {
        let problem = "it begins like the marks of sessions that move".to_owned();
        return Err(Error::InvalidOption { option: "data", problem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        for data in [&b""[..], b"data", &MARK[1..], &MARK[..MARK.len() - 1]] {
            assert_eq!(Form::of(data), Form::Plain(data));
            assert_eq!(Form::of(&frozen(data)), Form::Frozen(data));
            assert!(check(data).is_ok() && check(&frozen(data)).is_err());
        }
        assert_eq!(Form::of(&stub()), Form::Stub);
        assert!(check(MARK).is_err() && !is_fence(&stub()));
        let fences = [new_fence(), new_fence()];
        assert!(fences[0] != fences[1] && fences.iter().all(|fence| is_fence(fence)));
    }
}
