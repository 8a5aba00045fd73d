//! A store that moves sessions from one database to another while applications use them.
//!
//! # How one session moves
//! A session has to be in exactly one of two databases that know nothing of each other, whichever
//! process is killed between which two steps. Each step is one atomic call of a store, and after
//! each of them any process can go on where another one has stopped:
//!
//! 1. The old store's data is *frozen*: an `update` puts a mark before it. No process changes such
//!    a session, so what is read of it stays true; it can still end.
//! 2. A *fence* is created in the new store under the same token: a mark that is no session, with
//!    a number that no other fence has, and which expires soon.
//! 3. The old store is asked again. If the session is still there and frozen, an `update` of the
//!    fence makes it the session. **From here on it is in the new store.** Whoever ends a session
//!    ends it in the old store first and then in the new one, the fence included, so this step
//!    can't bring back a session that has ended since: its fence is gone.
//! 4. The old store's session becomes a *stub*, so that tokens from before a rotation in the old
//!    store still lead to the token that the new store knows. It expires once no grace can last.

mod marks;

mod mover;

mod place;

mod report;

mod store;

use std::fmt;
use std::ops::ControlFlow;

#[cfg(doc)]
use crate::Change;
use crate::sync::Arc;
use crate::{Error, Loaded, Store};

use mover::{ATTEMPTS, Mover, contended};
use place::Place;

pub(crate) use marks::Form;
pub(crate) use mover::{end, is_refusal};
pub use report::MoveReport;

/// A store that takes an application from one database to another without logging anybody out.
///
/// It looks for a session in the new store, and then in the old one. Every process of the
/// application has to be switched in this order, each phase in all processes before the next one
/// begins in any:
///
/// | phase | store of a process | what it does |
/// |---|---|---|
/// | 0 | the old store | |
/// | 1 | [`MovingStore::preparing`] | writes to the old store, and knows what has moved |
/// | 2 | [`MovingStore::moving`] | writes to the new store; what it writes moves first |
/// | 3 | the new store | |
///
/// Neighbouring phases may be mixed, so deployments can roll: 0 with 1, 1 with 2, and 2 with 3 once
/// [`move_all`](Self::move_all) has left nothing. `docs/moving-a-store.md` in
/// the repository has the steps, what holds in each phase, and when the old store can go.
///
/// In any number of processes of phases 1 and 2 no session is lost, none comes back after it has
/// ended, and an `update` either happens as a whole or not at all, wherever its sessions are.
///
/// # What it can't do
/// - Both databases have to be there. An operation that needs one that is away is an error.
/// - While processes of both phases run, one token that is given to two sessions at the same
///   moment, by a `create`, a `commit` or a rotation, can name one in each store: nothing that
///   happens to random tokens.
/// - A [limit of sessions](Change::expecting_sessions_of) can be exceeded by logins of one user at
///   the same moment in processes of both phases.
/// - While preparing, and if the new store refuses one of them,
///   [`delete_by_subject`](Store::delete_by_subject) ends the sessions one after the other; if it
///   fails, some have ended.
/// - [`count`](Store::count), and a walk while preparing, can meet a session twice that moves
///   meanwhile. A walk while moving moves everything first.
/// - A session that the new store refuses, because its token or data is too long there, stays in
///   the old one, and is used there. A change that has to do with such a session and with one that
///   has moved is refused for the same reason. The limits of the new store have to be the same in
///   all processes.
/// - Data that begins with this module's own marks is refused with [`Error::InvalidOption`].
/// - Which sessions are live is decided by the clock of the database that they are in.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use chrono::{TimeDelta, Utc};
/// use store_core::{MemoryStore, MovingStore, Store};
///
/// let (old, new) = (Arc::new(MemoryStore::new()?), Arc::new(MemoryStore::new()?));
/// let expiry = Utc::now() + TimeDelta::hours(1);
/// old.create("token", b"data", expiry, Some("user 7"))?;
///
/// let store = MovingStore::moving(old, Arc::clone(&new));
/// assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
/// assert!(store.touch("token", expiry)?, "it moves with the first write");
/// assert_eq!(new.find_by_subject("user 7")?.len(), 1);
/// # Ok::<(), store_core::Error>(())
/// ```
pub struct MovingStore {
    mover: Mover,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Preparing,
    Moving,
}

impl MovingStore {
    /// The store of the first phase: sessions stay in the old store, and are created there; those
    /// that a process of the second phase has moved are found and written in the new one.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use store_core::{MemoryStore, MovingStore, Store};
    ///
    /// let (old, new) = (Arc::new(MemoryStore::new()?), Arc::new(MemoryStore::new()?));
    /// let store = MovingStore::preparing(old.clone(), new.clone());
    /// store.create("token", b"data", store.now() + chrono::TimeDelta::hours(1), None)?;
    /// assert_eq!((old.count()?, new.count()?), (1, 0));
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn preparing(old: impl Store + 'static, new: impl Store + 'static) -> Self {
        Self { mover: Mover::new(Arc::new(old), Arc::new(new)), phase: Phase::Preparing }
    }

