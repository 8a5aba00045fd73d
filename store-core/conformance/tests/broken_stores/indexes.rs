//! What a store at fault does with subjects and with old tokens.

use chrono::TimeDelta;
use store_core::{Error, Loaded, OwnedRecord, Store};

use crate::fault::Fault;
use crate::lock;
use crate::store::{Broken, forgetting_expiries, pause};

impl Broken {
    pub(crate) fn load_wrongly(&self, token: &str) -> Result<Loaded, Error> {
        let load = || self.inner.load(token);
        match self.fault {
            Fault::LoadForgetsTheExpiry => return forgetting_expiries(load),
            Fault::LoadIsTwoReads => {
                let loaded = load()?;
                if matches!(loaded, Loaded::Live { .. }) {
                    return Ok(loaded);
                }
                pause();
                // The second read looks for a rotation alone.
                return Ok(match load()? {
                    Loaded::Live { .. } => Loaded::Missing,
                    rotated_or_missing => rotated_or_missing,
                });
            }
            Fault::LoadLogsTheToken => log::trace!("loading {token}"),
            _ => {}
        }
        let loaded = load()?;
        let notes = lock(&self.notes);
        let next = notes.next.get(token);
        Ok(match (self.fault, loaded) {
            (Fault::LoadShowsALaterExpiry, Loaded::Live { data, expiry }) => {
                Loaded::Live { data, expiry: expiry + TimeDelta::milliseconds(2) }
            }
            (Fault::LoadGivesOldData, Loaded::Live { expiry, .. }) => {
                Loaded::Live { data: b"data".into(), expiry }
            }
            (Fault::LoadPrefersTheRotation, Loaded::Live { .. })
            | (Fault::RotationsOutliveTheSession, Loaded::Missing)
                if next.is_some() =>
            {
                Loaded::Rotated { token: next.cloned().unwrap_or_default(), opens: false }
            }
            (Fault::LoadFollowsOneRotation, Loaded::Rotated { token, .. })
                if next != Some(&token) =>
            {
                Loaded::Missing
            }
            (Fault::LoadNamesTheNextToken, Loaded::Rotated { opens, .. }) => {
                Loaded::Rotated { token: next.cloned().unwrap_or_default(), opens }
            }
            (Fault::EveryOldTokenOpens, Loaded::Rotated { token, .. }) => {
                Loaded::Rotated { token, opens: true }
            }
            (Fault::NoOldTokenOpens, Loaded::Rotated { token, .. }) => {
                Loaded::Rotated { token, opens: false }
            }
            (Fault::LaterRotationsForbidNothing, Loaded::Rotated { token: newest, .. }) => {
                Loaded::Rotated { token: newest, opens: notes.opens.get(token) == Some(&true) }
            }
            (Fault::LastRotationDecides, Loaded::Rotated { token, .. }) => {
                let opens = notes.last_opens.get(&token) == Some(&true);
                Loaded::Rotated { token, opens }
            }
            (Fault::CleanupForgetsRotations, Loaded::Rotated { .. })
                if notes.forgotten.contains(token) =>
            {
                Loaded::Missing
            }
            (Fault::LoadFoldsTheCaseOfOldTokens, Loaded::Missing) => {
                let same = notes.next.keys().find(|old| old.eq_ignore_ascii_case(token));
                same.map_or(Ok(Loaded::Missing), |old| self.inner.load(old))?
            }
            (Fault::FailedUpdateLeavesARotation, Loaded::Rotated { token, opens }) => {
                match notes.failed.get(&token) {
                    Some(newer) if self.inner.find(newer)?.is_some() => {
                        Loaded::Rotated { token: newer.clone(), opens }
                    }
                    Some(_) => Loaded::Missing,
                    None => Loaded::Rotated { token, opens },
                }
            }
            (_, loaded) => loaded,
        })
    }

