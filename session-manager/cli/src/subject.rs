//! Which user is meant.

use clap::Args;
use session_manager::subject_in_store;

use crate::failure::Failure;

/// A user's sessions, or everybody's.
#[derive(Args, Debug)]
pub(crate) struct SubjectArguments {
    /// The user, as the application calls them
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,

    /// The name of the session cookie: applications with different ones have different users
    #[arg(long, value_name = "NAME", default_value = "__Host-session", requires = "subject")]
    cookie: String,

    /// The subject is what the store has, as `stats` shows it: for stores without a session manager
    #[arg(long, requires = "subject", conflicts_with = "cookie")]
    as_stored: bool,
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
            Some(subject) => match subject_in_store(&self.cookie, subject) {
                Ok(in_store) => Ok(Some(in_store)),
                Err(error) => Err(Failure::usage(format!("--subject: {error}"))),
            },
        }
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
