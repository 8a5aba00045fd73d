//! What keeps users and managers apart, and which cookies a manager refuses to set.

use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use session_manager::{CookiePolicy, Error, SessionManager};
use store_core::{Clock as _, MAX_SUBJECT_LEN, MemoryStore, Store};

use crate::TestResult;
use crate::counting_store::token;
use crate::fixture::{Fixture, header, logged_in, manager, renewed};

#[test]
fn another_user_begins_with_an_empty_session() -> TestResult {
    let fixture = Fixture::new().with(|sessions| Ok(sessions.with_kept_values(["language"])));
    let mut session = fixture.sessions.load([])?;
    session.insert("cart", 3)?;
    let anonymous = token(&session.finish()?).expect("it is new");
    let mut session = fixture.sessions.load([&*anonymous])?;
    session.set_subject("ada")?;
    session.insert("language", "fr")?;
    session.remember_me(true)?;
    let ada = token(&session.finish()?).expect("it changes");
    assert_eq!(
        fixture.sessions.load([&*ada])?.get("cart")?,
        Some(3),
        "nobody's becomes somebody's"
    );

    fixture.clock.advance(TimeDelta::hours(20));
    let (mut session, mut clearing) =
        (fixture.sessions.load([&*ada])?, fixture.sessions.load([&*ada])?);
    session.flash("notice", "Welcome.")?;
    session.set_subject("grace")?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["language"]);
    session.insert("cart", 1)?;
    let finished = session.finish()?;
    let grace = token(&finished).expect("it changes");
    assert!(!header(&finished.headers, "Set-Cookie").expect("it is new").contains("Max-Age"));
    let mut session = fixture.sessions.load([&*grace])?;
    assert_eq!(session.keys().collect::<Vec<_>>(), ["language", "cart"]);
    assert_eq!(session.take_flash::<String>("notice")?.as_deref(), Some("Welcome."));
    assert_eq!(session.deadline(), fixture.clock.now() + TimeDelta::hours(24));
    assert!(fixture.sessions.sessions_of("ada")?.is_empty());

    // The request that came too late hears of it.
    clearing.clear_subject()?;
    assert!(matches!(clearing.finish(), Err(Error::Superseded)));
    let mut session = fixture.sessions.load([&*grace])?;
    session.clear_subject()?;
    let nobody = token(&session.finish()?).expect("it changes");
    let session = fixture.sessions.load([&*nobody])?;
    assert_eq!((session.keys().collect::<Vec<_>>(), session.subject()), (vec!["language"], None));
    assert!(fixture.sessions.load([&*grace])?.is_empty());
    assert_eq!(fixture.rows(), 1);
    Ok(())
}

#[test]
fn managers_with_different_cookies_share_a_store_and_nothing_else() -> TestResult {
    type Mode = fn(SessionManager) -> SessionManager;
    let modes: [Mode; 3] = [
        |sessions| sessions,
        SessionManager::with_plain_tokens_in_store,
        SessionManager::with_scs_hashed_tokens_in_store,
    ];
    for mode in modes {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new()?);
        let manager = |name: &str| {
            let cookie = CookiePolicy::new().with_name(name);
            mode(SessionManager::new(Arc::clone(&store))).with_cookie(cookie)
        };
        let (shop, office) = (manager("__Host-shop")?, manager("__Host-office")?);
        let log_in = |sessions: &SessionManager| {
            let mut session = sessions.load([])?;
            session.set_subject("7")?;
            Ok::<_, Error>(token(&session.finish()?).expect("it is new"))
        };
        let (customer, clerk) = (log_in(&shop)?, log_in(&office)?);

        // A customer's token in the other cookie opens nothing, and ends nothing.
        let mut session = office.load([&*customer])?;
        assert_eq!(session.subject(), None);
        assert!(!session.merge(&customer)?);
        session.destroy()?;
        session.finish()?;
        assert_eq!(shop.load([&*customer])?.subject().as_deref(), Some("7"));

        for sessions in [&shop, &office] {
            assert_eq!(sessions.sessions_of("7")?.len(), 1);
            let mut seen = 0;
            sessions.for_each(|_| {
                seen += 1;
                ControlFlow::Continue(())
            })?;
            assert_eq!(seen, 1);
        }
        assert_eq!(shop.destroy_all_of("7")?, 1);
        assert_eq!(office.load([&*clerk])?.subject().as_deref(), Some("7"));
    }
    Ok(())
}

#[test]
fn managers_without_hashes_of_their_own_leave_each_others_sessions_alone() -> TestResult {
    let plain = SessionManager::with_plain_tokens_in_store;
    for mode in [plain, SessionManager::with_scs_hashed_tokens_in_store] {
        let store = Arc::new(MemoryStore::new()?);
        let manager = |name| {
            let sessions = mode(SessionManager::new(Arc::clone(&store)));
            sessions.with_cookie(CookiePolicy::new().with_name(name))
        };
        let (shop, office) = (manager("shop")?, manager("office")?);
        let (customer, clerk) = (logged_in(&shop, "7")?, logged_in(&office, "7")?);
        let mut session = office.load([&*clerk, &*customer])?;
        session.destroy()?;
        session.finish()?;
        assert_eq!(shop.load([&*customer])?.subject().as_deref(), Some("7"), "a later cookie");
        assert_eq!(office.load([&*clerk])?.subject(), None);

        // A Go program empties the session, and Rust logs the customer in again.
        let (key, _) = store.all()?.into_iter().next().expect("the customer's");
        let cleared = br#"{"v":1,"deadline":"2090-01-01T00:00:00Z","values":{}}"#;
        store.commit(&key, cleared, Utc::now() + TimeDelta::hours(1))?;
        let mut session = shop.load([&*customer])?;
        session.set_subject("7")?;
        let new = token(&session.finish()?).expect("rights change");
        assert_eq!(shop.load([&*new])?.subject().as_deref(), Some("7"));
        assert_eq!(office.load([&*new])?.subject(), None, "it has got its token from the shop");
    }
    Ok(())
}

