//! Write-ahead logs that a killed process left: whether they hold a finished commit, and what it
//! writes.

use super::error::ImportError;
use super::file::{Replay, SourceFile};
use super::overlay::{Origin, Overlay};
use super::report::WalStatus;
use super::scalars::Value;
use super::values::Values;
use crate::ql_format::QlFormat;

/// The most writes that a log may consist of. Each is remembered in some 64 bytes, so this is
/// 64 MiB of memory. ql writes at most 512 bytes at a time in format 1, so a commit of new rows may
/// have 512 MiB.
const MAX_WRITES: usize = 1 << 20;

/// Finds out what a log means for its database.
pub(super) fn examine(
    format: QlFormat,
    wal: SourceFile,
    database: &SourceFile,
) -> Result<(WalStatus, Option<Replay>), ImportError> {
    if wal.len == 0 {
        return Ok((WalStatus::Empty, None));
    }
    match format {
        QlFormat::V1 => Packets { wal, offset: 0 }.examine(database.len),
        QlFormat::V2 => examine_v2(wal, database.len),
    }
}

/// The packets of format 1 (lldb's `2pc.go`): a length of 4 bytes, scalars of that length, and
/// zeros up to a multiple of 16.
struct Packets {
    wal: SourceFile,
    offset: u64,
}

/// The longest packet: a write of 64 KiB at the largest offset.
const MAX_PACKET: u64 = 1 + 3 + 65_536 + 9;

/// ql's header, before which lldb's offsets end.
const V1_HEADER: u64 = 16;

enum Packet {
    /// A commit begins.
    Begin,
    /// These bytes of the log belong at this offset of the database.
    Write { from: u64, len: u64, to: u64 },
    /// The commit is complete; the database has this length.
    Commit { len: u64 },
    /// The log was emptied, and has more room than it needed.
    Emptied,
    /// The log ends here, with zeros if with anything.
    End,
}

impl Packets {
    fn examine(mut self, database_len: u64) -> Result<(WalStatus, Option<Replay>), ImportError> {
        match self.read_packet()? {
            Packet::Begin => {}
            Packet::Emptied => return Ok((WalStatus::Empty, None)),
            Packet::End => return self.unfinished(),
            _ => return Err(self.damaged("it doesn't begin as a log does")),
        }
        let mut overlay = Overlay::default();
        loop {
            match self.read_packet()? {
                Packet::Write { from, len, to } => {
                    overlay.write(to, len, Origin::Log(from));
                    check_writes(&overlay)?;
                }
                Packet::Commit { len } if self.offset == self.wal.len => {
                    let replay =
                        Replay { wal: self.wal, overlay, valid_len: database_len.min(len), len };
                    return Ok((WalStatus::Replayed, Some(replay)));
                }
                // With `?headroom=` a log begins over an earlier one. Whether this is the end of
                // the later one, or it was never finished and this is the end of the earlier, can't
                // be told.
                Packet::Commit { .. } => {
                    return Err(ImportError::Unsupported {
                        what: "the write-ahead log goes on after the end of a commit, so which \
                               commit that was is unknown; ql refuses it too. Copy the database \
                               without its log, under another name, to import what it has \
                               without the last commit",
                    });
                }
                Packet::End => return self.unfinished(),
                Packet::Begin | Packet::Emptied => {
                    return Err(self.damaged("a log begins in the middle of another"));
                }
            }
        }
    }

    fn read_packet(&mut self) -> Result<Packet, ImportError> {
        let start = self.offset;
        let mut head = [0; 4];
        if self.wal.len - start < 4 {
            return Ok(Packet::End);
        }
        self.wal.read_at(start, &mut head)?;
        let len = u64::from(u32::from_be_bytes(head));
        if len == 0 {
            return self.end_of_zeros();
        }
        if len > MAX_PACKET {
            return Err(self.damaged("a packet is longer than any write"));
        }
        let end = (start + 4 + len).next_multiple_of(16);
        if end > self.wal.len {
            return Ok(Packet::End);
        }
        let mut content = vec![0; usize::try_from(len).expect("below 2^17")];
        self.wal.read_at(start + 4, &mut content)?;
        let mut packet = [Value::Null; 3];
        // Where each value ends, counted from the end.
        let mut left = [0; 3];
        let mut count = 0;
        let mut values = Values::from_bytes(QlFormat::V1, &content);
        while let Some(value) = values.next() {
            if count == packet.len() {
                return Err(self.damaged("a packet has too many values"));
            }
            packet[count] = value.map_err(|what| self.damaged(what))?;
            left[count] = values.remaining();
            count += 1;
        }
        let shifted = |offset: i64| Some(u64::try_from(offset).ok()?.saturating_add(V1_HEADER));
        let packet = match packet[..count] {
            [Value::Int(0), Value::Int(0), Value::Text(b"")] => Packet::Begin,
            [Value::Int(1), Value::Bytes(bytes), Value::Int(to)] => {
                let to = shifted(to).ok_or_else(|| self.damaged("a write before the database"))?;
                let from = start + 4 + (content.len() - left[1] - bytes.len()) as u64;
                Packet::Write { from, len: bytes.len() as u64, to }
            }
            [Value::Int(2), Value::Int(len)] => {
                let len = shifted(len).ok_or_else(|| self.damaged("a database of no length"))?;
                Packet::Commit { len }
            }
            [Value::Int(3)] => Packet::Emptied,
            _ => return Err(self.damaged("a packet of a kind that ql doesn't know")),
        };
        self.offset = end;
        Ok(packet)
    }

