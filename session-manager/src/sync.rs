//! What requests wait for, named once.
//!
//! In a build with `--cfg shuttle`, which only `cargo xtask schedules` makes, shuttle's primitives
//! take the places of the usual ones. They let one thread run at a time, and switch threads at
//! every use.

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(shuttle))]
pub(crate) use std::thread;

#[cfg(shuttle)]
pub(crate) use self::model::{Mutex, MutexGuard};
#[cfg(shuttle)]
pub(crate) use shuttle::thread;

#[cfg(shuttle)]
mod model {
    use std::time::Duration;

    use shuttle::rand::{Rng as _, thread_rng};
    pub(crate) use shuttle::sync::MutexGuard;

    /// As `parking_lot`'s. Whether a wait for it times out is a choice like the next thread.
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn try_lock_for(&self, _: Duration) -> Option<MutexGuard<'_, T>> {
            let times_out = thread_rng().gen_bool(0.25);
            if times_out { self.0.try_lock().ok() } else { self.0.lock().ok() }
        }
    }
}
