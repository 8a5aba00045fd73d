//! The table: how it is made, and what one must look like for sessions to be safe in it.

use rusqlite::{
    Connection, OptionalExtension, Result as SqliteResult, Transaction, TransactionBehavior,
};
use store_core::Error;

use crate::error;

/// The table and index of the Go store, for the default name.
pub(crate) const CREATE_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS \"sessions\" (
    token TEXT PRIMARY KEY,
    data BLOB NOT NULL,
    expiry REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS \"sessions_expiry_idx\" ON \"sessions\"(expiry);
";

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

/// What a table is called in a statement: never a temporary or attached one of the same name.
pub(crate) fn qualified(name: &str) -> String {
    format!("\"main\".\"{name}\"")
}

/// The longest table name; far more than anybody needs, far less than harms.
const MAX_NAME_LEN: usize = 64;

/// Letters, digits and underscores, so that quoting is all that it takes to put a name into a statement.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let problem = if name.is_empty() || name.len() > MAX_NAME_LEN {
        format!("a table name has 1 to {MAX_NAME_LEN} characters, this one {}", name.len())
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        format!("{name:?} has other characters than ASCII letters, digits and underscores")
    } else if name.as_bytes()[0].is_ascii_digit() {
        format!("{name:?} begins with a digit")
    } else if name.to_ascii_lowercase().starts_with("sqlite_") {
        format!("{name:?} is reserved: SQLite's own tables begin with sqlite_")
    } else {
        return Ok(());
    };
    Err(Error::InvalidOption { option: "table name", problem })
}

/// The name of the index of subjects of a table.
pub(crate) fn subjects_name(name: &str) -> String {
    format!("{name}_subjects")
}

/// The name of the records of rotations of a table.
pub(crate) fn rotations_name(name: &str) -> String {
    format!("{name}_rotations")
}

/// DDL of ours for a table of another name, which must have been checked.
pub(crate) fn ddl_for(name: &str, ddl: &str) -> String {
    ddl.replace("\"sessions", &format!("\"{name}"))
}

/// Whether there is a table of this name.
pub(crate) fn exists(connection: &Connection, name: &str) -> SqliteResult<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type = 'table')",
        [name],
        |row| row.get(0),
    )
}

/// Whether a side table is there. Where it is missing it is made, if that can be done: sessions
/// work without.
///
/// # Errors
/// What SQLite said, where it was no answer: above all contention, which says nothing of what can
/// be done.
pub(crate) fn exists_or_is_made(
    connection: &Connection,
    name: &str,
    ddl: &str,
) -> SqliteResult<bool> {
    if exists(connection, name)? {
        return Ok(true);
    }
    match make(connection, ddl) {
        Ok(()) => {}
        Err(error) if error::is_contention(&error) => return Err(error),
        Err(error) => {
            log::warn!(
                "table {name:?} is missing and can't be made, so the store works without: {error}"
            );
        }
    }
    exists(connection, name)
}

/// Runs DDL in one transaction, so that no table is ever without its indexes.
fn make(connection: &Connection, ddl: &str) -> SqliteResult<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(ddl)?;
    transaction.commit()
}

/// Finds out whether a side table has what the statements on it need.
///
/// # Errors
/// [`Error::TableMismatch`], or what SQLite said.
pub(crate) fn check_side_table(
    connection: &Connection,
    name: &str,
    ddl: &str,
    statements: &[&str],
) -> Result<(), Error> {
    for sql in statements {
        connection.prepare(sql).map(drop).map_err(|error| {
            if error::is_of_schema(&error) {
                let problem = format!("{error} (expected: {ddl})");
                Error::TableMismatch { table: name.to_owned(), problem }
            } else {
                error::of_sqlite(error)
            }
        })?;
    }
    Ok(())
}

