//! Imports of synthetic databases, each made byte by byte for one question.
//!
//! What genuine ql wrote is imported in `tests/import`; these are databases that it doesn't write.

mod synthetic;

use std::sync::Arc;

use chrono::TimeDelta;
use store_core::Store;

use self::synthetic::{Cell, Ql, blob, handle_of, now, options, target, text, varint};
use super::{ExistingSessions, ImportError, import_ql};
use crate::ql_format::QlFormat;

const FORMATS: [QlFormat; 2] = [QlFormat::V1, QlFormat::V2];

#[test]
fn rows_are_accounted_for_by_what_is_wrong_with_them() -> Result<(), Box<dyn std::error::Error>> {
    for format in FORMATS {
        let rows = [
            (20, [text("live"), blob("data"), Cell::Time(1)]),
            (19, [Cell::Null, blob("data"), Cell::Time(1)]),
            (18, [text("no data"), Cell::Null, Cell::Time(1)]),
            (17, [text("no expiry"), blob("data"), Cell::Null]),
            (16, [Cell::Int(5), blob("data"), Cell::Time(1)]),
            (15, [text("no blob"), text("data"), Cell::Time(1)]),
            (14, [text("no time"), blob("data"), blob("soon")]),
            (13, [text("expired"), blob("data"), Cell::Time(-1)]),
            (12, [text("expires now"), blob("data"), Cell::Time(0)]),
            (11, [Cell::Text(b"\xFF\xFE".to_vec()), blob("data"), Cell::Time(1)]),
            (10, [text(""), blob("data"), Cell::Time(1)]),
            (9, [text(&"x".repeat(300)), blob("data"), Cell::Time(1)]),
            (8, [text("live"), blob("older"), Cell::Time(9)]),
        ];
        let refused = Arc::new(std::sync::Mutex::new(Vec::new()));
        let ids = refused.clone();
        let options = options().with_rejection_hook(move |rejection| {
            ids.lock().expect("nobody panics").push(rejection.id);
        });
        let (report, store) = Ql::with_rows(format, &rows).import(&options)?;
        let counts = [report.null, report.wrong_type, report.expired, report.rejected];
        assert_eq!(counts, [3, 3, 2, 3], "{format}: {report:?}");
        assert_eq!([report.rows, report.imported, report.duplicates], [13, 1, 1]);
        assert_eq!(*refused.lock().expect("nobody panics"), [11, 10, 9]);
        assert_eq!(report.first_rejection.map(|rejection| rejection.id), Some(11));
        assert_eq!(
            store.all()?.into_iter().collect::<Vec<_>>(),
            [("live".to_owned(), b"data".to_vec())]
        );
    }
    Ok(())
}

#[test]
fn highest_id_wins_whatever_the_order_of_rows() -> Result<(), Box<dyn std::error::Error>> {
    for format in FORMATS {
        let rows = [3, 9, 5].map(|id| (id, [text("token"), blob(&id.to_string()), Cell::Time(1)]));
        let (report, store) = Ql::with_rows(format, &rows).import(&options())?;
        assert_eq!([report.imported, report.duplicates], [1, 2]);
        assert_eq!(store.find("token")?.as_deref(), Some(&b"9"[..]));

        // An expired row makes no other a duplicate, as Go's Find ignored it.
        let mut rows = rows;
        rows[1].1[2] = Cell::Time(-1);
        let (report, store) = Ql::with_rows(format, &rows).import(&options())?;
        assert_eq!([report.imported, report.duplicates, report.expired], [1, 1, 1]);
        assert_eq!(store.find("token")?.as_deref(), Some(&b"5"[..]));
    }
    Ok(())
}

