//! What the server says about a table, and whether sessions are safe in it.

use mysql::prelude::{FromValue, Queryable};
use mysql::{Result as DriverResult, Row, Value, from_value_opt};
use store_core::backend::TableName;
use store_core::{Error, Limits};

use crate::connection::Connection;
use crate::ddl::{CREATE_TABLE, ddl_for, table_type};
use crate::engine::Engine;
use crate::table::{Table, TableVariant};
use crate::time::InstantRange;
use crate::{error, tidb, vitess};

/// Reads what a table can hold, and refuses it if sessions wouldn't be safe in it.
///
/// # Errors
/// [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do, and errors of the
/// server.
pub(crate) fn inspect(
    connection: &mut Connection,
    name: &TableName,
    limits: Limits,
) -> Result<Table, Error> {
    let (table, facts) = look_at(connection, name, limits)?;
    if !facts.has_expiry_index {
        log::warn!("table \"{name}\" has no index on expiry, so each cleanup reads all of it");
    }
    Ok(table)
}

/// What only an operator wants to know.
pub(crate) struct Facts {
    pub(crate) has_expiry_index: bool,
    /// What the server says of its version.
    pub(crate) version: String,
}

/// As [`inspect`], without a word to the log.
pub(crate) fn look_at(
    connection: &mut Connection,
    name: &TableName,
    limits: Limits,
) -> Result<(Table, Facts), Error> {
    let schema = connection
        .attempt(|connection| Schema::read(connection, name.as_str()))
        .map_err(|error| error::from_driver(&error, name.as_str()))?
        .ok_or_else(|| Error::TableMissing { table: name.to_string() })?;
    let table = schema.validate(name, limits).map_err(|problem| {
        let expected = ddl_for(name, CREATE_TABLE);
        Error::TableMismatch {
            table: name.to_string(),
            problem: format!("{problem} (expected: {expected})"),
        }
    })?;
    let mut indexes = schema.indexes.iter();
    let has_expiry_index = indexes.any(|index| index.position == 1 && index.is_on("expiry"));
    Ok((table, Facts { has_expiry_index, version: schema.version }))
}

/// What the server says about a table.
struct Schema {
    kind: String,
    /// Whether the engine has transactions; `MyISAM` and `Aria` have none.
    is_transactional: bool,
    columns: Vec<Column>,
    indexes: Vec<IndexPart>,
    version: String,
    max_allowed_packet: usize,
    /// The largest value that the engine puts into a row, whatever the column.
    max_row_value: usize,
}

struct Column {
    name: String,
    kind: String,
    /// In characters; of blobs in bytes.
    length: u64,
    charset: Option<String>,
    collation: Option<String>,
    digits: u8,
    /// NOT NULL, with neither a default nor a generated value.
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

impl Schema {
    /// Reads the schema of a table, if there is one of this name.
    fn read(connection: &mut Connection, name: &str) -> DriverResult<Option<Self>> {
        let Some(kind) = table_type(connection, name)? else { return Ok(None) };
        let driver = connection.driver();
        let engine: Option<Option<String>> = driver.exec_first(
            "SELECT engines.TRANSACTIONS FROM information_schema.TABLES AS tables \
             JOIN information_schema.ENGINES AS engines ON engines.ENGINE = tables.ENGINE \
             WHERE tables.TABLE_SCHEMA = DATABASE() AND tables.TABLE_NAME = ?",
            (name,),
        )?;
        let columns: Vec<Row> = driver.exec(
            "SELECT COLUMN_NAME, DATA_TYPE, \
                 CASE WHEN CHARACTER_SET_NAME IS NULL THEN CHARACTER_OCTET_LENGTH \
                     ELSE CHARACTER_MAXIMUM_LENGTH END, \
                 CHARACTER_SET_NAME, COLLATION_NAME, DATETIME_PRECISION, \
                 IS_NULLABLE = 'NO' AND COLUMN_DEFAULT IS NULL \
                     AND EXTRA NOT LIKE '%auto_increment%' AND EXTRA NOT LIKE '%GENERATED%' \
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
        let max_row_value = match connection.engine() {
            Engine::TiDb => tidb::largest_value(connection.driver())?,
            Engine::Vitess => vitess::LARGEST_VALUE,
            Engine::MySql | Engine::MariaDb(..) => usize::MAX,
        };
        Ok(Some(Self {
            kind,
            is_transactional: engine.flatten().is_some_and(|yes| yes == "YES"),
            columns,
            indexes,
            version,
            max_allowed_packet,
            max_row_value,
        }))
    }

    fn column(&self, name: &str) -> Result<&Column, String> {
        self.columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("it has no column {name:?}"))
    }

