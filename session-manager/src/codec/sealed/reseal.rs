//! Sealing all sessions with the newest key.

use std::ops::ControlFlow;

use store_core::{Change, Loaded};

use crate::codec::sealed::Sealed;
use crate::codec::{Codec, OpenError};
use crate::error::Error;
use crate::event::EventKind;
use crate::manager::SessionManager;
use crate::session_key::SessionKey;

/// What [`SessionManager::reseal_all`] has done.
///
/// # Examples
/// ```
/// # use session_manager::{Json, KeyRing, Sealed, SecretKey, SessionManager};
/// # let codec = Sealed::new(Json, KeyRing::new(1, SecretKey::from_bytes(&[7; 32])?));
/// # let sessions = SessionManager::new(store_core::MemoryStore::new()?).with_codec(codec);
/// let done = sessions.reseal_all()?;
/// if done.missed + done.unopened == 0 {
///     println!("{} sessions sealed again", done.resealed);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resealed {
    /// Sessions that were sealed again.
    pub resealed: u64,
    /// Sessions that another request has written or ended in the meantime. That request has sealed
    /// them again, if its process has the same key to seal with.
    pub missed: u64,
    /// Sessions of unknown keys, which were left as they are.
    pub unopened: u64,
    /// Sessions that are too large for the store with the 34 bytes that sealing adds, which were
    /// left as they are.
    pub too_large: u64,
}

impl<C: Codec> SessionManager<Sealed<C>> {
    /// Seals all live sessions of this manager that aren't as a write would seal them now: with the
    /// key that seals, or, [with plain written](Sealed::with_plain_written), not at all. Once this
    /// returns nothing but zeros, no session needs the other keys.
    ///
    /// It takes a walk over all sessions, in bounded memory, and a conditional write for each that
    /// changes. It is no use of the sessions: what expires when stays as it is. Requests go on at
    /// the same time: what one of them writes, ends or keeps alive stays so.
    ///
    /// What can't be opened or decoded is reported and left as it is.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Randomness`]. What was sealed until then is.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::{Json, KeyRing, Sealed, SecretKey, SessionManager};
    /// # use session_manager::testing::Browser;
    /// # let key = |byte| SecretKey::from_bytes(&[byte; 32]);
    /// # let store = std::sync::Arc::new(store_core::MemoryStore::new()?);
    /// let before = KeyRing::new(1, key(1)?);
    /// # let sessions = SessionManager::new(store.clone()).with_codec(Sealed::new(Json, before));
    /// # let browser = Browser::new(&sessions).with(|session| session.insert("n", 1))?;
    /// let after = KeyRing::new(2, key(2)?).with_key(1, key(1)?)?;
    /// # let sessions = SessionManager::new(store.clone()).with_codec(Sealed::new(Json, after));
    /// assert_eq!(sessions.reseal_all()?.resealed, 1);
    /// assert_eq!(sessions.reseal_all()?.resealed, 0, "the key 1 can go");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reseal_all(&self) -> Result<Resealed, Error> {
        let (mut done, mut failure) = (Resealed::default(), None);
        self.store.for_each(&mut |record| {
            if !self.codec.is_current(record.data)
                && let Err(error) = self.reseal(&SessionKey::from_store(record.token), &mut done)
            {
                failure = Some(error);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        failure.map_or(Ok(done), Err)
    }

    fn reseal(&self, key: &SessionKey, done: &mut Resealed) -> Result<(), Error> {
        // Again, because what the walk has read may be as old as a page is long.
        let data = match self.store.load(key.as_str())? {
            Loaded::Live { data, .. } => data,
            Loaded::Rotated { .. } => {
                done.missed += 1;
                return Ok(());
            }
            Loaded::Missing => return Ok(()),
        };
        let content = match self.read(key, &data) {
            Ok(content) if self.owns(&content, &data) => content,
            Ok(_) => return Ok(()),
            Err(OpenError::Unreadable) => {
                self.report(EventKind::Undecodable, key);
                return Ok(());
            }
            Err(OpenError::Unopened(why)) => {
                self.report(EventKind::Unopened(why), key);
                done.unopened += 1;
                return Ok(());
            }
        };
        let sealed = self.seal(key, content.values.encoded(&data).to_vec())?;
        // If the data isn't what was opened anymore, nothing is written: a session that was ended,
        // renewed or changed since then stays so.
        let change = Change::keeping_expiry(&sealed);
        let count = match self.store.update(key.as_str(), &data, &change) {
            Ok(true) => &mut done.resealed,
            Ok(false) => &mut done.missed,
            // The others are sealed nevertheless.
            Err(store_core::Error::DataTooLarge { .. }) => &mut done.too_large,
            Err(error) => return Err(error.into()),
        };
        *count += 1;
        Ok(())
    }
}
