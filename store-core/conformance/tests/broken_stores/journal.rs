//! A store in memory whose writes stand in a file, which several processes share: as much of a
//! database as the claims about processes need.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use store_core::backend::OwnerProcess;
use store_core::{
    Change, CleanupStatistics, Error, Loaded, MemoryStore, OwnedRecord, Record, Rotation, Store,
};

use crate::lock;

/// How much is kept back where writes are buffered: a few of them.
const BUFFER_LEN: usize = 500;

/// What becomes of a write in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// It is there when the write returns.
    AtOnce,
    /// It is there when more have come.
    Buffered,
    /// It is there at once, without the grace of a rotation.
    WithoutGrace,
}

pub(crate) struct Journaled {
    owner: OwnerProcess,
    memory: MemoryStore,
    journal: Option<Mutex<Journal>>,
    writing: Writing,
}

struct Journal {
    file: File,
    /// How much of the file the memory has seen.
    read: u64,
    /// Lines that are not in the file yet.
    buffer: String,
}

/// Holds the file's lock.
struct Locked<'a>(&'a mut Journal);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = self.0.file.unlock();
    }
}

impl Journaled {
    pub(crate) fn in_memory(memory: MemoryStore) -> Self {
        Self { owner: OwnerProcess::current(), memory, journal: None, writing: Writing::AtOnce }
    }

    pub(crate) fn open(memory: MemoryStore, path: &Path, writing: Writing) -> Self {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path).expect("it opens");
        let journal = Journal { file, read: 0, buffer: String::new() };
        let journal = Some(Mutex::new(journal));
        Self { owner: OwnerProcess::current(), memory, journal, writing }
    }

    /// Runs something on the memory, after what other processes have written, and writes it down if
    /// it is a write.
    fn run<T>(&self, line: Option<String>, run: impl FnOnce(&MemoryStore) -> T) -> T {
        let Some(journal) = &self.journal else { return run(&self.memory) };
        if self.owner.is_forked() {
            // The memory says so.
            return run(&self.memory);
        }
        let mut journal = lock(journal);
        journal.file.lock().expect("the file can be locked");
        let locked = Locked(&mut journal);
        locked.0.catch_up(&self.memory);
        if let Some(line) = line {
            locked.0.append(&line, self.writing);
        }
        run(&self.memory)
    }

    fn write<T>(&self, fields: &[Field<'_>], run: impl FnOnce(&MemoryStore) -> T) -> T {
        self.run(self.journal.as_ref().map(|_| to_line(fields)), run)
    }

    fn read<T>(&self, read: impl FnOnce(&MemoryStore) -> T) -> T {
        self.run(None, read)
    }
}

impl Journal {
    /// Does what the file has since the last time. A line without its end is one whose writer was
    /// killed.
    fn catch_up(&mut self, memory: &MemoryStore) {
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(self.read)).expect("the file can be read");
        self.file.read_to_string(&mut text).expect("the file can be read");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            // What was refused then is refused now.
            let _ = apply(line, memory);
        }
        self.read += whole as u64;
        if whole < text.len() {
            self.file.set_len(self.read).expect("the file can be cut");
        }
    }

    fn append(&mut self, line: &str, writing: Writing) {
        self.buffer.push_str(line);
        if writing != Writing::Buffered || self.buffer.len() > BUFFER_LEN {
            self.file.write_all(self.buffer.as_bytes()).expect("the file can be written");
            self.read += self.buffer.len() as u64;
            self.buffer.clear();
        }
    }
}

