//! A cluster that loses a node under load.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use store_core::{Change, CleanupOptions, Error, Store};
use store_mysql::{MysqlOptions, MysqlStore};
use test_servers::GaleraCluster;

use crate::in_an_hour;
use crate::rotations::logouts_are_final;
use crate::writes::{set, set_subject, tokens_of};

/// Longer than the cluster takes to go on without a node on a busy machine; it ends what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The URL of a list of nodes, in this order.
fn list(cluster: &GaleraCluster, nodes: &[usize]) -> String {
    let addresses: Vec<_> =
        nodes.iter().map(|node| cluster.node(*node).address().to_string()).collect();
    format!("mysql://root@{}/app", addresses.join(","))
}

pub(crate) fn options() -> MysqlOptions {
    MysqlOptions::new()
        .with_cleanup(CleanupOptions::disabled())
        .with_network_timeout(PATIENCE)
        .with_operation_timeout(PATIENCE)
        .with_checkout_timeout(PATIENCE)
        .with_outage_timeout(PATIENCE)
}

pub(crate) fn start() -> GaleraCluster {
    let cluster = GaleraCluster::start().expect("a cluster");
    cluster.node(0).execute("CREATE DATABASE app").expect("it is made on every node");
    let pool = options().pool(&list(&cluster, &[0, 1, 2])).expect("the cluster is there");
    MysqlStore::create_table(&pool).expect("the table can be made");
    cluster
}

/// Lets many threads work on two stores of one database while something is done to the servers,
/// which calls what waits until the threads have done some more. Returns the sessions that there
/// are.
pub(crate) fn work_while(
    stores: &[MysqlStore; 2],
    happen: impl FnOnce(&dyn Fn()),
) -> HashSet<String> {
    const WRITERS: u64 = 6;
    const BEFORE: u64 = 200;
    let committed = Mutex::new(HashSet::new());
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (stores, committed, count, is_over) = (stores, &committed, &count, &is_over);
                scope.spawn(move || {
                    let mut n = 0_u64;
                    while !is_over.load(Ordering::Acquire) {
                        let (one, other) = if n.is_multiple_of(2) {
                            (&stores[0], &stores[1])
                        } else {
                            (&stores[1], &stores[0])
                        };
                        let token = format!("{writer}-{n}");
                        one.commit(&token, b"one", in_an_hour()).expect("it is tried again");
                        let found = other.find(&token).expect("it is tried again");
                        assert_eq!(
                            found.as_deref(),
                            Some(&b"one"[..]),
                            "{token}: seen through the other node"
                        );
                        match set(other, &token, b"one", b"two", in_an_hour()) {
                            Ok(is_done) => assert!(is_done, "{token}: an UPDATE sees it as well"),
                            // Its reply was lost with the node, after it was done.
                            Err(Error::Unreachable { .. }) => assert_eq!(
                                other.find(&token).expect("it is tried again").as_deref(),
                                Some(&b"two"[..]),
                                "{token}: a write that wasn't done is made again"
                            ),
                            Err(error) => panic!("{token}: {error:?}"),
                        }
                        assert!(one.touch(&token, in_an_hour()).expect("it is tried again"));
                        if n % 4 == 1 {
                            one.delete(&token).expect("it is tried again");
                            assert_eq!(other.find(&token).expect("it is tried again"), None);
                        } else {
                            committed.lock().expect("no panic").insert(token);
                        }
                        count.fetch_add(1, Ordering::AcqRel);
                        n += 1;
                    }
                })
            })
            .collect();
        let is_well = || writers.iter().all(|writer| !writer.is_finished());
        let go_on = || {
            let enough = count.load(Ordering::Acquire) + BEFORE;
            while count.load(Ordering::Acquire) < enough && is_well() {
                thread::yield_now();
            }
        };
        happen(&go_on);
        is_over.store(true, Ordering::Release);
    });
    committed.into_inner().expect("no panic")
}

/// Each node has all of them by itself.
pub(crate) fn each_node_has(
    cluster: &GaleraCluster,
    committed: &HashSet<String>,
) -> Result<(), Error> {
    for node in 0..3 {
        let store = options().connect(&list(cluster, &[node]))?;
        let all = store.all()?;
        for token in committed {
            assert_eq!(
                all.get(token).map(Vec::as_slice),
                Some(&b"two"[..]),
                "{token} on node {node}"
            );
        }
        assert_eq!(all.len(), committed.len(), "node {node}");
    }
    Ok(())
}

#[test]
#[ignore = "cargo xtask test-galera runs it"]
fn node_that_is_killed_under_load_loses_no_session() -> Result<(), Error> {
    let cluster = start();
    // Two applications that prefer different nodes; both see what the other does.
    let stores = [
        options().connect(&list(&cluster, &[0, 1, 2]))?,
        options().connect(&list(&cluster, &[2, 1, 0]))?,
    ];
    let committed = work_while(&stores, |go_on| {
        go_on();
        cluster.kill(0).expect("it can be killed");
        go_on();
        cluster.restart(0).expect("it comes back");
        go_on();
        cluster.kill(2).expect("it can be killed");
        go_on();
    });
    cluster.restart(2).expect("it comes back");
    each_node_has(&cluster, &committed)
}

