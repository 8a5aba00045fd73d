//! Ours and Go's on one database file at the same time. `cargo xtask interop` builds the Go program and runs these
//! tests; without a Go toolchain they can't run.

mod churn;

mod managers;

mod sides;

mod stores;
