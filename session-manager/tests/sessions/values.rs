//! Values: their types, their keys, and the codecs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use session_manager::{
    Codec, CodecError, Decoded, Error, Event, EventKind, Json, MAX_VALUES, OpenError, Row,
    SessionManager, Status,
};
use store_core::{Clock as _, Store as _};

use crate::TestResult;
use crate::counting_store::token;
use crate::fixture::Fixture;

#[test]
fn values_of_any_type_come_back_in_the_next_request() -> TestResult {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Plan {
        Free,
        Paid { seats: u8 },
    }
    let fixture = Fixture::new();
    let mut session = fixture.sessions.load([])?;
    assert!(session.is_empty());
    let map = BTreeMap::from([("a".to_owned(), vec![1, 2]), ("b".to_owned(), vec![])]);
    session.insert("u64", u64::MAX)?;
    session.insert("i64", i64::MIN)?;
    session.insert("f64", 0.1)?;
    session.insert("text", "quote \" backslash \\ newline \n NUL \0 ünïcödé 💥")?;
    session.insert("key with \"quotes\" and ü", true)?;
    session.insert("", "empty key")?;
    session.insert("none", None::<u8>)?;
    session.insert("map", &map)?;
    session.insert("plan", Plan::Paid { seats: 5 })?;
    session.insert("time", "2026-11-21T15:30:00Z")?;
    let token = token(&session.finish()?).expect("it is new");

    let session = fixture.sessions.load([&*token])?;
    assert_eq!(session.get("u64")?, Some(u64::MAX));
    assert_eq!(session.get("i64")?, Some(i64::MIN));
    assert_eq!(session.get("f64")?, Some(0.1));
    let text: Option<String> = session.get("text")?;
    assert_eq!(text.as_deref(), Some("quote \" backslash \\ newline \n NUL \0 ünïcödé 💥"));
    assert_eq!(session.get("key with \"quotes\" and ü")?, Some(true));
    assert_eq!(session.get::<String>("")?.as_deref(), Some("empty key"));
    assert_eq!(session.get("none")?, Some(None::<u8>));
    assert_eq!(session.get("map")?, Some(map));
    assert_eq!(session.get("plan")?, Some(Plan::Paid { seats: 5 }));
    assert_ne!(session.get("plan")?, Some(Plan::Free));
    assert_eq!(session.get::<u8>("missing")?, None);
    assert_eq!(session.keys().count(), 10);
    Ok(())
}

#[test]
fn values_can_be_removed_popped_and_cleared() -> TestResult {
    let fixture = Fixture::new();
    let mut session = fixture.sessions.load([])?;
    for key in ["a", "b", "c"] {
        session.insert(key, key)?;
    }
    let token = token(&session.finish()?).expect("it is new");

    let mut session = fixture.sessions.load([&*token])?;
    assert!(session.contains("a") && !session.contains("d"));
    assert!(session.remove("a"));
    assert!(!session.remove("a"));
    assert_eq!(session.pop::<String>("b")?.as_deref(), Some("b"));
    assert_eq!(session.pop::<String>("b")?, None);
    assert_eq!(session.keys().collect::<Vec<_>>(), ["c"]);
    session.insert("d", 4)?;
    session.insert("c", "again")?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["c", "d"]);
    session.finish()?;

    let mut session = fixture.sessions.load([&*token])?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["c", "d"]);
    assert_eq!(session.get::<String>("c")?.as_deref(), Some("again"));
    session.remember_me(true)?;
    session.flash("notice", "Saved.")?;
    session.clear();
    assert!(session.is_empty());
    assert_eq!(session.take_flash::<String>("notice")?, None);
    session.finish()?;
    let session = fixture.sessions.load([&*token])?;
    assert!(session.is_empty());
    assert_eq!(session.token(), Some(&*token), "clearing keeps the session");
    Ok(())
}

