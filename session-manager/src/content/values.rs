//! Encoded values under keys.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The most values that a session can have, flash values and the few that it keeps for itself
/// included. One that already has more, because another program has written it, can be read and
/// reduced, but gets no more.
///
/// # Examples
/// ```
/// use session_manager::{Error, MAX_VALUES, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?);
/// let mut session = sessions.load([])?;
/// for n in 0..MAX_VALUES {
///     session.insert(&format!("value {n}"), n)?;
/// }
/// assert!(matches!(session.insert("one more", 1), Err(Error::TooManyValues { .. })));
/// session.insert("value 0", "another")?;
/// # Ok::<(), Error>(())
/// ```
pub const MAX_VALUES: usize = 4_096;

/// Up to this many comparisons of keys, a linear search is quicker than to make a map.
const LINEAR_SEARCH_MAX: usize = 64 * 64;

/// Values under keys, in the order in which they were first inserted. Sessions have few, so a
/// linear search finds them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    entries: Vec<(String, Value)>,
    /// What the ranges are of, if it isn't the session's data in the store itself.
    opened: Option<Opened>,
}

/// A session's data as its codec has opened it. `Debug` output doesn't show it.
#[derive(Clone)]
struct Opened(Arc<Vec<u8>>);

/// An encoded value: a range of the session's opened data, or new.
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

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Values {
    /// Returns values at their places in `opened` or, if that is `None`, in the session's data in
    /// the store.
    pub(crate) fn from_ranges(
        ranges: Vec<(String, Range<usize>)>,
        opened: Option<Vec<u8>>,
    ) -> Self {
        let entries = ranges.into_iter().map(|(key, range)| (key, Value::InData(range)));
        Self { entries: entries.collect(), opened: opened.map(|opened| Opened(Arc::new(opened))) }
    }

    /// Returns what the values were decoded from; `data` is what the store has.
    pub(crate) fn encoded<'a>(&'a self, data: &'a [u8]) -> &'a [u8] {
        self.opened.as_ref().map_or(data, |Opened(opened)| opened)
    }

    /// Returns the encoded value; `data` is what the store has.
    pub(crate) fn get<'a>(&'a self, key: &str, data: &'a [u8]) -> Option<&'a [u8]> {
        let (_, value) = self.entries.iter().find(|(own, _)| own == key)?;
        Some(value.bytes(self.encoded(data)))
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.entries.iter().any(|(own, _)| own == key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    pub(crate) fn iter<'a>(&'a self, data: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let encoded = self.encoded(data);
        self.entries.iter().map(|(key, value)| (key.as_str(), value.bytes(encoded)))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
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

    /// Sets several values, no two of them under the same key.
    pub(crate) fn set_all<'a>(&mut self, new: impl Iterator<Item = (&'a str, Arc<[u8]>)>) {
        let new: Vec<_> = new.collect();
        if self.entries.len() * new.len() <= LINEAR_SEARCH_MAX {
            for (key, value) in new {
                self.set(key, value);
            }
            return;
        }
        let own = self.entries.iter().map(|(key, _)| key.as_str());
        let indices: HashMap<_, _> = own.zip(0..).collect();
        let indices: Vec<Option<usize>> =
            new.iter().map(|(key, _)| indices.get(key).copied()).collect();
        for ((key, value), index) in new.into_iter().zip(indices) {
            match index {
                Some(index) => self.entries[index].1 = Value::New(value),
                None => self.entries.push((key.to_owned(), Value::New(value))),
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_all_is_setting_each_however_many_there_are() {
        let value = |n: usize| -> Arc<[u8]> { n.to_string().into_bytes().into() };
        for (own, new) in [(0, 0), (0, 5_000), (1, 1), (64, 64), (64, 65), (65, 64), (300, 200)] {
            let own: Vec<_> = (0..own).map(|n| format!("own {}", n * 3)).collect();
            // Some of its keys and some others, by turns.
            let new: Vec<_> = (0..new).map(|n| format!("own {}", n * 2)).collect();
            let mut each = Values::default();
            for (n, key) in own.iter().enumerate() {
                each.set(key, value(n));
            }
            let mut all = each.clone();
            for (n, key) in new.iter().enumerate() {
                each.set(key, value(1_000 + n));
            }
            all.set_all(new.iter().enumerate().map(|(n, key)| (&**key, value(1_000 + n))));
            assert!(all.iter(&[]).eq(each.iter(&[])), "{} and {}", own.len(), new.len());
        }
    }
}
