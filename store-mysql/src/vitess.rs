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
pub(crate) fn statement(text: &str) -> Cow<'_, str> {
    match text.strip_prefix("SELECT ") {
        Some(rest) => format!("SELECT /*vt+ CONSOLIDATOR=disabled */ {rest}").into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ask_for_results_of_their_own() {
        let read = "SELECT /*vt+ CONSOLIDATOR=disabled */ token FROM t";
        assert_eq!(statement("SELECT token FROM t"), read);
        let write = "DELETE FROM t";
        assert_eq!(statement(write), write);
    }
}
