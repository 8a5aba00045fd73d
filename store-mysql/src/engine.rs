//! Which engine answers, by what it says of its version.

/// An engine that speaks MySQL's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    MySql,
    /// MariaDB, with its version.
    MariaDb(u32, u32),
    TiDb,
    /// Vitess, over a MySQL.
    Vitess,
}

impl Engine {
    /// Reads what `VERSION()` returns, such as `10.11.19-MariaDB-log`.
    pub(crate) fn from_version(version: &str) -> Self {
        if version.contains("TiDB") {
            return Self::TiDb;
        }
        if version.to_ascii_lowercase().contains("vitess") {
            return Self::Vitess;
        }
        if !version.contains("MariaDB") {
            return Self::MySql;
        }
        let mut numbers = version.split(['.', '-']).map_while(|part| part.parse().ok());
        Self::MariaDb(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Its name, as its makers write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb(..) => "MariaDB",
            Self::TiDb => "TiDB",
            Self::Vitess => "Vitess",
        }
    }

    /// Whether its `idle_transaction_timeout` ends transactions whose clients are silent.
    pub(crate) fn has_idle_transaction_timeout(self) -> bool {
        matches!(self, Self::MariaDb(major, minor) if (major, minor) >= (10, 3))
    }

    /// Whether a statement that is no part of a transaction locks what it writes.
    ///
    /// TiDB looks for conflicts when such a statement ends, and then waits for the locks of others
    /// for longer than `innodb_lock_wait_timeout`, and unseen by its search for deadlocks.
    pub(crate) fn locks_in_single_statements(self) -> bool {
        self != Self::TiDb
    }

    /// Whether the id in a reply is from the attempt at the statement that counts.
    ///
    /// TiDB may make a statement again, and keeps the id of the first attempt.
    pub(crate) fn resets_insert_id(self) -> bool {
        self != Self::TiDb
    }

    /// Whether a statement on two tables that has waited for a row's lock joins what is there then.
    ///
    /// TiDB joins first, and again only if the row that it has waited for was changed.
    pub(crate) fn joins_after_locking(self) -> bool {
        self != Self::TiDb
    }

    /// Whether a transaction's plain reads see what was committed before the first of them. In TiDB
    /// they see what was committed before the transaction began.
    pub(crate) fn takes_snapshot_at_first_read(self) -> bool {
        self != Self::TiDb
    }

    /// Whether sessions have a timestamp and a limit of their results that the server's
    /// configuration could have set otherwise. Those of Vitess begin without.
    pub(crate) fn inherits_timestamp_and_limit(self) -> bool {
        self != Self::Vitess
    }

    /// Whether a connection can be found and ended by its number. Vitess has numbers of its own,
    /// the same ones in each of its gateways, and lists the connections of the MySQL under it.
    pub(crate) fn finds_connections_by_number(self) -> bool {
        self != Self::Vitess
    }

    /// Whether `SET TRANSACTION ISOLATION LEVEL` is for the next transaction alone. In Vitess it is
    /// for all that follow.
    pub(crate) fn resets_isolation_level(self) -> bool {
        self != Self::Vitess
    }

    /// A FROM without which the engine computes the time elsewhere than the database under it,
    /// whose clock decides in statements on tables.
    pub(crate) fn clock_source(self) -> &'static str {
        match self {
            Self::Vitess => " FROM information_schema.ENGINES LIMIT 1",
            Self::MySql | Self::MariaDb(..) | Self::TiDb => "",
        }
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
            ("8.0.11-TiDB-v8.5.6", Engine::TiDb),
            ("5.7.25-TiDB-v7.1.0", Engine::TiDb),
            ("8.4.6-Vitess", Engine::Vitess),
            ("8.0.34-vitess-log", Engine::Vitess),
        ] {
            assert_eq!(Engine::from_version(version), engine, "{version}");
        }
        assert!(!Engine::MariaDb(10, 2).has_idle_transaction_timeout());
    }
}
