//! What went wrong between devices and other people's services, tried here: bytes as devices send them.

use std::sync::atomic::{AtomicU16, Ordering};

use data_encoding::HEXLOWER;
use expect_test::{Expect, expect};
use serde_json::json;
use wire::coap::{CBOR, Code, JSON, Kind, Message, Writer, number};

use super::{Client, UDP, accepted, adds_up, con, ids, refused, request, sum, until, visit};
use crate::serve::server::Server;
use crate::serve::setup::shop;

/// A datagram as hex digits.
fn hex(digits: &str) -> Vec<u8> {
    HEXLOWER.decode(digits.as_bytes()).expect("hex digits")
}

/// A request with a token and options of its own, whose numbers are above that of its path.
fn to_events(kind: Kind, id: u16, token: &[u8], options: &[(u16, &[u8])], payload: &str) -> Vec<u8> {
    let mut buffer = vec![0; payload.len() + 600];
    let mut writer = Writer::new(&mut buffer, kind, Code::POST, id, token);
    for segment in ["v1", "events"] {
        writer = writer.option(number::URI_PATH, segment.as_bytes());
    }
    let writer = options.iter().fold(writer, |writer, (number, value)| writer.option(*number, value));
    writer.payload(payload.as_bytes()).expect("room").to_vec()
}

/// Sends a request and reads its answer, whose payload need not be text.
fn ask_bytes(client: &Client, request: &[u8]) -> Vec<u8> {
    client.send(request);
    let mut buffer = vec![0; 65_535];
    let bytes = client.0.recv(&mut buffer).expect("an answer");
    assert!(bytes <= request.len(), "an answer of {bytes} bytes to {} bytes", request.len());
    buffer.truncate(bytes);
    buffer
}

#[test]
fn one_message_id_for_two_events_takes_both() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    let first = hex(
        "4102000101b27631066576656e7473ff7b226964223a22626f6f742d31222c22616374696f6e223a227669736974222c2273686f70706572223a2273656e736f722d37227d",
    );
    let second = hex(
        "4102000102b27631066576656e7473ff7b226964223a22626f6f742d32222c22616374696f6e223a227669736974222c2273686f70706572223a2273656e736f722d37227d",
    );
    let answers = [&first, &second].map(|asked| client.ask(asked));
    let told = answers.each_ref().map(|answer| (answer.code.as_str(), answer.id, &answer.token[..]));
    assert_eq!(told, [("2.04", 1, &[1][..]), ("2.04", 1, &[2][..])]);
    assert_eq!([&first, &second].map(|asked| client.ask(asked)), answers, "retransmissions get their first answers");
    assert_eq!((accepted(&server), sum(&server, "mashang_udp_retransmissions_total")), (2, 2));
    server.settle();
    assert_eq!(ids(dir.path()), ["boot-1", "boot-2"]);
}

#[test]
fn only_the_same_message_is_a_retransmission() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    let id = 7;
    let send = |token: &[u8], options: &[(u16, &[u8])], event: &str| {
        client.ask(&to_events(Kind::Confirmable, id, token, options, &visit(event))).code
    };
    assert_eq!(send(b"", &[], "a"), "2.04");
    // Another payload, though the token is the same; another token; other arguments; other options.
    assert_eq!(send(b"", &[], "b"), "2.04");
    assert_eq!(send(b"t", &[], "c"), "2.04");
    assert_eq!(send(b"t", &[(number::URI_QUERY, b"till=1")], "d"), "2.04");
    assert_eq!(send(b"t", &[(number::URI_QUERY, b"till=2")], "d"), "2.04");
    assert_eq!(send(b"t", &[(number::CONTENT_FORMAT, b"\x3c")], "d"), "4.15");
    assert_eq!(send(b"t", &[(number::CONTENT_FORMAT, b"\x32")], "d"), "2.04");
    assert_eq!(sum(&server, "mashang_udp_retransmissions_total"), 0);
    assert_eq!(send(b"", &[], "a"), "2.04");
    assert_eq!(send(b"t", &[(number::CONTENT_FORMAT, b"\x3c")], "d"), "4.15");
    assert_eq!(sum(&server, "mashang_udp_retransmissions_total"), 2);
    server.settle();
    assert_eq!(ids(dir.path()), ["a", "b", "c", "d", "d", "d"]);
}

#[test]
fn one_message_id_in_flight_twice_is_answered_twice() {
    const TOKENS: std::ops::Range<u8> = 0..50;
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    for token in TOKENS {
        client.send(&to_events(Kind::Confirmable, 9, &[token], &[], &visit(&format!("{token:02}"))));
    }
    let mut tokens: Vec<u8> = TOKENS
        .map(|_| client.answer())
        .map(|answer| {
            assert_eq!((answer.code.as_str(), answer.id), ("2.04", 9));
            answer.token[0]
        })
        .collect();
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(TOKENS));
    server.settle();
    assert_eq!(ids(dir.path()), TOKENS.map(|token| format!("{token:02}")).collect::<Vec<_>>());
}

