//! NSS's `certutil`, which tells Chromium on Linux whose certificates to trust.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::packages::{self, PackageSet, make_once, say};
use crate::{Result, apt, installation, program};

/// Gets `certutil` if it isn't there: Debian's package is unpacked below the target directory.
pub fn obtain_certutil() -> Result {
    if find().is_some() {
        return Ok(());
    }
    say("downloading libnss3-tools, below target/servers");
    make_once(PackageSet::CERTUTIL.name, |directory| {
        apt::download_into(&PackageSet::CERTUTIL, directory)
    })
    .map_err(|error| {
        format!(
            "certutil isn't available: {error}\n    \
             Debian: apt-get install libnss3-tools    Fedora: dnf install nss-tools"
        )
    })?;
    find().map(drop).ok_or_else(|| "the package libnss3-tools has no certutil".into())
}

/// Has the programs of a home directory, Chromium among them, trust an authority, whose certificate
/// is in a file of PEM.
pub fn trust_authority(home: &Path, authority: &Path) -> Result {
    let database = home.join(".pki/nssdb");
    fs::create_dir_all(&database)?;
    let certutil = || -> Result<Command> {
        let mut command = find().ok_or("there is no certutil; `cargo xtask browser` gets it")?;
        command.arg("-d").arg(format!("sql:{}", database.display()));
        Ok(command)
    };
    program::run(certutil()?.args(["-N", "--empty-password"]))?;
    // Trusted for servers.
    program::run(certutil()?.args(["-A", "-n", "test", "-t", "C,,", "-i"]).arg(authority))
}

/// The machine's program, or that of the package.
fn find() -> Option<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    let machine: Option<PathBuf> = env::split_paths(&path)
        .map(|directory| directory.join("certutil"))
        .find(|path| path.is_file());
    if let Some(machine) = machine {
        return Some(Command::new(machine));
    }
    let tree = packages::tree(&PackageSet::CERTUTIL);
    let program = tree.join("usr/bin/certutil");
    if !program.is_file() {
        return None;
    }
    let mut command = Command::new(program);
    let libraries = installation::library_directories(&tree);
    command.env("LD_LIBRARY_PATH", env::join_paths(libraries).ok()?);
    Some(command)
}