/// Finds out whether sessions can be kept in the table, and says what to do where they can't.
///
/// # Errors
/// [`Error::TableMissing`], [`Error::TableMismatch`], or what SQLite said.
pub(crate) fn check(connection: &Connection, name: &str) -> Result<(), Error> {
    let mismatch = |problem: String| {
        let table = name.to_owned();
        let expected = ddl_for(name, CREATE_TABLE);
        Error::TableMismatch { table, problem: format!("{problem} (expected: {expected})") }
    };
    let encoding: String = connection
        .pragma_query_value(None, "encoding", |row| row.get(0))
        .map_err(error::of_sqlite)?;
    if encoding != "UTF-8" {
        return Err(mismatch(format!(
            "the database keeps text as {encoding}, which changes tokens"
        )));
    }
    let kind: Option<String> = connection
        .query_row(
            "SELECT type FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')",
            [name],
            |row| row.get(0),
        )
        .optional()
        .map_err(error::of_sqlite)?;
    match kind.as_deref() {
        None => return Err(Error::TableMissing { table: name.to_owned() }),
        Some("view") => return Err(mismatch("it is a view".to_owned())),
        Some(_) => {}
    }
    let columns = columns(connection, name).map_err(error::of_sqlite)?;
    if columns.iter().any(|column| column.name.eq_ignore_ascii_case("rowid") && !column.is_rowid) {
        return Err(mismatch("its column \"rowid\" hides the rows' ids".to_owned()));
    }
    if connection.prepare(&format!("SELECT rowid FROM {}", qualified(name))).is_err() {
        return Err(mismatch("it is WITHOUT ROWID, which for_each and the sweep need".to_owned()));
    }

    let is_strict = is_strict(connection, name);
    for (column, strict_type, suits) in [
        ("token", "TEXT", Affinity::keeps_text as fn(&Affinity) -> bool),
        // No affinity changes a blob.
        ("data", "BLOB", |_| true),
        ("expiry", "REAL", Affinity::keeps_reals),
    ] {
        match columns.iter().find(|candidate| candidate.name.eq_ignore_ascii_case(column)) {
            None => return Err(mismatch(format!("it has no column {column:?}"))),
            Some(Column { declared, .. })
                if is_strict && ![strict_type, "ANY"].contains(&&**declared) =>
            {
                return Err(mismatch(format!(
                    "it is STRICT, and its column {column:?} is of type {declared:?}"
                )));
            }
            Some(Column { declared, .. }) if !is_strict && !suits(&Affinity::of(declared)) => {
                return Err(mismatch(format!(
                    "values would be converted by its column {column:?}, declared {declared:?}"
                )));
            }
            Some(_) => {}
        }
    }
    if let Some(column) = columns.iter().find(|column| {
        column.needs_value
            && !column.is_rowid
            && !["token", "data", "expiry"].iter().any(|own| column.name.eq_ignore_ascii_case(own))
    }) {
        let column = &column.name;
        return Err(mismatch(format!("its column {column:?} is NOT NULL and has no default")));
    }

    match token_collation(connection, name).map_err(error::of_sqlite)?.as_deref() {
        Some("BINARY") => {}
        Some(other) => {
            return Err(mismatch(format!(
                "its tokens are compared by {other}, so that two tokens could meet in one session"
            )));
        }
        None => {
            return Err(mismatch(
                "its column \"token\" is neither PRIMARY KEY nor UNIQUE".to_owned(),
            ));
        }
    }
    if !has_expiry_index(connection, name).map_err(error::of_sqlite)? {
        log::warn!("table {name:?} has no index on expiry, so each sweep reads the whole table");
    }
    Ok(())
}

struct Column {
    name: String,
    declared: String,
    /// NOT NULL without a default.
    needs_value: bool,
    /// INTEGER PRIMARY KEY, another name for the row's id, which SQLite chooses.
    is_rowid: bool,
}

fn columns(connection: &Connection, table: &str) -> SqliteResult<Vec<Column>> {
    connection
        .prepare(
            "SELECT name, type, \"notnull\" AND dflt_value IS NULL,
                    upper(type) = 'INTEGER' AND pk = 1 AND
                        (SELECT max(pk) FROM pragma_table_info(?1, 'main')) = 1
             FROM pragma_table_info(?1, 'main')",
        )?
        .query_map([table], |row| {
            let (needs_value, is_rowid) = (row.get(2)?, row.get(3)?);
            Ok(Column { name: row.get(0)?, declared: row.get(1)?, needs_value, is_rowid })
        })?
        .collect()
}

/// Whether SQLite refuses values of other types than the declared. Versions that don't know such tables have
/// none.
fn is_strict(connection: &Connection, table: &str) -> bool {
    let strict = connection.query_row(
        "SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
        [table],
        |row| row.get(0),
    );
    strict.unwrap_or(false)
}

/// The collation of the unique index on the token alone.
fn token_collation(connection: &Connection, table: &str) -> SqliteResult<Option<String>> {
    connection
        .query_row(
            "SELECT min(key.coll) FROM pragma_index_list(?1, 'main') AS list
             JOIN pragma_index_xinfo(list.name, 'main') AS key ON key.key = 1
             WHERE list.\"unique\" = 1 AND list.partial = 0
             GROUP BY list.name
             HAVING count(*) = 1 AND min(lower(key.name)) = 'token'
             ORDER BY min(key.coll) = 'BINARY'
             LIMIT 1",
            [table],
            |row| row.get(0),
        )
        .optional()
}

fn has_expiry_index(connection: &Connection, table: &str) -> SqliteResult<bool> {
    connection.query_row(
        "SELECT EXISTS (
             SELECT 1 FROM pragma_index_list(?1, 'main') AS list
             JOIN pragma_index_info(list.name, 'main') AS key ON key.seqno = 0
             WHERE list.partial = 0 AND lower(key.name) = 'expiry'
         )",
        [table],
        |row| row.get(0),
    )
}

