//! Inputs that nobody would send, for everything that reads what comes from outside.
//!
//! A [`Target`] reads bytes and panics if it finds a promise broken. [`run`](engine::run) feeds it
//! with the inputs of its corpus and with mutations of them, on stable Rust and without
//! instrumentation: what makes a target say something new is mutated further.
//!
//! The corpus is in `corpus/NAME`: seeds that reach far, and inputs that once found a fault.

pub mod corpus;

pub mod engine;

mod mutation;

mod memory;

mod targets;

pub use targets::TARGETS;

/// What is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its corpus.
    pub name: &'static str,
    /// Parts of inputs that mean something.
    pub words: &'static [&'static [u8]],
    /// Seeds that are made, besides those in the corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The longest input that is made, in bytes.
    pub max_len: usize,
    /// The memory that an input of this length may need at once, in bytes.
    pub max_memory: fn(usize) -> usize,
    /// Reads an input, and panics if a promise is broken. Returns what happened, in a few words,
    /// which are other ones where another part of the code was reached.
    pub test: fn(&[u8]) -> String,
}
