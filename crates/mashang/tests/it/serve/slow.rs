//! A client that sends too much, too slowly or nothing at all is disconnected, and other clients are still served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use web::server::listen::raise_files;

use super::clients::has;
use super::server::{Server, post};
use super::setup::{head, raw, shop};

const JSON: &str = "application/json";
const PATIENCE: Duration = Duration::from_secs(60);

fn until(mut holds: impl FnMut() -> bool, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn cut(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("mashang_http_cut_total{{reason=\"{reason}\"}}"))
}

fn visit(id: impl std::fmt::Display) -> String {
    format!("{{\"id\":\"{id}\",\"action\":\"visit\",\"shopper\":\"u1\"}}")
}

/// Sends an event on a connection of its own.
fn is_taken(http: &str, id: impl std::fmt::Display) {
    let answer = post(http, JSON, visit(id).as_bytes(), None).expect("an answer");
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// What there is to read until the connection ends, however it does.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn too_large_or_invalid_head_is_refused() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let many = |headers: usize| {
        let headers: String = (0..headers).map(|n| format!("X-{n}: 1\r\n")).collect();
        format!("GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
    };
    assert!(rest(raw(&server, many(98).as_bytes())).starts_with("HTTP/1.1 404"));
    let answer = rest(raw(&server, many(99).as_bytes()));
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    // The end of a megabyte may find the connection closed, and its answer gone with it.
    let address = server.http.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let _ = stream.write_all(large.as_bytes());
    let answer = rest(stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    until(|| cut(&server, "head-too-large") == 2, "both are counted");
    assert!(rest(raw(&server, b"\x16\x03\x01 is no HTTP\r\n\r\n")).starts_with("HTTP/1.1 400"));
    until(|| cut(&server, "head-malformed") == 1, "it is counted");
    is_taken(&server.http, "a");
    // Half of a next request keeps no answer back.
    let event = visit("b");
    let mut stream = raw(&server, (head(event.len()) + &event + "POST /v1/eve").as_bytes());
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 202");
    assert_eq!(cut(&server, "head-timeout"), 0, "it came before the other half was given up");
}

#[test]
fn deep_and_endless_bodies_break_nothing() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    // Eight mebibytes of brackets, closed and not, alone and in an unknown field of an event.
    let deep = 4 * 1024 * 1024 - 100;
    let nested = "[".repeat(deep) + &"]".repeat(deep);
    let told = server.post(JSON, nested.as_bytes()).expect("an answer");
    assert!(matches!(told.status, 400 | 413), "{told:?}");
    assert_eq!(server.post(JSON, "[".repeat(deep).as_bytes()).expect("an answer").status, 400);
    let event = visit("deep").replace("{\"id\"", &format!("{{\"more\":{nested},\"id\""));
    assert_eq!(server.post(JSON, event.as_bytes()).expect("an answer").status, 202);
    assert_eq!(server.post(JSON, &event.as_bytes()[..deep]).expect("an answer").status, 400);
    let cloud = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"c\",\"source\":\"s\",\"type\":\"t\",\"data\":{},\"more\":{nested}}}",
        visit("c")
    );
    assert_eq!(server.post("application/cloudevents+json", cloud.as_bytes()).expect("an answer").status, 202);
    // A body without an end.
    let head = head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let mut stream = raw(&server, head.as_bytes());
    let mut answering = stream.try_clone().expect("a handle");
    let chunk = [format!("{:x}\r\n", 64 * 1024).as_bytes(), &[b' '; 64 * 1024], b"\r\n"].concat();
    let sender = std::thread::spawn(move || (0..10_000).take_while(|_| stream.write_all(&chunk).is_ok()).count());
    let mut answer = [0; 12];
    answering.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
    drop(answering);
    let sent = sender.join().expect("no panic");
    assert!(sent < 10_000, "it was told to go on for {sent} chunks");
    is_taken(&server.http, "a");
}

#[test]
fn client_waits_while_the_port_is_full() {
    let dir = shop();
    let server = Server::start(dir.path(), &["--connections", "1"]);
    for round in 0..20 {
        let idle = raw(&server, b"");
        until(|| server.metric("mashang_http_connections") == 1, "it is open");
        let http = &server.http;
        std::thread::scope(|threads| {
            let waiting = threads.spawn(move || is_taken(http, round));
            drop(idle);
            waiting.join().expect("it is served");
        });
    }
}

