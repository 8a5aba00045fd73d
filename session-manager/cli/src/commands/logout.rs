//! `sessions logout`: ends sessions.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use session_manager::SessionId;
use store_core::Error;

use crate::engine::Access;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::printable;
use crate::place::Place;
use crate::subject::SubjectArguments;
use crate::target::Target;

/// End sessions: all of a user, one by its id, or all that there are
///
/// It is as final as a logout in the application: a request that is under way can't bring the
/// session back, in any process. It asks first, unless --yes is given, and refuses to go on without
/// a terminal to ask at.
///
/// One of a user's sessions, by --subject and --id, is found at once. With --id alone the whole
/// table is read, several times, until the session is there no more.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sessions --store sqlite:app.db logout --subject 7
  sessions --store sqlite:app.db logout --subject 7 --id 0b6e9d4f3a215c78 --yes
  sessions --store sqlite:app.db logout --all")]
#[group(id = "which", required = true, multiple = true, args = ["subject", "id", "all"])]
pub(crate) struct Logout {
    #[command(flatten)]
    subject: SubjectArguments,

    /// The session with this id, as `list` and the application's logs have it
    #[arg(long, value_name = "ID")]
    id: Option<SessionId>,

    /// All sessions of everybody, also those that nothing is known of
    #[arg(long, conflicts_with_all = ["subject", "id"])]
    all: bool,

    /// Don't ask
    #[arg(long)]
    yes: bool,
}

impl Logout {
    pub(crate) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (subject, unsealer) = (self.subject.in_store()?, self.subject.unsealer()?);
        let (opened, url) = place.open(Access::Write)?;
        let store = opened.store();
        let failed = |error: Error| Failure::of_store(&error, &url);
        let target = Target { subject: subject.as_deref(), id: self.id, unsealer: &unsealer };
        let found = if self.all { store.count() } else { target.count(store) }.map_err(failed)?;
        if found == 0 && !self.all {
            writeln!(io::stderr(), "sessions: {}", self.not_found())?;
            return Ok(Exit::Attention);
        }
        if self.id.is_some() && found > 1 {
            return Err(Failure::new(format!("{found} sessions have this id"))
                .with_next("add --subject, to say whose is meant"));
        }
        if !self.yes && !confirm(&format!("End {} in {url}?", self.describe(found)))? {
            writeln!(io::stderr(), "sessions: nothing was ended")?;
            return Ok(Exit::Unconfirmed);
        }
        let ended = match (self.all, &target) {
            (true, _) => store.delete_all(),
            (false, Target { subject: Some(subject), id: None, .. }) => {
                store.delete_by_subject(subject, None)
            }
            (false, target) => target.end(store).map(u64::from),
        };
        let ended = ended.map_err(failed)?;
        writeln!(out, "{} ended", sessions(ended))?;
        Ok(Exit::Done)
    }

    fn not_found(&self) -> String {
        match self.id {
            Some(id) if self.subject.name().is_some() => {
                format!("no session has the id {id}, or {}", self.subject.not_found())
            }
            Some(id) => format!("no session has the id {id}"),
            None => self.subject.not_found(),
        }
    }

    fn describe(&self, found: u64) -> String {
        match (self.id, self.subject.name()) {
            (Some(id), _) => format!("session {id}"),
            (None, Some(subject)) => format!("{} of {}", sessions(found), printable(subject)),
            (None, None) => format!("all sessions of everybody, {found} live ones,"),
        }
    }
}

fn sessions(number: u64) -> String {
    if number == 1 { "1 session".to_owned() } else { format!("{number} sessions") }
}

/// Asks, and returns whether the answer is yes.
fn confirm(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        writeln!(
            io::stderr(),
            "sessions: {question} There is no terminal to ask at: --yes is the answer"
        )?;
        return Ok(false);
    }
    let mut err = io::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
