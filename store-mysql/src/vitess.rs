//! What Vitess needs.

use std::borrow::Cow;

/// The largest value of a row: half of what its components send each other in one message unless
/// they are told otherwise (`grpc-max-message-size`), because statements carry data twice.
pub(crate) const LARGEST_VALUE: usize = (16 * 1024 * 1024 - REST) / 2;

/// For the statement's text, tokens and expiry, and what Vitess puts around them.
const REST: usize = 64 * 1024;

/// Returns a statement as it is to be prepared.
///
/// A read gets the result of another one that is under way with the same text, and so misses what
/// was written after that has begun, unless it asks for a result of its own.
///
/// A DELETE from one table alone loses its alias, and with it the index that it is told to use. A
/// hint of the optimizer stays.
pub(crate) fn statement(text: &str) -> Cow<'_, str> {
    if let Some(rest) = text.strip_prefix("SELECT ") {
        return format!("SELECT /*vt+ CONSOLIDATOR=disabled */ {rest}").into();
    }
    match (text.strip_prefix("DELETE "), forced_index(text)) {
        (Some(rest), Some((table, index))) => {
            format!("DELETE /*+ INDEX({table} {index}) */ {rest}").into()
        }
        _ => text.into(),
    }
}

/// The table and the index of `… FROM table AS alias FORCE INDEX (index) WHERE …`.
fn forced_index(text: &str) -> Option<(&str, &str)> {
    let (before, after) = text.split_once(" FORCE INDEX (")?;
    let (index, condition) = after.split_once(')')?;
    let (_, table) = before.split_once(" FROM ")?;
    let (table, _) = table.split_once(" AS ")?;
    condition.starts_with(" WHERE ").then_some((table, index))
}

/// Whether an error says that a component has lost another one, or the MySQL, or that it has given
/// up a statement, so that nobody knows what became of that.
pub(crate) fn is_outcome_unknown(code: u16, message: &str) -> bool {
    // 17 is its own code for events of the cluster.
    const REASONS: [&str; 7] = [
        "code = Unavailable",
        "code = Code(17)",
        "code = DeadlineExceeded",
        "code = Canceled",
        "code = Aborted",
        "no healthy tablet",
        "primary is not serving",
    ];
    match code {
        // The codes of clients: Vitess is one.
        2000..=2999 => true,
        // An unknown error, and an interrupted statement.
        1105 | 1317 => REASONS.iter().any(|reason| message.contains(reason)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ask_for_results_of_their_own() {
        let read = "SELECT /*vt+ CONSOLIDATOR=disabled */ token FROM t";
        assert_eq!(statement("SELECT token FROM t"), read);
    }

    #[test]
    fn deletions_keep_their_index() {
        let deletion = "DELETE session FROM `t` AS session FORCE INDEX (`PRIMARY`) WHERE n = ?";
        let hinted = format!("DELETE /*+ INDEX(`t` `PRIMARY`) */ {}", &deletion["DELETE ".len()..]);
        assert_eq!(statement(deletion), hinted);
        // Of several tables nothing is lost.
        let joined = "DELETE a FROM `a` AS a FORCE INDEX (`PRIMARY`) LEFT JOIN `b` AS b ON n = ?";
        assert_eq!(statement(joined), joined);
        assert_eq!(statement("DELETE FROM t WHERE n = ?"), "DELETE FROM t WHERE n = ?");
    }
}
