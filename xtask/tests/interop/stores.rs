//! Each store on the rows of the other.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::json;
use store_core::{Change, Loaded, Rotation};

use crate::places::Place;
use crate::sides::{Pair, Side};

test_everywhere! {
    each_reads_the_bytes_that_the_other_wrote,
    tokens_that_look_alike_are_different_ones_to_both,
    both_write_one_expiry_as_the_same_bits,
    each_updates_and_deletes_what_the_other_wrote,
    what_only_ours_can_do_works_on_rows_of_go,
    expired_sessions_are_found_by_neither,
    each_sweeps_what_the_other_left,
}

fn soon() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

fn each_reads_the_bytes_that_the_other_wrote(place: Place) {
    let pair = Pair::new(place);
    let mut payloads = vec![
        Vec::new(),
        b"\0".to_vec(),
        b"a\0b\0".to_vec(),
        b"\xff\xfe\0\x80".to_vec(),
        (0..=255).collect(),
    ];
    payloads.extend([65_535, 65_536, 65_537, 1_048_576].map(|len| vec![0xA5; len]));
    payloads.retain(|data| data.len() <= place.max_data_len);
    for (writer, reader) in pair.both_ways() {
        for (n, data) in payloads.iter().enumerate() {
            writer.commit(&n.to_string(), data, soon());
            let found = reader.find(&n.to_string());
            assert!(found.as_ref() == Some(data), "payload {n} of {} bytes", data.len());
        }
        assert!(reader.all() == writer.all(), "both list the same sessions");
        assert_eq!(reader.all().len(), payloads.len());
    }
}

fn tokens_that_look_alike_are_different_ones_to_both(place: Place) {
    let pair = Pair::new(place);
    let tokens = place.tokens();
    for (writer, reader) in pair.both_ways() {
        for token in tokens {
            writer.commit(token, token.as_bytes(), soon());
        }
        for token in tokens {
            assert_eq!(reader.find(token).as_deref(), Some(token.as_bytes()), "{token:?}");
        }
        assert_eq!(reader.all().len(), tokens.len());
        assert_eq!(reader.all(), writer.all());
        for token in tokens {
            reader.delete(token);
        }
        assert!(writer.all().is_empty());
    }
}

fn both_write_one_expiry_as_the_same_bits(place: Place) {
    let pair = Pair::new(place);
    let mut random = fastrand::Rng::with_seed(1);
    let [first, last] = place.range();
    let until_last = (last - soon()).num_nanoseconds().unwrap_or(i64::MAX / 2);
    let mut expiries: Vec<DateTime<Utc>> =
        (0..400).map(|_| soon() + TimeDelta::nanoseconds(random.i64(0..until_last))).collect();
    let since_2000 = 800_000_000_000_000_000;
    let past = |age| Utc::now() - TimeDelta::nanoseconds(age);
    expiries.extend((0..100).map(|_| past(random.i64(0..since_2000))));
    expiries.extend([first, last]);
    if place.is_mysql() {
        // What is finer isn't always the same; see mysql.rs.
        expiries = expiries.iter().map(|expiry| expiry.trunc_subsecs(place.digits)).collect();
    }
    for expiry in expiries {
        pair.rust.commit("ours", b"", expiry);
        pair.go.commit("Go's", b"", expiry);
        let cut = expiry.trunc_subsecs(place.digits);
        let [ours, theirs] = ["ours", "Go's"].map(|token| {
            let read = match pair.rust.0.load(token).expect("loads") {
                Loaded::Live { expiry, .. } => Some(expiry),
                Loaded::Rotated { .. } | Loaded::Missing => None,
            };
            let live = Some(cut).filter(|cut| *cut > Utc::now());
            assert_eq!(read, live, "ours reads {token}");
            let seen = pair.go.ask(json!({"Op": "expiry", "Token": token}));
            let text = seen["Expiry"].as_str().expect("a text");
            assert_eq!(text.parse(), Ok(cut), "Go reads {token}");
            seen["Day"].as_u64()
        });
        assert_eq!(ours, theirs, "the Julian days of {expiry} differ");
    }
}

