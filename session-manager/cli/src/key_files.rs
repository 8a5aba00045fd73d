//! The keys of an application that seals its sessions, or hashes its users.

use std::borrow::Cow;
use std::path::PathBuf;

use clap::Args;
use session_manager::{Codec, Json, KeyError, KeyRing, Row, Sealed, SecretKey};
use store_core::{ErrorChain, Record};

use crate::failure::Failure;

/// Files with keys. None is ever shown.
#[derive(Args, Debug)]
pub(crate) struct KeyFiles {
    /// The keys of sealed sessions, as `KeyRing::from_file` reads them; else those are "unknown"
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,

    /// The key of hashed users, as `SecretKey::from_file` reads it
    #[arg(long, value_name = "FILE", requires = "subject", conflicts_with = "as_stored")]
    subject_key: Option<PathBuf>,
}

impl KeyFiles {
    /// Returns what opens the sessions of the application whose cookie has this name.
    pub(crate) fn unsealer(&self, cookie: &str) -> Result<Unsealer, Failure> {
        let keys = self.keys.as_ref().map(KeyRing::from_file).transpose();
        let keys = keys.map_err(|error| invalid("--keys", &error))?;
        // Whether what is in it is JSON isn't asked when it is opened.
        let codec = keys.map(|keys| Sealed::new(Json, keys).with_plain_opened());
        Ok(Unsealer { codec, cookie: cookie.to_owned() })
    }

    pub(crate) fn subject_key(&self) -> Result<Option<SecretKey>, Failure> {
        let key = self.subject_key.as_ref().map(SecretKey::from_file).transpose();
        key.map_err(|error| invalid("--subject-key", &error))
    }
}

fn invalid(option: &str, error: &KeyError) -> Failure {
    Failure::usage(format!("{option}: {}", ErrorChain(error)))
}

/// Opens sealed sessions, if there are keys.
#[derive(Debug, Default)]
pub(crate) struct Unsealer {
    codec: Option<Sealed<Json>>,
    cookie: String,
}

impl Unsealer {
    /// Returns the session's bytes as an application without sealing has them, or those that the
    /// store has, if they can't be opened.
    pub(crate) fn unseal<'r>(&self, record: &Record<'r>) -> Cow<'r, [u8]> {
        let row = Row::new(&self.cookie, record.token);
        let opened = self.codec.as_ref().and_then(|codec| codec.open(&row, record.data).ok());
        opened.unwrap_or(Cow::Borrowed(record.data))
    }
}