/// A part of a line.
enum Field<'a> {
    Name(&'static str),
    Bytes(&'a [u8]),
    Optional(Option<&'a [u8]>),
    Expiry(DateTime<Utc>),
    Number(u64),
}

fn to_line(fields: &[Field<'_>]) -> String {
    let digit = |digit: u8| char::from_digit(digit.into(), 16).expect("below 16");
    let hex = |bytes: &[u8]| {
        let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        std::iter::once('=').chain(digits).collect()
    };
    let texts = fields.iter().map(|field| match field {
        Field::Name(name) => (*name).to_owned(),
        Field::Bytes(bytes) | Field::Optional(Some(bytes)) => hex(bytes),
        Field::Optional(None) => "-".to_owned(),
        Field::Expiry(at) => format!("{}.{}", at.timestamp(), at.timestamp_subsec_nanos()),
        Field::Number(number) => number.to_string(),
    });
    texts.collect::<Vec<_>>().join(" ") + "\n"
}

/// Reads the parts of a line, which this program has written.
struct Fields<'a>(std::str::Split<'a, char>);

impl Fields<'_> {
    fn next(&mut self) -> &str {
        self.0.next().expect("the line is whole")
    }

    fn optional(&mut self) -> Option<Vec<u8>> {
        let hex = self.next().strip_prefix('=')?.as_bytes();
        let digit = |digit: u8| (digit as char).to_digit(16).expect("a hexadecimal digit");
        let bytes = hex.chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1]));
        Some(bytes.map(|byte| u8::try_from(byte).expect("two digits")).collect())
    }

    fn bytes(&mut self) -> Vec<u8> {
        self.optional().expect("it is there")
    }

    fn optional_text(&mut self) -> Option<String> {
        self.optional().map(|bytes| String::from_utf8(bytes).expect("it was text"))
    }

    fn text(&mut self) -> String {
        self.optional_text().expect("it is there")
    }

    fn expiry(&mut self) -> DateTime<Utc> {
        let (seconds, nanos) = self.next().split_once('.').expect("two numbers");
        let seconds = seconds.parse().expect("a number");
        DateTime::from_timestamp(seconds, nanos.parse().expect("a number")).expect("an instant")
    }

    fn number(&mut self) -> u64 {
        self.next().parse().expect("a number")
    }
}

/// Does again what a line says.
fn apply(line: &str, memory: &MemoryStore) -> Result<(), Error> {
    let mut fields = Fields(line.split(' '));
    match fields.next() {
        "commit" => memory.commit(&fields.text(), &fields.bytes(), fields.expiry()),
        "create" => memory.create_with(&fields.text(), &read_change(&mut fields)).map(drop),
        "update" => {
            let (token, current) = (fields.text(), fields.bytes());
            memory.update(&token, &current, &read_change(&mut fields)).map(drop)
        }
        "touch" => memory.touch(&fields.text(), fields.expiry()).map(drop),
        "delete" => memory.delete(&fields.text()),
        "delete-by-subject" => {
            let (subject, except) = (fields.text(), fields.optional_text());
            memory.delete_by_subject(&subject, except.as_deref()).map(drop)
        }
        "delete_all" => memory.delete_all().map(drop),
        "cleanup" => memory.delete_expired().map(drop),
        name => unreachable!("no write is called {name}"),
    }
}

