//! What a datagram becomes, and its answer.

use std::io::Write;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use wire::coap::{Code, Kind, Writer, number};

use super::{Client, UDP, accepted, adds_up, con, ids, refused, request, sum, until, visit};
use crate::program::mashang;
use crate::serve::server::{Server, binary};
use crate::serve::setup::{head, raw, shop};

#[test]
fn json_is_taken_and_never_answered() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    client.send(visit("a").as_bytes());
    client.send(format!("{}\n{}\r\n\n{}\n", visit("b"), visit("c"), visit("d")).as_bytes());
    client.send(format!("[{},{}]", visit("e"), visit("f")).as_bytes());
    client.send("{\n \"id\": \"g\",\n \"action\": \"visit\",\n \"shopper\": \"u1\"\n}\n".as_bytes());
    client.send(format!("{}\n{{\"id\":\n{}", visit("h"), visit("i")).as_bytes());
    client.send(b"{\"id\":\"wrong\",\"action\":\"visit\"}");
    client.send(b"[1,");
    until(|| sum(&server, "mashang_udp_datagrams_total") == 7, "all datagrams are received");
    adds_up(&server);
    assert_eq!((accepted(&server), sum(&server, "mashang_events_rejected_total")), (9, 3));
    assert_eq!(sum(&server, "mashang_udp_refused_total"), 0);
    assert!(!client.has_answer());
    server.settle();
    assert_eq!(ids(dir.path()), ["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
}

#[test]
fn confirmable_is_answered_when_durable_and_counted_once() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    let asked = con(7, &visit("a"));
    let first = client.ask(&asked);
    assert_eq!((first.kind, first.code.as_str(), first.id), (Kind::Acknowledgement, "2.04", 7));
    assert_eq!((&first.token[..], first.payload.as_str()), (&[0, 7][..], ""));
    assert_eq!(client.ask(&asked), first, "a retransmission gets the first answer");
    let wrong = con(8, "{\"id\":\"b\"}");
    assert_eq!(client.ask(&wrong), client.ask(&wrong));
    assert_eq!(sum(&server, "mashang_events_received_total"), 2);
    assert_eq!((accepted(&server), sum(&server, "mashang_udp_retransmissions_total")), (1, 2));
    // Nothing that was answered is lost, whatever comes.
    server.kill();
    let server = Server::start(dir.path(), &UDP);
    server.settle();
    assert_eq!(ids(dir.path()), ["a"]);
    // The same message id from another sender is another message.
    let other = Client::to(&server);
    assert_eq!(other.ask(&con(7, &visit("c"))).code, "2.04");
    server.settle();
    assert_eq!(ids(dir.path()), ["a", "c"]);
}

#[test]
fn a_non_confirmable_is_taken_and_never_answered() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    client.send(&request(Kind::NonConfirmable, 1, &[], visit("a").as_bytes()));
    client.send(&request(Kind::NonConfirmable, 2, &[], format!("{}\n{}", visit("b"), visit("c")).as_bytes()));
    client.send(&request(Kind::NonConfirmable, 3, &[], b"{}"));
    // The answer to this one is the first there is.
    assert_eq!(client.ask(&con(4, &visit("d"))).id, 4);
    adds_up(&server);
    assert_eq!((accepted(&server), sum(&server, "mashang_events_rejected_total")), (4, 1));
}

fn check(client: &Client, asked: &[u8], expect: &Expect) {
    let answer = client.ask(asked);
    let again = answer.max_age.map_or(String::new(), |s| format!(" Max-Age {s}"));
    let size1 = answer.size1.map_or(String::new(), |bytes| format!(" Size1 {bytes}"));
    let json = if answer.is_json { " JSON" } else { "" };
    expect.assert_eq(&format!("{:?} {}{again}{size1}{json} {}", answer.kind, answer.code, answer.payload));
}

