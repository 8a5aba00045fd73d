//! Turns at sessions that several requests of this process want to write.
//!
//! Requests that meet in one session would each find, time and again, that another was quicker. So a
//! request that has met another one takes its turn before it tries again: the others of this process
//! that have met one wait meanwhile. It is an optimisation and no lock on the session: what is
//! written is decided by the store's `update` alone.

use std::fmt;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::token::SessionKey;

/// Sessions share a turn with one in so many others; enough that it doesn't matter, at a byte each.
const TURNS: usize = 1_024;

/// A request that has waited for so long tries without its turn.
const MAX_WAIT: Duration = Duration::from_secs(5);

pub(crate) struct Turns {
    turns: Box<[Mutex<()>]>,
}

impl Turns {
    pub(crate) fn take(&self, key: &SessionKey) -> Option<MutexGuard<'_, ()>> {
        self.turns[key.fingerprint().index(TURNS)].try_lock_for(MAX_WAIT)
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self { turns: (0..TURNS).map(|_| Mutex::new(())).collect() }
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}
