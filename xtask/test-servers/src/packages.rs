//! Packages of the distribution: installed, or unpacked below the target directory.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use rustix::process::getuid;

use super::{Product, program};
use crate::{Result, say};

/// What to get for a purpose.
pub(super) struct Selection {
    pub(super) product: Product,
    /// The directory below `target/servers`.
    name: &'static str,
    /// Packages that are needed with what they depend on.
    whole: &'static [&'static str],
    /// Packages of which single files are needed, which work without what others of them depend on. A
    /// copy always has them, because machines are known to have deleted the files of packages such as
    /// tzdata.
    alone: &'static [&'static str],
    archive: Archive,
}

#[derive(PartialEq, Eq)]
enum Archive {
    /// What the machine's package manager uses.
    Machine,
    /// Debian unstable, on the mirror that the machine's package manager uses.
    Unstable,
}

impl Selection {
    /// The server and its time zones, whose program is in the package of the clients.
    pub(super) const MARIADB: Self = Self {
        product: Product::MariaDb,
        name: "mariadb",
        whole: &["mariadb-server-core", "mariadb-client-core"],
        alone: &["mariadb-client", "tzdata"],
        archive: Archive::Machine,
    };

    /// The same, and what moves a node's state to another.
    pub(super) const GALERA: Self = Self {
        product: Product::MariaDb,
        name: "galera",
        whole: &["mariadb-server-core", "mariadb-client-core", "galera-4", "rsync", "lsof"],
        alone: &["mariadb-client", "mariadb-server", "tzdata"],
        archive: Archive::Machine,
    };

    /// Oracle's server, which only unstable has.
    pub(super) const MYSQL: Self = Self {
        product: Product::MySql,
        name: "mysql",
        whole: &["mysql-server-core", "mysql-client-core"],
        alone: &["tzdata"],
        archive: Archive::Unstable,
    };
}

/// Gets packages: installs them where that may be and the machine's own archive has them, else
/// downloads them.
pub(super) fn get(selection: &Selection) -> Result {
    if selection.archive == Archive::Machine && may_install() {
        install(selection)
    } else {
        download(selection)
    }
}

/// Whether packages may be installed on the machine: nobody but CI is surprised by that.
fn may_install() -> bool {
    env::var_os("CI").is_some() && getuid().is_root() && has_apt()
}

/// Where the packages are kept, if they were downloaded.
pub(super) fn place(selection: &Selection) -> PathBuf {
    servers().join(selection.name)
}

/// Where they are unpacked.
pub(super) fn tree(selection: &Selection) -> PathBuf {
    place(selection).join("tree")
}

/// Installs packages on the machine, without starting any service.
fn install(selection: &Selection) -> Result {
    let names = selection.whole.iter().chain(selection.alone);
    say(&format!("CI is set: installing {}", list(names.clone())));
    // The distribution's way to say that no service may be started. One that is there has its reasons.
    let policy = Policy::forbid_services()?;
    let install = || {
        let mut command = apt_get();
        command.args(["install", "--yes", "--no-install-recommends"]).args(names.clone());
        program::run(&mut command)
    };
    // The lists may be absent or too old.
    install().or_else(|_| {
        program::run(apt_get().arg("update"))?;
        install()
    })?;
    drop(policy);
    Ok(())
}

/// Downloads packages and unpacks them below the target directory.
fn download(selection: &Selection) -> Result {
    if !has_apt() {
        return Err(how_to_get(selection, "this machine has no apt-get").into());
    }
    say(&format!("downloading {}", list(selection.whole.iter().chain(selection.alone))));
    make(selection.name, |place| fill(selection, place))
        .map(drop)
        .map_err(|error| how_to_get(selection, &error.to_string()).into())
}

/// Makes a directory below `target/servers` unless it is there, and gives the `data` in it. An
/// interrupted attempt isn't taken for the directory, and others wait for one that is under way.
pub(super) fn make_once(name: &str, fill: impl FnOnce(&Path) -> Result) -> Result<PathBuf> {
    Ok(make(name, fill)?.join("data"))
}

fn make(name: &str, fill: impl FnOnce(&Path) -> Result) -> Result<PathBuf> {
    let servers = servers();
    let whole = servers.join(name);
    if whole.is_dir() {
        return Ok(whole);
    }
    fs::create_dir_all(&servers)?;
    let lock = File::create(servers.join(format!(".{name}.lock")))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if whole.is_dir() {
        return Ok(whole);
    }
    let partial = servers.join(format!(".{name}.partial"));
    if partial.is_dir() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir(&partial)?;
    fill(&partial)?;
    fs::rename(partial, &whole)?;
    Ok(whole)
}

