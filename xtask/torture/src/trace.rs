//! What a process did to the files of a directory, read from what strace wrote about it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::workload::Data;

/// The system calls that are traced: those that change files, and some that nobody made so far,
/// which are refused rather than overlooked.
const CALLS: &str = "openat,pwrite64,ftruncate,fsync,fdatasync,unlink,unlinkat,link,linkat,rename,\
    renameat,renameat2,write,open,creat,pwritev,pwritev2,writev,truncate,fallocate,\
    copy_file_range,sendfile,msync,sync_file_range";

/// What happened to a directory, or was told to the parent. Files have numbers, names lead to them.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Write {
        file: usize,
        start: usize,
        data: Data,
    },
    SetLen {
        file: usize,
        len: usize,
    },
    Sync {
        file: usize,
    },
    Link {
        name: String,
        file: usize,
    },
    Unlink {
        name: String,
    },
    SyncDirectory,
    /// What comes before was there, and is on the disk.
    Begin,
    Told(String),
}

/// Runs a command to its end, and returns what it did to a directory: first how the files that were
/// there could have come there. Without strace there is nothing to return.
pub(crate) fn trace(command: &Command, directory: &Path) -> Result<Option<Vec<Event>>> {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return Ok(None);
    }
    let mut recorder =
        Recorder { directory: directory.display().to_string(), ..Recorder::default() };
    recorder.record_files(directory)?;
    let file = directory.with_extension("strace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-xx", "-s", "10000000", "-e", &format!("trace={CALLS}"), "-o"])
        .arg(&file)
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .output()?
        .status;
    if !status.success() {
        return Err(format!("the traced process ended with {status}").into());
    }
    let text = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    let mut unfinished = HashMap::new();
    for line in text.lines() {
        let (process, call) = line.split_once(' ').ok_or("a line without a process")?;
        let call = call.trim_start();
        if let Some(begin) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process, begin);
        } else if let Some((_, end)) = call.split_once(" resumed>") {
            let begin = unfinished.remove(process).ok_or("a call without its begin")?;
            recorder.record(&format!("{begin}{end}"))?;
        } else if !call.starts_with(['+', '-']) {
            recorder.record(call)?;
        }
    }
    Ok(Some(recorder.events))
}

#[derive(Default)]
struct Recorder {
    directory: String,
    names: BTreeMap<String, usize>,
    files: usize,
    events: Vec<Event>,
}

impl Recorder {
    /// Records the files that are in the directory, and on the disk.
    fn record_files(&mut self, directory: &Path) -> Result {
        let mut numbers = HashMap::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            // Names can lead to one file.
            let file = *numbers.entry(entry.metadata()?.ino()).or_insert_with(|| {
                self.files += 1;
                self.files - 1
            });
            self.link(entry.file_name().to_string_lossy().into_owned(), file);
            let data = fs::read(entry.path())?;
            self.events
                .extend([Event::Write { file, start: 0, data: Data(data) }, Event::Sync { file }]);
        }
        self.events.push(Event::Begin);
        Ok(())
    }

    /// Records a call as strace writes it: `name(arguments) = result`.
    fn record(&mut self, call: &str) -> Result {
        let parts = call.split_once('(').and_then(|(name, rest)| {
            let (arguments, result) = rest.rsplit_once(" = ")?;
            Some((name, arguments.trim_end().strip_suffix(')')?, result))
        });
        let (name, arguments, result) = parts.ok_or_else(|| format!("not a call: {call}"))?;
        if result.starts_with(['-', '?']) {
            return Ok(());
        }
        // Strings are in hexadecimal digits, so no comma is part of one.
        let arguments: Vec<_> = arguments.split(", ").collect();
        let number = |at: usize| arguments[at].parse::<usize>();
        match name {
            "write" if arguments[0].starts_with("1<") => {
                let told = String::from_utf8(bytes(arguments[1]))?;
                self.events.extend(told.lines().map(|line| Event::Told(line.to_owned())));
            }
            "openat" => {
                let Some(name) = self.name(arguments[1]) else { return Ok(()) };
                if arguments[2].contains("O_CREAT") && !self.names.contains_key(&name) {
                    let file = self.files;
                    self.files += 1;
                    self.link(name, file);
                } else if arguments[2].contains("O_TRUNC") {
                    let file = self.names[&name];
                    self.events.push(Event::SetLen { file, len: 0 });
                }
            }
            "pwrite64" => {
                if let Some(file) = self.file(arguments[0]) {
                    let mut data = bytes(arguments[1]);
                    data.truncate(result.parse()?);
                    self.events.push(Event::Write { file, start: number(3)?, data: Data(data) });
                }
            }
            "ftruncate" => {
                if let Some(file) = self.file(arguments[0]) {
                    self.events.push(Event::SetLen { file, len: number(1)? });
                }
            }
            "fsync" | "fdatasync" => {
                if path(arguments[0]) == self.directory {
                    self.events.push(Event::SyncDirectory);
                } else if let Some(file) = self.file(arguments[0]) {
                    self.events.push(Event::Sync { file });
                }
            }
            "unlink" => self.unlink(arguments[0]),
            "unlinkat" => self.unlink(arguments[1]),
            "link" => self.link_to(arguments[0], arguments[1])?,
            "linkat" => self.link_to(arguments[1], arguments[3])?,
            "rename" => self.rename(arguments[0], arguments[1])?,
            "renameat" | "renameat2" => self.rename(arguments[1], arguments[3])?,
            _ if arguments.iter().any(|argument| path(argument).starts_with(&self.directory)) => {
                return Err(format!("{name} isn't simulated").into());
            }
            _ => {}
        }
        Ok(())
    }

    /// The name of a file in the directory.
    fn name(&self, argument: &str) -> Option<String> {
        let path = path(argument);
        path.strip_prefix(&self.directory)?.strip_prefix('/').map(str::to_owned)
    }

    /// The file of a descriptor, unless it has lost its name.
    fn file(&self, argument: &str) -> Option<usize> {
        self.names.get(&self.name(argument)?).copied()
    }

    fn link(&mut self, name: String, file: usize) {
        self.names.insert(name.clone(), file);
        self.events.push(Event::Link { name, file });
    }

    fn link_to(&mut self, from: &str, to: &str) -> Result {
        if let Some(to) = self.name(to) {
            let file = self.file(from).ok_or("a link to a file from elsewhere")?;
            self.link(to, file);
        }
        Ok(())
    }

    fn unlink(&mut self, argument: &str) {
        if let Some(name) = self.name(argument) {
            self.names.remove(&name);
            self.events.push(Event::Unlink { name });
        }
    }

    /// Two steps, of which a loss of power may leave one: that is less than file systems promise.
    fn rename(&mut self, from: &str, to: &str) -> Result {
        self.link_to(from, to)?;
        self.unlink(from);
        Ok(())
    }
}

/// The path of `"path"`, or of `3</path>`.
fn path(argument: &str) -> String {
    let argument =
        argument.split_once('<').map_or(argument, |(_, path)| path.trim_end_matches('>'));
    String::from_utf8_lossy(&bytes(argument)).into_owned()
}

/// The bytes of `"\x61\x62"`.
fn bytes(argument: &str) -> Vec<u8> {
    let digits = argument.trim_matches('"').split("\\x").skip(1);
    digits.map(|byte| u8::from_str_radix(byte, 16).unwrap_or(b'?')).collect()
}
