//! Which of several live rows of one token is the session: the one with the highest id.
//!
//! The Go store saved over an expired session by inserting another row, and the next save then
//! wrote to both, so a token can have several live rows, which are the same then. Two first saves
//! that raced left rows that differ until the next save: of these the later is taken, as Go's
//! `Find` did on a table without an index on expiry. (With one it took the row that expires first,
//! which need not have been the later.) Rows are in the order of their ids, newest first, but
//! nothing here relies on that.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Tokens are remembered as two hashes of 64 bits each, with random keys of this process: tokens
/// with equal fingerprints can't be made on purpose, and don't occur by chance.
type Fingerprint = (u64, u64);

/// How the tokens are divided into partitions, which are imported one after the other so that
/// memory stays bounded.
#[derive(Clone, Debug)]
pub(super) struct Partitions {
    hashers: (RandomState, RandomState),
    count: u64,
}

impl Partitions {
    /// Returns a single partition of all tokens.
    pub(super) fn one() -> Self {
        Self { hashers: Default::default(), count: 1 }
    }

    /// Returns as many partitions as this many rows need. They differ in size by chance, so that
    /// each is half full on average.
    pub(super) fn for_rows(self, rows: u64, max_remembered: usize) -> Self {
        Self { count: rows.div_ceil((max_remembered as u64 / 2).max(1)).max(1), ..self }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Returns a token's fingerprint, if it belongs to this partition.
    pub(super) fn fingerprint(&self, partition: u64, token: &[u8]) -> Option<Fingerprint> {
        let fingerprint = (self.hashers.0.hash_one(token), self.hashers.1.hash_one(token));
        (fingerprint.0 % self.count == partition).then_some(fingerprint)
    }
}

/// The highest id of the live rows of each token.
#[derive(Debug, Default)]
pub(super) struct Deduplicator {
    highest: HashMap<Fingerprint, i64>,
    /// How many rows don't have the highest id of their token.
    pub(super) duplicates: u64,
}

impl Deduplicator {
    /// Adds a live row.
    pub(super) fn add(&mut self, token: Fingerprint, id: i64) {
        self.highest
            .entry(token)
            .and_modify(|highest| {
                *highest = id.max(*highest);
                self.duplicates += 1;
            })
            .or_insert(id);
    }

    pub(super) fn len(&self) -> usize {
        self.highest.len()
    }

    /// Whether this row is the session. At most one row of a token is, even if ids are equal.
    pub(super) fn take(&mut self, token: Fingerprint, id: i64) -> bool {
        let is_highest = self.highest.get(&token) == Some(&id);
        if is_highest {
            self.highest.remove(&token);
        }
        is_highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highest_id_wins_once_whatever_the_order() {
        let mut deduplicator = Deduplicator::default();
        let token = (1, 2);
        for id in [5, 9, 9, 7] {
            deduplicator.add(token, id);
        }
        assert_eq!(deduplicator.duplicates, 3);
        let sessions: Vec<_> =
            [5, 9, 9, 7].into_iter().filter(|id| deduplicator.take(token, *id)).collect();
        assert_eq!(sessions, [9]);
    }

    #[test]
    fn each_token_is_in_one_partition() {
        let partitions = Partitions::one().for_rows(1_000, 100);
        assert_eq!(partitions.count(), 20);
        for token in 0..1_000_u32 {
            let token = token.to_string();
            let found = (0..20)
                .filter(|partition| partitions.fingerprint(*partition, token.as_bytes()).is_some());
            assert_eq!(found.count(), 1);
        }
        assert_eq!(Partitions::one().for_rows(0, 100).count(), 1);
    }
}
