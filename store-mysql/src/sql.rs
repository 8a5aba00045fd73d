//! What statements are made of: texts that are prepared once on each connection, and their parts.

use std::sync::atomic::{AtomicU32, Ordering};

use mysql::Value;

/// What a statement sets `LAST_INSERT_ID` to if it matches a row.
///
/// Connections ask the server to count rows that match, but a proxy may ask for rows that change.
/// The sentinel reports the match anyway, in the same reply. A trigger hides it, so neither is
/// enough by itself. The number is unlikely to be a real id.
pub(crate) const MATCH_SENTINEL: u64 = 8_674_665_223_082_153_551;

/// A statement that is prepared once on each connection.
pub(crate) struct Sql {
    /// Unique among all statements of the process, because stores of several tables may share a
    /// pool.
    id: u32,
    text: String,
}

impl Sql {
    pub(crate) fn new(text: String) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), text }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// A table's name, which has been checked, in a statement.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{name}`")
}

/// The bytes of a token column of the table of sessions, whatever its collation.
pub(crate) fn token_bytes(column: &str) -> String {
    format!("CAST(CONVERT({column} USING utf8mb4) AS BINARY)")
}

/// The comparison of a token column with a parameter, byte for byte.
pub(crate) fn is_token(column: &str) -> String {
    format!("{} = ?", token_bytes(column))
}

/// A condition that is true and reports through [`MATCH_SENTINEL`] that the statement has matched a
/// row.
///
/// It names the column, so that no server computes it before there is a row, and compares, so that
/// no server optimizes it away.
pub(crate) fn report_match(column: &str) -> String {
    format!("LAST_INSERT_ID(CHAR_LENGTH({column}) * 0 + {MATCH_SENTINEL}) = {MATCH_SENTINEL}")
}

/// A statement on a list of tokens. It is prepared for one token and for as many as a batch has,
/// and not for each number of them.
pub(crate) struct ListSql {
    one: Sql,
    many: Sql,
    /// How many parameters `many` has.
    count: usize,
}

impl ListSql {
    /// `{tokens}` in the text stands for the list, which has at most `count`.
    pub(crate) fn new(text: &str, count: usize) -> Self {
        let with = |placeholders: &str| Sql::new(text.replace("{tokens}", placeholders));
        Self { one: with("?"), many: with(&vec!["?"; count].join(", ")), count }
    }

    /// Returns the statement for this many tokens, and its parameters: the last token is repeated
    /// until there are enough.
    pub(crate) fn on(&self, tokens: &[Vec<u8>]) -> (&Sql, Vec<Value>) {
        if let [token] = tokens {
            return (&self.one, vec![token.into()]);
        }
        let tokens = tokens.iter().chain(tokens.last().into_iter().cycle());
        (&self.many, tokens.take(self.count).map(Value::from).collect())
    }
}
