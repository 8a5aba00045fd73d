//! Data directories: made once for each version, and copied for every server.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::getuid;

use crate::{Installation, Product, Release, Result, packages, program};

/// Changes with how templates are made, so that older ones aren't used.
const RECIPE: u32 = 1;

/// Time zones that can be a server's or a session's. All of them would take longer to load than the
/// rest.
const ZONES: [&str; 4] = ["UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin"];

/// Options that keep data directories small. They belong to the data, so servers must get them as
/// well.
pub(crate) fn options(release: Release) -> &'static [&'static str] {
    match release {
        Release::MariaDb | Release::MariaDb10_5 | Release::MariaDb11_8 => {
            &["--innodb-log-file-size=4M"]
        }
        Release::MySql => {
            &["--innodb-redo-log-capacity=8M", "--innodb-doublewrite=OFF", "--disable-log-bin"]
        }
        Release::MySql8_0 => {
            &["--innodb-log-file-size=4M", "--innodb-doublewrite=OFF", "--disable-log-bin"]
        }
        // Its default is a quarter of what the hardened table holds.
        Release::MySql5_7 => &[
            "--innodb-log-file-size=4M",
            "--innodb-doublewrite=OFF",
            "--disable-log-bin",
            "--max-allowed-packet=64M",
        ],
    }
}

/// Makes a data directory in which root has no password, and which has no databases but the
/// server's own.
pub(crate) fn copy(installation: &Installation, data: &Path) -> Result {
    let (release, version) = (installation.release(), installation.version());
    let name = format!("data-{}-{version}-{RECIPE}", release.name());
    let template = packages::make_once(&name, |directory| make(installation, directory))?;
    copy_directory(&template.join("data"), data)
        .map_err(|error| format!("{} can't be copied: {error}", template.display()).into())
}

/// Makes the template, as `data` in a directory.
fn make(installation: &Installation, directory: &Path) -> Result {
    let options = options(installation.release());
    let data = format!("--datadir={}", directory.join("data").display());
    let zones = directory.join("zones.sql");
    fs::write(&zones, zones_sql(installation)?)?;
    let mut server = installation.server(None)?;
    server.arg(&data).args(options);
    match installation.product() {
        Product::MariaDb => {
            let mut install = installation.program("mariadb-install-db")?;
            install.args(["--no-defaults", &data, "--auth-root-authentication-method=normal"]);
            // Forced, because its look at the host name fails where the copy needs its loader.
            install.args(["--skip-test-db", "--skip-name-resolve", "--force"]);
            install.args(options).args(installation.directory_arguments());
            if getuid().is_root() {
                install.arg("--user=root");
            }
            // It would start the server of a copy without the copy's loader.
            let start = directory.join("start");
            write_script(&start, &installation.program("mariadbd")?)?;
            program::run(install.env("MYSQLD_BOOTSTRAP", &start))?;
            fs::remove_file(start)?;
            server.arg("--bootstrap").stdin(Stdio::from(File::open(&zones)?));
        }
        Product::MySql => {
            server.arg("--initialize-insecure").arg(format!("--init-file={}", zones.display()));
        }
    }
    program::run(&mut server)?;
    Ok(fs::remove_file(zones)?)
}

/// Writes a script that runs a command with further arguments.
fn write_script(path: &Path, command: &Command) -> Result {
    let mut script = "#!/bin/sh\nexec".to_owned();
    for word in [command.get_program()].into_iter().chain(command.get_args()) {
        let word = word.to_str().ok_or("a path isn't UTF-8")?;
        write!(script, " '{}'", word.replace('\'', r"'\''"))?;
    }
    script.push_str(" \"$@\"\n");
    fs::write(path, script)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
}

/// Returns statements that fill the tables of time zones, one a line.
fn zones_sql(installation: &Installation) -> Result<String> {
    let mut sql = "USE mysql;\n".to_owned();
    for zone in ZONES {
        let file = installation.zones().join(zone);
        let mut program = installation.program(installation.zones_program())?;
        let output = program::read(program.arg(file).arg(zone))?;
        for statement in output.split(";\n").map(str::trim) {
            // The others prepare for clusters, with statements that a bootstrap refuses.
            if statement.starts_with("INSERT INTO") || statement.starts_with("SET @time_zone_id") {
                sql.extend(statement.lines());
                sql.push_str(";\n");
            }
        }
    }
    Ok(sql)
}

fn copy_directory(from: &Path, to: &Path) -> Result {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
