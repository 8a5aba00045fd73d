//! The tables of the memory store: sessions, and the indexes next to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{Absorbed, Change, Rotation};

/// A row keeps its id for life, also when it is rotated, so that a walk in the order of ids sees
/// each session once. Invariant: the tables name the same rows.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) rows: BTreeMap<u64, Row>,
    ids: HashMap<Arc<str>, u64>,
    pub(super) expiries: BTreeSet<(DateTime<Utc>, u64)>,
    subjects: BTreeSet<(Arc<str>, u64)>,
    next_id: u64,
    /// What has become of old tokens.
    rotations: HashMap<Arc<str>, Rotated>,
    /// The newest token and the old one of each rotation.
    rotated_to: BTreeSet<(Arc<str>, Arc<str>)>,
}

pub(super) struct Row {
    pub(super) token: Arc<str>,
    pub(super) data: Arc<[u8]>,
    pub(super) expiry: DateTime<Utc>,
    pub(super) subject: Option<Arc<str>>,
}

struct Rotated {
    newest: Arc<str>,
    opens: bool,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Tables {
    /// The id of the live session that this token names.
    pub(super) fn live(&self, token: &str, now: DateTime<Utc>) -> Option<u64> {
        let id = *self.ids.get(token)?;
        (now < self.rows[&id].expiry).then_some(id)
    }

    /// The id of the live session that this token names and that has this data.
    pub(super) fn matching(&self, token: &str, data: &[u8], now: DateTime<Utc>) -> Option<u64> {
        self.live(token, now).filter(|id| *self.rows[id].data == *data)
    }

    /// The id of the live session that had this token until a moment ago, and whether the token
    /// opens it.
    pub(super) fn rotated(&self, token: &str, now: DateTime<Utc>) -> Option<(u64, bool)> {
        let rotated = self.rotations.get(token)?;
        let counts = rotated.from <= now && now < rotated.until;
        let id = self.live(&rotated.newest, now)?;
        counts.then_some((id, rotated.opens))
    }

    /// The id of the live session that this token names, or had named until a moment ago.
    pub(super) fn live_or_rotated(&self, token: &str, now: DateTime<Utc>) -> Option<u64> {
        self.live(token, now).or_else(|| self.rotated(token, now).map(|(id, _)| id))
    }

    pub(super) fn insert(&mut self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let token: Arc<str> = token.into();
        self.ids.insert(Arc::clone(&token), id);
        self.expiries.insert((expiry, id));
        self.rows.insert(id, Row { token, data: data.into(), expiry, subject: None });
        id
    }

    pub(super) fn set_expiry(&mut self, id: u64, expiry: DateTime<Utc>) {
        if let Some(row) = self.rows.get_mut(&id) {
            self.expiries.remove(&(row.expiry, id));
            self.expiries.insert((expiry, id));
            row.expiry = expiry;
        }
    }

    pub(super) fn set_data(&mut self, id: u64, data: &[u8]) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.data = data.into();
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(row) = self.rows.remove(&id) {
            self.ids.remove(&row.token);
            self.expiries.remove(&(row.expiry, id));
            if let Some(subject) = row.subject {
                self.subjects.remove(&(subject, id));
            }
        }
    }

    /// Removes everything, and returns how many rows that were.
    pub(super) fn clear(&mut self) -> u64 {
        std::mem::take(self).rows.len() as u64
    }

    /// Removes what is under a token, live or not.
    pub(super) fn remove_token(&mut self, token: &str) {
        if let Some(&id) = self.ids.get(token) {
            self.remove(id);
        }
    }

