//! The program as it is installed, on a SQLite file, a redb file and a MariaDB of its own.

/// Makes a test of each claim on each store.
macro_rules! on_every_store {
    ($($claim:ident)*) => {
        mod sqlite {
            $(#[test]
            fn $claim() -> crate::TestResult {
                super::$claim(&crate::place::Place::sqlite())
            })*
        }

        mod ql {
            $(#[test]
            fn $claim() -> crate::TestResult {
                super::$claim(&crate::place::Place::ql())
            })*
        }

        mod mysql {
            $(#[test]
            fn $claim() -> crate::TestResult {
                if !test_servers::is_server_there() {
                    return Ok(());
                }
                super::$claim(&crate::place::Place::mysql())
            })*
        }
    };
}

mod place;

mod program;

mod looking;

mod ending;

mod creating;

mod importing;

mod copying;

mod refusing;

mod sealed;

mod documents;

mod readme;

type TestResult = Result<(), Box<dyn std::error::Error>>;
