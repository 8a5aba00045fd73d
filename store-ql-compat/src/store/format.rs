//! What stands in the file: seven tables, and one with the version of the format.
//!
//! `docs/ql.md` describes the same byte by byte, for people who read a file without this crate. Keys
//! and values are plain bytes in all tables, because redb trusts its typed values: a damaged string
//! would be a panic, and a damaged byte string is an error of ours.

use chrono::{DateTime, Utc};
use redb::{
    Database, Durability, Error as RedbError, ReadTransaction, ReadableTable, Table,
    TableDefinition, TableError, TableHandle, WriteTransaction,
};
use store_core::Error;

use super::error;
use super::rotations::Rotations;

pub(crate) type Bytes = &'static [u8];
pub(crate) type Definition<'a, V> = TableDefinition<'a, Bytes, V>;

/// The format that this version of the crate writes, and the only one that it reads.
pub(crate) const VERSION: u64 = 1;

const VERSION_KEY: &[u8] = b"format";

/// The longest prefix of table names; far more than anybody needs.
const MAX_PREFIX_LEN: usize = 64;

/// An instant takes 12 bytes, whose order is the order in time.
pub(crate) const INSTANT_LEN: usize = 12;

/// See [`instant`].
pub(crate) type Instant = [u8; INSTANT_LEN];

/// The names of a store's tables.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    sessions: String,
    expiries: String,
    subjects: String,
    by_subject: String,
    rotations: String,
    rotated: String,
    rotation_ends: String,
    meta: String,
}

