//! `cargo xtask bench`: our stores next to the drivers under them and to their peers.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use test_servers::{Installation, PrivateServer, Release, ServerOptions};
use xshell::{Shell, cmd};

use crate::flags::Bench;
use crate::{Result, crates, interop, say};

/// The workspaces of the benchmark, which keep the peers out of the project's.
pub(crate) const WORKSPACES: [&str; 2] = ["xtask/bench", "xtask/bench/sqlx"];

/// Room for all databases, so that stores and drivers are measured and not the disk's reads, and a
/// log that isn't full all the time.
const SERVER: [&str; 4] = [
    "--innodb-buffer-pool-size=512M",
    "--innodb-log-file-size=256M",
    "--innodb-flush-log-at-trx-commit=1",
    "--default-time-zone=+00:00",
];

/// What store-sqlite's guide has applications build SQLite with that don't want its locks.
const SQLITE_FLAGS: &str = "-USQLITE_ENABLE_MEMORY_MANAGEMENT -DSQLITE_DEFAULT_MEMSTATUS=0";

/// Builds the programs of `xtask/bench` and has them measure, or only redraws the report.
pub(crate) fn run(shell: &Shell, root: &Path, flags: Bench) -> Result {
    let target = target_directory(root)?.join("bench");
    // Only a whole run replaces the results that are published.
    let is_whole = !flags.quick && flags.only.is_none();
    let out = match flags.out {
        Some(out) => env::current_dir()?.join(out),
        None if is_whole || flags.redraw => root.join("docs/benchmarks"),
        None => target.join("report"),
    };
    if flags.redraw {
        let workspace = WORKSPACES[0];
        cmd!(
            shell,
            "cargo run --release --locked --quiet --manifest-path {workspace}/Cargo.toml
                --package bench-runner --target-dir {target} -- redraw --out {out}"
        )
        .quiet()
        .run()?;
        return Ok(());
    }

    let scratch = match flags.scratch {
        Some(scratch) => env::current_dir()?.join(scratch),
        None => target.clone(),
    };
    let mut absent = Vec::new();
    let programs = programs(shell, &target, &mut absent)?;
    // It ends with this function, and the programs find it by this variable.
    let server = server(&scratch);
    let _url = match &server {
        Ok(server) => Some(shell.push_env("DATABASE_URL", server.url())),
        Err(error) => {
            // The reason has paths of this machine in it.
            say(&format!("!!! {error}"));
            absent.push("No MariaDB server was available, so MySQL takes no part.".to_owned());
            None
        }
    };

    let crates = crates::beside_rouille(shell)?.len().to_string();
    let mut measure = cmd!(shell, "{target}/release/bench-runner measure --crates {crates}")
        .args([OsStr::new("--scratch"), scratch.as_os_str(), OsStr::new("--out"), out.as_os_str()]);
    for program in programs {
        measure = measure.arg("--program").arg(program);
    }
    if is_whole {
        measure = measure.arg("--micro").arg(target.join("release/bench-micro"));
    }
    if let Ok(server) = &server {
        measure = measure.args(["--server".to_owned(), describe(server)?]);
    }
    for reason in absent {
        say(&format!("!!! {reason}"));
        measure = measure.args(["--absent", &reason]);
    }
    if let Some(filter) = flags.only {
        measure = measure.args(["--only", &filter]);
    }
    if let Some(rounds) = flags.rounds {
        measure = measure.args(["--rounds", &rounds.to_string()]);
    }
    measure = measure.args(flags.quick.then_some("--quick")).args(flags.full.then_some("--full"));
    measure.quiet().run()?;
    Ok(())
}

/// Builds all programs, and returns those with contenders.
fn programs(shell: &Shell, target: &Path, absent: &mut Vec<String>) -> Result<Vec<PathBuf>> {
    say("--- building the contenders: the first time, this takes some minutes");
    let build = |workspace: &str, target: &Path| {
        let manifest = format!("{workspace}/Cargo.toml");
        cmd!(
            shell,
            "cargo build --release --locked --manifest-path {manifest} --target-dir {target}"
        )
        .quiet()
    };
    let [ours, sqlx] = WORKSPACES;
    let (sqlx_target, unlocked_target) = (target.join("sqlx"), target.join("unlocked"));
    build(ours, target).env_remove("LIBSQLITE3_FLAGS").run()?;
    build(sqlx, &sqlx_target).run()?;
    build(ours, &unlocked_target)
        .args(["--package", "bench-contenders"])
        .env("LIBSQLITE3_FLAGS", SQLITE_FLAGS)
        .run()?;
    let mut programs = vec![
        target.join("release/bench-contenders"),
        unlocked_target.join("release/bench-contenders"),
        sqlx_target.join("release/bench-sqlx"),
    ];
    if interop::has_go(shell) {
        let go = target.join("bench-go");
        let _directory = shell.push_dir("xtask/bench/go");
        let _cgo = shell.push_env("CGO_ENABLED", "1");
        cmd!(shell, "go build -buildvcs=false -o {go} .").quiet().run()?;
        programs.push(go);
    } else {
        absent.push("There is no Go toolchain, so the Go stores take no part.".to_owned());
    }
    Ok(programs)
}

/// What the report says of the server.
fn describe(server: &PrivateServer) -> Result<String> {
    let version = server.execute("SELECT VERSION()")?;
    Ok(format!(
        "MariaDB {}, private, with `{}`, its data on the disk of the other databases. Durable commits \
         are at `innodb_flush_log_at_trx_commit=1`, which is the default; other commits are at 2, which \
         survives a crash of the server and leaves more of the time to drivers and stores.",
        version.trim(),
        SERVER.join(" "),
    ))
}

/// A server for this run, whose data are where the other databases are made.
fn server(scratch: &Path) -> Result<PrivateServer> {
    fs::create_dir_all(scratch)?;
    let options = ServerOptions::new().with_parent_directory(scratch);
    let options = SERVER.iter().fold(options, |options, argument| options.with_arg(*argument));
    PrivateServer::start(&Installation::obtain(Release::MariaDb)?, options)
}

/// Where this very program was built.
pub(crate) fn target_directory(root: &Path) -> Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.ancestors().nth(2).map_or_else(|| root.join("target"), Path::to_path_buf))
}
