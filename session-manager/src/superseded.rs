//! Tokens that were good a moment ago.
//!
//! A browser that sends two requests at once sends the same cookie with both. Where one of them renews the token, the
//! other may be *read* only afterwards: its token is unknown by then, it would get a fresh session, and the cookie of
//! that would take the place of the renewed one. So the manager remembers for a while which tokens it has renewed or
//! destroyed, and leaves the cookie of such a request alone.
//!
//! For the same while it knows the successor of a renewed token. A request that destroys the session and had loaded it
//! before the renewal destroys that one, so that a log out is final also where it meets a renewal: the renewal announces
//! the new token before the store is asked to rename, and looks for a log out afterwards; the log out is noted before the
//! store is asked to delete, and looks for a new token afterwards. One of them sees the other.
//!
//! The memory is this process's: requests of one browser that are served by different processes at the same moment can
//! still do both to each other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::token::{Fingerprint, SessionKey};

/// Longer than a request is on its way.
const GRACE: TimeDelta = TimeDelta::seconds(30);

/// Log ins and log outs that are remembered at the most, well under 1 MB; beyond that the oldest are forgotten.
const MAX_ENTRIES: usize = 4_096;

/// What has become of sessions in the last 30 seconds.
#[derive(Debug, Default)]
pub(crate) struct Superseded {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Fingerprint, Entry>,
    in_order: VecDeque<Fingerprint>,
}

#[derive(Debug)]
struct Entry {
    since: DateTime<Utc>,
    has_ended: bool,
    /// Several where requests renew it at the same moment, until all but one have seen that they came too late.
    successors: Vec<SessionKey>,
}

impl Superseded {
    /// A session is about to get a new key.
    pub(crate) fn announce(&self, key: &SessionKey, successor: &SessionKey, now: DateTime<Utc>) {
        self.lock().entry(key, now).successors.push(successor.clone());
    }

    /// It didn't.
    pub(crate) fn withdraw(&self, key: &SessionKey, successor: &SessionKey) {
        let mut entries = self.lock();
        let fingerprint = key.fingerprint();
        if let Some(entry) = entries.by_key.get_mut(&fingerprint) {
            entry.successors.retain(|own| own != successor);
            if !entry.has_ended && entry.successors.is_empty() {
                // The next one is to be remembered for the whole time.
                entries.by_key.remove(&fingerprint);
                entries.in_order.retain(|own| *own != fingerprint);
            }
        }
    }

    /// A session is about to be destroyed.
    pub(crate) fn end(&self, key: &SessionKey, now: DateTime<Utc>) {
        self.lock().entry(key, now).has_ended = true;
    }

    pub(crate) fn has_ended(&self, key: &SessionKey) -> bool {
        self.lock().by_key.get(&key.fingerprint()).is_some_and(|entry| entry.has_ended)
    }

    pub(crate) fn successors(&self, key: &SessionKey) -> Vec<SessionKey> {
        let entries = self.lock();
        entries
            .by_key
            .get(&key.fingerprint())
            .map(|entry| entry.successors.clone())
            .unwrap_or_default()
    }

    /// Whether a key that the store doesn't know was good a moment ago.
    pub(crate) fn contains(&self, key: &SessionKey, now: DateTime<Utc>) -> bool {
        let mut entries = self.lock();
        entries.forget_old(now);
        let entry = entries.by_key.get(&key.fingerprint());
        entry.is_some_and(|entry| entry.has_ended || !entry.successors.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn entry(&mut self, key: &SessionKey, now: DateTime<Utc>) -> &mut Entry {
        self.forget_old(now);
        let fingerprint = key.fingerprint();
        if !self.by_key.contains_key(&fingerprint) {
            if self.in_order.len() >= MAX_ENTRIES {
                self.forget_first();
            }
            self.in_order.push_back(fingerprint);
        }
        self.by_key.entry(fingerprint).or_insert(Entry {
            since: now,
            has_ended: false,
            successors: Vec::new(),
        })
    }

    fn forget_old(&mut self, now: DateTime<Utc>) {
        while let Some(first) = self.in_order.front()
            && self.by_key.get(first).is_none_or(|entry| now - entry.since >= GRACE)
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.in_order.pop_front() {
            self.by_key.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Token, TokensAtRest};

    #[test]
    fn keys_are_remembered_for_a_while_and_not_without_bound() -> Result<(), crate::Error> {
        let superseded = Superseded::default();
        let key = || Ok::<_, crate::Error>(TokensAtRest::Hashed.key(&Token::generate()?));
        let (first, second) = (key()?, key()?);
        let now = DateTime::UNIX_EPOCH;
        superseded.end(&first, now);
        assert!(superseded.contains(&first, now + TimeDelta::seconds(29)));
        assert!(!superseded.contains(&second, now));
        assert!(!superseded.contains(&first, now + TimeDelta::seconds(30)));
        assert!(!superseded.has_ended(&first));

        superseded.announce(&first, &second, now);
        assert!(superseded.contains(&first, now));
        assert_eq!(superseded.successors(&first), std::slice::from_ref(&second));
        superseded.withdraw(&first, &second);
        assert!(!superseded.contains(&first, now));
        superseded.announce(&first, &second, now + TimeDelta::seconds(28));
        assert!(superseded.contains(&first, now + TimeDelta::seconds(57)));
        superseded.withdraw(&first, &second);

        superseded.end(&first, now);
        for _ in 0..MAX_ENTRIES {
            superseded.end(&key()?, now);
        }
        assert!(!superseded.contains(&first, now), "the oldest was forgotten");
        let entries = superseded.lock();
        assert_eq!((entries.by_key.len(), entries.in_order.len()), (MAX_ENTRIES, MAX_ENTRIES));
        Ok(())
    }
}
