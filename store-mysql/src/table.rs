//! The table: how it is made, and what one must look like for sessions to be safe in it.

use mysql::prelude::{FromValue, Queryable};
use mysql::{Result as DriverResult, Row, Value, from_value_opt};
use store_core::{Error, Limits};

use crate::connection::Connection;
use crate::error;
use crate::side_tables::{
    CREATE_ROTATIONS_TABLE, CREATE_SUBJECTS_TABLE, rotations_name, subjects_name,
};
use crate::time::InstantRange;

/// The table that new applications get, for the default name.
pub(crate) const CREATE_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS `sessions` (
    token VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    data MEDIUMBLOB NOT NULL,
    expiry DATETIME(6) NOT NULL,
    KEY `sessions_expiry_idx` (expiry)
) ENGINE=InnoDB";

/// MySQL's names have at most 64 characters, and the names of the side tables and their keys are
/// longer than the table's.
const MAX_NAME_LEN: usize = 64 - LONGEST_SUFFIX.len();

/// The longest that is put behind the table's name.
const LONGEST_SUFFIX: &str = "_subjects_subject_idx";

/// Which of the tables that sessions are kept in a store has found; both are used by Rust and Go alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableVariant {
    /// The table that the Go store documents, or one like it: tokens that the database itself
    /// compares without regard to case, or an expiry of the type `TIMESTAMP`, which ends in 2038 and
    /// is read in each connection's time zone. The store is exact on it, within those limits.
    Classic,
    /// The table that [`create_table`](crate::MysqlStore::create_table) makes: the database compares
    /// tokens byte for byte, and an expiry is a `DATETIME` in UTC.
    Hardened,
}

/// A table that sessions can be kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) variant: TableVariant,
    pub(crate) limits: Limits,
    pub(crate) range: InstantRange,
    /// The unique index on the token.
    pub(crate) token_index: String,
    /// A token of a side table, [`COLUMN`], as the token column compares it.
    token_conversion: String,
    /// The largest value that fits into a statement, whoever wrote it.
    pub(crate) max_value: usize,
    /// The most tokens that fit into one statement, whoever wrote them.
    pub(crate) max_batch: usize,
}

/// Stands for a column in [`Table::token_conversion`].
const COLUMN: &str = "{column}";

impl Table {
    /// The expression for a token in a column of a side table, as the token column compares it.
    pub(crate) fn convert_token(&self, column: &str) -> String {
        self.token_conversion.replace(COLUMN, column)
    }
}

/// Letters, digits and underscores, so that quoting is all that it takes to put a name into a statement.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let problem = if name.is_empty() || name.len() > MAX_NAME_LEN {
        format!("a table name has 1 to {MAX_NAME_LEN} characters, this one {}", name.len())
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        format!("{name:?} has other characters than ASCII letters, digits and underscores")
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{name:?} is a number")
    } else {
        return Ok(());
    };
    Err(Error::InvalidOption { option: "table name", problem })
}

/// DDL of ours for a table of another name, which must have been checked.
pub(crate) fn ddl_for(name: &str, ddl: &str) -> String {
    ddl.replace("`sessions", &format!("`{name}"))
}

/// Creates the tables that are missing. If none is, this needs no privilege to create tables.
pub(crate) fn create(connection: &mut Connection, name: &str) -> Result<(), Error> {
    for (own_name, ddl) in [
        (name.to_owned(), CREATE_TABLE),
        (subjects_name(name), CREATE_SUBJECTS_TABLE),
        (rotations_name(name), CREATE_ROTATIONS_TABLE),
    ] {
        connection
            .attempt(|connection| create_missing(connection, name, &own_name, ddl))
            .map_err(|error| error::from_driver(&error, &own_name))?;
    }
    Ok(())
}

/// Creates a table if there is none of its name.
pub(crate) fn create_missing(
    connection: &mut Connection,
    name: &str,
    own_name: &str,
    ddl: &str,
) -> DriverResult<()> {
    if kind(connection, own_name)?.is_none() {
        connection.driver().query_drop(ddl_for(name, ddl))?;
    }
    Ok(())
}

