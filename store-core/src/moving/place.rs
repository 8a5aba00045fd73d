//! Where an operation takes place.

/// The store in which all sessions of an operation are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Old,
    New,
}
