//! `cargo xtask browser`: what only a browser can show, checked in Chromium on the demo.

#[cfg(feature = "browser")]
mod accessibility;

mod axe;

#[cfg(feature = "browser")]
mod checks;

#[cfg(feature = "browser")]
mod chromium;

#[cfg(feature = "browser")]
mod device_bound;

#[cfg(feature = "browser")]
mod experiments;

#[cfg(feature = "browser")]
mod https;

#[cfg(feature = "browser")]
mod picture;

#[cfg(feature = "browser")]
mod servers;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use xshell::{Shell, cmd};

use crate::{Result, build_programs, flags, say};

/// Names of the program, besides the path that the environment variable CHROME has.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

const HOW_TO_GET_IT: &str = "the browser checks need Chromium, and there is none.
    Debian: apt-get install chromium    Fedora: dnf install chromium    macOS: brew install --cask chromium
    Where it is installed already, say where: CHROME=/path/to/chromium cargo xtask browser
    Where CI is set and this is root on Debian, it is installed without asking.";

/// Runs the checks; `start` is where the person is.
pub(crate) fn run(shell: &Shell, start: &Path, flags: flags::Browser) -> Result {
    if find()?.is_none() {
        install(shell, "chromium", HOW_TO_GET_IT)?;
    }
    let chromium = find()?.ok_or("the package chromium brought no program of that name")?;
    let axe = match axe::find(shell) {
        Some(axe) => axe,
        None if axe::has_npm() => axe::download(shell)?,
        None => {
            install(shell, "npm", axe::HOW_TO_GET_IT)?;
            axe::download(shell)?
        }
    };
    let screenshot = flags.screenshot.map(|path| start.join(path));
    // Before the build, which puts another file in its place.
    let xtask = env::current_exe()?;
    build_programs(shell)?;
    check(shell, &xtask, &chromium, &axe, screenshot.as_deref())
}

#[cfg(feature = "browser")]
fn check(
    _: &Shell,
    xtask: &Path,
    chromium: &Path,
    axe: &Path,
    screenshot: Option<&Path>,
) -> Result {
    let program = |name: &str| xtask.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX));
    let demo = program("sessions-demo");
    if let Some(path) = screenshot {
        return picture::save(chromium, &demo, path);
    }
    checks::run(chromium, &demo, axe)?;
    device_bound::run(chromium, &program("examples/device_bound"))
}

/// Runs the task that was built with the checks. They are a feature, because what they are built on
/// takes a minute to compile, which nobody should wait who wants to see the demo.
#[cfg(not(feature = "browser"))]
fn check(
    shell: &Shell,
    xtask: &Path,
    chromium: &Path,
    _: &Path,
    screenshot: Option<&Path>,
) -> Result {
    let screenshot = screenshot.map(|path| [Path::new("--screenshot"), path]);
    let screenshot = screenshot.iter().flatten();
    cmd!(shell, "{xtask} browser {screenshot...}").env("CHROME", chromium).quiet().run()?;
    Ok(())
}

/// Returns what keeps the checks from being run here, for a person. In CI nothing does.
pub(crate) fn missing(shell: &Shell) -> Result<Option<&'static str>> {
    Ok(if env::var_os("CI").is_some() {
        None
    } else if find()?.is_none() {
        Some(HOW_TO_GET_IT)
    } else if axe::find(shell).is_none() && !axe::has_npm() {
        Some(axe::HOW_TO_GET_IT)
    } else {
        None
    })
}

/// The program, if there is one.
fn find() -> Result<Option<PathBuf>> {
    if let Some(path) = env::var_os("CHROME").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            return Err(format!("CHROME is {}, where no program is", path.display()).into());
        }
        return Ok(Some(path));
    }
    Ok(NAMES.iter().find_map(|name| on_path(name)))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let directories = env::var_os("PATH")?;
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&directories)
        .map(|directory| directory.join(&file))
        .find(|path| path.is_file())
}

/// Installs a package of Debian, if this is root in CI, where nobody is surprised by that.
fn install(shell: &Shell, package: &str, how_to_get_it: &str) -> Result {
    let is_debian = Path::new("/etc/debian_version").exists() && on_path("apt-get").is_some();
    if env::var_os("CI").is_none() || !is_debian || !is_root() {
        return Err(how_to_get_it.into());
    }
    say(&format!("CI is set, and there is no {package}: installing the package"));
    let _frontend = shell.push_env("DEBIAN_FRONTEND", "noninteractive");
    cmd!(shell, "apt-get update --quiet").quiet().run()?;
    cmd!(shell, "apt-get install --quiet --yes --no-install-recommends {package}").quiet().run()?;
    Ok(())
}

/// Chromium's sandbox refuses to work for root, too.
fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
