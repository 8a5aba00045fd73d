//! Packages of the distribution: installed, or unpacked below the target directory.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

use rustix::fs::{FlockOperation, flock};
use rustix::process::getuid;

use crate::{Product, Result, program};

/// The packages for a purpose.
pub(crate) struct PackageSet {
    pub(crate) product: Product,
    /// The directory below `target/servers`.
    name: &'static str,
    /// Packages that are needed with their dependencies.
    with_dependencies: &'static [&'static str],
    /// Packages of which single files are needed, which work without the dependencies of the rest.
    /// A copy always has them, because machines are known to have deleted the files of packages
    /// such as tzdata.
    alone: &'static [&'static str],
}

impl PackageSet {
    /// The server and its time zones, whose program is in the package of the clients.
    const MARIADB: Self = Self {
        product: Product::MariaDb,
        name: "mariadb",
        with_dependencies: &["mariadb-server-core", "mariadb-client-core"],
        alone: &["mariadb-client", "tzdata"],
    };

    /// The same, and what copies a node's state to another.
    pub(crate) const GALERA: Self = Self {
        product: Product::MariaDb,
        name: "galera",
        with_dependencies: &[
            "mariadb-server-core",
            "mariadb-client-core",
            "galera-4",
            "rsync",
            "lsof",
        ],
        alone: &["mariadb-client", "mariadb-server", "tzdata"],
    };

    /// Oracle's server, which only Debian unstable has.
    const MYSQL: Self = Self {
        product: Product::MySql,
        name: "mysql",
        with_dependencies: &["mysql-server-core", "mysql-client-core"],
        alone: &["tzdata"],
    };

    /// The packages of a single server.
    pub(crate) fn of(product: Product) -> &'static Self {
        match product {
            Product::MariaDb => &Self::MARIADB,
            Product::MySql => &Self::MYSQL,
        }
    }

    pub(crate) fn has_galera(&self) -> bool {
        self.name == Self::GALERA.name
    }

    /// Whether the packages are in Debian unstable, and not in the machine's own release.
    fn is_from_unstable(&self) -> bool {
        self.product == Product::MySql
    }

    fn names(&self) -> Vec<&'static str> {
        [self.with_dependencies, self.alone].concat()
    }
}

/// Gets packages. Installs them if this is root in CI, where nobody is surprised by that, and the
/// machine's own release has them; else downloads them.
pub(crate) fn get(set: &PackageSet) -> Result {
    let may_install = env::var_os("CI").is_some() && getuid().is_root() && has_apt();
    if may_install && !set.is_from_unstable() { install(set) } else { download(set) }
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

/// Installs packages on the machine, without starting any service.
fn install(set: &PackageSet) -> Result {
    let names = set.names();
    say(&format!("CI is set: installing {}", names.join(", ")));
    let install = || {
        let mut command = apt_get();
        command.args(["install", "--yes", "--no-install-recommends"]).args(&names);
        program::run(&mut command)
    };
    let update_and_install = || program::run(apt_get().arg("update")).and_then(|()| install());
    // The lists may be missing or too old.
    let install = || install().or_else(|_| update_and_install());

    // The distribution's way to forbid that services are started. A policy that exists stays.
    let policy = Path::new("/usr/sbin/policy-rc.d");
    if policy.exists() {
        return install();
    }
    fs::write(policy, "#!/bin/sh\nexit 101\n")?;
    let allowed = fs::set_permissions(policy, Permissions::from_mode(0o755));
    let outcome = allowed.map_err(Into::into).and_then(|()| install());
    fs::remove_file(policy)?;
    outcome
}

/// Downloads packages and unpacks them below the target directory.
fn download(set: &PackageSet) -> Result {
    if !has_apt() {
        return Err(how_to_get(set, "this machine has no apt-get").into());
    }
    say(&format!("downloading {}", set.names().join(", ")));
    make_once(set.name, |directory| download_into(set, directory))
        .map(drop)
        .map_err(|error| how_to_get(set, &error.to_string()).into())
}

/// Gets the packages into `packages`, and their files into `tree`, with a root of apt's own in
/// `apt`.
fn download_into(set: &PackageSet, directory: &Path) -> Result {
    let apt = directory.join("apt");
    let packages = directory.join("packages");
    let configuration = configure(set, &apt)?;
    let apt_get = || {
        let mut command = apt_get();
        command.env("APT_CONFIG", &configuration);
        command
    };
    // One unreachable source of many needn't matter. If it does, the next step fails.
    let updated = program::run(apt_get().arg("update"));
    let mut download = apt_get();
    // With those that the machine has: a copy is complete but for the libraries at the bottom.
    download.args(["install", "--yes", "--download-only", "--reinstall"]);
    program::run(download.args(set.with_dependencies)).map_err(|error| {
        updated.err().map_or(error.to_string(), |first| format!("{first}{error}"))
    })?;
    let archives = apt.join("cache/archives");
    program::run(apt_get().arg("download").args(set.alone).current_dir(&archives))?;
    let tree = directory.join("tree");
    fs::create_dir(&tree)?;
    fs::create_dir(&packages)?;
    for entry in fs::read_dir(&archives)? {
        let package = entry?.path();
        if package.extension() == Some(OsStr::new("deb")) {
            program::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&tree))?;
            fs::rename(&package, packages.join(package.file_name().unwrap_or_default()))?;
        }
    }
    Ok(fs::remove_dir_all(apt)?)
}

