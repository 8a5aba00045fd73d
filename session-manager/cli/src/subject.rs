//! Which user is meant.

use clap::Args;
use session_manager::{hashed_subject_in_store, subject_in_store};

use crate::failure::Failure;
use crate::key_files::{KeyFiles, Unsealer};

/// A user's sessions, or everybody's.
#[derive(Args, Debug)]
pub(crate) struct SubjectArguments {
    /// The user, as the application calls them
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,

    /// The name of the session cookie: applications with different ones have different users, and
    /// seal their sessions for it
    #[arg(long, value_name = "NAME", default_value = "__Host-session")]
    cookie: String,

    /// The subject is what the store has, as `stats` shows it: for stores without a session manager
    #[arg(long, requires = "subject", conflicts_with = "cookie")]
    as_stored: bool,

    #[command(flatten)]
    keys: KeyFiles,
}

impl SubjectArguments {
    /// The user as the application calls them.
    pub(crate) fn name(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Returns the subject as the store has it, if there is one.
    pub(crate) fn in_store(&self) -> Result<Option<String>, Failure> {
        match &self.subject {
            None => Ok(None),
            Some(subject) if self.as_stored => Ok(Some(subject.clone())),
            Some(subject) => {
                let in_store = match self.keys.subject_key()? {
                    Some(key) => hashed_subject_in_store(&self.cookie, subject, &key),
                    None => subject_in_store(&self.cookie, subject),
                };
                in_store.map(Some).map_err(|error| Failure::usage(format!("--subject: {error}")))
            }
        }
    }

    /// Returns what opens the sessions.
    pub(crate) fn unsealer(&self) -> Result<Unsealer, Failure> {
        self.keys.unsealer(&self.cookie)
    }

    /// What to say if the user has no sessions.
    pub(crate) fn not_found(&self) -> String {
        let subject = self.subject.as_deref().unwrap_or_default();
        if self.as_stored {
            format!("no session of {subject:?}; `sessions stats` shows subjects as they are stored")
        } else {
            format!(
                "no session of {subject:?} under the cookie {:?}; `sessions list` shows which \
                 cookies there are, and --cookie names another one",
                self.cookie
            )
        }
    }
}
