//! What a store knows of the table in which it keeps sessions.

use store_core::Limits;
use store_core::backend::TableName;

use crate::time::InstantRange;

/// Which kind of table a store has found. Rust and Go programs can use both.
///
/// # Examples
/// ```no_run
/// use store_mysql::{MysqlStore, TableVariant};
///
/// let store = MysqlStore::connect("mysql://app:secret@db.example/app")?;
/// if store.table_variant() == TableVariant::Classic {
///     eprintln!("the table takes {} bytes a session", store.limits().max_data_len);
/// }
/// # Ok::<(), store_mysql::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableVariant {
    /// The table of the Go store's documentation, or one like it: the database compares tokens
    /// without regard to case, or expiries are of the type `TIMESTAMP`, which ends in 2038 and
    /// which each connection reads in its time zone. The store is exact within these limits.
    Classic,
    /// The table that [`create_table`](crate::MysqlStore::create_table) makes: the database
    /// compares tokens byte for byte, and an expiry is a `DATETIME` in UTC.
    Hardened,
}

/// A table in which sessions are safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: TableName,
    pub(crate) variant: TableVariant,
    pub(crate) limits: Limits,
    pub(crate) range: InstantRange,
    /// The unique index on the token.
    pub(crate) token_index: String,
    /// The character set and the collation of tokens, or `None` if they are binary.
    pub(crate) token_collation: Option<(String, String)>,
    /// The largest value that fits into a statement, in bytes, even if another program wrote it.
    pub(crate) max_value: usize,
    /// The most tokens that fit into one statement, even if other programs wrote them.
    pub(crate) max_batch: usize,
}

impl Table {
    /// An expression for a token column of a side table, which the server compares as it compares
    /// the tokens of this table.
    pub(crate) fn convert_token(&self, column: &str) -> String {
        match &self.token_collation {
            Some((charset, collation)) => {
                format!("CONVERT({column} USING {charset}) COLLATE {collation}")
            }
            None => format!("CAST({column} AS BINARY)"),
        }
    }
}