impl Tables {
    /// The tables with this prefix, which must be letters, digits and underscores.
    pub(crate) fn new(prefix: &str) -> Result<Self, Error> {
        let problem = if prefix.is_empty() || prefix.len() > MAX_PREFIX_LEN {
            format!("a table name has 1 to {MAX_PREFIX_LEN} characters, this one {}", prefix.len())
        } else if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            format!("{prefix:?} has other characters than ASCII letters, digits and underscores")
        } else {
            return Ok(Self {
                sessions: prefix.to_owned(),
                expiries: format!("{prefix}_expiry"),
                subjects: format!("{prefix}_subject"),
                by_subject: format!("{prefix}_by_subject"),
                rotations: format!("{prefix}_rotation"),
                rotated: format!("{prefix}_rotated"),
                rotation_ends: format!("{prefix}_rotation_end"),
                meta: format!("{prefix}_meta"),
            });
        };
        Err(Error::InvalidOption { option: "table name", problem })
    }

    /// Token → expiry and data.
    pub(crate) fn sessions(&self) -> Definition<'_, Bytes> {
        TableDefinition::new(&self.sessions)
    }

    /// Expiry and token → nothing: the sessions in the order in which they expire.
    pub(crate) fn expiries(&self) -> Definition<'_, ()> {
        TableDefinition::new(&self.expiries)
    }

    /// Token → subject.
    pub(crate) fn subjects(&self) -> Definition<'_, Bytes> {
        TableDefinition::new(&self.subjects)
    }

    /// Subject and token → nothing.
    pub(crate) fn by_subject(&self) -> Definition<'_, ()> {
        TableDefinition::new(&self.by_subject)
    }

    /// Old token → what has become of it, see [`Rotated`](super::rotations::Rotated).
    pub(crate) fn rotations(&self) -> Definition<'_, Bytes> {
        TableDefinition::new(&self.rotations)
    }

    /// Newest and old token → nothing.
    pub(crate) fn rotated(&self) -> Definition<'_, ()> {
        TableDefinition::new(&self.rotated)
    }

    /// End of the grace and old token → nothing: the rotations in the order in which they are swept.
    pub(crate) fn rotation_ends(&self) -> Definition<'_, ()> {
        TableDefinition::new(&self.rotation_ends)
    }

    fn meta(&self) -> Definition<'_, u64> {
        TableDefinition::new(&self.meta)
    }

    /// The tables that have values.
    fn of_bytes(&self) -> [Definition<'_, Bytes>; 3] {
        [self.sessions(), self.subjects(), self.rotations()]
    }

    /// The tables that have keys alone.
    fn of_keys(&self) -> [Definition<'_, ()>; 4] {
        [self.expiries(), self.by_subject(), self.rotated(), self.rotation_ends()]
    }

    /// The names of all but the one that says which format they have.
    fn names(&self) -> [&str; 7] {
        [
            &self.sessions,
            &self.expiries,
            &self.subjects,
            &self.by_subject,
            &self.rotations,
            &self.rotated,
            &self.rotation_ends,
        ]
    }

    /// The name in messages.
    pub(crate) fn name(&self) -> &str {
        &self.sessions
    }

    /// Makes the tables where there are none, and refuses those that aren't ours or are newer.
    pub(crate) fn prepare(&self, database: &Database) -> Result<(), Error> {
        let failed = |error: RedbError| error::of_redb(error);
        let mut transaction = database.begin_write().map_err(|error| failed(error.into()))?;
        transaction.set_durability(Durability::Immediate).map_err(Error::backend)?;
        let is_new = {
            let names = transaction.list_tables().map_err(|error| failed(error.into()))?;
            let names: Vec<String> = names.map(|table| table.name().to_owned()).collect();
            let multimaps =
                transaction.list_multimap_tables().map_err(|error| failed(error.into()))?;
            let multimaps: Vec<String> =
                multimaps.map(|table| redb::MultimapTableHandle::name(&table).to_owned()).collect();
            let is_there = |name: &str| names.iter().chain(&multimaps).any(|other| other == name);
            if !is_there(&self.meta)
                && let Some(foreign) = self.names().into_iter().find(|name| is_there(name))
            {
                let problem = format!(
                    "it isn't this store's, because there is no table {:?} beside it: choose another table name",
                    self.meta
                );
                return Err(Error::TableMismatch { table: foreign.to_owned(), problem });
            }
            !is_there(&self.meta)
        };
        let table_failed = |error: TableError| failed(error.into());
        let mut meta = transaction.open_table(self.meta()).map_err(table_failed)?;
        if is_new {
            meta.insert(VERSION_KEY, VERSION).map_err(|error| failed(error.into()))?;
            drop(meta);
            for table in self.of_bytes() {
                transaction.open_table(table).map_err(table_failed)?;
            }
            for table in self.of_keys() {
                transaction.open_table(table).map_err(table_failed)?;
            }
            return transaction.commit().map_err(|error| failed(error.into()));
        }
        let version = meta.get(VERSION_KEY).map_err(|error| failed(error.into()))?;
        let version = version.map(|version| version.value());
        drop(meta);
        self.check_version(version)?;
        // Each must be there, with its types: opening it for reading creates nothing.
        transaction.abort().map_err(|error| failed(error.into()))?;
        let snapshot =
            redb::ReadableDatabase::begin_read(database).map_err(|error| failed(error.into()))?;
        for table in self.of_bytes() {
            snapshot.open_table(table).map_err(table_failed)?;
        }
        for table in self.of_keys() {
            snapshot.open_table(table).map_err(table_failed)?;
        }
        Ok(())
    }

    fn check_version(&self, version: Option<u64>) -> Result<(), Error> {
        let problem = match version {
            Some(VERSION) => return Ok(()),
            Some(newer) if newer > VERSION => format!(
                "its sessions are in format {newer}, and this version of store-ql-compat reads format {VERSION}: \
                 update the program"
            ),
            Some(unknown) => format!("format {unknown} was never written by this crate"),
            None => "it doesn't say which format the sessions are in".to_owned(),
        };
        Err(Error::TableMismatch { table: self.meta.clone(), problem })
    }
}

/// The tables of a write transaction.
pub(crate) struct Opened<'t> {
    names: &'t Tables,
    transaction: &'t WriteTransaction,
    pub(crate) sessions: Table<'t, Bytes, Bytes>,
    pub(crate) expiries: Table<'t, Bytes, ()>,
    pub(crate) subjects: Table<'t, Bytes, Bytes>,
    pub(crate) by_subject: Table<'t, Bytes, ()>,
    /// Opened by the first write that needs them: most don't, and each table that is opened has its price.
    rotations: Option<Rotations<'t>>,
    /// Whether a live session was given an earlier end than it had.
    pub(crate) has_shortened: bool,
}

impl<'t> Opened<'t> {
    pub(crate) fn new(
        names: &'t Tables,
        transaction: &'t WriteTransaction,
    ) -> Result<Self, RedbError> {
        Ok(Self {
            names,
            transaction,
            sessions: transaction.open_table(names.sessions())?,
            expiries: transaction.open_table(names.expiries())?,
            subjects: transaction.open_table(names.subjects())?,
            by_subject: transaction.open_table(names.by_subject())?,
            rotations: None,
            has_shortened: false,
        })
    }

