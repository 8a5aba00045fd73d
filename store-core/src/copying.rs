//! Copies the sessions of one store into another.

mod options;

mod report;

mod session;

use crate::Store;
use crate::moving::end;
use crate::parallel_walk::for_each_parallel;
use crate::sync::{Mutex, PoisonError};

use session::{Read, SessionCopy};

pub use options::CopyOptions;
pub use report::{CopyError, CopyReport};

/// Copies the live sessions of a store into another, with their subjects and expiries.
///
/// A session that the target has already is left as it is, unless the
/// [options](CopyOptions::with_replacement) say otherwise, and counted as unchanged or differing.
/// So after a failure, or a change of mind, the same call goes on where it was: a second run copies
/// what is missing. What became of tokens that were rotated a moment ago isn't copied.
///
/// # While applications run
/// - **Nobody writes to either store:** the target has afterwards what the source has, and with
///   [mirroring](CopyOptions::with_mirroring) nothing else.
/// - **Applications use the source alone:** the state of each session in the target is one that it
///   had in the source during the run. The source is asked again after a session was written: what
///   has ended by then ends in the target, too, and one that was renewed is there under its new
///   token and no other. What changes later isn't noticed. So copy while the application runs, stop
///   it, and copy again, mirroring, which takes little time and makes the target exact; then start
///   it on the target.
/// - **Applications use the target alone:** the first run is safe, because no token of the source
///   is known there. A second run isn't: it would bring back what has ended there since. Nor is any
///   that replaces or mirrors.
/// - **Applications use both:** this isn't for that. [`MovingStore`](crate::MovingStore) is, and
///   moves without a pause.
///
/// Several threads copy, so that the stores can join their writes.
///
/// # Errors
/// [`CopyError`], which says on which side. Each session that was copied by then is complete.
///
/// # Examples
/// ```
/// use chrono::{TimeDelta, Utc};
/// use store_core::{CopyOptions, MemoryStore, Store, copy};
///
/// let (source, target) = (MemoryStore::new()?, MemoryStore::new()?);
/// source.create("token", b"data", Utc::now() + TimeDelta::hours(1), Some("user 7"))?;
///
/// let report = copy(&source, &target, &CopyOptions::new())?;
/// assert_eq!((report.copied, report.unchanged), (1, 0));
/// assert_eq!(target.subject_of("token")?.as_deref(), Some("user 7"));
///
/// let report = copy(&source, &target, &CopyOptions::new())?;
/// assert_eq!((report.copied, report.unchanged), (0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "migrate")]
pub fn copy(
    source: &dyn Store,
    target: &dyn Store,
    options: &CopyOptions,
) -> Result<CopyReport, CopyError> {
    let total = source.count().map_err(CopyError::Source)?;
    let report = Mutex::new(CopyReport { total, ..CopyReport::default() });
    let record = |change: &dyn Fn(&mut CopyReport)| {
        let report = &mut *report.lock().unwrap_or_else(PoisonError::into_inner);
        change(report);
        if let Some(hook) = &options.on_progress {
            hook(report);
        }
    };
    let session = SessionCopy { source, target, replaces: options.replaces() };
    for_each_parallel(source, CopyError::Source, &|found| {
        let copied = session.copy(&found.token)?;
        record(&|report| report.add(&copied));
        Ok(())
    })?;
    if options.mirrors {
        for_each_parallel(target, CopyError::Target, &|found| {
            let is_extra = match session.read(&found.token)? {
                Read::Live(_) => false,
                Read::Rotated(_) | Read::Missing => true,
            };
            // Unless it has changed meanwhile.
            if is_extra && end(target, &found.token, &found.data).map_err(CopyError::Target)? {
                record(&|report| report.ended += 1);
            }
            Ok(())
        })?;
    }
    let report = report.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(report.clone())
}