/// Nodes that don't agree on a change refuse it at COMMIT, which is no error to the application.
#[test]
#[ignore = "cargo xtask test-galera runs it"]
fn conflicts_between_nodes_are_tried_again() -> Result<(), Error> {
    const THREADS: usize = 3;
    const ROUNDS: u32 = 40;
    let cluster = start();
    let stores: Vec<_> = (0..THREADS)
        .map(|node| options().connect(&list(&cluster, &[node, (node + 1) % 3])))
        .collect::<Result<_, _>>()?;
    stores[0].commit("counter", &0_u32.to_le_bytes(), in_an_hour())?;
    thread::scope(|scope| {
        for store in &stores {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    loop {
                        let current = store.find("counter").expect("no error").expect("it is live");
                        let number =
                            u32::from_le_bytes(current[..].try_into().expect("four bytes"));
                        let next = (number + 1).to_le_bytes();
                        if set(store, "counter", &current, &next, in_an_hour()).expect("no error") {
                            break;
                        }
                    }
                    // Others count concurrently, so this isn't done each time.
                    let current = store.find("counter").expect("no error").expect("it is live");
                    set_subject(store, "counter", Some("user"), &current, in_an_hour())
                        .expect("no error");
                }
            });
        }
    });
    let expected = u32::try_from(THREADS).expect("few") * ROUNDS;
    for store in &stores {
        assert_eq!(store.find("counter")?.as_deref(), Some(&expected.to_le_bytes()[..]));
        assert_eq!(tokens_of(store, "user")?, ["counter"]);
    }
    Ok(())
}

/// A logout through one node and rotations through another one meet at COMMIT.
#[test]
#[ignore = "cargo xtask test-galera runs it"]
fn logout_through_one_node_follows_rotations_through_another() -> Result<(), Error> {
    const ROUNDS: usize = 20;
    let cluster = start();
    let connect = |node: usize| options().connect(&list(&cluster, &[node, (node + 1) % 3]));
    logouts_are_final(&connect(0)?, &connect(1)?, ROUNDS)
}

/// Nodes know nothing of each other's locks, so what keeps a limit is that each login changes the
/// row that stands for its user.
#[test]
#[ignore = "cargo xtask test-galera runs it"]
fn logins_through_all_nodes_keep_a_limit() -> Result<(), Error> {
    const NODES: usize = 3;
    const ROUNDS: usize = 40;
    let cluster = start();
    let stores: Vec<_> = (0..NODES)
        .map(|node| options().connect(&list(&cluster, &[node, (node + 1) % NODES])))
        .collect::<Result<_, _>>()?;
    let log_in = |store: &MysqlStore, user: &str, token: &str, expected: &[&str]| {
        let login = Change::new(b"data", in_an_hour())
            .with_subject(Some(user))
            .expecting_sessions_of(user, expected.iter().copied());
        store.create_with(token, &login).expect("no error")
    };
    for round in 0..ROUNDS {
        // The first login inserts the row, and those of the race change it. They have nothing else
        // in common that two nodes could conflict over.
        let (user, first) = (format!("user-{round}"), format!("first-{round}"));
        assert!(log_in(&stores[0], &user, &first, &[]));
        let start = Barrier::new(NODES);
        let done: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..NODES)
                .map(|node| {
                    let (store, user, first, start) = (&stores[node], &user, &first, &start);
                    scope.spawn(move || {
                        start.wait();
                        log_in(store, user, &format!("second-{round}-{node}"), &[first])
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "round {round}: {done:?}");
        for store in &stores {
            assert_eq!(tokens_of(store, &user)?.len(), 2, "round {round}");
        }
    }
    Ok(())
}

/// A node that isn't in the majority any more takes no statements, which is named, and over when
/// the others are back.
#[test]
#[ignore = "cargo xtask test-galera runs it"]
fn node_without_a_majority_is_named_and_used_again() -> Result<(), Error> {
    let cluster = start();
    let short = Duration::from_secs(2);
    let store = options()
        .with_network_timeout(short)
        .with_operation_timeout(short)
        .with_checkout_timeout(short)
        .connect(&list(&cluster, &[0]))?;
    store.commit("token", b"data", in_an_hour())?;
    for node in [1, 2] {
        cluster.freeze(node).expect("it can be stopped");
    }
    let started = Instant::now();
    let mut attempt = 0;
    loop {
        // Until the node has noticed, its replies don't come in time, and what waits for them holds
        // its row.
        attempt += 1;
        let outcome = store.commit(&format!("token-{attempt}"), b"new", in_an_hour());
        let Err(error) = outcome else { panic!("{outcome:?}") };
        assert!(error.is_retryable(), "{error:?}");
        let shown = format!("{error:?}");
        if shown.contains("1047") || shown.contains("majority") {
            assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{shown}");
    }
    thread::scope(|scope| {
        for node in [1, 2] {
            let cluster = &cluster;
            scope.spawn(move || cluster.thaw(node).expect("it goes on"));
        }
    });
    while let Err(error) = store.commit("token", b"newer", in_an_hour()) {
        assert!(error.is_retryable() && started.elapsed() < 2 * PATIENCE, "{error:?}");
    }
    assert_eq!(store.find("token")?.as_deref(), Some(&b"newer"[..]));
    Ok(())
}