    pub(crate) fn rotations(&mut self) -> Result<&mut Rotations<'t>, RedbError> {
        match &mut self.rotations {
            Some(rotations) => Ok(rotations),
            none => Ok(none.insert(Rotations::new(self.names, self.transaction)?)),
        }
    }
}

/// What a snapshot says of a live session.
pub(crate) fn find_live<T>(
    tables: &Tables,
    snapshot: &ReadTransaction,
    token: &[u8],
    now: Instant,
    get: impl FnOnce(DateTime<Utc>, &[u8]) -> T,
) -> Result<Option<T>, RedbError> {
    let sessions = snapshot.open_table(tables.sessions())?;
    let Some(value) = sessions.get(token)? else { return Ok(None) };
    let (expiry, data) = split(value.value())?;
    if expiry <= now {
        return Ok(None);
    }
    Ok(Some(get(to_utc(expiry)?, data)))
}

/// Seconds since 1970 with the sign bit flipped and nanoseconds of the second, both with the highest
/// byte first, so that bytes compare as instants do. Every `DateTime<Utc>` has its own, a leap
/// second's too.
pub(crate) fn instant(utc: DateTime<Utc>) -> Instant {
    let mut bytes = [0; INSTANT_LEN];
    let seconds = utc.timestamp().cast_unsigned() ^ (1 << 63);
    bytes[..8].copy_from_slice(&seconds.to_be_bytes());
    bytes[8..].copy_from_slice(&utc.timestamp_subsec_nanos().to_be_bytes());
    bytes
}

/// The instant that 12 bytes of the file mean.
pub(crate) fn to_utc(bytes: Instant) -> Result<DateTime<Utc>, RedbError> {
    let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = bytes;
    let seconds = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]) ^ (1 << 63);
    let nanoseconds = u32::from_be_bytes([n0, n1, n2, n3]);
    DateTime::from_timestamp(seconds.cast_signed(), nanoseconds)
        .ok_or_else(|| RedbError::Corrupted("an expiry is no instant".to_owned()))
}

/// The expiry, and what follows it.
pub(crate) fn split(value: &[u8]) -> Result<(Instant, &[u8]), RedbError> {
    value
        .split_first_chunk()
        .map(|(expiry, rest)| (*expiry, rest))
        .ok_or_else(|| RedbError::Corrupted("a row is shorter than its expiry".to_owned()))
}

/// A token of the file, which is text unless the file is damaged.
pub(crate) fn text(token: &[u8]) -> Result<&str, RedbError> {
    str::from_utf8(token).map_err(|_| RedbError::Corrupted("a token is no text".to_owned()))
}

/// A value of the sessions, or a key that begins with an instant.
pub(crate) fn join(expiry: Instant, rest: &[u8]) -> Vec<u8> {
    [&expiry, rest].concat()
}

/// What all keys of a subject begin with. Its length comes first, so that no subject is the beginning
/// of another; the longest is checked to be 255.
pub(crate) fn subject_prefix(subject: &[u8]) -> Vec<u8> {
    let len = u8::try_from(subject.len()).unwrap_or(u8::MAX);
    [&[len], subject].concat()
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
            assert_eq!(instant(utc), bytes, "{utc}");
            assert_eq!(to_utc(bytes)?, utc);
        }
        for extreme in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert_eq!(to_utc(instant(extreme))?, extreme);
        }
        assert!(to_utc([255; INSTANT_LEN]).is_err());
        assert!(split(&[0; INSTANT_LEN - 1]).is_err());
        Ok(())
    }

    #[test]
    fn names_are_checked() {
        for name in ["sessions", "Sessions_2", "_s", &"x".repeat(64)] {
            assert!(Tables::new(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a-b", "séance", &"x".repeat(65)] {
            assert!(matches!(Tables::new(name), Err(Error::InvalidOption { .. })), "{name}");
        }
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
            prop_assert_eq!(first.cmp(&second), instant(first).cmp(&instant(second)));
            prop_assert_eq!(to_utc(instant(first)).expect("it is one"), first);
        }
    }
}
