//! Servers in artifacts of Maven.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Result, program};

/// The archive in the artifact, a jar.
const ARCHIVE: &str = "mysql-Linux-amd64.tar.gz";

/// Gets an artifact that has a server in an archive, and unpacks it over the `tree` in a directory,
/// as a package of Debian would be.
pub(crate) fn download_into(artifact: &str, directory: &Path) -> Result {
    let jar = directory.join("jar");
    let mut unpack = Command::new("mvn");
    unpack.args(["--batch-mode", "--quiet", "dependency:unpack"]);
    unpack.arg(format!("-Dartifact={artifact}"));
    // Else it would keep its marks below the directory in which it is called.
    unpack.arg(format!("-DmarkersDirectory={}", jar.join("marks").display()));
    unpack.arg(format!("-DoutputDirectory={}", jar.display())).current_dir(directory);
    program::run(&mut unpack)?;
    let prefix = directory.join("tree/usr");
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(jar.join(ARCHIVE)).arg("--directory").arg(&prefix);
    // Over the messages of MariaDB, whose server isn't run from here.
    tar.arg("--transform=s,^share,share/mysql,");
    program::run(&mut tar)?;
    Ok(fs::remove_dir_all(jar)?)
}
