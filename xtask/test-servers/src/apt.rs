//! Debian's packages: installed, or downloaded and unpacked.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::{PackageSet, Source, say};
use crate::{Result, program};

/// Installs packages on the machine, without starting any service.
pub(crate) fn install(set: &PackageSet) -> Result {
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

/// Gets the packages into `packages`, and their files into `tree`, with a root of apt's own in
/// `apt`.
pub(crate) fn download_into(set: &PackageSet, directory: &Path) -> Result {
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
    if !set.alone.is_empty() {
        program::run(apt_get().arg("download").args(set.alone).current_dir(&archives))?;
    }
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
    if let Source::Debian(suite) = set.source {
        // Nothing of the machine's need fit with another release, so everything is taken from
        // there, the C library included.
        fs::write(status, "")?;
        fs::write(apt.join("etc/sources.list"), source_of(suite)?)?;
        writeln!(lines, "Dir::Etc \"{root}/etc\";\nAcquire::Check-Valid-Until \"false\";")?;
    } else {
        fs::copy("/var/lib/dpkg/status", status)?;
        lines.push_str("Dir::Etc \"/etc/apt\";\n");
    }
    let configuration = apt.join("apt.conf");
    fs::write(&configuration, lines)?;
    Ok(configuration)
}

/// Returns apt's source line for a release of Debian on the mirror that has the machine's own.
fn source_of(suite: &str) -> Result<String> {
    const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let about = fs::read_to_string("/etc/os-release")?;
    let value = |name: &str| {
        let line = about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"')
    };
    if value("ID") != "debian" {
        return Err(format!("only Debian's mirrors have Debian's {suite}").into());
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
    Ok(format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

pub(crate) fn has_apt() -> bool {
    Path::new("/etc/debian_version").exists()
        && program::run(Command::new("apt-get").arg("--version")).is_ok()
}
