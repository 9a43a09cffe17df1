//! TLS at the edge, as seen by a client that checks certificates: OpenSSL's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslMethod, SslStream};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use super::server::Server;
use super::setup::shop;
use crate::program::mashang;

const PATIENCE: Duration = Duration::from_secs(60);
const TLS: [&str; 4] = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];

/// A certificate of this machine that signs itself, in PEM, and its key.
pub(super) fn pair() -> (X509, Vec<u8>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut name = X509NameBuilder::new().expect("memory");
    name.append_entry_by_text("CN", "door").expect("a name");
    let name = name.build();
    let mut serial = BigNum::new().expect("memory");
    serial.rand(128, MsbOption::MAYBE_ZERO, false).expect("a number");
    let mut certificate = X509Builder::new().expect("memory");
    certificate.set_version(2).expect("X.509 v3");
    certificate.set_serial_number(&serial.to_asn1_integer().expect("a number")).expect("a number");
    certificate.set_subject_name(&name).expect("a name");
    certificate.set_issuer_name(&name).expect("a name");
    certificate.set_pubkey(&key).expect("a key");
    certificate.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("a time");
    certificate.set_not_after(&Asn1Time::days_from_now(2).expect("a time")).expect("a time");
    let place = SubjectAlternativeName::new().ip("127.0.0.1").build(&certificate.x509v3_context(None, None));
    certificate.append_extension(place.expect("an address")).expect("an extension");
    certificate.sign(&key, MessageDigest::sha256()).expect("it is signed");
    (certificate.build(), key.private_key_to_pem_pkcs8().expect("PEM"))
}

/// Puts a file in another one's place, as a whole.
fn put(dir: &Path, name: &str, bytes: &[u8]) {
    let new = dir.join("new");
    std::fs::write(&new, bytes).expect("a file");
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    std::fs::rename(new, dir.join(name)).expect("a file");
}

fn put_pair(dir: &Path, (certificate, key): &(X509, Vec<u8>)) {
    put(dir, "key.pem", key);
    put(dir, "cert.pem", &certificate.to_pem().expect("PEM"));
}

fn tcp(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.http.strip_prefix("http://").expect("an address")).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A connection of a client that trusts only this certificate, if the handshake succeeds.
fn connect(server: &Server, trusted: &X509) -> Option<SslStream<TcpStream>> {
    let mut store = X509StoreBuilder::new().expect("memory");
    store.add_cert(trusted.clone()).expect("a certificate");
    let mut connector = SslConnector::builder(SslMethod::tls()).expect("memory");
    connector.set_cert_store(store.build());
    connector.set_alpn_protos(b"\x02h2\x08http/1.1").expect("protocols");
    connector.build().connect("127.0.0.1", tcp(server)).ok()
}

