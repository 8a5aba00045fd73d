//! Data directories: made once for a version, and copied for every server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{Installation, Product, packages, program};
use crate::Result;

/// Changes where templates are made in another way, so that those of before aren't used.
const RECIPE: u32 = 1;

/// Time zones that can be a server's or a session's. All of them would take longer to load than the rest.
const ZONES: [&str; 4] = ["UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin"];

/// Options that keep data directories small. They belong to the data, so servers must get them as well.
pub(super) fn options(product: Product) -> &'static [&'static str] {
    match product {
        Product::MariaDb => &["--innodb-log-file-size=4M"],
        Product::MySql => {
            &["--innodb-redo-log-capacity=8M", "--innodb-doublewrite=OFF", "--disable-log-bin"]
        }
    }
}

/// Fills a data directory that doesn't exist yet: root has no password, and there is no other
/// database than the server's own.
pub(super) fn copy(installation: &Installation, data: &Path) -> Result {
    let template = template(installation)?;
    copy_directory(&template, data)
        .map_err(|error| format!("{} can't be copied: {error}", template.display()).into())
}

/// The template, made by this process if it is the first. Others wait for it.
fn template(installation: &Installation) -> Result<PathBuf> {
    let product = installation.product();
    let name = format!("data-{}-{}-{RECIPE}", product.name(), installation.version());
    packages::make_once(&name, |place| match product {
        Product::MariaDb => make_mariadb(installation, place),
        Product::MySql => make_mysql(installation, place),
    })
}

fn make_mariadb(installation: &Installation, place: &Path) -> Result {
    let data = place.join("data");
    let mut install = installation.program("mariadb-install-db")?;
    install.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
    install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    install.arg("--skip-name-resolve").args(options(Product::MariaDb)).args(installation.places());
    if rustix::process::getuid().is_root() {
        install.arg("--user=root");
    }
    program::run(&mut install)?;

    let zones = place.join("zones.sql");
    fs::write(&zones, zones_sql(installation)?)?;
    let mut server = installation.server(None)?;
    server.arg("--bootstrap").arg(format!("--datadir={}", data.display()));
    server.args(options(Product::MariaDb)).stdin(Stdio::from(File::open(&zones)?));
    program::run(&mut server)?;
    Ok(fs::remove_file(zones)?)
}

fn make_mysql(installation: &Installation, place: &Path) -> Result {
    let zones = place.join("zones.sql");
    fs::write(&zones, zones_sql(installation)?)?;
    let mut server = installation.server(None)?;
    server.arg("--initialize-insecure").arg(format!("--init-file={}", zones.display()));
    server.arg(format!("--datadir={}", place.join("data").display()));
    program::run(server.args(options(Product::MySql)))?;
    Ok(fs::remove_file(zones)?)
}

/// Statements that fill the tables of time zones, one a line.
fn zones_sql(installation: &Installation) -> Result<String> {
    let mut sql = "USE mysql;\n".to_owned();
    for zone in ZONES {
        let file = installation.zones().join(zone);
        let mut program = installation.program(installation.zones_program())?;
        let output = program::read(program.arg(file).arg(zone))?;
        for statement in output.split(";\n").map(str::trim) {
            // The others prepare for clusters, with what a server doesn't take while it is made.
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
