//! The table and those next to it, as far as they exist.

use rusqlite::{Connection, Error as SqliteError, Result as SqliteResult};
use store_core::backend::TableName;
use store_core::{Error, Loaded};

use crate::expired::Search;
use crate::retry::{Deadline, retry, retry_contended};
use crate::rotations::Rotations;
use crate::statements::Statements;
use crate::subjects::SubjectIndex;
use crate::{error, schema, table};

/// The statements on the tables of one store.
pub(crate) struct Tables {
    pub(crate) name: TableName,
    pub(crate) sessions: Statements,
    /// Where a cleanup run begins to look for expired sessions.
    pub(crate) search: Search,
    /// The index of subjects, if its table existed when the store was made, or was created then.
    pub(crate) subjects: Option<SubjectIndex>,
    /// The records of rotations, likewise.
    pub(crate) rotations: Option<Rotations>,
}

impl Tables {
    /// Checks the table now rather than at the first request, and creates those next to it if they
    /// are missing.
    ///
    /// # Errors
    /// [`Error::TableMissing`], [`Error::TableMismatch`], or what SQLite said.
    pub(crate) fn open(
        connection: &Connection,
        name: TableName,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let has_expiry_index =
            retry_contended(deadline.left(), || schema::check(connection, &name))?;
        let side_table = |side_name: &str, ddl: &str, statements: &[&str]| {
            let ddl = table::ddl_for(&name, ddl);
            let create = || table::create_if_missing(connection, side_name, &ddl);
            let exists = retry(deadline.left(), create)
                .map_err(|error| error::from_connection(error, connection))?;
            if exists {
                retry_contended(deadline.left(), || {
                    schema::check_side_table(connection, side_name, &ddl, statements)
                })?;
            }
            Ok::<_, Error>(exists)
        };
        let subjects = SubjectIndex::new(&name);
        let has_subjects = side_table(
            &table::subjects_name(&name),
            table::CREATE_SUBJECTS_TABLE,
            &subjects.statements(),
        )?;
        let rotations = Rotations::new(&name);
        let has_rotations = side_table(
            &table::rotations_name(&name),
            table::CREATE_ROTATIONS_TABLE,
            &rotations.statements(),
        )?;
        Ok(Self {
            sessions: Statements::new(&name),
            search: Search::start(has_expiry_index),
            name,
            subjects: has_subjects.then_some(subjects),
            rotations: has_rotations.then_some(rotations),
        })
    }

    /// Returns the index of subjects.
    ///
    /// # Errors
    /// [`Error::TableMissing`] if the store works without.
    pub(crate) fn subjects(&self) -> Result<&SubjectIndex, Error> {
        self.subjects
            .as_ref()
            .ok_or_else(|| Error::TableMissing { table: table::subjects_name(&self.name) })
    }

    /// Returns whether there is more to keep up to date than the classic table.
    pub(crate) fn has_side_tables(&self) -> bool {
        self.subjects.is_some() || self.rotations.is_some()
    }

    /// Returns what a token names.
    pub(crate) fn load(
        &self,
        connection: &Connection,
        token: &str,
        now: f64,
    ) -> SqliteResult<Loaded> {
        if let Some((data, expiry)) = self.sessions.find(connection, token, now)? {
            return Ok(Loaded::Live { data, expiry });
        }
        // A session may have appeared and gone since; only what is read now counts.
        match &self.rotations {
            Some(rotations) => rotations.load(connection, token, now),
            None => Ok(Loaded::Missing),
        }
    }

    /// Returns the error of a statement, with the reason if one of the tables is missing now.
    pub(crate) fn explain(&self, error: SqliteError, connection: &Connection) -> Error {
        let subjects = self.subjects.iter().map(|_| table::subjects_name(&self.name));
        let rotations = self.rotations.iter().map(|_| table::rotations_name(&self.name));
        let side_tables: Vec<_> = subjects.chain(rotations).collect();
        schema::explain(error, connection, &self.name, &side_tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::STATEMENTS;

    #[test]
    fn every_statement_finds_its_rows_by_an_index() -> SqliteResult<()> {
        // The Go store's table without its NOT NULL, which turns `expiry IS NULL` into a constant
        // that the plan shows as a scan; and one whose token has no type.
        let classic = table::CREATE_TABLE.replace(" NOT NULL", "");
        let untyped = classic.replace("token TEXT", "token");
        for (ddl, has_expiry_index) in
            [(&*classic, true), (&untyped, true), (table::CREATE_TABLE_ALONE, false)]
        {
            let connection = Connection::open_in_memory()?;
            connection.execute_batch(ddl)?;
            connection.execute_batch(table::CREATE_SUBJECTS_TABLE)?;
            connection.execute_batch(table::CREATE_ROTATIONS_TABLE)?;
            let name = TableName::new("sessions").expect("it is a name");
            let (statements, subjects, rotations) =
                (Statements::new(&name), SubjectIndex::new(&name), Rotations::new(&name));
            let all = [&statements.all()[..], &subjects.statements(), &rotations.statements()];
            let all = all.concat();
            assert!(all.len() <= STATEMENTS);
            for sql in all {
                // Without the index on expiry it isn't asked, and who counts reads the table.
                if !has_expiry_index && (sql == statements.expired || sql.contains("count(*)")) {
                    continue;
                }
                let plan = plan(&connection, sql)?;
                // The page of the index of subjects is read from end to end.
                let is_page_end = sql.contains("max(token)");
                let scans = plan.iter().any(|step| {
                    step.contains("SCAN") && !(is_page_end && step.contains("SCAN (sub"))
                });
                assert!(!scans, "{sql}: {plan:?}");
                assert!(!plan.iter().any(|step| step.contains("AUTOMATIC")), "{sql}: {plan:?}");
                assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{sql}: {plan:?}");
            }
        }
        Ok(())
    }

    fn plan(connection: &Connection, sql: &str) -> SqliteResult<Vec<String>> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
        statement.raw_query().mapped(|row| row.get(3)).collect()
    }
}
