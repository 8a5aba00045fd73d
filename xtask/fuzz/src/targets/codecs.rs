//! The codecs: whatever the bytes are, what decodes can be encoded, and decodes again to the same.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Datelike;
use serde_json::Value;
use session_manager::{Codec, CodecError, Decoded, Json, MessagePack};

use super::no_seeds;
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "codecs",
    words: &[
        br#"{"v":1,"deadline":"2026-11-21T15:30:00Z","values":{"#,
        br#""values":{}"#,
        br#""deadline":"#,
        br#""v":"#,
        br#""\u0000":"#,
        br#""\ud83d\ude00":"#,
        br#""9999-12-31T23:59:59.999999999-23:59""#,
        br#""0000-01-01T00:00:00+23:59""#,
        br#""2016-12-31T23:59:60Z""#,
        b"1e999",
        b"-0.0",
        b"18446744073709551616",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b"\x83\xA1v\x01\xA8deadline\xCF\x00\x06\x4E\x2C\x31\xC0\x6E\x40\xA6values\x81\xA1k\xC4",
        b"\xA1v",
        b"\xA8deadline",
        b"\xA6values",
        b"\xC4\x04",
        b"\xC6\xFF\xFF\xFF\xFF",
        b"\xDD\xFF\xFF\xFF\xFF",
        b"\xDF\xFF\xFF\xFF\xFF",
        b"\xDB\xFF\xFF\xFF\xFF",
        b"\x91",
        b"\x81\xA1a",
        b"\xD3\x80\x00\x00\x00\x00\x00\x00\x00",
        b"\xCB\x7F\xF8\x00\x00\x00\x00\x00\x00",
        b"\xC7\x05\xFF",
    ],
    seeds: no_seeds,
    max_len: 64 * 1024,
    // A list of empty values is 32 bytes of memory for one of input, and grows by copying; and
    // serde reserves up to 1 MiB for what the input claims to have.
    max_memory: |len| (4 << 20) + 256 * len,
    test,
};

fn test(input: &[u8]) -> String {
    let json = session(&Json, input);
    let messagepack = session(&MessagePack, input);
    let values = [value(&Json, input), value(&MessagePack, input)];
    format!("{json}, {messagepack}, {values:?}")
}

/// Decodes a session and all its values, encodes them, and decodes them again.
fn session<C: Codec>(codec: &C, input: &[u8]) -> String {
    let Ok(decoded) = codec.decode(input) else { return "no session".to_owned() };
    let values = values(&decoded, input);
    let encode = |decoded: &Decoded| {
        codec.encode(decoded.deadline, &mut values.iter().map(|(key, value)| (&**key, *value)))
    };
    let encoded = match encode(&decoded) {
        Ok(encoded) => encoded,
        // A deadline that only an offset from UTC can write in four digits.
        Err(CodecError) if !(0..=9_999).contains(&decoded.deadline.year()) => {
            return "a deadline that can't be encoded".to_owned();
        }
        Err(CodecError) => panic!("what was decoded can't be encoded"),
    };
    let again = codec.decode(&encoded).expect("what was encoded decodes");
    assert_eq!(self::values(&again, &encoded), values);
    let micros = |decoded: &Decoded| decoded.deadline.timestamp_micros();
    assert_eq!(micros(&again), micros(&decoded));
    assert_eq!(encode(&again).as_deref(), Ok(&*encoded));
    let kinds: BTreeSet<_> =
        values.iter().map(|(_, bytes)| format!("{:?}", value(codec, bytes))).collect();
    format!("{} values, {} kinds", values.len().min(3), kinds.len())
}

/// Keys and values in their order. No key is there twice.
fn values<'d>(decoded: &Decoded, input: &'d [u8]) -> Vec<(String, &'d [u8])> {
    let keys: BTreeSet<_> = decoded.values.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), decoded.values.len(), "a key is there twice");
    let value = |(key, range): &(String, std::ops::Range<usize>)| {
        (key.clone(), input.get(range.clone()).expect("the range is within the data"))
    };
    decoded.values.iter().map(value).collect()
}

/// Decodes a value as types that applications have; those that decode, encode to the same again.
fn value<C: Codec>(codec: &C, bytes: &[u8]) -> [bool; 8] {
    [
        again::<C, Value>(codec, bytes),
        again::<C, String>(codec, bytes),
        again::<C, i64>(codec, bytes),
        again::<C, u128>(codec, bytes),
        again::<C, Option<bool>>(codec, bytes),
        again::<C, Vec<Vec<u8>>>(codec, bytes),
        again::<C, BTreeMap<String, Option<(u8, char)>>>(codec, bytes),
        number(codec, bytes),
    ]
}

fn again<C, T>(codec: &C, bytes: &[u8]) -> bool
where
    C: Codec,
    T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    let value: T = match codec.decode_value(bytes) {
        Ok(value) => value,
        Err(CodecError) => return false,
    };
    let encoded = codec.encode_value(&value).expect("what was decoded can be encoded");
    let decoded: T = codec.decode_value(&encoded).expect("what was encoded decodes");
    assert_eq!(decoded, value);
    true
}

/// Every float comes back, bit for bit; JSON has only those that are finite.
fn number<C: Codec>(codec: &C, bytes: &[u8]) -> bool {
    let Ok(value) = codec.decode_value::<f64>(bytes) else { return false };
    let encoded = codec.encode_value(&value).expect("a number");
    let decoded: f64 = codec.decode_value(&encoded).expect("what was encoded decodes");
    assert_eq!(decoded.to_bits(), value.to_bits(), "{value}");
    true
}