/// Sends an event and ends the connection; the answer.
fn say(mut stream: SslStream<TcpStream>, id: &str) -> String {
    let event = format!("{{\"id\":\"{id}\",\"action\":\"visit\",\"shopper\":\"u1\"}}");
    let head = super::setup::head(event.len()).replace("Host: localhost", "Host: localhost\r\nConnection: close");
    stream.write_all((head + &event).as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn new_certificate_is_served_without_restart() {
    let (first, second) = (pair(), pair());
    let dir = shop();
    put_pair(dir.path(), &first);
    let server = Server::start(dir.path(), &TLS);
    let kept = connect(&server, &first.0).expect("it is trusted");
    assert_eq!(kept.ssl().selected_alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(say(connect(&server, &first.0).expect("it is trusted"), "a").starts_with("HTTP/1.1 202"));
    assert!(connect(&server, &second.0).is_none(), "it is another's");
    put_pair(dir.path(), &second);
    let until = Instant::now() + PATIENCE;
    let new = loop {
        if let Some(stream) = connect(&server, &second.0) {
            break stream;
        }
        assert!(Instant::now() < until, "the new one does not hold");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(say(new, "b").starts_with("HTTP/1.1 202"));
    assert!(connect(&server, &first.0).is_none(), "the old one does not hold any more");
    assert!(say(kept, "c").starts_with("HTTP/1.1 202"), "an open connection stays");
    // A broken certificate, and one whose key is another's.
    put(dir.path(), "cert.pem", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n");
    server.hears("the certificate stays as it was");
    assert!(say(connect(&server, &second.0).expect("it holds"), "d").starts_with("HTTP/1.1 202"));
    put(dir.path(), "cert.pem", &first.0.to_pem().expect("PEM"));
    assert!(server.hears("the certificate stays as it was").contains("key.pem: is no key for the certificate"));
    assert!(say(connect(&server, &second.0).expect("it holds"), "e").starts_with("HTTP/1.1 202"));
    let (status, told) = server.stop();
    assert!(status.success(), "{told}");
}

#[test]
fn failed_tls_handshakes_are_closed_and_counted() {
    let own = pair();
    let dir = shop();
    put_pair(dir.path(), &own);
    let server = Server::start(dir.path(), &TLS);
    let mut plain = tcp(&server);
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // A silent client has the same timeout as others.
    let mut silent = tcp(&server);
    assert_eq!(silent.read(&mut [0; 1]).expect("an end"), 0);
    let cut = || server.metric("mashang_http_cut_total{reason=\"tls\"}");
    let until = Instant::now() + PATIENCE;
    while cut() != 2 {
        assert!(Instant::now() < until, "{} are counted", cut());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn wrong_settings_of_a_port_are_reported() {
    let dir = shop();
    put_pair(dir.path(), &pair());
    std::fs::write(dir.path().join("open.pem"), pair().1).expect("a file");
    std::fs::set_permissions(dir.path().join("open.pem"), std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let check = |more: &[&str], wanted: &str| {
        let good = ["serve", "--data", "data", "--rules", "rules.toml", "--admin", "127.0.0.1:0", "--udp", "none"];
        let http: &[&str] = if more.contains(&"--http") { &[] } else { &["--http", "127.0.0.1:0"] };
        let output = mashang(dir.path(), &[&good, http, more].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(wanted), "{told}");
    };
    check(&["--tls-cert", "cert.pem"], "tls-cert is for a certificate with its key: give --tls-key FILE too");
    check(&["--tls-key", "key.pem"], "tls-key is the key of a certificate: give --tls-cert FILE too");
    check(
        &["--tls-cert", "none.pem", "--tls-key", "key.pem"],
        "--tls-cert none.pem: no certificate in PEM can be read",
    );
    check(&["--tls-cert", "key.pem", "--tls-key", "key.pem"], "--tls-cert key.pem: holds no certificate");
    check(&["--tls-cert", "cert.pem", "--tls-key", "cert.pem"], "--tls-key cert.pem: no key in PEM can be read");
    check(&["--tls-cert", "cert.pem", "--tls-key", "open.pem"], "others may read the key (mode 0644): chmod 600 it");
    // TLS without keys opens no address to other machines.
    check(&[&TLS[..], &["--http", "0.0.0.0:0"]].concat(), "there are no keys: give --keys FILE");
    check(
        &["--proxy-protocol"],
        "proxy-protocol: no connection would be taken: give the proxies' networks in --proxy-trust",
    );
    check(&["--proxy-trust", "10.0.0.1/8"], "is an address inside a network");
    check(&["--connections", "0"], "connections is 0: give 1 to 1000000");
    let limited = "ulimit -n 1000 && exec \"$0\" serve --data data --rules rules.toml --connections 500";
    let run = Command::new("sh").args(["-c", limited, env!("CARGO_BIN_EXE_mashang")]).current_dir(dir.path()).output();
    let told = String::from_utf8_lossy(&run.expect("it runs").stderr).into_owned();
    assert!(told.contains("connections is 500, and no more than 1000 files may be open: give at most 488"), "{told}");
}
