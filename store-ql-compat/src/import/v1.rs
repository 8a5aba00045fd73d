//! Format 1: the records of `modernc.org/lldb`, and the scalars in them.
//!
//! Blocks are described in lldb's `falloc.go`, scalars in its `gb.go`, and the compression in
//! `modernc.org/zappy`.

use super::error::ImportError;
use super::file::Source;
use super::scalars::{Malformed, Value, big_endian, take, uvarint, varint};

/// Where the block of handle 0 would be, in the file: after ql's header of 16 bytes and the table
/// of the free lists, of 14 times 8.
const BASE: u64 = 16 + 14 * 8 - ATOM;

/// Blocks begin at multiples of this, counted from [`BASE`], and are as long as multiples of it.
const ATOM: u64 = 16;

/// The largest content of a block, before compression.
const MAX_CONTENT: usize = 65_787;

/// Tags at the head of a block: content of more than 251 bytes, and a block that has moved.
const LONG: u8 = 0xFC;
const MOVED: u8 = 0xFD;

/// Tags at the end of a block.
const PLAIN: u8 = 0;
const ZAPPY: u8 = 1;

/// Returns where the block of a handle begins.
pub(super) fn offset_of(handle: i64) -> Option<u64> {
    let handle = u64::try_from(handle).ok()?;
    (1..1 << 56).contains(&handle).then(|| BASE + ATOM * handle)
}

/// Reads the block that begins here. Returns its content, and where that is: elsewhere, if it has
/// moved.
pub(super) fn read(source: &mut Source, offset: u64) -> Result<(u64, Vec<u8>), ImportError> {
    let mut head = [0; 16];
    source.charge(offset, ATOM)?;
    source.read(offset, &mut head)?;
    if head[0] != MOVED {
        return Ok((offset, read_block(source, offset, head)?));
    }
    let moved = i64::try_from(big_endian(&head[1..8])).expect("seven bytes fit");
    let what = "a record has moved to nowhere";
    let offset = offset_of(moved).ok_or(ImportError::Damaged { offset, what })?;
    source.charge(offset, ATOM)?;
    source.read(offset, &mut head)?;
    Ok((offset, read_block(source, offset, head)?))
}

fn read_block(source: &mut Source, offset: u64, head: [u8; 16]) -> Result<Vec<u8>, ImportError> {
    let damaged = |what| ImportError::Damaged { offset, what };
    let (len, start) = match head[0] {
        LONG => {
            // Lengths that a byte would do for count from 65,536 on.
            let len = u16::from_be_bytes([head[1], head[2]]);
            (if len > 251 { u64::from(len) } else { u64::from(len) + 65_536 }, 3)
        }
        MOVED => return Err(damaged("a record has moved twice")),
        0xFE.. => return Err(damaged("a record lies in a free block")),
        len => (u64::from(len), 1),
    };
    if len == 0 {
        return Ok(Vec::new());
    }
    let block_len = ((len + start) / ATOM + 1) * ATOM;
    source.charge(offset, block_len - ATOM)?;
    let mut content = vec![0; usize::try_from(len).expect("below 2^17")];
    source.read(offset + start, &mut content)?;
    let mut tail = [0];
    source.read(offset + block_len - 1, &mut tail)?;
    match tail[0] {
        PLAIN => Ok(content),
        ZAPPY => unzappy(&content).map_err(damaged),
        _ => Err(damaged("a block has neither of the tags that end blocks")),
    }
}

/// Undoes zappy, a cousin of snappy: runs of literal bytes, and copies of what came before.
fn unzappy(mut rest: &[u8]) -> Result<Vec<u8>, Malformed> {
    const MALFORMED: Malformed = "a compressed record doesn't decompress";
    let len = usize::try_from(uvarint(&mut rest)?).map_err(|_| MALFORMED)?;
    if len > MAX_CONTENT {
        return Err(MALFORMED);
    }
    let mut content = Vec::with_capacity(len);
    while !rest.is_empty() {
        let count = varint(&mut rest)?;
        if let Ok(literals) = u64::try_from(count) {
            content.extend_from_slice(take(&mut rest, literals.saturating_add(1))?);
        } else {
            let back = usize::try_from(uvarint(&mut rest)?).map_err(|_| MALFORMED)?;
            let count = usize::try_from(count.unsigned_abs()).map_err(|_| MALFORMED)?;
            let from = content.len().checked_sub(back).ok_or(MALFORMED)?;
            if back == 0 || count > len - content.len() {
                return Err(MALFORMED);
            }
            // The copy may reach into itself, which repeats what it began with.
            for at in from..from + count {
                content.push(content[at]);
            }
        }
        if content.len() > len {
            return Err(MALFORMED);
        }
    }
    if content.len() == len { Ok(content) } else { Err(MALFORMED) }
}

