//! A cluster behind `HAProxy`, which closes idle connections and changes its server.

use std::time::Duration;

use store_core::{Error, Store};
use store_mysql::MysqlStore;
use test_servers::HaProxy;

use crate::galera::{each_node_has, options, start, work_while};
use crate::in_an_hour;
use crate::writes::{leads_to, rotate, set, set_subject, tokens_of};

#[test]
#[ignore = "cargo xtask test-proxies runs it"]
fn connections_that_the_proxy_has_closed_fail_nothing() -> Result<(), Error> {
    type Operation = fn(&MysqlStore) -> Result<(), Error>;
    const OPERATIONS: [Operation; 8] = [
        |store| store.create("token", b"one", in_an_hour(), Some("user")),
        |store| {
            assert_eq!(store.find("token")?.as_deref(), Some(&b"one"[..]));
            Ok(())
        },
        |store| {
            assert!(set(store, "token", b"one", b"two", in_an_hour())?);
            Ok(())
        },
        |store| {
            assert!(store.touch("token", in_an_hour())?);
            Ok(())
        },
        |store| {
            assert!(rotate(store, "token", "new", b"two", in_an_hour())?);
            Ok(())
        },
        |store| {
            assert!(leads_to(store, "token", "new")?);
            Ok(())
        },
        |store| {
            assert_eq!(tokens_of(store, "user")?, ["new"]);
            Ok(())
        },
        |store| {
            store.delete("token")?;
            assert_eq!(store.count()?, 0);
            Ok(())
        },
    ];
    let cluster = start();
    let proxy = HaProxy::start(&[cluster.node(0).address()], Duration::from_secs(1))
        .expect("it passes the greeting on");
    let store = options().connect(&url(&proxy))?;
    for operation in OPERATIONS {
        proxy.wait_until_unused().expect("it closes what is idle");
        operation(&store)?;
    }
    Ok(())
}

#[test]
#[ignore = "cargo xtask test-proxies runs it"]
fn proxy_that_changes_its_server_under_load_loses_no_session() -> Result<(), Error> {
    let cluster = start();
    let addresses = [0, 1, 2].map(|node| cluster.node(node).address());
    let proxy =
        HaProxy::start(&addresses, Duration::from_secs(60)).expect("it passes the greeting on");
    let stores = [options().connect(&url(&proxy))?, options().connect(&url(&proxy))?];
    let committed = work_while(&stores, |go_on| {
        go_on();
        proxy.take_out(0).expect("it obeys");
        go_on();
        proxy.put_back(0).expect("it obeys");
        go_on();
        cluster.kill(0).expect("it can be killed");
        go_on();
        cluster.restart(0).expect("it comes back");
        go_on();
    });
    stores[0].create("last", b"data", in_an_hour(), None)?;
    assert!(set_subject(&stores[1], "last", Some("user"), b"data", in_an_hour())?);
    stores[0].delete("last")?;
    each_node_has(&cluster, &committed)
}

fn url(proxy: &HaProxy) -> String {
    format!("mysql://root@{}/app", proxy.address())
}
