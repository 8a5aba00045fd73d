//! Visits all live sessions.

use std::ops::ControlFlow;

use mysql::prelude::Queryable;
use mysql::{Result as DriverResult, Value};
use store_core::Record;

use crate::connection::Connection;
use crate::engine::Engine;
use crate::rows::Session;
use crate::shared::Shared;
use crate::tidb;

impl Shared {
    /// Visits the sessions that are live in a snapshot, which the connection keeps.
    pub(crate) fn walk(
        &self,
        connection: &mut Connection,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> DriverResult<()> {
        // The visitor may take as long as it likes.
        let mut patience = "SET SESSION net_write_timeout = 86400, wait_timeout = 86400".to_owned();
        if connection.engine().has_idle_transaction_timeout() {
            patience.push_str(", idle_transaction_timeout = 0");
        }
        connection.driver().query_drop(patience)?;
        if connection.engine() == Engine::TiDb {
            tidb::set(connection.driver(), tidb::IDLE_TRANSACTION_TIMEOUT, "0")?;
        }
        connection.driver().query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT")?;
        // The snapshot's time, because `UTC_TIMESTAMP` moves on and the snapshot's expiries don't.
        let now = format!("SELECT UTC_TIMESTAMP(6){}", connection.engine().clock_source());
        let now: Option<Value> = connection.driver().query_first(now)?;
        let now = now.unwrap_or(Value::NULL);
        let mut last = Vec::new();
        loop {
            let mut rows = connection
                .query_iter(&self.statements.page, vec![last.as_slice().into(), now.clone()])?;
            let mut is_done = true;
            while let Some(row) = rows.next().transpose()? {
                is_done = false;
                if let Some(Value::Bytes(token)) = row.as_ref(0) {
                    last.clone_from(token);
                }
                let Some(session) = Session::read(row) else { continue };
                // The visitor doesn't see what `find` doesn't find.
                if self.check_token(&session.token).is_ok()
                    && visit(Record::new(&session.token, &session.data, session.expiry)).is_break()
                {
                    return Ok(());
                }
            }
            if is_done {
                return Ok(());
            }
        }
    }
}