    /// After a packet of no length there can only be zeros: the room of a log that was never
    /// filled.
    fn end_of_zeros(&mut self) -> Result<Packet, ImportError> {
        match last_nonzero(&mut self.wal, self.offset)? {
            None => Ok(Packet::End),
            Some(_) => Err(self.damaged("a packet has no length")),
        }
    }

    /// The log ends without a commit. If its last packet is a commit nevertheless, a length in
    /// between is wrong, and the database may be half of that commit.
    fn unfinished(&mut self) -> Result<(WalStatus, Option<Replay>), ImportError> {
        if let Some(last) = self.wal.len.checked_sub(16).filter(|last| *last > self.offset) {
            let at = std::mem::replace(&mut self.offset, last);
            if matches!(self.read_packet(), Ok(Packet::Commit { .. })) {
                self.offset = at;
                return Err(self.damaged("a packet is longer than what is left of the log"));
            }
        }
        Ok((WalStatus::Unfinished, None))
    }

    fn damaged(&self, what: &'static str) -> ImportError {
        ImportError::WalDamaged { wal: self.wal.path.clone(), offset: self.offset, what }
    }
}

/// The ends of format 2's logs (`wal.go` of `modernc.org/file`): numbers of 8 bytes, then a tag.
/// The later ones have a number more.
const V2_TAG: [u8; 16] = *b"\x80\x19\xCB\x57\xA7\xFD\x1A\xB4\xDA\xCD\xC4\x4D\x1A\x63\xFC\x37";
const V2_LATER_TAG: [u8; 16] = *b"\x57\x41\x4C\x32\x9E\x2B\x6D\xF1\x0A\xC4\x83\x55\xE7\x19\xBD\x42";

/// The sizes that format 2's pages can have; ql has used 65,536 and 4,096.
const V2_PAGE_SIZES: std::ops::RangeInclusive<u64> = 512..=65_536;

fn examine_v2(
    mut wal: SourceFile,
    database_len: u64,
) -> Result<(WalStatus, Option<Replay>), ImportError> {
    let unfinished = Ok((WalStatus::Unfinished, None));
    // The file was mapped and grew in steps, so zeros follow what was written. No tag ends with a
    // zero.
    let Some(last) = last_nonzero(&mut wal, 0)? else { return Ok((WalStatus::Empty, None)) };
    let end = last + 1;
    let mut tag = [0; 16];
    let Some(tag_start) = end.checked_sub(16) else { return unfinished };
    wal.read_at(tag_start, &mut tag)?;
    let numbers = match tag {
        V2_TAG => 4,
        V2_LATER_TAG => 5,
        _ => return unfinished,
    };
    let Some(pages_end) = tag_start.checked_sub(8 * numbers) else { return unfinished };
    let mut trailer = [0; 8];
    let mut number = |place: u64| -> Result<u64, ImportError> {
        wal.read_at(pages_end + 8 * place, &mut trailer)?;
        Ok(u64::from_be_bytes(trailer))
    };
    let (page_size, pages, len, skip) = (number(0)?, number(1)?, number(2)?, number(3)?);
    // What the file was cut to on the way; before that was written down, it wasn't obeyed.
    let cut = if numbers == 5 { number(4)? } else { len };

    let damaged = |wal: &SourceFile, offset, what| {
        Err(ImportError::WalDamaged { wal: wal.path.clone(), offset, what })
    };
    if !page_size.is_power_of_two()
        || !V2_PAGE_SIZES.contains(&page_size)
        || skip != 0
        || pages.checked_mul(page_size + 8) != Some(pages_end)
        || i64::try_from(len).is_err()
    {
        return damaged(&wal, pages_end, "the end of a commit doesn't fit what is before it");
    }
    let mut overlay = Overlay::default();
    for page in 0..pages {
        let start = page * (page_size + 8);
        let mut offset = [0; 8];
        wal.read_at(start, &mut offset)?;
        let offset = u64::from_be_bytes(offset);
        let (to, is_zero) = (offset & !(1 << 63), offset >> 63 == 1);
        let origin = if is_zero { Origin::Zeros } else { Origin::Log(start + 8) };
        // Pages beyond the end were cut off again.
        overlay.write(to, page_size.min(len.saturating_sub(to)), origin);
        check_writes(&overlay)?;
    }
    let valid_len = database_len.min(len).min(cut);
    Ok((WalStatus::Replayed, Some(Replay { wal, overlay, valid_len, len })))
}

fn check_writes(overlay: &Overlay) -> Result<(), ImportError> {
    if overlay.len() > MAX_WRITES {
        return Err(ImportError::Unsupported {
            what: "the write-ahead log has more than a million writes; let ql itself recover \
                   the database",
        });
    }
    Ok(())
}

/// The last byte of a log, from this place on, that isn't zero.
fn last_nonzero(wal: &mut SourceFile, from: u64) -> Result<Option<u64>, ImportError> {
    let mut buffer = vec![0; 64 * 1024];
    let mut end = wal.len;
    while end > from {
        let start = end.saturating_sub(buffer.len() as u64).max(from);
        let part = &mut buffer[..usize::try_from(end - start).expect("at most 64 KiB")];
        wal.read_at(start, part)?;
        if let Some(place) = part.iter().rposition(|byte| *byte != 0) {
            return Ok(Some(start + place as u64));
        }
        end = start;
    }
    Ok(None)
}
