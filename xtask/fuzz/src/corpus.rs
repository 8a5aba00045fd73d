//! The inputs that are kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Target;

/// Where the corpus of a target is.
#[must_use]
pub fn directory(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// Returns the names and the inputs of a target's corpus, in the order of their names.
///
/// # Errors
/// If a file can't be read, or if there is none.
pub fn read(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let directory = directory(target);
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        inputs.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    inputs.sort();
    if inputs.is_empty() {
        return Err(io::Error::other(format!("{} is empty", directory.display())));
    }
    Ok(inputs)
}
