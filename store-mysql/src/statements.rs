//! The statements on the table of sessions.

use crate::ddl;
use crate::sql::{ListSql, Sql, is_token, quoted, report_match};
use crate::table::Table;

// `{table}` is the quoted name, `{subjects}` that of the index of subjects. The server's clock
// decides whether a session is live: `expiry > UTC_TIMESTAMP(6)`. Connections have the time zone
// +00:00.
//
// `{is_token}` compares bytes, which the column itself may not: on the classic table `a`, `A` and
// `á` are the same token. `{report_match}` is true, and reports in the server's reply that the
// statement has matched a row; see `MATCH_SENTINEL`. It is part of an assignment, which is computed
// for such rows alone, while the parts of a WHERE are computed in any order.

const FIND: &str =
    "SELECT token, data, expiry FROM {table} WHERE token = ? AND expiry > UTC_TIMESTAMP(6)";

// Values are bound twice, because MySQL deprecates VALUES() and MariaDB has no row alias. If the
// conflicting row has another token, or is no live session, the last number is too large for any
// type, which is an error in every mode. A trigger can't hide an error, as it could hide a
// sentinel. Assignments are made from left to right: the first one sees the row as it was.
const COMMIT: &str = "INSERT INTO {table} (token, data, expiry) VALUES (?, ?, ?) \
    ON DUPLICATE KEY UPDATE \
        token = IF({is_token} AND data IS NOT NULL AND expiry > UTC_TIMESTAMP(6), token, \
            18446744073709551615 + CHAR_LENGTH(token)), \
        data = ?, expiry = ?";

const INSERT: &str = "INSERT INTO {table} (token, data, expiry) VALUES (?, ?, ?)";

// The expiry is always set, because otherwise old versions of MariaDB set a TIMESTAMP to the
// present.
const UPDATE: &str = "UPDATE {table} \
    SET data = ?, expiry = ?, token = IF({report_match}, ?, token) \
    WHERE token = ? AND {is_token} AND data = ? AND expiry > UTC_TIMESTAMP(6)";

const UPDATE_DATA: &str = "UPDATE {table} \
    SET data = ?, expiry = expiry, token = IF({report_match}, ?, token) \
    WHERE token = ? AND {is_token} AND data = ? AND expiry > UTC_TIMESTAMP(6)";

const TOUCH: &str = "UPDATE {table} SET expiry = ?, token = IF({report_match}, token, token) \
    WHERE token = ? AND {is_token} AND data IS NOT NULL AND expiry > UTC_TIMESTAMP(6)";

// Locks the row of this token, or of another one that the column takes for the same. If there is no
// row it locks the gap, into which then no other transaction inserts.
const LOCK: &str = "SELECT token, \
    COALESCE(data IS NOT NULL AND expiry > UTC_TIMESTAMP(6), FALSE) FROM {table} \
    WHERE token = ? FOR UPDATE";

const MATCHES: &str = "SELECT token FROM {table} \
    WHERE token = ? AND {is_token} AND data = ? AND expiry > UTC_TIMESTAMP(6) FOR UPDATE";

// A live session and, if there is an index of subjects, its entry.
const DELETE_LIVE: &str = "DELETE session FROM {table} AS session \
    WHERE session.token = ? AND {is_session} AND session.data IS NOT NULL \
    AND session.expiry > UTC_TIMESTAMP(6)";

const DELETE_LIVE_WITH_SUBJECT: &str = "DELETE session, link FROM {table} AS session \
    LEFT JOIN {subjects} AS link ON link.token = ? \
    WHERE session.token = ? AND {is_session} AND session.data IS NOT NULL \
    AND session.expiry > UTC_TIMESTAMP(6)";

const AND_DATA: &str = " AND session.data = ?";

const DELETE_ROW: &str = "DELETE FROM {table} WHERE token = ?";

// A page of keys, which are then deleted by key: a DELETE that finds its rows by the expiry locks
// the gaps between them and deadlocks with writers, even more so with a LIMIT.
const EXPIRED: &str = "SELECT token FROM {table} \
    WHERE expiry <= UTC_TIMESTAMP(6) AND token IS NOT NULL ORDER BY expiry LIMIT ?";