#[test]
fn value_of_another_type_counts_as_absent_and_is_reported() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let of_type = |key: &str, expected| EventKind::WrongType { key: key.to_owned(), expected };

    let mut session = fixture.sessions.load([&*token])?;
    assert_eq!(session.get::<u32>("name")?, None);
    assert_eq!(fixture.events(), [of_type("name", "u32")]);
    assert!(session.contains("name"), "a version of the application that knows its type may come");
    assert_eq!(session.status(), Status::Unmodified);
    assert_eq!(session.update("name", |old: Option<u32>| old.map_or(1, |_| 2))?, 1);
    assert_eq!((session.get("name")?, session.get::<bool>("name")?), (Some(1), None));
    assert_eq!(fixture.events(), [of_type("name", "u32"), of_type("name", "bool")]);
    session.finish()?;

    let mut session = fixture.sessions.load([&*token])?;
    assert_eq!(session.pop::<String>("name")?, None);
    session.flash("notice", 7)?;
    assert_eq!(session.take_flash::<String>("notice")?, None);
    let of_string = ["name", "__flash.notice"].map(|key| of_type(key, "alloc::string::String"));
    assert_eq!(fixture.events(), of_string);
    assert_eq!(session.pop::<u32>("name")?, None, "it was removed");
    assert_eq!(session.take_flash::<u32>("notice")?, None, "it was taken");
    assert_eq!(fixture.events(), []);
    Ok(())
}

#[test]
fn value_of_another_type_is_reported_of_the_session_that_has_it() -> TestResult {
    let seen = Arc::<Mutex<Vec<Event>>>::default();
    let sessions = Fixture::new().sessions.with_event_hook({
        let seen = Arc::clone(&seen);
        move |event| seen.lock().expect("nobody panics with it").push(event.clone())
    });
    let last = || seen.lock().expect("nobody panics with it").last().cloned().expect("an event");
    let mut session = sessions.load([])?;
    session.insert("name", "Ada")?;
    session.set_subject("7")?;
    assert_eq!(session.get::<u32>("name")?, None);
    assert_eq!(last().session.to_string(), "0".repeat(16), "it isn't stored yet");
    let token = token(&session.finish()?).expect("it is new");

    let listed = sessions.sessions_of("7")?;
    let expected = Some(listed[0].id());
    assert_eq!(listed[0].get::<u32>("name")?, None);
    assert_eq!(Some(last().session), expected);
    assert_eq!(sessions.load([&*token])?.get::<u32>("name")?, None);
    assert_eq!(Some(last().session), expected);
    assert!(matches!(last().kind, EventKind::WrongType { key, expected: "u32" } if key == "name"));

    // Also if the value comes only when the session is written.
    let mut session = sessions.load([&*token])?;
    session.update("n", |n: Option<u32>| n.unwrap_or(0))?;
    let mut other = sessions.load([&*token])?;
    other.insert("n", "none")?;
    other.finish()?;
    session.finish()?;
    assert_eq!(Some(last().session), expected);
    assert!(matches!(last().kind, EventKind::WrongType { key, .. } if key == "n"));
    Ok(())
}

#[test]
fn none_is_the_absence_of_a_value_and_is_one() -> TestResult {
    fn check<C: Codec>(sessions: &SessionManager<C>, fixture: &Fixture) -> TestResult {
        let mut session = sessions.load([])?;
        session.insert("k", None::<u32>)?;
        session.insert("unit", ())?;
        for is_new in [true, false] {
            assert_eq!(session.get::<u32>("k")?, None);
            assert_eq!(session.get::<Option<u32>>("k")?, Some(None));
            assert_eq!(session.get::<BTreeMap<String, u32>>("k")?, None);
            assert_eq!(session.get::<()>("unit")?, Some(()));
            assert!(session.contains("k") && !session.is_empty());
            assert_eq!(session.keys().collect::<Vec<_>>(), ["k", "unit"]);
            if is_new {
                let token = token(&session.finish()?).expect("it is new");
                session = sessions.load([&*token])?;
            }
        }
        assert_eq!(session.update("k", |k: Option<Option<u32>>| k.flatten())?, None);
        assert_eq!(session.update("k", |k: Option<u32>| k.map_or(1, |_| 2))?, 1);
        assert_eq!(session.update("k", |k: Option<Option<u32>>| k.flatten().map(|_| 3))?, Some(3));
        assert_eq!(session.update("k", |k: Option<u32>| k.map(|k| k + 1))?, Some(4));
        assert_eq!(session.update("k", |k: Option<u32>| k.filter(|_| false))?, None);
        assert_eq!(session.get::<u32>("k")?, None);
        assert_eq!(session.update("k", |k: Option<u32>| k.unwrap_or(7))?, 7);
        session.insert("k", None::<u32>)?;
        assert_eq!(session.pop::<u32>("k")?, None);
        assert!(!session.contains("k"));
        session.flash("f", None::<u32>)?;
        assert_eq!(session.take_flash::<u32>("f")?, None);
        assert_eq!(session.take_flash::<Option<u32>>("f")?, None);
        let wrong = |event: &EventKind| matches!(event, EventKind::WrongType { .. });
        assert!(!fixture.events().iter().any(wrong));
        Ok(())
    }
    for is_strict in [false, true] {
        let fixture = Fixture::new()
            .with(|sessions| Ok(if is_strict { sessions.with_strict_types() } else { sessions }));
        check(&fixture.sessions, &fixture)?;
        #[cfg(feature = "messagepack")]
        {
            let Fixture { sessions, .. } = Fixture::new();
            check(&sessions.with_codec(session_manager::MessagePack), &fixture)?;
        }
    }
    Ok(())
}

