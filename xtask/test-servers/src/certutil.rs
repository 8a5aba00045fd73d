//! NSS's `certutil`, which tells Chromium on Linux whose certificates to trust.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::packaged_program::PackagedProgram;
use crate::packages::PackageSet;
use crate::{Result, program};

const CERTUTIL: PackagedProgram = PackagedProgram {
    name: "certutil",
    directory: "usr/bin",
    package: PackageSet::CERTUTIL,
    how_to_get_it: "Debian: apt-get install libnss3-tools    Fedora: dnf install nss-tools",
};

/// Gets `certutil` if it isn't there: Debian's package is unpacked below the target directory.
pub fn obtain_certutil() -> Result {
    CERTUTIL.obtain()
}

/// Has the programs of a home directory, Chromium among them, trust an authority, whose certificate
/// is in a file of PEM.
pub fn trust_authority(home: &Path, authority: &Path) -> Result {
    let database = home.join(".pki/nssdb");
    fs::create_dir_all(&database)?;
    let certutil = || -> Result<Command> {
        let found = CERTUTIL.find();
        let mut command = found.ok_or("there is no certutil; `cargo xtask browser` gets it")?;
        command.arg("-d").arg(format!("sql:{}", database.display()));
        Ok(command)
    };
    program::run(certutil()?.args(["-N", "--empty-password"]))?;
    // Trusted for servers.
    program::run(certutil()?.args(["-A", "-n", "test", "-t", "C,,", "-i"]).arg(authority))
}