fn each_updates_and_deletes_what_the_other_wrote(place: Place) {
    let pair = Pair::new(place);
    for (writer, reader) in pair.both_ways() {
        writer.commit("token", b"one", soon());
        reader.commit("token", b"two", soon());
        assert_eq!(writer.find("token").as_deref(), Some(&b"two"[..]));
        assert_eq!(pair.go.rows(), 1, "an update is no second row");
        writer.commit("token", b"", Utc::now() - TimeDelta::seconds(1));
        assert_eq!(reader.find("token"), None, "an update into the past ends it");
        writer.commit("token", b"three", soon());
        reader.delete("token");
        assert_eq!(writer.find("token"), None);
        assert_eq!(pair.go.rows(), 0);
    }
}

fn what_only_ours_can_do_works_on_rows_of_go(place: Place) {
    let pair = Pair::new(place);
    let ours = &pair.rust.0;
    pair.go.commit("token", b"one", soon());
    assert!(ours.update("token", b"one", &Change::new(b"two", soon())).expect("updates"));
    assert!(!ours.update("token", b"one", &Change::new(b"three", soon())).expect("updates"));
    assert!(ours.touch("token", soon()).expect("touches"));
    let login = Change::new(b"two", soon())
        .with_rotation(Rotation::new("new"))
        .with_subject(Some("user 7"));
    assert!(ours.update("token", b"two", &login).expect("updates"));
    assert!(matches!(ours.load("token").expect("loads"), Loaded::Rotated { opens: false, .. }));
    assert_eq!(ours.find_by_subject("user 7").expect("finds").len(), 1);
    assert_eq!(pair.go.find("token"), None);
    assert_eq!(pair.go.find("new").as_deref(), Some(&b"two"[..]));
    assert!(ours.touch("new", Utc::now() - TimeDelta::seconds(1)).expect("touches"));
    assert_eq!(pair.go.find("new"), None);

    // What Go deletes is gone under each of its tokens, and for its user.
    ours.create("token", b"one", soon(), Some("user 7")).expect("creates");
    let rotation = Rotation::new("newest");
    let change = Change::new(b"one", soon()).with_rotation(rotation);
    assert!(ours.update("token", b"one", &change).expect("updates"));
    pair.go.delete("newest");
    assert_eq!(ours.load("token").expect("loads"), Loaded::Missing);
    assert!(ours.find_by_subject("user 7").expect("finds").is_empty());
}

fn expired_sessions_are_found_by_neither(place: Place) {
    let pair = Pair::new(place);
    let day = TimeDelta::days(1);
    let mut ages = vec![TimeDelta::milliseconds(1), day, day * 9_000, day * 700_000];
    ages.retain(|age| Utc::now() - *age >= place.range()[0]);
    for (writer, reader) in pair.both_ways() {
        for (n, age) in ages.iter().enumerate() {
            writer.commit(&n.to_string(), b"data", Utc::now() - *age);
            assert_eq!(reader.find(&n.to_string()), None, "expired {age} ago");
        }
        writer.commit("live", b"data", soon());
        assert_eq!(reader.all().into_keys().collect::<Vec<_>>(), ["live"]);
    }
}

fn each_sweeps_what_the_other_left(place: Place) {
    let fill = |side: &dyn Side| {
        for n in 0..50 {
            side.commit(&format!("expired-{n}"), b"data", Utc::now() - TimeDelta::milliseconds(1));
            side.commit(&format!("live-{n}"), b"data", soon());
        }
    };
    let pair = Pair::new(place);
    fill(&pair.go);
    assert_eq!(pair.rust.0.delete_expired().expect("sweeps"), 50);
    assert_eq!((pair.go.rows(), pair.go.all().len()), (50, 50));

    let pair = Pair::with_go_cleanup(place, "1ms");
    fill(&pair.rust);
    // Each question takes a while, so asking is waiting.
    while pair.go.rows() > 50 {}
    assert_eq!(pair.rust.all().len(), 50);
}
