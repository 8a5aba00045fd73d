//! The smallest program of the README, in a crate of its own, as somebody who copies it has it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use xshell::Shell;

use super::Packages;
use crate::Result;
use crate::serving_program::Running;

/// The section that has the program.
const SECTION: &str = "## The smallest program\n";

const NAME: &str = "smallest-program";

/// Where it listens.
const ADDRESS: &str = "127.0.0.1:4000";

/// What doesn't answer for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a crate of the program and the dependencies that the README states. It listens at another
/// address, which nobody has.
pub(super) fn make(
    shell: &Shell,
    root: &Path,
    packages: &Packages<'_>,
    address: SocketAddr,
) -> Result<PathBuf> {
    let readme = fs::read_to_string(root.join("README.md"))?;
    let (dependencies, program) = (block(&readme, "toml")?, block(&readme, "rust")?);
    if !program.contains(ADDRESS) {
        return Err(format!("README.md: the smallest program isn't at {ADDRESS}").into());
    }
    let program = program.replace(ADDRESS, &address.to_string());
    packages.make_crate(shell, NAME, dependencies, &program)
}

/// Returns an address on which nobody listens.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Runs the program, which was built, and visits it twice.
pub(super) fn visit(shell: &Shell, target: &Path, address: SocketAddr) -> Result {
    // Its database is made where it runs.
    let directory = shell.create_temp_dir()?;
    let program = target.join("debug").join(format!("{NAME}{}", env::consts::EXE_SUFFIX));
    let mut running = Running(Command::new(program).current_dir(directory.path()).spawn()?);
    let first = get(&mut running, address, "")?;
    let cookie = first.split_once("Set-Cookie: ").and_then(|(_, rest)| rest.split(';').next());
    let cookie = cookie.ok_or_else(|| format!("the first visit gets no cookie: {first}"))?;
    let second = get(&mut running, address, cookie)?;
    if !first.ends_with("\r\n\r\nvisit 1") || !second.ends_with("\r\n\r\nvisit 2") {
        return Err(format!("the smallest program doesn't count: {first}\n{second}").into());
    }
    Ok(())
}

/// Returns all that comes back for a GET, once the program listens.
fn get(running: &mut Running, address: SocketAddr, cookie: &str) -> Result<String> {
    let started = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) => {
                if let Some(status) = running.0.try_wait()? {
                    return Err(format!("the smallest program has ended: {status}").into());
                }
                if started.elapsed() > PATIENCE {
                    return Err(error.into());
                }
            }
        }
        thread::sleep(Duration::from_millis(10));
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

/// The first block of code in this language in the section.
fn block<'a>(readme: &'a str, language: &str) -> Result<&'a str> {
    let missing = || format!("README.md: no block of {language} below {SECTION:?}");
    let section = readme.split_once(SECTION).ok_or_else(missing)?.1;
    let section = section.split("\n## ").next().unwrap_or_default();
    // The attributes of doctests follow the language.
    let after = section.split_once(&format!("```{language}")).ok_or_else(missing)?.1;
    let code = after.split_once('\n').ok_or_else(missing)?.1;
    Ok(code.split_once("```").ok_or_else(missing)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_the_section() {
        let readme = "```rust\nno\n```\n## The smallest program\n```toml\na = 1\n```\n```rust,no_run\nyes\n```\n## Next\n```sh\nls\n```\n";
        assert_eq!(block(readme, "toml").unwrap_or_default(), "a = 1\n");
        assert_eq!(block(readme, "rust").unwrap_or_default(), "yes\n");
        assert!(block(readme, "sh").is_err());
    }
}
