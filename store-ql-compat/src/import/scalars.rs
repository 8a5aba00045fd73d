//! Values, and how both formats encode numbers.

/// A value of a record, as far as an import reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Int(i64),
    /// A string of ql, which need not be UTF-8.
    Text(&'a [u8]),
    /// Bytes: in format 1 what every blob-like column holds, in format 2 a blob.
    Bytes(&'a [u8]),
    /// A time of format 2, as Go's `Time.MarshalBinary` returns it; empty for the zero time.
    Time(&'a [u8]),
    /// A value of a type that no column of a session has.
    Other,
}

/// Bytes that don't decode, and why.
pub(super) type Malformed = &'static str;

/// Takes this many bytes off the front.
pub(super) fn take<'a>(rest: &mut &'a [u8], count: u64) -> Result<&'a [u8], Malformed> {
    let count = usize::try_from(count).ok().filter(|count| *count <= rest.len());
    let (taken, remaining) =
        rest.split_at(count.ok_or("a value is longer than the record that it is in")?);
    *rest = remaining;
    Ok(taken)
}

/// An unsigned big-endian number of up to 8 bytes.
pub(super) fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Go's `binary.Uvarint`: seven bits a byte, the least significant first.
pub(super) fn uvarint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for place in 0..10 {
        let byte = take(rest, 1)?[0];
        if place == 9 && byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7F) << (7 * place);
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a variable-length number has more than 64 bits")
}

/// Go's `binary.Varint`: a [`uvarint`] whose lowest bit is the sign.
pub(super) fn varint(rest: &mut &[u8]) -> Result<i64, Malformed> {
    let number = uvarint(rest)?;
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        for (bytes, number) in [
            (&[0x00][..], 0),
            (&[0x01], -1),
            (&[0x02], 1),
            (&[0x80, 0x01], 64),
            (&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], i64::MIN),
            (&[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], i64::MAX),
        ] {
            let mut rest = bytes;
            assert_eq!(varint(&mut rest), Ok(number), "{bytes:?}");
            assert_eq!(rest, b"");
        }
        assert_eq!(uvarint(&mut &[0xAC, 0x02, 9][..]), Ok(300));
        for malformed in [
            &[][..],
            &[0x80],
            &[0x80; 11],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02],
        ] {
            assert!(uvarint(&mut &*malformed).is_err(), "{malformed:?}");
        }
    }
}
