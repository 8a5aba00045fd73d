//! Parses URLs that name one server or several.

use mysql::{Opts, UrlError};
use store_core::Error;

/// The options of each server of a URL: `mysql://user:password@one:3306,two/database?parameters`.
///
/// A list of hosts, as the MySQL connectors of other languages take it; the driver's parser takes
/// one.
pub(crate) fn servers(url: &str) -> Result<Vec<Opts>, Error> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("it has no \"://\""))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    // A password may contain an @ by mistake, a host never.
    let (user, hosts) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    hosts
        .split(',')
        .map(|host| Opts::from_url(&format!("{scheme}://{user}{host}{tail}")).map_err(from_url))
        .collect()
}

fn from_url(error: UrlError) -> Error {
    match error {
        // Only the name of a parameter: its value may be a secret.
        UrlError::InvalidValue(parameter, _) => {
            invalid(&format!("its parameter {parameter:?} has a value that can't be used"))
        }
        UrlError::UnknownParameter(parameter) => {
            invalid(&format!("the driver knows no parameter {parameter:?}"))
        }
        UrlError::FeatureRequired(_, parameter) => invalid(&format!(
            "its parameter {parameter:?} asks for TLS, for which store-mysql needs its feature rustls"
        )),
        UrlError::UnsupportedScheme(scheme) => {
            invalid(&format!("its scheme is {scheme:?}, and not \"mysql\""))
        }
        UrlError::ParseError(error) => invalid(&error.to_string()),
        _ => invalid("the driver can't read it"),
    }
}

pub(crate) fn invalid(problem: &str) -> Error {
    Error::InvalidOption { option: "URL", problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> Result<Vec<String>, Error> {
        let address =
            |opts: &Opts| format!("{}:{}", opts.get_ip_or_hostname(), opts.get_tcp_port());
        Ok(servers(url)?.iter().map(address).collect())
    }

    #[test]
    fn url_names_one_server_or_several() -> Result<(), Error> {
        assert_eq!(addresses("mysql://localhost/app")?, ["localhost:3306"]);
        assert_eq!(
            addresses("mysql://app:pw@one:3307,two,[::1]:3308/app?tcp_connect_timeout_ms=500")?,
            ["one:3307", "two:3306", "[::1]:3308"]
        );
        let both = servers("mysql://app:p%40w@one,two/app")?;
        for opts in both {
            assert_eq!((opts.get_user(), opts.get_pass()), (Some("app"), Some("p@w")));
            assert_eq!(opts.get_db_name(), Some("app"));
        }
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        for (url, named) in [
            ("localhost/app", "://"),
            ("postgres://app:hunter2@localhost/app", "postgres"),
            ("mysql://app:hunter2@localhost/app?pool=7", "pool"),
            ("mysql://app:hunter2@localhost/app?stmt_cache_size=hunter2", "stmt_cache_size"),
            ("mysql://app:hunter2@one,,two/app", "host"),
            ("mysql://app:hunter2@one:port/app", "port"),
        ] {
            let error = servers(url).expect_err(url).to_string();
            assert!(error.contains(named), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
