//! What a store writes, as pieces of work that any thread can do: so that writers who come at the same time share a
//! transaction.

use std::borrow::Cow;

use rusqlite::{Connection, Result as SqliteResult, params};
use store_core::Error;

use crate::store::Backend;

/// A change of one session, or of those of a subject.
pub(crate) enum Write<'a> {
    Commit { token: Cow<'a, str>, data: Cow<'a, [u8]>, expiry: f64 },
    Replace { token: Cow<'a, str>, current: Cow<'a, [u8]>, data: Cow<'a, [u8]>, expiry: f64 },
    Touch { token: Cow<'a, str>, expiry: f64 },
    Rename { token: Cow<'a, str>, new_token: Cow<'a, str> },
    Delete { token: Cow<'a, str> },
    SetSubject { token: Cow<'a, str>, subject: Option<Cow<'a, str>> },
    DeleteBySubject { subject: Cow<'a, str>, except: Option<Cow<'a, str>> },
}

/// How many sessions were changed; a renaming can be refused.
pub(crate) type Written = Result<u64, Error>;

impl Write<'_> {
    /// The same for another thread.
    pub(crate) fn to_owned(&self) -> Write<'static> {
        let text = |text: &str| Cow::Owned(text.to_owned());
        let bytes = |bytes: &[u8]| Cow::Owned(bytes.to_owned());
        match self {
            Self::Commit { token, data, expiry } => {
                Write::Commit { token: text(token), data: bytes(data), expiry: *expiry }
            }
            Self::Replace { token, current, data, expiry } => Write::Replace {
                token: text(token),
                current: bytes(current),
                data: bytes(data),
                expiry: *expiry,
            },
            Self::Touch { token, expiry } => Write::Touch { token: text(token), expiry: *expiry },
            Self::Rename { token, new_token } => {
                Write::Rename { token: text(token), new_token: text(new_token) }
            }
            Self::Delete { token } => Write::Delete { token: text(token) },
            Self::SetSubject { token, subject } => {
                Write::SetSubject { token: text(token), subject: subject.as_deref().map(text) }
            }
            Self::DeleteBySubject { subject, except } => Write::DeleteBySubject {
                subject: text(subject),
                except: except.as_deref().map(text),
            },
        }
    }

    /// Whether it is one statement that needs to know neither the time nor anything else, so that it needs no
    /// transaction of its own.
    pub(crate) fn is_single_statement(&self, has_subjects: bool) -> bool {
        match self {
            Self::Commit { .. } => true,
            Self::Delete { .. } => !has_subjects,
            _ => false,
        }
    }

    /// Does it, in a transaction or as a single statement. `now` is from when the database was ours.
    pub(crate) fn execute(
        &self,
        backend: &Backend,
        connection: &Connection,
        now: f64,
    ) -> SqliteResult<Written> {
        let statements = &backend.statements;
        let changed = match self {
            Self::Commit { token, data, expiry } => connection
                .prepare_cached(&statements.commit)?
                .execute(params![token, data, expiry])?,
            Self::Replace { token, current, data, expiry } => connection
                .prepare_cached(&statements.replace)?
                .execute(params![token, current, data, expiry, now])?,
            Self::Touch { token, expiry } => connection
                .prepare_cached(&statements.touch)?
                .execute(params![token, expiry, now])?,
            Self::Rename { token, new_token } => {
                return rename(backend, connection, now, token, new_token);
            }
            Self::Delete { token } => {
                let deleted = connection.prepare_cached(&statements.delete)?.execute([token])?;
                if let Some(subjects) = &backend.subjects {
                    subjects.delete(connection, token)?;
                }
                deleted
            }
            Self::SetSubject { token, subject } => match &backend.subjects {
                Some(subjects) => {
                    let is_live = backend.is_live(connection, token, now)?;
                    if is_live {
                        subjects.set(connection, token, subject.as_deref())?;
                    }
                    usize::from(is_live)
                }
                None => 0,
            },
            Self::DeleteBySubject { subject, except } => match &backend.subjects {
                Some(subjects) => {
                    subjects.delete_sessions(connection, subject, except.as_deref(), now)?
                }
                None => 0,
            },
        };
        Ok(Ok(changed as u64))
    }
}

fn rename(
    backend: &Backend,
    connection: &Connection,
    now: f64,
    token: &str,
    new_token: &str,
) -> SqliteResult<Written> {
    if !backend.is_live(connection, token, now)? {
        return Ok(Ok(0));
    }
    if token == new_token {
        return Ok(Ok(1));
    }
    if backend.is_live(connection, new_token, now)? {
        return Ok(Err(Error::TokenTaken));
    }
    // An expired session may still be in the way.
    connection.prepare_cached(&backend.statements.delete)?.execute([new_token])?;
    connection.prepare_cached(&backend.statements.rename)?.execute([token, new_token])?;
    if let Some(subjects) = &backend.subjects {
        subjects.rename(connection, token, new_token)?;
    }
    Ok(Ok(1))
}
