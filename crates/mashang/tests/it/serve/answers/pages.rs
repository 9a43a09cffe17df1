//! Pages: what those of other origins and other machines may ask.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::serve::server::Server;
use crate::serve::setup::{JSON, key, raw, raw_answer, shop, write_keys};
#[test]
fn openapi_is_served_and_other_origins_are_allowed() {
    let dir = shop();
    write_keys(dir.path(), &key("page", "s", "merchants = [\"steady\"]\nscopes = [\"ingest\"]"));
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let described = server.get("/openapi.json");
    assert_eq!((described.status, described.content_type.as_str()), (200, JSON));
    let described = described.json();
    assert_eq!(described["openapi"], "3.1.0");
    assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, method) in [("/v1/events", "post"), ("/v1/results/{id}", "get")] {
        assert!(described["paths"][path][method]["responses"].is_object(), "{path}");
    }
    // What a browser asks before it sends.
    let mut stream = TcpStream::connect(server.http.trim_start_matches("http://")).expect("a connection");
    let asked = "OPTIONS /v1/events HTTP/1.1\r\nHost: localhost\r\nOrigin: https://shop.example\r\nConnection: close\r\n\
        Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,content-type\r\n\r\n";
    stream.write_all(asked.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let answer = answer.to_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    for header in [
        "access-control-allow-origin: *",
        "access-control-allow-methods: get,post",
        "access-control-allow-headers: authorization,content-type",
        "access-control-max-age: 86400",
    ] {
        assert!(answer.contains(header), "{header}: {answer}");
    }
    // And with what it sends then.
    let mut stream = TcpStream::connect(server.http.trim_start_matches("http://")).expect("a connection");
    let sent = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nOrigin: https://shop.example\r\nConnection: close\r\n\
        Authorization: Bearer page.s\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(sent.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 415") && answer.contains("access-control-allow-origin: *"), "{answer}");
    // Events go by no route; a page may read of their answers what it may of all others.
    let may = |answer: &str| {
        let lines = answer.lines().filter(|line| line.starts_with("access-control-") || line.starts_with("vary: "));
        let mut lines: Vec<String> = lines.map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    let mut routed = String::new();
    let asked = "GET /nothing HTTP/1.1\r\nHost: localhost\r\nOrigin: https://shop.example\r\nConnection: close\r\n\r\n";
    raw(&server, asked.as_bytes()).read_to_string(&mut routed).expect("an answer");
    assert_eq!(may(&answer), may(&routed));
    assert!(may(&answer).len() == 3 && routed.starts_with("HTTP/1.1 404"), "{routed}");
}

#[test]
fn a_request_without_one_host_is_refused() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let event = r#"{"id":"h1","action":"visit","shopper":"u1"}"#;
    let post = |version: &str, hosts: &str| {
        let length = event.len();
        raw_answer(
            &server,
            &format!(
                "POST /v1/events HTTP/{version}\r\n{hosts}Content-Type: {JSON}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{event}"
            ),
        )
    };
    for hosts in
        ["Host: a.example\r\nHost: b.example\r\n", "Host: localhost\r\nHost: localhost\r\n", "", "Host: a b\r\n"]
    {
        let (status, answer) = post("1.1", hosts);
        assert_eq!(status, "HTTP/1.1 400 Bad Request", "{hosts}");
        assert!(
            answer.to_lowercase().contains("connection: close") && answer.contains("application/problem+json"),
            "{answer}"
        );
    }
    assert_eq!(server.sum("mashang_events_received_total"), 0);
    // The console and the admin port, too; HTTP/1.0 knows no Host.
    assert_eq!(raw_answer(&server, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").0, "HTTP/1.1 400 Bad Request");
    let mut admin = TcpStream::connect(server.admin.trim_start_matches("http://")).expect("it listens");
    admin.write_all(b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    admin.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(post("1.0", "").0, "HTTP/1.0 202 Accepted");
    assert_eq!(post("1.1", "Host: localhost\r\n").0, "HTTP/1.1 202 Accepted");
}

#[test]
fn without_keys_pages_of_other_machines_are_refused() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let event = r#"{"id":"ev1","action":"order","shopper":"mallory","order":"X","amount":1000000}"#;
    let post = |head: &str| {
        let length = event.len();
        raw_answer(
            &server,
            &format!(
                "POST /v1/events HTTP/1.1\r\n{head}Sec-Fetch-Mode: no-cors\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{event}"
            ),
        )
    };
    let port = server.http.rsplit(':').next().expect("a port").to_owned();
    for head in [
        "Host: evil.example\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n".to_owned(),
        // A name of an attacker that leads here: its page is of the same origin, and may not say where it is from.
        format!("Host: evil.example:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: https://evil.example\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: null\r\n"),
    ] {
        let (status, answer) = post(&head);
        assert_eq!(status, "HTTP/1.1 403 Forbidden", "{head}");
        assert!(answer.contains("there are no keys") && !answer.contains("access-control-allow"), "{answer}");
    }
    for path in ["/", "/v1/results/1?shopper=u1", "/c/x", "/r/0123456789abcdef0123456789abcdef", "/openapi.json"] {
        let asked = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
        assert_eq!(raw_answer(&server, &asked).0, "HTTP/1.1 403 Forbidden", "{path}");
    }
    assert_eq!(server.sum("mashang_events_received_total"), 0);
    assert_eq!(
        post(&format!("Host: localhost:{port}\r\nOrigin: http://localhost:3000\r\n")).0,
        "HTTP/1.1 202 Accepted"
    );
    assert_eq!(post("Host: [::1]\r\n").0, "HTTP/1.1 202 Accepted");

    // With keys, the keys decide.
    let dir = shop();
    write_keys(dir.path(), &key("page", "s", "merchants = [\"steady\"]\nscopes = [\"ingest\"]"));
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let asked =
        "GET /nothing HTTP/1.1\r\nHost: door.example\r\nOrigin: https://shop.example\r\nConnection: close\r\n\r\n";
    assert_eq!(raw_answer(&server, asked).0, "HTTP/1.1 404 Not Found");
}
