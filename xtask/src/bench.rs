//! `cargo xtask bench`: our stores beside the drivers under them and beside their peers.

use std::path::{Path, PathBuf};
use std::{env, fs};

use xshell::{Shell, cmd};
use xtask::mysql_server::{Installation, PrivateServer, Product, ServerOptions};

use crate::flags::Bench;
use crate::{Result, crates, interop, say};

/// The workspaces of the benchmark, which keep the peers out of ours.
pub(crate) const WORKSPACES: [&str; 2] = ["xtask/bench", "xtask/bench/sqlx"];

/// Room for all databases, so that stores and drivers are measured and not the disk's reads, and a
/// log that isn't full all the time.
const SERVER: [&str; 4] = [
    "--innodb-buffer-pool-size=512M",
    "--innodb-log-file-size=256M",
    "--innodb-flush-log-at-trx-commit=1",
    "--default-time-zone=+00:00",
];

/// What `docs/sqlite.md` has applications build SQLite with that don't want its locks.
const SQLITE_FLAGS: &str = "-USQLITE_ENABLE_MEMORY_MANAGEMENT -DSQLITE_DEFAULT_MEMSTATUS=0";

/// Builds the programs of `xtask/bench` and has them measure.
pub(crate) fn run(shell: &Shell, root: &Path, flags: Bench) -> Result {
    let target = target_directory(root)?.join("bench");
    // Only a whole run replaces the one that is published.
    let is_whole = !flags.quick && flags.only.is_none();
    let out = match flags.out {
        Some(out) => env::current_dir()?.join(out),
        None if is_whole => root.join("docs/benchmarks"),
        None => target.join("report"),
    };
    let runner = target.join(format!("release/bench-runner{}", env::consts::EXE_SUFFIX));
    let micro = target.join("criterion");
    let mut arguments: Vec<String> = Vec::new();
    let mut option = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
    let scratch = match flags.scratch {
        Some(scratch) => env::current_dir()?.join(scratch),
        None => target.clone(),
    };
    option("scratch", scratch.display().to_string());
    option("out", out.display().to_string());
    option("crates", crates::of_an_application(shell)?.len().to_string());
    let mut absent = Vec::new();
    for program in programs(shell, &target, &mut absent)? {
        option("program", program.display().to_string());
    }
    // It ends with this function, and the programs find it by this variable.
    let server = server(&scratch);
    let _url = match &server {
        Ok(server) => {
            let settings = SERVER.join(" ");
            let version = server.execute("SELECT VERSION()")?;
            option(
                "server",
                format!(
                    "MariaDB {}, private, with `{settings}`, its data on the disk of the other databases. Durable commits \
                 are at `innodb_flush_log_at_trx_commit=1`, which is the default; commits at NORMAL are at 2, which \
                 survives a crash of the server and leaves more of the time to drivers and stores.",
                    version.trim()
                ),
            );
            Some(shell.push_env("DATABASE_URL", server.url()))
        }
        Err(error) => {
            // The reason has paths of this machine in it.
            say(&format!("!!! {error}"));
            absent.push("No MariaDB server could be had, so MySQL takes no part.".to_owned());
            None
        }
    };
    for reason in absent {
        say(&format!("!!! {reason}"));
        option("absent", reason);
    }
    if let Some(filter) = flags.only {
        option("only", filter);
    }
    if let Some(rounds) = flags.rounds {
        option("rounds", rounds.to_string());
    }
    if is_whole {
        say("--- micro-benchmarks");
        let program = target.join(format!("release/bench-micro{}", env::consts::EXE_SUFFIX));
        let _home = shell.push_env("CRITERION_HOME", &micro);
        cmd!(shell, "{program} --bench --noplot --quiet --warm-up-time 1 --measurement-time 3")
            .quiet()
            .run()?;
    }
    if micro.exists() {
        option("micro", micro.display().to_string());
    }
    for (name, is_set) in [("quick", flags.quick), ("full", flags.full)] {
        if is_set {
            arguments.push(format!("--{name}"));
        }
    }
    cmd!(shell, "{runner} {arguments...}").quiet().run()?;
    Ok(())
}

/// Builds the programs with contenders.
fn programs(shell: &Shell, target: &Path, absent: &mut Vec<String>) -> Result<Vec<PathBuf>> {
    let program = |name: &str| target.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    let [ours, sqlx] = WORKSPACES.map(|workspace| format!("{workspace}/Cargo.toml"));
    let sqlx_target = target.join("sqlx");
    say("--- building the contenders: the first time, this takes some minutes");
    cmd!(shell, "cargo build --release --locked --manifest-path {ours} --target-dir {target}")
        .env_remove("LIBSQLITE3_FLAGS")
        .quiet()
        .run()?;
    cmd!(shell, "cargo build --release --locked --manifest-path {sqlx} --target-dir {sqlx_target}")
        .quiet()
        .run()?;
    let unlocked_target = target.join("unlocked");
    cmd!(
        shell,
        "cargo build --release --locked --manifest-path {ours} --package bench-contenders
            --target-dir {unlocked_target}"
    )
    .env("LIBSQLITE3_FLAGS", SQLITE_FLAGS)
    .quiet()
    .run()?;
    let mut programs = vec![
        program("release/bench-contenders"),
        program("unlocked/release/bench-contenders"),
        program("sqlx/release/bench-sqlx"),
    ];
    if interop::has_go(shell) {
        let go = program("bench-go");
        fs::create_dir_all(target)?;
        let _directory = shell.push_dir("xtask/bench/go");
        let _cgo = shell.push_env("CGO_ENABLED", "1");
        cmd!(shell, "go build -buildvcs=false -o {go} .").quiet().run()?;
        programs.push(go);
    } else {
        absent.push("There is no Go toolchain, so the Go stores take no part.".to_owned());
    }
    Ok(programs)
}

/// A server for this run, whose data are where the other databases are made.
fn server(scratch: &Path) -> Result<PrivateServer> {
    fs::create_dir_all(scratch)?;
    let options = ServerOptions::new().with_place(scratch);
    let options = SERVER.iter().fold(options, |options, argument| options.with_arg(*argument));
    PrivateServer::start(&Installation::obtain(Product::MariaDb)?, options)
}

/// Where this very program was built.
fn target_directory(root: &Path) -> Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.ancestors().nth(2).map_or_else(|| root.join("target"), Path::to_path_buf))
}