/// Asks for an answer in some formats; compares the answer and its format.
fn check_accept(client: &Client, accepts: &[&[u8]], payload: &str, expect: &Expect) {
    static ID: AtomicU16 = AtomicU16::new(0);
    let options: Vec<(u16, &[u8])> = accepts.iter().map(|value| (number::ACCEPT, *value)).collect();
    let id = ID.fetch_add(1, Ordering::Relaxed);
    let answer = ask_bytes(client, &to_events(Kind::Confirmable, id, b"tk", &options, payload));
    let message = Message::parse(&answer).expect("a message");
    assert_eq!((message.id, message.token), (id, &b"tk"[..]));
    let content: String = match message.content_format() {
        None => format!("{:?}", std::str::from_utf8(message.payload).expect("UTF-8")),
        Some(JSON) => format!("JSON {}", serde_json::from_slice::<serde_json::Value>(message.payload).expect("JSON")),
        Some(CBOR) => {
            format!("CBOR {}", ciborium::from_reader::<serde_json::Value, _>(message.payload).expect("CBOR"))
        }
        Some(other) => panic!("format {other}"),
    };
    expect.assert_eq(&format!("{} {content}", message.code));
}

#[test]
fn accept_json_and_cbor_are_honoured() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    let asked = hex(
        "4102133701b27631066576656e747311325132ff7b226964223a226134222c22616374696f6e223a227669736974222c2273686f70706572223a227531227d",
    );
    let answer = client.ask(&asked);
    assert_eq!((answer.code.as_str(), answer.id, &answer.token[..]), ("2.04", 0x1337, &[1][..]));
    let one = visit("a");
    check_accept(&client, &[], &one, &expect![[r#"2.04 """#]]);
    check_accept(&client, &[&[50]], &one, &expect![[r#"2.04 """#]]);
    check_accept(&client, &[&[60]], &one, &expect![[r#"2.04 """#]]);
    // An answer with content has the requested format, and is whole where it fits.
    let half = format!("{}\n{{\"id\":\"b\",\"action\":\"visit\",\"shopper\":\"\"}}", visit("a"));
    check_accept(&client, &[], &half, &expect![[r#"2.04 JSON {"accepted":1}"#]]);
    check_accept(&client, &[&[50]], &half, &expect![[r#"2.04 JSON {"accepted":1}"#]]);
    check_accept(&client, &[&[60]], &half, &expect![[r#"2.04 CBOR {"accepted":1}"#]]);
    let half = format!("{half}{}", " ".repeat(100));
    check_accept(
        &client,
        &[&[50]],
        &half,
        &expect![[
            r#"2.04 JSON {"accepted":1,"rejected":[{"error":"shopper: is empty; send 1 to 64 bytes","field":"shopper","id":"b","index":1}]}"#
        ]],
    );
    check_accept(
        &client,
        &[&[60]],
        &half,
        &expect![[
            r#"2.04 CBOR {"accepted":1,"rejected":[{"error":"shopper: is empty; send 1 to 64 bytes","field":"shopper","id":"b","index":1}]}"#
        ]],
    );
    // An error is text, whichever format is accepted.
    check_accept(
        &client,
        &[&[60]],
        "{\"id\":\"b\",\"action\":\"visit\",\"shopper\":\"\"}",
        &expect![[r#"4.00 "shopper: is empty; send 1 to 64 bytes""#]],
    );
    assert_eq!(accepted(&server), 9);
}

#[test]
fn accept_of_any_other_format_is_4_06() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    let one = visit("never");
    let expect = expect![[r#"4.06 "answers are JSON or CBOR: Accept 50, 60, or none""#]];
    for format in [&b""[..], &[0], &[40], &[1, 0], &[0x2c, 0x62]] {
        check_accept(&client, &[format], &one, &expect);
    }
    let expect = expect![[r#"4.02 "a critical option is not known here""#]];
    check_accept(&client, &[&[50], &[50]], &one, &expect);
    check_accept(&client, &[&[0, 0, 50]], &one, &expect);
    assert_eq!((refused(&server, "format"), refused(&server, "option"), accepted(&server)), (5, 2, 0));
}

/// Datagrams that are no requests, and the message id of the reset that rejects them, if any.
const MALFORMED: [(&str, Option<u16>); 21] = [
    // A marker without a payload; a token of 9 bytes; the reserved classes 1, 6 and 7.
    ("4102200101b27631066576656e7473ff", Some(0x2001)),
    ("49022002313233343536373839", Some(0x2002)),
    ("4120200301", Some(0x2003)),
    ("40c02004", Some(0x2004)),
    ("40e12005", Some(0x2005)),
    // An answer to no request; a token or an option that the message cuts off; an empty message that is not empty.
    ("40452006", Some(0x2006)),
    ("4202200701", Some(0x2007)),
    ("40022008b27631b9", Some(0x2008)),
    ("4100200901", Some(0x2009)),
    ("4000200aff00", Some(0x200A)),
    // A ping.
    ("4000200b", Some(0x200B)),
    // The same of no confirmable message, of no message of this version, or with no header.
    ("5102201001b27631066576656e7473ff", None),
    ("50202011", None),
    ("5000201200", None),
    ("6120201301", None),
    ("60452014", None),
    ("7000201500", None),
    ("70002016", None),
    ("0002201701ff", None),
    ("810220180000ff", None),
    ("400219", None),
];

#[test]
fn malformed_confirmables_are_reset_and_others_ignored() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    for (id, (digits, reset)) in (0..).zip(MALFORMED) {
        client.send(&hex(digits));
        if let Some(reset) = reset {
            let [high, low] = reset.to_be_bytes();
            assert_eq!(client.answer().bytes, [0x70, 0, high, low], "{digits}");
        }
        // The answer to this one is the next there is.
        let answer = client.ask(&con(id, &visit(&format!("{id:02}"))));
        assert_eq!((answer.code.as_str(), answer.id), ("2.04", id), "{digits}");
    }
    let unfit = ["malformed", "unexpected"].map(|reason| refused(&server, reason));
    assert_eq!(unfit, [12, 9]);
    // A retransmission is rejected again.
    let asked = hex(MALFORMED[0].0);
    assert_eq!(client.ask(&asked), client.ask(&asked));
}

#[test]
fn malformed_messages_of_strangers_get_no_reset() {
    let dir = shop();
    let server = Server::start(dir.path(), &[&UDP[..], &["--udp-trust", "127.0.0.9"]].concat());
    let to = server.udp.expect("an address");
    let (stranger, trusted) = (Client::from("127.0.0.1", to), Client::from("127.0.0.9", to));
    MALFORMED.iter().for_each(|(digits, _)| stranger.send(&hex(digits)));
    until(|| sum(&server, "mashang_udp_datagrams_total") == 21, "all datagrams are received");
    assert_eq!(trusted.ask(&hex(MALFORMED[0].0)).kind, Kind::Reset);
    assert!(!stranger.has_answer());
    until(|| ["malformed", "unauthenticated"].map(|reason| refused(&server, reason)) == [13, 9], "all are counted");
}

#[test]
fn too_many_events_return_the_accepted_size() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    let size1 = |id: u16, payload: &str| {
        let answer = client.ask(&con(id, payload));
        (answer.code, answer.size1)
    };
    // The shortest bodies that have too many events: what is no larger than that size never has.
    let lines = vec!["0"; 10_001].join("\n");
    assert_eq!(size1(1, &lines), ("4.13".to_owned(), Some(20_000)));
    assert_eq!(size1(2, &format!("[{}0]", "0,".repeat(10_000))), ("4.13".to_owned(), Some(20_000)));
    assert_eq!(size1(3, &lines[..20_000]), ("4.00".to_owned(), None));
    assert_eq!(size1(4, &format!("[{}0]", "0,".repeat(9_999))), ("4.00".to_owned(), None));
    assert_eq!(sum(&server, "mashang_events_received_total"), 20_000);
}

#[test]
fn json_with_bom_blanks_or_nul_is_taken() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    let nul = "7b226964223a226a35222c22616374696f6e223a227669736974222c2273686f70706572223a227531227d00";
    client.send(&hex(nul));
    let bodies = |name: &str| {
        let [one, two] = ["1", "2"].map(|number| visit(&format!("{name}{number}")));
        [
            format!(" {one}\n{two}\0"),
            format!("\r\n\t[{one},{two}]\0\0\0"),
            format!("\u{feff}{one}\n{two}"),
            format!("\u{feff}[{one},{two}]\n\0"),
            format!("\n {{\"id\":\"{name}1\",\n\"action\":\"visit\",\"shopper\":\"u1\"}}\0\r\n"),
        ]
    };
    for body in bodies("json") {
        client.send(body.as_bytes());
    }
    // The same behind the head of a request.
    for (id, body) in (0..).zip(bodies("coap")) {
        assert_eq!(client.ask(&con(id, &body)).code, "2.04", "{body:?}");
    }
    // A NUL within is no end.
    let within = format!("{}\0\n{}", visit("x"), visit("y"));
    client.send(&request(Kind::NonConfirmable, 100, &[], within.as_bytes()));
    until(|| sum(&server, "mashang_udp_datagrams_total") == 12, "all datagrams are received");
    adds_up(&server);
    assert_eq!((accepted(&server), sum(&server, "mashang_events_rejected_total")), (20, 1));
    server.settle();
    let wanted = json!({ "coap1": 5, "coap2": 4, "j5": 1, "json1": 5, "json2": 4, "y": 1 });
    let mut counts = serde_json::Map::new();
    for id in ids(dir.path()) {
        let count = counts.get(&id).and_then(serde_json::Value::as_u64).unwrap_or(0) + 1;
        counts.insert(id, count.into());
    }
    assert_eq!(serde_json::Value::Object(counts), wanted);
}
