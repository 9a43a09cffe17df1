//! Events, good and bad (contract section 1).

mod bodies;
mod cloud;
mod values;

use std::fmt::Write as _;

use bumpalo::Bump;
use expect_test::{Expect, expect};
use wire::event::{Accepted, Merchants, Reason, Refused, read};

fn one() -> Merchants {
    Merchants::new([("acme", "CNY")])
}

fn two() -> Merchants {
    Merchants::new([("acme", "CNY"), ("zeta", "JPY")])
}

fn told(read: &Result<Accepted<'_>, Refused>) -> String {
    let mut told = String::new();
    match read {
        Ok(Accepted { event, received, unknown_fields }) => {
            write!(told, "{} {} of {} at {}", event.action, event.id, event.shopper, event.merchant).expect("a text");
            let texts = [
                ("store", event.store),
                ("guide", event.guide),
                ("region", event.region),
                ("channel", event.channel),
                ("device", event.device),
                ("ticket", event.ticket),
            ];
            for (name, text) in texts.iter().filter_map(|(name, text)| text.map(|text| (name, text))) {
                write!(told, ", {name} {text:?}").expect("a text");
            }
            if let Some(time) = event.time {
                write!(told, ", time {time}").expect("a text");
            }
            if let Some(code) = event.code {
                write!(told, ", {code:?}").expect("a text");
            }
            if let Some(order) = event.order {
                write!(told, ", {order:?}").expect("a text");
            }
            if let Some(received) = received {
                write!(told, ", received {received}").expect("a text");
            }
            if *unknown_fields > 0 {
                write!(told, ", {unknown_fields} unknown").expect("a text");
            }
        }
        Err(refused) => {
            assert_eq!(refused.reason(), refused.errors[0].reason);
            write!(told, "{}", refused.id.as_deref().unwrap_or("-")).expect("a text");
            for error in &refused.errors {
                assert!(error.error.starts_with(&error.field), "an error names its field: {error:?}");
                write!(told, "\n{}: {}", error.reason.as_str(), error.error).expect("a text");
            }
        }
    }
    told
}

fn check_of(merchants: &Merchants, object: impl AsRef<[u8]>, expect: Expect) {
    expect.assert_eq(&told(&read(object.as_ref(), merchants, &Bump::new())));
}

fn check(object: impl AsRef<[u8]>, expect: Expect) {
    check_of(&one(), object, expect);
}

