//! The tables: their DDL, their names, and how they are created.

use rusqlite::{Connection, Result as SqliteResult, Transaction, TransactionBehavior};
use store_core::backend::TableName;

use crate::error;

/// The table of the Go store.
macro_rules! create_sessions {
    () => {
        "\
CREATE TABLE IF NOT EXISTS \"sessions\" (
    token TEXT PRIMARY KEY,
    data BLOB NOT NULL,
    expiry REAL NOT NULL
);
"
    };
}

/// The table of the Go store without its index, for the default name.
pub(crate) const CREATE_TABLE_ALONE: &str = create_sessions!();

/// The table and index of the Go store, for the default name.
pub(crate) const CREATE_TABLE: &str = concat!(
    create_sessions!(),
    "CREATE INDEX IF NOT EXISTS \"sessions_expiry_idx\" ON \"sessions\"(expiry);\n"
);

/// The index of subjects, for the default name.
pub(crate) const CREATE_SUBJECTS_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS \"sessions_subjects\" (
    token TEXT PRIMARY KEY NOT NULL,
    subject TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS \"sessions_subjects_subject_idx\" ON \"sessions_subjects\"(subject);
";

/// The records of rotations, for the default name. The window is in Julian days, as expiries are.
pub(crate) const CREATE_ROTATIONS_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS \"sessions_rotations\" (
    token TEXT PRIMARY KEY NOT NULL,
    newest TEXT NOT NULL,
    opens INTEGER NOT NULL,
    valid_from REAL NOT NULL,
    valid_until REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS \"sessions_rotations_newest_idx\" ON \"sessions_rotations\"(newest);
CREATE INDEX IF NOT EXISTS \"sessions_rotations_valid_until_idx\" ON \"sessions_rotations\"(valid_until);
";

/// Returns the name of a table in a statement: never a temporary or attached one of the same name.
pub(crate) fn qualified(name: &str) -> String {
    format!("\"main\".\"{name}\"")
}

/// Returns the name of the index of subjects of a table.
pub(crate) fn subjects_name(name: &TableName) -> String {
    format!("{name}_subjects")
}

/// Returns the name of the records of rotations of a table.
pub(crate) fn rotations_name(name: &TableName) -> String {
    format!("{name}_rotations")
}

/// Returns one of the DDL constants for a table of another name.
pub(crate) fn ddl_for(name: &TableName, ddl: &str) -> String {
    ddl.replace("\"sessions", &format!("\"{name}"))
}

/// Returns whether there is a table of this name.
pub(crate) fn exists(connection: &Connection, name: &str) -> SqliteResult<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type = 'table')",
        [name],
        |row| row.get(0),
    )
}

/// Creates a side table if it is missing, and returns whether it exists now. That it can't be
/// created is no error: sessions work without.
///
/// # Errors
/// What SQLite said, if it was no answer: above all contention, which says nothing about what can
/// be done.
pub(crate) fn create_if_missing(
    connection: &Connection,
    name: &str,
    ddl: &str,
) -> SqliteResult<bool> {
    if exists(connection, name)? {
        return Ok(true);
    }
    match create(connection, ddl) {
        Ok(()) => {}
        Err(error) if error::is_contention(&error) => return Err(error),
        Err(error) => {
            log::warn!(
                "table {name:?} is missing and can't be created, so the store works without: {error}"
            );
        }
    }
    exists(connection, name)
}

/// Runs DDL in one transaction, so that no table is ever without its indexes.
fn create(connection: &Connection, ddl: &str) -> SqliteResult<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(ddl)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use super::*;

    #[test]
    fn ddl_names_table_and_index_after_the_name() -> Result<(), Box<dyn StdError>> {
        let connection = Connection::open_in_memory()?;
        for name in ["sessions", "order", "web_sessions"] {
            let name = TableName::new(name)?;
            for _ in 0..2 {
                connection.execute_batch(&ddl_for(&name, CREATE_TABLE))?;
                connection.execute_batch(&ddl_for(&name, CREATE_SUBJECTS_TABLE))?;
                connection.execute_batch(&ddl_for(&name, CREATE_ROTATIONS_TABLE))?;
            }
            assert!(exists(&connection, name.as_str())?);
            assert!(exists(&connection, &subjects_name(&name))?);
            assert!(exists(&connection, &rotations_name(&name))?);
        }
        let objects: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE sql IS NOT NULL",
            [],
            |row| row.get(0),
        )?;
        assert_eq!(objects, 21);
        let names: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE name LIKE 'web%' AND sql IS NOT NULL ORDER BY name")?
            .query_map([], |row| row.get(0))?
            .collect::<SqliteResult<_>>()?;
        assert_eq!(
            names,
            [
                "web_sessions",
                "web_sessions_expiry_idx",
                "web_sessions_rotations",
                "web_sessions_rotations_newest_idx",
                "web_sessions_rotations_valid_until_idx",
                "web_sessions_subjects",
                "web_sessions_subjects_subject_idx"
            ]
        );
        Ok(())
    }
}
