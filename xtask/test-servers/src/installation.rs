//! The programs of a release: the machine's own, or a copy below the target directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use rustix::process::getuid;

use crate::packages::{self, PackageSet};
use crate::{Product, Release, Result, program};

/// Where servers are, besides the PATH, which often lacks these for users other than root.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Where the library for clusters is on Debian and on Fedora.
const SYSTEM_GALERA: [&str; 2] =
    ["/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so"];

/// The programs of a release, ready to run.
#[derive(Clone, Debug)]
pub struct Installation {
    release: Release,
    /// As the server prints it, such as `10.11.19-MariaDB`.
    version: String,
    /// Where to look for programs.
    directories: Vec<PathBuf>,
    /// None for the machine's own programs.
    copy: Option<Unpacked>,
    /// The library that makes nodes of servers.
    galera: Option<PathBuf>,
}

/// Packages that are unpacked below the target directory.
#[derive(Clone, Debug)]
struct Unpacked {
    /// What `/usr` is on the machine.
    prefix: PathBuf,
    /// The directories with the copy's libraries, joined as in a PATH.
    libraries: OsString,
    /// The dynamic loader, if the copy has a C library of its own.
    loader: Option<PathBuf>,
}

impl Installation {
    /// Returns what is on this machine: MariaDB in the PATH, or a copy below the target directory.
    /// Downloads nothing.
    pub fn find(release: Release) -> Result<Option<Self>> {
        Self::find_set(&PackageSet::of(release))
    }

    /// Like [`find`](Self::find), for a MariaDB that can be a node of a cluster.
    pub fn find_with_galera() -> Result<Option<Self>> {
        Self::find_set(&PackageSet::GALERA)
    }

    /// Returns what [`find`](Self::find) finds, or else gets it from the package manager: if CI is
    /// set and this is root, MariaDB is installed; otherwise a copy is downloaded, and the machine
    /// stays as it is.
    pub fn obtain(release: Release) -> Result<Self> {
        Self::obtain_set(&PackageSet::of(release))
    }

    /// Like [`obtain`](Self::obtain), for a MariaDB that can be a node of a cluster.
    pub fn obtain_with_galera() -> Result<Self> {
        Self::obtain_set(&PackageSet::GALERA)
    }

    /// Whose programs these are.
    pub fn product(&self) -> Product {
        self.release.product()
    }

    /// Which release it is.
    pub fn release(&self) -> Release {
        self.release
    }

    /// The version, as the server prints it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The library that makes nodes of servers.
    pub(crate) fn galera(&self) -> Option<&Path> {
        self.galera.as_deref()
    }

    /// Returns a command for one of the programs. Those of a copy get the libraries that came with
    /// them.
    pub(crate) fn program(&self, name: &str) -> Result<Command> {
        let path = self.path(name).ok_or_else(|| format!("{} has no {name}", self.release))?;
        let Some(copy) = &self.copy else { return Ok(Command::new(path)) };
        let mut command = Command::new(&path);
        match &copy.loader {
            // Scripts run in the machine's shell, which has its own libraries.
            Some(_) if is_script(&path) => {}
            Some(loader) => {
                command = Command::new(loader);
                command.arg("--library-path").arg(&copy.libraries).arg(path);
            }
            None => {
                command.env("LD_LIBRARY_PATH", &copy.libraries);
            }
        }
        let machine = env::var_os("PATH").unwrap_or_default();
        let directories = self.directories.iter().cloned().chain(env::split_paths(&machine));
        command.env("PATH", env::join_paths(directories)?);
        Ok(command)
    }

    /// Returns a command for the server, with the arguments that it always needs.
    pub(crate) fn server(&self, user: Option<&str>) -> Result<Command> {
        let mut command = self.program(match self.product() {
            Product::MariaDb => "mariadbd",
            Product::MySql => "mysqld",
        })?;
        command.arg("--no-defaults").args(self.directory_arguments());
        // Servers refuse to run as root unless they are told to.
        if let Some(user) = user.or_else(|| getuid().is_root().then_some("root")) {
            command.arg(format!("--user={user}"));
        }
        if self.product() == Product::MySql {
            // 5.7 hasn't the other protocol.
            command.args(["--secure-file-priv=", "--loose-mysqlx=OFF"]);
        }
        Ok(command)
    }

    /// Where a copy has its files, for programs that would look for them in `/usr`.
    pub(crate) fn directory_arguments(&self) -> Vec<OsString> {
        let argument = |copy: &Unpacked, option: &str, directory: &str| {
            let mut argument = OsString::from(option);
            argument.push(copy.prefix.join(directory));
            argument
        };
        let Some(copy) = &self.copy else { return Vec::new() };
        let is_in = |share: &str| copy.prefix.join(share).join("english").is_dir();
        let share = match self.product() {
            Product::MariaDb if is_in("share/mariadb") => "share/mariadb",
            Product::MariaDb | Product::MySql => "share/mysql",
        };
        let options = [
            ("--basedir=", ""),
            ("--lc-messages-dir=", share),
            ("--character-sets-dir=", &format!("{share}/charsets")),
            ("--plugin-dir=", "lib/mysql/plugin"),
        ];
        options.map(|(option, path)| argument(copy, option, path)).into()
    }

