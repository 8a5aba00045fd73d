//! What writers and the thread that flushes share, named once: in a model of `xtask/schedules`,
//! which compiles the flusher for itself, shuttle's primitives take their places.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
