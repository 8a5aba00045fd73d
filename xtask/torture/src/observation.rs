//! What a store shows of the sessions of a thread, by all ways of looking.

use std::collections::{BTreeMap, HashMap};

use store_core::{Loaded, Store};

use crate::Result;
use crate::workload::{COUNTER, Data, THREADS, counts, subjects, tokens, whole_seconds};

/// What a store shows of the sessions of a thread.
#[derive(PartialEq, Eq)]
pub(crate) struct Observation {
    sessions: BTreeMap<String, View>,
    by_subject: BTreeMap<String, Vec<String>>,
    increments: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum View {
    Live { data: Data, expiry: i64 },
    Rotated { token: String, opens: bool },
}

impl Observation {
    /// Looks at the sessions of all threads.
    ///
    /// # Errors
    /// Where the store fails, or `find`, `load`, `all`, `count` and `find_by_subject` contradict
    /// each other.
    pub(crate) fn of_all(store: &dyn Store) -> Result<Vec<Self>> {
        let all = store.all()?;
        let count = store.count()?;
        if count != all.len() as u64 {
            return Err(format!("count says {count}, all has {}", all.len()).into());
        }
        let observed: Vec<_> =
            (0..THREADS).map(|thread| Self::of(store, &all, thread)).collect::<Result<_>>()?;
        let is_live = |view: &&View| matches!(view, View::Live { .. });
        let live: usize = observed
            .iter()
            .map(|observation| observation.sessions.values().filter(is_live).count())
            .sum();
        if live + usize::from(all.contains_key(COUNTER)) != all.len() {
            return Err("all has sessions that nobody made, or that have expired".into());
        }
        Ok(observed)
    }

    /// What the model of a thread shows.
    pub(crate) fn of_model(model: &dyn Store, thread: usize) -> Result<Self> {
        Self::of(model, &model.all()?, thread)
    }

    fn of(store: &dyn Store, all: &HashMap<String, Vec<u8>>, thread: usize) -> Result<Self> {
        let mut sessions = BTreeMap::new();
        for token in tokens(thread) {
            let loaded = store.load(&token)?;
            let data = match &loaded {
                Loaded::Live { data, .. } => Some(data),
                Loaded::Rotated { .. } | Loaded::Missing => None,
            };
            if store.find(&token)?.as_ref() != data {
                return Err(format!("find and load contradict each other about {token}").into());
            }
            if all.get(&token) != data {
                return Err(format!("all and load contradict each other about {token}").into());
            }
            let view = match loaded {
                Loaded::Live { data, expiry } => {
                    View::Live { data: Data(data), expiry: whole_seconds(expiry) }
                }
                Loaded::Rotated { token, opens } => View::Rotated { token, opens },
                Loaded::Missing => continue,
            };
            sessions.insert(token, view);
        }
        let mut by_subject = BTreeMap::new();
        for subject in subjects(thread) {
            let mut tokens = Vec::new();
            for record in store.find_by_subject(&subject)? {
                let (data, expiry) = (Data(record.data), whole_seconds(record.expiry));
                if sessions.get(&record.token) != Some(&View::Live { data, expiry }) {
                    return Err(format!("{subject} has another {}", record.token).into());
                }
                tokens.push(record.token);
            }
            tokens.sort_unstable();
            by_subject.insert(subject, tokens);
        }
        let increments = all.get(COUNTER).map_or(Ok([0; THREADS]), |data| counts(data))?[thread];
        Ok(Self { sessions, by_subject, increments })
    }

    /// Where two observations differ.
    pub(crate) fn difference(&self, expected: &Self) -> String {
        let mut lines = Vec::new();
        for token in self.sessions.keys().chain(expected.sessions.keys()) {
            let (is, should) = (self.sessions.get(token), expected.sessions.get(token));
            if is != should {
                lines.push(format!("{token} is {is:?}, should be {should:?}"));
            }
        }
        for (subject, is) in &self.by_subject {
            let should = &expected.by_subject[subject];
            if is != should {
                lines.push(format!("{subject} has {is:?}, should have {should:?}"));
            }
        }
        let (is, should) = (self.increments, expected.increments);
        if is != should {
            lines.push(format!("counted {is}, should be {should}"));
        }
        lines.sort_unstable();
        lines.dedup();
        lines.join("; ")
    }
}
