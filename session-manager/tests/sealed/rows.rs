//! Sealed bytes: what opens, and what doesn't.

use std::borrow::Cow;
use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use session_manager::{Codec as _, Json, OpenError, Row, Sealed, Unopened};

use crate::keys;

const ROW: (&str, &str) = ("__Host-session", "DwBzhbb51LfusnSGBa_hqYSgo7-j8BTQnip4TOnlzRo");

fn codec() -> Sealed<Json> {
    Sealed::new(Json, keys(&[1, 2]))
}

fn sealed(text: &[u8]) -> Vec<u8> {
    codec().seal(&Row::new(ROW.0, ROW.1), text.to_vec()).expect("there is randomness")
}

fn open(data: &[u8]) -> Result<Vec<u8>, OpenError> {
    codec().open(&Row::new(ROW.0, ROW.1), data).map(Cow::into_owned)
}

#[test]
fn every_flipped_bit_of_a_row_is_noticed() {
    let text = br#"{"v":1,"deadline":"2026-11-21T15:30:00.000000Z","values":{"visits":3}}"#;
    let row = sealed(text);
    assert_eq!(open(&row).as_deref(), Ok(&text[..]));
    for (at, bit) in (0..row.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut flipped = row.clone();
        flipped[at] ^= 1 << bit;
        let error = open(&flipped).expect_err("it isn't what was written");
        let expected = match at {
            // The version 1 becomes 3, 5, 9 and so on; 0 has never been one.
            1 if bit != 0 => OpenError::Unopened(Unopened::NewerVersion { version: flipped[1] }),
            // The key 1 becomes 3, 5, 9 and so on, or 0. None of them is in the ring.
            2..=5 => {
                let id = u32::from_be_bytes([flipped[2], flipped[3], flipped[4], flipped[5]]);
                OpenError::Unopened(Unopened::UnknownKey { id })
            }
            _ => OpenError::Unreadable,
        };
        assert_eq!(error, expected, "bit {bit} of byte {at}");
    }
    for len in 0..row.len() {
        assert_eq!(open(&row[..len]), Err(OpenError::Unreadable), "{len} bytes of it");
    }
    assert_eq!(open(&[&*row, b"\0"].concat()), Err(OpenError::Unreadable));
}

/// One of another key whose id was put into the header doesn't open either.
#[test]
fn id_of_the_key_is_authenticated() {
    let row = Row::new(ROW.0, ROW.1);
    let same = |ids: &[u32]| {
        let secret = crate::secret(1);
        let ring = session_manager::KeyRing::new(ids[0], secret.clone());
        let ring = ids[1..].iter().try_fold(ring, |ring, id| ring.with_key(*id, secret.clone()));
        Sealed::new(Json, ring.expect("each is there once"))
    };
    let mut data = same(&[1]).seal(&row, b"{}".to_vec()).expect("there is randomness");
    assert!(same(&[2, 1]).open(&row, &data).is_ok());
    data[5] = 2;
    assert_eq!(same(&[2, 1]).open(&row, &data), Err(OpenError::Unreadable));
}

#[test]
fn each_write_has_another_nonce_and_an_earlier_one_opens_nothing_else() {
    let rows: Vec<_> = (0..200).map(|n| sealed(format!("{n}").as_bytes())).collect();
    let nonces: HashSet<_> = rows.iter().map(|row| row[6..18].to_vec()).collect();
    assert_eq!(nonces.len(), rows.len());
    for (earlier, later) in rows.iter().zip(&rows[1..]) {
        let mut mixed = later.clone();
        mixed[6..18].copy_from_slice(&earlier[6..18]);
        assert_eq!(open(&mixed), Err(OpenError::Unreadable));
    }
}

#[test]
fn lost_key_makes_its_sessions_undecodable_and_an_unknown_one_does_not() {
    let row = Row::new(ROW.0, ROW.1);
    let data = sealed(b"{}");
    let opened = |ring| Sealed::new(Json, ring).open(&row, &data).map(Cow::into_owned);
    let unknown = OpenError::Unopened(Unopened::UnknownKey { id: 1 });
    assert_eq!(opened(keys(&[2])), Err(unknown));
    let lost = keys(&[2]).with_lost_key(1).expect("the ring doesn't have it");
    assert_eq!(opened(lost), Err(OpenError::Unreadable));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_opens_in_its_place_and_nowhere_else(
        text in vec(any::<u8>(), 0..600),
        cookie in "[!-~]{1,20}",
        key in "[!-~]{1,43}",
        other in ("[!-~]{1,20}", "[!-~]{1,43}"),
        cut in any::<Index>(),
    ) {
        let row = Row::new(&cookie, &key);
        let data = codec().seal(&row, text.clone()).expect("there is randomness");
        prop_assert_eq!(data.len(), text.len() + 34);
        let opened = codec().open(&row, &data);
        prop_assert_eq!(opened.as_deref(), Ok(&*text));
        // The same characters, with the border elsewhere.
        let both = format!("{cookie}{key}");
        let (left, right) = both.split_at(cut.index(both.len()));
        for place in [(&*other.0, &*other.1), (&*cookie, &*other.1), (&*other.0, &*key), (left, right)] {
            if place != (&*cookie, &*key) {
                let moved = codec().open(&Row::new(place.0, place.1), &data);
                prop_assert_eq!(moved, Err(OpenError::Unreadable));
            }
        }
    }

    #[test]
    fn no_other_bytes_open(data in vec(any::<u8>(), 0..200), begins_well in any::<bool>()) {
        let header: &[u8] = if begins_well { &[0xC1, 1, 0, 0, 0, 1] } else { &[] };
        prop_assert!(open(&[header, &data].concat()).is_err());
    }
}
