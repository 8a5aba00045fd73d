//! `/metrics`, with the feature `metrics`.

use crate::TestResult;
use crate::browser::Browser;
use crate::pages::start;

#[test]
fn figures_are_of_the_requests_before_and_looking_is_no_visit() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = start(&directory.path().join("demo.db"))?;
    let mut browser = Browser::new();
    browser.get(&demo, "/")?;
    browser.log_in(&demo, "Ada")?;
    browser.post(&demo, "/logout", &[])?;
    browser.get(&demo, "/")?;
    let figures = browser.get(&demo, "/metrics")?;
    assert_eq!((figures.status, figures.set_cookie), (200, String::new()));
    for line in [
        "# TYPE session_store_operations_total counter",
        "# HELP session_store_operation_seconds How long they took.",
        "session_store_operations_total{operation=\"create\",outcome=\"ok\"} 2",
        "session_store_operations_total{operation=\"delete\",outcome=\"ok\"} 1",
        "# TYPE session_store_operation_seconds histogram",
        "session_store_operation_seconds_count{operation=\"delete\"} 1",
        "# HELP session_store_pool_wait_seconds How long they waited for a connection.",
        "# TYPE session_store_pool_wait_seconds histogram",
        "session_store_cleanup_runs 0",
    ] {
        assert!(figures.page.lines().any(|there| there == line), "{line}\n{}", figures.page);
    }
    assert!(!figures.page.contains("Ada"), "figures name nobody");
    assert_eq!(browser.get(&demo, "/")?.visits(), 2);
    Ok(())
}
