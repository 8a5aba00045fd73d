//! Keys, and what can be wrong with them.

use std::error::Error as _;

use session_manager::{KeyError, KeyRing, SecretKey};

use crate::secret;

const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const TWO: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

#[test]
fn ring_is_read_from_a_file_and_the_first_key_seals() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("session-keys");
    std::fs::write(&path, format!("# keys\r\n\n4294967295\t{TWO}  \r\n 1 {ONE}\n0 lost\n"))?;
    let ring = KeyRing::from_file(&path)?;
    assert_eq!(
        format!("{ring:?}"),
        "KeyRing { sealing: 4294967295, opening: [1], lost: [0] }",
        "it shows ids alone"
    );
    std::fs::write(&path, format!("{ONE}\n"))?;
    SecretKey::from_file(&path)?;
    Ok(())
}

#[test]
fn what_is_no_ring_is_refused_and_told_apart() {
    for (text, expected) in [
        ("", "there is no key that seals"),
        ("# none\n\n", "there is no key that seals"),
        ("1 lost", "there is no key that seals"),
        (&format!("1 {ONE}\n1 {TWO}"), "two keys have the id 1"),
        (&format!("1 {ONE}\n2 {TWO}\n2 lost"), "two keys have the id 2"),
        (&format!("1 {ONE}\n2 lost\n2 lost"), "two keys have the id 2"),
        (&format!("1 {ONE}\n2"), "line 2 is not an id and a key"),
        (ONE, "line 1 is not an id and a key"),
        (&format!("-1 {ONE}"), "line 1 is not an id and a key"),
        (&format!("4294967296 {ONE}"), "line 1 is not an id and a key"),
        ("1 AQEB", "line 1 is not an id and a key: a key has 3 bytes instead of 32"),
        ("1 ä", "line 1 is not an id and a key: a key is not base64"),
        (&format!("1 {ONE} {TWO}"), "line 1 is not an id and a key: a key is not base64"),
    ] {
        let error = KeyRing::from_text(text).expect_err(text);
        let source = error.source().map(|source| format!(": {source}"));
        assert_eq!(format!("{error}{}", source.unwrap_or_default()), expected, "{text}");
    }
    for len in [0, 16, 31, 33, 64] {
        let error = SecretKey::from_bytes(&vec![1; len]);
        assert!(matches!(error, Err(KeyError::InvalidLength { len: own }) if own == len));
    }
    assert!(matches!(SecretKey::from_base64("!"), Err(KeyError::InvalidBase64)));
    let missing = KeyRing::from_file("no/such/file").expect_err("there is none");
    assert!(matches!(&missing, KeyError::File { path, .. } if path.ends_with("no/such/file")));
    assert!(missing.source().is_some());
}

#[test]
fn debug_output_and_errors_show_no_key() -> Result<(), KeyError> {
    let ring = KeyRing::new(1, secret(42)).with_key(2, secret(43))?;
    let codec = session_manager::Sealed::new(session_manager::Json, ring.clone());
    let wrong = format!("1 {}", &ONE[1..]);
    let texts = [
        format!("{ring:?}"),
        format!("{:?}", secret(42)),
        format!("{codec:?}"),
        format!("{:?}", KeyRing::from_text(&wrong)),
        format!("{:?}", SecretKey::from_base64(&ONE[1..])),
    ];
    for text in texts {
        for shown in ["42", "43", "QEB", "2a2a"] {
            assert!(!text.contains(shown), "{text}");
        }
    }
    Ok(())
}
