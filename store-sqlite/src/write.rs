//! What a store writes, as pieces of work that any thread can do: so that writers who come at the same time share a
//! transaction.

use rusqlite::{Connection, Result as SqliteResult, params};
use store_core::Error;

use crate::store::Backend;

/// A change, with its expiry as a Julian day.
pub(crate) type Change<'a> = store_core::Change<'a, f64>;

/// How many sessions were changed; a renaming can be refused.
pub(crate) type Written = Result<u64, Error>;

/// Whether it is one statement that needs to know neither the time nor anything else, so that it needs no
/// transaction of its own.
pub(crate) fn is_single_statement(change: &Change<'_>, has_subjects: bool) -> bool {
    match change {
        Change::Commit { .. } => true,
        Change::Delete { .. } => !has_subjects,
        _ => false,
    }
}

/// Does it, in a transaction or as a single statement. `now` is from when the database was ours.
pub(crate) fn execute(
    change: &Change<'_>,
    backend: &Backend,
    connection: &Connection,
    now: f64,
) -> SqliteResult<Written> {
    let statements = &backend.statements;
    let changed = match change {
        Change::Commit { token, data, expiry } => {
            connection.prepare_cached(&statements.commit)?.execute(params![token, data, expiry])?
        }
        Change::Replace { token, current, data, expiry } => connection
            .prepare_cached(&statements.replace)?
            .execute(params![token, current, data, expiry, now])?,
        Change::Touch { token, expiry } => {
            connection.prepare_cached(&statements.touch)?.execute(params![token, expiry, now])?
        }
        Change::Rename { token, new_token } => {
            return rename(backend, connection, now, token, new_token);
        }
        Change::Delete { token } => {
            let deleted = connection.prepare_cached(&statements.delete)?.execute([token])?;
            if let Some(subjects) = &backend.subjects {
                subjects.delete(connection, token)?;
            }
            deleted
        }
        Change::SetSubject { token, subject } => match &backend.subjects {
            Some(subjects) => {
                let is_live = backend.is_live(connection, token, now)?;
                if is_live {
                    subjects.set(connection, token, subject.as_deref())?;
                }
                usize::from(is_live)
            }
            None => 0,
        },
        Change::DeleteBySubject { subject, except } => match &backend.subjects {
            Some(subjects) => {
                subjects.delete_sessions(connection, subject, except.as_deref(), now)?
            }
            None => 0,
        },
    };
    Ok(Ok(changed as u64))
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