/// What is written as one type and read as another.
#[derive(Debug)]
struct Lopsided;

impl Serialize for Lopsided {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("text")
    }
}

impl<'de> Deserialize<'de> for Lopsided {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(|_| Self)
    }
}

#[test]
fn update_refuses_what_it_could_not_read_again() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let mut session = fixture.sessions.load([&*token])?;
    let refused = session.update("name", |_: Option<Lopsided>| Lopsided);
    assert!(matches!(refused, Err(Error::Unencodable { .. })), "{refused:?}");
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.status(), Status::Unmodified);
    Ok(())
}

#[test]
fn strict_types_name_values_of_another_type_and_leave_them() -> TestResult {
    let fixture = Fixture::new().with(|sessions| Ok(sessions.with_strict_types()));
    let token = fixture.stored()?;
    let mut session = fixture.sessions.load([&*token])?;
    for error in [
        session.get::<u32>("name").map(drop).expect_err("it is a string"),
        session.pop::<u32>("name").map(drop).expect_err("it is a string"),
        session.update("name", |old: Option<u32>| old.unwrap_or(0)).map(drop).expect_err("it is"),
    ] {
        assert!(matches!(&error, Error::WrongType { key, .. } if key == "name"), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("Ada"), "{error:?}");
    }
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.status(), Status::Unmodified);
    Ok(())
}

#[test]
fn keys_of_the_session_itself_are_refused_and_hidden() -> TestResult {
    let fixture = Fixture::new();
    let mut session = fixture.sessions.load([])?;
    for key in ["__rememberMe", "__subject", "__flash.notice"] {
        let refused = session.insert(key, 1);
        assert!(matches!(refused, Err(Error::ReservedKey { .. })), "{key}: {refused:?}");
        let refused = session.update(key, |old: Option<u32>| old.unwrap_or(0));
        assert!(matches!(refused, Err(Error::ReservedKey { .. })), "{key}: {refused:?}");
    }
    session.remember_me(true)?;
    session.set_subject("7")?;
    session.flash("notice", "Hello")?;
    assert!(session.is_empty());
    for key in ["__rememberMe", "__subject", "__flash.notice"] {
        assert!(!session.remove(key), "{key}");
    }
    assert_eq!(session.subject().as_deref(), Some("7"));
    Ok(())
}

#[test]
fn flash_values_are_taken_once_and_keep_apart_from_others() -> TestResult {
    let fixture = Fixture::new();
    let token = fixture.stored()?;
    let mut session = fixture.sessions.load([&*token])?;
    session.flash("name", 7)?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    assert_eq!(session.take_flash("name")?, Some(7));
    assert_eq!(session.take_flash::<u8>("name")?, None);

    let fixture = Fixture::new().with(|sessions| Ok(sessions.with_strict_types()));
    let mut session = fixture.sessions.load([])?;
    session.flash("name", 7)?;
    let wrong = session.take_flash::<String>("name");
    assert!(matches!(wrong, Err(Error::WrongType { .. })), "{wrong:?}");
    assert!(session.take_flash::<IgnoredAny>("name")?.is_some());
    assert_eq!(session.take_flash::<u8>("name")?, None);
    Ok(())
}

