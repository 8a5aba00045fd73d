//! Whether a history of concurrent operations is linearizable.
//!
//! The operations of many threads must return what the model returns in *some* order that agrees
//! with real time: if one returned before another started, it comes first. The search for that
//! order is the one of Wing and Gong, “Testing and Verifying Concurrent Objects” (1993), with
//! Lowe's memoisation, “Testing for linearizability” (2017). Histories of different objects can be
//! checked apart (Herlihy and Wing, 1990, theorem 1), so operations stay within groups of tokens
//! and each group is an object.

use std::collections::HashSet;
use std::fmt;

use super::model::{Call, Outcome, State, model};

/// An operation as a thread saw it, with the moments between which it took effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) group: usize,
    pub(super) call: Call,
    pub(super) outcome: Outcome,
    pub(super) began: u64,
    pub(super) ended: u64,
}

/// Whether some order of the events agrees with real time and with the model.
pub(super) fn is_linearizable(history: &[Event]) -> bool {
    let mut search = Search { history, placed: vec![false; history.len()], tried: HashSet::new() };
    search.place_rest(0, State::default())
}

pub(super) struct Search<'a> {
    history: &'a [Event],
    placed: Vec<bool>,
    tried: HashSet<(Vec<bool>, State)>,
}

impl Search<'_> {
    /// Tries every event that may come next; `first` is the index before which all are placed.
    pub(super) fn place_rest(&mut self, mut first: usize, state: State) -> bool {
        while self.placed.get(first) == Some(&true) {
            first += 1;
        }
        if first == self.history.len() {
            return true;
        }
        if !self.tried.insert((self.placed[first..].to_vec(), state)) {
            return false;
        }
        let unplaced = || (first..self.history.len()).filter(|&i| !self.placed[i]);
        // An event may come next if no other had ended before it began.
        let horizon = unplaced().map(|i| self.history[i].ended).min().unwrap_or(u64::MAX);
        let candidates: Vec<_> =
            unplaced().take_while(|&i| self.history[i].began < horizon).collect();
        for i in candidates {
            let mut next = state;
            if model(&mut next, self.history[i].call) == self.history[i].outcome {
                self.placed[i] = true;
                if self.place_rest(first, next) {
                    return true;
                }
                self.placed[i] = false;
            }
        }
        false
    }
}

/// A history, a line an event.
pub(super) struct Listing<'a>(pub(super) &'a [Event]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Event { call, outcome, began, ended, .. } in self.0 {
            writeln!(f, "{began}..{ended}: {call:?} gave {outcome:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Expiry, GROUP, Op, Parts};
    use super::*;

    fn event(began: u64, ended: u64, op: Op, data: u64, outcome: Outcome) -> Event {
        Event {
            group: 0,
            call: Call { op, current: 0, absorbed: 0, data, expected: [false; GROUP] },
            outcome,
            began,
            ended,
        }
    }

    #[test]
    fn sequential_history_must_agree_with_the_model() {
        let write = event(0, 1, Op::Commit(0, Expiry::Live), 7, Outcome::Done);
        let good = event(2, 3, Op::Find(0), 0, Outcome::Found(Some(7)));
        let lost = event(2, 3, Op::Find(0), 0, Outcome::Found(None));
        assert!(is_linearizable(&[write, good]));
        assert!(!is_linearizable(&[write, lost]));
    }
    #[test]
    fn overlapping_operations_may_come_in_either_order() {
        let write = event(0, 5, Op::Commit(0, Expiry::Live), 7, Outcome::Done);
        let before = event(1, 2, Op::Find(0), 0, Outcome::Found(None));
        let after = event(3, 4, Op::Find(0), 0, Outcome::Found(Some(7)));
        assert!(is_linearizable(&[write, before, after]));
        let seen_first = event(1, 2, Op::Find(0), 0, Outcome::Found(Some(7)));
        let then_gone = event(3, 4, Op::Find(0), 0, Outcome::Found(None));
        assert!(!is_linearizable(&[write, seen_first, then_gone]));
    }
    #[test]
    fn lost_update_is_not_linearizable() {
        let first = event(0, 1, Op::Commit(0, Expiry::Live), 1, Outcome::Done);
        let op = Op::Update(0, Expiry::Live, Parts::default());
        let update = |began, data| Event {
            call: Call { op, current: 1, absorbed: 0, data, expected: [false; GROUP] },
            ..event(began, began + 3, Op::Find(0), 0, Outcome::Answer(true))
        };
        assert!(!is_linearizable(&[first, update(2, 2), update(3, 3)]));
    }
}
