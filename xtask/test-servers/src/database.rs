//! Databases for tests, each of its own, on the server that all tests of a program share; and what
//! else they begin with.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};
use store_core::CleanupOptions;
use store_mysql::{MysqlOptions, mysql};
use xtask::mysql_server::{Installation, PrivateServer, Product, ServerOptions, shared_server};

/// Whether there is a server. Where there is none, `shared_server` says so aloud, or fails under
/// `cargo xtask test-all`.
pub(crate) fn is_server_there() -> bool {
    shared_server().is_some()
}

/// A server of a test's own, whose settings it may change, and which it may ill-treat. None where the
/// tests run on a server that isn't the project's.
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
    has_user: bool,
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
        let database = Self { server: server.to_owned(), name, is_own: true, has_user: false };
        database.administer(&format!("CREATE DATABASE `{}`", database.name));
        database
    }

    /// The same, left to a server that ends with the test.
    pub(crate) fn kept(mut self) -> Self {
        self.is_own = false;
        self
    }

    /// The same with an account, named as the database, that reads and writes rows and can't create
    /// tables.
    pub(crate) fn with_user(mut self) -> Self {
        let name = &self.name;
        self.administer(&format!("CREATE USER '{name}'"));
        self.administer(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.* TO '{name}'"));
        self.has_user = true;
        self
    }

    /// The database of another process.
    pub(crate) fn attach(location: &str) -> Self {
        let (server, name) = location.rsplit_once('/').expect("a location that `url` gave");
        Self { server: server.to_owned(), name: name.to_owned(), is_own: false, has_user: false }
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

    /// The URL for the account that [`with_user`](Self::with_user) has made.
    pub(crate) fn url_of_user(&self) -> String {
        self.url_for(&self.name)
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

    /// Waits until a client of this database waits for a lock, or for what ends the wait.
    pub(crate) fn wait_for_a_lock_wait(&self, is_over: impl Fn() -> bool) {
        // What waits for a lock is known to the server. Other tests use it as well.
        let waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX AS waiting \
             JOIN information_schema.PROCESSLIST AS client ON client.ID = waiting.trx_mysql_thread_id \
             WHERE waiting.trx_state = 'LOCK WAIT' AND client.DB = ?";
        let mut watcher = self.connection();
        let mut is_waiting = || {
            let count: Option<u32> =
                watcher.exec_first(waiting, (self.name(),)).expect("root sees it");
            count.is_some_and(|count| count > 0)
        };
        while !is_waiting() && !is_over() {
            // The server looks anew only where it hasn't been asked for a tenth of a second.
            thread::sleep(Duration::from_millis(150));
        }
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
            if self.has_user {
                self.administer(&format!("DROP USER '{}'", self.name));
            }
        }
    }
}

/// The table as the Go store documents it.
pub(crate) const CLASSIC: &str = "CREATE TABLE sessions (
    token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL,
    INDEX sessions_expiry_idx (expiry))";