/// Finds out whether sessions can be kept in the table, and what it holds; says what to do where they can't.
///
/// # Errors
/// [`Error::TableMissing`], [`Error::TableMismatch`], or what the server said.
pub(crate) fn inspect(
    connection: &mut Connection,
    name: &str,
    limits: Limits,
) -> Result<Table, Error> {
    let schema = connection
        .attempt(|connection| Schema::read(connection, name))
        .map_err(|error| error::from_driver(&error, name))?
        .ok_or_else(|| Error::TableMissing { table: name.to_owned() })?;
    let table = schema.validate(name, limits).map_err(|problem| {
        let expected = ddl_for(name, CREATE_TABLE);
        Error::TableMismatch {
            table: name.to_owned(),
            problem: format!("{problem} (expected: {expected})"),
        }
    })?;
    if !schema.indexes.iter().any(|index| index.position == 1 && index.is_on("expiry")) {
        log::warn!("table {name:?} has no index on expiry, so each sweep reads the whole table");
    }
    Ok(table)
}

/// What the server tells about a table.
struct Schema {
    kind: String,
    /// Whether the engine has transactions; `MyISAM` and `Aria` have none.
    is_transactional: bool,
    columns: Vec<Column>,
    indexes: Vec<IndexPart>,
    version: String,
    max_allowed_packet: usize,
}

struct Column {
    name: String,
    kind: String,
    /// In characters; of blobs in bytes.
    length: u64,
    charset: Option<String>,
    collation: Option<String>,
    digits: u8,
    /// NOT NULL, and neither a default nor a value that the database makes.
    needs_value: bool,
}

struct IndexPart {
    index: String,
    is_unique: bool,
    position: u64,
    column: Option<String>,
    /// How much of the column is in the index, if not all.
    prefix: Option<u64>,
}

impl IndexPart {
    fn is_on(&self, column: &str) -> bool {
        self.column.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(column))
    }
}

/// `BASE TABLE` or `VIEW`, if there is anything of this name.
pub(crate) fn kind(connection: &mut Connection, name: &str) -> DriverResult<Option<String>> {
    connection.driver().exec_first(
        "SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?",
        (name,),
    )
}

impl Schema {
    fn read(connection: &mut Connection, name: &str) -> DriverResult<Option<Self>> {
        let Some(kind) = kind(connection, name)? else { return Ok(None) };
        let driver = connection.driver();
        let engine: Option<Option<String>> = driver.exec_first(
            "SELECT engines.TRANSACTIONS FROM information_schema.TABLES AS tables \
             JOIN information_schema.ENGINES AS engines ON engines.ENGINE = tables.ENGINE \
             WHERE tables.TABLE_SCHEMA = DATABASE() AND tables.TABLE_NAME = ?",
            (name,),
        )?;
        let columns: Vec<Row> = driver.exec(
            "SELECT COLUMN_NAME, DATA_TYPE, \
                 CASE WHEN CHARACTER_SET_NAME IS NULL THEN CHARACTER_OCTET_LENGTH ELSE CHARACTER_MAXIMUM_LENGTH END, \
                 CHARACTER_SET_NAME, COLLATION_NAME, DATETIME_PRECISION, \
                 IS_NULLABLE = 'NO' AND COLUMN_DEFAULT IS NULL AND EXTRA NOT LIKE '%auto_increment%' \
                     AND EXTRA NOT LIKE '%GENERATED%' \
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?",
            (name,),
        )?;
        let columns = columns
            .into_iter()
            .map(|mut row| Column {
                name: take(&mut row, 0).unwrap_or_default(),
                kind: take::<String>(&mut row, 1).unwrap_or_default().to_ascii_lowercase(),
                length: take(&mut row, 2).unwrap_or_default(),
                charset: take(&mut row, 3),
                collation: take(&mut row, 4),
                digits: take(&mut row, 5).unwrap_or_default(),
                needs_value: take(&mut row, 6).unwrap_or_default(),
            })
            .collect();
        let indexes: Vec<Row> = driver.exec(
            "SELECT INDEX_NAME, NON_UNIQUE, SEQ_IN_INDEX, COLUMN_NAME, SUB_PART \
             FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?",
            (name,),
        )?;
        let indexes = indexes
            .into_iter()
            .map(|mut row| IndexPart {
                index: take(&mut row, 0).unwrap_or_default(),
                is_unique: take(&mut row, 1) == Some(0_u8),
                position: take(&mut row, 2).unwrap_or_default(),
                column: take(&mut row, 3),
                prefix: take(&mut row, 4),
            })
            .collect();
        let server: Option<(String, usize)> =
            driver.query_first("SELECT VERSION(), @@max_allowed_packet")?;
        let (version, max_allowed_packet) = server.unwrap_or_default();
        Ok(Some(Self {
            kind,
            is_transactional: engine.flatten().is_some_and(|yes| yes == "YES"),
            columns,
            indexes,
            version,
            max_allowed_packet,
        }))
    }

