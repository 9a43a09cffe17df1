//! Whose datagrams are taken: signatures and networks.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wire::coap::Kind;

use super::{Answer, Client, UDP, accepted, adds_up, con, ids, refused, request, sum, until, visit};
use crate::serve::server::{Server, binary, post};
use crate::serve::setup::{key, shop, write_keys};

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The signature as the contract words it.
fn signature(secret: &str, key: &str, time: &str, payload: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut mac = Hmac::<Sha256>::new_from_slice(&Sha256::digest(secret)).expect("a key");
    mac.update(format!("{key}\u{1f}{time}\u{1f}{payload}").as_bytes());
    let bits: Vec<bool> = mac.finalize().into_bytes()[..16]
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 == 1))
        .collect();
    let digit = |six: &[bool]| (0..6).fold(0, |sum, i| sum << 1 | usize::from(six.get(i) == Some(&true)));
    bits.chunks(6).map(|six| char::from(DIGITS[digit(six)])).collect()
}

fn signed_at(kind: Kind, id: u16, (key, secret): (&str, &str), time: &str, payload: &str) -> Vec<u8> {
    let signature = signature(secret, key, time, payload);
    let arguments = [format!("k={key}"), format!("t={time}"), format!("s={signature}")];
    request(kind, id, &arguments.each_ref().map(String::as_str), payload.as_bytes())
}

fn signed(id: u16, key: (&str, &str), payload: &str) -> Vec<u8> {
    signed_at(Kind::Confirmable, id, key, &now_s().to_string(), payload)
}

const TILL: (&str, &str) = ("till", "s3cret");

/// A service with keys that trusts these networks.
fn service(dir: &std::path::Path, trust: &str) -> Server {
    let ingest = key(TILL.0, TILL.1, "merchants = [\"steady\"]\nscopes = [\"ingest\"]\nactions = [\"visit\"]");
    let read = key("board", "looks", "merchants = [\"steady\"]\nscopes = [\"read\"]");
    let other = key("other", "o", "merchants = [\"stranger\"]\nscopes = [\"ingest\"]");
    write_keys(dir, &[ingest.as_str(), &read, &other].concat());
    Server::start(dir, &[&UDP[..], &["--keys", "keys.toml", "--udp-trust", trust]].concat())
}

#[test]
fn what_is_not_signed_well_is_never_answered() {
    let dir = shop();
    let server = service(dir.path(), "none");
    let client = Client::to(&server);
    let mut sent = 0;
    let mut never = |datagram: &[u8]| {
        client.send(datagram);
        sent += 1;
    };
    let (event, now) = (visit("never"), now_s());
    never(event.as_bytes());
    never(&con(1, &event));
    never(&[0x40, 0, 0, 2]);
    never(&signed(3, ("till", "guess"), &event));
    never(&signed(4, ("stranger", "s3cret"), &event));
    let mut changed = signed(5, TILL, &event);
    *changed.last_mut().expect("a byte") = b' ';
    never(&changed);
    for time in [now - 303, now + 310] {
        never(&signed_at(Kind::Confirmable, 6, TILL, &time.to_string(), &event));
    }
    for time in ["", "soon", "-1", "99999999999999999999"] {
        never(&signed_at(Kind::Confirmable, 7, TILL, time, &event));
    }
    let right = signature(TILL.1, TILL.0, &now.to_string(), &event);
    let time = format!("t={now}");
    for signature in
        ["", &right[..21], &format!("{right}A"), &format!("{}{}", &right[..21], "*"), &right.to_lowercase()]
    {
        let arguments = ["k=till", &time, &format!("s={signature}")];
        never(&request(Kind::Confirmable, 8, &arguments, event.as_bytes()));
    }
    never(&request(Kind::Confirmable, 9, &["k=till", &time], event.as_bytes()));
    never(&request(Kind::Confirmable, 10, &["k=till", &format!("s={right}")], event.as_bytes()));
    never(&request(Kind::Confirmable, 11, &["k=\u{1f}", &time, &format!("s={right}")], event.as_bytes()));
    // A malformed message gets no answer either, and a duplicate gets none.
    never(&[0x49, 2, 0, 1]);
    let good = signed(12, TILL, &visit("good"));
    assert_eq!(client.ask(&good).id, 12, "the first answer is that to the good one");
    never(&con(12, &event));
    assert_eq!(client.ask(&good).id, 12);
    let later = (now_s() + 60).to_string();
    assert_eq!(client.ask(&signed_at(Kind::Confirmable, 13, TILL, &later, &visit("good"))).id, 13);
    assert!(!client.has_answer());
    assert_eq!((refused(&server, "unauthenticated"), refused(&server, "malformed")), (sent - 1, 1));
    assert_eq!((sum(&server, "mashang_events_received_total"), accepted(&server)), (2, 2));
    server.settle();
    assert_eq!(ids(dir.path()), ["good", "good"]);
}

