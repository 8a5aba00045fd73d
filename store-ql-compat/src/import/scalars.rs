//! The values that both formats put into records, and the numbers that they are made of.

use super::QlFormat;
use super::{v1, v2};

/// A value, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Int(i64),
    /// A string of ql, which need not be UTF-8.
    Text(&'a [u8]),
    /// Bytes: in format 1 what every blob-like column holds, in format 2 a blob.
    Bytes(&'a [u8]),
    /// A time of format 2, as Go's `Time.MarshalBinary` gives it; empty for the zero time.
    Time(&'a [u8]),
    /// A value of a type that no column of ours has.
    Other,
}

/// Bytes that don't decode, and why.
pub(super) type Malformed = &'static str;

/// The values of a record, one after the other; after malformed ones nothing follows.
#[derive(Clone, Debug)]
pub(super) struct Values<'a> {
    format: QlFormat,
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    pub(super) fn of(format: QlFormat, content: &'a [u8]) -> Self {
        Self { format, rest: content }
    }

    /// How many bytes follow the value that was given last.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The values, where there are exactly `N`.
    pub(super) fn exactly<const N: usize>(self) -> Result<[Value<'a>; N], Malformed> {
        const MISCOUNTED: Malformed = "a record has too few or too many values";
        let mut values = [Value::Null; N];
        let mut count = 0;
        for value in self {
            *values.get_mut(count).ok_or(MISCOUNTED)? = value?;
            count += 1;
        }
        if count == N { Ok(values) } else { Err(MISCOUNTED) }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Value<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.rest.split_first()?;
        self.rest = rest;
        let value = match self.format {
            QlFormat::V1 => v1::scalar(tag, &mut self.rest),
            QlFormat::V2 => v2::value(tag, &mut self.rest),
        };
        if value.is_err() {
            self.rest = &[];
        }
        Some(value)
    }
}

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

    #[test]
    fn exactly_counts() {
        let values = Values::of(QlFormat::V1, &[0x00, 0x55 + 7]);
        assert_eq!(values.clone().exactly(), Ok([Value::Null, Value::Int(7)]));
        assert!(values.clone().exactly::<1>().is_err());
        assert!(values.exactly::<3>().is_err());
    }
}
