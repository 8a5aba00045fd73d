//! The tables that this crate creates, and their names.

use mysql::Result as DriverResult;
use mysql::prelude::Queryable;
use store_core::Error;
use store_core::backend::TableName;

use crate::connection::Connection;
use crate::error;

/// The table that new applications get, for the default name.
pub(crate) const CREATE_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS `sessions` (
    token VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    data MEDIUMBLOB NOT NULL,
    expiry DATETIME(6) NOT NULL,
    KEY `sessions_expiry_idx` (expiry)
) ENGINE=InnoDB";

/// The index of subjects, for the default name.
pub(crate) const CREATE_SUBJECTS_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS `sessions_subjects` (
    token VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    subject VARBINARY(255) NOT NULL,
    KEY `sessions_subjects_subject_idx` (subject)
) ENGINE=InnoDB";

/// The records of recent rotations, for the default name.
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
pub(crate) fn subjects_name(name: &TableName) -> String {
    format!("{name}_subjects")
}

/// The name of the table of rotations that belongs to a table.
pub(crate) fn rotations_name(name: &TableName) -> String {
    format!("{name}_rotations")
}

/// A DDL of this file for a table of another name.
pub(crate) fn ddl_for(name: &TableName, ddl: &str) -> String {
    ddl.replace("`sessions", &format!("`{name}"))
}

/// Creates the tables that are missing. If none is missing, the account needs no right to create
/// tables.
pub(crate) fn create(connection: &mut Connection, name: &TableName) -> Result<(), Error> {
    for (own_name, ddl) in [
        (name.to_string(), CREATE_TABLE),
        (subjects_name(name), CREATE_SUBJECTS_TABLE),
        (rotations_name(name), CREATE_ROTATIONS_TABLE),
    ] {
        connection
            .attempt(|connection| create_missing(connection, name, &own_name, ddl))
            .map_err(|error| error::from_driver(&error, &own_name))?;
    }
    Ok(())
}

/// Creates a table or side table of the table `name`, if there is none of its own name.
pub(crate) fn create_missing(
    connection: &mut Connection,
    name: &TableName,
    own_name: &str,
    ddl: &str,
) -> DriverResult<()> {
    if table_type(connection, own_name)?.is_none() {
        connection.driver().query_drop(ddl_for(name, ddl))?;
    }
    Ok(())
}

/// Returns `BASE TABLE` or `VIEW`, or `None` if there is nothing of this name.
pub(crate) fn table_type(connection: &mut Connection, name: &str) -> DriverResult<Option<String>> {
    connection.driver().exec_first(
        "SELECT TABLE_TYPE FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?",
        (name,),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_name_leaves_room_for_derived_names() -> Result<(), Error> {
        let name = TableName::new("x".repeat(TableName::MAX_LEN))?;
        for ddl in [CREATE_TABLE, CREATE_SUBJECTS_TABLE, CREATE_ROTATIONS_TABLE] {
            let ddl = ddl_for(&name, ddl);
            let names: Vec<_> = ddl.split('`').skip(1).step_by(2).collect();
            assert!(names.iter().all(|derived| derived.starts_with(name.as_str())), "{names:?}");
            // MySQL's own limit.
            assert!(names.iter().all(|derived| derived.len() <= 64), "{names:?}");
        }
        Ok(())
    }
}