#[test]
fn session_of_a_go_program_opens_only_where_tokens_are_shared_with_it() -> TestResult {
    let (plain, scs) = (
        SessionManager::with_plain_tokens_in_store as fn(_) -> _,
        SessionManager::with_scs_hashed_tokens_in_store as fn(_) -> _,
    );
    for (mode, opens) in [(plain, true), (scs, true), (|own| own, false)] {
        let store = Arc::new(MemoryStore::new()?);
        let sessions: SessionManager = mode(SessionManager::new(Arc::clone(&store)));
        let ada = logged_in(&sessions, "ada")?;
        let key = sessions.load([&*ada])?.key().expect("it is stored").clone();
        let unmarked = br#"{"v":1,"deadline":"2090-01-01T00:00:00Z","values":{"cart":3}}"#;
        store.commit(key.as_str(), unmarked, Utc::now() + TimeDelta::hours(1))?;
        assert_eq!(sessions.load([&*ada])?.get("cart")?, opens.then_some(3));
    }
    Ok(())
}

#[test]
fn user_that_a_go_program_renewed_is_listed_again_after_the_next_renewal() -> TestResult {
    let store = Arc::new(MemoryStore::new()?);
    let sessions = SessionManager::new(Arc::clone(&store)).with_plain_tokens_in_store();
    let ada = logged_in(&sessions, "ada")?;
    // Go's renewal knows no index: it writes the session again, under another token.
    let data = store.find(&ada)?.expect("it is stored");
    store.delete(&ada)?;
    let renewed_by_go = "A".repeat(43);
    store.commit(&renewed_by_go, &data, Utc::now() + TimeDelta::hours(1))?;
    assert!(sessions.sessions_of("ada")?.is_empty());
    renewed(&sessions, &renewed_by_go)?;
    assert_eq!(sessions.sessions_of("ada")?.len(), 1);
    Ok(())
}

#[test]
fn subject_has_the_room_that_the_name_of_the_cookie_leaves() -> TestResult {
    // The store has the name, or the hash of a long one, and a colon in front of the subject.
    for (name_len, in_front) in [(1, 2), (64, 65), (65, 44), (1_000, 44)] {
        let name = "n".repeat(name_len);
        let store = Arc::new(MemoryStore::new()?);
        let sessions = SessionManager::new(Arc::clone(&store))
            .with_cookie(CookiePolicy::new().with_name(&*name))?;
        let longest = "s".repeat(MAX_SUBJECT_LEN - in_front);
        logged_in(&sessions, &longest)?;
        assert_eq!(sessions.sessions_of(&longest)?.len(), 1);
        let by_name = store.find_by_subject(&format!("{name}:{longest}"))?;
        assert_eq!(by_name.len(), usize::from(name_len <= 64), "name of {name_len} characters");

        for refused in ["", &format!("{longest}s")] {
            let error = sessions.load([])?.set_subject(refused).expect_err("it is refused");
            let Error::Store(store_core::Error::InvalidSubject { len, max }) = error else {
                panic!("{error}");
            };
            assert_eq!((len, max), (refused.len(), longest.len()));
            assert!(sessions.sessions_of(refused)?.is_empty());
            assert_eq!(sessions.destroy_all_of(refused)?, 0);
        }
    }
    Ok(())
}

#[test]
fn cookie_policies_that_browsers_would_drop_are_refused() -> TestResult {
    let new = CookiePolicy::new;
    let name = |name: &str| new().with_name(name);
    // RFC 6265bis: name and value of 4096 octets, attribute values of 1024. The value has 43.
    let fits = [
        name(&"n".repeat(4_096 - 43)),
        name("n").with_path(format!("/{}", "p".repeat(1_023))),
        name("__Http-n"),
        name("__Host-Http-n"),
        name("__Http-n").with_domain("example.org"),
    ];
    for policy in fits {
        manager()?.with_cookie(policy)?;
    }
    let too_much = [
        name(&"n".repeat(4_097 - 43)),
        name("n").with_path(format!("/{}", "p".repeat(1_024))),
        // The prefixes that demand HttpOnly, in any case.
        name("__Http-n").readable_by_scripts(),
        name("__http-n").readable_by_scripts(),
        name("__Host-Http-n").readable_by_scripts(),
        name("n").with_name("__Http-n").insecure_for_local_development().with_name("__Http-n"),
    ];
    for policy in too_much {
        let name = policy.name().len();
        let refused = manager()?.with_cookie(policy);
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "name of {name} characters");
    }
    Ok(())
}

#[test]
fn development_cookie_has_no_prefix_that_demands_secure() -> TestResult {
    for name in ["__Host-n", "__host-n", "__HOST-n", "__Secure-n", "__Http-n", "__Host-Http-n"] {
        let policy = CookiePolicy::new().with_name(name).insecure_for_local_development();
        let sessions = manager()?.with_cookie(policy)?;
        assert_eq!(sessions.cookie_name(), "n", "{name}");
    }
    Ok(())
}
