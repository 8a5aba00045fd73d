//! Imports of databases that genuine ql wrote, and of files that nobody wrote.

mod genuine;

mod sessions;

mod locks;

mod robustness;
