//! What a store at fault does when it creates, updates and rotates.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Change, Error, Limits, Loaded, Rotation, Store};

use crate::fault::Fault;
use crate::store::{
    Broken, cut_to_limit, forgetting_expiries, is_far, pause, round_up_to_the_second, too_far,
};
use crate::{LIMITS, lock};

impl Broken {
    /// Where a session lives that a token names, or named before.
    pub(crate) fn newest(&self, token: &str) -> Result<String, Error> {
        Ok(match self.inner.load(token)? {
            Loaded::Rotated { token, .. } => token,
            Loaded::Live { .. } | Loaded::Missing => token.to_owned(),
        })
    }

    /// Changes the subject of a live session alone.
    pub(crate) fn set_subject(&self, token: &str, subject: Option<&str>) -> Result<bool, Error> {
        match self.inner.load(token)? {
            Loaded::Live { data, expiry } => {
                let change = Change::new(&data, expiry).with_subject(subject);
                self.inner.update(token, &data, &change)
            }
            Loaded::Rotated { .. } | Loaded::Missing => Ok(false),
        }
    }

    pub(crate) fn create_wrongly(
        &self,
        token: &str,
        mut change: Change<'static>,
    ) -> Result<bool, Error> {
        if !self.expect_wrongly(&mut change)? {
            return Ok(false);
        }
        let create = |change: &Change<'_>| self.inner.create_with(token, change);
        match self.fault {
            Fault::AbsorbsNothing
            | Fault::AbsorbsWithoutComparing
            | Fault::AbsorbsTheMissing
            | Fault::AbsorbsItself
            | Fault::AbsorptionComesFirst => {
                self.absorb_wrongly(token, b"", &mut change)?;
            }
            Fault::CreateOverwrites if self.inner.find(token)?.is_some() => {
                self.inner.commit(token, &change.data, given(change.expiry))?;
                return self.set_subject(token, change.new_subject()).map(|_| true);
            }
            Fault::CreateRefusesExpiredTokens if self.row(token)?.is_some() => {
                return Err(Error::TokenTaken);
            }
            Fault::CreateIsTwoSteps => {
                if self.inner.find(token)?.is_some() {
                    return Err(Error::TokenTaken);
                }
                pause();
                self.inner.commit(token, &change.data, given(change.expiry))?;
                return self.set_subject(token, change.new_subject()).map(|_| true);
            }
            Fault::CreateSetsTheSubjectLater => {
                let subject = change.subject.take().flatten();
                if !create(&change)? {
                    return Ok(false);
                }
                self.pause();
                return self.set_subject(token, subject.as_deref()).map(|_| true);
            }
            Fault::CreateForgetsTheSubject => change.subject = None,
            Fault::CreateKeepsTheExpiredSubject
                if change.new_subject().is_none()
                    && self.inner.find(token)?.is_none()
                    && self.row(token)?.is_some() =>
            {
                let kept = lock(&self.notes).subjects.get(token).cloned();
                change.subject = Some(kept.map(Into::into));
            }
            Fault::RefusedCreateSetsTheSubject => {
                let created = create(&change);
                if matches!(created, Err(Error::TokenTaken)) {
                    self.set_subject(token, change.new_subject())?;
                }
                return created;
            }
            Fault::OldTokensAreTaken
                if matches!(self.inner.load(token)?, Loaded::Rotated { .. }) =>
            {
                return Err(Error::TokenTaken);
            }
            Fault::CreateRoundsUp => {
                change.expiry = Some(round_up_to_the_second(given(change.expiry)));
            }
            Fault::CreateWrapsFarExpiries if is_far(given(change.expiry)) => {
                change.expiry = Some(DateTime::<Utc>::MIN_UTC);
            }
            Fault::OutOfRangeIsReportedTooLate if is_far(given(change.expiry)) => {
                return Err(too_far(given(change.expiry)));
            }
            Fault::ErrorsNameTheToken => {
                return create(&change)
                    .map_err(|error| Error::backend(format!("{token}: {error}")));
            }
            Fault::CreateLogsTheToken => log::trace!("creating {token}"),
            _ => {}
        }
        self.forget_cached(token);
        let is_created = self.inner.create_with(token, &change)?;
        if let Some(subject) = change.new_subject() {
            lock(&self.notes).subjects.insert(token.to_owned(), subject.to_owned());
        }
        Ok(is_created)
    }

