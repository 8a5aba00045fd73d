//! Our stores, which are measured through the trait `Store`.

use std::ops::ControlFlow;

use bench_protocol::{Contender, Handle, Login, Result};
use chrono::{DateTime, TimeDelta, Utc};
use store_core::{Change, Rotation, Store};

/// A store as a contender.
pub(crate) struct Ours(pub(crate) Box<dyn Store>);

/// The expiry that all contenders write.
pub(crate) fn expiry() -> DateTime<Utc> {
    Utc::now() + TimeDelta::days(1)
}

impl Contender for Ours {
    fn handle(&self) -> Result<Box<dyn Handle + '_>> {
        Ok(Box::new(Shared(&*self.0)))
    }

    fn for_each(&self, visit: &mut dyn FnMut(&str, &[u8])) -> Result<u64> {
        let mut visited = 0;
        self.0.for_each(&mut |record| {
            visited += 1;
            visit(record.token, record.data);
            ControlFlow::Continue(())
        })?;
        Ok(visited)
    }

    fn sweep(&self) -> Result<u64> {
        Ok(self.0.delete_expired()?)
    }

    fn delete_all(&self) -> Result<u64> {
        Ok(self.0.delete_all()?)
    }
}

/// All threads share the store.
struct Shared<'a>(&'a dyn Store);

impl Handle for Shared<'_> {
    fn find(&mut self, token: &str) -> Result<Option<usize>> {
        Ok(self.0.find(token)?.map(|data| data.len()))
    }

    fn commit(&mut self, token: &str, data: &[u8]) -> Result {
        Ok(self.0.commit(token, data, expiry())?)
    }

    fn touch(&mut self, token: &str) -> Result<bool> {
        Ok(self.0.touch(token, expiry())?)
    }

    fn replace(&mut self, token: &str, current: &[u8], data: &[u8]) -> Result<bool> {
        Ok(self.0.update(token, current, &Change::new(data, expiry()))?)
    }

    fn delete(&mut self, token: &str) -> Result {
        Ok(self.0.delete(token)?)
    }

    fn login(&mut self, login: &Login<'_>) -> Result<bool> {
        let change = Change::new(login.data, expiry())
            .with_rotation(Rotation::new(login.new_token))
            .with_subject(Some(login.subject));
        Ok(self.0.update(login.token, login.current, &change)?)
    }
}
