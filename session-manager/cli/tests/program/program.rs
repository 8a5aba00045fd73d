//! Runs the program.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

/// What a run of the program has said, and its exit code.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("nothing kills it"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks that it went well and without a word of complaint; returns what it printed.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, &*self.err), (0, ""), "{}", self.out);
        self.out
    }

    /// Checks that it ended with this code, and said this on standard error.
    #[track_caller]
    pub(crate) fn ended(&self, code: i32, said: &str) {
        assert_eq!(self.code, code, "{} {}", self.out, self.err);
        assert!(self.err.contains(said), "{said:?} isn't in {:?}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

/// The program, with nothing of this process's environment that it looks at.
pub(crate) fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessions"));
    command.args(arguments).env_remove("SESSIONS_STORE").env_remove("MYSQL_PWD");
    command.stdin(Stdio::null());
    command
}

/// Runs the program, without a terminal.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    Run::of(&command(arguments).output().expect("it can be run"))
}
