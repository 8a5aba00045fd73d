//! Format 2: records on `modernc.org/file`, as ql's `file2.go` and `encode2.go` write them.

use super::error::ImportError;
use super::file::Source;
use super::scalars::{Malformed, Value, take, uvarint, varint};

/// Where the block of handle 1 begins: after the header of the allocator and that of its first
/// page.
const BASE: u64 = 256 + 48;

/// Blocks begin at multiples of this, counted from [`BASE`].
const ALIGN: u64 = 16;

/// Returns where the block of a handle begins.
pub(super) fn offset_of(handle: i64) -> Option<u64> {
    u64::try_from(handle.checked_sub(1)?).ok()?.checked_mul(ALIGN)?.checked_add(BASE)
}

/// Reads the record that begins here. Returns its content, and where that is: elsewhere, if it has
/// outgrown its block.
pub(super) fn read(
    source: &mut Source,
    offset: u64,
    max_len: usize,
) -> Result<(u64, Vec<u8>), ImportError> {
    let (mut len, mut start) = length_at(source, offset)?;
    let mut offset = offset;
    if len < 0 {
        offset = len.unsigned_abs();
        (len, start) = length_at(source, offset)?;
    }
    let len = u64::try_from(len)
        .map_err(|_| ImportError::Damaged { offset, what: "a record has moved twice" })?;
    // Blocks of up to 16 bytes were charged with their length.
    source.charge(offset, (start - offset + len).saturating_sub(ALIGN))?;
    if source.remaining(start) < len {
        return Err(ImportError::Damaged { offset, what: "a record is longer than the file" });
    }
    match usize::try_from(len) {
        Ok(len) if len <= max_len => {
            let mut content = vec![0; len];
            source.read(start, &mut content)?;
            Ok((offset, content))
        }
        _ => Err(ImportError::RowTooLarge { offset, max: max_len }),
    }
}

/// Returns the number before a record, and where the record begins.
fn length_at(source: &mut Source, offset: u64) -> Result<(i64, u64), ImportError> {
    source.charge(offset, ALIGN)?;
    let mut head = [0; 10];
    // A record at the very end of the file can be shorter than the longest number.
    let available = source.remaining(offset).clamp(1, head.len() as u64);
    let head = &mut head[..usize::try_from(available).expect("at most 10")];
    source.read(offset, head)?;
    let mut rest = &*head;
    let len = varint(&mut rest).map_err(|what| ImportError::Damaged { offset, what })?;
    Ok((len, offset + (head.len() - rest.len()) as u64))
}

/// Decodes the value whose tag was taken off.
pub(super) fn value<'a>(tag: u8, rest: &mut &'a [u8]) -> Result<Value<'a>, Malformed> {
    let prefixed = |rest: &mut &'a [u8]| -> Result<&'a [u8], Malformed> {
        let len = uvarint(rest)?;
        take(rest, len)
    };
    Ok(match tag {
        0 => Value::Null,
        1 | 3 => {
            prefixed(rest)?;
            Value::Other
        }
        5 => Value::Bytes(prefixed(rest)?),
        6 => Value::Bytes(&[]),
        7 | 8 => {
            uvarint(rest)?;
            uvarint(rest)?;
            Value::Other
        }
        9 | 14 | 16 | 20 => {
            varint(rest)?;
            Value::Other
        }
        11 | 12 | 27 | 29 | 31 | 33 => {
            uvarint(rest)?;
            Value::Other
        }
        2 | 4 | 10 | 13 | 15 | 17 | 21 | 26 | 28 | 30 | 32 | 34 => Value::Other,
        18 => Value::Int(varint(rest)?),
        19 => Value::Int(0),
        22 => Value::Text(prefixed(rest)?),
        23 => Value::Text(&[]),
        24 => Value::Time(prefixed(rest)?),
        25 => Value::Time(&[]),
        35 => {
            // Since ql 1.6 the name of the zone follows, which doesn't change the instant.
            let time = prefixed(rest)?;
            prefixed(rest)?;
            Value::Time(time)
        }
        _ => return Err("a value has a tag that ql doesn't know"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(mut rest: &[u8]) -> Result<Vec<Value<'_>>, Malformed> {
        let mut values = Vec::new();
        while let Some((&tag, after)) = rest.split_first() {
            rest = after;
            values.push(value(tag, &mut rest)?);
        }
        Ok(values)
    }

    #[test]
    fn values_decode() {
        let encoded = [
            0, 1, 1, 9, 3, 1, 9, 5, 2, 7, 8, 6, 7, 1, 1, 9, 3, 12, 1, 13, 26, 14, 2, 18, 3, 19, 22,
            1, b'x', 23, 24, 1, 1, 25, 35, 1, 1, 3, b'U', b'T', b'C', 31, 0xAC, 2, 34,
        ];
        let values: Vec<_> = decode(&encoded)
            .expect("well formed")
            .into_iter()
            .filter(|value| *value != Value::Other)
            .collect();
        assert_eq!(
            values,
            [
                Value::Null,
                Value::Bytes(&[7, 8]),
                Value::Bytes(&[]),
                Value::Int(-2),
                Value::Int(0),
                Value::Text(b"x"),
                Value::Text(&[]),
                Value::Time(&[1]),
                Value::Time(&[]),
                Value::Time(&[1]),
            ]
        );
        for malformed in [&[36][..], &[5], &[5, 2, 1], &[35, 1, 1], &[18], &[7, 1]] {
            assert!(decode(malformed).is_err(), "{malformed:?}");
        }
    }

    #[test]
    fn handles_have_places() {
        assert_eq!(offset_of(1), Some(304));
        assert_eq!(offset_of(2), Some(320));
        for nowhere in [i64::MIN, -1, 0, i64::MAX] {
            assert_eq!(offset_of(nowhere), None);
        }
    }
}
