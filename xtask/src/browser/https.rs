//! HTTPS in front of a server that speaks plain HTTP, with certificates of an own authority.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::Result;

/// A proxy, whose threads end with the process. It answers each request on a connection of its own.
pub(super) struct HttpsProxy {
    pub(super) port: u16,
}

impl HttpsProxy {
    /// Starts it in front of the server with this address. `elsewhere` is what it answers by itself
    /// to requests for the host of that name: a page. The authority's certificate is written to a
    /// file.
    pub(super) fn start(
        server: &str,
        hosts: &[&str],
        elsewhere: (&'static str, impl Fn(u16) -> String),
        authority_file: &Path,
    ) -> Result<Self> {
        let configuration = Arc::new(configure(hosts, authority_file)?);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let server = server.to_owned();
        let (host, page) = elsewhere;
        let page: Arc<str> = page(port).into();
        thread::Builder::new().name("https".to_owned()).spawn(move || {
            for stream in listener.incoming().map_while(io::Result::ok) {
                let (configuration, server) = (Arc::clone(&configuration), server.clone());
                let page = Arc::clone(&page);
                // Browsers open connections in advance and send nothing on them.
                thread::spawn(move || {
                    // What a browser has given up is seen by the check that waits for it.
                    let _ = answer(stream, configuration, &server, (host, &page));
                });
            }
        })?;
        Ok(Self { port })
    }
}

fn configure(hosts: &[&str], authority_file: &Path) -> Result<ServerConfig> {
    let mut authority = CertificateParams::new([])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    fs::write(authority_file, authority.pem())?;
    let key = KeyPair::generate()?;
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let certificate = CertificateParams::new(hosts)?.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let configuration =
        ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions()?;
    let chain = vec![certificate.der().clone()];
    Ok(configuration.with_no_client_auth().with_single_cert(chain, key)?)
}

fn answer(
    stream: TcpStream,
    configuration: Arc<ServerConfig>,
    server: &str,
    (elsewhere, page): (&str, &str),
) -> Result {
    let mut browser =
        BufReader::new(StreamOwned::new(ServerConnection::new(configuration)?, stream));
    let (request, host) = read_request(&mut browser)?;
    let mut response = Vec::new();
    if host.starts_with(elsewhere) {
        write!(
            response,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{page}",
            page.len()
        )?;
    } else {
        let mut server = TcpStream::connect(server)?;
        server.write_all(&request)?;
        server.read_to_end(&mut response)?;
    }
    let browser = browser.get_mut();
    browser.write_all(&response)?;
    browser.conn.send_close_notify();
    browser.flush()?;
    Ok(browser.sock.shutdown(Shutdown::Write)?)
}

/// Reads a request, and returns it with the demand to close the connection after it, and its host.
fn read_request<S: Read>(browser: &mut BufReader<S>) -> Result<(Vec<u8>, String)> {
    let (mut request, mut host, mut length) = (Vec::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        if browser.read_line(&mut line)? == 0 {
            return Err("the browser has closed the connection".into());
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "connection" => continue,
            "content-length" => length = value.trim().parse()?,
            "host" => value.trim().clone_into(&mut host),
            _ if line == "\r\n" => break,
            _ => {}
        }
        request.extend(line.into_bytes());
    }
    request.extend(b"Connection: close\r\n\r\n");
    let start = request.len();
    request.resize(start + length, 0);
    browser.read_exact(&mut request[start..])?;
    Ok((request, host))
}