// If the tokens are a large part of the table, a server would read all of it, and lock what it has
// read: live sessions, and rows that others have locked. Only this form takes the name of an index.
const DELETE_EXPIRED: &str = "DELETE session FROM {table} AS session \
    FORCE INDEX (`{token_index}`) \
    WHERE session.token IN ({tokens}) AND session.expiry <= UTC_TIMESTAMP(6)";

// A page of all rows: how many it has, and between which tokens.
const FIRST_PAGE: &str = "SELECT COUNT(*), MIN(token), MAX(token) FROM \
    (SELECT token FROM {table} WHERE token IS NOT NULL ORDER BY token LIMIT ?) AS page";

const NEXT_PAGE: &str = "SELECT COUNT(*), MIN(token), MAX(token) FROM \
    (SELECT token FROM {table} WHERE token > ? ORDER BY token LIMIT ?) AS page";

const DELETE_PAGE: &str = "DELETE session FROM {table} AS session FORCE INDEX (`{token_index}`) \
    WHERE session.token BETWEEN ? AND ?";

// The token has to have the type of the index's, or each of them would be converted.
const DELETE_PAGE_WITH_SUBJECTS: &str = "DELETE session, link FROM {table} AS session \
    FORCE INDEX (`{token_index}`) LEFT JOIN {subjects} AS link \
    ON link.token = CONVERT(session.token USING ascii) COLLATE ascii_bin \
    WHERE session.token BETWEEN ? AND ?";

const PAGE: &str = "SELECT token, data, expiry FROM {table} FORCE INDEX (`{token_index}`) \
    WHERE token > ? AND expiry > ? ORDER BY token LIMIT 500";

const COUNT: &str = "SELECT COUNT(*) FROM {table} WHERE expiry > UTC_TIMESTAMP(6)";

/// The statements on one table of sessions.
pub(crate) struct Statements {
    pub(crate) find: Sql,
    pub(crate) commit: Sql,
    pub(crate) insert: Sql,
    pub(crate) update: Sql,
    /// Leaves the expiry as it is.
    pub(crate) update_data: Sql,
    pub(crate) touch: Sql,
    pub(crate) lock: Sql,
    pub(crate) matches: Sql,
    pub(crate) delete_live: Sql,
    pub(crate) delete_matching: Sql,
    pub(crate) delete_row: Sql,
    pub(crate) expired: Sql,
    pub(crate) delete_expired: ListSql,
    pub(crate) first_page: Sql,
    pub(crate) next_page: Sql,
    pub(crate) delete_page: Sql,
    pub(crate) page: Sql,
    pub(crate) count: Sql,
}

impl Statements {
    pub(crate) fn new(table: &Table, has_subjects: bool, batch_size: usize) -> Self {
        let text = |template: &str| {
            template
                .replace("{table}", &quoted(table.name.as_str()))
                .replace("{subjects}", &quoted(&ddl::subjects_name(&table.name)))
                .replace("{is_token}", &is_token("token"))
                .replace("{is_session}", &is_token("session.token"))
                .replace("{report_match}", &report_match("token"))
                .replace("{token_index}", &table.token_index)
        };
        let on_table = |template: &str| Sql::new(text(template));
        let delete_live = if has_subjects { DELETE_LIVE_WITH_SUBJECT } else { DELETE_LIVE };
        let delete_page = if has_subjects { DELETE_PAGE_WITH_SUBJECTS } else { DELETE_PAGE };
        Self {
            find: on_table(FIND),
            commit: on_table(COMMIT),
            insert: on_table(INSERT),
            update: on_table(UPDATE),
            update_data: on_table(UPDATE_DATA),
            touch: on_table(TOUCH),
            lock: on_table(LOCK),
            matches: on_table(MATCHES),
            delete_live: on_table(delete_live),
            delete_matching: on_table(&format!("{delete_live}{AND_DATA}")),
            delete_row: on_table(DELETE_ROW),
            expired: on_table(EXPIRED),
            delete_expired: ListSql::new(&text(DELETE_EXPIRED), batch_size),
            first_page: on_table(FIRST_PAGE),
            next_page: on_table(NEXT_PAGE),
            delete_page: on_table(delete_page),
            page: on_table(PAGE),
            count: on_table(COUNT),
        }
    }
}
