//! Which of several live rows of one token is the session: the one with the highest id.
//!
//! The Go store saved over an expired session by inserting another row, and the next save then wrote to
//! both, so a token can have several live rows, which are the same then. Two first saves that raced left
//! rows that differ until the next save: of these the later is taken, as Go's `Find` did on a table without
//! an index on expiry. (With one it took the row that expires first, which need not have been the later.)
//! Rows are in the order of their ids, newest first, but nothing here relies on that.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Tokens are remembered as two hashes of 64 bits each, with keys of this process: a token that isn't the
/// same but looks so can't be made, and doesn't happen.
type Fingerprint = (u64, u64);

/// The share of the tokens that is looked at in one go, so that memory stays bounded.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    hashers: (RandomState, RandomState),
    count: u64,
}

impl Shares {
    /// All tokens in one share.
    pub(super) fn one() -> Self {
        Self { hashers: Default::default(), count: 1 }
    }

    /// As many shares as it takes for this many rows. They differ in size by chance, so each is meant to be
    /// half full.
    pub(super) fn for_rows(self, rows: u64, max_remembered: usize) -> Self {
        Self { count: rows.div_ceil((max_remembered as u64 / 2).max(1)).max(1), ..self }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// A token's fingerprint, if it belongs to this share.
    pub(super) fn fingerprint(&self, share: u64, token: &[u8]) -> Option<Fingerprint> {
        let fingerprint = (self.hashers.0.hash_one(token), self.hashers.1.hash_one(token));
        (fingerprint.0 % self.count == share).then_some(fingerprint)
    }
}

/// The highest ids of the live rows of each token.
#[derive(Debug, Default)]
pub(super) struct Winners {
    highest: HashMap<Fingerprint, i64>,
    /// Rows that aren't the ones with the highest id.
    pub(super) superseded: u64,
}

impl Winners {
    /// Takes a live row into account.
    pub(super) fn enter(&mut self, token: Fingerprint, id: i64) {
        self.highest
            .entry(token)
            .and_modify(|highest| {
                *highest = id.max(*highest);
                self.superseded += 1;
            })
            .or_insert(id);
    }

    pub(super) fn len(&self) -> usize {
        self.highest.len()
    }

    /// Whether this row is the session. Only one is, also if ids should be the same.
    pub(super) fn take(&mut self, token: Fingerprint, id: i64) -> bool {
        let wins = self.highest.get(&token) == Some(&id);
        if wins {
            self.highest.remove(&token);
        }
        wins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highest_id_wins_once_whatever_the_order() {
        let mut winners = Winners::default();
        let token = (1, 2);
        for id in [5, 9, 9, 7] {
            winners.enter(token, id);
        }
        assert_eq!(winners.superseded, 3);
        let winning: Vec<_> =
            [5, 9, 9, 7].into_iter().filter(|id| winners.take(token, *id)).collect();
        assert_eq!(winning, [9]);
    }

    #[test]
    fn each_token_is_in_one_share() {
        let shares = Shares::one().for_rows(1_000, 100);
        assert_eq!(shares.count(), 20);
        for token in 0..1_000_u32 {
            let token = token.to_string();
            let found =
                (0..20).filter(|share| shares.fingerprint(*share, token.as_bytes()).is_some());
            assert_eq!(found.count(), 1);
        }
        assert_eq!(Shares::one().for_rows(0, 100).count(), 1);
    }
}
