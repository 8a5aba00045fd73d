//! Vitess whose MySQL is killed.

use store_core::{Error, Store};
use store_mysql::MysqlStore;
use test_servers::{Database, Installation, Release, VitessServer};

use crate::galera::{options, work_while};

#[test]
#[ignore = "cargo xtask test-vitess runs it"]
fn mysql_that_is_killed_under_load_loses_no_session() -> Result<(), Error> {
    let program = VitessServer::obtain_program().expect("it is built");
    let mysql = Installation::find(Release::MySql).expect("programs that run");
    let server =
        VitessServer::start(&program, &mysql.expect("the task has got it")).expect("it starts");
    let database = Database::on(&server.url()).kept();
    let connect = || -> Result<MysqlStore, Error> {
        let pool = options().pool(&database.url())?;
        options().create_table(&pool)?;
        options().build(pool)
    };
    let stores = [connect()?, connect()?];
    let committed = work_while(&stores, |go_on| {
        for _ in 0..3 {
            go_on();
            server.mysql().kill().expect("it can be killed");
            server.mysql().restart().expect("it starts again");
        }
        go_on();
    });
    let all = connect()?.all()?;
    assert!(committed.iter().all(|token| all.contains_key(token)));
    assert_eq!(all.len(), committed.len());
    Ok(())
}
