//! Names of tables: each is refused with a typed error, by all stores alike, or is the name of a
//! table of its own.

use r2d2_sqlite::SqliteConnectionManager;
use store_core::backend::TableName;
use store_core::{CleanupOptions, Error, Store};
use store_mysql::MysqlOptions;
use store_ql_compat::QlOptions;
use store_sqlite::SqliteOptions;
use store_sqlite::r2d2::Pool;

use super::{in_a_day, no_seeds, text};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "table_names",
    words: &[
        b"\"",
        b"`",
        b"'",
        b"]",
        b";",
        b"--",
        b"\0",
        b".",
        b"\\",
        b"sessions",
        b"SESSIONS",
        b"_subjects",
        b"_rotations",
        b"_expiry_idx",
        b"sqlite_",
        b"main.",
        b"select",
        b"0",
        b"_",
        b"\xEF\xBF\xBD",
        "ı".as_bytes(),
        "K".as_bytes(),
    ],
    seeds: no_seeds,
    max_len: 256,
    max_memory: |len| (8 << 20) + 256 * len,
    test,
};

fn test(input: &[u8]) -> String {
    let name = text(input);
    let is_letter = |char: char| matches!(char, 'a'..='z' | 'A'..='Z' | '_');
    let is_name = (1..=40).contains(&name.len())
        && name.starts_with(is_letter)
        && name.chars().all(|char| is_letter(char) || char.is_ascii_digit())
        && !name.eq_ignore_ascii_case("sqlite")
        && !name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"));
    match TableName::new(name.as_str()) {
        Ok(checked) => {
            assert!(is_name && checked.as_str() == name, "{name:?} was taken");
            use_table(&name).to_owned()
        }
        Err(error) => {
            assert!(!is_name, "{name:?} was refused");
            let said = refused(error);
            let cleanup = CleanupOptions::disabled;
            let sqlite = SqliteOptions::new().with_cleanup(cleanup()).with_table_name(&name);
            let ql = QlOptions::new().with_cleanup(cleanup()).with_table_name(&name);
            // Nothing listens there, and nobody is asked.
            let mysql = MysqlOptions::new().with_table_name(&name).pool("mysql://127.0.0.1:1/app");
            let errors = [
                sqlite.in_memory().map(drop).expect_err("the name is wrong"),
                ql.in_memory().map(drop).expect_err("the name is wrong"),
                mysql.map(drop).expect_err("the name is wrong"),
            ];
            for error in errors {
                assert_eq!(refused(error), said);
            }
            // What is said about the name, without the name.
            said.rsplit('"').next().unwrap_or_default().chars().take(20).collect()
        }
    }
}

fn refused(error: Error) -> String {
    match error {
        Error::InvalidOption { option: "table name", problem } => problem,
        other => panic!("{other:?}"),
    }
}

/// Keeps sessions in a table of this name next to another table of sessions.
fn use_table(name: &str) -> &'static str {
    const DATA: &[u8] = b"of the other table";
    let pool = Pool::builder().max_size(1).build(SqliteConnectionManager::memory());
    let pool = pool.expect("memory can be opened");
    let options = || SqliteOptions::new().with_cleanup(CleanupOptions::disabled());
    options().create_table(&pool).expect("the name is the default");
    let other = options().build(pool.clone()).expect("the name is the default");
    other.create("token", DATA, in_a_day(), Some("ada")).expect("it can be stored");
    let own = options().with_table_name(name);
    let opened = own.create_table(&pool).and_then(|()| own.build(pool));
    if name.eq_ignore_ascii_case("sessions") {
        opened.expect("it is the other table");
        return "the same";
    }
    let outcome = match opened {
        Ok(store) => {
            assert_eq!(store.count().expect("it has a table"), 0, "{name}");
            store.create("token", b"own", in_a_day(), Some("ada")).expect("it can be stored");
            assert_eq!(store.find("token").expect("it is there").as_deref(), Some(&b"own"[..]));
            assert_eq!(store.delete_by_subject("ada", None).expect("it is there"), 1);
            assert_eq!(store.find("token").expect("it can be read"), None);
            "a table"
        }
        // A side table of the other one.
        Err(Error::TableMismatch { .. }) => "a table of another kind",
        Err(unexpected) => panic!("{name}: {unexpected:?}"),
    };
    assert_eq!(other.find("token").expect("it is there").as_deref(), Some(DATA), "{name}");
    outcome
}
