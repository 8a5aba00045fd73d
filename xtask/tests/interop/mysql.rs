//! What only holds on MariaDB and MySQL, or of Go's connections to them.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::json;
use store_core::{Change, Error, Loaded};

use crate::places::{CLASSIC, CLASSIC_ABROAD_WITHOUT_ZONE, HARDENED, HARDENED_TRUNCATING, Place};
use crate::sides::{Pair, Side};

fn soon() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

/// Why Go programs need `time_zone` in their DSN if the zone of the server is not UTC.
#[test]
#[ignore = "cargo xtask interop"]
fn without_the_zone_go_shifts_all_expiries_on_the_classic_table() {
    let pair = Pair::new(CLASSIC_ABROAD_WITHOUT_ZONE);
    pair.go.commit("of-Go", b"data", soon());
    assert!(pair.go.find("of-Go").is_some());
    assert_eq!(pair.rust.find("of-Go"), None, "it ended 5:30 hours before");
    pair.rust.commit("ours", b"data", Utc::now() - TimeDelta::hours(5));
    assert_eq!(pair.rust.find("ours"), None);
    assert!(pair.go.find("ours").is_some(), "to Go it ends 5:30 hours later");
}

#[test]
#[ignore = "cargo xtask interop"]
fn of_an_expiry_finer_than_a_microsecond_go_may_keep_one_more() {
    let shifts = |place: Place| {
        let pair = Pair::new(place);
        [0, 1, 499, 500, 501, 999].map(|nanoseconds| {
            let micros = soon().trunc_subsecs(6);
            let expiry = micros + TimeDelta::nanoseconds(nanoseconds);
            pair.rust.commit("ours", b"", expiry);
            pair.go.commit("Go's", b"", expiry);
            let [ours, theirs] = ["ours", "Go's"].map(|token| {
                let Loaded::Live { expiry: read, .. } = pair.rust.0.load(token).expect("loads")
                else {
                    panic!("it is live");
                };
                let seen = pair.go.ask(json!({"Op": "expiry", "Token": token}));
                assert_eq!(seen["Expiry"].as_str().and_then(|text| text.parse().ok()), Some(read));
                (read - micros).num_microseconds()
            });
            assert_eq!(ours, Some(0), "ours rounds down");
            theirs
        })
    };
    let go = shifts(HARDENED);
    // MariaDB cuts off, MySQL rounds.
    assert!([[0; 6], [0, 0, 0, 1, 1, 1]].contains(&go.map(|shift| shift.unwrap_or(-1))), "{go:?}");
    assert_eq!(shifts(HARDENED_TRUNCATING), [Some(0); 6]);
}

#[test]
#[ignore = "cargo xtask interop"]
fn a_token_that_the_classic_table_confuses_shows_ours_no_session_of_go() {
    let pair = Pair::new(CLASSIC);
    let ours = &pair.rust.0;
    pair.go.commit("token", b"data", soon());
    assert_eq!(pair.go.find("TOKEN").as_deref(), Some(&b"data"[..]), "Go is confused");
    assert_eq!(pair.rust.find("TOKEN"), None);
    assert!(!ours.update("TOKEN", b"data", &Change::new(b"other", soon())).expect("updates"));
    assert!(!ours.touch("TOKEN", Utc::now()).expect("touches"));
    pair.rust.delete("TOKEN");
    let refused = ours.commit("TOKEN", b"other", soon());
    assert!(matches!(refused, Err(Error::InvalidToken(_))), "{refused:?}");
    assert_eq!(pair.go.find("token").as_deref(), Some(&b"data"[..]));
}
