//! The bytes of keys and values.
//!
//! `docs/guide.md` describes the same byte by byte, for people who read a file without this crate.
//! Keys and values are plain bytes in all tables, because redb trusts its typed values: a damaged
//! string would be a panic, and a damaged byte string is an error of this crate.

use chrono::{DateTime, Utc};
use redb::Error as RedbError;

/// The length of an [`Instant`].
const INSTANT_LEN: usize = 12;

/// An instant in 12 bytes, whose order is the order in time; see [`to_instant`].
pub(super) type Instant = [u8; INSTANT_LEN];

/// Returns the bytes of an instant: seconds since 1970 with the sign bit flipped, then nanoseconds
/// of the second, both with the highest byte first, so that bytes compare as instants do. Every
/// `DateTime<Utc>` has its own, a leap second's too.
pub(super) fn to_instant(utc: DateTime<Utc>) -> Instant {
    let mut bytes = [0; INSTANT_LEN];
    let seconds = utc.timestamp().cast_unsigned() ^ (1 << 63);
    bytes[..8].copy_from_slice(&seconds.to_be_bytes());
    bytes[8..].copy_from_slice(&utc.timestamp_subsec_nanos().to_be_bytes());
    bytes
}

/// Returns the instant that 12 bytes of the file mean.
pub(super) fn to_utc(bytes: Instant) -> Result<DateTime<Utc>, RedbError> {
    let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = bytes;
    let seconds = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]) ^ (1 << 63);
    let nanoseconds = u32::from_be_bytes([n0, n1, n2, n3]);
    DateTime::from_timestamp(seconds.cast_signed(), nanoseconds)
        .ok_or_else(|| RedbError::Corrupted("an expiry is no instant".to_owned()))
}

/// Returns a value of the sessions, or a key that begins with an instant.
pub(super) fn join(instant: Instant, rest: &[u8]) -> Vec<u8> {
    [&instant, rest].concat()
}

/// Undoes [`join`].
pub(super) fn split(joined: &[u8]) -> Result<(Instant, &[u8]), RedbError> {
    joined
        .split_first_chunk()
        .map(|(instant, rest)| (*instant, rest))
        .ok_or_else(|| RedbError::Corrupted("a row is shorter than its expiry".to_owned()))
}

/// Returns a token or a subject of the file as text, which it is unless the file is damaged.
pub(super) fn to_text(token: &[u8]) -> Result<&str, RedbError> {
    str::from_utf8(token)
        .map_err(|_| RedbError::Corrupted("a token or a subject is no text".to_owned()))
}

/// Returns what all keys of a subject begin with. Its length comes first, so that no subject is the
/// beginning of another; the longest has 255 bytes, which callers check.
pub(super) fn subject_prefix(subject: &[u8]) -> Vec<u8> {
    let len = u8::try_from(subject.len()).unwrap_or(u8::MAX);
    [&[len], subject].concat()
}

/// Returns the key of a rotation by its newest token, or, for an empty old token, what all keys of
/// that newest token begin with. Its length comes first, so that none is the beginning of another.
/// Tokens are far shorter than four bytes can say.
pub(super) fn newest_key(newest: &[u8], old: &[u8]) -> Vec<u8> {
    let len = u32::try_from(newest.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes(), newest, old].concat()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn instants_are_documented_bytes() -> Result<(), RedbError> {
        let leap: DateTime<Utc> = "2016-12-31T23:59:60.5Z".parse().expect("an instant");
        for (utc, bytes) in [
            (DateTime::UNIX_EPOCH, [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (
                DateTime::UNIX_EPOCH - TimeDelta::nanoseconds(1),
                [0x7F, 255, 255, 255, 255, 255, 255, 255, 0x3B, 0x9A, 0xC9, 0xFF],
            ),
            (leap, [0x80, 0, 0, 0, 0x58, 0x68, 0x46, 0x7F, 0x59, 0x68, 0x2F, 0]),
        ] {
            assert_eq!(to_instant(utc), bytes, "{utc}");
            assert_eq!(to_utc(bytes)?, utc);
        }
        for extreme in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert_eq!(to_utc(to_instant(extreme))?, extreme);
        }
        assert!(to_utc([255; INSTANT_LEN]).is_err());
        assert!(split(&[0; INSTANT_LEN - 1]).is_err());
        Ok(())
    }

    proptest! {
        #[test]
        fn bytes_compare_as_instants_do(
            a in -8_334_601_228_800_i64..8_210_266_876_799, b in -100_i64..100,
            nanos in [0..1_000_000_000_u32, 0..1_000_000_000],
        ) {
            let first = DateTime::from_timestamp(a, nanos[0]).expect("in range");
            let near = (a + b).clamp(-8_334_601_228_800, 8_210_266_876_799);
            let second = DateTime::from_timestamp(near, nanos[1]).expect("in range");
            prop_assert_eq!(first.cmp(&second), to_instant(first).cmp(&to_instant(second)));
            prop_assert_eq!(to_utc(to_instant(first)).expect("it is one"), first);
        }
    }
}
