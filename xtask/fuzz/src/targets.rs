//! What is fuzzed: everything that reads bytes which others can choose.

mod codecs;

mod cookie_policy;

mod cookies;

mod device_proofs;

mod form_tokens;

mod mysql_url;

mod origins;

mod ql;

mod sealed;

mod stored_data;

mod table_names;

mod tokens;

use crate::Target;

/// All targets.
pub const TARGETS: [Target; 12] = [
    cookies::TARGET,
    tokens::TARGET,
    origins::TARGET,
    form_tokens::TARGET,
    cookie_policy::TARGET,
    codecs::TARGET,
    stored_data::TARGET,
    sealed::TARGET,
    device_proofs::TARGET,
    ql::TARGET,
    mysql_url::TARGET,
    table_names::TARGET,
];

/// The text of an input, for targets that read text.
fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

/// No seeds but those of the corpus.
fn no_seeds() -> Vec<Vec<u8>> {
    Vec::new()
}

/// A store in memory, without a thread.
fn memory_store() -> store_core::MemoryStore {
    let cleanup = store_core::CleanupOptions::disabled();
    let store = store_core::MemoryOptions::new().with_cleanup(cleanup).build();
    store.expect("memory needs nothing")
}

/// The expiry of what lives long enough.
fn in_a_day() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now() + chrono::TimeDelta::days(1)
}

/// What a token is, said in another way than in the manager: 43 characters of base64url, of which
/// the last one has only four bits.
fn is_token(value: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    value.len() == 43
        && value.bytes().all(is_digit)
        && value.ends_with(|last| "AEIMQUYcgkosw048".contains(last))
}