    /// A delete that doesn't follow each rotation.
    pub(crate) fn delete_following(&self, token: &str) -> Result<(), Error> {
        let newest = match self.inner.load(token)? {
            Loaded::Live { .. } => return self.inner.delete(token),
            Loaded::Rotated { token, .. } => token,
            Loaded::Missing => return Ok(()),
        };
        let is_next = lock(&self.notes).next.get(token) == Some(&newest);
        match self.fault {
            Fault::DeleteFollowsOneRotation if is_next => self.inner.delete(&newest),
            Fault::DeleteFollowsInTwoSteps => {
                self.pause();
                if self.inner.find(&newest)?.is_some() {
                    self.inner.delete(&newest)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn find_by_subject_wrongly(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        let find = || self.inner.find_by_subject(subject);
        match self.fault {
            Fault::FindBySubjectShowsTheExpired => forgetting_expiries(find),
            Fault::FindBySubjectShowsALaterExpiry => {
                let mut records = find()?;
                for record in &mut records {
                    record.expiry += TimeDelta::milliseconds(2);
                }
                Ok(records)
            }
            Fault::FindBySubjectIsTwoReads => {
                let tokens = find()?.into_iter().map(|record| record.token);
                pause();
                let mut records = Vec::new();
                for token in tokens {
                    if let Loaded::Live { data, expiry } = self.inner.load(&token)? {
                        records.push(OwnedRecord::new(token, data, expiry));
                    }
                }
                Ok(records)
            }
            Fault::EarlierSubjectsStay => {
                let mut records = find()?;
                let earlier = lock(&self.notes).earlier.clone();
                for (token, _) in earlier.into_iter().filter(|(_, before)| before == subject) {
                    let is_found = records.iter().any(|record| record.token == token);
                    if let Loaded::Live { data, expiry } = self.inner.load(&token)?
                        && !is_found
                    {
                        records.push(OwnedRecord::new(token, data, expiry));
                    }
                }
                Ok(records)
            }
            _ => find(),
        }
    }

    pub(crate) fn delete_by_subject_wrongly(
        &self,
        subject: &str,
        except: Option<&str>,
    ) -> Result<u64, Error> {
        let is_live = |token: &str| self.inner.find(token).map(|found| found.is_some());
        let tokens = || {
            let records = self.inner.find_by_subject(subject)?;
            let except = except.map(|except| self.newest(except)).transpose()?;
            let tokens = records.into_iter().map(|record| record.token);
            Ok::<Vec<_>, Error>(tokens.filter(|token| Some(token) != except.as_ref()).collect())
        };
        match self.fault {
            Fault::DeleteBySubjectTakesAll => self.inner.delete_by_subject(subject, None),
            Fault::DeleteBySubjectCountsTheExpired => {
                forgetting_expiries(|| self.inner.delete_by_subject(subject, except))
            }
            Fault::DeleteBySubjectOnlyClears => {
                let mut cleared = 0;
                for token in tokens()? {
                    cleared += u64::from(self.set_subject(&token, None)?);
                }
                Ok(cleared)
            }
            Fault::DeleteBySubjectIsManySteps => {
                let tokens = tokens()?;
                for token in &tokens {
                    self.inner.delete(token)?;
                    pause();
                }
                Ok(tokens.len() as u64)
            }
            Fault::DeleteBySubjectReadsFirst => {
                let tokens = tokens()?;
                pause();
                for token in &tokens {
                    if is_live(token)? {
                        self.inner.delete(token)?;
                    }
                }
                Ok(tokens.len() as u64)
            }
            Fault::ExceptionFollowsNoRotation => {
                let except = match except {
                    Some(except) if is_live(except)? => Some(except),
                    _ => None,
                };
                self.inner.delete_by_subject(subject, except)
            }
            Fault::ExceptionIsReadFirst => {
                let newest = except.map(|except| self.newest(except)).transpose()?;
                pause();
                let except = match &newest {
                    Some(newest) if is_live(newest)? => Some(&**newest),
                    _ => None,
                };
                self.inner.delete_by_subject(subject, except)
            }
            _ => self.inner.delete_by_subject(subject, except),
        }
    }
}