/// An application's codec: JSON, under a cipher that would not withstand anybody.
#[derive(Debug)]
struct Encrypting(u8);

impl Codec for Encrypting {
    fn open<'d>(&self, _: &Row<'_>, data: &'d [u8]) -> Result<Cow<'d, [u8]>, OpenError> {
        Ok(data.iter().map(|byte| byte ^ self.0).collect())
    }

    fn seal(&self, _: &Row<'_>, encoded: Vec<u8>) -> Result<Vec<u8>, Error> {
        Ok(encoded.into_iter().map(|byte| byte ^ self.0).collect())
    }

    fn decode(&self, encoded: &[u8]) -> Result<Decoded, CodecError> {
        Json.decode(encoded)
    }

    fn encode(
        &self,
        deadline: DateTime<Utc>,
        values: &mut dyn Iterator<Item = (&str, &[u8])>,
    ) -> Result<Vec<u8>, CodecError> {
        Json.encode(deadline, values)
    }

    fn decode_value<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, CodecError> {
        Json.decode_value(value)
    }

    fn encode_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        Json.encode_value(value)
    }
}

#[test]
fn codec_of_an_application_can_encrypt_what_the_store_has() -> TestResult {
    let fixture = Fixture::new();
    let sessions = |key| {
        SessionManager::new(Arc::clone(&fixture.store))
            .with_clock(fixture.clock.clone())
            .with_codec(Encrypting(key))
    };
    let first = sessions(0x5a);
    let mut session = first.load([])?;
    session.insert("name", "Ada Lovelace")?;
    let token = token(&session.finish()?).expect("it is new");
    let (_, data, _) = fixture.row();
    for plain in [&b"Ada Lovelace"[..], b"name", b"deadline"] {
        assert!(!data.windows(plain.len()).any(|window| window == plain));
    }

    let (mut one, mut other) = (first.load([&*token])?, first.load([&*token])?);
    one.insert("a", 1)?;
    other.insert("b", 2)?;
    one.finish()?;
    other.finish()?;
    let session = first.load([&*token])?;
    assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada Lovelace"));
    assert_eq!((session.get("a")?, session.get("b")?), (Some(1), Some(2)));
    assert!(sessions(0x33).load([&*token])?.is_empty(), "another key opens nothing");
    Ok(())
}

#[cfg(feature = "messagepack")]
#[test]
fn sessions_can_be_messagepack() -> TestResult {
    let fixture = Fixture::new();
    let sessions = SessionManager::new(Arc::clone(&fixture.store))
        .with_codec(session_manager::MessagePack)
        .with_clock(fixture.clock.clone());
    let mut session = sessions.load([])?;
    session.insert("bytes", vec![0_u8, 255])?;
    session.insert("nan", f32::NAN)?;
    let token = token(&session.finish()?).expect("it is new");
    let (mut first, mut second) = (sessions.load([&*token])?, sessions.load([&*token])?);
    first.update("n", |n: Option<u8>| n.unwrap_or(0) + 1)?;
    second.update("n", |n: Option<u8>| n.unwrap_or(0) + 1)?;
    first.finish()?;
    second.finish()?;
    let session = sessions.load([&*token])?;
    assert_eq!(session.get("n")?, Some(2));
    assert_eq!(session.get("bytes")?, Some(vec![0_u8, 255]));
    assert!(session.get::<f32>("nan")?.is_some_and(f32::is_nan));
    Ok(())
}

