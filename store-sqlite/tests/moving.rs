//! Processes that share two files, and take their sessions from one to the other.

use std::path::Path;

use store_conformance::{FileStore, TempFile};
use store_core::MovingStore;
use store_sqlite::{CleanupOptions, SqliteOptions, SqliteStore};

fn open(path: &Path, cleanup: CleanupOptions) -> SqliteStore {
    let options = SqliteOptions::new().with_contention_timeout(std::time::Duration::from_secs(60));
    options.with_cleanup(cleanup).open(path).expect("the file opens")
}

/// Both files, of which the second is the new one.
fn open_both(path: &Path, cleanups: [CleanupOptions; 2]) -> [SqliteStore; 2] {
    let [old, new] = cleanups;
    [open(path, old), open(&path.with_extension("new"), new)]
}

struct Preparing;

impl FileStore for Preparing {
    type Store = MovingStore;

    fn open(path: &Path, cleanup: CleanupOptions) -> MovingStore {
        let [old, new] = open_both(path, [cleanup, CleanupOptions::disabled()]);
        MovingStore::preparing(old, new)
    }
}

struct Moving;

impl FileStore for Moving {
    type Store = MovingStore;

    fn open(path: &Path, cleanup: CleanupOptions) -> MovingStore {
        let [old, new] = open_both(path, [CleanupOptions::disabled(), cleanup]);
        MovingStore::moving(old, new)
    }
}

mod moving {
    use super::*;

    store_conformance::conformance_tests!(TempFile::<Moving>::new(), indexes, durable, shared);
}

/// Makes a test of each claim about processes.
macro_rules! claims {
    ($($claim:ident)+) => {$(
        #[test]
        fn $claim() {
            let name = concat!(module_path!(), "::", stringify!($claim));
            store_conformance::$claim(TempFile::<Preparing>::new, name);
        }
    )+};
}

mod preparing {
    use super::*;

    claims! {
        expiry_does_not_depend_on_the_time_zone killed_process_loses_no_commit
        processes_count_together processes_race_to_create processes_clean_up_together
    }
}
