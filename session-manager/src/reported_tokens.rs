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
