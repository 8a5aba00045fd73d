//! Which unknown tokens were reported already.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::session_id::SessionId;

/// How many tokens are remembered, in 8 bytes each.
const SLOTS: usize = 1_024;

/// The unknown tokens that were reported last. A browser keeps the cookie of a session that has
/// ended, and sends it with each request, while whoever guesses tries another token each time.
///
/// Nothing depends on this but how often the same token is reported.
pub(crate) struct ReportedTokens {
    slots: Box<[AtomicU64]>,
}

impl ReportedTokens {
    /// Returns whether this token wasn't reported yet, as far as this process remembers, and
    /// remembers it.
    pub(crate) fn is_new(&self, token: SessionId) -> bool {
        // The latest token of a slot takes the place of the one before.
        let slot = &self.slots[token.index(SLOTS)];
        slot.swap(token.bits(), Ordering::Relaxed) != token.bits()
    }
}

impl Default for ReportedTokens {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl fmt::Debug for ReportedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportedTokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_two_tokens_is_new_once() {
        let reported = ReportedTokens::default();
        let [one, other] = [1, 2].map(SessionId::from_bits);
        assert_eq!(
            [one, other, one, other].map(|token| reported.is_new(token)),
            [true, true, false, false]
        );
    }

    #[test]
    fn token_that_takes_the_place_of_another_is_new() {
        let reported = ReportedTokens::default();
        let [one, same_slot] = [1, 1 + SLOTS as u64].map(SessionId::from_bits);
        assert_eq!([one, same_slot, one].map(|token| reported.is_new(token)), [true; 3]);
    }
}
