//! What strangers without a key can do: scans of pages and pictures, cookies that are no ids, hosts that are links, files of the
//! service.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::program::{TABLES, done, export};
use crate::serve::server::Server;
use crate::serve::setup::{raw_answer, shop};

/// The answer to `GET` with these lines in its head.
fn open(server: &Server, path: &str, host: &str, head: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{head}Connection: close\r\n\r\n");
    raw_answer(server, &request)
}

fn cookie_of(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once("mashang=")?;
    rest.split(';').next()
}

/// The shopper who has a cookie of this value, as the contract words it.
fn id_of(dir: &Path, cookie: &str) -> String {
    let text = std::fs::read_to_string(dir.join("data").join("visitors.key")).expect("the deployment's key");
    let key = HEXLOWER.decode(text.trim().as_bytes()).expect("hex digits");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
    mac.update(cookie.as_bytes());
    format!("web:{}", HEXLOWER.encode(&mac.finalize().into_bytes()[..16]))
}

#[test]
fn cookie_is_in_no_export_log_or_database() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let (status, answer) = open(&server, "/c/anything", "localhost", "");
    let cookie = cookie_of(&answer).unwrap_or_else(|| panic!("{status} {answer}")).to_owned();
    // The id of the ledger is no cookie: with it, the sender is another shopper.
    let id = id_of(dir.path(), &cookie);
    let stolen = format!("Cookie: mashang={}\r\n", id.trim_start_matches("web:"));
    open(&server, "/c/anything", "localhost", &stolen);
    open(&server, "/c/anything", "localhost", &format!("Cookie: mashang={cookie}\r\n"));
    server.settle();
    assert!(server.stop().0.success());
    let dump = done(dir.path(), &["log", "dump", "--data", "data"]);
    assert_eq!(dump.matches(&id).count(), 2, "{dump}");
    let everything: String = TABLES.iter().map(|table| export(dir.path(), "data", table)).collect();
    assert!(!dump.contains(&cookie) && !everything.contains(&cookie));
    let ledger = std::fs::read(dir.path().join("data").join("ledger.sqlite")).expect("a file");
    assert!(!ledger.windows(cookie.len()).any(|bytes| bytes == cookie.as_bytes()));
}

#[test]
fn pictures_and_frames_count_nothing() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    for dest in ["image", "iframe", "embed", "script", "empty"] {
        let (_, answer) = open(&server, "/c/anything", "localhost", &format!("Sec-Fetch-Dest: {dest}\r\n"));
        assert_eq!(cookie_of(&answer), None, "{dest}");
    }
    assert_eq!(server.sum("mashang_events_received_total"), 0);
    assert_eq!(server.metric("mashang_links_uncounted_total{reason=\"embedded\"}"), 5);
    open(&server, "/c/anything", "localhost", "Sec-Fetch-Dest: document\r\n");
    assert_eq!(server.sum("mashang_events_received_total"), 1);
}

#[test]
fn host_alone_is_no_link() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    for host in ["localhost/01/06901234567892", "localhost?c=anything", "localhost#c"] {
        let (status, answer) = open(&server, "/", host, "");
        assert_eq!(cookie_of(&answer), None, "{host}: {status}");
    }
    assert_eq!(server.sum("mashang_events_received_total"), 0);
}

#[test]
fn files_are_for_their_owner_alone() {
    fn check(path: &Path, files: &mut usize) {
        let mode = std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            std::fs::read_dir(path).expect("a directory").flatten().for_each(|entry| check(&entry.path(), files));
        } else {
            assert_eq!(mode, 0o600, "{}", path.display());
            *files += 1;
        }
    }
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let visit = br#"{"id":"1","action":"visit","shopper":"u1"}"#;
    assert_eq!(server.post("application/json", visit).expect("an answer").status, 202);
    server.settle();
    assert!(server.stop().0.success());
    let mut files = 0;
    check(&dir.path().join("data"), &mut files);
    assert!(files > 10, "{files} files");
}

/// One event must not take the clock, which never goes back, away from all others.
#[test]
fn event_clock_refuses_a_leap() {
    let dir = shop();
    let server = Server::start(dir.path(), &["--clock", "event"]);
    let day = 86_400_000_i64;
    let first = 1_700_000_000_000_i64;
    let send = |id: &str, time: i64| {
        let event = format!("{{\"id\":\"{id}\",\"action\":\"visit\",\"shopper\":\"u1\",\"time\":{time}}}");
        server.post("application/json", event.as_bytes()).expect("an answer")
    };
    assert_eq!(send("a", first).status, 202);
    let leap = send("b", first + 366 * day + 1);
    assert!(
        leap.status == 400 && leap.body.contains("\"field\":\"time\"") && leap.body.contains("366 days"),
        "{leap:?}"
    );
    assert_eq!(send("c", first + 366 * day).status, 202);
    assert_eq!(send("d", first + 732 * day).status, 202);
    let server = server.stop();
    assert!(server.0.success());
    // The clock goes on from the log.
    let server = Server::start(dir.path(), &["--clock", "event"]);
    let event =
        format!("{{\"id\":\"e\",\"action\":\"visit\",\"shopper\":\"u1\",\"time\":{}}}", first + 1_098 * day + 1);
    assert_eq!(server.post("application/json", event.as_bytes()).expect("an answer").status, 400);
}

/// A code that two merchants list is that of the link's host, or of its path.
#[test]
fn host_of_a_link_decides_between_merchants() {
    let dir = tempfile::tempdir().expect("a directory");
    for merchant in ["acme", "bolt"] {
        let rules = format!(
            "merchant = \"{merchant}\"\ncurrency = \"CNY\"\ntime_zone = \"UTC\"\n\
             [[code]]\nid = \"BOTH\"\nkind = \"media\"\n[[code]]\nid = \"of-{merchant}\"\nkind = \"media\"\n"
        );
        std::fs::write(dir.path().join(format!("{merchant}.toml")), rules).expect("a file");
    }
    let hosts = "a.localhost=acme,id.localhost/bolt=bolt";
    let rules = ["--rules", "acme.toml", "--rules", "bolt.toml", "--link-host", hosts];
    let server = Server::start(dir.path(), &rules);
    let status = |path: &str, host: &str| open(&server, path, host, "").0;
    for (path, host, wanted) in [
        ("/c/BOTH", "a.localhost", "202"),
        ("/bolt/c/BOTH", "id.localhost:80", "202"),
        ("/c/BOTH", "id.localhost", "404"),
        ("/c/BOTH", "localhost", "404"),
        ("/c/of-bolt", "a.localhost", "202"),
        // A code of no merchant is counted as unknown, and not found.
        ("/c/nothing", "a.localhost", "404"),
        ("/c/nothing", "localhost", "404"),
    ] {
        let found = status(path, host);
        assert!(found.contains(wanted), "{host}{path}: {found}");
    }
    server.settle();
    assert!(server.stop().0.success());
    let counters = export(dir.path(), "data", "counters");
    let of = |merchant: &str, metric: &str| {
        let rows = counters.lines().filter(|row| row.starts_with(&format!("{merchant},merchant,*,")));
        let value = rows.filter_map(|row| row.split_once(&format!(",{metric},"))).map(|(_, value)| value.to_owned());
        value.collect::<Vec<_>>()
    };
    assert_eq!((of("acme", "scans"), of("acme", "unknown")), (vec!["2".to_owned()], vec!["1".to_owned()]));
    assert_eq!((of("bolt", "scans"), of("bolt", "unknown")), (vec!["2".to_owned()], vec![]));
}