/// The directory of everything that is kept between runs.
fn servers() -> PathBuf {
    // Cargo marks the target directory, wherever it is; the programs that ask are in it.
    let program = env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|path| path.join("CACHEDIR.TAG").is_file());
    let target = match (marked, env::var_os("CARGO_TARGET_DIR")) {
        (Some(marked), _) => marked.to_owned(),
        (None, Some(target)) => PathBuf::from(target),
        (None, None) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    };
    target.join("servers")
}

/// Gets the packages into `packages`, and what is in them into `tree`, with a root of apt's own in `apt`.
fn fill(selection: &Selection, place: &Path) -> Result {
    let apt = place.join("apt");
    let packages = place.join("packages");
    let configuration = configure(selection, &apt)?;
    let apt_get = || {
        let mut command = apt_get();
        command.env("APT_CONFIG", &configuration);
        command
    };
    // One source of many that is out of reach needn't matter. Where it does, the next step fails.
    let updated = program::run(apt_get().arg("update"));
    let mut download = apt_get();
    // Those that the machine has as well: a copy is complete by itself but for the libraries underneath.
    download.args(["install", "--yes", "--download-only", "--reinstall"]).args(selection.whole);
    program::run(&mut download).map_err(|error| {
        updated.err().map_or(error.to_string(), |first| format!("{first}{error}"))
    })?;
    let archives = apt.join("cache/archives");
    let mut download = apt_get();
    program::run(download.arg("download").args(selection.alone).current_dir(&archives))?;
    let tree = place.join("tree");
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

/// A root of apt's own, so that neither the machine's lists nor its packages change, and root isn't needed.
fn configure(selection: &Selection, apt: &Path) -> Result<PathBuf> {
    for place in ["etc/preferences.d", "state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(place))?;
    }
    let status = apt.join("status");
    let mut lines = String::new();
    let root = apt.display();
    // Of the machine's configuration, how to reach its mirrors. The rest has hooks, which would
    // change the machine.
    for line in program::read(Command::new("apt-config").arg("dump"))?.lines() {
        if line.starts_with("Acquire::") {
            writeln!(lines, "{line}")?;
        }
    }
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
    if selection.archive == Archive::Machine {
        fs::copy("/var/lib/dpkg/status", status)?;
        lines.push_str("Dir::Etc \"/etc/apt\";\n");
    } else {
        // Nothing of the machine's fits to unstable, so everything is taken from there, the C library
        // included.
        fs::write(status, "")?;
        fs::write(apt.join("etc/sources.list"), unstable()?)?;
        writeln!(lines, "Dir::Etc \"{root}/etc\";\nAcquire::Check-Valid-Until \"false\";")?;
    }
    let configuration = apt.join("apt.conf");
    fs::write(&configuration, lines)?;
    Ok(configuration)
}

/// The line of Debian unstable on the mirror from which the machine has its own release.
fn unstable() -> Result<String> {
    const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let about = fs::read_to_string("/etc/os-release")?;
    let value = |name: &str| {
        let line = about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    if value("ID") != "debian" {
        return Err("only Debian's mirrors have Debian unstable".into());
    }
    let codename = value("VERSION_CODENAME");
    // What an update would read first, be there lists or not: 'http://mirror/debian/dists/trixie/InRelease' …
    let files = program::read(Command::new("apt-get").args(["update", "--print-uris"]))?;
    let mirror = files.lines().find_map(|line| {
        let (mirror, rest) = line.strip_prefix('\'')?.split_once("/dists/")?;
        let (release, _) = rest.split_once("/InRelease'")?;
        let names = [codename.as_str(), "oldstable", "stable", "testing", "sid", "unstable"];
        (!release.is_empty() && names.contains(&release)).then_some(mirror)
    });
    let mirror = mirror.ok_or("apt has no mirror of the machine's own release")?;
    Ok(format!("deb [signed-by={KEYRING}] {mirror} sid main\n"))
}

/// A policy that no service is started, for as long as it lives.
struct Policy(Option<&'static Path>);

impl Policy {
    fn forbid_services() -> Result<Self> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(Self(None));
        }
        fs::write(path, "#!/bin/sh\nexit 101\n")?;
        let policy = Self(Some(path));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(policy)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = fs::remove_file(path);
        }
    }
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

fn list<'a>(names: impl Iterator<Item = &'a &'static str>) -> String {
    names.copied().collect::<Vec<_>>().join(", ")
}

fn how_to_get(selection: &Selection, why: &str) -> String {
    let product = selection.product;
    let advice = match product {
        Product::MariaDb => {
            "With `mariadbd`, `mariadb-install-db` and `mariadb-tzinfo-to-sql` in the PATH, none is downloaded.
    Debian: apt-get install mariadb-server    Fedora: dnf install mariadb-server    macOS: brew install mariadb"
        }
        Product::MySql => {
            "It is taken from Debian unstable, which needs a Debian machine and a mirror in reach.
    Another server can be named: STORE_MYSQL_URL=mysql://root@host:port"
        }
    };
    format!("{product} can't be had: {}\n    {advice}", why.trim_end())
}
