//! `cargo xtask test-platforms` and `test-static`: where else the libraries compile, and
//! that an application on the store in pure Rust is one file. They need targets of rustup, so they
//! are tasks of their own.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use xshell::{Shell, cmd};

use crate::serving_program::ServingProgram;
use crate::{Result, bench, say};

/// Systems other than Linux.
const TARGETS: [&str; 3] =
    ["x86_64-pc-windows-gnu", "aarch64-apple-darwin", "x86_64-unknown-freebsd"];

/// The libraries, without what is written in C.
const LIBRARIES: [&[&str]; 5] = [
    &["sync-session-store-core"],
    &["sync-session-manager", "--features", "rouille,http,messagepack"],
    &["sync-session-store-ql-compat"],
    &["sync-session-store-mysql"],
    &["sync-session-store-sqlite", "--no-default-features"],
];

const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";

/// Checks that the libraries compile.
pub(crate) fn run(shell: &Shell, root: &Path) -> Result {
    let target_directory = bench::target_directory(root)?.join("platforms");
    let _flags = shell.push_env("RUSTFLAGS", "-D warnings");
    for target in TARGETS {
        add_target(shell, target)?;
        for library in LIBRARIES {
            say(&format!("{target}: {}", library[0]));
            cmd!(
                shell,
                "cargo check --quiet --locked --lib --package {library...} --target {target}
                    --target-dir {target_directory}"
            )
            .quiet()
            .run()?;
        }
    }
    Ok(())
}

/// Builds the demo as a static binary, and runs it in a directory in which there is nothing else.
pub(crate) fn run_static(shell: &Shell, root: &Path) -> Result {
    add_target(shell, STATIC_TARGET)?;
    let target_directory = bench::target_directory(root)?.join("static");
    say("the demo on the store in pure Rust, as a static binary");
    let features = ["--no-default-features", "--features", "ql"];
    cmd!(
        shell,
        "cargo build --quiet --release --locked --package sessions-demo {features...}
            --target {STATIC_TARGET} --target-dir {target_directory}"
    )
    .quiet()
    .run()?;
    let place = shell.create_temp_dir()?;
    let place = place.path();
    let program = target_directory.join(STATIC_TARGET).join("release/sessions-demo");
    let bytes = fs::copy(&program, place.join("sessions-demo"))?;
    // A user namespace, in which everybody may change the root.
    let mut demo = Command::new("unshare");
    demo.args(["--user", "--map-root-user", "--root"]).arg(place);
    demo.args(["/sessions-demo", "ql", "127.0.0.1:0", "/sessions.redb"]);
    let _demo = ServingProgram::start(demo)?;
    let mut files: Vec<_> = fs::read_dir(place)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    files.sort();
    if files != ["sessions-demo", "sessions.redb"] {
        return Err(format!("there is more than the program and its database: {files:?}").into());
    }
    say(&format!("it runs, and has {} KiB", bytes / 1024));
    Ok(())
}

fn add_target(shell: &Shell, target: &str) -> Result {
    let added = cmd!(shell, "rustup target add {target}").quiet().ignore_stderr().run();
    added.map_err(|_| format!("rustup has no {target} here, so nothing was checked").into())
}
