//! Parses URLs that name one server or several.

use mysql::{Opts, OptsBuilder, SslOpts, UrlError};
use store_core::Error;

/// The parameter of MySQL's own programs for encryption, by its two names.
const SSL_MODE: [&str; 2] = ["ssl-mode", "ssl_mode"];

/// The options of each server of a URL: `mysql://user:password@one:3306,two/database?parameters`.
///
/// A list of hosts, as the MySQL connectors of other languages take it; the driver's parser takes
/// one. And `ssl-mode`, as clouds hand it out, which the driver doesn't know.
pub(crate) fn servers(url: &str) -> Result<Vec<Opts>, Error> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("it has no \"://\""))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    // A password may contain an @ by mistake, a host never.
    let (user, hosts) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    let (tail, mode) = take_ssl_mode(tail)?;
    let parse = |host| -> Result<Opts, Error> {
        let url = format!("{scheme}://{user}{host}{tail}");
        let opts = Opts::from_url(&url).map_err(from_url)?;
        match mode {
            Some(mode) => mode.apply(opts),
            None => Ok(opts),
        }
    };
    hosts.split(',').map(parse).collect()
}

/// What `ssl-mode` asks for.
#[derive(Clone, Copy)]
enum SslMode {
    Disabled,
    /// Encryption with whoever answers.
    Required,
    /// Encryption with a server whose certificate is of a known authority.
    VerifyCa,
    /// Encryption with the server that the URL names.
    VerifyIdentity,
}

impl SslMode {
    fn from_name(name: &str) -> Result<Self, Error> {
        let problem = match name.to_ascii_uppercase().as_str() {
            "DISABLED" => return Ok(Self::Disabled),
            "REQUIRED" => return Ok(Self::Required),
            "VERIFY_CA" => return Ok(Self::VerifyCa),
            "VERIFY_IDENTITY" => return Ok(Self::VerifyIdentity),
            "PREFERRED" => {
                "its ssl-mode PREFERRED would use no encryption where somebody in between refuses \
                 it: choose REQUIRED, VERIFY_CA, VERIFY_IDENTITY or DISABLED"
            }
            _ => "its ssl-mode is none of DISABLED, REQUIRED, VERIFY_CA and VERIFY_IDENTITY",
        };
        Err(invalid(problem))
    }

    /// Adds the mode to what the driver's own parameters say.
    fn apply(self, opts: Opts) -> Result<Opts, Error> {
        let own = opts.get_ssl_opts().cloned();
        let ssl = match self {
            Self::Disabled if own.is_some() => {
                return Err(invalid("it asks for TLS and for ssl-mode DISABLED"));
            }
            Self::Disabled => None,
            // With an authority it is the same as the next, as in MySQL's own programs.
            Self::Required if own.as_ref().is_none_or(|own| own.root_cert_path().is_none()) => {
                Some(own.unwrap_or_default().with_danger_accept_invalid_certs(true))
            }
            Self::Required | Self::VerifyCa => {
                Some(own.unwrap_or_default().with_danger_skip_domain_validation(true))
            }
            Self::VerifyIdentity => Some(own.unwrap_or_else(SslOpts::default)),
        };
        Ok(OptsBuilder::from_opts(opts).ssl_opts(ssl).into())
    }
}

/// Takes the parameter `ssl-mode` out of what follows the hosts.
fn take_ssl_mode(tail: &str) -> Result<(String, Option<SslMode>), Error> {
    let Some((path, query)) = tail.split_once('?') else { return Ok((tail.to_owned(), None)) };
    let mut mode = None;
    let mut rest = Vec::new();
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some((name, value)) if SSL_MODE.contains(&name) => {
                mode = Some(SslMode::from_name(value)?);
            }
            _ => rest.push(parameter),
        }
    }
    let separator = if rest.is_empty() { "" } else { "?" };
    Ok((format!("{path}{separator}{}", rest.join("&")), mode))
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
    fn ssl_mode_is_taken_by_both_names() -> Result<(), Error> {
        let ssl = |url: &str| Ok::<_, Error>(servers(url)?[0].get_ssl_opts().cloned());
        assert_eq!(ssl("mysql://db/app?ssl-mode=DISABLED")?, None);
        let required = ssl("mysql://db/app?tcp_connect_timeout_ms=500&ssl-mode=REQUIRED")?;
        assert!(required.is_some_and(|ssl| ssl.accept_invalid_certs()));
        let required = ssl("mysql://db/app?ssl_mode=required&root_cert_path=ca.pem")?;
        assert!(
            required
                .is_some_and(|ssl| { !ssl.accept_invalid_certs() && ssl.skip_domain_validation() })
        );
        let verified = ssl("mysql://db/app?ssl_mode=VERIFY_CA")?;
        assert!(verified.is_some_and(|ssl| ssl.skip_domain_validation()));
        assert_eq!(ssl("mysql://db/app?ssl-mode=VERIFY_IDENTITY")?, Some(SslOpts::default()));
        assert_eq!(servers("mysql://one,two/app?ssl-mode=REQUIRED")?.len(), 2);
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
            ("mysql://app:hunter2@one/app?ssl-mode=PREFERRED", "PREFERRED"),
            ("mysql://app:hunter2@one/app?ssl-mode=hunter2", "ssl-mode"),
            ("mysql://app:hunter2@one/app?ssl-mode=DISABLED&root_cert_path=ca", "DISABLED"),
        ] {
            let error = servers(url).expect_err(url).to_string();
            assert!(error.contains(named), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