/// Decodes the scalar whose tag was taken off.
pub(super) fn scalar<'a>(tag: u8, rest: &mut &'a [u8]) -> Result<Value<'a>, Malformed> {
    let length_of = |bytes: &[u8]| big_endian(bytes);
    Ok(match tag {
        0x00 => Value::Null,
        0x01 | 0x02 => Value::Other,
        0x03..=0x0B => {
            take(rest, u64::from(tag - 0x03))?;
            Value::Other
        }
        0x0C..=0x14 => {
            take(rest, u64::from(tag - 0x0C))?;
            match take(rest, 1)?[0] {
                imaginary @ 0x0C..=0x14 => take(rest, u64::from(imaginary - 0x0C))?,
                _ => return Err("a complex number has no imaginary part"),
            };
            Value::Other
        }
        0x15..=0x26 => Value::Bytes(take(rest, u64::from(tag - 0x15))?),
        0x27 => {
            let len = length_of(take(rest, 1)?);
            Value::Bytes(take(rest, len)?)
        }
        0x28 => {
            let len = length_of(take(rest, 2)?) + 1;
            Value::Bytes(take(rest, len)?)
        }
        0x29..=0x3A => Value::Text(take(rest, u64::from(tag - 0x29))?),
        0x3B => {
            let len = length_of(take(rest, 1)?);
            Value::Text(take(rest, len)?)
        }
        0x3C => {
            let len = length_of(take(rest, 2)?);
            Value::Text(take(rest, len)?)
        }
        0x3D..=0x44 => {
            take(rest, u64::from(tag - 0x3D) + 1)?;
            Value::Other
        }
        0x45..=0x4C => {
            let len = 8 - u64::from(tag - 0x45);
            let bytes = take(rest, len)?;
            // The bytes left out are the sign.
            let number = bytes.iter().fold(u64::MAX, |number, byte| number << 8 | u64::from(*byte));
            Value::Int(number.cast_signed())
        }
        0x4D..=0x54 => Value::Int(big_endian(take(rest, u64::from(tag - 0x4D) + 1)?).cast_signed()),
        0x55.. => Value::Int(i64::from(tag - 0x55)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(mut rest: &[u8]) -> Result<Vec<Value<'_>>, Malformed> {
        let mut values = Vec::new();
        while let Some((&tag, after)) = rest.split_first() {
            rest = after;
            values.push(scalar(tag, &mut rest)?);
        }
        Ok(values)
    }

    #[test]
    fn scalars_decode() {
        let encoded = [
            0x00,
            0x55,
            0x55 + 84,
            0xFF,
            0x4D,
            200,
            0x4E,
            1,
            0,
            0x4C,
            0xFE,
            0x45,
            0x80,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0x17,
            1,
            2,
            0x27,
            1,
            9,
            0x28,
            0,
            0,
            7,
            0x2B,
            b'h',
            b'i',
            0x3B,
            1,
            b'x',
            0x3C,
            0,
            1,
            b'y',
            0x05,
            1,
            2,
            0x0D,
            1,
            0x0C,
            0x01,
            0x02,
            0x3E,
            1,
            2,
        ];
        assert_eq!(
            decode(&encoded).expect("well formed"),
            [
                Value::Null,
                Value::Int(0),
                Value::Int(84),
                Value::Int(170),
                Value::Int(200),
                Value::Int(256),
                Value::Int(-2),
                Value::Int(i64::MIN),
                Value::Bytes(&[1, 2]),
                Value::Bytes(&[9]),
                Value::Bytes(&[7]),
                Value::Text(b"hi"),
                Value::Text(b"x"),
                Value::Text(b"y"),
                Value::Other,
                Value::Other,
                Value::Other,
                Value::Other,
                Value::Other,
            ]
        );
        for cut in
            [&[0x17, 1][..], &[0x28, 0], &[0x0C], &[0x0C, 0x55], &[0x4E, 1], &[0x3C, 0, 2, 1]]
        {
            assert!(decode(cut).is_err(), "{cut:?}");
        }
    }

    #[test]
    fn zappy_is_undone_within_its_bounds() {
        // Two literals, then four bytes from two back, which overlap.
        assert_eq!(unzappy(&[6, 2, b'a', b'b', 7, 2]).as_deref(), Ok(&b"ababab"[..]));
        assert_eq!(unzappy(&[0]).as_deref(), Ok(&b""[..]));
        for malformed in [
            &[][..],
            &[7, 2, b'a', b'b', 7, 2],
            &[5, 2, b'a', b'b', 7, 2],
            &[6, 2, b'a', b'b', 7, 3],
            &[6, 2, b'a', b'b', 7, 0],
            &[6, 2, b'a', b'b', 7],
            &[6, 2, b'a'],
            // It claims to be longer than any block, and to copy more than there is memory.
            &[0xFC, 0x81, 0x04, 0, b'a'],
            &[2, 0, b'a', 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 1],
        ] {
            assert!(unzappy(malformed).is_err(), "{malformed:?}");
        }
    }

    #[test]
    fn handles_have_places() {
        assert_eq!(offset_of(1), Some(128));
        assert_eq!(offset_of(2), Some(144));
        assert_eq!(offset_of((1 << 56) - 1), Some((16 << 56) - 16 + 112));
        for nowhere in [i64::MIN, -1, 0, 1 << 56, i64::MAX] {
            assert_eq!(offset_of(nowhere), None);
        }
    }
}
