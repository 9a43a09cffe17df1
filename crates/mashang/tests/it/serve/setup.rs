//! What the tests of a running service begin with: a directory with rules, a file of keys, a raw connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER;
use expect_test::Expect;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::server::{Answer, Server};
use super::steady;

pub(crate) const JSON: &str = "application/json";
pub(crate) const NDJSON: &str = "application/x-ndjson";

pub(crate) fn shop() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    dir
}

pub(crate) fn check(answer: &Answer, expect: &Expect) {
    let again = answer.retry_after.as_ref().map_or("", |_| " Retry-After");
    expect.assert_eq(&format!("{}{again} {}\n{}\n", answer.status, answer.content_type, answer.body));
}

pub(crate) fn write_keys(dir: &Path, text: &str) {
    let path = dir.join("keys.toml");
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

pub(crate) fn key(id: &str, secret: &str, rest: &str) -> String {
    let hash = HEXLOWER.encode(&Sha256::digest(secret));
    format!("[[key]]\nid = \"{id}\"\nsha256 = \"{hash}\"\n{rest}\n")
}

/// What a raw connection gets for these bytes.
pub(crate) fn raw(server: &Server, bytes: &[u8]) -> TcpStream {
    let address = server.http.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(50))).expect("a timeout");
    stream.write_all(bytes).expect("it takes them");
    stream
}

pub(crate) fn head(body_bytes: usize) -> String {
    format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {body_bytes}\r\n\r\n"
    )
}

/// The answer to raw bytes on their own connection: its first line, and all of it.
pub(crate) fn raw_answer(server: &Server, request: &str) -> (String, String) {
    let mut answer = String::new();
    raw(server, request.as_bytes()).read_to_string(&mut answer).expect("an answer");
    (answer.lines().next().unwrap_or_default().to_owned(), answer)
}
