//! How one session is copied while applications may be using it.

use chrono::{DateTime, TimeDelta, Utc};

use super::CopyError;
use crate::moving::{Form, end, is_refusal};
use crate::{Change, Error, Loaded, Store};

/// How often a session is copied again because it has changed meanwhile.
const ATTEMPTS: usize = 100;

pub(super) struct SessionCopy<'a> {
    pub(super) source: &'a dyn Store,
    pub(super) target: &'a dyn Store,
    /// Whether sessions of the target are replaced.
    pub(super) replaces: bool,
}

/// What became of a session.
#[derive(Clone, Debug)]
pub(super) enum Copied {
    Created,
    Unchanged,
    Differing,
    Replaced,
    Gone,
    Rejected(Error),
}

/// A session of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    data: Vec<u8>,
    expiry: DateTime<Utc>,
    subject: Option<String>,
}

/// What a token names in the source.
pub(super) enum Read {
    Live(Session),
    Rotated(String),
    Missing,
}

/// What became of one write to the target.
enum Put {
    Done(Copied),
    /// Others have changed it.
    Again,
}

impl SessionCopy<'_> {
    /// Copies the session that has, or had a moment ago, this token.
    pub(super) fn copy(&self, token: &str) -> Result<Copied, CopyError> {
        let mut written: Option<(Session, Copied)> = None;
        for _ in 0..ATTEMPTS {
            match self.read(token)? {
                Read::Live(session) => {
                    if let Some((last, copied)) = &written
                        && *last == session
                    {
                        return Ok(copied.clone());
                    }
                    let last = written.as_ref().map(|(last, _)| &*last.data);
                    match self.put(token, &session, last).map_err(CopyError::Target)? {
                        Put::Done(copied @ (Copied::Created | Copied::Replaced)) => {
                            // Replaced only because it has changed since it was created.
                            let copied = written.map_or(copied, |(_, first)| first);
                            // Whether it still is what was written shows once it is there.
                            written = Some((session, copied));
                        }
                        Put::Done(copied) => return Ok(copied),
                        Put::Again => {}
                    }
                }
                gone => {
                    if let Some((session, _)) = &written {
                        end(self.target, token, &session.data).map_err(CopyError::Target)?;
                    }
                    return match gone {
                        Read::Rotated(newest) => self.copy(&newest),
                        Read::Live(_) | Read::Missing => Ok(Copied::Gone),
                    };
                }
            }
        }
        let source = "the session changed again and again while it was copied".into();
        Err(CopyError::Source(Error::Contended { source }))
    }

    /// Reads a session with its subject, as they were at one moment.
    pub(super) fn read(&self, token: &str) -> Result<Read, CopyError> {
        let read = || {
            for _ in 0..ATTEMPTS {
                let loaded = self.source.load(token)?;
                let (data, expiry) = match &loaded {
                    Loaded::Live { data, expiry } => (data, *expiry),
                    Loaded::Rotated { token, .. } => return Ok(Read::Rotated(token.clone())),
                    Loaded::Missing => return Ok(Read::Missing),
                };
                // What a `MovingStore` leaves is the session that it stands for, or none.
                let data = match Form::of(data) {
                    Form::Plain(data) | Form::Frozen(data) => data.to_vec(),
                    Form::Stub => return Ok(Read::Missing),
                };
                let subject = self.source.subject_of(token)?;
                if self.source.load(token)? == loaded {
                    return Ok(Read::Live(Session { data, expiry, subject }));
                }
            }
            let source = "the session changed again and again while it was read".into();
            Err(Error::Contended { source })
        };
        read().map_err(CopyError::Source)
    }

    /// Writes a session to the target, where this copy has written `last` before.
    fn put(&self, token: &str, session: &Session, last: Option<&[u8]>) -> Result<Put, Error> {
        let subject = session.subject.as_deref();
        let (data, expiry) = match self.target.load(token)? {
            Loaded::Live { data, expiry } => (data, expiry),
            // It was renewed by who uses the target.
            Loaded::Rotated { .. } => return Ok(Put::Done(Copied::Differing)),
            Loaded::Missing => {
                return match self.target.create(token, &session.data, session.expiry, subject) {
                    Ok(()) => Ok(Put::Done(Copied::Created)),
                    Err(Error::TokenTaken) => Ok(Put::Again),
                    Err(error) if is_refusal(&error) => Ok(Put::Done(Copied::Rejected(error))),
                    Err(error) => Err(error),
                };
            }
        };
        // Stores round down to the millisecond.
        let early = session.expiry - expiry;
        let has_expiry = early >= TimeDelta::zero() && early <= TimeDelta::milliseconds(1);
        if data == session.data
            && has_expiry
            && self.target.subject_of(token)?.as_deref() == subject
        {
            return Ok(Put::Done(Copied::Unchanged));
        }
        if !self.replaces && last != Some(&*data) {
            return Ok(Put::Done(Copied::Differing));
        }
        let change = Change::new(&session.data, session.expiry).with_subject(subject);
        match self.target.update(token, &data, &change) {
            Ok(true) => Ok(Put::Done(Copied::Replaced)),
            Ok(false) => Ok(Put::Again),
            Err(error) if is_refusal(&error) => Ok(Put::Done(Copied::Rejected(error))),
            Err(error) => Err(error),
        }
    }
}
