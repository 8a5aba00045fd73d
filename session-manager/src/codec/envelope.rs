//! The form that both codecs read: a map of `v`, `deadline` and `values`.
//!
//! It is read without serde's derive macros, which would be five more crates, syn among them, for
//! every application.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The version of the form that this crate writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

/// Up to so many keys are looked for one after the other.
const FEW: usize = 64;

/// A session of this version. `D` is how the deadline is written, `V` a value that nobody has decoded yet.
pub(crate) struct Form<D, V> {
    pub(crate) deadline: D,
    /// In their order. Of several with one key the last one counts.
    pub(crate) values: Vec<(String, V)>,
}

impl<'de, D: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Form<D, V> {
    fn deserialize<T: Deserializer<'de>>(deserializer: T) -> Result<Self, T::Error> {
        deserializer.deserialize_map(FormVisitor(PhantomData))
    }
}

struct FormVisitor<D, V>(PhantomData<(D, V)>);

impl<'de, D: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for FormVisitor<D, V> {
    type Value = Form<D, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut version, mut deadline, mut values) = (None, None, None);
        while let Some(member) = map.next_key::<String>()? {
            let is_repeated = match &*member {
                "v" => version.replace(map.next_value::<u32>()?).is_some(),
                "deadline" => deadline.replace(map.next_value()?).is_some(),
                "values" => values.replace(map.next_value::<Entries<V>>()?).is_some(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if is_repeated {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        if version.ok_or_else(|| A::Error::missing_field("v"))? > VERSION {
            return Err(A::Error::custom("it is of a newer version"));
        }
        Ok(Form {
            deadline: deadline.ok_or_else(|| A::Error::missing_field("deadline"))?,
            values: values.ok_or_else(|| A::Error::missing_field("values"))?.0,
        })
    }
}

/// A map as the list of its entries.
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
            Vec::with_capacity(map.size_hint().unwrap_or(0).min(FEW));
        let mut places: Option<HashMap<String, usize>> = None;
        while let Some((key, value)) = map.next_entry::<String, V>()? {
            let place = match &places {
                Some(places) => places.get(&key).copied(),
                None => entries.iter().position(|(own, _)| *own == key),
            };
            if let Some(place) = place {
                entries[place].1 = value;
                continue;
            }
            if let Some(places) = &mut places {
                places.insert(key.clone(), entries.len());
            }
            entries.push((key, value));
            if entries.len() == FEW {
                let keys = entries.iter().map(|(key, _)| key.clone());
                places = Some(keys.zip(0..).collect());
            }
        }
        Ok(Entries(entries))
    }
}
