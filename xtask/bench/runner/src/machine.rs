//! The machine, as far as it explains the figures.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use bench_protocol::Result;

use crate::results::Run;

/// A run on this machine, of which nothing else is known yet.
pub(crate) fn describe(scratch: &Path) -> Result<Run> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').unwrap_or_default().1.trim().to_owned()
    };
    let memory_kib = after(&read("/proc/meminfo"), "MemTotal");
    let memory_kib: u64 = memory_kib.trim_end_matches(" kB").parse().unwrap_or_default();
    let load = read("/proc/loadavg");
    Ok(Run {
        revision: output("git", &["describe", "--always", "--dirty", "--exclude", "*"]),
        compiler: output("rustc", &["--version"]),
        processor: after(&read("/proc/cpuinfo"), "model name"),
        cores: thread::available_parallelism()?.get(),
        memory_gib: memory_kib.div_ceil(1 << 20),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        file_system: file_system(scratch),
        load_before: load.split(' ').next().unwrap_or_default().parse().unwrap_or_default(),
        ..Run::default()
    })
}

/// The type of the file system on which the databases are.
fn file_system(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_default();
    fs::read_to_string("/proc/mounts")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (directory, kind) = (fields.next()?, fields.next()?);
            path.starts_with(directory).then(|| (directory.len(), kind.to_owned()))
        })
        .max()
        .unwrap_or_default()
        .1
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}
