//! Sessions as MessagePack.

use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::de::{Deserialize, DeserializeOwned, IgnoredAny};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::codec::envelope::{Envelope, VERSION, range_in};
use crate::codec::{Codec, CodecError, Decoded};

/// MessagePack: smaller than [`Json`](crate::Json), and exact for bytes and for numbers that JSON
/// can't represent. Values nest at most 128 levels deep.
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
        // Each level is a byte at least. What nests deeper could never be read again.
        if encoded.len() > MAX_DEPTH {
            read::<IgnoredAny>(&encoded)?;
        }
        Ok(encoded)
    }
}

/// How deep values may nest, as in JSON. The limit of `rmp_serde` is 1,024, at which a recursive
/// type overflows the 2 MiB that the stacks of threads have.
const MAX_DEPTH: usize = 128;

fn read<'d, T: Deserialize<'d>>(data: &'d [u8]) -> Result<T, CodecError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(data);
    deserializer.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut deserializer).map_err(|_| CodecError)
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

    /// On a thread, whose stack is smaller than that of the program.
    #[test]
    fn nesting_is_limited_for_reading_and_writing() {
        let nested = |levels| (0..levels).fold(serde_json::Value::Null, |value, _| [value].into());
        let fits = nested(100);
        let encoded = MessagePack.encode_value(&fits).expect("it isn't too deep");
        assert_eq!(MessagePack.decode_value(&encoded), Ok(fits));
        assert_eq!(MessagePack.encode_value(&nested(500)), Err(CodecError));
        let too_deep = [&[0x91; 1_020][..], &[0xC0]].concat();
        assert_eq!(MessagePack.decode_value::<serde_json::Value>(&too_deep), Err(CodecError));
    }
}
