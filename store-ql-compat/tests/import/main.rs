//! Imports of databases that genuine ql wrote, and of files that no ql ever wrote.

mod genuine;

mod sessions;

mod locks;

mod robustness;