/// What SQLite makes of the values in a column: [Datatypes In
/// SQLite](https://sqlite.org/datatype3.html), §3.1.
#[derive(Debug, PartialEq, Eq)]
enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        if has("INT") {
            Self::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if has("BLOB") || declared.is_empty() {
            Self::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Self::Real
        } else {
            Self::Numeric
        }
    }

    /// A token such as `123` would become a number elsewhere.
    fn keeps_text(&self) -> bool {
        matches!(self, Self::Text | Self::Blob)
    }

    /// A Julian day would become a string in a text column, and compare greater than every number.
    fn keeps_reals(&self) -> bool {
        !matches!(self, Self::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_ddl(ddl: &str) -> Result<(), Error> {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(ddl).expect("the DDL is right");
        check(&connection, "sessions")
    }

    #[test]
    fn names_are_checked() {
        for name in ["sessions", "Sessions_2", "_s", "order", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "2s",
            "a b",
            "a\"b",
            "a;--",
            "main.sessions",
            "séance",
            "sqlite_x",
            &"x".repeat(65),
        ] {
            let refused = check_name(name);
            assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{name}: {refused:?}");
        }
    }

    #[test]
    fn ddl_names_table_and_index_after_the_name() -> rusqlite::Result<()> {
        let connection = Connection::open_in_memory()?;
        for name in ["sessions", "order", "web_sessions"] {
            for _ in 0..2 {
                connection.execute_batch(&ddl_for(name, CREATE_TABLE))?;
                connection.execute_batch(&ddl_for(name, CREATE_SUBJECTS_TABLE))?;
                connection.execute_batch(&ddl_for(name, CREATE_ROTATIONS_TABLE))?;
            }
            assert!(exists(&connection, &subjects_name(name))?);
            assert!(exists(&connection, &rotations_name(name))?);
            check(&connection, name).expect("it is the table that check expects");
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

    #[test]
    fn suitable_tables_are_accepted() {
        for ddl in [
            CREATE_TABLE,
            "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)",
            "CREATE TABLE Sessions (TOKEN CHAR(43) PRIMARY KEY, Data BLOB, Expiry DOUBLE, note TEXT)",
            "CREATE TABLE sessions (id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, data, expiry)",
            "CREATE TABLE sessions (token PRIMARY KEY, data TEXT, expiry NUMERIC, made TEXT NOT NULL DEFAULT 'x')",
            "CREATE TABLE sessions (token TEXT, data BLOB, expiry REAL); CREATE UNIQUE INDEX i ON sessions(token)",
            "CREATE TABLE sessions (rowid INTEGER PRIMARY KEY, token TEXT UNIQUE, data BLOB, expiry REAL)",
            "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry REAL, extra ANY) STRICT",
        ] {
            check_ddl(ddl).unwrap_or_else(|error| panic!("{ddl}: {error}"));
        }
    }

    #[test]
    fn unsuitable_tables_are_refused_with_the_reason() {
        for (ddl, reason) in [
            ("CREATE VIEW sessions AS SELECT 'a' AS token, 'b' AS data, 1.0 AS expiry", "view"),
            (
                "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry REAL) WITHOUT ROWID",
                "WITHOUT ROWID",
            ),
            ("CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB)", "no column \"expiry\""),
            (
                "CREATE TABLE sessions (id TEXT PRIMARY KEY, data BLOB, expiry REAL)",
                "no column \"token\"",
            ),
            (
                "CREATE TABLE sessions (token INTEGER PRIMARY KEY, data BLOB, expiry REAL)",
                "converted",
            ),
            ("CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry TEXT)", "converted"),
            (
                "CREATE TABLE sessions (token TEXT, data BLOB, expiry REAL)",
                "neither PRIMARY KEY nor UNIQUE",
            ),
            (
                "CREATE TABLE sessions (token TEXT, data BLOB, expiry REAL, site TEXT, PRIMARY KEY (token, site))",
                "neither PRIMARY KEY nor UNIQUE",
            ),
            (
                "CREATE TABLE sessions (token TEXT, data BLOB, expiry REAL);
                 CREATE UNIQUE INDEX i ON sessions(token) WHERE expiry > 0",
                "neither PRIMARY KEY nor UNIQUE",
            ),
            (
                "CREATE TABLE sessions (token TEXT COLLATE NOCASE PRIMARY KEY, data BLOB, expiry REAL)",
                "compared by NOCASE",
            ),
            (
                "CREATE TABLE sessions (token TEXT UNIQUE, data BLOB, expiry REAL, user TEXT NOT NULL PRIMARY KEY)",
                "\"user\" is NOT NULL",
            ),
            (
                "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry REAL, rowid TEXT)",
                "hides the rows' ids",
            ),
            (
                "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry REAL, rowid TEXT) WITHOUT ROWID",
                "hides the rows' ids",
            ),
            (
                "CREATE TABLE sessions (token TEXT PRIMARY KEY, data TEXT, expiry REAL) STRICT",
                "STRICT",
            ),
            (
                "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry INTEGER) STRICT",
                "STRICT",
            ),
            (
                "PRAGMA encoding = 'UTF-16le'; CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry REAL)",
                "UTF-16le",
            ),
            (
                "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB, expiry REAL, user TEXT NOT NULL)",
                "\"user\" is NOT NULL",
            ),
        ] {
            match check_ddl(ddl) {
                Err(Error::TableMismatch { problem, .. }) => {
                    assert!(problem.contains(reason), "{ddl}: {problem}");
                }
                other => panic!("{ddl}: {other:?}"),
            }
        }
        assert!(matches!(check_ddl(""), Err(Error::TableMissing { .. })));
    }
}
