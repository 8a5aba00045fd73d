//! `cargo xtask interop`: our stores and manager next to those of Go, on one database at the same
//! time.

use std::env;

use test_servers::{Installation, Release};
use xshell::{Shell, cmd};

use crate::{Result, say};

/// Builds the Go program of `xtask/interop` and runs `xtask/tests/interop` with it.
pub(crate) fn run(shell: &Shell) -> Result {
    if !has_go(shell) {
        return Err("there is no Go toolchain: `go`, 1.24 or newer, must be in the PATH".into());
    }
    let server = Installation::obtain(Release::from_env()?)?;
    let go = cmd!(shell, "go version").quiet().read()?;
    say(&format!("SCS and ours, on SQLite and {} {}; {go}", server.product(), server.version()));
    // Beside this very program, wherever the target directory is.
    let mut program = env::current_exe()?;
    program.set_file_name(format!("interop-go{}", env::consts::EXE_SUFFIX));
    {
        let _directory = shell.push_dir("xtask/interop");
        let unformatted = cmd!(shell, "gofmt -l .").quiet().read()?;
        if !unformatted.is_empty() {
            return Err(format!("xtask/interop: gofmt would change {unformatted}").into());
        }
        // Most of the build is SQLite's C code. Unoptimized it takes 6 s on two cores, optimized 40
        // s; the driver in pure Go would take 18 s, and isn't the one that the Go store names.
        let _flags = shell.push_env("CGO_CFLAGS", "-O0");
        let _cgo = shell.push_env("CGO_ENABLED", "1");
        cmd!(shell, "go build -buildvcs=false -ldflags=-s -o {program} .").quiet().run()?;
    }
    let _program = shell.push_env("INTEROP_GO", program);
    // The features are those of the other tests, so that nothing is compiled twice.
    cmd!(shell, "cargo test --workspace --all-features --locked --test interop -- --ignored")
        .quiet()
        .run()?;
    Ok(())
}

/// Whether the Go toolchain is on this machine.
pub(crate) fn has_go(shell: &Shell) -> bool {
    cmd!(shell, "go version").quiet().ignore_stdout().ignore_stderr().run().is_ok()
}
