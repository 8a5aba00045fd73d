//! What can be wrong with keys.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use zeroize::Zeroizing;

/// Why keys can't be used. It shows nothing of them.
///
/// # Examples
/// ```
/// use session_manager::{KeyError, KeyRing};
///
/// assert!(matches!(KeyRing::from_text(""), Err(KeyError::NoKeys)));
/// assert_eq!(KeyError::DuplicateId { id: 7 }.to_string(), "two keys have the id 7");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no key that seals.
    NoKeys,
    /// Two keys have the same id.
    DuplicateId {
        /// The id.
        id: u32,
    },
    /// A key doesn't have 32 bytes.
    InvalidLength {
        /// How many it has.
        len: usize,
    },
    /// A key isn't base64.
    InvalidBase64,
    /// A line of a file isn't an id and a key.
    InvalidLine {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with the key, if the line has one.
        source: Option<Box<KeyError>>,
    },
    /// The file can't be read.
    File {
        /// The file.
        path: PathBuf,
        /// Why it can't.
        source: io::Error,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeys => f.write_str("there is no key that seals"),
            Self::DuplicateId { id } => write!(f, "two keys have the id {id}"),
            Self::InvalidLength { len } => write!(f, "a key has {len} bytes instead of 32"),
            Self::InvalidBase64 => f.write_str("a key is not base64"),
            Self::InvalidLine { line, .. } => write!(f, "line {line} is not an id and a key"),
            Self::File { path, .. } => write!(f, "can't read the keys in {}", path.display()),
        }
    }
}

impl StdError for KeyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::InvalidLine { source, .. } => source.as_ref().map(|source| &**source as _),
            Self::File { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Reads a file with keys.
pub(super) fn read_file(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    text.map_err(|source| KeyError::File { path: path.to_owned(), source })
}
