//! What both codecs read: a map of `v`, `deadline` and `values`.
//!
//! It is read without serde's derive macros, which would be five more crates, syn among them, for
//! every application.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The version of the format that this crate writes, and the newest that it reads.
pub(super) const VERSION: u32 = 1;

/// Up to this many keys, a linear search finds duplicates; beyond that, a hash map.
const LINEAR_SEARCH_MAX: usize = 64;

/// Most sessions have fewer values, their own included; JSON doesn't say how many follow.
const USUAL_LEN: usize = 12;

/// A session of this version. `D` is how the deadline is written, `V` a value that nobody has
/// decoded yet.
pub(super) struct Envelope<D, V> {
    pub(super) deadline: D,
    /// In their order. Of several with the same key the last one counts.
    pub(super) values: Vec<(String, V)>,
}

impl<'de, D: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Envelope<D, V> {
    fn deserialize<T: Deserializer<'de>>(deserializer: T) -> Result<Self, T::Error> {
        deserializer.deserialize_map(EnvelopeVisitor(PhantomData))
    }
}

struct EnvelopeVisitor<D, V>(PhantomData<(D, V)>);

impl<'de, D: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for EnvelopeVisitor<D, V> {
    type Value = Envelope<D, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut version, mut deadline, mut values) = (None, None, None);
        while let Some(member) = map.next_key()? {
            let is_repeated = match member {
                Member::Version => version.replace(map.next_value::<u32>()?).is_some(),
                Member::Deadline => deadline.replace(map.next_value()?).is_some(),
                Member::Values => values.replace(map.next_value::<Entries<V>>()?).is_some(),
                Member::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if is_repeated {
                return Err(A::Error::custom("a member is repeated"));
            }
        }
        if version.ok_or_else(|| A::Error::missing_field("v"))? > VERSION {
            return Err(A::Error::custom("it is of a newer version"));
        }
        Ok(Envelope {
            deadline: deadline.ok_or_else(|| A::Error::missing_field("deadline"))?,
            values: values.ok_or_else(|| A::Error::missing_field("values"))?.0,
        })
    }
}

/// A map as the list of its entries.
/// The name of a member.
enum Member {
    Version,
    Deadline,
    Values,
    Unknown,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<T: Deserializer<'de>>(deserializer: T) -> Result<Self, T::Error> {
        deserializer.deserialize_identifier(MemberVisitor)
    }
}

struct MemberVisitor;

impl Visitor<'_> for MemberVisitor {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Member, E> {
        Ok(match name {
            "v" => Member::Version,
            "deadline" => Member::Deadline,
            "values" => Member::Values,
            _ => Member::Unknown,
        })
    }
}

struct Entries<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<T: Deserializer<'de>>(deserializer: T) -> Result<Self, T::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
    type Value = Entries<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(String, V)> =
            Vec::with_capacity(map.size_hint().unwrap_or(USUAL_LEN).min(LINEAR_SEARCH_MAX));
        let mut indices: Option<HashMap<String, usize>> = None;
        while let Some((key, value)) = map.next_entry::<String, V>()? {
            let index = match &indices {
                Some(indices) => indices.get(&key).copied(),
                None => entries.iter().position(|(own, _)| *own == key),
            };
            if let Some(index) = index {
                entries[index].1 = value;
                continue;
            }
            if let Some(indices) = &mut indices {
                indices.insert(key.clone(), entries.len());
            }
            entries.push((key, value));
            if entries.len() == LINEAR_SEARCH_MAX {
                let keys = entries.iter().map(|(key, _)| key.clone());
                indices = Some(keys.zip(0..).collect());
            }
        }
        Ok(Entries(entries))
    }
}

/// Returns the range of the data that a part of it has.
pub(super) fn range_in(data: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - data.as_ptr() as usize;
    start..start + part.len()
}
