//! Servers that are Go programs, built from their source by a module of `xtask/engines`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::make_once;
use crate::{Result, program};

/// Where the modules are.
const ENGINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../engines");

/// A server, by the module that requires its release.
pub(crate) struct GoProgram {
    /// The directory of `xtask/engines`, and what the built program is called there.
    pub(crate) engine: &'static str,
    /// The module that has the program.
    pub(crate) module: &'static str,
    /// The program's package in that module. Its last part is the program's name.
    pub(crate) package: &'static str,
    /// What the linker sets besides.
    pub(crate) linker_flags: &'static str,
}

impl GoProgram {
    /// Returns the program's path. It is built below the target directory if it isn't there.
    pub(crate) fn obtain(&self) -> Result<PathBuf> {
        let name = format!("{}-{}", self.engine, self.version()?);
        let directory = make_once(&name, |directory| {
            if program::run(Command::new("go").arg("version")).is_err() {
                let engine = self.engine;
                return Err(format!(
                    "{engine} is a Go program: `go` must be in the PATH to build it"
                )
                .into());
            }
            let flags = format!("-ldflags=-s -w {}", self.linker_flags);
            let mut build = Command::new("go");
            build.current_dir(self.manifest_directory());
            build.args(["build", "-buildvcs=false", &flags, "-o"]).arg(directory);
            program::run(build.arg(format!("{}/{}", self.module, self.package)))
        })?;
        let file = self.package.rsplit('/').next().unwrap_or(self.package);
        Ok(directory.join(file))
    }

    fn manifest_directory(&self) -> PathBuf {
        Path::new(ENGINES).join(self.engine)
    }

    /// The version that the manifest requires.
    fn version(&self) -> Result<String> {
        let manifest = fs::read_to_string(self.manifest_directory().join("go.mod"))?;
        let mut words = manifest.split_whitespace().skip_while(|word| *word != self.module);
        let version = words.nth(1).map(str::to_owned);
        version.ok_or_else(|| format!("go.mod doesn't require {}", self.module).into())
    }
}