#[test]
fn remembering_fewer_tokens_changes_nothing() -> Result<(), Box<dyn std::error::Error>> {
    for format in FORMATS {
        let rows: Vec<_> = (0..90)
            .rev()
            .map(|id| (id, [text(&(id % 60).to_string()), blob(&id.to_string()), Cell::Time(1)]))
            .collect();
        let ql = Ql::with_rows(format, &rows);
        let (report, store) = ql.import(&options())?;
        assert_eq!([report.rows, report.imported, report.duplicates], [90, 60, 30]);
        for max_remembered in [1, 7, 59, 60] {
            let (again, same) = ql.import(&options().with_max_remembered(max_remembered))?;
            assert_eq!([again.rows, again.imported, again.duplicates], [90, 60, 30]);
            assert_eq!(same.all()?, store.all()?, "{max_remembered}");
        }
    }
    Ok(())
}

#[test]
fn columns_are_found_by_name_and_late_ones_are_null() -> Result<(), Box<dyn std::error::Error>> {
    for format in FORMATS {
        let mut ql = Ql::new(format, "B|Texpiry|lage|stoken|sdata|Bdata", 100);
        let (expiry, token, data) = (Cell::Time(1), text("token"), blob("data"));
        // Of the two columns named data, only one is a blob; ql itself would not make such a table.
        let cells = [Cell::Null, expiry.clone(), Cell::Int(7), token.clone(), text("no"), data];
        ql.put_row(100, 120, 2, &cells);
        ql.put_row(120, 0, 1, &[Cell::Null, expiry, Cell::Int(7), token]);
        let (report, store) = ql.import(&options())?;
        assert_eq!([report.rows, report.imported, report.null], [2, 1, 1]);
        assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));

        let ql = Ql::new(format, "stoken|Texpiry|sdata", 0);
        match ql.import(&options()).map(|(report, _)| report) {
            Err(ImportError::WrongColumns { expected: "data blob", present, .. }) => {
                assert_eq!(present, ["token string", "expiry time", "data string"]);
            }
            other => panic!("{other:?}"),
        }
        match ql.import(&options().with_table_name("Sessions")).map(|(report, _)| report) {
            Err(ImportError::NoTable { present, .. }) => assert_eq!(present, ["sessions"]),
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

#[test]
fn sessions_of_the_target_are_kept_or_replaced() -> Result<(), Box<dyn std::error::Error>> {
    let rows =
        [(2, [text("a"), blob("ql"), Cell::Time(1)]), (1, [text("b"), blob("ql"), Cell::Time(1)])];
    let (_directory, path) = Ql::with_rows(QlFormat::V1, &rows).save();
    for (existing, expected, kept) in
        [(ExistingSessions::Keep, &b"own"[..], 1), (ExistingSessions::Replace, b"ql", 0)]
    {
        let store = target();
        store.commit("a", b"own", now() + TimeDelta::hours(2))?;
        store.commit("b", b"own, expired", now() - TimeDelta::hours(2))?;
        let report = import_ql(&path, &store, &options().with_existing(existing))?;
        assert_eq!([report.imported, report.already_present], [2 - kept, kept]);
        assert_eq!(store.find("a")?.as_deref(), Some(expected));
        assert_eq!(store.find("b")?.as_deref(), Some(&b"ql"[..]));
    }
    Ok(())
}

#[test]
fn lists_with_cycles_are_refused() {
    let cells = [text("token"), blob("data"), Cell::Time(1)];
    for format in FORMATS {
        let mut rows = Ql::with_rows(format, &[(2, cells.clone()), (1, cells.clone())]);
        rows.put_row(handle_of(1), 100, 1, &cells);
        rows.assert_damaged("a list has a cycle");
        rows.put_row(handle_of(1), handle_of(1), 1, &cells);
        rows.assert_damaged("a list has a cycle");

        let mut tables = Ql::new(format, "stoken", 0);
        tables.put(20, &[Cell::Int(60), text("x"), Cell::Int(40), text("another")]);
        tables.put(60, &[Cell::Int(20), text("x"), Cell::Int(40), text("yet another")]);
        tables.assert_damaged("a list has a cycle");
    }
    let mut chunks =
        Ql::with_rows(QlFormat::V1, &[(1, [text("token"), Cell::Chunked(200), Cell::Time(1)])]);
    chunks.put(200, &[Cell::Int(220), Cell::Bytes(b"second ".to_vec())]);
    chunks.put(220, &[Cell::Int(200), Cell::Bytes(b"third".to_vec())]);
    chunks.assert_damaged("a list has a cycle");
}

#[test]
fn chunks_are_joined_up_to_the_limit() -> Result<(), Box<dyn std::error::Error>> {
    let row = (1, [text("token"), Cell::Chunked(200), Cell::Time(1)]);
    for last in [vec![], vec![Cell::Int(0)]] {
        let mut ql = Ql::with_rows(QlFormat::V1, std::slice::from_ref(&row));
        ql.put(200, &[Cell::Int(220), Cell::Bytes(b"second ".to_vec())]);
        ql.put(220, &[&last[..], &[Cell::Bytes(b"third".to_vec())]].concat());
        let (_, store) = ql.import(&options())?;
        assert_eq!(store.find("token")?.as_deref(), Some(&b"first second third"[..]));
        assert!(ql.import(&options().with_max_row_len(18)).is_ok());
        let refused = ql.import(&options().with_max_row_len(17));
        assert!(matches!(refused, Err(ImportError::RowTooLarge { max: 17, .. })));
    }
    let row = (1, [text("token"), blob("large data"), Cell::Time(1)]);
    let ql = Ql::with_rows(QlFormat::V2, &[row]);
    assert!(ql.import(&options().with_max_row_len(40)).is_ok());
    let refused = ql.import(&options().with_max_row_len(39));
    assert!(matches!(refused, Err(ImportError::RowTooLarge { max: 39, .. })));
    Ok(())
}

#[test]
fn records_that_have_moved_are_followed_once() -> Result<(), Box<dyn std::error::Error>> {
    let cells = [text("token"), blob("data"), Cell::Time(1)];
    for format in FORMATS {
        let mut ql = Ql::new(format, "stoken|Bdata|Texpiry", 100);
        ql.put_row(200, 0, 1, &cells);
        let (to_200, to_itself) = match format {
            QlFormat::V1 => {
                let mut block = [0xFD, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0];
                let forth = block;
                block[7] = 100;
                (forth.to_vec(), block.to_vec())
            }
            QlFormat::V2 => (varint(-(304 + 199 * 16)), varint(-(304 + 99 * 16))),
        };
        ql.put_raw(100, &to_200);
        let (_, store) = ql.import(&options())?;
        assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
        ql.put_raw(100, &to_itself);
        ql.assert_damaged("a record has moved twice");
    }
    Ok(())
}

#[test]
fn many_rows_in_one_place_are_refused() {
    // Each row has moved to the same large record, which is no circle: the list would have to be
    // followed to its end, reading megabytes for every 16 bytes.
    let mut ql = Ql::new(QlFormat::V2, "stoken|Bdata|Texpiry", 100);
    let to_itself = |next: i64| vec![Cell::Int(next), Cell::Int(1), Cell::Blob(vec![7; 9_000])];
    ql.put(200, &to_itself(101));
    for handle in 100..150 {
        ql.put_raw(handle, &varint(-(304 + 199 * 16)));
    }
    assert!(matches!(ql.import(&options()), Err(ImportError::Damaged { .. })));
}

#[test]
fn handles_out_of_bounds_are_refused() {
    for format in FORMATS {
        for handle in [-1, i64::MIN, i64::MAX, 1 << 56] {
            let ql = Ql::new(format, "stoken|Bdata|Texpiry", handle);
            assert!(matches!(ql.import(&options()), Err(ImportError::Damaged { .. })), "{handle}");
        }
        Ql::new(format, "stoken|Bdata|Texpiry", 1 << 40)
            .assert_damaged("it ends in the middle of a record");
    }
}
