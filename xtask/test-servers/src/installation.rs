//! The programs of a product: the machine's own, or a copy below the target directory.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use rustix::process::getuid;

use super::packages::{self, Selection};
use super::{Product, program};
use crate::Result;

/// Where servers are, besides the PATH, which for others than root often lacks them.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// The programs of a product, ready to run.
#[derive(Clone, Debug)]
pub struct Installation {
    product: Product,
    /// As the server says it, such as `10.11.19-MariaDB`.
    version: String,
    /// Where to look for programs.
    directories: Vec<PathBuf>,
    /// Of a copy, what `/usr` is of the machine.
    prefix: Option<PathBuf>,
    /// Of a copy, the directories with its libraries, joined as in a PATH.
    libraries: OsString,
    /// Of a copy that brings the C library, the loader that belongs to it.
    loader: Option<PathBuf>,
    /// The library that makes nodes of servers.
    galera: Option<PathBuf>,
}

impl Installation {
    /// What is on this machine: MariaDB in the PATH, or a copy below the target directory. Downloads nothing.
    ///
    /// # Errors
    ///
    /// Programs are there, but don't run.
    pub fn find(product: Product) -> Result<Option<Self>> {
        match product {
            Product::MariaDb => {
                if let Some(installation) = Self::of_machine()? {
                    return Ok(Some(installation));
                }
                Self::of_copy(&Selection::MARIADB)
            }
            Product::MySql => Self::of_copy(&Selection::MYSQL),
        }
    }

    /// What [`find`](Self::find) finds, or else what the package manager can get: where CI is set and
    /// this is root, MariaDB is installed; otherwise a copy is downloaded, and the machine stays as
    /// it is.
    ///
    /// # Errors
    ///
    /// The product can't be had here. The error says what to do.
    pub fn obtain(product: Product) -> Result<Self> {
        if let Some(installation) = Self::find(product)? {
            return Ok(installation);
        }
        let selection = match product {
            Product::MariaDb => &Selection::MARIADB,
            Product::MySql => &Selection::MYSQL,
        };
        packages::get(selection)?;
        Self::find(product)?.ok_or_else(|| incomplete(selection, "programs that are needed"))
    }

    /// What [`find`](Self::find) finds of a MariaDB that can be a node of a cluster.
    ///
    /// # Errors
    ///
    /// Programs are there, but don't run.
    pub fn find_with_galera() -> Result<Option<Self>> {
        for found in [Self::of_machine()?, Self::of_copy(&Selection::GALERA)?] {
            if let Some(installation) = found
                && installation.galera.is_some()
                && ["wsrep_sst_rsync", "rsync"].iter().all(|name| installation.has(name))
            {
                return Ok(Some(installation));
            }
        }
        Ok(None)
    }

    /// The same for a MariaDB that can be a node of a cluster as [`obtain`](Self::obtain) for servers.
    ///
    /// # Errors
    ///
    /// It can't be had here. The error says what to do.
    pub fn obtain_with_galera() -> Result<Self> {
        if let Some(installation) = Self::find_with_galera()? {
            return Ok(installation);
        }
        packages::get(&Selection::GALERA)?;
        Self::find_with_galera()?
            .ok_or_else(|| incomplete(&Selection::GALERA, "what a cluster needs"))
    }

    /// Whose programs these are.
    #[must_use]
    pub fn product(&self) -> Product {
        self.product
    }

    /// The version, as the server says it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The library that makes nodes of servers.
    pub(super) fn galera(&self) -> Option<&Path> {
        self.galera.as_deref()
    }

    /// One of the programs. Those of a copy get the libraries that came with them.
    pub(super) fn program(&self, name: &str) -> Result<Command> {
        let path = self.path(name).ok_or_else(|| format!("{} has no {name}", self.product))?;
        let mut command = if let Some(loader) = &self.loader {
            let mut command = Command::new(loader);
            command.arg("--library-path").arg(&self.libraries).arg(path);
            command
        } else {
            let mut command = Command::new(path);
            if self.prefix.is_some() {
                command.env("LD_LIBRARY_PATH", &self.libraries);
            }
            command
        };
        if self.prefix.is_some() {
            let machine = env::var_os("PATH").unwrap_or_default();
            let directories = self.directories.iter().cloned();
            let all = env::join_paths(directories.chain(env::split_paths(&machine)))?;
            command.env("PATH", all);
        }
        Ok(command)
    }

    /// The server, with the arguments that it always needs.
    pub(super) fn server(&self, user: Option<&str>) -> Result<Command> {
        let mut command = self.program(match self.product {
            Product::MariaDb => "mariadbd",
            Product::MySql => "mysqld",
        })?;
        command.arg("--no-defaults").args(self.places());
        // Servers refuse to be root's unless they are told so.
        if let Some(user) = user.or_else(|| getuid().is_root().then_some("root")) {
            command.arg(format!("--user={user}"));
        }
        if self.product == Product::MySql {
            command.args(["--secure-file-priv=", "--mysqlx=OFF"]);
        }
        Ok(command)
    }

