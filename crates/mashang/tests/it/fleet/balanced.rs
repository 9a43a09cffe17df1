//! Two edges behind HAProxy and nginx as `deploy` has them, restarted in turn while events come over HTTP and as datagrams: no
//! request fails, and every event counts once.
//!
//! `MASHANG_RESTARTS` says how often (4).

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::kafka::Kafka;
use testkit::ports::Port;
use testkit::process::Process;
use wire::coap::{Code, Kind, Message, Writer, number};

use super::roles::{Fleet, Made, PATIENCE};
use crate::program::done;
use crate::serve::server::post;
use crate::serve::steady;

/// Interval between two events of a sender.
const EVERY: Duration = Duration::from_millis(5);
/// Senders of one event after the other: on one connection, on a connection per event, and two with confirmable datagrams.
const SENDERS: [&str; 4] = ["kept", "each", "con-a", "con-b"];
/// First timeout of an answer, doubled each time, and the maximum number of retransmissions (RFC 7252, section 4.8).
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
const RETRANSMISSIONS: u32 = 4;

fn restarts() -> usize {
    std::env::var("MASHANG_RESTARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

/// Both programs, or the test is skipped.
fn programs() -> Option<[PathBuf; 2]> {
    let dirs = || ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(Path::new);
    let found = |name: &str| dirs().into_iter().map(|dir| dir.join(name)).find(|file| file.is_file());
    let both = found("haproxy").zip(found("nginx"));
    assert!(both.is_some() || std::env::var_os("MASHANG_NO_SKIP").is_none(), "haproxy or nginx is not installed");
    if both.is_none() {
        eprintln!("skipped: haproxy or nginx is not installed");
    }
    both.map(|(haproxy, nginx)| [haproxy, nginx])
}

/// Writes a file of `deploy` with other addresses into a directory.
fn deployed(dir: &Path, file: &str, addresses: &[(&str, String)]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace");
    let mut text = std::fs::read_to_string(root.join("deploy").join(file)).expect("a file");
    for (from, to) in addresses {
        assert_eq!(text.matches(from).count(), 1, "{file}: {from}");
        text = text.replace(from, to);
    }
    let path = dir.join(Path::new(file).file_name().expect("a name"));
    std::fs::write(&path, text).expect("a file");
    path
}

fn event(id: &str) -> String {
    format!("{{\"id\":\"{id}\",\"action\":\"visit\",\"shopper\":\"u1\"}}")
}

/// A client of HTTP that keeps its connection for as long as the other side does.
struct Kept {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Kept {
    fn post(&mut self, body: &str) -> io::Result<u16> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(&self.address)?),
        };
        stream.get_ref().set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        let head = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length:";
        stream.get_mut().write_all(format!("{head} {length}\r\n\r\n{body}").as_bytes())?;
        let (mut line, mut status, mut length, mut closes) = (String::new(), 0, 0, false);
        while stream.read_line(&mut line)? > 2 {
            let text = line.trim().to_lowercase();
            if let Some(rest) = text.strip_prefix("http/1.1 ") {
                status = rest.split(' ').next().and_then(|status| status.parse().ok()).unwrap_or(0);
            } else if let Some(rest) = text.strip_prefix("content-length:") {
                length = rest.trim().parse().map_err(io::Error::other)?;
            }
            closes |= text == "connection: close";
            line.clear();
        }
        stream.read_exact(&mut vec![0; length])?;
        self.stream = (!closes).then_some(stream);
        Ok(status)
    }
}

/// Sends a datagram that must be answered, from a port of its own, again if it is not; how often it was sent, or `None` if it
/// never was answered.
fn con(to: &str, id: u16, payload: &str) -> Option<u32> {
    let mut buffer = [0; 1_000];
    let message = Writer::new(&mut buffer, Kind::Confirmable, Code::POST, id, &id.to_be_bytes())
        .option(number::URI_PATH, b"v1")
        .option(number::URI_PATH, b"events")
        .payload(payload.as_bytes())
        .expect("room")
        .to_vec();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(to).expect("an address");
    (0..=RETRANSMISSIONS).find_map(|sent| {
        // A closed port is not an answer; this call or the next one reports it.
        let _ = socket.send(&message);
        let until = Instant::now() + ACK_TIMEOUT * 2_u32.pow(sent);
        loop {
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            socket.set_read_timeout(Some(left)).expect("a timeout");
            let mut buffer = [0; 1_000];
            let Ok(bytes) = socket.recv(&mut buffer) else { continue };
            // For an edge whose port is closed nginx sends an empty datagram, which is not a message.
            let Ok(answer) = Message::parse(&buffer[..bytes]) else { continue };
            assert_eq!((answer.id, answer.code.to_string().as_str()), (id, "2.04"), "{payload}");
            return Some(sent + 1);
        }
    })
}

/// How many events were sent, and how many datagrams beyond one each.
fn send(sender: &str, http: &str, udp: &str, is_over: &AtomicBool) -> (u32, u32) {
    let mut kept = Kept { address: http.to_owned(), stream: None };
    let (mut sent, mut again) = (0, 0);
    while !is_over.load(Ordering::Acquire) {
        let event = event(&format!("{sender}-{sent}"));
        match sender {
            "kept" => assert_eq!(kept.post(&event).expect("an answer"), 202, "{event}"),
            "each" => {
                let answer = post(&format!("http://{http}"), "application/json", event.as_bytes(), None);
                assert_eq!(answer.expect("an answer").status, 202, "{event}");
            }
            _ => again += con(udp, sent as u16, &event).unwrap_or_else(|| panic!("no answer to {event}")) - 1,
        }
        sent += 1;
        std::thread::sleep(EVERY);
    }
    (sent, again)
}