    fn column(&self, name: &str) -> Result<&Column, String> {
        self.columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("it has no column {name:?}"))
    }

    fn validate(&self, name: &str, limits: Limits) -> Result<Table, String> {
        if self.kind != "BASE TABLE" {
            return Err(format!("it is a {}", self.kind.to_ascii_lowercase()));
        }
        if !self.is_transactional {
            return Err("its engine has no transactions and loses rows in a crash".to_owned());
        }
        let (token, data, expiry) =
            (self.column("token")?, self.column("data")?, self.column("expiry")?);
        if !matches!(&*token.kind, "char" | "varchar" | "varbinary") {
            return Err(format!(
                "tokens would be changed by its column \"token\", of type {}",
                token.kind
            ));
        }
        if !matches!(&*data.kind, "tinyblob" | "blob" | "mediumblob" | "longblob" | "varbinary") {
            return Err(format!(
                "data would be changed by its column \"data\", of type {}",
                data.kind
            ));
        }
        let range = match &*expiry.kind {
            "datetime" => InstantRange::datetime(expiry.digits),
            "timestamp" if has_unsigned_timestamps(&self.version) => {
                InstantRange::unsigned_timestamp(expiry.digits)
            }
            "timestamp" => InstantRange::timestamp(expiry.digits),
            other => {
                return Err(format!(
                    "its column \"expiry\" is of type {other}, which holds no instants"
                ));
            }
        };
        if expiry.digits < 3 {
            return Err(format!(
                "its column \"expiry\" keeps {} digits of a second, and at least 3 are needed",
                expiry.digits
            ));
        }
        let own = ["token", "data", "expiry"];
        if let Some(Column { name, .. }) = self.columns.iter().find(|column| {
            column.needs_value && !own.iter().any(|own| column.name.eq_ignore_ascii_case(own))
        }) {
            return Err(format!("its column {name:?} is NOT NULL and has no default"));
        }
        let token_index = self
            .token_index()
            .ok_or("its column \"token\" is neither PRIMARY KEY nor UNIQUE by itself")?;

        let compares_bytes =
            token.collation.as_ref().is_none_or(|name| name.ends_with("_bin") || name == "binary");
        let is_hardened = compares_bytes && expiry.kind == "datetime";
        let token_conversion = match (&token.charset, &token.collation) {
            (Some(charset), Some(collation)) => {
                let is_name = |name: &str| {
                    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                };
                if !is_name(charset) || !is_name(collation) {
                    return Err(format!(
                        "its tokens have the collation {collation:?}, which is unknown"
                    ));
                }
                format!("CONVERT({COLUMN} USING {charset}) COLLATE {collation}")
            }
            _ => format!("CAST({COLUMN} AS BINARY)"),
        };
        let room = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
        Ok(Table {
            name: name.to_owned(),
            variant: if is_hardened { TableVariant::Hardened } else { TableVariant::Classic },
            limits: Limits {
                max_token_len: limits.max_token_len.min(room(token.length)).min(255),
                max_data_len: limits
                    .max_data_len
                    .min(room(data.length))
                    .min(largest_value(self.max_allowed_packet)),
            },
            range,
            token_index,
            token_conversion,
            max_value: largest_value(self.max_allowed_packet),
            max_batch: largest_batch(self.max_allowed_packet, room(token.length)),
        })
    }

    /// An index that holds the whole token, and nothing else, once.
    fn token_index(&self) -> Option<String> {
        let unique = self.indexes.iter().filter(|part| {
            part.is_unique && part.position == 1 && part.prefix.is_none() && part.is_on("token")
        });
        unique
            .map(|part| &part.index)
            .find(|index| self.indexes.iter().filter(|part| part.index == **index).count() == 1)
            // It goes into a statement, in backticks.
            .filter(|index| !index.contains('`'))
            .cloned()
    }
}