    pub(super) fn set_subject(&mut self, id: u64, subject: Option<&str>) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let subject: Option<Arc<str>> = subject.map(Arc::from);
        if let Some(old) = std::mem::replace(&mut row.subject, subject.clone()) {
            self.subjects.remove(&(old, id));
        }
        if let Some(new) = subject {
            self.subjects.insert((new, id));
        }
    }

    /// Gives a session a token that no live one has.
    pub(super) fn rotate(&mut self, id: u64, rotation: &Rotation<'_>, now: DateTime<Utc>) {
        // An expired session may still have it.
        self.remove_token(&rotation.new_token);
        let Some(row) = self.rows.get_mut(&id) else { return };
        let newest: Arc<str> = (&*rotation.new_token).into();
        let old = std::mem::replace(&mut row.token, Arc::clone(&newest));
        self.ids.remove(&old);
        self.ids.insert(newest, id);
        self.lead(&old, rotation, now);
    }

    /// Leads a token, and those from before it, to the newest.
    pub(super) fn lead(&mut self, old: &Arc<str>, rotation: &Rotation<'_>, now: DateTime<Utc>) {
        let newest: Arc<str> = (&*rotation.new_token).into();
        for older in self.rotated_from(old) {
            if let Some(rotated) = self.rotations.remove(&older) {
                self.rotated_to.remove(&(Arc::clone(old), Arc::clone(&older)));
                let opens = rotated.opens && rotation.old_token_opens;
                self.record(older, Rotated { newest: Arc::clone(&newest), opens, ..rotated });
            }
        }
        let (from, until) = rotation.window(now);
        let opens = rotation.old_token_opens;
        self.record(Arc::clone(old), Rotated { newest, opens, from, until });
    }

    /// The old tokens that lead to this one.
    fn rotated_from(&self, newest: &Arc<str>) -> Vec<Arc<str>> {
        self.rotated_to
            .range((Arc::clone(newest), Arc::from(""))..)
            .take_while(|(own, _)| own == newest)
            .map(|(_, old)| Arc::clone(old))
            .collect()
    }

    fn record(&mut self, old: Arc<str>, rotated: Rotated) {
        self.rotated_to.insert((Arc::clone(&rotated.newest), Arc::clone(&old)));
        if let Some(before) = self.rotations.insert(Arc::clone(&old), rotated)
            && before.newest != self.rotations[&old].newest
        {
            self.rotated_to.remove(&(before.newest, old));
        }
    }

    pub(super) fn forget_rotations(&mut self, now: DateTime<Utc>) {
        let rotated_to = &mut self.rotated_to;
        self.rotations.retain(|old, rotated| {
            let is_past = rotated.until <= now;
            if is_past {
                rotated_to.remove(&(Arc::clone(&rotated.newest), Arc::clone(old)));
            }
            !is_past
        });
    }

    /// The ids of the sessions that a change absorbs, if its conditions on sessions other than its
    /// own hold.
    pub(super) fn absorbed(
        &self,
        change: &Change<'_>,
        own: Option<u64>,
        now: DateTime<Utc>,
    ) -> Option<Vec<u64>> {
        if let Some(expected) = &change.expected_sessions {
            let found = self.of_subject(&expected.subject, now);
            if !expected.are(found.iter().map(|id| &*self.rows[id].token)) {
                return None;
            }
        }
        let matching = |other: &Absorbed<'_>| self.matching(&other.token, &other.data, now);
        let absorbed = change.absorbed.iter();
        absorbed.map(|other| matching(other).filter(|id| Some(*id) != own)).collect()
    }

    /// Ends the sessions that a change absorbs, and leads their tokens to the one with this token
    /// if they are to.
    pub(super) fn absorb(
        &mut self,
        change: &Change<'_>,
        absorbed: &[u64],
        token: &str,
        now: DateTime<Utc>,
    ) {
        for other in absorbed {
            self.remove(*other);
        }
        for other in change.absorbed.iter().filter(|other| other.leads_on) {
            self.lead(&(&*other.token).into(), &change.absorption(token), now);
        }
    }

    /// The ids of the subject's live sessions.
    pub(super) fn of_subject(&self, subject: &str, now: DateTime<Utc>) -> Vec<u64> {
        let subject: Arc<str> = subject.into();
        self.subjects
            .range((Arc::clone(&subject), 0)..=(subject, u64::MAX))
            .map(|&(_, id)| id)
            .filter(|id| now < self.rows[id].expiry)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use crate::{
        Change, CleanupOptions, Error, Limits, Loaded, ManualClock, MemoryOptions, MemoryStore,
        Store,
    };

    use super::*;

    fn store() -> Result<(MemoryStore, Arc<ManualClock>), Error> {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
        Ok((options.with_clock(clock.clone()).build()?, clock))
    }

    #[test]
    fn session_ends_at_the_instant_of_its_expiry_whoever_looks() -> Result<(), Error> {
        let (store, clock) = store()?;
        store.create("token", b"data", DateTime::UNIX_EPOCH + TimeDelta::hours(1), Some("ada"))?;
        clock.advance(TimeDelta::hours(1) - TimeDelta::milliseconds(1));
        for live in [true, false] {
            assert_eq!(store.find("token")?.is_some(), live);
            assert_eq!(store.all()?.len(), usize::from(live));
            assert_eq!(store.count()?, u64::from(live));
            assert_eq!(store.find_by_subject("ada")?.len(), usize::from(live));
            assert_eq!(store.delete_expired()?, u64::from(!live));
            clock.advance(TimeDelta::milliseconds(1));
        }
        Ok(())
    }

    #[test]
    fn rotation_is_forgotten_at_the_instant_when_its_grace_ends() -> Result<(), Error> {
        let (store, clock) = store()?;
        let expiry = DateTime::UNIX_EPOCH + TimeDelta::hours(1);
        store.create("old", b"data", expiry, None)?;
        let rotation = Change::new(b"data", expiry).with_rotation(Rotation::new("new"));
        assert!(store.update("old", b"data", &rotation)?);
        clock.advance(TimeDelta::seconds(30) - TimeDelta::milliseconds(1));
        for counts in [true, false] {
            assert_eq!(matches!(store.load("old")?, Loaded::Rotated { .. }), counts);
            store.delete_expired()?;
            let tables = store.sessions.read()?;
            let rotations = (tables.rotations.len(), tables.rotated_to.len());
            drop(tables);
            assert_eq!(rotations, if counts { (1, 1) } else { (0, 0) });
            clock.advance(TimeDelta::milliseconds(1));
        }
        assert_eq!(store.count()?, 1);
        Ok(())
    }

    #[test]
    fn limits_of_the_application_hold() -> Result<(), Error> {
        let limits = Limits { max_token_len: 5, max_data_len: 4 };
        let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
        let store = options.with_limits(limits).build()?;
        let expiry = Utc::now() + TimeDelta::hours(1);
        store.commit("token", b"data", expiry)?;
        assert!(matches!(store.commit("tokens", b"data", expiry), Err(Error::InvalidToken(_))));
        assert!(matches!(
            store.commit("token", b"bytes", expiry),
            Err(Error::DataTooLarge { len: 5, max: 4 })
        ));
        Ok(())
    }
}