#[test]
fn values_that_could_not_be_read_again_are_refused() -> TestResult {
    #[derive(Serialize, Deserialize)]
    struct Mean {
        value: f64,
    }
    let fixture = Fixture::new();
    let mut session = fixture.sessions.load([])?;
    session.insert("mean", Mean { value: 0.5 })?;
    let refused = |outcome: Result<(), Error>| {
        assert!(matches!(&outcome, Err(Error::Unencodable { .. })), "{outcome:?}");
    };
    refused(session.insert("mean", Mean { value: f64::NAN }));
    refused(session.insert("mean", f64::INFINITY));
    refused(session.update("mean", |_: Option<Mean>| Mean { value: f64::NAN }).map(drop));
    let nested = |levels| (0..levels).fold(serde_json::Value::Null, |value, _| [value].into());
    refused(session.insert("mean", nested(128)));
    session.insert("nested", nested(127))?;
    let token = token(&session.finish()?).expect("it is new");

    let session = fixture.sessions.load([&*token])?;
    assert_eq!(session.get::<Mean>("mean")?.map(|mean| mean.value), Some(0.5));
    assert_eq!(session.get("nested")?, Some(nested(127)));
    Ok(())
}

#[test]
fn number_of_values_is_bounded() -> TestResult {
    let fixture = Fixture::new();
    let refused = |outcome: Result<(), Error>| {
        let is_refused = matches!(outcome, Err(Error::TooManyValues { max: MAX_VALUES }));
        assert!(is_refused, "{outcome:?}");
    };
    let filled = |prefix: &str, count: usize| -> Result<String, Error> {
        let mut session = fixture.sessions.load([])?;
        for n in 0..count {
            session.insert(&format!("{prefix}{n}"), n)?;
        }
        Ok(token(&session.finish()?).expect("it is new"))
    };

    // The session has two of its own: its manager and its beginning.
    let token = filled("a", MAX_VALUES - 3)?;
    let (mut first, mut second) =
        (fixture.sessions.load([&*token])?, fixture.sessions.load([&*token])?);
    first.insert("last", 1)?;
    refused(first.insert("more", 1));
    refused(first.update("more", |_: Option<u8>| 1).map(drop));
    refused(first.flash("more", 1));
    refused(first.remember_me(true));
    first.insert("a0", "another")?;
    first.update("a1", |_: Option<u8>| 1)?;
    // Each of two requests has room, and both together haven't.
    second.insert("also", 1)?;
    first.finish()?;
    refused(second.finish().map(drop));
    let mut session = fixture.sessions.load([&*token])?;
    assert_eq!(session.get::<String>("a0")?.as_deref(), Some("another"));
    assert!(session.contains("last") && !session.contains("also"));

    // A merge takes over all or nothing.
    let (half, other) = (filled("b", MAX_VALUES / 2)?, filled("c", MAX_VALUES / 2 + 1)?);
    let mut merging = fixture.sessions.load([&*half])?;
    refused(merging.merge(&other).map(drop));
    assert_eq!((merging.keys().count(), merging.status()), (MAX_VALUES / 2, Status::Unmodified));
    merging.insert("d", 1)?;
    merging.finish()?;
    assert!(fixture.sessions.load([&*other])?.contains("c0"), "it has not ended");
    let other = filled("c", MAX_VALUES / 2 - 3)?;
    let mut merging = fixture.sessions.load([&*half])?;
    assert!(merging.merge(&other)?);
    merging.finish()?;
    assert_eq!(fixture.sessions.load([&*half])?.keys().count(), MAX_VALUES - 2);

    // One that has more already, from another program, can still be used, and reduced.
    let key = session.key().expect("it is stored").clone();
    let values: Vec<_> = (0..MAX_VALUES + 3).map(|n| format!("\"k{n}\":{n}")).collect();
    let data = format!(
        r#"{{"v":1,"deadline":"2026-06-02T00:00:00Z","values":{{"__manager":"hashed:__Host-session",{}}}}}"#,
        values.join(",")
    );
    fixture.store.commit(
        key.as_str(),
        data.as_bytes(),
        fixture.clock.now() + TimeDelta::hours(1),
    )?;
    session = fixture.sessions.load([&*token])?;
    session.insert("k0", "another")?;
    refused(session.insert("more", 1));
    session.remove("k1");
    refused(session.insert("more", 1));
    session.finish()?;
    let session = fixture.sessions.load([&*token])?;
    assert_eq!(session.keys().count(), MAX_VALUES + 2);
    assert_eq!(session.get::<String>("k0")?.as_deref(), Some("another"));
    Ok(())
}
