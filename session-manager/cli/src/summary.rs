//! Sessions as they are shown: never their tokens or keys, nor the application's values.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use session_manager::{Json, MessagePack, SessionSummary};
use store_core::Record;

use crate::key_files::Unsealer;
use crate::output::{bytes, printable};

/// A session of the store. What only its bytes tell is missing if the application has a codec of
/// its own, or they are sealed and the keys aren't here: its id, too, because a session that was
/// renewed has it there.
pub(crate) struct Summary {
    pub(crate) told: Option<SessionSummary>,
    expiry: DateTime<Utc>,
    bytes: usize,
}

/// What stands in a column if only the application knows it.
const UNKNOWN: &str = "unknown";

/// What stands in a column if there is nothing.
const NONE: &str = "-";

impl Summary {
    pub(crate) const HEADER: [&str; 5] = ["ID", "SUBJECT", "COOKIE", "EXPIRES", "SIZE"];

    pub(crate) fn read(record: Record<'_>, unsealer: &Unsealer) -> Self {
        let content = unsealer.unseal(&record);
        let Record { token, data, expiry, .. } = record;
        let told = SessionSummary::read(&Json, token, &content)
            .or_else(|_| SessionSummary::read(&MessagePack, token, &content))
            .ok();
        // Whichever comes first.
        let expiry = told.as_ref().map_or(expiry, |told| expiry.min(told.deadline));
        Self { told, expiry, bytes: data.len() }
    }

    pub(crate) fn as_row(&self) -> Vec<String> {
        let column = |tell: fn(&SessionSummary) -> Option<&String>| match &self.told {
            Some(told) => tell(told).map_or(NONE.to_owned(), |text| printable(text)),
            None => UNKNOWN.to_owned(),
        };
        vec![
            self.told.as_ref().map_or(UNKNOWN.to_owned(), |told| told.id.to_string()),
            column(|told| told.subject.as_ref()),
            column(|told| told.cookie_name.as_ref()),
            rfc3339(self.expiry),
            bytes(self.bytes as u64),
        ]
    }

    pub(crate) fn as_json(&self) -> Value {
        let told = self.told.as_ref();
        json!({
            "id": told.map(|told| told.id.to_string()),
            "subject": told.and_then(|told| told.subject.as_ref()),
            "cookie": told.and_then(|told| told.cookie_name.as_ref()),
            "created": told.and_then(|told| told.created).map(rfc3339),
            "expires": rfc3339(self.expiry),
            "bytes": self.bytes,
        })
    }
}

fn rfc3339(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ends_at_its_deadline_or_when_it_expires() {
        let data = br#"{"v":1,"deadline":"2026-11-21T15:30:00Z","values":{"__subject":"7"}}"#;
        for (expiry, shown) in [
            ("2026-11-21T15:29:59Z", "2026-11-21T15:29:59Z"),
            ("2026-11-21T16:30:00Z", "2026-11-21T15:30:00Z"),
        ] {
            let expiry = expiry.parse().expect("an instant");
            let summary = Summary::read(Record::new("key", data, expiry), &Unsealer::default());
            assert_eq!(summary.as_row()[1..], ["7", NONE, shown, "68 bytes"]);
            assert_eq!(summary.as_json()["expires"], shown);
        }
    }
}
