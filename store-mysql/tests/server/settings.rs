//! What a server's configuration may have set otherwise makes no difference.

use chrono::{TimeDelta, Utc};
use store_core::{CleanupOptions, Error, Store};
use store_mysql::{MysqlOptions, MysqlStore};
use test_servers::{
    Ability, CLASSIC, CLASSIC_IGNORING_CASE, Database, ServerOptions, private_server,
};

use crate::writes::{leads_to, rotate, set, set_subject, tokens_of};

/// Both products know these; `init_connect` is run for every user but administrators.
const GLOBALS: [(&str, &str); 14] = [
    ("init_connect", "'SET NAMES latin1'"),
    ("init_connect", "'SET collation_connection = latin1_swedish_ci'"),
    ("init_connect", "'SET timestamp = 1'"),
    ("init_connect", "'SET sql_big_selects = 0, max_join_size = 1'"),
    ("init_connect", "'SET autocommit = 0, sql_mode = ANSI'"),
    ("completion_type", "'CHAIN'"),
    ("autocommit", "0"),
    ("sql_safe_updates", "1"),
    ("sql_select_limit", "1"),
    ("max_join_size", "1"),
    ("sql_mode", "'NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH'"),
    ("max_allowed_packet", "16384"),
    ("wait_timeout", "1"),
    ("innodb_lock_wait_timeout", "1"),
];

#[test]
fn store_is_the_same_on_servers_set_otherwise() -> Result<(), Error> {
    let Some(server) = private_server(ServerOptions::new()) else { return Ok(()) };
    let administrator = Database::on(&server.url()).kept();
    administrator.run("CREATE USER app");
    administrator.run("GRANT SELECT, INSERT, UPDATE, DELETE ON *.* TO app");
    for (variable, value) in GLOBALS {
        for has_subjects in [true, false] {
            let database = Database::on(&server.url()).kept();
            if has_subjects {
                MysqlStore::create_table(&MysqlOptions::new().pool(&database.url())?)?;
            } else {
                database.run(CLASSIC);
            }
            administrator.run(&format!("SET GLOBAL {variable} = {value}"));
            let name = format!("{variable} = {value}, with subjects: {has_subjects}");
            let outcome = everything_works(&database, has_subjects);
            assert!(outcome.is_ok(), "{name}: {outcome:?}");
            administrator.run(&format!("SET GLOBAL {variable} = DEFAULT"));
        }
    }
    Ok(())
}

fn everything_works(database: &Database, has_subjects: bool) -> Result<(), Error> {
    let connect = || {
        MysqlOptions::new()
            .with_cleanup(CleanupOptions::disabled())
            .connect(&database.url_for("app"))
    };
    let in_an_hour = Utc::now() + TimeDelta::hours(1);
    let store = connect()?;
    let every_byte: Vec<u8> = (0..=255).collect();
    store.commit("token", &every_byte, in_an_hour)?;
    assert_eq!(store.find("token")?, Some(every_byte.clone()));
    assert!(set(&store, "token", &every_byte, b"two", in_an_hour)?);
    assert!(store.touch("token", in_an_hour)?);
    assert!(rotate(&store, "token", "renamed", b"two", in_an_hour)?);
    store.commit("taken", b"data", in_an_hour)?;
    assert!(matches!(
        rotate(&store, "renamed", "taken", b"two", in_an_hour),
        Err(Error::TokenTaken)
    ));
    assert_eq!(store.all()?.len(), 2);
    if has_subjects {
        let subject = "sübject 🙂";
        assert!(
            set_subject(&store, "renamed", Some(subject), b"two", in_an_hour)?
                && set_subject(&store, "taken", Some(subject), b"data", in_an_hour)?
        );
        assert!(leads_to(&store, "token", "renamed")?);
        assert_eq!(store.find_by_subject(subject)?.len(), 2);
        assert_eq!(store.delete_by_subject(subject, Some("token"))?, 1);
        assert_eq!(tokens_of(&store, subject)?, ["renamed"]);
        store.create("subject's", b"data", in_an_hour, Some(subject))?;
        assert!(rotate(&store, "subject's", "rotated", b"data", in_an_hour)?);
        assert_eq!(tokens_of(&store, subject)?, ["renamed", "rotated"]);
        store.delete("subject's")?;
        assert_eq!(tokens_of(&store, subject)?, ["renamed"]);
    }
    store.delete("taken")?;
    assert_eq!(store.count()?, 1);
    for n in 0..30 {
        store.commit(&format!("expired-{n}"), b"data", Utc::now() - TimeDelta::hours(1))?;
    }
    assert_eq!(store.delete_expired()?, 30);
    // What was acknowledged is there for everybody, and stays when the connections are gone.
    assert_eq!(connect()?.all()?.len(), 1);
    drop(store);
    assert_eq!(connect()?.find("renamed")?.as_deref(), Some(&b"two"[..]));
    Ok(())
}

/// A trigger of an application may hide what the server says of a statement.
#[test]
fn triggers_hide_nothing() -> Result<(), Error> {
    if !Ability::Triggers.is_there() {
        return Ok(());
    }
    let database = Database::new();
    database.run(CLASSIC_IGNORING_CASE);
    database.run(
        "CREATE TRIGGER note BEFORE UPDATE ON sessions FOR EACH ROW SET @noted = LAST_INSERT_ID()",
    );
    let store =
        MysqlOptions::new().with_cleanup(CleanupOptions::disabled()).connect(&database.url())?;
    let in_an_hour = Utc::now() + TimeDelta::hours(1);
    store.commit("same", b"data", in_an_hour)?;
    // Changes that change nothing.
    assert!(store.touch("same", in_an_hour)?);
    assert!(set(&store, "same", b"data", b"data", in_an_hour)?);
    let refused = store.commit("SAME", b"other", in_an_hour);
    assert!(matches!(refused, Err(Error::InvalidToken(_))), "{refused:?}");
    assert_eq!(store.find("same")?.as_deref(), Some(&b"data"[..]));
    Ok(())
}
