//! How a session becomes bytes.

pub(crate) mod envelope;

#[cfg(feature = "messagepack")]
pub(crate) mod messagepack;

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::codec::envelope::{Form, VERSION};

/// The form of a session's bytes: a deadline and values under keys.
///
/// Values stay encoded until they are asked for: [`decode`](Self::decode) finds only their places. An
/// implementation never puts a value into an error.
///
/// [`Json`] is the default, `MessagePack` a feature; an application can bring its own, for example to
/// encrypt.
pub trait Codec: fmt::Debug + Send + Sync {
    /// Finds the deadline, and the place of each value, in stored bytes.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are not of this form, or of a newer version. The session is then
    /// reported as undecodable.
    fn decode(&self, data: &[u8]) -> Result<Decoded, CodecError>;

    /// The bytes of a session, from encoded values.
    ///
    /// # Errors
    /// [`CodecError`] if they can't be put into this form.
    fn encode(
        &self,
        deadline: DateTime<Utc>,
        values: &mut dyn Iterator<Item = (&str, &[u8])>,
    ) -> Result<Vec<u8>, CodecError>;

    /// Decodes one value.
    ///
    /// # Errors
    /// [`CodecError`] if it is of another type.
    fn decode_value<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, CodecError>;

    /// Encodes one value.
    ///
    /// # Errors
    /// [`CodecError`] if its type can't be put into this form.
    fn encode_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError>;
}

/// What a [`Codec`] finds in stored bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// When the session ends, however much it is used.
    pub deadline: DateTime<Utc>,
    /// The keys, in their order, and where in the bytes the values are.
    pub values: Vec<(String, Range<usize>)>,
}

/// Bytes or values that are not in a codec's form. It says nothing of their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecError;

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not in the codec's form")
    }
}

impl StdError for CodecError {}

/// JSON: `{"v":1,"deadline":"2026-11-21T15:30:00.000000Z","values":{"visits":3}}`.
///
/// `v` is the version of the form; data with a greater one is refused. `deadline` is an RFC 3339 timestamp.
/// `docs/from-scs.md` has a Go codec for the same form.
///
/// # Examples
/// ```
/// use chrono::DateTime;
/// use session_manager::{Codec, CodecError, Json};
///
/// let visits = Json.encode_value(&3_u32)?;
/// let data = Json.encode(DateTime::UNIX_EPOCH, &mut [("visits", &*visits)].into_iter())?;
/// assert_eq!(data, br#"{"v":1,"deadline":"1970-01-01T00:00:00.000000Z","values":{"visits":3}}"#);
/// # Ok::<(), CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Codec for Json {
    fn decode(&self, data: &[u8]) -> Result<Decoded, CodecError> {
        let form: Form<&str, &RawValue> = serde_json::from_slice(data).map_err(|_| CodecError)?;
        let deadline = DateTime::parse_from_rfc3339(form.deadline).map_err(|_| CodecError)?;
        let values =
            form.values.into_iter().map(|(key, value)| (key, place(data, value.get().as_bytes())));
        Ok(Decoded { deadline: deadline.to_utc(), values: values.collect() })
    }

    fn encode(
        &self,
        deadline: DateTime<Utc>,
        values: &mut dyn Iterator<Item = (&str, &[u8])>,
    ) -> Result<Vec<u8>, CodecError> {
        // The values are JSON already, so this puts them together without reading them again.
        let deadline = deadline.to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut data =
            format!(r#"{{"v":{VERSION},"deadline":"{deadline}","values":{{"#).into_bytes();
        for (n, (key, value)) in values.enumerate() {
            if n > 0 {
                data.push(b',');
            }
            serde_json::to_writer(&mut data, key).map_err(|_| CodecError)?;
            data.push(b':');
            data.extend_from_slice(value);
        }
        data.extend_from_slice(b"}}");
        Ok(data)
    }

    fn decode_value<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, CodecError> {
        // serde's message would quote the value.
        serde_json::from_slice(value).map_err(|_| CodecError)
    }

    fn encode_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        serde_json::to_vec(value).map_err(|_| CodecError)
    }
}

