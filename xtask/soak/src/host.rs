//! Where the database of a run is, and how the demo is started on it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use test_servers::{Installation, PrivateServer, Release, ServerOptions};

use crate::Result;

pub(crate) struct Host {
    store: String,
    program: PathBuf,
    directory: PathBuf,
    /// Where the files of the sessions are.
    data: PathBuf,
    server: Option<PrivateServer>,
}

impl Host {
    pub(crate) fn new(store: &str, program: &Path, directory: &Path) -> Result<Self> {
        let directory = directory.join(store);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let mut data = directory.clone();
        let server = if store == "mysql" {
            let installation = Installation::obtain(Release::from_env()?)?;
            let server = PrivateServer::start(&installation, ServerOptions::new())?;
            // A user for each process, whose statements can be told from those of the others.
            server.execute(
                "CREATE USER app0; GRANT ALL ON *.* TO app0; \
                 CREATE USER app1; GRANT ALL ON *.* TO app1; CREATE DATABASE soak",
            )?;
            data = Path::new(server.execute("SELECT @@datadir")?.trim()).join("soak");
            Some(server)
        } else {
            None
        };
        Ok(Self { store: store.to_owned(), program: program.to_owned(), directory, data, server })
    }

    /// How many processes can serve the same sessions.
    pub(crate) fn processes(&self) -> usize {
        if self.store == "ql" { 1 } else { 2 }
    }

    /// Whether other processes can have the database open.
    pub(crate) fn has_other_processes(&self) -> bool {
        self.processes() > 1
    }

    pub(crate) fn server(&self) -> Option<&PrivateServer> {
        self.server.as_ref()
    }

    /// The database's file, if the store has one.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("sessions.db")
    }

    /// The command that starts a process of the demo. What it reports is kept in a file.
    pub(crate) fn command(&self, process: usize, settings: &[(&str, u64)]) -> Result<Command> {
        let log = self.directory.join(format!("log{process}"));
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.program);
        command.args([&*self.store, "127.0.0.1:0"]).arg(self.file()).stderr(Stdio::from(log));
        if let Some(server) = &self.server {
            let url = format!("mysql://app{process}@{}/soak", server.address());
            command.env("DATABASE_URL", url);
        }
        command.envs(settings.iter().map(|(name, value)| (name, value.to_string())));
        Ok(command)
    }

    /// Waits until nothing of a killed process is under way: a server finishes the statements of
    /// clients that are gone.
    pub(crate) fn settle(&self, process: usize) -> Result {
        let Some(server) = &self.server else { return Ok(()) };
        let clients = format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app{process}'"
        );
        while server.execute(&clients)?.trim() != "0" {
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The space that the sessions take on disk, in bytes: that of the database's files, or of its
    /// tables on a server.
    pub(crate) fn size(&self) -> Result<u64> {
        Ok(size_of(&self.data)?)
    }
}

fn size_of(directory: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_log = entry.file_name().to_string_lossy().starts_with("log");
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size += size_of(&entry.path())?,
            // On disk, in blocks of 512 bytes: redb's file has holes.
            Ok(metadata) if !is_log => size += metadata.blocks() * 512,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(size)
}
