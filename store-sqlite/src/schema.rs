//! What a table must look like for sessions to be safe in it.

use rusqlite::{Connection, Error as SqliteError, OptionalExtension, Result as SqliteResult};
use store_core::Error;
use store_core::backend::TableName;

use crate::error;
use crate::table::{CREATE_TABLE, ddl_for, exists, qualified};

/// Checks whether sessions can be kept in the table, and says what to do if they can't. Returns
/// whether there is an index on expiry.
///
/// # Errors
/// [`Error::TableMissing`], [`Error::TableMismatch`], or what SQLite said.
pub(crate) fn check(connection: &Connection, name: &TableName) -> Result<bool, Error> {
    let mismatch = |problem: String| {
        let expected = ddl_for(name, CREATE_TABLE);
        let problem = format!("{problem} (expected: {expected})");
        Error::TableMismatch { table: name.to_string(), problem }
    };
    let failed = |error| error::from_connection(error, connection);
    // Before a missing table is reported: in such a database it must not be created.
    check_encoding(connection).map_err(failed)?.map_err(mismatch)?;
    let schema = Schema::read(connection, name.as_str()).map_err(failed)?;
    let Some(schema) = schema else {
        return Err(Error::TableMissing { table: name.to_string() });
    };
    schema.validate().map_err(mismatch)?;
    Ok(schema.has_expiry_index)
}

/// Checks whether a side table has what the statements on it need.
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
            if error::is_schema_error(&error) {
                let problem = format!("{error} (expected: {ddl})");
                Error::TableMismatch { table: name.to_owned(), problem }
            } else {
                error::from_connection(error, connection)
            }
        })?;
    }
    Ok(())
}

/// Returns the error of a statement. If SQLite couldn't compile it, although it once could, the
/// error says what has become of the table or of those next to it.
pub(crate) fn explain(
    error: SqliteError,
    connection: &Connection,
    name: &TableName,
    side_tables: &[String],
) -> Error {
    if !error::is_schema_error(&error) {
        return error::from_connection(error, connection);
    }
    if let Err(explanation @ (Error::TableMissing { .. } | Error::TableMismatch { .. })) =
        check(connection, name)
    {
        return explanation;
    }
    let missing = side_tables.iter().find(|name| matches!(exists(connection, name), Ok(false)));
    match missing {
        Some(table) => Error::TableMissing { table: table.clone() },
        None => error::from_connection(error, connection),
    }
}

/// What SQLite says about a table, or about what has the name instead of one.
struct Schema {
    /// `table`, `view` or `index`, which share their names.
    kind: String,
    columns: Vec<Column>,
    has_rowid: bool,
    is_strict: bool,
    token_collation: Option<String>,
    has_expiry_index: bool,
}

struct Column {
    name: String,
    declared: String,
    /// NOT NULL without a default.
    needs_value: bool,
    /// INTEGER PRIMARY KEY, another name for the row's id, which SQLite chooses.
    is_rowid: bool,
}

impl Schema {
    /// Returns `None` if a table of this name could be created.
    fn read(connection: &Connection, table: &str) -> SqliteResult<Option<Self>> {
        let kind: Option<String> = connection
            .query_row(
                "SELECT type FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type <> 'trigger'",
                [table],
                |row| row.get(0),
            )
            .optional()?;
        let Some(kind) = kind else { return Ok(None) };
        Ok(Some(Self {
            kind,
            columns: columns(connection, table)?,
            has_rowid: has_rowid(connection, table)?,
            is_strict: is_strict(connection, table),
            token_collation: token_collation(connection, table)?,
            has_expiry_index: has_expiry_index(connection, table)?,
        }))
    }

    /// Returns the reason if sessions could get lost or mixed up in the table.
    fn validate(&self) -> Result<(), String> {
        if self.kind != "table" {
            return Err(format!("there is a {} of this name", self.kind));
        }
        let mut columns = self.columns.iter();
        if columns.any(|column| column.is_named("rowid") && !column.is_rowid) {
            return Err("its column \"rowid\" hides the rows' ids".to_owned());
        }
        if !self.has_rowid {
            return Err("it is WITHOUT ROWID, which for_each and the cleanup need".to_owned());
        }
        self.validate_columns()?;
        match self.token_collation.as_deref() {
            Some("BINARY") => Ok(()),
            Some(other) => Err(format!(
                "its tokens are compared by {other}, so that two tokens could meet in one session"
            )),
            None => Err("its column \"token\" is neither PRIMARY KEY nor UNIQUE".to_owned()),
        }
    }

    fn validate_columns(&self) -> Result<(), String> {
        for (name, strict_type, suits) in [
            ("token", "TEXT", Affinity::keeps_text as fn(&Affinity) -> bool),
            // No affinity changes a blob.
            ("data", "BLOB", |_| true),
            ("expiry", "REAL", Affinity::keeps_reals),
        ] {
            let Some(column) = self.columns.iter().find(|column| column.is_named(name)) else {
                return Err(format!("it has no column {name:?}"));
            };
            let declared = &*column.declared;
            if self.is_strict {
                if ![strict_type, "ANY"].contains(&declared) {
                    return Err(format!(
                        "it is STRICT, and its column {name:?} is of type {declared:?}"
                    ));
                }
            } else if !suits(&Affinity::from_declared(declared)) {
                return Err(format!(
                    "values would be converted by its column {name:?}, declared {declared:?}"
                ));
            }
        }
        let needs_value = |column: &&Column| {
            let is_own = ["token", "data", "expiry"].iter().any(|own| column.is_named(own));
            column.needs_value && !column.is_rowid && !is_own
        };
        match self.columns.iter().find(needs_value) {
            Some(Column { name, .. }) => {
                Err(format!("its column {name:?} is NOT NULL and has no default"))
            }
            None => Ok(()),
        }
    }
}

impl Column {
    fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

fn check_encoding(connection: &Connection) -> SqliteResult<Result<(), String>> {
    let encoding: String = connection.pragma_query_value(None, "encoding", |row| row.get(0))?;
    if encoding == "UTF-8" {
        return Ok(Ok(()));
    }
    Ok(Err(format!("the database keeps text as {encoding}, which changes tokens")))
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

/// Returns whether rows have ids: SQLite knows no such column otherwise.
fn has_rowid(connection: &Connection, table: &str) -> SqliteResult<bool> {
    match connection.prepare(&format!("SELECT rowid FROM {}", qualified(table))) {
        Ok(_) => Ok(true),
        Err(error) if error::is_schema_error(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether SQLite refuses values of other types than the declared. Versions that don't know
/// such tables have none.
fn is_strict(connection: &Connection, table: &str) -> bool {
    let strict = connection.query_row(
        "SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
        [table],
        |row| row.get(0),
    );
    strict.unwrap_or(false)
}

/// Returns the collation of the unique index on the token alone.
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

/// How SQLite converts the values of a column: [Datatypes In
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
    fn from_declared(declared: &str) -> Self {
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

    fn check_ddl(ddl: &str) -> Result<bool, Error> {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(ddl).expect("the DDL is right");
        check(&connection, &TableName::new("sessions")?)
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
            ("CREATE TABLE users (name TEXT); CREATE INDEX sessions ON users(name)", "index"),
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
