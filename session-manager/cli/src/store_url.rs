//! Where the sessions are, as `--store` says it.

use std::env;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// Where a password for MySQL is looked for that isn't in the URL: the variable of MySQL's own
/// programs.
const PASSWORD: &str = "MYSQL_PWD";

/// A store that can be opened. Displayed without a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    Sqlite(PathBuf),
    Ql(PathBuf),
    /// With the password, wherever it came from.
    Mysql(String),
}

impl StoreUrl {
    /// Reads a URL, and the password that it may lack. The error doesn't repeat what was read,
    /// which can have a password in it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("mysql://") {
            return Ok(Self::Mysql(with_password(text, env::var(PASSWORD).ok().as_deref())));
        }
        let (kind, path) = match text.split_once(':') {
            Some(("sqlite", path)) => (Self::Sqlite as fn(_) -> _, path),
            Some(("ql", path)) => (Self::Ql as fn(_) -> _, path),
            _ => return Err("--store begins with sqlite:, ql: or mysql://"),
        };
        if path.is_empty() {
            return Err("--store names no file after the colon");
        }
        // Other programs write three slashes before a path that begins at the root.
        if path.starts_with("//") && !path.starts_with("///") {
            return Err("--store takes the file right after the colon, as sqlite:app.db");
        }
        Ok(kind(PathBuf::from(path)))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Ql(path) => write!(f, "ql:{}", path.display()),
            Self::Mysql(url) => write!(f, "mysql://{}", place(url)),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the hosts and the database of a URL, and nothing that could be a password if the URL was
/// put together wrongly: not what is before an @, nor a port that isn't a number, nor parameters.
fn place(url: &str) -> String {
    const HIDDEN: &str = "...";
    let Some((_, place)) = url.rsplit_once('@') else { return HIDDEN.to_owned() };
    let place = place.split(['?', '#']).next().unwrap_or_default();
    let (hosts, database) = place.split_at(place.find('/').unwrap_or(place.len()));
    let is_host = |host: &str| {
        let port = host.rsplit_once(':').map(|(_, port)| port);
        port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let hosts = hosts.split(',').map(|host| if is_host(host) { host } else { HIDDEN });
    format!("{}{database}", hosts.collect::<Vec<_>>().join(","))
}

/// Puts a password into a URL that has a user and no password.
fn with_password(url: &str, password: Option<&str>) -> String {
    let Some(password) = password else { return url.to_owned() };
    let after_scheme = "mysql://".len();
    let end = url[after_scheme..].find(['/', '?', '#']).map_or(url.len(), |at| at + after_scheme);
    let user = match url[after_scheme..end].rfind('@') {
        Some(at) if !url[after_scheme..after_scheme + at].contains(':') => after_scheme + at,
        _ => return url.to_owned(),
    };
    let mut complete = format!("{}:", &url[..user]);
    for byte in password.bytes() {
        let _ = write!(complete, "%{byte:02X}");
    }
    complete + &url[user..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_put_where_there_is_none() {
        for (url, complete) in [
            ("mysql://app@one,two:3306/db?x=@", "mysql://app:%61%3A%40@one,two:3306/db?x=@"),
            ("mysql://app@one", "mysql://app:%61%3A%40@one"),
            ("mysql://app:own@one/db", "mysql://app:own@one/db"),
            ("mysql://one/db", "mysql://one/db"),
        ] {
            assert_eq!(with_password(url, Some("a:@")), complete);
            assert_eq!(with_password(url, None), url);
        }
    }

    #[test]
    fn no_password_is_displayed() {
        for (url, shown) in [
            ("mysql://app:s3cret@one/db?password=s3cret", "mysql://one/db"),
            ("mysql://app:s3cret@x@one/db", "mysql://one/db"),
            ("mysql://app@one:3306,two:s3cret/db", "mysql://one:3306,.../db"),
            ("mysql://app:s3cret/db", "mysql://..."),
            ("mysql://app:s3cret@one#s3cret", "mysql://one"),
        ] {
            let url = StoreUrl::parse(url).expect("a URL");
            assert_eq!(format!("{url} {url:?}"), format!("{shown} {shown}"));
        }
    }

    #[test]
    fn what_is_no_store_is_refused_without_repeating_it() {
        for text in ["s3cret", "mysql:app:s3cret@one/db", "sqlite:", "sqlite://app.db", "", "ql:"] {
            let refused = StoreUrl::parse(text).expect_err(text);
            assert!(refused.starts_with("--store ") && !refused.contains("s3cret"), "{refused}");
        }
        assert_eq!(StoreUrl::parse("sqlite:a:b").ok(), Some(StoreUrl::Sqlite("a:b".into())));
        assert_eq!(StoreUrl::parse("ql:///a").ok(), Some(StoreUrl::Ql("///a".into())));
    }
}
