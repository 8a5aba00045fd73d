//! What the server and the table are like: for an operator.

use r2d2::Pool;
use store_core::backend::OpenStore;
use store_core::{Error, Inspection};

use crate::clock_offset::Reading;
use crate::manager::MysqlConnectionManager;
use crate::options::MysqlOptions;
use crate::pool::checkout;
use crate::table::TableVariant;
use crate::{ddl, error, schema};

/// # What is there already
impl MysqlOptions {
    /// Looks at the server and the tables, without changing anything.
    ///
    /// # Errors
    /// [`Error::TableMissing`] and [`Error::TableMismatch`], which say what to do;
    /// [`Error::InvalidOption`]; and faults of the system.
    ///
    /// # Examples
    /// ```no_run
    /// use store_mysql::MysqlOptions;
    ///
    /// let options = MysqlOptions::new();
    /// let found = options.inspect(&options.pool("mysql://app:secret@db.example/app")?)?;
    /// if let Some(offset) = found.clock_offset {
    ///     println!("{}, whose clock is {} ms ahead", found.engine, offset.num_milliseconds());
    /// }
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    pub fn inspect(&self, pool: &Pool<MysqlConnectionManager>) -> Result<Inspection, Error> {
        let (name, _open) = (self.checked_table()?, OpenStore::new()?);
        let mut connection = checkout(pool, self.pool_timeouts.checkout)?;
        let (table, facts) = schema::look_at(&mut connection, &name, self.limits)?;
        let variant = match table.variant {
            TableVariant::Classic => "classic",
            TableVariant::Hardened => "hardened",
        };
        let engine = connection.engine();
        let shown = format!("{} {}, {variant} table", engine.name(), facts.version);
        let mut found = Inspection::new(shown, table.limits, table.range.latest);
        found.has_expiry_index = Some(facts.has_expiry_index);
        let seen = connection.attempt(|connection| {
            let exists = [ddl::subjects_name(&name), ddl::rotations_name(&name)]
                .map(|side_table| Ok(ddl::table_type(connection, &side_table)?.is_some()));
            Ok((exists, Reading::take(connection.driver(), engine)?))
        });
        let failed = |error| error::from_driver(&error, name.as_str());
        let ([subjects, rotations], clock) = seen.map_err(failed)?;
        found.has_subjects = subjects.map_err(failed)?;
        found.has_rotations = rotations.map_err(failed)?;
        found.clock_offset = clock.map(Reading::offset);
        Ok(found)
    }

    /// Returns the DDL that [`create_table`](Self::create_table) runs for tables that are missing,
    /// for migrations.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    ///
    /// # Examples
    /// ```
    /// use store_mysql::MysqlOptions;
    ///
    /// let ddl = MysqlOptions::new().with_table_name("web").ddl()?;
    /// assert!(ddl.starts_with("CREATE TABLE IF NOT EXISTS `web`"));
    /// # Ok::<(), store_mysql::Error>(())
    /// ```
    pub fn ddl(&self) -> Result<String, Error> {
        let name = self.checked_table()?;
        let tables = [ddl::CREATE_TABLE, ddl::CREATE_SUBJECTS_TABLE, ddl::CREATE_ROTATIONS_TABLE];
        Ok(tables.map(|table| format!("{};\n", ddl::ddl_for(&name, table))).concat())
    }
}
