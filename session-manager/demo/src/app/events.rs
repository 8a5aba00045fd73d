//! The latest events of all sessions, of which each visitor sees their own.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use session_manager::{Event, EventKind, SessionId};

/// How many are kept, of all visitors.
const MAX_KEPT: usize = 1_000;

/// How many a page shows.
const MAX_SHOWN: usize = 6;

/// What this process has seen, oldest first.
#[derive(Default)]
pub(crate) struct EventLog(Mutex<VecDeque<(DateTime<Utc>, Event)>>);

/// One event, or several of the same kind in a row.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    /// When the latest of them was.
    pub(crate) time: DateTime<Utc>,
    pub(crate) text: String,
    pub(crate) is_several: bool,
}

impl EventLog {
    pub(crate) fn add(&self, time: DateTime<Utc>, event: Event) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == MAX_KEPT {
            events.pop_front();
        }
        events.push_back((time, event));
    }

    /// Returns the latest events of a visitor, the newest first: those of the user's sessions, and
    /// those of this session in which nobody was logged in.
    pub(crate) fn of(&self, user: Option<&str>, session: Option<SessionId>) -> Vec<Line> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = |event: &Event| match &event.subject {
            Some(subject) => user == Some(subject),
            None => session == Some(event.session),
        };
        let own: Vec<_> = events.iter().rev().filter(|(_, event)| is_own(event)).collect();
        let lines = own.chunk_by(|(_, one), (_, other)| one.kind == other.kind);
        let lines = lines.filter_map(|same| {
            let (time, event) = same.first()?;
            Some(Line { time: *time, text: text(&event.kind), is_several: same.len() > 1 })
        });
        lines.take(MAX_SHOWN).collect()
    }
}

fn text(kind: &EventKind) -> String {
    match kind {
        EventKind::Created => "A session began".to_owned(),
        EventKind::Renewed => "A session got a new token".to_owned(),
        EventKind::Ended(cause) => format!("A session ended: {cause}"),
        EventKind::Conflict => "Two requests at once: both counted".to_owned(),
        EventKind::Lost => "A request came too late to change a session".to_owned(),
        EventKind::UnknownToken => "A token opened nothing".to_owned(),
        EventKind::Undecodable => "A session could not be read".to_owned(),
        EventKind::WrongType { key, .. } => format!("{key:?} had another type"),
        _ => "Something else happened to a session".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use session_manager::{BoxError, SessionManager};
    use store_core::MemoryStore;

    use super::*;

    #[test]
    fn number_of_events_that_are_kept_and_shown_is_bounded() -> Result<(), BoxError> {
        let log = Arc::new(EventLog::default());
        let sessions = SessionManager::new(MemoryStore::new()?).with_event_hook({
            let log = Arc::clone(&log);
            move |event| log.add(Utc::now(), event.clone())
        });
        for _ in 0..MAX_KEPT {
            let mut session = sessions.load([])?;
            session.set_subject("Ada")?;
            session.finish()?;
            sessions.destroy_all_of("Ada")?;
        }
        assert_eq!(log.0.lock().expect("nobody panics with it").len(), MAX_KEPT);
        let lines = log.of(Some("Ada"), None);
        assert_eq!(lines.len(), MAX_SHOWN);
        assert_eq!(lines[0].text, "A session ended: logout everywhere", "the newest first");
        assert_eq!(lines[1].text, "A session began");
        assert!(!lines[0].is_several && log.of(None, None).is_empty());
        Ok(())
    }
}
