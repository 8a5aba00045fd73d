//! Guides: longer texts that don't belong to one function.

// The link definitions in front of a page take precedence over the page's own at its end, which
// lead to the files and serve readers of the repository.

#[doc = "[states]: crate::guide::states"]
#[doc = "[encryption]: crate::guide::encryption"]
#[doc = "[device-bound]: crate::guide::device_bound"]
#[doc = include_str!("../docs/security.md")]
pub mod security {}

#[cfg_attr(feature = "sealed", doc = include_str!("../docs/encryption.md"))]
#[cfg_attr(
    not(feature = "sealed"),
    doc = "Sessions encrypted in the store, with the feature `sealed`."
)]
pub mod encryption {}

#[cfg_attr(
    all(feature = "dbsc", feature = "rouille"),
    doc = include_str!("../docs/device-bound-sessions.md")
)]
#[cfg_attr(
    not(all(feature = "dbsc", feature = "rouille")),
    doc = "Sessions bound to the device of their browser, with the feature `dbsc`."
)]
pub mod device_bound {}

#[doc = include_str!("../docs/session-states.md")]
pub mod states {}

#[doc = include_str!("../docs/from-scs.md")]
pub mod from_scs {}

#[doc = "[from-scs]: crate::guide::from_scs"]
#[doc = include_str!("../docs/peers.md")]
pub mod peers {}