#[test]
fn ten_thousand_silent_connections_block_no_client() {
    const IDLE: u64 = 10_000;
    if raise_files().expect("a limit") < IDLE + 1_000 {
        assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "too few files may be open (ulimit -Hn)");
        eprintln!("skipped: too few files may be open");
        return;
    }
    let dir = shop();
    let server = Server::start(dir.path(), &["--idle-timeout", "10s"]);
    let idle: Vec<TcpStream> = (0..IDLE).map(|_| raw(&server, b"")).collect();
    let seen = || server.metric("mashang_http_connections") + cut(&server, "head-timeout");
    until(|| seen() >= IDLE, "all are there");
    (0..200).for_each(|id| is_taken(&server.http, id));
    until(|| cut(&server, "head-timeout") == IDLE, "all are cut off");
    assert_eq!(idle.len() as u64, IDLE);
    is_taken(&server.http, "in the end");
}

/// Sends an event on a connection that stays; the status, or nothing where it was ended.
fn ask(stream: &mut TcpStream, id: &str) -> Option<u16> {
    let event = visit(id);
    stream.write_all((head(event.len()) + &event).as_bytes()).ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        answer.extend(byte);
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

#[test]
fn idle_connection_is_kept_slow_head_is_closed() {
    let dir = shop();
    // Longer than a head may take.
    let server = Server::start(dir.path(), &["--idle-timeout", "14s"]);
    let mut kept = raw(&server, b"");
    assert_eq!(ask(&mut kept, "a"), Some(202));
    let (mut silent, slow) = (raw(&server, b""), raw(&server, b"POST /v1/events HTTP/1.1\r\n"));
    let began = Instant::now();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            rest(slow);
            let held = began.elapsed().as_secs();
            assert!((9..13).contains(&held), "a head has 10 s, not {held}");
        });
        std::thread::sleep(Duration::from_secs(12));
        assert_eq!((ask(&mut kept, "b"), ask(&mut silent, "c")), (Some(202), Some(202)));
    });
    assert_eq!(cut(&server, "head-timeout"), 1);
    rest(kept);
    let held = began.elapsed().as_secs();
    assert!((25..30).contains(&held), "14 s after the last answer, not {held} s after the first");
}

#[test]
fn slowhttptest_blocks_no_client() {
    if !has("slowhttptest", &["sh", "-c", "command -v slowhttptest"]) {
        return;
    }
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let url = format!("{}/v1/events", server.http);
    let described = format!("{}/openapi.json", server.http);
    // Slow heads and bodies, ranges, slow readers; longer than a head may take.
    let modes: [&[&str]; 4] = [
        &["-H", "-i", "2", "-x", "24", "-t", "POST", "-u", &url],
        &["-B", "-i", "2", "-s", "8192", "-x", "10", "-t", "POST", "-f", JSON, "-u", &url],
        &["-R", "-a", "10", "-b", "3000", "-t", "HEAD", "-u", &described],
        &["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3", "-u", &described],
    ];
    let (is_over, http) = (AtomicBool::new(false), &server.http);
    std::thread::scope(|threads| {
        let client = threads.spawn(|| {
            let mut sent = 0;
            while !is_over.load(Ordering::Acquire) {
                is_taken(http, sent);
                sent += 1;
            }
            sent
        });
        let testers = modes.map(|mode| {
            let common = ["-c", "250", "-r", "100", "-l", "14", "-p", "5"];
            let mut tester = Command::new("slowhttptest");
            tester.args(common).args(mode).current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::null());
            tester.spawn().expect("it runs")
        });
        for (tester, mode) in testers.into_iter().zip(modes) {
            let output = tester.wait_with_output().expect("it ends");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && !told.contains("NO\n"), "{mode:?}: {told}");
        }
        is_over.store(true, Ordering::Release);
        let sent: u64 = client.join().expect("every event is taken");
        assert!(sent > 100, "{sent}");
        assert_eq!(server.sum("mashang_events_accepted_total"), sent);
    });
    assert!(cut(&server, "head-timeout") >= 250, "slow heads are cut off");
}
