//! Sessions out of genuine ql databases, for people who move over from the Go store `qlstore`.
//!
//! [`import_ql`] reads the table that `qlstore` kept in a ql file and commits the live sessions to any
//! [`Store`](store_core::Store); [`check_ql`] reads as much and writes nothing. The ql file is never changed.

mod import;

pub use import::{
    ExistingSessions, ImportError, ImportOptions, ImportReport, QlFormat, Refusal, WalUse,
    check_ql, import_ql,
};

#[cfg(doctest)]
#[doc = include_str!("../../docs/from-ql.md")]
struct FromQl;