/// Where in the data a part of it is.
pub(crate) fn place(data: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - data.as_ptr() as usize;
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Result<Vec<(String, String)>, CodecError> {
        let decoded = Json.decode(json.as_bytes())?;
        let values = decoded.values.into_iter();
        Ok(values.map(|(key, place)| (key, json[place].to_owned())).collect())
    }

    #[test]
    fn values_are_found_where_they_are() -> Result<(), CodecError> {
        let json = r#" {"values": {"a": [1, {"b": "}"}], "ü\n": "x,y", "a": null},
            "other": 1, "deadline": "2026-11-21T17:30:00+02:00", "v": 1} "#;
        assert_eq!(
            decode(json)?,
            [("a".to_owned(), "null".to_owned()), ("ü\n".to_owned(), r#""x,y""#.to_owned())]
        );
        let deadline = Json.decode(json.as_bytes())?.deadline;
        assert_eq!(deadline.to_rfc3339(), "2026-11-21T15:30:00+00:00");
        Ok(())
    }

    #[test]
    fn of_several_values_with_one_key_the_last_one_counts_however_many_keys_there_are()
    -> Result<(), CodecError> {
        for count in [2, 63, 64, 65, 500] {
            let keys = || (0..count).map(|n| format!("k{n}"));
            let mut members: Vec<_> = keys().map(|key| format!("{key:?}:1")).collect();
            members.extend(keys().step_by(7).map(|key| format!("{key:?}:2")));
            let values = members.join(",");
            let json =
                format!(r#"{{"v":1,"deadline":"2026-11-21T15:30:00Z","values":{{{values}}}}}"#);
            let expected: Vec<_> = keys()
                .enumerate()
                .map(|(n, key)| (key, if n % 7 == 0 { "2" } else { "1" }.to_owned()))
                .collect();
            assert_eq!(decode(&json)?, expected);
        }
        Ok(())
    }

    #[test]
    fn what_is_not_a_session_is_an_error() {
        for json in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"v":1,"deadline":"2026-11-21T15:30:00Z"}"#,
            r#"{"v":1,"values":{}}"#,
            r#"{"deadline":"2026-11-21T15:30:00Z","values":{}}"#,
            r#"{"v":1,"v":1,"deadline":"2026-11-21T15:30:00Z","values":{}}"#,
            r#"[1,"2026-11-21T15:30:00Z",{}]"#,
            r#"{"v":1,"deadline":"soon","values":{}}"#,
            r#"{"v":2,"deadline":"2026-11-21T15:30:00Z","values":{}}"#,
            r#"{"v":1,"deadline":"2026-11-21T15:30:00Z","values":[]}"#,
            r#"{"v":1,"deadline":"2026-11-21T15:30:00Z","values":{}} trailing"#,
            r#"{"v":1,"deadline":"2026-11-21T15:30:00Z","values":{"#,
        ] {
            assert_eq!(decode(json), Err(CodecError), "{json}");
        }
        assert_eq!(Json.decode(b"\xff\xfe\0"), Err(CodecError));
    }

    #[test]
    fn floats_come_back_as_they_were() -> Result<(), CodecError> {
        for number in [9_679.883_051_119_203, 0.1, f64::MIN_POSITIVE, f64::MAX, -0.0] {
            let decoded: f64 = Json.decode_value(&Json.encode_value(&number)?)?;
            assert_eq!(decoded.to_bits(), number.to_bits(), "{number}");
        }
        Ok(())
    }

    #[test]
    fn errors_do_not_quote_values() {
        let value = Json.encode_value("hunter2").expect("a string");
        let error = Json.decode_value::<u32>(&value).expect_err("it is no number");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
