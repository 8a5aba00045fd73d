//! How deep MessagePack nests, found without recursion.

/// Returns whether the value at the beginning of the data nests at most `max` levels deep. If it is
/// cut off or isn't MessagePack, what is in front of that counts, because nobody reads on.
pub(super) fn nests_at_most(max: usize, data: &[u8]) -> bool {
    let mut rest = data;
    // How many values are to come, for each level that isn't complete.
    let mut to_come = vec![1_u64];
    while let Some(count) = to_come.last_mut() {
        if *count == 0 {
            to_come.pop();
            continue;
        }
        *count -= 1;
        let Some((header, after)) = Header::read(rest) else { return true };
        let Some(after) = after.get(header.len..) else { return true };
        rest = after;
        if let Some(children) = header.children {
            // The outermost count is of no level.
            if to_come.len() > max {
                return false;
            }
            to_come.push(children);
        }
    }
    true
}

/// The beginning of a value.
struct Header {
    /// The bytes of the value behind the header that are no values themselves.
    len: usize,
    /// How many values it consists of, if it is a level of its own.
    children: Option<u64>,
}

impl Header {
    /// Returns the header at the beginning of the data, and what is behind it.
    fn read(data: &[u8]) -> Option<(Self, &[u8])> {
        let (marker, rest) = data.split_first()?;
        let low = |mask: u8| u32::from(marker & mask);
        // Of a size that is written in as many bytes.
        let sized = |width: usize| {
            let (size, rest) = rest.split_at_checked(width)?;
            Some((size.iter().fold(0, |size, byte| 256 * size + u32::from(*byte)), rest))
        };
        let bytes = |len: u32| Some(Self { len: usize::try_from(len).ok()?, children: None });
        let array = |len: u32| Some(Self { len: 0, children: Some(len.into()) });
        let map = |len: u32| Some(Self { len: 0, children: Some(2 * u64::from(len)) });
        // Its type is a byte.
        let extension =
            |len: u32| Some(Self { len: usize::try_from(len).ok()? + 1, children: Some(0) });
        let (header, rest) = match marker {
            0x00..=0x7F | 0xC0 | 0xC2 | 0xC3 | 0xE0..=0xFF => (bytes(0), rest),
            0x80..=0x8F => (map(low(0x0F)), rest),
            0x90..=0x9F => (array(low(0x0F)), rest),
            0xA0..=0xBF => (bytes(low(0x1F)), rest),
            0xC1 => return None,
            0xC4..=0xC6 => sized(1 << (marker - 0xC4)).map(|(len, rest)| (bytes(len), rest))?,
            0xC7..=0xC9 => sized(1 << (marker - 0xC7)).map(|(len, rest)| (extension(len), rest))?,
            0xCA => (bytes(4), rest),
            0xCB => (bytes(8), rest),
            0xCC..=0xCF => (bytes(1 << (marker - 0xCC)), rest),
            0xD0..=0xD3 => (bytes(1 << (marker - 0xD0)), rest),
            0xD4..=0xD8 => (extension(1 << (marker - 0xD4)), rest),
            0xD9..=0xDB => sized(1 << (marker - 0xD9)).map(|(len, rest)| (bytes(len), rest))?,
            0xDC | 0xDD => sized(2 << (marker - 0xDC)).map(|(len, rest)| (array(len), rest))?,
            0xDE | 0xDF => sized(2 << (marker - 0xDE)).map(|(len, rest)| (map(len), rest))?,
        };
        Some((header?, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of two values, of which the second nests three levels deep: where the first one ends
    /// is seen by the depth.
    fn nests_as_deep_as_its_second_value(first: &[u8]) {
        let data = [b"\x92", first, b"\x91\x91\x91\xC0"].concat();
        assert!(nests_at_most(4, &data), "{:02X?}", &first[..4.min(first.len())]);
        assert!(!nests_at_most(3, &data), "{:02X?}", &first[..4.min(first.len())]);
    }

    #[test]
    fn each_value_ends_where_its_header_says() {
        let headers: [(&[u8], usize); 36] = [
            (b"\x00", 0),
            (b"\x7F", 0),
            (b"\xC0", 0),
            (b"\xC2", 0),
            (b"\xC3", 0),
            (b"\xE0", 0),
            (b"\xFF", 0),
            (b"\xA0", 0),
            (b"\xA1", 1),
            (b"\xBF", 31),
            (b"\xC4\x03", 3),
            (b"\xC5\x01\x02", 0x102),
            (b"\xC6\x00\x01\x00\x03", 0x1_0003),
            // The types of extensions are one byte more.
            (b"\xC7\x03", 4),
            (b"\xC8\x01\x02", 0x103),
            (b"\xC9\x00\x01\x00\x03", 0x1_0004),
            (b"\xCA", 4),
            (b"\xCB", 8),
            (b"\xCC", 1),
            (b"\xCD", 2),
            (b"\xCE", 4),
            (b"\xCF", 8),
            (b"\xD0", 1),
            (b"\xD1", 2),
            (b"\xD2", 4),
            (b"\xD3", 8),
            (b"\xD4", 2),
            (b"\xD5", 3),
            (b"\xD6", 5),
            (b"\xD7", 9),
            (b"\xD8", 17),
            (b"\xD9\x03", 3),
            (b"\xDA\x01\x02", 0x102),
            (b"\xDB\x00\x01\x00\x03", 0x1_0003),
            (b"\xC7\x00", 1),
            (b"\xC4\x00", 0),
        ];
        for (header, len) in headers {
            // Each byte would be a level, if it were read as a value.
            nests_as_deep_as_its_second_value(&[header, &b"\x91".repeat(len)].concat());
        }
    }

    #[test]
    fn each_list_and_map_has_as_many_values_as_its_header_says() {
        let headers: [(&[u8], usize); 14] = [
            (b"\x90", 0),
            (b"\x92", 2),
            (b"\x9F", 15),
            (b"\xDC\x00\x02", 2),
            (b"\xDC\x01\x02", 0x102),
            (b"\xDD\x00\x00\x00\x02", 2),
            (b"\xDD\x00\x01\x00\x02", 0x1_0002),
            (b"\x80", 0),
            (b"\x82", 4),
            (b"\x8F", 30),
            (b"\xDE\x00\x02", 4),
            (b"\xDE\x01\x02", 0x204),
            (b"\xDF\x00\x00\x00\x02", 4),
            (b"\xDF\x00\x01\x00\x02", 0x2_0004),
        ];
        for (header, values) in headers {
            nests_as_deep_as_its_second_value(&[header, &b"\xC0".repeat(values)].concat());
        }
    }
}
