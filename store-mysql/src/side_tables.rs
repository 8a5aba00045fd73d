//! The side tables: what they are, and how a store comes by them.

use mysql::Result as DriverResult;
use r2d2::Pool;
use store_core::Error;

use crate::connection::Connection;
use crate::error::{self, ErrorClass};
use crate::manager::MysqlConnectionManager;
use crate::retry::checkout;
use crate::table::{create_missing, kind};

/// The index of subjects, for the default name.
pub(crate) const CREATE_SUBJECTS_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS `sessions_subjects` (
    token VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    subject VARBINARY(255) NOT NULL,
    KEY `sessions_subjects_subject_idx` (subject)
) ENGINE=InnoDB";

/// What has become of tokens that were rotated a moment ago, for the default name.
pub(crate) const CREATE_ROTATIONS_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS `sessions_rotations` (
    token VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    newest VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    opens BOOLEAN NOT NULL,
    valid_from DATETIME(6) NOT NULL,
    valid_until DATETIME(6) NOT NULL,
    KEY `sessions_rotations_newest_idx` (newest),
    KEY `sessions_rotations_until_idx` (valid_until)
) ENGINE=InnoDB";

/// The name of the index of subjects of a table.
pub(crate) fn subjects_name(name: &str) -> String {
    format!("{name}_subjects")
}

/// The name of the table of rotations that belongs to a table.
pub(crate) fn rotations_name(name: &str) -> String {
    format!("{name}_rotations")
}

/// The side tables of a table that a store can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SideTables {
    pub(crate) subjects: bool,
    pub(crate) rotations: bool,
}

impl SideTables {
    /// Creates the side tables that are missing, if the server lets it.
    ///
    /// # Errors
    /// Only if the server doesn't answer.
    pub(crate) fn create(pool: &Pool<MysqlConnectionManager>, name: &str) -> Result<Self, Error> {
        Ok(Self {
            subjects: has_or_creates(pool, name, &subjects_name(name), CREATE_SUBJECTS_TABLE)?,
            rotations: has_or_creates(pool, name, &rotations_name(name), CREATE_ROTATIONS_TABLE)?,
        })
    }

    /// The first side table that is used but isn't there any more.
    pub(crate) fn missing(
        self,
        connection: &mut Connection,
        name: &str,
    ) -> DriverResult<Option<String>> {
        for (is_used, side_table) in
            [(self.subjects, subjects_name(name)), (self.rotations, rotations_name(name))]
        {
            if is_used && kind(connection, &side_table)?.is_none() {
                return Ok(Some(side_table));
            }
        }
        Ok(None)
    }
}

/// Whether a side table is there, if need be because this has created it.
fn has_or_creates(
    pool: &Pool<MysqlConnectionManager>,
    name: &str,
    side_table: &str,
    ddl: &str,
) -> Result<bool, Error> {
    // A refusal can end the connection, so each table has its own.
    let mut connection = checkout(pool, pool.connection_timeout())?;
    match connection.attempt(|connection| create_missing(connection, name, side_table, ddl)) {
        Ok(()) => Ok(true),
        Err(error) if is_refusal(&error) => {
            log::warn!(
                "table {side_table:?} is missing and can't be created, so sessions go without it: {}",
                error::redacted(&error)
            );
            Ok(false)
        }
        Err(error) => Err(error::from_driver(&error, side_table)),
    }
}

/// Whether the server has answered that it won't, as opposed to that it can't at the moment.
fn is_refusal(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::MySqlError(_))
        && matches!(error::classify(error), ErrorClass::Permanent | ErrorClass::ReadOnly)
}
