//! Encoded values under keys.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Values under keys, in the order in which they were first inserted. Sessions have few, so a
/// linear search finds them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    entries: Vec<(String, Value)>,
}

/// An encoded value: a range of the session's data in the store, or new.
#[derive(Clone)]
enum Value {
    InData(Range<usize>),
    New(Arc<[u8]>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Values {
    pub(crate) fn from_ranges(ranges: Vec<(String, Range<usize>)>) -> Self {
        let entries = ranges.into_iter().map(|(key, range)| (key, Value::InData(range)));
        Self { entries: entries.collect() }
    }

    /// Returns the encoded value; `data` is what the session was decoded from.
    pub(crate) fn get<'a>(&'a self, key: &str, data: &'a [u8]) -> Option<&'a [u8]> {
        let (_, value) = self.entries.iter().find(|(own, _)| own == key)?;
        Some(value.bytes(data))
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.entries.iter().any(|(own, _)| own == key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    pub(crate) fn iter<'a>(&'a self, data: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.bytes(data)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn set(&mut self, key: &str, new: Arc<[u8]>) {
        match self.entries.iter_mut().find(|(own, _)| own == key) {
            Some((_, value)) => *value = Value::New(new),
            None => self.entries.push((key.to_owned(), Value::New(new))),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.entries.retain(|(own, _)| own != key);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|(key, _)| keep(key));
    }
}

impl Value {
    fn bytes<'a>(&'a self, data: &'a [u8]) -> &'a [u8] {
        match self {
            // If a codec returns a range outside the data, the value has no bytes, which decode to
            // nothing.
            Self::InData(range) => data.get(range.clone()).unwrap_or_default(),
            Self::New(bytes) => bytes,
        }
    }
}