    /// The store of the second phase: sessions are created in the new store, and one that is in
    /// the old store moves when it is written.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use store_core::{MemoryStore, MovingStore, Store};
    ///
    /// let (old, new) = (Arc::new(MemoryStore::new()?), Arc::new(MemoryStore::new()?));
    /// let store = MovingStore::moving(old.clone(), new.clone());
    /// store.create("token", b"data", store.now() + chrono::TimeDelta::hours(1), None)?;
    /// assert_eq!((old.count()?, new.count()?), (0, 1));
    /// # Ok::<(), store_core::Error>(())
    /// ```
    #[must_use]
    pub fn moving(old: impl Store + 'static, new: impl Store + 'static) -> Self {
        Self { mover: Mover::new(Arc::new(old), Arc::new(new)), phase: Phase::Moving }
    }

    /// Moves every session that is still in the old store, and says what is left there.
    ///
    /// For the second phase, in one process; the others go on. Sessions that processes of the first
    /// phase create meanwhile may be left. `progress` is called after each session.
    ///
    /// # Errors
    /// Those of the two stores. What has moved by then has moved; call it again.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use store_core::{MemoryStore, MovingStore, Store};
    ///
    /// let (old, new) = (Arc::new(MemoryStore::new()?), Arc::new(MemoryStore::new()?));
    /// old.create("token", b"data", old.now() + chrono::TimeDelta::hours(1), None)?;
    ///
    /// let report = MovingStore::moving(old, new.clone()).move_all(&mut |_| {})?;
    /// assert_eq!((report.moved, report.refused, new.count()?), (1, 0, 1));
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn move_all(
        &self,
        progress: &mut (dyn FnMut(&MoveReport) + Send),
    ) -> Result<MoveReport, Error> {
        self.mover.move_all(progress)
    }

    /// Counts the sessions that are still in the old store. Once there are none and no process is
    /// of the first phase, processes can be switched to the new store after the longest grace of a
    /// rotation, which is [30 seconds](crate::Rotation::DEFAULT_GRACE) unless the application has
    /// set another.
    ///
    /// # Errors
    /// Those of the old store.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use store_core::{MemoryStore, MovingStore, Store};
    ///
    /// let (old, new) = (Arc::new(MemoryStore::new()?), Arc::new(MemoryStore::new()?));
    /// old.create("token", b"data", old.now() + chrono::TimeDelta::hours(1), None)?;
    ///
    /// let store = MovingStore::moving(old, new);
    /// assert_eq!(store.remaining()?, 1);
    /// store.move_all(&mut |_| {})?;
    /// assert_eq!(store.remaining()?, 0);
    /// # Ok::<(), store_core::Error>(())
    /// ```
    pub fn remaining(&self) -> Result<u64, Error> {
        let mut remaining = 0;
        self.mover.for_each_old(&mut |_| {
            remaining += 1;
            ControlFlow::Continue(())
        })?;
        Ok(remaining)
    }

    fn old(&self) -> &dyn Store {
        &*self.mover.old
    }

    fn new_store(&self) -> &dyn Store {
        &*self.mover.new
    }

    /// Where an operation on these sessions, and on all sessions of a subject, takes place. In the
    /// new store they are all there then.
    fn place(&self, tokens: &[&str], subject: Option<&str>) -> Result<Place, Error> {
        if self.phase == Phase::Preparing && self.mover.are_all_in_old(tokens, subject)? {
            return Ok(Place::Old);
        }
        self.mover.bring_all(tokens, subject)
    }

    /// Does an operation that is atomic in either store, where its sessions are.
    ///
    /// In the old store it may have failed because a session has begun to move since: then it is
    /// done again, in the new one.
    fn run<T>(
        &self,
        tokens: &[&str],
        subject: Option<&str>,
        is_done: impl Fn(&Result<T, Error>) -> bool,
        operation: impl Fn(&dyn Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 0..ATTEMPTS {
            match self.place(tokens, subject)? {
                Place::New => return operation(self.new_store()),
                Place::Old => {
                    let outcome = operation(self.old());
                    if is_done(&outcome) || self.mover.are_all_in_old(tokens, subject)? {
                        return outcome;
                    }
                }
            }
        }
        Err(contended())
    }

    fn newest(&self, token: &str) -> Result<Option<String>, Error> {
        Ok(match self.load(token)? {
            Loaded::Live { .. } => Some(token.to_owned()),
            Loaded::Rotated { token, .. } => Some(token),
            Loaded::Missing => None,
        })
    }

    /// Ends the sessions of a subject, in whichever store each of them is.
    fn delete_one_by_one(&self, subject: &str, except: Option<&str>) -> Result<u64, Error> {
        let mut deleted = 0;
        for _ in 0..ATTEMPTS {
            let mut others = self.find_by_subject(subject)?;
            if let Some(except) = except {
                let mut kept = Ok(());
                others.retain(|record| match self.are_same(&record.token, except) {
                    Ok(are_same) => !are_same,
                    Err(error) => {
                        kept = Err(error);
                        false
                    }
                });
                kept?;
            }
            if others.is_empty() {
                return Ok(deleted);
            }
            for record in others {
                // Otherwise it is found again, under the token that it has since.
                deleted += u64::from(self.mover.delete_under(&record.token)?);
            }
        }
        Err(contended())
    }

    /// Whether two tokens name one session, or named it until a moment ago.
    fn are_same(&self, token: &str, other: &str) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let before = self.newest(token)?;
            let newest = self.newest(other)?;
            // Otherwise it was rotated, and the other one could be the same again.
            if self.newest(token)? == before {
                return Ok(before.is_some() && newest == before);
            }
        }
        Err(contended())
    }
}

impl fmt::Debug for MovingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MovingStore").field("phase", &self.phase).finish_non_exhaustive()
    }
}
