//! Managers that keep sessions in other ways.

use std::sync::Arc;

use session_manager::{
    BindingPolicy, Codec, DeviceBinding, Json, KeyRing, MessagePack, Sealed, SecretKey, Session,
    SessionManager,
};
use store_core::MemoryStore;

use crate::TestResult;
use crate::browser::Browser;
use crate::fixture::PATH;

/// A session is bound, refreshed, and bound after a renewal.
fn works<C: Codec>(sessions: &SessionManager<C>) -> TestResult {
    let mut browser = Browser::bound(sessions)?;
    browser.refreshed();
    browser.visit(Session::renew)?;
    browser.refreshed();
    assert!(matches!(browser.session()?.device_binding(), DeviceBinding::Bound { .. }));
    browser.thief().session()?.check_device_binding()?;
    browser.device_cookie.clear();
    assert!(browser.session()?.check_device_binding().is_err());
    Ok(())
}

fn manager() -> Result<SessionManager, session_manager::Error> {
    SessionManager::new(MemoryStore::new()?).with_device_binding(BindingPolicy::new(PATH))
}

#[test]
fn sessions_are_bound_with_every_codec() -> TestResult {
    works(&manager()?)?;
    works(&manager()?.with_codec(MessagePack))?;
    let keys = KeyRing::new(1, SecretKey::from_bytes(&[7; 32]).expect("it has the length of one"));
    works(&manager()?.with_codec(Sealed::new(Json, keys)))
}

#[test]
fn sessions_are_bound_however_tokens_are_kept() -> TestResult {
    works(&manager()?.with_plain_tokens_in_store())?;
    works(&manager()?.with_scs_hashed_tokens_in_store())?;
    works(&manager()?.with_hashed_tokens_and_plain_fallback())
}

#[test]
fn binding_stays_while_tokens_go_over_to_hashes() -> TestResult {
    let store = Arc::new(MemoryStore::new()?);
    let at =
        || SessionManager::new(Arc::clone(&store)).with_device_binding(BindingPolicy::new(PATH));
    let before = at()?.with_plain_tokens_in_store();
    let mut browser = Browser::bound(&before)?;
    browser.refreshed();
    let after = at()?.with_hashed_tokens_and_plain_fallback();
    let mut browser = browser.at(&after);
    // The refresh comes before any page.
    browser.refreshed();
    browser.visit(|_| Ok(()))?;
    browser.refreshed();
    browser.session()?.check_device_binding()
}

/// A process without the key of a sealed session can't tell whether it is the one.
#[test]
fn process_that_cannot_open_the_session_ends_no_binding() -> TestResult {
    let store = Arc::new(MemoryStore::new()?);
    let with_key = |id: u8| {
        let key = SecretKey::from_bytes(&[id; 32]).expect("it has the length of one");
        let codec = Sealed::new(Json, KeyRing::new(id.into(), key));
        let sessions = SessionManager::new(Arc::clone(&store)).with_codec(codec);
        sessions.with_device_binding(BindingPolicy::new(PATH))
    };
    let (one, other) = (with_key(1)?, with_key(2)?);
    let mut browser = Browser::bound(&one)?;
    assert_eq!(browser.at(&other).refresh().status, 503);
    browser.refreshed();
    Ok(())
}
