//! What the tests of other session libraries ask, asked of this one. The guide `peers` lists each
//! of their tests, with what came out.

#[path = "../counting_store/mod.rs"]
mod counting_store;

mod site;

mod scs;

mod tower_sessions;

mod django;

mod express_session;

use session_manager::Error;

type TestResult = Result<(), Error>;
