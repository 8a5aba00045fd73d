//! Sessions as JSON.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::codec::envelope::{Envelope, VERSION, range_in};
use crate::codec::finite::FiniteFloats;
use crate::codec::{Codec, CodecError, Decoded, OpenError, Row};
use crate::error::Error;

/// JSON: `{"v":1,"deadline":"2026-11-21T15:30:00.000000Z","values":{"visits":3}}`.
///
/// Values nest at most 127 levels deep, and floats are finite: what couldn't be read again is
/// refused when it is put into the session.
///
/// `v` is the version of the format; data with a greater one is refused. `deadline` is an RFC 3339
/// timestamp. The guide [`from_scs`](crate::guide::from_scs) has a Go codec for the same format.
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
    fn open<'d>(&self, _: &Row<'_>, data: &'d [u8]) -> Result<Cow<'d, [u8]>, OpenError> {
        Ok(Cow::Borrowed(data))
    }

    fn seal(&self, _: &Row<'_>, encoded: Vec<u8>) -> Result<Vec<u8>, Error> {
        Ok(encoded)
    }

    fn decode(&self, data: &[u8]) -> Result<Decoded, CodecError> {
        // Checked as a whole, which is quicker than string by string.
        let json = str::from_utf8(data).map_err(|_| CodecError)?;
        let envelope: Envelope<&str, &RawValue> =
            serde_json::from_str(json).map_err(|_| CodecError)?;
        let deadline = DateTime::parse_from_rfc3339(envelope.deadline).map_err(|_| CodecError)?;
        let values = envelope.values.into_iter();
        let values = values.map(|(key, value)| (key, range_in(data, value.get().as_bytes())));
        Ok(Decoded { deadline: deadline.to_utc(), values: values.collect() })
    }

    fn encode(
        &self,
        deadline: DateTime<Utc>,
        values: &mut dyn Iterator<Item = (&str, &[u8])>,
    ) -> Result<Vec<u8>, CodecError> {
        // RFC 3339 has four digits for a year.
        if !(0..=9_999).contains(&deadline.year()) {
            return Err(CodecError);
        }
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
        let encoded = serde_json::to_vec(value).map_err(|_| CodecError)?;
        if depth(&encoded) > MAX_DEPTH {
            return Err(CodecError);
        }
        // A float that isn't finite is written as null, as are other things.
        if encoded.windows(4).any(|bytes| bytes == b"null") {
            value.serialize(FiniteFloats).map_err(|_| CodecError)?;
        }
        Ok(encoded)
    }
}

/// How deep values may nest: `serde_json` refuses to read what is deeper.
const MAX_DEPTH: usize = 127;

