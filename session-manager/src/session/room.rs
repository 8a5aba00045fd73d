//! Room for a login among the sessions of its user, if their number is limited.
//!
//! The sessions are found, and the write expects that they are still the same. If they aren't, for
//! example because of another login, the store refuses it, and they are found again. So no number
//! of logins at the same time, in any number of processes, makes more than there may be.

use store_core::{Change, OwnedRecord};

use crate::codec::Codec;
use crate::error::Error;
use crate::event::{EndCause, EventKind};
use crate::manager::SessionManager;
use crate::session::Session;
use crate::session_key::SessionKey;
use crate::session_limit::SessionLimit;

/// The sessions of a user at a login.
pub(super) struct Room {
    /// All that there are, this one and those that it merges included, if they are the user's.
    found: Vec<OwnedRecord>,
    /// Those that end, by their places in `found`.
    ended: Vec<usize>,
}

impl<C: Codec> Session<'_, C> {
    /// Finds room for this session among those of a subject, if their number is limited.
    ///
    /// # Errors
    /// [`Error::TooManySessions`], [`Error::Store`].
    pub(super) fn room(&self, subject: &str) -> Result<Option<Room>, Error> {
        let Some(limit) = self.manager.session_limit else { return Ok(None) };
        let found = self.manager.store.find_by_subject(subject)?;
        let own = self.origin.snapshot().map(|snapshot| &snapshot.key);
        let own = own.into_iter().chain(self.merged.iter().map(|merged| &merged.key));
        let own: Vec<_> = own.map(SessionKey::as_str).collect();
        let others = (0..found.len()).filter(|&n| !own.contains(&&*found[n].token));
        let mut ended: Vec<_> = others.collect();
        let excess = (ended.len() + 1).saturating_sub(limit.max());
        if excess > 0 && matches!(limit, SessionLimit::Refuse(_)) {
            return Err(Error::TooManySessions { max: limit.max() });
        }
        ended.sort_by_cached_key(|&n| self.manager.login_time(&found[n]));
        ended.truncate(excess);
        Ok(Some(Room { found, ended }))
    }
}

impl Room {
    /// Ends the sessions that give way to a login.
    pub(super) fn make<'a>(&'a self, subject: &'a str, change: Change<'a>) -> Change<'a> {
        let ended = self.ended.iter().map(|&n| &self.found[n]);
        let change =
            ended.fold(change, |change, record| change.ending(&record.token, &record.data));
        change.expecting_sessions_of(subject, self.found.iter().map(|record| &*record.token))
    }

    /// Reports the sessions that have ended.
    pub(super) fn report<C: Codec>(&self, manager: &SessionManager<C>) {
        for record in self.ended.iter().map(|&n| &self.found[n]) {
            let key = SessionKey::from_store(&record.token);
            let ended = EventKind::Ended(EndCause::Limit);
            manager.report_event(&manager.event_of_stored(ended, &key, &record.data));
        }
    }
}
