//! Go's times: `Time.MarshalBinary`, and the gob message that format 1 wraps around it.

use chrono::{DateTime, Utc};

use super::scalars::{Malformed, big_endian, take};

/// Seconds from the first of January of the year 1, from which Go counts, to 1970.
const TO_UNIX_EPOCH: i64 = 62_135_596_800;

const MALFORMED: Malformed = "a time doesn't decode";

/// Decodes what `MarshalBinary` returns; no bytes stand for the zero time.
///
/// The offset from UTC at the end says only how Go would print it. Instants beyond those of
/// `chrono`, more than 260,000 years away, become the nearest of those.
pub(super) fn from_binary(bytes: &[u8]) -> Result<DateTime<Utc>, Malformed> {
    let seconds = match (bytes.first(), bytes.len()) {
        (None, _) => return Ok(instant(0, 0)),
        // The second version tells the offset to the second.
        (Some(1), 15) | (Some(2), 16) => big_endian(&bytes[1..9]).cast_signed(),
        _ => return Err(MALFORMED),
    };
    let nanoseconds = u32::from_be_bytes(bytes[9..13].try_into().expect("four bytes"));
    if nanoseconds >= 1_000_000_000 {
        return Err(MALFORMED);
    }
    Ok(instant(seconds, nanoseconds))
}

fn instant(seconds: i64, nanoseconds: u32) -> DateTime<Utc> {
    let since_epoch = seconds.saturating_sub(TO_UNIX_EPOCH);
    DateTime::from_timestamp(since_epoch, nanoseconds).unwrap_or(if since_epoch < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}

/// Decodes a time in a gob message (package `encoding/gob`, "Encoding Details").
///
/// The message begins with a number that stands for the type. It depends on the types that the
/// writing program had registered before, so it is skipped. Since ql 1.6 the zone's name follows
/// the message.
pub(super) fn from_gob(mut bytes: &[u8]) -> Result<DateTime<Utc>, Malformed> {
    let len = gob_number(&mut bytes)?;
    let mut message = take(&mut bytes, len)?;
    gob_number(&mut message)?;
    // A value that isn't a struct follows a zero.
    if gob_number(&mut message)? != 0 {
        return Err(MALFORMED);
    }
    let len = gob_number(&mut message)?;
    if len != message.len() as u64 || message.is_empty() {
        return Err(MALFORMED);
    }
    from_binary(message)
}

/// Decodes an unsigned number of gob: below 128 a byte, otherwise the count of its bytes, negated,
/// and these.
fn gob_number(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let first = take(rest, 1)?[0];
    if first < 0x80 {
        return Ok(u64::from(first));
    }
    let count = first.wrapping_neg();
    if count > 8 {
        return Err(MALFORMED);
    }
    Ok(big_endian(take(rest, u64::from(count))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2035-01-02T03:04:05.123456789Z, as a Go program encodes it.
    const BINARY: [u8; 15] =
        [1, 0, 0, 0, 0x0E, 0xF1, 0xD6, 0x9F, 0x25, 0x07, 0x5B, 0xCD, 0x15, 0xFF, 0xFF];

    fn gob(type_id: &[u8], binary: &[u8]) -> Vec<u8> {
        let len = |bytes: &[u8]| u8::try_from(bytes.len()).expect("short");
        let message = [type_id, &[0, len(binary)], binary].concat();
        [&[len(&message)], &message[..]].concat()
    }

    #[test]
    fn binary_form() -> Result<(), Malformed> {
        let expected = "2035-01-02T03:04:05.123456789+00:00";
        assert_eq!(from_binary(&BINARY)?.to_rfc3339(), expected);
        // The same with an offset of a day, which changes nothing, and in the second version.
        let mut offset = BINARY;
        offset[13..].copy_from_slice(&1440_i16.to_be_bytes());
        assert_eq!(from_binary(&offset)?.to_rfc3339(), expected);
        let mut second = [&BINARY[..], &[30]].concat();
        second[0] = 2;
        assert_eq!(from_binary(&second)?.to_rfc3339(), expected);
        assert_eq!(from_binary(&[])?.to_rfc3339(), "0001-01-01T00:00:00+00:00");

        let mut billion = BINARY;
        billion[9..13].copy_from_slice(&1_000_000_000_u32.to_be_bytes());
        let mut version = BINARY;
        version[0] = 3;
        for malformed in [&billion[..], &version, &BINARY[..14], &second[..15], &[1]] {
            assert!(from_binary(malformed).is_err(), "{malformed:?}");
        }
        Ok(())
    }

    #[test]
    fn instants_beyond_chronos_become_the_nearest() -> Result<(), Malformed> {
        for (seconds, nearest) in
            [(i64::MIN, DateTime::<Utc>::MIN_UTC), (i64::MAX, DateTime::<Utc>::MAX_UTC)]
        {
            let mut binary = BINARY;
            binary[1..9].copy_from_slice(&seconds.to_be_bytes());
            assert_eq!(from_binary(&binary)?, nearest);
        }
        Ok(())
    }

    #[test]
    fn gob_ignores_the_type_and_what_follows() -> Result<(), Malformed> {
        let expected = from_binary(&BINARY)?;
        for type_id in [&[0xFF, 0x88][..], &[0x22], &[0xFE, 0x01, 0x02]] {
            assert_eq!(from_gob(&gob(type_id, &BINARY))?, expected);
        }
        let zoned = [&gob(&[0x22], &BINARY)[..], b"Europe/Berlin"].concat();
        assert_eq!(from_gob(&zoned)?, expected);

        let whole = gob(&[0xFF, 0x88], &BINARY);
        for cut in 0..whole.len() {
            assert!(from_gob(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(from_gob(&gob(&[0x22], &[])).is_err());
        Ok(())
    }
}
