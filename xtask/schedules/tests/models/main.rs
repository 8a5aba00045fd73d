//! The models, in one program.
#![cfg(shuttle)]

mod background;

mod cleanup;

mod flush;

mod grace;

mod group_commit;

/// What the flusher finds in its own crate, which one of the models compiles here.
mod sync {
    pub(crate) use shuttle::sync::Arc;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, Ordering};
}
