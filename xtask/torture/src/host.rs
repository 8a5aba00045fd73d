//! Where the databases are: in a directory, or on a server of the run's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use test_servers::{Installation, PrivateServer, Release, ServerOptions};

use crate::Result;

pub(crate) enum Host {
    Directory(PathBuf),
    Server(Box<PrivateServer>),
}

impl Host {
    /// Returns where databases of a store are made.
    pub(crate) fn new(store: &str, directory: &Path) -> Result<Self> {
        if store == "mysql" {
            let installation = Installation::obtain(Release::from_env()?)?;
            let server = PrivateServer::start(&installation, ServerOptions::new())?;
            return Ok(Self::Server(Box::new(server)));
        }
        let directory = directory.join(store);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        Ok(Self::Directory(directory))
    }

    /// Makes the place of a database, and returns its location.
    pub(crate) fn make(&self, database: u64) -> Result<String> {
        match self {
            Self::Directory(directory) => {
                let directory = directory.join(database.to_string());
                fs::create_dir_all(&directory)?;
                Ok(directory.join("sessions.db").to_string_lossy().into_owned())
            }
            Self::Server(server) => {
                server.execute(&format!("CREATE DATABASE torture_{database}"))?;
                Ok(format!("{}/torture_{database}", server.url()))
            }
        }
    }

    /// Removes a database in which nothing was found.
    pub(crate) fn remove(&self, database: u64) -> Result {
        match self {
            Self::Directory(directory) => {
                fs::remove_dir_all(directory.join(database.to_string()))?;
            }
            Self::Server(server) => {
                server.execute(&format!("DROP DATABASE torture_{database}"))?;
            }
        }
        Ok(())
    }

    /// Waits until nothing of the killed processes is under way. A server finishes statements of
    /// clients that are gone.
    pub(crate) fn settle(&self) -> Result {
        if let Self::Server(server) = self {
            let clients = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
                WHERE DB LIKE 'torture%'";
            while server.execute(clients)?.trim() != "0" {
                thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    /// Ends the server with SIGKILL. Without one there is nothing to end.
    pub(crate) fn kill(&self) -> Result {
        if let Self::Server(server) = self {
            server.kill()?;
        }
        Ok(())
    }

    /// Starts the server again.
    pub(crate) fn restart(&self) -> Result {
        if let Self::Server(server) = self {
            server.restart()?;
        }
        Ok(())
    }

    pub(crate) fn is_server(&self) -> bool {
        !matches!(self, Self::Directory(_))
    }
}