#[test]
fn a_key_opens_what_it_is_for() {
    let dir = shop();
    let server = service(dir.path(), "none");
    let client = Client::to(&server);
    let say = |answer: Answer| format!("{} {}", answer.code, answer.payload);
    let join = "{\"id\":\"j\",\"action\":\"join\",\"shopper\":\"u1\"}";
    assert_eq!(say(client.ask(&signed(1, TILL, &visit("a")))), "2.04 ");
    assert_eq!(say(client.ask(&signed(2, TILL, join))), "4.00 action: join is not among the actions of key till");
    assert_eq!(say(client.ask(&signed(3, ("board", "looks"), join))), "4.03 the key has no scope ingest");
    assert_eq!(say(client.ask(&signed(4, ("other", "o"), join))), "4.03 the key is of no merchant that is served here");
    // A clock may be a little fast or slow; a non-confirmable message gets no answer.
    for (id, time) in [(5, now_s() - 290), (6, now_s() + 290)] {
        let asked = signed_at(Kind::Confirmable, id, TILL, &time.to_string(), &visit(&id.to_string()));
        assert_eq!(client.ask(&asked).code, "2.04");
    }
    let now = now_s().to_string();
    client.send(&signed_at(Kind::NonConfirmable, 7, TILL, &now, &visit("7")));
    assert_eq!(client.ask(&signed(8, TILL, &visit("8"))).id, 8);
    adds_up(&server);
    assert_eq!((accepted(&server), refused(&server, "forbidden")), (5, 2));
    // The same signature gets the first answer, also of a message that got none, and is not taken again.
    assert_eq!(say(client.ask(&signed_at(Kind::Confirmable, 9, TILL, &now, &visit("7")))), "2.04 ");
    client.send(&signed_at(Kind::NonConfirmable, 10, TILL, &now, &visit("7")));
    assert_eq!(client.ask(&signed(11, TILL, &visit("11"))).id, 11);
    assert_eq!(accepted(&server), 6);
}

#[test]
fn networks_that_are_trusted_need_no_key() {
    let dir = shop();
    let server = service(dir.path(), "127.0.0.2,127.1.0.0/16");
    let to = server.udp.expect("an address");
    for (n, (own, trusted)) in
        [("127.0.0.2", true), ("127.1.2.3", true), ("127.0.0.1", false), ("127.2.0.1", false)].into_iter().enumerate()
    {
        let client = Client::from(own, to);
        client.send(visit(&format!("json-{n}")).as_bytes());
        client.send(&con(1, &visit(&format!("con-{n}"))));
        if trusted {
            assert_eq!(client.answer().code, "2.04");
            // A key is looked at all the same, and what it may not do it may not do here.
            let wrong = client.ask(&signed(2, ("till", "guess"), &visit("never")));
            assert_eq!(
                (wrong.code.as_str(), wrong.payload.as_str()),
                ("4.01", "the key is not known, or the signature is not right")
            );
            let action = client.ask(&signed(3, TILL, "{\"id\":\"never\",\"action\":\"join\",\"shopper\":\"u1\"}"));
            assert_eq!(action.code, "4.00");
        }
        assert_eq!(client.ask(&signed(4, TILL, &visit(&format!("signed-{n}")))).id, 4);
        assert!(!client.has_answer());
    }
    until(|| accepted(&server) == 8, "what is trusted or signed is accepted");
    assert_eq!(refused(&server, "unauthenticated"), 2 + 4);
    server.settle();
    let wanted = ["con-0", "con-1", "json-0", "json-1", "signed-0", "signed-1", "signed-2", "signed-3"];
    assert_eq!(ids(dir.path()), wanted);
}

