//! Ours and Go's on one database at the same time. `cargo xtask interop` builds the Go program and
//! runs these tests; without a Go toolchain they can't run.

/// Makes tests of functions that take a [`Place`](places::Place): each of them in each place.
macro_rules! test_everywhere {
    ($($test:ident),* $(,)?) => {
        test_everywhere! { [$($test)*]
            sqlite = SQLITE,
            mysql_classic = CLASSIC,
            mysql_classic_abroad = CLASSIC_ABROAD,
            mysql_hardened_interpolated = HARDENED_INTERPOLATED,
            mysql_hardened_abroad = HARDENED_ABROAD,
        }
    };
    ($tests:tt $($module:ident = $place:ident,)*) => {
        $(test_everywhere! { @ $tests $module $place })*
    };
    (@ [$($test:ident)*] $module:ident $place:ident) => {
        mod $module {
            $(
                #[test]
                #[ignore = "cargo xtask interop"]
                fn $test() -> impl std::process::Termination {
                    super::$test(crate::places::$place)
                }
            )*
        }
    };
}

mod churn;

mod managers;

mod mysql;

mod places;

mod sides;

mod stores;