/// A request with options of one's own, in order, to some path.
fn other(id: u16, code: Code, options: &[(u16, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let writer = Writer::new(&mut buffer, Kind::Confirmable, code, id, b"");
    let written = options.iter().fold(writer, |writer, (number, value)| writer.option(*number, value));
    written.payload(payload).expect("room").to_vec()
}

#[test]
fn requests_get_their_answers() {
    const PATH: [(u16, &[u8]); 2] = [(number::URI_PATH, b"v1"), (number::URI_PATH, b"events")];
    const GET: Code = Code(1);
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    let with = |before: &[(u16, &'static [u8])], after: &[(u16, &'static [u8])]| [before, &PATH, after].concat();
    let event = visit("a");
    let event = event.as_bytes();
    let one = "{\"id\":\"1\",\"action\":\"visit\",\"shopper\":\"u1\",\"store\":\"\"}";
    check(&client, &con(1, "{}"), &expect!["Acknowledgement 4.00 id: is missi"]);
    check(&client, &con(2, one), &expect!["Acknowledgement 4.00 store: is empty; send 1 to 64 bytes"]);
    check(&client, &con(3, ""), &expect!["Acknowledgement 4.00 the body "]);
    check(
        &client,
        &con(4, &format!("{}\n{one}", visit("a"))),
        &expect![[r#"Acknowledgement 2.04 JSON {"accepted":1}"#]],
    );
    check(&client, &con(5, &format!("[{},1]", visit("a"))), &expect![[r#"Acknowledgement 2.04 JSON {"accepted":1}"#]]);
    let pings = [0x40, 0, 0, 6];
    check(&client, &pings, &expect!["Reset 0.00 "]);
    let zeros = format!("[{}0]", "0,".repeat(10_000));
    check(
        &client,
        &con(7, &zeros),
        &expect!["Acknowledgement 4.13 Size1 20000 too many events; send several requests"],
    );
    check(
        &client,
        &other(8, Code::POST, &with(&[], &[(number::CONTENT_FORMAT, &[50])]), event),
        &expect!["Acknowledgement 2.04 "],
    );
    check(
        &client,
        &other(9, Code::POST, &with(&[], &[(number::CONTENT_FORMAT, &[60])]), event),
        &expect!["Acknowledgement 4.15 send JSON: Content-Format 50, or none for NDJSON"],
    );
    check(
        &client,
        &other(10, Code::POST, &with(&[(3, b"shop.example"), (7, &[22, 51])], &[(14, &[1])]), event),
        &expect!["Acknowledgement 2.04 "],
    );
    check(
        &client,
        &other(11, Code::POST, &with(&[(1, b"etag")], &[]), event),
        &expect!["Acknowledgement 4.02 a critical option is not known here"],
    );
    check(
        &client,
        &other(12, Code::POST, &with(&[], &[(27, &[8])]), event),
        &expect!["Acknowledgement 4.02 a critical option is not known here"],
    );
    check(
        &client,
        &other(13, Code::POST, &[(number::PROXY_URI, b"coap://shop.example/v1/events")], event),
        &expect!["Acknowledgement 5.05 this is no proxy"],
    );
    check(
        &client,
        &other(14, Code::POST, &[(number::URI_PATH, b"v1")], event),
        &expect!["Acknowledgement 4.04 there is only /v1/events"],
    );
    check(
        &client,
        &other(15, GET, &[(number::URI_PATH, b".well-known"), (number::URI_PATH, b"core")], b""),
        &expect!["Acknowledgement 4.04 there is only /v"],
    );
    check(&client, &other(16, GET, &PATH, b""), &expect!["Acknowledgement 4.05 only POST"]);
    check(&client, &other(17, GET, &[], b""), &expect!["Acknowledgement 4.04 "]);
    adds_up(&server);
    let reasons = ["unexpected", "option", "path", "method", "format", "too-large"];
    assert_eq!(reasons.map(|reason| refused(&server, reason)), [1, 3, 3, 1, 1, 1]);
    server.settle();
    assert_eq!(ids(dir.path()), ["a", "a", "a", "a"]);
}

#[test]
fn bad_input_is_counted_and_harms_no_client() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let (bad, good) = (Client::to(&server), Client::to(&server));
    let open = |c: char| c.to_string().repeat(65_507);
    let bombs = [open('['), open('{'), format!("{{\"id\":{}", "[".repeat(60_000))];
    for (round, id) in (0_u16..20).enumerate() {
        bad.send(b"");
        bad.send(&[0x00; 3]);
        bad.send(&vec![0xFF; 65_507]);
        bad.send(&vec![0x40; 65_507]);
        bad.send(&[&[0x48, 2, 0, 0][..], &vec![0xB1; 65_000]].concat());
        // What no server asked for, and an empty message that is none.
        bad.send(&[0x60, 0x44, 0, 1]);
        bad.send(&[0x50, 0, 0, 1]);
        for bomb in &bombs {
            bad.send(bomb.as_bytes());
        }
        assert_eq!(good.ask(&con(id, &visit(&format!("good-{round:02}")))).code, "2.04");
        // The two that say they are confirmable are rejected, all else is ignored.
        assert_eq!([bad.answer().bytes, bad.answer().bytes], [[0x70, 0, 0x40, 0x40], [0x70, 0, 0, 0]]);
        // The socket need not hold more than one round.
        let wanted = 11 * (round as u64 + 1);
        until(|| sum(&server, "mashang_udp_datagrams_total") == wanted, "all datagrams are received");
    }
    adds_up(&server);
    assert_eq!((accepted(&server), sum(&server, "mashang_events_rejected_total")), (20, 60));
    assert_eq!((refused(&server, "malformed"), refused(&server, "unexpected")), (100, 40));
    assert!(!bad.has_answer());
    server.settle();
    assert_eq!(ids(dir.path()).len(), 20);
}

#[test]
fn the_largest_datagram_is_taken_whole() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    let lines: Vec<String> = (0..).map(|i| visit(&format!("{i:07}"))).take(65_507 / 53).collect();
    let body = lines.join("\n");
    let body = format!("{body}{}", " ".repeat(65_507 - body.len()));
    client.send(body.as_bytes());
    until(|| accepted(&server) == lines.len() as u64, "all of it is accepted");
    // The same in a request, with as much space less as its head takes.
    let around = con(1, "x").len() - 1;
    assert_eq!(client.ask(&con(1, &body[..65_507 - around])).code, "2.04");
    assert_eq!(accepted(&server), 2 * lines.len() as u64);
}

#[test]
fn events_beyond_the_memory_budget_are_shed() {
    let dir = shop();
    let server = Server::start(dir.path(), &[&UDP[..], &["--inflight-bytes", "33554432"]].concat());
    let client = Client::to(&server);
    // Two bodies whose ends never come take three times their bytes, all but some 100 KiB of the memory budget.
    let mut slow = [7_340_032, 3_806_331].map(|bytes: usize| {
        let mut stream = raw(&server, head(bytes + 1).as_bytes());
        stream.write_all(&vec![b' '; bytes]).expect("it takes them");
        stream
    });
    until(|| server.metric("mashang_edge_inflight_bytes") > 33_300_000, "the slow requests are in flight");
    let large = format!("{}{}", visit("large"), " ".repeat(60_000));
    let refused = client.ask(&con(1, &large));
    assert_eq!(
        (refused.code.as_str(), refused.payload.as_str()),
        ("5.03", "too many bytes are in flight; send it again")
    );
    assert!(refused.max_age.is_some_and(|s| (1..=3).contains(&s)), "{refused:?}");
    client.send(large.as_bytes());
    assert_eq!(client.ask(&con(2, &visit("small"))).code, "2.04", "small ones still fit");
    assert_eq!(server.metric("mashang_events_shed_total{reason=\"busy\"}"), 2);
    slow.iter_mut().for_each(|stream| stream.write_all(b" ").expect("it takes the end"));
    until(|| server.metric("mashang_edge_inflight_bytes") == 0, "what was held is given back");
    assert_eq!(client.ask(&con(3, &large)).code, "2.04");
    assert_eq!(client.ask(&con(1, &large)).code, "5.03", "a retransmission gets the first answer");
    adds_up(&server);
}

#[test]
fn what_was_sent_before_a_stop_is_taken() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    (0..200).for_each(|i| client.send(visit(&format!("{i:03}")).as_bytes()));
    let (status, told) = server.stop();
    assert!(status.success(), "{told}");
    assert_eq!(ids(dir.path()).len(), 200);
}

const FIXED: [&str; 9] =
    ["serve", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", "data", "--rules", "rules.toml"];

#[test]
fn starts_that_must_not_be_are_refused() {
    let dir = shop();
    let start = |more: &[&str], expect: Expect| {
        let output = mashang(dir.path(), &[&FIXED[..], more].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = output.status.code().expect("no signal");
        expect.assert_eq(&format!("{status} {}", told.lines().find(|l| !l.is_empty()).unwrap_or_default()));
    };
    start(
        &["--udp", "0.0.0.0:0"],
        expect![
            "2 mashang: --udp 0.0.0.0:0: others can reach this address, and there are no keys: give --keys FILE, or an address of this machine such as 127.0.0.1"
        ],
    );
    start(
        &["--udp-trust", "10.0.0.1/8"],
        expect![
            "2 error: invalid value '10.0.0.1/8' for '--udp-trust <NETWORK,…>': 10.0.0.1/8: is an address inside a network; give the network's first one"
        ],
    );
    std::fs::write(dir.path().join("serve.toml"), "udp-trust = [\"home\"]\n").expect("a file");
    start(
        &["--config", "serve.toml"],
        expect![
            "2 mashang: --config serve.toml:1: udp-trust: home: is no network; give an address, or one with its bits such as 10.1.0.0/16"
        ],
    );
    // Neither beside a stranger nor beside another one of ours.
    let second = shop();
    let beside = |address: &str| {
        let output = mashang(second.path(), &[&FIXED[..], &["--udp", address]].concat());
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(&format!("--udp {address}: cannot listen: ")), "{told}");
        assert!(told.contains("stop the other process, or choose another port"), "{told}");
    };
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    beside(&address);
    drop(taken);
    let server = Server::start(dir.path(), &["--udp", &address]);
    beside(&address);
    drop(server);
}

/// Several processes on one machine run without an option that switches datagrams off.
#[test]
fn by_default_the_first_process_takes_coaps_port() {
    const COAP: &str = "127.0.0.1:5683";
    let (dir, other) = (shop(), shop());
    let deadline = Instant::now() + Duration::from_secs(60);
    // Other tests hold the port for moments.
    let held = loop {
        match UdpSocket::bind(COAP) {
            Ok(socket) => break socket,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let second = Server::start_with(binary(), other.path(), &[]);
    assert_eq!(second.udp, None);
    assert!(second.stop().0.success());
    drop(held);
    let _first = loop {
        let server = Server::start_with(binary(), dir.path(), &[]);
        match server.udp {
            Some(address) => {
                assert_eq!(address, COAP.parse().expect("an address"));
                break server;
            }
            None => assert!(Instant::now() < deadline, "the port stays taken"),
        }
    };
    // A process whose option names the port reports that it cannot be bound.
    let mut command = binary();
    command.args(["serve", "--data", "data", "--rules", "rules.toml", "--udp", COAP]);
    command.args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let refused = command.current_dir(other.path()).output().expect("the binary runs");
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains(&format!("--udp {COAP}: cannot listen")) && told.contains("choose another port"), "{told}");
}
