//! A program of the machine or, if that has none, of a Debian package that is unpacked below the
//! target directory.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::packages::{self, PackageSet, make_once, say};
use crate::{Result, apt, installation};

pub(crate) struct PackagedProgram {
    pub(crate) name: &'static str,
    /// Where the package has it.
    pub(crate) directory: &'static str,
    pub(crate) package: PackageSet,
    /// For a person.
    pub(crate) how_to_get_it: &'static str,
}

impl PackagedProgram {
    /// Gets the program if it isn't there.
    pub(crate) fn obtain(&self) -> Result {
        if self.find().is_some() {
            return Ok(());
        }
        let Self { name, package, how_to_get_it, .. } = self;
        say(&format!("downloading the package of {name}, below target/servers"));
        make_once(package.name, |directory| apt::download_into(package, directory))
            .map_err(|error| format!("{name} isn't available: {error}\n    {how_to_get_it}"))?;
        self.find().map(drop).ok_or_else(|| format!("the package has no program {name}").into())
    }

    /// The program, with what it needs to run.
    pub(crate) fn find(&self) -> Option<Command> {
        let path = env::var_os("PATH").unwrap_or_default();
        // It isn't on the path of every user.
        let machine = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let machine = machine.map(|directory| directory.join(self.name));
        if let Some(machine) = machine.into_iter().find(|path| path.is_file()) {
            return Some(Command::new(machine));
        }
        let tree = packages::tree(&self.package);
        let program = tree.join(self.directory).join(self.name);
        if !program.is_file() {
            return None;
        }
        let mut command = Command::new(program);
        let libraries = installation::library_directories(&tree);
        command.env("LD_LIBRARY_PATH", env::join_paths(libraries).ok()?);
        Some(command)
    }
}