    pub(crate) fn update_wrongly(
        &self,
        token: &str,
        current: &[u8],
        mut change: Change<'static>,
    ) -> Result<bool, Error> {
        if !self.expect_wrongly(&mut change)? {
            return Ok(false);
        }
        let parts = match self.update_at_once(token, current, &mut change)? {
            Some(answer) => Some(answer),
            None => self.absorb_wrongly(token, current, &mut change)?,
        };
        let parts = match (parts, change.rotation.clone()) {
            (None, Some(rotation)) => self.rotate_wrongly(token, current, &mut change, rotation)?,
            (answer, _) => answer,
        };
        if let Some(answer) = parts {
            return Ok(answer);
        }
        self.forget_cached(token);
        if let Some(rotation) = &change.rotation {
            self.forget_cached(&rotation.new_token);
        }
        let outcome = self.inner.update(token, current, &change);
        match outcome {
            Ok(true) => self.note(token, &change),
            Ok(false) | Err(Error::TokenTaken) => self.note_refused(token, &change)?,
            Err(_) => {}
        }
        if self.fault == Fault::RotationLosesTheSubject
            && matches!(outcome, Ok(true))
            && change.subject.is_none()
            && let Some(rotation) = &change.rotation
        {
            self.set_subject(&rotation.new_token, None)?;
        }
        outcome
    }

    /// Keeps what an update has done.
    fn note(&self, token: &str, change: &Change<'_>) {
        let mut notes = lock(&self.notes);
        let mut newest = token.to_owned();
        if let Some(rotation) = &change.rotation
            && rotation.new_token != token
        {
            newest = rotation.new_token.to_string();
            notes.next.insert(token.to_owned(), newest.clone());
            notes.opens.insert(token.to_owned(), rotation.old_token_opens);
            notes.last_opens.insert(newest.clone(), rotation.old_token_opens);
        }
        let before = notes.subjects.get(token).cloned();
        let subject = match &change.subject {
            Some(subject) => {
                if let Some(before) = before {
                    notes.earlier.insert((newest.clone(), before));
                }
                subject.as_ref().map(ToString::to_string)
            }
            None => before,
        };
        if let Some(subject) = subject {
            notes.subjects.insert(newest, subject);
        }
    }

