//! An import in progress.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use store_core::{Error, Store, TokenProblem};

use super::database::Database;
use super::dedup::{Deduplicator, Partitions};
use super::error::ImportError;
use super::options::{ExistingSessions, ImportOptions};
use super::report::{ImportReport, Rejection};
use super::table::{Column, Payload, Row, Table};

/// Imports a database; without a store, it only reads.
pub(super) fn run(
    path: &Path,
    store: Option<&dyn Store>,
    options: &ImportOptions,
) -> Result<ImportReport, ImportError> {
    let mut db = Database::open(path, options.max_row_len)?;
    let report = ImportReport::new(db.format, db.wal_status);
    let mut import = Import { options, store, now: options.clock.now(), report, rows_read: 0 };
    match import.run(&mut db) {
        Err(ImportError::Store(error)) => Err(ImportError::Store(error)),
        // Any other error may be caused by a process that writes.
        result => {
            db.verify_unchanged()?;
            result.map_err(|error| db.explain(error)).map(|()| import.report)
        }
    }
}

/// An import in progress.
struct Import<'a> {
    options: &'a ImportOptions,
    store: Option<&'a dyn Store>,
    now: DateTime<Utc>,
    report: ImportReport,
    /// Rows that were read, in all passes.
    rows_read: u64,
}

/// A row that is a live session, unless it is a duplicate.
struct Live<'a> {
    token: &'a [u8],
    data: Payload<'a>,
    expiry: DateTime<Utc>,
}

impl Import<'_> {
    fn run(&mut self, db: &mut Database) -> Result<(), ImportError> {
        let table = Table::find(db, &self.options.table_name)?;
        let (partitions, mut of_all) = self.count_rows(db, &table)?;
        for partition in 0..partitions.count() {
            let deduplicator = match of_all.take() {
                Some(deduplicator) => deduplicator,
                None => self.deduplicate(db, &table, &partitions, partition)?,
            };
            self.report.duplicates += deduplicator.duplicates;
            self.copy(db, &table, &partitions, partition, deduplicator)?;
        }
        Ok(())
    }

    /// Counts the rows, and deduplicates all tokens, unless these are too many for one partition.
    fn count_rows(
        &mut self,
        db: &mut Database,
        table: &Table,
    ) -> Result<(Partitions, Option<Deduplicator>), ImportError> {
        let partitions = Partitions::one();
        let mut deduplicator = Some(Deduplicator::default());
        let mut live_rows = 0;
        table.for_each_row(db, &mut |_, row| {
            self.report.rows += 1;
            if let Some(live) = self.classify(row) {
                live_rows += 1;
                if let Some((all, token)) =
                    deduplicator.as_mut().zip(partitions.fingerprint(0, live.token))
                {
                    all.add(token, row.id);
                    if all.len() > self.options.max_remembered {
                        deduplicator = None;
                    }
                }
            }
            self.progress();
            Ok(())
        })?;
        match deduplicator {
            Some(deduplicator) => Ok((partitions, Some(deduplicator))),
            None => Ok((partitions.for_rows(live_rows, self.options.max_remembered), None)),
        }
    }

    /// Returns the live session that a row is, or counts why it isn't one.
    fn classify<'row>(&mut self, row: &Row<'row>) -> Option<Live<'row>> {
        let live = self.live(row);
        if live.is_none() {
            let has_null = matches!(row.token, Column::Null)
                || matches!(row.data, Column::Null)
                || matches!(row.expiry, Column::Null);
            let has_wrong_type = matches!(row.token, Column::WrongType)
                || matches!(row.data, Column::WrongType)
                || matches!(row.expiry, Column::WrongType);
            let count = if has_null {
                &mut self.report.null
            } else if has_wrong_type {
                &mut self.report.wrong_type
            } else {
                &mut self.report.expired
            };
            *count += 1;
        }
        live
    }

    fn live<'row>(&self, row: &Row<'row>) -> Option<Live<'row>> {
        match (row.token, row.data, row.expiry) {
            (Column::Value(token), Column::Value(data), Column::Value(expiry))
                if self.now < expiry =>
            {
                Some(Live { token, data, expiry })
            }
            _ => None,
        }
    }

    /// Finds the row that is the session of each token of a partition.
    fn deduplicate(
        &self,
        db: &mut Database,
        table: &Table,
        partitions: &Partitions,
        partition: u64,
    ) -> Result<Deduplicator, ImportError> {
        let mut deduplicator = Deduplicator::default();
        table.for_each_row(db, &mut |_, row| {
            if let Some(live) = self.live(row)
                && let Some(token) = partitions.fingerprint(partition, live.token)
            {
                deduplicator.add(token, row.id);
            }
            Ok(())
        })?;
        Ok(deduplicator)
    }

    /// Commits the sessions of a partition.
    fn copy(
        &mut self,
        db: &mut Database,
        table: &Table,
        partitions: &Partitions,
        partition: u64,
        mut deduplicator: Deduplicator,
    ) -> Result<(), ImportError> {
        table.for_each_row(db, &mut |db, row| {
            if let Some(live) = self.live(row)
                && let Some(token) = partitions.fingerprint(partition, live.token)
                && deduplicator.take(token, row.id)
            {
                let data = row.read_data(db, &live.data)?;
                self.commit(row.id, &live, &data)?;
            }
            self.progress();
            Ok(())
        })
    }

    fn commit(&mut self, id: i64, live: &Live<'_>, data: &[u8]) -> Result<(), ImportError> {
        // A string of ql can have any bytes, a token of a store can't.
        let Ok(token) = str::from_utf8(live.token) else {
            self.reject(id, Error::InvalidToken(TokenProblem::Unrepresentable));
            return Ok(());
        };
        if let Some(store) = self.store {
            if self.options.existing == ExistingSessions::Keep
                && store.find(token).map_err(ImportError::Store)?.is_some()
            {
                self.report.already_present += 1;
                return Ok(());
            }
            match store.commit(token, data, live.expiry) {
                Ok(()) => {}
                Err(
                    error @ (Error::InvalidToken(_)
                    | Error::DataTooLarge { .. }
                    | Error::ExpiryOutOfRange { .. }),
                ) => {
                    self.reject(id, error);
                    return Ok(());
                }
                Err(error) => return Err(ImportError::Store(error)),
            }
        }
        self.report.imported += 1;
        Ok(())
    }

    fn reject(&mut self, id: i64, error: Error) {
        let rejection = Rejection { id, error: Arc::new(error) };
        if let Some(hook) = &self.options.on_rejection {
            hook(&rejection);
        }
        self.report.rejected += 1;
        self.report.first_rejection.get_or_insert(rejection);
    }

    fn progress(&mut self) {
        self.rows_read += 1;
        if let Some(hook) = &self.options.on_progress
            && self.rows_read.is_multiple_of(self.options.progress_every)
        {
            hook(&self.report);
        }
    }
}
