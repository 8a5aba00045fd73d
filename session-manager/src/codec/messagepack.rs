//! Sessions as MessagePack.

use std::borrow::Cow;
use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::de::{Deserialize, DeserializeOwned};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::codec::envelope::{Envelope, VERSION, range_in};
use crate::codec::nesting::nests_at_most;
use crate::codec::{Codec, CodecError, Decoded, OpenError, Row};
use crate::error::Error;

/// MessagePack: smaller than [`Json`](crate::Json), and exact for bytes and for numbers that JSON
/// can't represent. Values nest at most 127 levels deep, as in JSON: what is deeper is refused when
/// it is put into the session.
///
/// A session is a map of `v` (the version, 1), `deadline` (microseconds since the Unix epoch) and
/// `values`, a map from keys to the encoded values, each as a byte string.
///
/// # Examples
/// ```
/// use session_manager::{MessagePack, SessionManager};
/// use store_core::MemoryStore;
///
/// let sessions = SessionManager::new(MemoryStore::new()?).with_codec(MessagePack);
/// let mut session = sessions.load([])?;
/// session.insert("ratio", f64::INFINITY)?;
/// assert_eq!(session.get("ratio")?, Some(f64::INFINITY));
/// # Ok::<(), session_manager::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

impl Codec for MessagePack {
    fn open<'d>(&self, _: &Row<'_>, data: &'d [u8]) -> Result<Cow<'d, [u8]>, OpenError> {
        Ok(Cow::Borrowed(data))
    }

    fn seal(&self, _: &Row<'_>, encoded: Vec<u8>) -> Result<Vec<u8>, Error> {
        Ok(encoded)
    }

    fn decode(&self, data: &[u8]) -> Result<Decoded, CodecError> {
        let envelope: Envelope<i64, &[u8]> = read(data)?;
        let deadline = DateTime::from_timestamp_micros(envelope.deadline).ok_or(CodecError)?;
        let values = envelope.values.into_iter().map(|(key, value)| (key, range_in(data, value)));
        let values: Vec<(String, Range<usize>)> = values.collect();
        Ok(Decoded { deadline, values })
    }

    fn encode(
        &self,
        deadline: DateTime<Utc>,
        values: &mut dyn Iterator<Item = (&str, &[u8])>,
    ) -> Result<Vec<u8>, CodecError> {
        let values: Vec<_> = values.collect();
        let mut data = Vec::new();
        let mut serializer = rmp_serde::Serializer::new(&mut data);
        let mut map = (&mut serializer).serialize_map(Some(3)).map_err(|_| CodecError)?;
        map.serialize_entry("v", &VERSION).map_err(|_| CodecError)?;
        map.serialize_entry("deadline", &deadline.timestamp_micros()).map_err(|_| CodecError)?;
        map.serialize_entry("values", &Values(&values)).map_err(|_| CodecError)?;
        map.end().map_err(|_| CodecError)?;
        Ok(data)
    }

    fn decode_value<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, CodecError> {
        read(value)
    }

    fn encode_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        let encoded = rmp_serde::to_vec_named(value).map_err(|_| CodecError)?;
        check_depth(&encoded)?;
        Ok(encoded)
    }
}

/// How deep values may nest, as in JSON.
const MAX_DEPTH: usize = 127;

fn read<'d, T: Deserialize<'d>>(data: &'d [u8]) -> Result<T, CodecError> {
    check_depth(data)?;
    T::deserialize(&mut rmp_serde::Deserializer::from_read_ref(data)).map_err(|_| CodecError)
}

/// Refuses what nests so deep that reading it could overflow the stack. `rmp_serde` has a limit of
/// its own, but doesn't count the levels of recursive enums (msgpack-rust issue 381), and at its
/// 1,024 a recursive type takes more than the 2 MiB that the stacks of threads have.
fn check_depth(data: &[u8]) -> Result<(), CodecError> {
    // Each level is a byte at least.
    if data.len() <= MAX_DEPTH || nests_at_most(MAX_DEPTH, data) { Ok(()) } else { Err(CodecError) }
}

