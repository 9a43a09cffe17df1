//! Which client a route sees: with and without proxies, and with either way in which proxies name the client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::routing::get;
use axum::{Extension, Router};
use prometheus::{Registry, TextEncoder};
use tokio::sync::watch;
use web::client_address::Client;
use web::networks::Trust;
use web::server::handler::Routes;
use web::server::listen::bind_all;
use web::server::metrics::HttpMetrics;
use web::server::port::{Port, PortConfig};

/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port whose only route returns the client.
struct Front {
    address: SocketAddr,
    registry: Registry,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    fn start(proxies: &str, expects_proxy: bool) -> Self {
        let asked = async |Extension(client): Extension<Client>| format!("{} {}", client.address, client.is_secure);
        let router = Router::new().route("/", get(asked));
        let service = Routes { router, local_only: false, keys: None, client_limits: None };
        let proxies: Trust = proxies.parse().expect("networks");
        let registry = Registry::new();
        let idle_timeout = Duration::from_secs(75);
        let config =
            PortConfig { connections_max: 10, proxies, expects_proxy, idle_timeout, client_limits: None, tls: None };
        let port = Port::new(service, config, HttpMetrics::new(&registry).expect("registered once"));
        let listener = bind_all(([127, 0, 0, 1], 0).into(), 1).expect("a port").remove(0);
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::spawn(move || port.run(listener, stopped).expect("a runtime"));
        Self { address, registry, stop, thread: Some(thread) }
    }

    /// Sends `before` and a request with these headers on a new connection; returns the body of the answer, or nothing.
    fn ask(&self, before: &[u8], headers: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
        let sent = stream.write_all(&[before, request.as_bytes()].concat());
        let mut answer = String::new();
        // A client that is refused may find its connection reset.
        let read = sent.and_then(|()| stream.read_to_string(&mut answer));
        assert!(read.is_ok() || answer.is_empty(), "{answer}");
        answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())
    }

    fn cut(&self, reason: &str) -> u64 {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).expect("text");
        let series = format!("mashang_http_cut_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).expect("a series").parse().expect("an integer")
    }

    /// Waits until this number of connections was counted: that happens after their end.
    fn has_cut(&self, reason: &str, wanted: u64) {
        let until = Instant::now() + PATIENCE;
        while self.cut(reason) != wanted {
            assert!(Instant::now() < until, "{} were cut, not {wanted}", self.cut(reason));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.thread.take().expect("until now").join().expect("no panic");
    }
}

#[test]
fn headers_count_from_trusted_networks_alone() {
    let told = "X-Forwarded-For: 1.1.1.1, 203.0.113.9\r\nX-Forwarded-Proto: https\r\n";
    let front = Front::start("10.0.0.0/8,127.0.0.0/8", false);
    assert_eq!(front.ask(b"", ""), "127.0.0.1 false");
    assert_eq!(front.ask(b"", told), "203.0.113.9 true");
    let front = Front::start("10.0.0.0/8", false);
    assert_eq!(front.ask(b"", told), "127.0.0.1 false");
    let front = Front::start("none", false);
    assert_eq!(front.ask(b"", told), "127.0.0.1 false");
}

#[test]
fn a_connection_says_first_whom_it_is_from() {
    let front = Front::start("127.0.0.1,10.0.0.0/8", true);
    let text = b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 8080\r\n";
    assert_eq!(front.ask(text, ""), "203.0.113.9 false");
    // What the client wrote itself is not believed.
    assert_eq!(front.ask(text, "X-Forwarded-For: 1.1.1.1\r\n"), "203.0.113.9 false");
    // Behind this proxy there is another one that is trusted.
    let inner = b"PROXY TCP4 10.1.2.3 10.0.0.1 56324 8080\r\n";
    assert_eq!(front.ask(inner, "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n"), "198.51.100.7 true");
    let binary = |ssl: u8| {
        let begin = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14";
        [&begin[..], &[203, 0, 113, 9, 10, 0, 0, 1, 0x80, 0, 0x1F, 0x90, 0x20, 0, 5, ssl, 0, 0, 0, 0]].concat()
    };
    assert_eq!(front.ask(&binary(0), ""), "203.0.113.9 false");
    assert_eq!(front.ask(&binary(1), ""), "203.0.113.9 true");
    // A proxy's own connection, as its health checks are.
    assert_eq!(front.ask(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", ""), "127.0.0.1 false");
    assert_eq!(front.cut("proxy-header"), 0);
    // Without a header, and with a broken one.
    assert_eq!(front.ask(b"", ""), "");
    assert_eq!(front.ask(b"PROXY TCP4 203.0.113.9\r\n", ""), "");
    front.has_cut("proxy-header", 2);
    assert_eq!(front.cut("stranger"), 0);
}

#[test]
fn only_proxies_are_let_in_where_they_are_expected() {
    let front = Front::start("10.0.0.0/8", true);
    assert_eq!(front.ask(b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 8080\r\n", ""), "");
    assert_eq!(front.ask(b"", ""), "");
    front.has_cut("stranger", 2);
    assert_eq!(front.cut("proxy-header"), 0);
}
