//! URLs of MySQL servers: each is taken or refused with a typed error, and none shows its password.

use std::error::Error as _;

use store_core::{Error, ErrorChain};
use store_mysql::MysqlConnectionManager;

use super::{no_seeds, text};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "mysql_url",
    words: &[
        b"\n",
        b"mysql://",
        b"app",
        b":",
        b"@",
        b"/",
        b",",
        b"?",
        b"&",
        b"=",
        b"#",
        b"[::1]",
        b"[",
        b"%",
        b"%00",
        b"%2F",
        b"%FF",
        b"localhost:3306",
        b"65536",
        b"true",
        b"18446744073709551615",
        b"tcp_connect_timeout_ms=",
        b"tcp_keepalive_time_ms=",
        b"prefer_socket=",
        b"socket=",
        b"stmt_cache_size=",
        b"compress=",
        b"reset_connection=",
        b"check_health=",
        b"secure_auth=",
        b"max_allowed_packet=",
        b"require_ssl=",
        b"verify_ca=",
        b"pool_min=",
        b"pool_max=",
        b"xn--",
        "é".as_bytes(),
    ],
    seeds: no_seeds,
    max_len: 4 * 1024,
    max_memory: |len| (1 << 20) + 2_048 * len + len * len,
    test,
};

const PASSWORD: &str = "hunter2";

/// The lines are a URL; and the user, the hosts, and what follows, of another one.
fn test(input: &[u8]) -> String {
    let input = text(input);
    let mut lines = input.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (url, user, hosts, rest) = (line(), line(), line(), line());
    let outcome = connect(url);
    let secret = connect(&format!("mysql://{user}:{PASSWORD}@{hosts}/{rest}"));
    // It may be in the input, too.
    let is_elsewhere = [user, hosts, rest].iter().any(|part| part.contains('2'));
    // With one of these the password is none: the user ends what has a password.
    let is_password = !user.contains(['/', '?', '#', '\\']);
    if is_password && !is_elsewhere {
        assert!(!secret.contains(PASSWORD), "{secret}");
    }
    let kind = |outcome: &str| outcome.chars().take_while(|char| *char != '"').collect::<String>();
    format!("{}; {}", kind(&outcome), kind(&secret))
}

/// All that is said of a URL.
fn connect(url: &str) -> String {
    match MysqlConnectionManager::new(url) {
        Ok(manager) => format!("taken \"{manager:?}"),
        Err(error @ Error::InvalidOption { option: "URL", .. }) => {
            assert!(error.source().is_none(), "{error:?}");
            format!("{} \"{error:?}", ErrorChain(&error))
        }
        Err(other) => panic!("{other:?}"),
    }
}
