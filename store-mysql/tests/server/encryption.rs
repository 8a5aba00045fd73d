//! Encrypted connections, to a server whose certificate is of an authority of its own.

use std::fs;
use std::path::Path;

use chrono::{TimeDelta, Utc};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, SslOpts};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use store_core::{CleanupOptions, Error, Store};
use store_mysql::{MysqlOptions, MysqlStore, mysql};
use test_servers::{Database, Release, ServerOptions, private_server, shared_server};

/// An authority, and a certificate of it for 127.0.0.1, as files.
fn write_certificates(directory: &Path) {
    let mut authority = CertificateParams::new([]).expect("no names are right names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("there is randomness");
    let authority =
        CertifiedIssuer::self_signed(authority, authority_key).expect("it can be signed");
    let key = KeyPair::generate().expect("there is randomness");
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
        .and_then(|server| server.signed_by(&key, &authority))
        .expect("it can be signed");
    for (name, contents) in [
        ("ca.pem", authority.pem()),
        ("server.pem", certificate.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        fs::write(directory.join(name), contents).expect("the directory can be written to");
    }
}

#[test]
fn encrypted_connections_are_made_to_the_right_server_alone() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(Error::backend)?;
    write_certificates(directory.path());
    let file = |name: &str| directory.path().join(name).display().to_string();
    let options = ServerOptions::new()
        .with_arg(format!("--ssl-ca={}", file("ca.pem")))
        .with_arg(format!("--ssl-cert={}", file("server.pem")))
        .with_arg(format!("--ssl-key={}", file("server.key")));
    let Some(server) = private_server(options) else { return Ok(()) };
    let url = format!("{}/app", server.url());
    let encrypted = format!("{url}?root_cert_path={}", file("ca.pem"));
    let release = Release::from_env().expect("a release");
    if matches!(release, Release::MySql5_7 | Release::MySql8_0) {
        // These builds have none of the cipher suites of this side, which all have forward secrecy
        // by elliptic curves. The connection isn't made without encryption instead.
        let outcome = MysqlStore::connect(&encrypted);
        assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
        return Ok(());
    }

    let prepare = "CREATE DATABASE app; SET GLOBAL require_secure_transport = ON";
    server.execute(prepare).expect("a database");
    let pool = MysqlOptions::new().pool(&encrypted)?;
    MysqlStore::create_table(&pool)?;
    let store = MysqlOptions::new().with_cleanup(CleanupOptions::disabled()).build(pool)?;
    store.commit("token", b"data", Utc::now() + TimeDelta::hours(1))?;
    assert_eq!(store.find("token")?.as_deref(), Some(&b"data"[..]));
    // The driver's own options say the same, and the server says what it is.
    let opts = Opts::from_url(&url).map_err(Error::backend)?;
    let tls = SslOpts::default().with_root_cert_path(Some(directory.path().join("ca.pem")));
    let opts = OptsBuilder::from_opts(opts).prefer_socket(false).ssl_opts(Some(tls));
    assert_eq!(MysqlOptions::new().connect_with_opts([opts.clone()])?.all()?.len(), 1);
    let mut connection = Conn::new(opts).map_err(Error::backend)?;
    let cipher: Option<(String, String)> =
        connection.query_first("SHOW STATUS LIKE 'Ssl_cipher'").map_err(Error::backend)?;
    assert!(cipher.is_some_and(|(_, cipher)| !cipher.is_empty()), "it is encrypted");

    // A server with an unknown authority is refused, and never used unencrypted.
    for refused in [format!("{url}?danger_accept_invalid_certs=false"), url.clone()] {
        let outcome = MysqlStore::connect(&refused);
        assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{refused}: {outcome:?}");
    }
    let elsewhere = encrypted.replace("127.0.0.1", "localhost");
    let outcome = MysqlStore::connect(&elsewhere);
    assert!(
        matches!(outcome, Err(Error::Unreachable { .. })),
        "it is for another name: {outcome:?}"
    );
    // A server that can't encrypt is no way round it.
    let plain = Database::new();
    let is_own = shared_server().is_some_and(|shared| shared.private().is_some());
    if is_own && release == Release::MariaDb {
        let outcome =
            MysqlStore::connect(&format!("{}?root_cert_path={}", plain.url(), file("ca.pem")));
        assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
    }
    Ok(())
}