/// Returns how deep JSON nests.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut is_string) = (0_usize, 0, false);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => is_string = !is_string,
            // The next byte is escaped.
            b'\\' => drop(bytes.next()),
            b'[' | b'{' if !is_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    fn decode(json: &str) -> Result<Vec<(String, String)>, CodecError> {
        let decoded = Json.decode(json.as_bytes())?;
        let values = decoded.values.into_iter();
        Ok(values.map(|(key, range)| (key, json[range].to_owned())).collect())
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
        // Miri takes a minute for 500.
        let many = if cfg!(miri) { 70 } else { 500 };
        for count in [2, 63, 64, 65, many] {
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

    /// With its offset a deadline can be in a year that has no four digits.
    #[test]
    fn deadline_that_would_not_decode_again_is_not_encoded() -> Result<(), CodecError> {
        for (deadline, is_encoded) in [
            ("9999-12-31T23:59:59-00:01", false),
            ("9999-12-31T23:59:59+00:00", true),
            ("0000-01-01T00:00:00+00:00", true),
            ("0000-01-01T00:00:00+00:01", false),
        ] {
            let json = format!(r#"{{"v":1,"deadline":"{deadline}","values":{{}}}}"#);
            let decoded = Json.decode(json.as_bytes())?;
            let encoded = Json.encode(decoded.deadline, &mut std::iter::empty());
            assert_eq!(encoded.is_ok(), is_encoded, "{deadline}");
            if let Ok(data) = encoded {
                assert_eq!(Json.decode(&data)?, Decoded { values: Vec::new(), ..decoded });
            }
        }
        Ok(())
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
    fn nesting_is_limited_for_reading_and_writing() {
        let nested = |levels| {
            (0..levels).fold(Value::from("[{\\\"["), |value, level| match level % 2 {
                0 => Value::Array(vec![value]),
                _ => Value::Object([("[]]".to_owned(), value)].into_iter().collect()),
            })
        };
        let fits = nested(MAX_DEPTH);
        let encoded = Json.encode_value(&fits).expect("it isn't too deep");
        assert_eq!(Json.decode_value(&encoded), Ok(fits));
        let too_deep = nested(MAX_DEPTH + 1);
        let encoded = serde_json::to_vec(&too_deep).expect("it can be written");
        assert_eq!(Json.decode_value::<Value>(&encoded), Err(CodecError), "and not read");
        assert_eq!(Json.encode_value(&too_deep), Err(CodecError));
        let raw = RawValue::from_string(too_deep.to_string()).expect("it is JSON");
        assert_eq!(Json.encode_value(&raw), Err(CodecError));
        // It isn't the number of brackets.
        let wide = vec![[0; 0]; 2 * MAX_DEPTH];
        assert!(Json.encode_value(&wide).is_ok());
        assert!(Json.encode_value(&"[".repeat(3 * MAX_DEPTH)).is_ok());
    }

    /// Floats in each place that a value has for them, and nothing beside them.
    #[derive(Clone, Serialize)]
    enum Places {
        Newtype(f64),
        Tuple(u8, f64),
        Struct { some: Option<f64>, none: Option<f64> },
        Single(f32),
        Newer(Newer),
        Pair(Pair),
        Unit(()),
        List(Vec<f64>),
        Array([f64; 2]),
        Map(BTreeMap<String, f64>),
        Named(Named),
    }

    #[derive(Clone, Serialize)]
    struct Newer(f64);

    #[derive(Clone, Serialize)]
    struct Pair(f64, f64);

    #[derive(Clone, Serialize)]
    struct Named {
        ratio: f64,
    }

    #[test]
    fn floats_that_json_does_not_have_are_refused_wherever_they_are() {
        let places = |float: f64| {
            [
                Places::Newtype(float),
                Places::Tuple(0, float),
                Places::Struct { some: Some(float), none: None },
                #[expect(clippy::cast_possible_truncation, reason = "it is zero or not finite")]
                Places::Single(float as f32),
                Places::Newer(Newer(float)),
                Places::Pair(Pair(0.0, float)),
                Places::List(vec![0.0, float]),
                Places::Array([0.0, float]),
                Places::Map([("null".to_owned(), float)].into_iter().collect()),
                Places::Named(Named { ratio: float }),
            ]
        };
        for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for (place, finite) in places(float).into_iter().zip(places(0.0)) {
                let written = serde_json::to_string(&place).expect("as null");
                assert_eq!(Json.encode_value(&place), Err(CodecError), "{written}");
                // Other nulls are none.
                let with_nulls = (finite, Places::Unit(()), None::<f64>);
                assert!(Json.encode_value(&with_nulls).is_ok(), "{written}");
            }
            assert_eq!(Json.encode_value(&float), Err(CodecError));
            assert_eq!(Json.encode_value(&[(float.to_bits(), float)]), Err(CodecError));
        }
        let text = "null".to_owned();
        assert_eq!(Json.encode_value(&text).map(|json| Json.decode_value(&json)), Ok(Ok(text)));
    }

    #[test]
    fn errors_do_not_quote_values() {
        let value = Json.encode_value("hunter2").expect("a string");
        let error = Json.decode_value::<u32>(&value).expect_err("it is no number");
        assert_eq!(error.to_string(), "not in the codec's format");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