#[test]
fn edges_restarted_in_turn_fail_no_request() {
    let (Some(kafka), Some([haproxy, nginx])) = (Kafka::shared(), programs()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix: "balanced",
        ledger: "sqlite:ledger.sqlite",
        rules: "rules.toml",
        clock: "wall",
        partitions: [2, 2, 1, 2],
        copies: [1, 1],
    };
    let mut fleet = Fleet::make(dir.path(), &made);
    let ports: [[Port; 4]; 2] = [[(); 4]; 2].map(|ports| ports.map(|()| Port::take()));
    for (edge, [http, admin, udp, _]) in ["edge-1", "edge-2"].into_iter().zip(&ports) {
        let places = ["--http", &http.address(), "--admin", &admin.address(), "--udp", &udp.address()];
        let proxies = ["--proxy-protocol", "--proxy-trust", "127.0.0.1", "--drain-wait", "3s"];
        fleet.start(edge, &[&places[..], &proxies].concat());
    }
    let [[http_1, admin_1, udp_1, http], [http_2, admin_2, udp_2, udp]] = &ports;
    let checked = |http: &Port, admin: &Port| format!("{} check port {}", http.address(), admin.number());
    let config = deployed(
        dir.path(),
        "haproxy/haproxy.cfg",
        &[
            ("bind :8080", format!("bind {}", http.address())),
            // All senders of this test are one client.
            ("http_req_rate(keyless) gt 2000", "http_req_rate(keyless) gt 2000000".to_owned()),
            ("edge-1:8080 check port 9464", checked(http_1, admin_1)),
            ("edge-2:8080 check port 9464", checked(http_2, admin_2)),
        ],
    );
    let mut command = Command::new(haproxy);
    command.arg("-db").arg("-f").arg(config);
    let mut balancer = Process::start(&command, &dir.path().join("haproxy.log")).expect("it runs");
    let config = deployed(
        dir.path(),
        "nginx/udp.conf",
        &[
            // One process, which is its own worker: workers would outlive a master that is killed at the end.
            ("worker_processes auto", "worker_processes 1".to_owned()),
            ("listen 5683", format!("listen {}", udp.address())),
            ("edge-1:5683", udp_1.address()),
            ("edge-2:5683", udp_2.address()),
        ],
    );
    let pid = format!("daemon off; master_process off; pid {};", dir.path().join("nginx.pid").display());
    let mut command = Command::new(nginx);
    command.args(["-e", "stderr", "-g", &pid, "-c"]).arg(config);
    let _datagrams = Process::start(&command, &dir.path().join("nginx.log")).expect("it runs");
    let (http, udp) = (http.address(), udp.address());
    balancer.path(&http, "/openapi.json", PATIENCE).expect("it passes on");

    let is_over = AtomicBool::new(false);
    let sent: BTreeMap<&str, (u32, u32)> = std::thread::scope(|threads| {
        let senders = SENDERS.map(|sender| {
            let (http, udp, is_over) = (&http, &udp, &is_over);
            (sender, threads.spawn(move || send(sender, http, udp, is_over)))
        });
        // Until its senders have found an edge again, the other one is all there is.
        let is_back = |fleet: &Fleet, edge: &str| {
            let until = Instant::now() + PATIENCE;
            loop {
                let metrics = fleet.admin(edge, "/metrics").expect("metrics").body;
                let accepted =
                    |line: &&str| line.starts_with("mashang_events_accepted_total{") && !line.ends_with(" 0");
                if metrics.lines().filter(accepted).count() == 2 {
                    break;
                }
                assert!(senders.iter().all(|(_, thread)| !thread.is_finished()), "a sender gave up");
                assert!(Instant::now() < until, "no sender uses {edge}");
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            ["edge-1", "edge-2"].iter().for_each(|edge| is_back(&fleet, edge));
            for number in 0..restarts() {
                let edge = ["edge-1", "edge-2"][number % 2];
                fleet.end(edge);
                fleet.restart(edge);
                is_back(&fleet, edge);
            }
        }));
        is_over.store(true, Ordering::Release);
        let sent = senders.map(|(sender, thread)| (sender, thread.join().expect("every event is answered")));
        told.expect("every edge comes back");
        sent.into_iter().collect()
    });

    let dump = done(dir.path(), &[&["log", "dump"], &fleet.log()[..]].concat());
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for line in dump.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        *found.entry(event["id"].as_str().expect("an id").to_owned()).or_default() += 1;
    }
    let mut doubled = 0;
    for (sender, &(sent, _)) in &sent {
        assert!(sent > 100, "{sender}: {sent}");
        for number in 0..sent {
            let times = found.remove(&format!("{sender}-{number}")).unwrap_or(0);
            // A datagram that was sent again may have reached both edges; HTTP was sent once.
            assert!(times == 1 || (times > 1 && sender.starts_with("con")), "{sender}-{number} is there {times} times");
            doubled += times - 1;
        }
    }
    assert!(found.is_empty(), "{found:?} was never sent");
    std::fs::write(dir.path().join("dump.ndjson"), &dump).expect("a file");
    let args = ["run", "--rules", "rules.toml", "--events", "dump.ndjson", "--out", "again", "--summary", "json"];
    let printed = done(dir.path(), &args);
    let summary: Value = serde_json::from_str(printed.lines().last().expect("a summary")).expect("JSON");
    let all: u32 = sent.values().map(|(sent, _)| sent).sum();
    assert_eq!((&summary["accepted"], &summary["duplicates"]), (&(all + doubled).into(), &doubled.into()));
    println!(
        "{} restarts, {all} events, {doubled} of them twice in the log; sent and sent again: {sent:?}",
        restarts()
    );
}