fn read_change(fields: &mut Fields<'_>) -> Change<'static> {
    let (data, sets_expiry, expiry) = (fields.bytes(), fields.number(), fields.expiry());
    let (new_token, grace, opens) = (fields.optional_text(), fields.number(), fields.number());
    let (sets_subject, subject) = (fields.number(), fields.optional_text());
    let absorbed: Vec<_> = (0..fields.number())
        .map(|_| (fields.text(), fields.bytes(), fields.number() == 1))
        .collect();
    let expecting = fields.optional_text();
    let expected: Vec<_> = (0..fields.number()).map(|_| fields.text()).collect();
    let mut change = Change::new(&data, expiry);
    change.expiry = change.expiry.filter(|_| sets_expiry == 1);
    if let Some(new_token) = &new_token {
        let rotation = Rotation::new(new_token).with_grace(Duration::from_nanos(grace));
        let rotation = if opens == 1 { rotation.old_token_opens() } else { rotation };
        change = change.with_rotation(rotation);
    }
    if sets_subject == 1 {
        change = change.with_subject(subject.as_deref());
    }
    for (token, data, leads_on) in &absorbed {
        change = if *leads_on { change.absorbing(token, data) } else { change.ending(token, data) };
    }
    if let Some(subject) = &expecting {
        change = change.expecting_sessions_of(subject, expected.iter().map(String::as_str));
    }
    change.to_static()
}

fn change_fields<'a>(change: &'a Change<'_>, writing: Writing) -> Vec<Field<'a>> {
    let rotation = change.rotation.as_ref();
    let grace = rotation.map_or(Duration::ZERO, |rotation| rotation.grace.min(Rotation::MAX_GRACE));
    let grace = if writing == Writing::WithoutGrace { Duration::ZERO } else { grace };
    let mut fields = vec![
        Field::Bytes(&change.data),
        Field::Number(u64::from(change.expiry.is_some())),
        Field::Expiry(change.expiry.unwrap_or_default()),
        Field::Optional(rotation.map(|rotation| rotation.new_token.as_bytes())),
        Field::Number(u64::try_from(grace.as_nanos()).expect("a day at most")),
        Field::Number(u64::from(rotation.is_some_and(|rotation| rotation.old_token_opens))),
        Field::Number(u64::from(change.subject.is_some())),
        Field::Optional(change.new_subject().map(str::as_bytes)),
        Field::Number(change.absorbed.len() as u64),
    ];
    for absorbed in &change.absorbed {
        fields.push(Field::Bytes(absorbed.token.as_bytes()));
        fields.push(Field::Bytes(&absorbed.data));
        fields.push(Field::Number(u64::from(absorbed.leads_on)));
    }
    let expected = change.expected_sessions.as_ref();
    fields.push(Field::Optional(expected.map(|expected| expected.subject.as_bytes())));
    let tokens = expected.map_or(&[][..], |expected| &expected.tokens);
    fields.push(Field::Number(tokens.len() as u64));
    fields.extend(tokens.iter().map(|token| Field::Bytes(token.as_bytes())));
    fields
}

impl Store for Journaled {
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        self.read(|memory| memory.find(token))
    }

    fn load(&self, token: &str) -> Result<Loaded, Error> {
        self.read(|memory| memory.load(token))
    }

    fn commit(&self, token: &str, data: &[u8], expiry: DateTime<Utc>) -> Result<(), Error> {
        let token_field = Field::Bytes(token.as_bytes());
        let fields =
            [Field::Name("commit"), token_field, Field::Bytes(data), Field::Expiry(expiry)];
        self.write(&fields, |memory| memory.commit(token, data, expiry))
    }

    fn create_with(&self, token: &str, change: &Change<'_>) -> Result<bool, Error> {
        let mut fields = vec![Field::Name("create"), Field::Bytes(token.as_bytes())];
        fields.extend(change_fields(change, self.writing));
        self.write(&fields, |memory| memory.create_with(token, change))
    }

    fn update(&self, token: &str, current: &[u8], change: &Change<'_>) -> Result<bool, Error> {
        let token_field = Field::Bytes(token.as_bytes());
        let mut fields = vec![Field::Name("update"), token_field, Field::Bytes(current)];
        fields.extend(change_fields(change, self.writing));
        self.write(&fields, |memory| memory.update(token, current, change))
    }

    fn touch(&self, token: &str, expiry: DateTime<Utc>) -> Result<bool, Error> {
        let fields = [Field::Name("touch"), Field::Bytes(token.as_bytes()), Field::Expiry(expiry)];
        self.write(&fields, |memory| memory.touch(token, expiry))
    }

    fn delete(&self, token: &str) -> Result<(), Error> {
        let fields = [Field::Name("delete"), Field::Bytes(token.as_bytes())];
        self.write(&fields, |memory| memory.delete(token))
    }

    fn find_by_subject(&self, subject: &str) -> Result<Vec<OwnedRecord>, Error> {
        self.read(|memory| memory.find_by_subject(subject))
    }

    fn subject_of(&self, token: &str) -> Result<Option<String>, Error> {
        self.read(|memory| memory.subject_of(token))
    }

    fn delete_by_subject(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        let fields = [
            Field::Name("delete-by-subject"),
            Field::Bytes(subject.as_bytes()),
            Field::Optional(except.map(str::as_bytes)),
        ];
        self.write(&fields, |memory| memory.delete_by_subject(subject, except))
    }

    fn delete_all(&self) -> Result<u64, Error> {
        self.write(&[Field::Name("delete_all")], MemoryStore::delete_all)
    }

    fn delete_expired(&self) -> Result<u64, Error> {
        self.write(&[Field::Name("cleanup")], MemoryStore::delete_expired)
    }

    fn for_each(&self, visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        // The visitor may call the store, so the file isn't locked while it runs.
        self.read(|_| ());
        self.memory.for_each(visit)
    }

    fn count(&self) -> Result<u64, Error> {
        self.read(MemoryStore::count)
    }

    fn now(&self) -> DateTime<Utc> {
        self.memory.now()
    }

    fn stop_cleanup(&self) {
        self.memory.stop_cleanup();
    }

    fn cleanup_statistics(&self) -> CleanupStatistics {
        self.memory.cleanup_statistics()
    }
}

impl fmt::Debug for Journaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.memory, f)
    }
}
