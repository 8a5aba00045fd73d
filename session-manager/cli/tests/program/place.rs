//! Stores for the program to work on, and what is in them.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use session_manager::{Codec, CookiePolicy, MessagePack, SessionId, SessionManager};
use store_core::{CleanupOptions, Store};
use store_mysql::MysqlOptions;
use store_ql_compat::QlOptions;
use store_sqlite::SqliteOptions;
use tempfile::TempDir;
use test_servers::Database;

use crate::program::{Run, run};

/// Where a store is.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) kind: Kind,
    directory: TempDir,
}

pub(crate) enum Kind {
    Sqlite(PathBuf),
    Ql(PathBuf),
    Mysql(Database),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        let path = directory.path().join("app.db");
        Self { url: format!("sqlite:{}", path.display()), kind: Kind::Sqlite(path), directory }
    }

    pub(crate) fn ql() -> Self {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        let path = directory.path().join("app.redb");
        Self { url: format!("ql:{}", path.display()), kind: Kind::Ql(path), directory }
    }

    pub(crate) fn mysql() -> Self {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        let database = Database::new();
        Self { url: database.url(), kind: Kind::Mysql(database), directory }
    }

    /// Where the file is, and room for others.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs the program on the store.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        run(["--store", &self.url].iter().chain(arguments))
    }

    /// Opens the store as an application does. On redb it has to be dropped before the program
    /// runs.
    pub(crate) fn open(&self) -> Arc<dyn Store> {
        let cleanup = CleanupOptions::disabled();
        match &self.kind {
            Kind::Sqlite(path) => {
                Arc::new(SqliteOptions::new().with_cleanup(cleanup).open(path).expect("it opens"))
            }
            Kind::Ql(path) => {
                Arc::new(QlOptions::new().with_cleanup(cleanup).open(path).expect("it opens"))
            }
            Kind::Mysql(database) => {
                let options = MysqlOptions::new().with_cleanup(cleanup);
                let pool = options.pool(&database.url()).expect("the server is there");
                options.create_table(&pool).expect("the table can be made");
                Arc::new(options.build(pool).expect("the table suits"))
            }
        }
    }

    /// Whether there is a session with this id.
    pub(crate) fn has(&self, id: SessionId) -> bool {
        self.run(&["list", "--json"]).done().contains(&id.to_string())
    }

    /// Fills the store with sessions of each kind.
    pub(crate) fn fill(&self) -> Result<Filled, Box<dyn Error>> {
        let store = self.open();
        let sessions = SessionManager::new(Arc::clone(&store));
        let packed = SessionManager::new(Arc::clone(&store))
            .with_codec(MessagePack)
            .with_cookie(CookiePolicy::new().with_name("__Host-office"))?;
        let mut secrets = vec!["s3cret value".to_owned()];
        let first = begin(&sessions, Some("7"), &mut secrets)?;
        let renewed = begin(&sessions, Some("7"), &mut secrets)?;
        let renewed = renew(&sessions, &renewed.1, &mut secrets)?;
        let anonymous = begin(&sessions, None, &mut secrets)?.0;
        let office = begin(&packed, Some("7"), &mut secrets)?.0;
        let (own, expiry) = (b"\x00 a codec of its own", Utc::now() + TimeDelta::hours(1));
        store.create("own-key", own, expiry, Some("own:8"))?;
        store.commit("expired", b"data", Utc::now() - TimeDelta::hours(1))?;
        store.for_each(&mut |record| {
            secrets.push(record.token.to_owned());
            ControlFlow::Continue(())
        })?;
        Ok(Filled { first: first.0, renewed, anonymous, office, secrets })
    }
}

/// The sessions of [`Place::fill`]: those below, one of an application's own codec, and an expired
/// one.
pub(crate) struct Filled {
    pub(crate) first: SessionId,
    pub(crate) renewed: SessionId,
    pub(crate) anonymous: SessionId,
    /// One with another cookie, of a user of the same name.
    pub(crate) office: SessionId,
    /// Tokens, keys and values, which nobody may see.
    pub(crate) secrets: Vec<String>,
}

/// Begins a session; returns its id and token.
fn begin<C: Codec>(
    sessions: &SessionManager<C>,
    subject: Option<&str>,
    secrets: &mut Vec<String>,
) -> Result<(SessionId, String), Box<dyn Error>> {
    let mut session = sessions.load([])?;
    session.insert("note", "s3cret value")?;
    if let Some(subject) = subject {
        session.set_subject(subject)?;
    }
    let finished = session.finish()?;
    let cookie = finished.headers.iter().find(|(name, _)| *name == "Set-Cookie");
    let token = cookie.and_then(|(_, cookie)| cookie.split(['=', ';']).nth(1));
    let token = token.expect("it is new").to_owned();
    secrets.push(token.clone());
    Ok((finished.id.expect("it is stored"), token))
}

/// Gives a session another token; returns its id, which is in its data from now on.
fn renew(
    sessions: &SessionManager,
    token: &str,
    secrets: &mut Vec<String>,
) -> Result<SessionId, Box<dyn Error>> {
    let mut session = sessions.load([token])?;
    session.renew()?;
    let finished = session.finish()?;
    secrets.extend(finished.headers.iter().filter_map(|(name, cookie)| {
        (*name == "Set-Cookie").then(|| cookie.split(['=', ';']).nth(1).map(str::to_owned))?
    }));
    Ok(finished.id.expect("it is stored"))
}