    /// Refuses a table that would lose or change sessions, with the reason.
    fn validate(&self, name: &TableName, limits: Limits) -> Result<Table, String> {
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
        let range = self.expiry_range(expiry)?;
        let own = ["token", "data", "expiry"];
        if let Some(Column { name, .. }) = self.columns.iter().find(|column| {
            column.needs_value && !own.iter().any(|own| column.name.eq_ignore_ascii_case(own))
        }) {
            return Err(format!("its column {name:?} is NOT NULL and has no default"));
        }
        let token_index = self
            .token_index()
            .ok_or("its column \"token\" is neither PRIMARY KEY nor UNIQUE by itself")?;

        let token_collation = token_collation(token)?;
        let compares_bytes = token_collation
            .as_ref()
            .is_none_or(|(_, name)| name.ends_with("_bin") || name == "binary");
        let is_hardened = compares_bytes && expiry.kind == "datetime";
        let room = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
        let max_value = largest_value(self.max_allowed_packet).min(self.max_row_value);
        Ok(Table {
            name: name.clone(),
            variant: if is_hardened { TableVariant::Hardened } else { TableVariant::Classic },
            limits: Limits {
                max_token_len: limits.max_token_len.min(room(token.length)).min(255),
                max_data_len: limits.max_data_len.min(room(data.length)).min(max_value),
            },
            range,
            token_index,
            token_collation,
            max_value,
            max_batch: largest_batch(self.max_allowed_packet, room(token.length)),
        })
    }

    fn expiry_range(&self, expiry: &Column) -> Result<InstantRange, String> {
        let digits = expiry.digits;
        let range = match &*expiry.kind {
            "datetime" => InstantRange::datetime(digits),
            "timestamp" if has_unsigned_timestamps(&self.version) => {
                InstantRange::unsigned_timestamp(digits)
            }
            "timestamp" => InstantRange::timestamp(digits),
            other => {
                return Err(format!(
                    "its column \"expiry\" is of type {other}, which holds no instants"
                ));
            }
        };
        if digits < 3 {
            return Err(format!(
                "its column \"expiry\" keeps {digits} digits of a second, and at least 3 are needed"
            ));
        }
        Ok(range)
    }

    /// Returns a unique index on the whole token and nothing else.
    fn token_index(&self) -> Option<String> {
        let unique = self.indexes.iter().filter(|part| {
            part.is_unique && part.position == 1 && part.prefix.is_none() && part.is_on("token")
        });
        unique
            .map(|part| &part.index)
            .find(|index| self.indexes.iter().filter(|part| part.index == **index).count() == 1)
            // It becomes part of a statement, in backticks.
            .filter(|index| !index.contains('`'))
            .cloned()
    }
}

/// Returns the character set and the collation of tokens, or `None` if they are binary.
fn token_collation(token: &Column) -> Result<Option<(String, String)>, String> {
    let (Some(charset), Some(collation)) = (&token.charset, &token.collation) else {
        return Ok(None);
    };
    // They become part of statements.
    let is_name =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name(charset) && is_name(collation) {
        Ok(Some((charset.clone(), collation.clone())))
    } else {
        Err(format!("its tokens have the collation {collation:?}, which is unknown"))
    }
}

/// Takes a column of a row, `None` for NULL and for another type.
fn take<T: FromValue>(row: &mut Row, index: usize) -> Option<T> {
    match row.take::<Value, _>(index)? {
        Value::NULL => None,
        value => from_value_opt(value).ok(),
    }
}

/// Whether the 32 bits of a `TIMESTAMP` have no sign, as in MariaDB from 11.5.
fn has_unsigned_timestamps(version: &str) -> bool {
    // Some distributions and proxies put "5.5.5-" in front, for old replicas.
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
