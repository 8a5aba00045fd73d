//! What can be set by environment variables, each a whole number.

use std::env;
use std::num::NonZeroU32;
use std::time::Duration;

use session_manager::{BoxError, SessionManager};

/// The settings; what isn't set is left at the library's default.
pub(crate) struct Settings {
    /// `DEMO_IDLE_TIMEOUT`: a session that isn't used for so many seconds ends.
    idle_timeout: Option<Duration>,
    /// `DEMO_ROTATION`: a session gets a new token after so many seconds.
    rotation: Option<Duration>,
    /// `DEMO_CLEANUP_INTERVAL`: expired sessions are removed after each so many seconds.
    pub(crate) cleanup_interval: Option<Duration>,
    /// `DEMO_CONNECTIONS`: the size of the store's pool, if it has one.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "mysql")),
        expect(dead_code, reason = "redb has no pool")
    )]
    pub(crate) connections: Option<NonZeroU32>,
    /// `DEMO_TIMEOUT_MS`: for how many milliseconds an operation of the store waits for a
    /// connection, and for as many for other writers.
    pub(crate) timeout: Option<Duration>,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, BoxError> {
        let seconds = |name| Ok::<_, BoxError>(number(name)?.map(Duration::from_secs));
        let connections = number("DEMO_CONNECTIONS")?.map(u32::try_from).transpose()?;
        let connections = connections.map(NonZeroU32::try_from).transpose();
        Ok(Self {
            idle_timeout: seconds("DEMO_IDLE_TIMEOUT")?,
            rotation: seconds("DEMO_ROTATION")?,
            cleanup_interval: seconds("DEMO_CLEANUP_INTERVAL")?,
            connections: connections.map_err(|error| format!("DEMO_CONNECTIONS: {error}"))?,
            timeout: number("DEMO_TIMEOUT_MS")?.map(Duration::from_millis),
        })
    }

    /// Sets what is the manager's.
    pub(crate) fn apply(
        &self,
        mut sessions: SessionManager,
    ) -> Result<SessionManager, session_manager::Error> {
        if let Some(timeout) = self.idle_timeout {
            sessions = sessions.with_idle_timeout(timeout)?;
        }
        if let Some(every) = self.rotation {
            sessions = sessions.with_rotation(every)?;
        }
        Ok(sessions)
    }
}

fn number(name: &str) -> Result<Option<u64>, BoxError> {
    let Some(value) = env::var_os(name) else { return Ok(None) };
    let number = value.to_str().and_then(|value| value.parse().ok());
    Ok(Some(
        number
            .ok_or_else(|| format!("{name} has to be a whole number, not {}", value.display()))?,
    ))
}
