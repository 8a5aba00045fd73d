//! The databases that both sides share. Each test gets one of its own.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use store_core::{CleanupOptions, Store};
use store_mysql::{MysqlOptions, TableVariant};
use store_sqlite::SqliteOptions;
use test_servers::{
    CLASSIC as CLASSIC_TABLE, Database, Installation, PrivateServer, Release, ServerOptions,
};

/// A kind of database with a kind of table, and how Go programs connect to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    server: Option<Server>,
    table: TableVariant,
    /// The parameters of Go's DSN.
    parameters: &'static str,
    /// What it can hold, to both: the digits of a second, the instants, and bytes of data.
    pub(crate) digits: u16,
    range: [&'static str; 2],
    pub(crate) max_data_len: usize,
}

/// A MariaDB or MySQL server, which all tests share.
#[derive(Clone, Copy, Debug)]
enum Server {
    Default,
    /// Its time zone isn't UTC.
    Abroad,
}

pub(crate) const SQLITE: Place = Place {
    server: None,
    table: TableVariant::Classic,
    parameters: "_busy_timeout=10000",
    digits: 3,
    range: ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"],
    max_data_len: 1 << 20,
};

/// The table that Go's store documents.
pub(crate) const CLASSIC: Place = Place {
    server: Some(Server::Default),
    table: TableVariant::Classic,
    parameters: "parseTime=true",
    digits: 6,
    range: ["1970-01-01T00:00:01Z", "2038-01-19T03:14:07.999999Z"],
    max_data_len: 65_535,
};

/// Go's connections need a parameter here, without which both sides disagree about all expiries.
pub(crate) const CLASSIC_ABROAD: Place = Place {
    server: Some(Server::Abroad),
    parameters: "parseTime=true&time_zone=%27%2B00%3A00%27",
    ..CLASSIC
};

/// As nobody should connect.
pub(crate) const CLASSIC_ABROAD_WITHOUT_ZONE: Place =
    Place { parameters: "parseTime=true", ..CLASSIC_ABROAD };

/// The table that ours makes.
pub(crate) const HARDENED: Place = Place {
    table: TableVariant::Hardened,
    range: ["1000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"],
    max_data_len: 1 << 20,
    ..CLASSIC
};

/// Go's driver puts values into the statements by itself, instead of preparing them.
pub(crate) const HARDENED_INTERPOLATED: Place =
    Place { parameters: "parseTime=true&interpolateParams=true", ..HARDENED };

/// Go's connections are in the server's zone, which doesn't matter to this table.
pub(crate) const HARDENED_ABROAD: Place = Place { server: Some(Server::Abroad), ..HARDENED };

pub(crate) const HARDENED_TRUNCATING: Place =
    Place { parameters: "parseTime=true&timeTruncate=1us", ..HARDENED };

impl Place {
    pub(crate) fn is_mysql(self) -> bool {
        self.server.is_some()
    }

    /// The first and the last expiry that can be kept.
    pub(crate) fn range(self) -> [DateTime<Utc>; 2] {
        self.range.map(|text| text.parse().expect("an instant"))
    }

    /// Tokens that look alike and are different ones to both sides.
    pub(crate) fn tokens(self) -> &'static [&'static str] {
        match (self.server, self.table) {
            (None, _) => &[
                "abc", "ABC", "abc ", " abc", "ábc", "abc\0", "abc%", "abc';--", "abc\\", "abc\n",
                "🦀",
            ],
            (_, TableVariant::Hardened) => &["abc", "ABC", "ab_", "abc%", "abc';--", "abc\\", "\\"],
            (_, TableVariant::Classic) => &["abc", "ab_", "abc%", "abc';--", "abc\\", "\\"],
        }
    }
}

/// A new, empty database, which goes with this value.
pub(crate) struct Shared {
    /// Our store on it, which sweeps when it is told to.
    pub(crate) store: Arc<dyn Store>,
    /// What Go calls the driver, and the database.
    pub(crate) go_driver: &'static str,
    pub(crate) go_name: String,
    _database: Box<dyn Any + Send + Sync>,
}

impl Shared {
    pub(crate) fn new(place: Place) -> Self {
        match place.server {
            None => Self::sqlite(place),
            Some(server) => Self::mysql(place, Database::on(&server.get().url())),
        }
    }

    fn sqlite(place: Place) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sessions.db");
        let options = SqliteOptions::new().with_cleanup(CleanupOptions::disabled());
        Self {
            store: Arc::new(options.open(&path).expect("our store opens")),
            go_driver: "sqlite3",
            go_name: format!("{}?{}", path.display(), place.parameters),
            _database: Box::new(directory),
        }
    }

    fn mysql(place: Place, database: Database) -> Self {
        if place.table == TableVariant::Classic {
            database.run(CLASSIC_TABLE);
        }
        let url = database.url();
        let options = MysqlOptions::new().with_cleanup(CleanupOptions::disabled());
        let pool = options.pool(&url).expect("the server is there");
        let variant = options.create_table(&pool).expect("what is missing can be made");
        assert_eq!(variant, place.table);
        let (user, address) = url
            .strip_prefix("mysql://")
            .and_then(|rest| rest.split_once('@'))
            .expect("the URL of a private server");
        let (host, name) = address.split_once('/').expect("the URL of a database");
        Self {
            store: Arc::new(options.build(pool).expect("the table suits")),
            go_driver: "mysql",
            go_name: format!("{user}@tcp({host})/{name}?{}", place.parameters),
            _database: Box::new(database),
        }
    }
}

impl Server {
    /// The server, started by the first who asks.
    fn get(self) -> &'static PrivateServer {
        static DEFAULT: OnceLock<PrivateServer> = OnceLock::new();
        static ABROAD: OnceLock<PrivateServer> = OnceLock::new();
        // No server crashes here, so none has to write through to the disk.
        let options = ServerOptions::new().with_arg("--innodb-flush-log-at-trx-commit=2");
        let (server, options) = match self {
            Self::Default => (&DEFAULT, options),
            Self::Abroad => (&ABROAD, options.with_arg("--default-time-zone=+05:30")),
        };
        server.get_or_init(|| {
            let release = Release::from_env().expect("a release");
            let installation = Installation::find(release).expect("programs that run");
            let installation = installation.expect("run this with `cargo xtask interop`");
            PrivateServer::start(&installation, options).expect("the server starts")
        })
    }
}
