//! Work on each session of a store, by several threads.

use std::ops::ControlFlow;
use std::thread;

use crossbeam_channel::bounded;

use crate::sync::{Mutex, PoisonError};
use crate::{Error, OwnedRecord, Store};

/// Stores join the writes of concurrent threads into one transaction, and one wait for the disk.
const THREADS: usize = 8;

/// Walks through a store, and hands each session to one of a few threads. After a failure the walk
/// ends, and the first error is returned.
pub(crate) fn for_each_parallel<E: Send>(
    store: &dyn Store,
    from_walk: impl FnOnce(Error) -> E,
    work: &(dyn Fn(OwnedRecord) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let (sender, receiver) = bounded::<OwnedRecord>(THREADS);
    let failed = Mutex::new(None);
    let fail = |error: E| {
        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    };
    let walked = thread::scope(|scope| {
        for _ in 0..THREADS {
            let (receiver, fail) = (receiver.clone(), &fail);
            scope.spawn(move || {
                for record in receiver {
                    if let Err(error) = work(record) {
                        return fail(error);
                    }
                }
            });
        }
        // The threads have it, so that sending fails once all have ended.
        drop(receiver);
        let walked = store.for_each(&mut |record| {
            let has_failed = failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            let record = OwnedRecord::new(record.token, record.data, record.expiry);
            if has_failed || sender.send(record).is_err() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        drop(sender);
        walked
    });
    if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    walked.map_err(from_walk)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use chrono::{TimeDelta, Utc};

    use super::*;
    use crate::{CleanupOptions, MemoryOptions};

    #[test]
    fn all_threads_work_at_the_same_time_and_no_more_than_that() -> Result<(), Error> {
        let store = MemoryOptions::new().with_cleanup(CleanupOptions::disabled()).build()?;
        for number in 0..3 * THREADS {
            store.commit(&number.to_string(), b"data", Utc::now() + TimeDelta::hours(1))?;
        }
        let all_are_at_work = Barrier::new(THREADS);
        let threads = Mutex::new(HashSet::new());
        for_each_parallel(&store, |error| error, &|_| {
            all_are_at_work.wait();
            threads.lock().unwrap_or_else(PoisonError::into_inner).insert(thread::current().id());
            Ok(())
        })?;
        let threads = threads.into_inner().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(threads.len(), THREADS);
        Ok(())
    }
}
