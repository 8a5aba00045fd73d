//! What the claims begin with: sessions in a store.

use std::sync::Arc;

use session_manager::Error;
use store_core::Store;

use crate::counting_store::token;
use crate::{Manager, manager};

/// A manager, and the token of a session with one value.
pub(crate) fn logged_in(store: &Arc<dyn Store>) -> Result<(Manager, String), Error> {
    let sessions = manager(Arc::clone(store));
    let mut session = sessions.load([])?;
    session.insert("user_id", 7)?;
    let token = token(&session.finish()?).expect("it is new");
    Ok((sessions, token))
}

/// Renews a session, and returns its new token.
pub(crate) fn renewed(sessions: &Manager, old: &str) -> Result<String, Error> {
    let mut session = sessions.load([old])?;
    session.renew()?;
    Ok(token(&session.finish()?).expect("it changes"))
}