/// A column of a row; NULL, and what can't be told, is none.
fn take<T: FromValue>(row: &mut Row, index: usize) -> Option<T> {
    match row.take::<Value, _>(index)? {
        Value::NULL => None,
        value => from_value_opt(value).ok(),
    }
}

/// MariaDB 11.5 reads the 32 bits of a `TIMESTAMP` without a sign.
fn has_unsigned_timestamps(version: &str) -> bool {
    // Some distributions and proxies put "5.5.5-" in front, for the sake of old replicas.
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version.contains("MariaDB") && (major, minor) >= (11, 5)
}

/// The largest value that a statement with two such can carry.
///
/// The driver sends a statement of up to 16 MiB in one piece, which has to fit into the server's
/// `max_allowed_packet`, and values of a larger one in pieces of up to 16 MiB, of which the pieces
/// and each whole value have to fit.
fn largest_value(max_allowed_packet: usize) -> usize {
    const LARGEST_PIECE: usize = 16 * 1024 * 1024;
    // For the token, the expiry and what the protocol puts around them.
    const REST: usize = 4 * 1024;
    let room = max_allowed_packet.saturating_sub(REST);
    if max_allowed_packet >= LARGEST_PIECE { room } else { room / 2 }
}

/// The most tokens that a statement can carry, of columns of this length in characters.
fn largest_batch(max_allowed_packet: usize, token_length: usize) -> usize {
    // What the protocol puts around a value, and the statement's own text.
    const AROUND: usize = 16;
    let longest = token_length.saturating_mul(4).saturating_add(AROUND);
    (max_allowed_packet / longest).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["sessions", "Sessions_2", "_s", "2s", "order", &"x".repeat(MAX_NAME_LEN)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "a b",
            "a`b",
            "a;--",
            "app.sessions",
            "séance",
            "42",
            &"x".repeat(MAX_NAME_LEN + 1),
        ] {
            let refused = check_name(name);
            assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{name}: {refused:?}");
        }
    }

    #[test]
    fn longest_name_leaves_room_for_what_is_derived_from_it() {
        let name = "x".repeat(MAX_NAME_LEN);
        for ddl in [CREATE_TABLE, CREATE_SUBJECTS_TABLE, CREATE_ROTATIONS_TABLE] {
            let ddl = ddl_for(&name, ddl);
            let names: Vec<_> = ddl.split('`').skip(1).step_by(2).collect();
            assert!(names.iter().all(|derived| derived.starts_with(&name)), "{names:?}");
            assert!(names.iter().all(|derived| derived.len() <= 64), "{names:?}");
        }
    }

    #[test]
    fn timestamps_end_by_the_version() {
        for (version, unsigned) in [
            ("11.8.9-MariaDB-log", true),
            ("11.5.2-MariaDB", true),
            ("12.0.1-MariaDB", true),
            ("5.5.5-11.8.9-MariaDB", true),
            ("11.4.5-MariaDB", false),
            ("10.11.19-MariaDB-0+deb12u1", false),
            ("9.7.4", false),
            ("8.0.36-TiDB", false),
        ] {
            assert_eq!(has_unsigned_timestamps(version), unsigned, "{version}");
        }
    }

    #[test]
    fn values_fit_into_the_servers_packets() {
        assert_eq!(largest_value(16 * 1024 * 1024), 16 * 1024 * 1024 - 4096);
        assert_eq!(largest_value(1024 * 1024), (1024 * 1024 - 4096) / 2);
        assert_eq!(largest_value(0), 0);
        assert_eq!(largest_batch(16 * 1024 * 1024, 255), 16_194);
        assert_eq!(largest_batch(64 * 1024, 43), 348);
        assert_eq!(largest_batch(0, 43), 1);
    }
}
