//! A store of a relative path keeps its file when the process goes elsewhere, as one does that
//! becomes a daemon. A program of its own, because all threads of a process are in one directory.

use std::error::Error as StdError;
use std::{env, iter, thread};

use chrono::{TimeDelta, Utc};
use store_sqlite::{CleanupOptions, SqliteOptions, Store};

#[test]
fn file_stays_the_same_when_the_process_changes_its_directory() -> Result<(), Box<dyn StdError>> {
    let (here, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let open = || SqliteOptions::new().with_cleanup(CleanupOptions::disabled()).open("app.db");
    let in_an_hour = Utc::now() + TimeDelta::hours(1);
    env::set_current_dir(elsewhere.path())?;
    open()?.commit("token", b"another file", in_an_hour)?;
    env::set_current_dir(here.path())?;
    let store = open()?;
    store.commit("token", b"data", in_an_hour)?;

    env::set_current_dir(elsewhere.path())?;
    // Threads don't share connections as long as there are enough, so some are opened now.
    let found: Vec<_> = thread::scope(|scope| {
        let find = || scope.spawn(|| store.find("token"));
        let threads: Vec<_> = iter::repeat_with(find).take(32).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for found in found {
        assert_eq!(found?.as_deref(), Some(&b"data"[..]));
    }
    // A name alone is one in the directory where the process is.
    store.backup("backup.db")?;
    assert!(elsewhere.path().join("backup.db").exists());
    Ok(())
}
