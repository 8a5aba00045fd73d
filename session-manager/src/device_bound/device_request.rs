//! What a browser's request to the device endpoint says.

use crate::request_head::RequestHead;

/// The headers of a request to the device endpoint.
pub(super) struct DeviceRequest<'r> {
    /// The id of the binding, which a refresh has, and a registration hasn't.
    pub(super) id: Option<&'r str>,
    /// What the device has signed, if it has.
    pub(super) proof: Option<&'r str>,
}

impl<'r> DeviceRequest<'r> {
    pub(super) fn of(request: &RequestHead<'r>) -> Self {
        let string = |name| request.header(name).map(unquoted);
        Self { id: string("Sec-Secure-Session-Id"), proof: string("Secure-Session-Response") }
    }
}

/// Returns the content of a structured header that is a string. In the specification it has quotes;
/// what Chromium 156 sends has none. Neither ids nor proofs have anything that is escaped.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let Some(quoted) = value.strip_prefix('"') else { return value };
    // Parameters are to be ignored.
    quoted.split_once('"').map_or(quoted, |(string, _)| string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_with_and_without_quotes() {
        for value in ["abc", "\"abc\"", " \"abc\"; a=1", " abc "] {
            assert_eq!(unquoted(value), "abc", "{value}");
        }
        for value in ["", "\"\"", "\"", " "] {
            assert_eq!(unquoted(value), "", "{value}");
        }
    }
}
