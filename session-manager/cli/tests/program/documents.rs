//! Help, manual pages and completions.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::TestResult;
use crate::program::{command, run};

const COMMANDS: [&str; 12] = [
    "check",
    "create-table",
    "stats",
    "list",
    "logout",
    "sweep",
    "copy",
    "backup",
    "compact",
    "import-ql",
    "completions",
    "man",
];

#[test]
fn help_has_examples_and_exit_codes() {
    let help = run(["--help"]).done();
    assert!(help.contains("Exit codes:\n  0  ") && help.contains("Examples:"), "{help}");
    assert!(help.contains("SESSIONS_STORE") && help.contains("MYSQL_PWD"), "{help}");
    for name in COMMANDS {
        assert!(help.contains(&format!("\n  {name} ")), "{name} isn't in {help}");
        let help = run([name, "--help"]).done();
        assert!(help.contains("\nExample"), "{name}: {help}");
    }
    run(["nonsense"]).ended(2, "unrecognized subcommand");
    run::<&str>([]).ended(2, "Usage: sessions");
}

#[test]
fn every_command_has_a_manual_page() {
    let page = run(["man"]).done();
    assert!(page.contains(".TH sessions 1") && page.contains("Exit codes"), "{page}");
    for name in COMMANDS {
        let page = run(["man", name]).done();
        assert!(page.contains(&format!(".TH sessions-{name} 1")), "{page}");
        assert!(page.contains("\\-\\-store"), "{page}");
    }
    run(["man", "nonsense"]).ended(2, "there is no command \"nonsense\"");
}

#[test]
fn completions_are_scripts_of_their_shells() -> TestResult {
    for (shell, begin) in [
        ("bash", "_sessions() {"),
        ("zsh", "#compdef sessions"),
        ("fish", "# Print an optspec"),
        ("elvish", "\nuse builtin;"),
        ("powershell", "\nusing namespace"),
    ] {
        let script = run(["completions", shell]).done();
        assert!(script.starts_with(begin), "{shell}: {script}");
        for name in COMMANDS {
            assert!(script.contains(name), "{shell}: {name}");
        }
        if shell == "bash" {
            let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn()?;
            bash.stdin.take().expect("it is piped").write_all(script.as_bytes())?;
            assert!(bash.wait()?.success());
        }
    }
    run(["completions", "nonsense"]).ended(2, "invalid value");
    Ok(())
}

#[test]
fn no_output_has_colours() -> TestResult {
    for arguments in [&["--help"][..], &["nonsense"], &["man", "--help"]] {
        for (name, value) in [("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")] {
            let output = command(arguments).env(name, value).output()?;
            let bytes = [output.stdout, output.stderr].concat();
            assert!(!bytes.contains(&0x1b), "{name}: {}", String::from_utf8_lossy(&bytes));
        }
    }
    Ok(())
}
