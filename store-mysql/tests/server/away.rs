//! A server that isn't there when the application starts.

use std::time::Duration;

use store_core::{LazyStore, Store};
use store_mysql::Error;
use test_servers::{Database, ServerOptions, private_server};

use crate::{in_an_hour, options};

/// Only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn store_is_opened_once_its_server_is_there() -> Result<(), Error> {
    let Some(server) = private_server(ServerOptions::new()) else { return Ok(()) };
    let database = Database::on(&server.url()).kept();
    let url = database.url();
    let pool = options().pool(&url)?;
    options().create_table(&pool)?;
    drop(pool);
    server.stop().expect("it can be stopped");

    let eager = options().connect(&url);
    assert!(matches!(eager, Err(Error::Unreachable { .. })), "{eager:?}");
    let store = LazyStore::new(move || options().connect(&url));
    for _ in 0..20 {
        let found = store.find("token");
        assert!(matches!(found, Err(Error::Unreachable { .. })), "{found:?}");
    }
    assert!(store.wait_until_open(Duration::ZERO).is_err() && !store.is_open());

    server.restart().expect("it starts again");
    store.wait_until_open(PATIENCE)?;
    store.commit("token", b"data", in_an_hour())?;
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    Ok(())
}
