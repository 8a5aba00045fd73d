//! Which side tables a store can use.

use std::time::Duration;

use mysql::Result as DriverResult;
use r2d2::Pool;
use store_core::Error;
use store_core::backend::TableName;

use crate::connection::Connection;
use crate::ddl::{
    CREATE_ROTATIONS_TABLE, CREATE_SUBJECTS_TABLE, create_missing, rotations_name, subjects_name,
    table_type,
};
use crate::error::{self, ErrorClass};
use crate::manager::MysqlConnectionManager;
use crate::pool::checkout;

/// The side tables of a table that a store can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SideTables {
    pub(crate) subjects: bool,
    pub(crate) rotations: bool,
}

impl SideTables {
    /// Creates the side tables that are missing, if the account has the right to.
    ///
    /// # Errors
    /// Only if the server doesn't answer.
    pub(crate) fn create(
        pool: &Pool<MysqlConnectionManager>,
        timeout: Duration,
        name: &TableName,
    ) -> Result<Self, Error> {
        // A refusal can end the connection, so each table has its own.
        let exists = |side_table: &str, ddl| {
            let mut connection = checkout(pool, timeout)?;
            exists_or_create(&mut connection, name, side_table, ddl)
        };
        Ok(Self {
            subjects: exists(&subjects_name(name), CREATE_SUBJECTS_TABLE)?,
            rotations: exists(&rotations_name(name), CREATE_ROTATIONS_TABLE)?,
        })
    }

    /// Returns the first side table that is used but has been dropped since.
    pub(crate) fn missing(
        self,
        connection: &mut Connection,
        name: &TableName,
    ) -> DriverResult<Option<String>> {
        for (is_used, side_table) in
            [(self.subjects, subjects_name(name)), (self.rotations, rotations_name(name))]
        {
            if is_used && table_type(connection, &side_table)?.is_none() {
                return Ok(Some(side_table));
            }
        }
        Ok(None)
    }
}

/// Creates a side table if it is missing. Returns whether it is there.
fn exists_or_create(
    connection: &mut Connection,
    name: &TableName,
    side_table: &str,
    ddl: &str,
) -> Result<bool, Error> {
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

/// Whether the server has refused for good, rather than for the moment.
fn is_refusal(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::MySqlError(_))
        && matches!(error::classify(error), ErrorClass::Permanent | ErrorClass::ReadOnly)
}