/// A map whose values are byte strings.
struct Values<'a>(&'a [(&'a str, &'a [u8])]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, &Bytes(value))?;
        }
        map.end()
    }
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection;
    use proptest::prelude::{Just, Strategy as _, any, prop_oneof, proptest};
    use proptest::sample::{Index, select};
    use proptest::test_runner::Config;
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn sessions_round_trip() -> Result<(), CodecError> {
        let deadline = DateTime::from_timestamp_micros(1_800_000_000_123_456).expect("in range");
        let (bytes, text) =
            (MessagePack.encode_value(&[0_u8, 255])?, MessagePack.encode_value("ü")?);
        let values = [("bytes", &*bytes), ("text", &*text)];
        let data = MessagePack.encode(deadline, &mut values.into_iter())?;
        let decoded = MessagePack.decode(&data)?;
        assert_eq!(decoded.deadline, deadline);
        for ((key, value), (own_key, range)) in values.iter().zip(&decoded.values) {
            assert_eq!((*key, *value), (&**own_key, &data[range.clone()]));
        }
        assert_eq!(MessagePack.decode_value::<[u8; 2]>(&bytes), Ok([0, 255]));
        assert_eq!(MessagePack.decode_value::<u32>(&text), Err(CodecError));
        for cut in 0..data.len() {
            assert_eq!(MessagePack.decode(&data[..cut]), Err(CodecError), "{cut} bytes of it");
        }
        assert_eq!(MessagePack.decode(b"{\"v\":1}"), Err(CodecError));
        Ok(())
    }

    /// A recursive type, with each way in which MessagePack has what is inside it.
    #[derive(Debug, PartialEq, serde::Deserialize, Serialize)]
    enum Tree {
        Leaf,
        Node(Box<Tree>),
        List(Vec<Tree>),
        Pair(u8, Box<Tree>),
        Named { child: Option<Box<Tree>> },
        Wrapped(Box<Wrapper>),
    }

    #[derive(Debug, PartialEq, serde::Deserialize, Serialize)]
    struct Wrapper(Tree);

    /// On a thread, whose stack is smaller than that of the program.
    #[test]
    fn nesting_is_limited_for_reading_and_writing() {
        type Around = fn(Box<Tree>) -> Tree;
        let kinds: [(Around, usize); 5] = [
            (Tree::Node, 1),
            (|tree| Tree::List(vec![*tree]), 2),
            (|tree| Tree::Pair(0, tree), 2),
            (|tree| Tree::Named { child: Some(tree) }, 2),
            (|tree| Tree::Wrapped(Box::new(Wrapper(*tree))), 1),
        ];
        for (around, levels) in kinds {
            let nested = |n| (0..n).fold(Tree::Leaf, |tree, _| around(Box::new(tree)));
            let fits = nested(MAX_DEPTH / levels);
            let encoded = MessagePack.encode_value(&fits).expect("it isn't too deep");
            assert_eq!(MessagePack.decode_value(&encoded), Ok(fits));
            let too_deep = nested(MAX_DEPTH / levels + 1);
            assert_eq!(MessagePack.encode_value(&too_deep), Err(CodecError));
            let encoded = rmp_serde::to_vec_named(&too_deep).expect("it can be written");
            assert_eq!(MessagePack.decode_value::<Tree>(&encoded), Err(CodecError), "and not read");
        }
        // It isn't the number of levels, but how many are open.
        assert!(MessagePack.encode_value(&vec![[[0; 0]; 1]; 2 * MAX_DEPTH]).is_ok());
        assert!(MessagePack.encode_value(&"\u{1}".repeat(3 * MAX_DEPTH)).is_ok());
    }

    /// What begins a level, in all its forms.
    const OPENINGS: [&[u8]; 12] = [
        b"\x81\xA4Node",
        b"\x81\xA4List\x91",
        b"\x81\xA4Pair\x92\x00",
        b"\x81\xA5Named\x81\xA5child",
        b"\x81\xA7Wrapped",
        b"\xDE\x00\x01\xA4Node",
        b"\xDF\x00\x00\x00\x01\xD9\x04Node",
        b"\x91",
        b"\x81\xA1k",
        b"\x92\xC7\x02\x01\x91\x91",
        b"\xDC\x00\x01",
        b"\xDD\x00\x00\x00\x01",
    ];

    #[test]
    fn no_bytes_overflow_the_stack() {
        let opening = prop_oneof![Just(0..5_usize), Just(5..7), Just(0..12)];
        let cases = if cfg!(miri) { 4 } else { 256 };
        proptest!(Config { cases, failure_persistence: None, ..Config::default() }, |(
            pattern in opening.prop_flat_map(|kinds| collection::vec(kinds, 1..6)),
            levels in prop_oneof![0..300_usize, 10_000..20_000_usize],
            leaf in select(vec![&b"\xA4Leaf"[..], b"\xC0", b"\xC1", b""]),
            mutated in proptest::option::of((any::<Index>(), any::<u8>())),
        )| {
            let openings = pattern.iter().cycle().take(levels).map(|n| OPENINGS[*n]);
            let mut bytes = openings.collect::<Vec<_>>().concat();
            bytes.extend_from_slice(leaf);
            if let Some((at, byte)) = mutated && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = MessagePack.decode(&bytes);
            let _ = MessagePack.decode_value::<IgnoredAny>(&bytes);
            let _ = MessagePack.decode_value::<Option<Vec<Wrapper>>>(&bytes);
            if let Ok(value) = MessagePack.decode_value::<serde_json::Value>(&bytes) {
                let encoded = MessagePack.encode_value(&value).expect("it was read");
                assert_eq!(MessagePack.decode_value(&encoded), Ok(value));
            }
            if let Ok(tree) = MessagePack.decode_value::<Tree>(&bytes) {
                let encoded = MessagePack.encode_value(&tree).expect("it was read");
                assert_eq!(MessagePack.decode_value(&encoded), Ok(tree));
            }
        });
    }
}