    /// Where a copy has its files, for programs that would look for them in `/usr`.
    pub(super) fn places(&self) -> Vec<OsString> {
        let places = [
            ("--basedir=", ""),
            ("--lc-messages-dir=", "share/mysql"),
            ("--character-sets-dir=", "share/mysql/charsets"),
            ("--plugin-dir=", "lib/mysql/plugin"),
        ];
        let argument = |prefix: &PathBuf, (option, place): (&str, &str)| {
            let mut argument = OsString::from(option);
            argument.push(if place.is_empty() { prefix.clone() } else { prefix.join(place) });
            argument
        };
        let prefixes = self.prefix.iter();
        prefixes.flat_map(|prefix| places.map(|place| argument(prefix, place))).collect()
    }

    /// The name of the program that turns the system's time zones into SQL.
    pub(super) fn zones_program(&self) -> &'static str {
        let names = ["mariadb-tzinfo-to-sql", "mysql_tzinfo_to_sql"];
        names.into_iter().find(|name| self.has(name)).unwrap_or(names[0])
    }

    /// The directory with the system's time zones.
    pub(super) fn zones(&self) -> PathBuf {
        let own = self.prefix.as_ref().map(|prefix| prefix.join("share/zoneinfo"));
        own.filter(|own| own.is_dir()).unwrap_or_else(|| PathBuf::from("/usr/share/zoneinfo"))
    }

    fn of_machine() -> Result<Option<Self>> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut directories: Vec<_> = env::split_paths(&path).collect();
        directories.extend(SYSTEM_DIRECTORIES.map(PathBuf::from));
        let galera = ["/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so"];
        let galera = galera.map(PathBuf::from).into_iter().find(|path| path.exists());
        Self {
            product: Product::MariaDb,
            version: String::new(),
            directories,
            prefix: None,
            libraries: OsString::new(),
            loader: None,
            galera,
        }
        .checked()
    }

    fn of_copy(selection: &Selection) -> Result<Option<Self>> {
        let tree = packages::tree(selection);
        if !tree.is_dir() {
            return Ok(None);
        }
        let libraries = library_directories(&tree)?;
        let loader = libraries.iter().find_map(|directory| loader_in(directory));
        let prefix = tree.join("usr");
        let galera = prefix.join("lib/galera/libgalera_smm.so");
        Self {
            product: selection.product,
            version: String::new(),
            directories: ["usr/bin", "usr/sbin", "bin", "sbin"]
                .map(|place| tree.join(place))
                .into(),
            prefix: Some(prefix),
            libraries: env::join_paths(&libraries)?,
            loader,
            galera: galera.exists().then_some(galera),
        }
        .checked()
    }

    /// This, if it is complete, with its version.
    fn checked(mut self) -> Result<Option<Self>> {
        let (server, programs) = match self.product {
            Product::MariaDb => ("mariadbd", ["mariadbd", "mariadb-install-db"].as_slice()),
            Product::MySql => ("mysqld", ["mysqld"].as_slice()),
        };
        let mut needed = programs.iter().copied().chain([self.zones_program()]);
        let zones = self.zones().join("America/New_York");
        if !needed.all(|name| self.has(name)) || !zones.exists() {
            return Ok(None);
        }
        let line = program::read(self.program(server)?.args(["--no-defaults", "--version"]))?;
        let version = line.split_once("Ver ").and_then(|(_, rest)| rest.split_whitespace().next());
        version.ok_or("the server doesn't say its version")?.clone_into(&mut self.version);
        Ok(Some(self))
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).is_some()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let paths = self.directories.iter().map(|directory| directory.join(name));
        paths.into_iter().find(|path| path.is_file())
    }
}

/// What to say of packages that are there and not enough.
fn incomplete(selection: &Selection, lacking: &str) -> Box<dyn Error + Send + Sync> {
    let (product, copy) = (selection.product, packages::place(selection));
    let again = if copy.is_dir() {
        format!("; delete {} to have them downloaded anew", copy.display())
    } else {
        String::new()
    };
    format!("the packages of {product} lack {lacking}{again}").into()
}

fn library_directories(tree: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for place in ["usr/lib", "lib"] {
        let directory = tree.join(place);
        if !directory.is_dir() {
            continue;
        }
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let is_triplet = |name: &OsStr| name.to_string_lossy().contains("-linux-");
            if path.file_name().is_some_and(is_triplet) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn loader_in(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("ld-linux") || name.starts_with("ld64")
    })
}
