//! What some engines can't do, so that tests about it don't apply to them.

use std::io::{self, Write as _};

use mysql::prelude::Queryable;
use mysql::{Conn, Opts};

use crate::shared_server;

/// Something that servers can do, but not each engine that speaks their protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// To keep accounts and their rights, and ask for them.
    Accounts,
    /// To list the connections of clients by their numbers, and to end them.
    ProcessList,
    /// To end a connection at any moment, together with its locks.
    Kill,
    /// To have triggers.
    Triggers,
    /// To have tables without transactions.
    MyIsam,
}

impl Ability {
    /// Whether there is a server that can do this. If there is one that can't, reports on standard
    /// error that the test doesn't apply to it, even if the tests' output is captured.
    ///
    /// # Panics
    ///
    /// As [`shared_server`].
    pub fn is_there(self) -> bool {
        let Some(server) = shared_server() else { return false };
        let version = version(server.url());
        let is_vitess = version.to_ascii_lowercase().contains("vitess");
        let is_tidb = version.contains("TiDB");
        // Some connections that Oracle's 5.7.22 kills in a transaction stay in its list as Killed,
        // and the transaction as RUNNING, though their clients are gone: seen for 75 s.
        let keeps_killed = version.starts_with("5.7.") && !is_tidb && !is_vitess;
        // Vitess's parser doesn't know CREATE USER and CREATE TRIGGER, and KILL is off by default.
        // TiDB has no triggers, and takes MyISAM for InnoDB.
        let is_there = match self {
            Self::Accounts | Self::ProcessList => !is_vitess,
            Self::Kill => !is_vitess && !keeps_killed,
            Self::Triggers => !is_vitess && !is_tidb,
            Self::MyIsam => !is_tidb,
        };
        if is_there {
            return true;
        }
        let _ = writeln!(
            io::stderr(),
            "!!! DOESN'T APPLY: a test that needs {self:?}, which {version} hasn't"
        );
        false
    }
}

/// The version that a server says it has.
pub(crate) fn version(url: &str) -> String {
    let opts = Opts::from_url(url).expect("a URL");
    let mut connection = Conn::new(opts).expect("a connection");
    let version = connection.query_first("SELECT VERSION()").expect("every server answers");
    version.expect("every server has one")
}