    /// What an update that is refused does anyway.
    fn note_refused(&self, token: &str, change: &Change<'_>) -> Result<(), Error> {
        let subject = change.subject.as_ref().map(Option::as_deref);
        match (self.fault, &change.rotation, subject) {
            (Fault::FailedUpdateLeavesARotation, Some(rotation), _) => {
                let mut notes = lock(&self.notes);
                notes.failed.insert(token.to_owned(), rotation.new_token.to_string());
            }
            (Fault::RefusedUpdateMovesTheExpiry, ..) => {
                self.inner.touch(token, given(change.expiry))?;
            }
            (Fault::RefusedUpdateSetsTheSubject, _, Some(subject)) => {
                self.set_subject(token, subject)?;
            }
            (Fault::RefusedSubjectIsKept, _, Some(Some(subject))) => {
                lock(&self.notes).refused.insert(token.to_owned(), subject.to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// Faults that have to do with the data and expiry of an update, and with its subject; `None`
    /// lets it go on.
    fn update_at_once(
        &self,
        token: &str,
        current: &[u8],
        change: &mut Change<'static>,
    ) -> Result<Option<bool>, Error> {
        let update =
            |current: &[u8], change: &Change<'_>| self.inner.update(token, current, change);
        match self.fault {
            Fault::UpdateCreates if self.row(token)?.is_none() => {
                if LIMITS.check_token(token).is_err() {
                    return Ok(Some(false));
                }
                self.inner.commit(token, &change.data, given(change.expiry))?;
                if let Some(subject) = &change.subject {
                    self.set_subject(token, subject.as_deref())?;
                }
                return Ok(Some(true));
            }
            Fault::UpdateRevives => {
                return forgetting_expiries(|| update(current, change)).map(Some);
            }
            Fault::UpdateIgnoresCurrent => {
                let Some(current) = self.inner.find(token)? else { return Ok(Some(false)) };
                return update(&current, change).map(Some);
            }
            Fault::UpdateFoldsCase => {
                let Some(found) = self.inner.find(token)? else { return Ok(Some(false)) };
                let matches = found.eq_ignore_ascii_case(current);
                return Ok(Some(matches && update(&found, change)?));
            }
            Fault::UpdateDeniesTheSameBytes => {
                return Ok(Some(update(current, change)? && change.data != current));
            }
            Fault::UpdateKeepsTheOldExpiry => {
                change.expiry =
                    Some(self.row(token)?.map_or(given(change.expiry), |(_, expiry)| expiry));
            }
            Fault::UpdateResetsKeptExpiries if change.expiry.is_none() => {
                // As the caller may have read it, before others have moved it.
                change.expiry = Some(Utc::now() + TimeDelta::minutes(30));
            }
            Fault::UpdateRoundsUp => {
                change.expiry = Some(round_up_to_the_second(given(change.expiry)));
            }
            Fault::UpdateNeverMatches => return Ok(Some(false)),
            Fault::UpdateIsTwoSteps => {
                if self.inner.find(token)?.as_deref() != Some(current) {
                    return Ok(Some(false));
                }
                pause();
                self.inner.commit(token, &change.data, given(change.expiry))?;
                return update(&change.data.clone(), change).map(Some);
            }
            Fault::UpdateComesInParts => {
                let data = Change::new(&change.data, given(change.expiry));
                if !update(current, &data)? {
                    return Ok(Some(false));
                }
                self.pause();
                let Some(rotation) = change.rotation.take() else {
                    return update(&change.data.clone(), change).map(Some);
                };
                let new_token = rotation.new_token.to_string();
                update(&change.data, &data.with_rotation(rotation))?;
                self.pause();
                return self.inner.update(&new_token, &change.data.clone(), change).map(Some);
            }
            Fault::UpdateFollowsRotations => {
                return self.inner.update(&self.newest(token)?, current, change).map(Some);
            }
            Fault::OutOfRangeIsReportedTooLate if is_far(given(change.expiry)) => {
                return Err(too_far(given(change.expiry)));
            }
            Fault::UpdatePanicsAtFarExpiries => {
                assert!(!is_far(given(change.expiry)), "attempt to add with overflow");
            }
            Fault::UpdateLogsTheData => {
                log::trace!("updating {}", String::from_utf8_lossy(current));
            }
            Fault::UpdateForgetsTheSubject => change.subject = None,
            Fault::UpdateClearsTheSubject if change.subject.is_none() => {
                change.subject = Some(None);
            }
            Fault::SubjectComesLast => {
                let Some(subject) = change.subject.take() else { return Ok(None) };
                if !update(current, change)? {
                    return Ok(Some(false));
                }
                self.pause();
                let newest = change.rotation.as_ref().map_or(token, |rotation| &rotation.new_token);
                return self.set_subject(newest, subject.as_deref()).map(Some);
            }
            _ => {}
        }
        Ok(None)
    }

    /// Faults that have to do with the sessions that a subject is expected to have. Returns whether
    /// the write goes on.
    fn expect_wrongly(&self, change: &mut Change<'static>) -> Result<bool, Error> {
        let Some(expected) = change.expected_sessions.clone() else { return Ok(true) };
        if Limits::check_subject(&expected.subject).is_err() {
            return Ok(true);
        }
        let find = || self.inner.find_by_subject(&expected.subject);
        let found = match self.fault {
            Fault::ExpectsTheExpired => forgetting_expiries(find)?,
            _ => find()?,
        };
        let found: Vec<_> = found.into_iter().map(|record| record.token).collect();
        let is_found = |token: &Cow<'_, str>| found.iter().any(|found| found == token);
        let is_met = expected.are(found.iter().map(String::as_str));
        let is_met = match self.fault {
            Fault::ExpectsNothing => true,
            Fault::ExpectsAtLeast => expected.tokens.iter().all(is_found),
            Fault::ExpectsAtMost => {
                found.iter().all(|found| expected.tokens.iter().any(|token| token == found))
            }
            Fault::ExpectsTheNumber => expected.tokens.len() == found.len(),
            Fault::ExpectsTheOrder => expected.tokens.iter().eq(found.iter()),
            Fault::ExpectsTheExpired => is_met,
            Fault::ExpectationIsReadFirst => {
                self.pause();
                is_met
            }
            Fault::UnmetExpectationAbsorbs if !is_met => {
                for other in &change.absorbed {
                    self.inner.delete(&other.token)?;
                }
                false
            }
            Fault::UnmetExpectationIsAnError if !is_met => return Err(Error::TokenTaken),
            _ => return Ok(true),
        };
        change.expected_sessions = None;
        Ok(is_met)
    }

    /// Faults that have to do with the sessions that an update absorbs.
    fn absorb_wrongly(
        &self,
        token: &str,
        current: &[u8],
        change: &mut Change<'static>,
    ) -> Result<Option<bool>, Error> {
        let has = |token: &str, data: &[u8]| {
            self.inner.find(token).map(|found| found.as_deref() == Some(data))
        };
        match self.fault {
            Fault::AbsorbsNothing => change.absorbed.clear(),
            Fault::EndedLeadOn => {
                change.absorbed.iter_mut().for_each(|other| other.leads_on = true);
            }
            Fault::AbsorbsWithoutComparing => {
                for other in &mut change.absorbed {
                    if let Some(data) = self.inner.find(&other.token)? {
                        other.data = data.into();
                    }
                }
            }
            Fault::AbsorbsTheMissing => {
                let live = self.inner.all()?;
                change.absorbed.retain(|other| live.contains_key(&*other.token));
            }
            Fault::AbsorbsItself => change.absorbed.retain(|other| other.token != token),
            Fault::AbsorbsOneByOne => {
                if !has(token, current)? {
                    return Ok(Some(false));
                }
                for other in std::mem::take(&mut change.absorbed) {
                    if other.token == token || !has(&other.token, &other.data)? {
                        return Ok(Some(false));
                    }
                    self.inner.delete(&other.token)?;
                }
            }
            Fault::AbsorptionIsTwoSteps => {
                let absorbed = std::mem::take(&mut change.absorbed);
                for other in &absorbed {
                    if other.token == token || !has(&other.token, &other.data)? {
                        return Ok(Some(false));
                    }
                }
                pause();
                let updated = self.inner.update(token, current, change)?;
                for other in absorbed.iter().filter(|_| updated) {
                    self.inner.delete(&other.token)?;
                }
                return Ok(Some(updated));
            }
            Fault::AbsorptionComesFirst => {
                for other in std::mem::take(&mut change.absorbed) {
                    self.inner.delete(&other.token)?;
                }
                pause();
            }
            Fault::AbsorptionComesLast => {
                let absorbed = std::mem::take(&mut change.absorbed);
                let updated = self.inner.update(token, current, change)?;
                self.pause();
                for other in absorbed.iter().filter(|_| updated) {
                    self.inner.delete(&other.token)?;
                }
                return Ok(Some(updated));
            }
            Fault::AbsorptionFollowsRotations => {
                for other in &mut change.absorbed {
                    other.token = self.newest(&other.token)?.into();
                }
            }
            Fault::AbsorptionCutsOverlongTokens => {
                for other in &mut change.absorbed {
                    other.token = cut_to_limit(&other.token).to_owned().into();
                }
            }
            Fault::AbsorptionLogsTheToken => {
                for other in &change.absorbed {
                    log::trace!("absorbing {}", other.token);
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Faults that have to do with the new token of an update.
    fn rotate_wrongly(
        &self,
        token: &str,
        current: &[u8],
        change: &mut Change<'static>,
        mut rotation: Rotation<'static>,
    ) -> Result<Option<bool>, Error> {
        let new_token = rotation.new_token.to_string();
        let update = |change: &Change<'_>| self.inner.update(token, current, change);
        match self.fault {
            Fault::RotationFoldsCase => {
                let tokens = self.inner.all()?.into_keys();
                let first = tokens.filter(|other| other.eq_ignore_ascii_case(token)).min();
                let first = first.as_deref().unwrap_or(token);
                let current = self.inner.find(first)?.unwrap_or_default();
                return self.inner.update(first, &current, change).map(Some);
            }
            Fault::RotationCutsOverlongTokens => {
                rotation.new_token = cut_to_limit(&new_token).to_owned().into();
            }
            Fault::RotationToAnInvalidTokenDeletes if LIMITS.check_token(&new_token).is_err() => {
                self.inner.delete(token)?;
            }
            Fault::RotationsAreForgotten => rotation.grace = Duration::ZERO,
            Fault::RotationsAreNeverForgotten => rotation.grace = Rotation::MAX_GRACE,
            Fault::RotationCopies
            | Fault::RotationDeletesFirst
            | Fault::RotationDeletesLast
            | Fault::RotationOverwrites
            | Fault::RotationChecksFirst => {
                return self.rotate_in_steps(token, current, change, &new_token).map(Some);
            }
            Fault::RotationKeepsTheOldExpiry => {
                change.expiry =
                    Some(self.row(token)?.map_or(given(change.expiry), |(_, expiry)| expiry));
            }
            Fault::RotationKeepsTheOldData => change.data = current.to_owned().into(),
            Fault::RotationComesFirst => {
                let alone = Change::new(current, given(change.expiry)).with_rotation(rotation);
                if !update(&alone)? {
                    return Ok(Some(false));
                }
                pause();
                change.rotation = None;
                return self.inner.update(&new_token, current, change).map(Some);
            }
            Fault::RotationComesLast => {
                change.rotation = None;
                if !update(change)? {
                    return Ok(Some(false));
                }
                pause();
                let alone = Change::new(&change.data, given(change.expiry)).with_rotation(rotation);
                return self.inner.update(token, &change.data, &alone).map(Some);
            }
            Fault::RotationComesBeforeTheComparison => {
                let Some((own, expiry)) = self.row(token)? else { return Ok(None) };
                let alone = Change::new(&own, expiry).with_rotation(rotation);
                if !self.inner.update(token, &own, &alone)? {
                    return Ok(Some(false));
                }
                change.rotation = None;
                return self.inner.update(&new_token, current, change).map(Some);
            }
            Fault::RotationRevives => {
                return forgetting_expiries(|| update(change)).map(Some);
            }
            Fault::RotationOfAMissingSessionFails => {
                if !update(change)? {
                    return Err(Error::backend("no such session"));
                }
                return Ok(Some(true));
            }
            Fault::RotationFails => {
                return Err(Error::Contended { source: "deadlock found".into() });
            }
            Fault::RotationLogsTheToken => log::trace!("rotating {token}"),
            _ => {}
        }
        change.rotation = Some(rotation);
        Ok(None)
    }

    /// A rotation made of other operations.
    fn rotate_in_steps(
        &self,
        token: &str,
        current: &[u8],
        change: &Change<'_>,
        new_token: &str,
    ) -> Result<bool, Error> {
        LIMITS.check_token(new_token)?;
        if self.inner.find(token)?.as_deref() != Some(current) {
            return Ok(false);
        }
        if token == new_token {
            return Ok(true);
        }
        if self.fault != Fault::RotationOverwrites && self.inner.find(new_token)?.is_some() {
            return Err(Error::TokenTaken);
        }
        match self.fault {
            Fault::RotationDeletesFirst => {
                self.inner.delete(token)?;
                pause();
                self.inner.commit(new_token, &change.data, given(change.expiry))?;
                return Ok(true);
            }
            Fault::RotationChecksFirst => {
                pause();
                self.inner.delete(new_token)?;
                return self.inner.update(token, current, change);
            }
            _ => {}
        }
        self.inner.commit(new_token, &change.data, given(change.expiry))?;
        if self.fault == Fault::RotationDeletesLast {
            pause();
        }
        if self.fault != Fault::RotationCopies {
            self.inner.delete(token)?;
        }
        Ok(true)
    }
}

/// The expiry that a change sets; of one that keeps it, any.
fn given(expiry: Option<DateTime<Utc>>) -> DateTime<Utc> {
    expiry.unwrap_or_else(|| Utc::now() + TimeDelta::hours(1))
}