#[test]
fn this_machine_is_trusted_unless_it_is_said() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::from("127.9.9.9", server.udp.expect("an address"));
    assert_eq!(client.ask(&con(1, &visit("a"))).code, "2.04");
    // Where there are no keys a signature is not looked at.
    assert_eq!(client.ask(&signed(2, TILL, &visit("b"))).code, "2.04");
    drop(server);
    std::fs::write(dir.path().join("serve.toml"), "udp = \"127.0.0.1:0\"\nudp-trust = [\"127.0.0.0/24\", \"::1\"]\n")
        .expect("a file");
    let server = Server::start_with(binary(), dir.path(), &["--config", "serve.toml"]);
    let to = server.udp.expect("an address");
    let (own, other) = (Client::from("127.0.0.9", to), Client::from("127.9.9.9", to));
    other.send(&con(1, &visit("never")));
    assert_eq!(own.ask(&con(1, &visit("c"))).code, "2.04");
    until(|| refused(&server, "unauthenticated") == 1, "it is counted");
    assert!(!other.has_answer());
}

#[test]
fn quota_is_shared_by_http_and_udp() {
    let dir = shop();
    let rest = "merchants = [\"steady\"]\nscopes = [\"ingest\"]";
    let till = key(TILL.0, TILL.1, &format!("{rest}\nquota = {{ events-per-second = 1, burst = 2 }}"));
    let other = key("other", "o", rest);
    write_keys(
        dir.path(),
        &[till.as_str(), &other, "[quotas]\nsteady = { events-per-second = 1, burst = 5 }\n"].concat(),
    );
    let server = Server::start(dir.path(), &[&UDP[..], &["--keys", "keys.toml", "--udp-trust", "none"]].concat());
    let client = Client::to(&server);
    // A request is never cut in half: this one takes what comes in a minute.
    let many: Vec<String> = (0..60).map(|i| visit(&i.to_string())).collect();
    assert_eq!(client.ask(&signed(1, TILL, &many.join("\n"))).code, "2.04");
    let enough = client.ask(&signed(2, TILL, &visit("never")));
    let told = (enough.code.as_str(), enough.payload.as_str());
    assert_eq!(told, ("4.29", "the quota of the key is used up; send it again later"));
    assert!(enough.max_age.is_some_and(|s| (30..=60).contains(&s)), "{enough:?}");
    let enough = client.ask(&signed(3, ("other", "o"), &format!("{}\n{}", visit("never"), visit("never"))));
    let told = (enough.code.as_str(), enough.payload.as_str());
    assert_eq!(told, ("4.29", "the quota of the merchant is used up; send it again later"));
    let over_http = post(&server.http, "application/json", visit("never").as_bytes(), Some("till.s3cret"));
    assert_eq!(over_http.expect("an answer").status, 429);
    adds_up(&server);
    let shed = server.metric("mashang_events_shed_total{reason=\"quota\"}");
    assert_eq!((accepted(&server), shed), (60, 1 + 2 + 1));
}

/// Who copies a signed datagram can send it again from anywhere: its signer loses nothing by that.
#[test]
fn replayed_signature_gets_first_answer_and_costs_no_quota() {
    let dir = shop();
    let rest = "merchants = [\"steady\"]\nscopes = [\"ingest\"]";
    let till = key(TILL.0, TILL.1, &format!("{rest}\nquota = {{ events-per-second = 1, burst = 3 }}"));
    write_keys(dir.path(), &till);
    let server = Server::start(dir.path(), &[&UDP[..], &["--keys", "keys.toml", "--udp-trust", "none"]].concat());
    let (till, thief) = (Client::to(&server), Client::to(&server));
    let time = now_s().to_string();
    let copied = |id, payload: &str| signed_at(Kind::Confirmable, id, TILL, &time, payload);
    assert_eq!(till.ask(&copied(1, &visit("a"))).code, "2.04");
    let wrong = till.ask(&copied(2, "{}"));
    assert_eq!(wrong.code, "4.00");
    for id in 100..150 {
        let again = thief.ask(&copied(id, &visit("a")));
        assert_eq!((again.code.as_str(), again.id), ("2.04", id));
        let again = thief.ask(&copied(1000 + id, "{}"));
        assert_eq!((again.code.as_str(), again.payload == wrong.payload, again.id), ("4.00", true, 1000 + id));
        thief.send(&signed_at(Kind::NonConfirmable, 2000 + id, TILL, &time, &visit("a")));
    }
    // Two of its quota are left.
    assert_eq!(till.ask(&signed(3, TILL, &visit("b"))).code, "2.04");
    assert_eq!(till.ask(&signed(4, TILL, &visit("c"))).code, "2.04");
    adds_up(&server);
    assert_eq!((accepted(&server), server.metric("mashang_events_shed_total{reason=\"quota\"}")), (3, 0));
    server.settle();
    assert_eq!(ids(dir.path()), ["a", "b", "c"]);
}