    /// The name of the client. That of a later MariaDB isn't called `mysql` any more, and serves
    /// servers of MySQL that come without one.
    pub(crate) fn client(&self) -> &'static str {
        let names = match self.product() {
            Product::MariaDb => ["mariadb", "mysql"],
            Product::MySql => ["mysql", "mariadb"],
        };
        names.into_iter().find(|name| self.has(name)).unwrap_or(names[0])
    }

    /// The name of the program that turns the system's time zones into SQL.
    pub(crate) fn zones_program(&self) -> &'static str {
        let names = ["mariadb-tzinfo-to-sql", "mysql_tzinfo_to_sql"];
        names.into_iter().find(|name| self.has(name)).unwrap_or(names[0])
    }

    /// The directory with the system's time zones.
    pub(crate) fn zones(&self) -> PathBuf {
        let own = self.copy.as_ref().map(|copy| copy.prefix.join("share/zoneinfo"));
        own.filter(|own| own.is_dir()).unwrap_or_else(|| PathBuf::from("/usr/share/zoneinfo"))
    }

    fn find_set(set: &PackageSet) -> Result<Option<Self>> {
        let suits = |found: &Self| !set.has_galera() || found.can_be_node();
        if set.release == Release::MariaDb
            && let Some(machine) = Self::on_machine()?.filter(suits)
        {
            return Ok(Some(machine));
        }
        Ok(Self::unpacked(set)?.filter(suits))
    }

    fn obtain_set(set: &PackageSet) -> Result<Self> {
        if let Some(installation) = Self::find_set(set)? {
            return Ok(installation);
        }
        packages::get(set)?;
        Self::find_set(set)?.ok_or_else(|| {
            let lacking =
                if set.has_galera() { "what a cluster needs" } else { "programs that are needed" };
            let copy = packages::directory(set);
            let again = if copy.is_dir() {
                format!("; delete {} to have them downloaded again", copy.display())
            } else {
                String::new()
            };
            format!("the packages of {} lack {lacking}{again}", set.release).into()
        })
    }

    fn on_machine() -> Result<Option<Self>> {
        let path = env::var_os("PATH").unwrap_or_default();
        let directories = env::split_paths(&path).chain(SYSTEM_DIRECTORIES.map(PathBuf::from));
        Self {
            release: Release::MariaDb,
            version: String::new(),
            directories: directories.collect(),
            copy: None,
            galera: SYSTEM_GALERA.map(PathBuf::from).into_iter().find(|path| path.exists()),
        }
        .checked()
    }

    fn unpacked(set: &PackageSet) -> Result<Option<Self>> {
        let tree = packages::tree(set);
        if !tree.is_dir() {
            return Ok(None);
        }
        let libraries = library_directories(&tree);
        let is_loader = |name: &str| name.starts_with("ld-linux") || name.starts_with("ld64");
        let loader = libraries.iter().find_map(|directory| entries(directory, is_loader).pop());
        let prefix = tree.join("usr");
        let galera = prefix.join("lib/galera/libgalera_smm.so");
        Self {
            release: set.release,
            version: String::new(),
            directories: ["usr/bin", "usr/sbin", "bin", "sbin"].map(|path| tree.join(path)).into(),
            copy: Some(Unpacked { prefix, libraries: env::join_paths(&libraries)?, loader }),
            galera: galera.exists().then_some(galera),
        }
        .checked()
    }

    /// Returns this with its version, if it is complete.
    fn checked(mut self) -> Result<Option<Self>> {
        let (server, others) = match self.product() {
            Product::MariaDb => ("mariadbd", ["mariadb-install-db"].as_slice()),
            Product::MySql => ("mysqld", [].as_slice()),
        };
        let mut needed = others.iter().copied().chain([server, self.zones_program()]);
        let zones = self.zones().join("America/New_York");
        if !needed.all(|name| self.has(name)) || !zones.exists() {
            return Ok(None);
        }
        let line = program::read(self.program(server)?.args(["--no-defaults", "--version"]))?;
        let version = line.split_once("Ver ").and_then(|(_, rest)| rest.split_whitespace().next());
        version.ok_or("the server doesn't print its version")?.clone_into(&mut self.version);
        Ok(Some(self))
    }

    /// Whether this has what a node needs, and what copies a node's state to another.
    fn can_be_node(&self) -> bool {
        self.galera.is_some() && ["wsrep_sst_rsync", "rsync"].iter().all(|name| self.has(name))
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).is_some()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let mut paths = self.directories.iter().map(|directory| directory.join(name));
        paths.find(|path| path.is_file())
    }
}

/// The directories of unpacked packages that have libraries.
pub(crate) fn library_directories(tree: &Path) -> Vec<PathBuf> {
    ["usr/lib", "lib"]
        .iter()
        .flat_map(|directory| entries(&tree.join(directory), |name| name.contains("-linux-")))
        .collect()
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok()) && &start == b"#!"
}

/// The entries of a directory that have such a name; none if it can't be read.
fn entries(directory: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let wanted = entries.filter(|entry| is_wanted(&entry.file_name().to_string_lossy()));
    wanted.map(|entry| entry.path()).collect()
}
