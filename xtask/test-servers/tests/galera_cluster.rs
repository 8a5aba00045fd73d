//! A cluster as tests use it. `cargo xtask test-galera` gets its programs and runs these tests.

use test_servers::GaleraCluster;

#[test]
#[ignore = "cargo xtask test-galera runs it"]
fn nodes_are_one_database_that_outlives_each_of_them() {
    let cluster = GaleraCluster::start().expect("a cluster");
    assert_eq!(cluster.urls().len(), 3);
    let make = "CREATE DATABASE shop; CREATE TABLE shop.numbers (number INT PRIMARY KEY)";
    cluster.node(0).execute(make).expect("a table");
    let add = |index: usize, number: usize| {
        cluster
            .node(index)
            .execute(&format!("INSERT INTO shop.numbers VALUES ({number})"))
            .map(drop)
    };
    let count = |index: usize| {
        let ask = "SET wsrep_sync_wait = 1; SELECT COUNT(*) FROM shop.numbers";
        cluster.node(index).execute(ask).expect("a count").trim().to_owned()
    };
    for index in 0..3 {
        add(index, index).expect("a row");
    }
    assert_eq!([0, 1, 2].map(count), ["3", "3", "3"]);

    for index in 0..3 {
        let other = (index + 1) % 3;
        cluster.kill(index).expect("an end");
        cluster.wait_for_members(other, 2).expect("that the others notice");
        add(other, 10 + index).expect("a row");
        cluster.restart(index).expect("a return");
        assert_eq!(count(index), (4 + index).to_string());
    }

    cluster.freeze(0).expect("a freeze");
    cluster.wait_for_members(1, 2).expect("that the others notice");
    add(1, 20).expect("a row");
    cluster.thaw(0).expect("a return");
    assert_eq!(count(0), "7");
}

#[test]
#[ignore = "cargo xtask test-galera runs it"]
fn two_clusters_do_not_meet() {
    let first = GaleraCluster::start().expect("a cluster");
    let second = GaleraCluster::start().expect("a cluster");
    first.wait_for_members(0, 3).expect("three");
    second.wait_for_members(0, 3).expect("three");
    first.node(0).execute("CREATE DATABASE first").expect("a database");
    let there = |cluster: &GaleraCluster| {
        cluster.node(2).execute("SET wsrep_sync_wait = 1; SHOW DATABASES")
    };
    assert!(there(&first).expect("rows").contains("first"));
    assert!(!there(&second).expect("rows").contains("first"));
}
