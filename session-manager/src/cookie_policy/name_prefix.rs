//! Prefixes of cookie names with a meaning to browsers: RFC 6265bis, section 4.1.3, and its successor.

/// The prefixes of names that demand attributes; the longest first.
pub(super) const PREFIXES: [&str; 4] = ["__Host-Http-", "__Host-", "__Secure-", "__Http-"];

/// Browsers compare prefixes without regard to case.
pub(super) fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
