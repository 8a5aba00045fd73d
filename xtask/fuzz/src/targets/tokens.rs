//! Values of cookies: the store is asked for what has the form of a token, and for nothing else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use session_manager::{Event, EventKind, SessionManager};

use super::{is_token, memory_store, no_seeds, text};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "tokens",
    words: &[
        b"\n",
        b"=",
        b"+",
        b"/",
        b"-",
        b"_",
        b" ",
        b"%41",
        b"\0",
        b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        b"QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI",
        "é".as_bytes(),
    ],
    seeds: no_seeds,
    max_len: 8 * 1024,
    max_memory: |len| 64 * 1024 + 32 * len,
    test,
};

/// Cookies of the session's name that a manager tries.
const MAX_COOKIES: usize = 4;

fn test(input: &[u8]) -> String {
    let input = text(input);
    let values: Vec<&str> = input.split('\n').collect();
    let unknown = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let unknown = Arc::clone(&unknown);
        move |event: &Event| {
            assert_eq!(event.kind, EventKind::UnknownToken);
            unknown.lock().unwrap_or_else(PoisonError::into_inner).push(event.session);
        }
    };
    let sessions = SessionManager::new(memory_store()).with_event_hook(hook);
    let session = sessions.load(values.iter().copied()).expect("the store is in memory");
    assert!(session.is_empty() && session.token().is_none(), "a token was adopted");

    // The store was asked for these, and each has a name of its own, reported once or more often.
    let tokens: Vec<_> = values.iter().filter(|value| is_token(value)).take(MAX_COOKIES).collect();
    let asked = unknown.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(asked.len() <= tokens.len(), "{values:?}");
    let different: BTreeSet<_> = asked.iter().map(ToString::to_string).collect();
    assert_eq!(different.len(), tokens.iter().collect::<BTreeSet<_>>().len(), "{values:?}");
    format!("{} tokens, {} different", tokens.len(), different.len())
}
