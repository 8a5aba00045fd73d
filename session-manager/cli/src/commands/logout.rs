//! `sessions logout`: ends sessions.

use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

use clap::Args;
use session_manager::SessionId;
use store_core::{Error, Record, Store};

use crate::Exit;
use crate::arguments::Place;
use crate::failure::Failure;
use crate::opened_store::Access;
use crate::output::printable;
use crate::subject::SubjectArguments;
use crate::summary::Summary;

/// How often a session is looked for that was renewed while it was looked for, or written again by
/// somebody who doesn't care that it has ended.
const ATTEMPTS: u32 = 10;

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
        let subject = self.subject.in_store()?;
        let (opened, url) = place.open(Access::Write)?;
        let store = opened.store();
        let failed = |error: Error| Failure::of_store(&error, &url);
        let target = Target { subject: subject.as_deref(), id: self.id };
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
            (false, Target { subject: Some(subject), id: None }) => {
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

/// Sessions that are looked for: those of a subject, the one with an id, or both.
struct Target<'a> {
    subject: Option<&'a str>,
    id: Option<SessionId>,
}

impl Target<'_> {
    fn matches(&self, record: Record<'_>) -> bool {
        let id = || Summary::read(record).told.map(|told| told.id);
        self.id.is_none_or(|looked_for| id() == Some(looked_for))
    }

    /// Calls the visitor with the key of each session that is meant.
    fn visit(&self, store: &dyn Store, visit: &mut dyn FnMut(&str)) -> Result<(), Error> {
        if let Some(subject) = self.subject {
            for session in store.find_by_subject(subject)? {
                if self.matches(Record::new(&session.token, &session.data, session.expiry)) {
                    visit(&session.token);
                }
            }
            return Ok(());
        }
        store.for_each(&mut |record| {
            if self.matches(record) {
                visit(record.token);
            }
            ControlFlow::Continue(())
        })
    }

    fn count(&self, store: &dyn Store) -> Result<u64, Error> {
        // A walk may meet a session twice that a Go program writes meanwhile.
        let mut found = HashSet::new();
        self.visit(store, &mut |key| {
            found.insert(key.to_owned());
        })?;
        Ok(found.len() as u64)
    }

    /// Ends the session, and returns whether there was one. It is looked for until it isn't found: a session that was renewed since a walk began may have
    /// a key by now that the walk doesn't know, and by which alone it ends.
    fn end(&self, store: &dyn Store) -> Result<bool, Error> {
        let mut has_ended = false;
        for _ in 0..ATTEMPTS {
            let (mut outcome, mut is_done) = (Ok(()), true);
            self.visit(store, &mut |key| {
                is_done = false;
                if outcome.is_ok() {
                    outcome = store.delete(key);
                    has_ended = true;
                }
            })?;
            outcome?;
            if is_done {
                return Ok(has_ended);
            }
        }
        Err(Error::Contended {
            source: "it is there again each time: something goes on writing it".into(),
        })
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
