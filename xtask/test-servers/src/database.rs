//! Databases on a server, one for each test.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};

use crate::ability::version;
use crate::shared_server;

/// The sessions table as the Go store documents it.
pub const CLASSIC: &str = "CREATE TABLE sessions (
    token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL,
    INDEX sessions_expiry_idx (expiry))";

/// [`CLASSIC`] in a collation that ignores case and accents.
pub const CLASSIC_IGNORING_CASE: &str = "CREATE TABLE sessions (
    token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL,
    INDEX sessions_expiry_idx (expiry)) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";

/// A database that is removed with this value, unless the test has failed.
#[derive(Debug)]
pub struct Database {
    /// The server's URL.
    server: String,
    name: String,
    is_own: bool,
    has_user: bool,
}

impl Database {
    /// Creates an empty database on the shared server, which must exist.
    #[expect(clippy::new_without_default, reason = "it isn't a value, but a database on a server")]
    pub fn new() -> Self {
        Self::on(shared_server().expect("tests ask first").url())
    }

    /// Creates an empty database on a server.
    pub fn on(server: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("store_mysql_test_{}_{number}", process::id());
        run_alone(server, &format!("CREATE DATABASE `{name}`"));
        Self { server: server.to_owned(), name, is_own: true, has_user: false }
    }

    /// Leaves the database to a server that ends with the test.
    #[must_use]
    pub fn kept(mut self) -> Self {
        self.is_own = false;
        self
    }

    /// Creates an account, named as the database, that reads and writes rows and can't create
    /// tables.
    #[must_use]
    pub fn with_user(mut self) -> Self {
        let name = &self.name;
        let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.* TO '{name}'");
        run(&self.server, &format!("CREATE USER '{name}'"));
        run(&self.server, &grant);
        self.has_user = true;
        self
    }

    /// The database of another process, by its [`url`](Self::url).
    pub fn attach(url: &str) -> Self {
        let (server, name) = url.rsplit_once('/').expect("the URL of a database");
        Self { server: server.to_owned(), name: name.to_owned(), is_own: false, has_user: false }
    }

    /// The URL of the database, for a store.
    pub fn url(&self) -> String {
        format!("{}/{}", self.server.trim_end_matches('/'), self.name)
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL for another user, `name:password`.
    pub fn url_for(&self, user: &str) -> String {
        let url = self.url();
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let host = rest.split_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{user}@{host}")
    }

    /// The URL for the account that [`with_user`](Self::with_user) has made.
    pub fn url_of_user(&self) -> String {
        self.url_for(&self.name)
    }

    /// A connection to the database such as an application's own code makes.
    pub fn connection(&self) -> Conn {
        connect(&self.url())
    }

    /// Runs a statement in the database.
    pub fn run(&self, sql: &str) {
        run(&self.url(), sql);
    }

    /// Whether the server is a TiDB.
    pub fn is_tidb(&self) -> bool {
        self.version().contains("TiDB")
    }

    /// Whether the server is a Vitess.
    pub fn is_vitess(&self) -> bool {
        self.version().contains("Vitess")
    }

    fn version(&self) -> String {
        version(&self.url())
    }

    /// Waits until a client of this database waits for a lock, or until `is_over`.
    pub fn wait_for_a_lock_wait(&self, is_over: impl Fn() -> bool) {
        // The server refreshes the list only if nobody has read it for a tenth of a second, so
        // tests that wait at the same time take turns.
        const REFRESH: Duration = Duration::from_millis(150);
        static LAST_LOOK: Mutex<Option<Instant>> = Mutex::new(None);
        // The server lists transactions that wait for locks. Other tests have some of their own.
        let in_tidb = "SELECT COUNT(*) FROM information_schema.TIDB_TRX \
             WHERE STATE = 'LockWaiting' AND DB = ?";
        let in_innodb = "SELECT COUNT(*) FROM information_schema.INNODB_TRX AS waiting \
             JOIN information_schema.PROCESSLIST AS client ON client.ID = waiting.trx_mysql_thread_id \
             WHERE waiting.trx_state = 'LOCK WAIT' AND client.DB = ?";
        // A keyspace of Vitess is a database for each of its shards in the MySQL under it.
        let schema =
            if self.is_vitess() { format!("vt_{}_0", self.name) } else { self.name.clone() };
        let waiting = if self.is_tidb() { in_tidb } else { in_innodb };
        let mut watcher = self.connection();
        let mut is_waiting = || {
            let count: Option<u32> = watcher.exec_first(waiting, (&schema,)).expect("root sees it");
            count.is_some_and(|count| count > 0)
        };
        loop {
            let mut last_look = LAST_LOOK.lock().unwrap_or_else(PoisonError::into_inner);
            if last_look.is_none_or(|last| last.elapsed() > REFRESH) {
                let is_found = is_waiting();
                *last_look = Some(Instant::now());
                if is_found || is_over() {
                    return;
                }
            }
            drop(last_look);
            thread::sleep(REFRESH / 10);
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.is_own && !thread::panicking() {
            run_alone(&self.server, &format!("DROP DATABASE `{}`", self.name));
            if self.has_user {
                run(&self.server, &format!("DROP USER '{}'", self.name));
            }
        }
    }
}

fn connect(url: &str) -> Conn {
    let opts = Opts::from_url(url).expect("a URL");
    Conn::new(OptsBuilder::from_opts(opts).prefer_socket(false)).expect("a connection")
}

fn run(url: &str, sql: &str) {
    connect(url).query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// As [`run`], one after the other: Vitess loses count of databases that come and go at once.
fn run_alone(url: &str, sql: &str) {
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    run(url, sql);
}