/// A visit with some more fields.
fn check_visit(more: &str, expect: Expect) {
    check(format!(r#"{{"id":"e1","action":"visit","shopper":"u1",{more}}}"#), expect);
}

#[test]
fn the_contracts_example() {
    let object = r#"{"id":"7f3a","action":"order","shopper":"u1","merchant":"acme","time":"2026-11-11T00:00:03.120+08:00","order":"o-9","amount":25900,"store":"s-12"}"#;
    check(
        object,
        expect![[
            r#"order 7f3a of u1 at acme, store "s-12", time 1794326403120, Payment { number: "o-9", amount: 25900, part: Sale }"#
        ]],
    );
    let arena = Bump::new();
    let accepted = read(object.as_bytes(), &one(), &arena).expect("an event");
    // printf 'acme\x1fu1\x1forder\x1f7f3a' | sha256sum | head -c 32
    assert_eq!(format!("{:032x}", accepted.event.key), "793e9accdd23051af1e034aa33f4bd25");
    assert_eq!(accepted.event.stamp, 0);
    assert_eq!(arena.allocated_bytes(), 0, "nothing is copied");
}

#[test]
fn every_action() {
    check(
        r#"{"id":"e1","action":"scan","shopper":"u1","code":"G1"}"#,
        expect![[r#"scan e1 of u1 at acme, Code { text: "G1", link: None }"#]],
    );
    check(
        r#"{"id":"e1","action":"scan","shopper":"u1","code":"https://m.example/01/06901234567892/21/A%2FB"}"#,
        expect![[
            r#"scan e1 of u1 at acme, Code { text: "https://m.example/01/06901234567892/21/A%2FB", link: Some(Gtin(6901234567892, Some("A/B"))) }"#
        ]],
    );
    check(
        r#"{"id":"e1","action":"visit","shopper":"u1","channel":"magazine","region":"330100"}"#,
        expect![[r#"visit e1 of u1 at acme, region "330100", channel "magazine""#]],
    );
    check(
        r#"{"id":"e1","action":"follow","shopper":"u1","guide":"g-1"}"#,
        expect![[r#"follow e1 of u1 at acme, guide "g-1""#]],
    );
    check(
        r#"{"id":"e1","action":"join","shopper":"u1","store":"s-12","code":"G1"}"#,
        expect![[r#"join e1 of u1 at acme, store "s-12", Code { text: "G1", link: None }"#]],
    );
    check(
        r#"{"id":"e1","action":"claim","shopper":"u1","ticket":"1111"}"#,
        expect![[r#"claim e1 of u1 at acme, ticket "1111""#]],
    );
    check(
        r#"{"id":"e1","action":"redeem","shopper":"u1","ticket":"1111"}"#,
        expect![[r#"redeem e1 of u1 at acme, ticket "1111""#]],
    );
    check(
        r#"{"id":"e1","action":"order","shopper":"u1","order":"o1","amount":0,"part":"deposit","currency":"CNY"}"#,
        expect![[r#"order e1 of u1 at acme, Payment { number: "o1", amount: 0, part: Deposit }"#]],
    );
    check(
        r#"{"id":"e1","action":"refund","shopper":"u1","order":"o1","amount":5,"part":"deposit"}"#,
        expect![[r#"refund e1 of u1 at acme, Payment { number: "o1", amount: 5, part: Sale }"#]],
    );
}

#[test]
fn a_device_stands_in() {
    check(r#"{"id":"e1","action":"visit","device":"d1"}"#, expect![[r#"visit e1 of device:d1 at acme, device "d1""#]]);
    check(
        r#"{"id":"e1","action":"scan","device":"d1","shopper":null,"code":"G1"}"#,
        expect![[r#"scan e1 of device:d1 at acme, device "d1", Code { text: "G1", link: None }"#]],
    );
    check(
        r#"{"id":"e1","action":"scan","device":"d1","shopper":"u1","code":"G1"}"#,
        expect![[r#"scan e1 of u1 at acme, device "d1", Code { text: "G1", link: None }"#]],
    );
    check(
        r#"{"id":"e1","action":"join","device":"d1"}"#,
        expect![[r#"
        e1
        missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)"#]],
    );
    check(
        r#"{"id":"e1","action":"visit"}"#,
        expect![[r#"
        e1
        missing: shopper: is missing; send one, or a device"#]],
    );
    // A device that is wrong is one mistake, not two.
    check(
        r#"{"id":"e1","action":"visit","device":""}"#,
        expect![[r#"
            e1
            length: device: is empty; send 1 to 64 bytes"#]],
    );
}

#[test]
fn null_is_as_if_left_out() {
    check_visit(
        r#""time":null,"code":null,"amount":null,"part":null,"merchant":null,"else":null"#,
        expect!["visit e1 of u1 at acme"],
    );
    check(
        r#"{"id":null,"action":"visit","shopper":"u1"}"#,
        expect![[r#"
        -
        missing: id: is missing; every event needs one"#]],
    );
    check_visit(r#""store":null,"store":"s-1""#, expect![[r#"visit e1 of u1 at acme, store "s-1""#]]);
}

#[test]
fn unknown_fields_are_counted() {
    check_visit(r#""x":1,"y":{"id":[{"id":2}]},"z":1e999,"ID":"no""#, expect!["visit e1 of u1 at acme, 4 unknown"]);
    check_visit(r#""received":1,"partition":"x","offset":2"#, expect!["visit e1 of u1 at acme, 3 unknown"]);
    // Whatever their nesting.
    check_visit(
        &format!(r#""deep":{}{}"#, "[".repeat(60_000), "]".repeat(60_000)),
        expect!["visit e1 of u1 at acme, 1 unknown"],
    );
    check_visit(
        &format!(r#""code":{}{}"#, "[".repeat(60_000), "]".repeat(60_000)),
        expect![[r#"
        e1
        type: code: is a list; send a text, in quotes"#]],
    );
    check_visit(
        &format!(r#""deep":{}"#, "[".repeat(60_000)),
        expect![[r#"
        -
        json: the event is not JSON: expected value at byte 60051"#]],
    );
}

#[test]
fn all_missing_fields_are_reported_at_once() {
    check(
        "{}",
        expect![[r#"
        -
        missing: id: is missing; every event needs one
        missing: action: is missing; every event needs one
        missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)"#]],
    );
    check_of(
        &two(),
        "{}",
        expect![[r#"
            -
            missing: id: is missing; every event needs one
            missing: action: is missing; every event needs one
            missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)
            missing: merchant: is missing; it may be left out only where one merchant is known (here are 2)"#]],
    );
    check(
        r#"{"id":"e1","action":"scan","shopper":"u1"}"#,
        expect![[r#"
        e1
        missing: code: is missing; the action scan needs one"#]],
    );
    check(
        r#"{"id":"e1","action":"claim"}"#,
        expect![[r#"
        e1
        missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)
        missing: ticket: is missing; the action claim needs one"#]],
    );
    check(
        r#"{"id":"e1","action":"redeem","shopper":"u1"}"#,
        expect![[r#"
        e1
        missing: ticket: is missing; the action redeem needs one"#]],
    );
    check(
        r#"{"id":"e1","action":"order","shopper":"u1"}"#,
        expect![[r#"
        e1
        missing: order: is missing; the action order needs one
        missing: amount: is missing; the action order needs one"#]],
    );
    check(
        r#"{"id":"e1","action":"refund","shopper":"u1","amount":3}"#,
        expect![[r#"
        e1
        missing: order: is missing; the action refund needs one"#]],
    );
}

#[test]
fn a_field_given_twice() {
    check_visit(
        r#""id":"e2""#,
        expect![[r#"
        e1
        repeated: id: is given twice; send it once"#]],
    );
    check_visit(
        r#""store":"s-1","\u0073tore":"s-1","x":1,"x":2"#,
        expect![[r#"
        e1
        repeated: store: is given twice; send it once"#]],
    );
}

#[test]
fn all_errors_at_once() {
    check(
        r#"{"id":"e1","action":"order","merchant":"stranger","time":"now","code":"","store":1,"order":[],"amount":"12","currency":"???","part":"half"}"#,
        expect![[r#"
            e1
            value: time: not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00: "now"
            length: code: is empty; send 1 to 512 bytes
            type: store: is the number 1; send a text, in quotes
            type: order: is a list; send a text, in quotes
            type: amount: is the text "12"; send an integer of minor units, without quotes
            value: part: is "half"; send sale, deposit or balance
            missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)
            merchant: merchant: is "stranger", which is not known here; send the name in its rules
            currency: currency: is "???"; send a code of ISO 4217 or leave it out"#]],
    );
}

#[test]
fn what_is_no_json_object() {
    check(
        "",
        expect![[r#"
            -
            json: the event is empty; send a JSON object"#]],
    );
    check(
        "  ",
        expect![[r#"
            -
            json: the event is empty; send a JSON object"#]],
    );
    check(
        "[]",
        expect![[r#"
        -
        object: the event is a list; send a JSON object"#]],
    );
    check(
        "\"e1\"",
        expect![[r#"
        -
        object: the event is a text; send a JSON object"#]],
    );
    check(
        "12",
        expect![[r#"
        -
        object: the event is a number; send a JSON object"#]],
    );
    check(
        "null",
        expect![[r#"
        -
        object: the event is null; send a JSON object"#]],
    );
    check(
        "nil",
        expect![[r#"
        -
        json: the event is not JSON: expected ident at byte 2"#]],
    );
    check(
        "{",
        expect![[r#"
            -
            json: the event is not JSON: the text ends inside an object at byte 1"#]],
    );
    check(
        r#"{"id":"e1"}}"#,
        expect![[r#"
        -
        json: the event is not JSON: trailing characters at byte 12"#]],
    );
    check(
        r#"{"id":"e1",}"#,
        expect![[r#"
        -
        json: the event is not JSON: trailing comma at byte 12"#]],
    );
    check(
        r#"{"id":"e1" "action":"visit"}"#,
        expect![[r#"
        -
        json: the event is not JSON: expected `,` or `}` at byte 12"#]],
    );
    check(
        r#"{id:"e1"}"#,
        expect![[r#"
        -
        json: the event is not JSON: key must be a string at byte 2"#]],
    );
    check(
        "{\"id\":\n \"e1\",\n x}",
        expect![[r#"
        -
        json: the event is not JSON: key must be a string at byte 16"#]],
    );
    check(
        b"{\"id\":\"\xff\"}",
        expect![[r#"
        -
        utf8: the event is not UTF-8 at byte 8"#]],
    );
    check(
        b"\xef\xbb\xbf{}",
        expect![[r#"
            -
            missing: id: is missing; every event needs one
            missing: action: is missing; every event needs one
            missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)"#]],
    );
}

#[test]
fn lines_of_a_log_dump() {
    let dump = || one().with_dump_lines();
    let visit = |more: &str| format!(r#"{{"id":"e1","action":"visit","shopper":"u1",{more}}}"#);
    check_of(
        &dump(),
        visit(r#""received":"2026-11-11T00:00:00.001Z","partition":3,"offset":12"#),
        expect!["visit e1 of u1 at acme, received 1794355200001"],
    );
    check_of(&dump(), visit(r#""received":5,"x":1"#), expect!["visit e1 of u1 at acme, received 5, 1 unknown"]);
    check_of(&dump(), visit(r#""store":"s-1""#), expect![[r#"visit e1 of u1 at acme, store "s-1""#]]);
    check_of(
        &dump(),
        visit(r#""received":"then","partition":-1,"offset":"12""#),
        expect![[r#"
            e1
            value: received: not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00: "then""#]],
    );
}

#[test]
fn reasons_are_few_and_differ() {
    let names: std::collections::BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}