/// Makes a root of apt's own, so that neither the machine's lists nor its packages change, and root
/// isn't needed. Returns the path of its configuration.
fn configure(set: &PackageSet, apt: &Path) -> Result<PathBuf> {
    for directory in ["etc/preferences.d", "state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(directory))?;
    }
    let status = apt.join("status");
    // Of the machine's configuration, how to reach its mirrors. The rest has hooks, which would
    // change the machine.
    let machine = program::read(Command::new("apt-config").arg("dump"))?;
    let acquire = machine.lines().filter(|line| line.starts_with("Acquire::"));
    let mut lines: String = acquire.flat_map(|line| [line, "\n"]).collect();
    let root = apt.display();
    write!(
        lines,
        r#"Dir "{root}";
Dir::State "state";
Dir::State::status "{root}/status";
Dir::Cache "cache";
Dir::Etc::parts "/dev/null";
Dir::Etc::main "/dev/null";
Dir::Etc::trusted "/etc/apt/trusted.gpg";
Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
"#
    )?;
    if set.is_from_unstable() {
        // Nothing of the machine's fits with unstable, so everything is taken from there, the C
        // library included.
        fs::write(status, "")?;
        fs::write(apt.join("etc/sources.list"), unstable()?)?;
        writeln!(lines, "Dir::Etc \"{root}/etc\";\nAcquire::Check-Valid-Until \"false\";")?;
    } else {
        fs::copy("/var/lib/dpkg/status", status)?;
        lines.push_str("Dir::Etc \"/etc/apt\";\n");
    }
    let configuration = apt.join("apt.conf");
    fs::write(&configuration, lines)?;
    Ok(configuration)
}

/// Returns apt's source line for Debian unstable on the mirror that has the machine's own release.
fn unstable() -> Result<String> {
    const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let about = fs::read_to_string("/etc/os-release")?;
    let value = |name: &str| {
        let line = about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"')
    };
    if value("ID") != "debian" {
        return Err("only Debian's mirrors have Debian unstable".into());
    }
    let names = [value("VERSION_CODENAME"), "oldstable", "stable", "testing", "sid", "unstable"];
    // What an update would read first: 'http://mirror/debian/dists/trixie/InRelease' …
    let files = program::read(Command::new("apt-get").args(["update", "--print-uris"]))?;
    let mirror = files.lines().find_map(|line| {
        let (mirror, rest) = line.strip_prefix('\'')?.split_once("/dists/")?;
        let (release, _) = rest.split_once("/InRelease'")?;
        (!release.is_empty() && names.contains(&release)).then_some(mirror)
    });
    let mirror = mirror.ok_or("apt has no mirror of the machine's own release")?;
    Ok(format!("deb [signed-by={KEYRING}] {mirror} sid main\n"))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn has_apt() -> bool {
    Path::new("/etc/debian_version").exists()
        && program::run(Command::new("apt-get").arg("--version")).is_ok()
}

fn how_to_get(set: &PackageSet, why: &str) -> String {
    let advice = match set.product {
        Product::MariaDb => {
            "With `mariadbd`, `mariadb-install-db` and `mariadb-tzinfo-to-sql` in the PATH, none is downloaded.
    Debian: apt-get install mariadb-server    Fedora: dnf install mariadb-server    macOS: brew install mariadb"
        }
        Product::MySql => {
            "It is taken from Debian unstable, which needs a Debian machine and a mirror in reach.
    Another server can be named: STORE_MYSQL_URL=mysql://root@host:port"
        }
    };
    format!("{} isn't available: {}\n    {advice}", set.product, why.trim_end())
}

/// Tells the person at the terminal what takes a while.
fn say(line: &str) {
    use io::Write as _;
    let _ = writeln!(io::stderr(), "{line}");
}
