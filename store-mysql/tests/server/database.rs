//! Databases for tests, each of its own, on the server that all tests of a program share; and what else they begin with.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};
use store_core::CleanupOptions;
use store_mysql::{MysqlOptions, mysql};
use xtask::mysql_server::{Installation, PrivateServer, Product, ServerOptions, shared_server};

/// Whether there is a server. Where there is none, `shared_server` says so aloud, or fails under `cargo xtask test-all`.
pub(crate) fn is_server_there() -> bool {
    shared_server().is_some()
}

/// A server of a test's own, whose settings it may change, and which it may ill-treat. None where the tests run on a server
/// that isn't the project's.
pub(crate) fn private_server(options: ServerOptions) -> Option<PrivateServer> {
    shared_server()?;
    let product = Product::from_env().expect("a product");
    let installation = Installation::find(product).expect("programs that run")?;
    Some(PrivateServer::start(&installation, options).expect("it starts"))
}

/// Options without a cleanup thread.
pub(crate) fn options() -> MysqlOptions {
    MysqlOptions::new().with_cleanup(CleanupOptions::disabled())
}

pub(crate) fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

/// A database that is removed with this value, unless the test has failed.
pub(crate) struct Database {
    server: String,
    name: String,
    is_own: bool,
}

impl Database {
    /// A new, empty database on the shared server.
    pub(crate) fn new() -> Self {
        let server = shared_server().expect("tests ask first").url();
        Self::on(server)
    }

    /// A new, empty database on a server.
    pub(crate) fn on(server: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("store_mysql_test_{}_{number}", std::process::id());
        let database = Self { server: server.to_owned(), name, is_own: true };
        database.administer(&format!("CREATE DATABASE `{}`", database.name));
        database
    }

    /// The same, left to a server that ends with the test.
    pub(crate) fn kept(mut self) -> Self {
        self.is_own = false;
        self
    }

    /// The database of another process.
    pub(crate) fn attach(location: &str) -> Self {
        let (server, name) = location.rsplit_once('/').expect("a location that `url` gave");
        Self { server: server.to_owned(), name: name.to_owned(), is_own: false }
    }

    /// The URL of the database, for a store.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.server.trim_end_matches('/'), self.name)
    }

    /// The database's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The URL for another user, `name:password`.
    pub(crate) fn url_for(&self, user: &str) -> String {
        let (scheme, rest) =
            self.url().split_once("://").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a URL");
        let host = rest.split_once('@').map_or(&*rest, |(_, host)| host);
        format!("{scheme}://{user}@{host}")
    }

    /// A connection as an application's own code makes it, in the database.
    pub(crate) fn connection(&self) -> Conn {
        let opts = Opts::from_url(&self.url()).expect("a URL");
        Conn::new(OptsBuilder::from_opts(opts).prefer_socket(false)).expect("a connection")
    }

    /// Runs a statement in the database.
    pub(crate) fn run(&self, sql: &str) {
        self.connection().query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn administer(&self, sql: &str) {
        let opts = Opts::from_url(&self.server).expect("a URL");
        let mut connection =
            Conn::new(OptsBuilder::from_opts(opts).prefer_socket(false)).expect("a connection");
        connection.query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.is_own && !std::thread::panicking() {
            self.administer(&format!("DROP DATABASE `{}`", self.name));
        }
    }
}

/// The table as the Go store documents it.
pub(crate) const CLASSIC: &str = "CREATE TABLE sessions (
    token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL,
    INDEX sessions_expiry_idx (expiry))";
