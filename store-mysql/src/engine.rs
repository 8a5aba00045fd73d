//! Which engine answers, by what it says of its version.

/// An engine that speaks MySQL's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    MySql,
    /// MariaDB, with its version.
    MariaDb(u32, u32),
}

impl Engine {
    /// Reads what `VERSION()` returns, such as `10.11.19-MariaDB-log`.
    pub(crate) fn from_version(version: &str) -> Self {
        if !version.contains("MariaDB") {
            return Self::MySql;
        }
        let mut numbers = version.split(['.', '-']).map_while(|part| part.parse().ok());
        Self::MariaDb(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Whether it can end transactions whose clients are silent.
    pub(crate) fn has_idle_transaction_timeout(self) -> bool {
        matches!(self, Self::MariaDb(major, minor) if (major, minor) >= (10, 3))
    }

    /// Whether it can be a node of a Galera cluster.
    pub(crate) fn may_be_galera(self) -> bool {
        matches!(self, Self::MariaDb(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_told_by_their_versions() {
        for (version, engine) in [
            ("9.7.4", Engine::MySql),
            ("8.0.15-log", Engine::MySql),
            ("10.11.19-MariaDB-0+deb12u1", Engine::MariaDb(10, 11)),
            ("11.8.9-MariaDB", Engine::MariaDb(11, 8)),
        ] {
            assert_eq!(Engine::from_version(version), engine, "{version}");
        }
        assert!(!Engine::MariaDb(10, 2).has_idle_transaction_timeout());
    }
}
