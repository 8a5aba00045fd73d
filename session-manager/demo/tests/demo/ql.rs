//! The demo on the redb store: through a crash, and next to a second process.

use crate::TestResult;
use crate::browser::Browser;
use crate::process::Demo;

#[test]
fn sessions_go_on_after_kill_9_and_a_second_process_is_told_why_it_can_not() -> TestResult {
    let directory = tempfile::tempdir()?;
    let database = directory.path().join("demo.redb");
    let mut browser = Browser::new();

    let demo = Demo::start("ql", &database)?;
    assert_eq!(browser.get(&demo, "/")?.visits(), 1);
    assert_eq!(browser.get(&demo, "/")?.visits(), 2);
    let second = Demo::command("ql", &database).output()?;
    let said = String::from_utf8(second.stderr)?;
    assert!(!second.status.success() && said.contains("open already"), "{said}");
    demo.kill()?;

    let demo = Demo::start("ql", &database)?;
    assert_eq!(browser.get(&demo, "/")?.visits(), 3);
    assert_eq!(Browser::new().get(&demo, "/")?.visits(), 1, "another browser, another session");
    Ok(())
}
