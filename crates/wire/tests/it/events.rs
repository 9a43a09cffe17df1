//! Events, good and bad (contract section 1).

use std::fmt::Write as _;

use bumpalo::Bump;
use expect_test::{Expect, expect};
use wire::batch;
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

/// An order with an amount as it is written.
fn check_amount(amount: &str, expect: Expect) {
    check(format!(r#"{{"id":"e1","action":"order","shopper":"u1","order":"o1","amount":{amount}}}"#), expect);
}

fn check_time(time: &str, expect: Expect) {
    check_visit(&format!(r#""time":{time}"#), expect);
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
    // printf 'acme\x1fu1\x1f7f3a' | sha256sum | head -c 32
    assert_eq!(format!("{:032x}", accepted.event.key), "8e27e9938c7636ce37406468685ab8a2");
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
fn escapes_are_undone() {
    check(
        r#"{"\u0069d":"e\u0031","action":"vis\u0069t","shopper":"\ud83d\ude00\/"}"#,
        expect!["visit e1 of 😀/ at acme"],
    );
    check_visit(
        r#""store":"\ud83d""#,
        expect![[r#"
        e1
        utf8: store: has an escape that is no character; send both halves of a surrogate pair"#]],
    );
    check_visit(r#""x":"\ud83d""#, expect!["visit e1 of u1 at acme, 1 unknown"]);
    check_visit(
        r#""store":"\q""#,
        expect![[r#"
        -
        json: the event is not JSON: invalid escape at byte 54"#]],
    );
}

#[test]
fn what_is_missing_is_told_at_once() {
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
fn lengths_are_in_bytes() {
    check_visit(
        &format!(r#""store":"{}""#, "s".repeat(64)),
        expect![[
            r#"visit e1 of u1 at acme, store "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss""#
        ]],
    );
    check_visit(
        &format!(r#""store":"{}""#, "s".repeat(65)),
        expect![[r#"
        e1
        length: store: has 65 bytes; send 1 to 64"#]],
    );
    check_visit(
        &format!(r#""store":"{}""#, "码".repeat(22)),
        expect![[r#"
        e1
        length: store: has 66 bytes; send 1 to 64"#]],
    );
    check_visit(
        &format!(r#""code":"{}""#, "c".repeat(513)),
        expect![[r#"
        e1
        length: code: has 513 bytes; send 1 to 512"#]],
    );
    check(
        r#"{"id":"","action":"visit","shopper":""}"#,
        expect![[r#"
            -
            length: id: is empty; send 1 to 64 bytes
            length: shopper: is empty; send 1 to 64 bytes"#]],
    );
}

#[test]
fn texts_have_no_control_characters() {
    check_visit(
        r#""store":"s\n1""#,
        expect![[r#"
        e1
        control: store: has the control character U+000A as its byte 2; send text without them"#]],
    );
    check_visit(
        "\"store\":\"s\u{85}1\"",
        expect![[r#"
        e1
        control: store: has the control character U+0085 as its byte 2; send text without them"#]],
    );
    check_visit(
        &format!("\"guide\":\"\u{7f}{}\"", "g".repeat(64)),
        expect![[r#"
        e1
        length: guide: has 65 bytes; send 1 to 64
        control: guide: has the control character U+007F as its byte 1; send text without them"#]],
    );
    check_visit(
        "\"store\":\"s\n1\"",
        expect![[r#"
        -
        json: the event is not JSON: control character (\u0000-\u001F) found while parsing a string at byte 53"#]],
    );
    check(
        r#"{"id":"a\u001fb","action":"visit","shopper":"u1"}"#,
        expect![[r#"
        -
        control: id: has the control character U+001F as its byte 2; send text without them"#]],
    );
}

#[test]
fn types_are_told() {
    check_visit(
        r#""store":12,"guide":true,"region":["33"],"channel":{"a":1},"device":1.50"#,
        expect![[r#"
        e1
        type: store: is the number 12; send a text, in quotes
        type: guide: is true; send a text, in quotes
        type: region: is a list; send a text, in quotes
        type: channel: is an object; send a text, in quotes
        type: device: is the number 1.50; send a text, in quotes"#]],
    );
    check(
        r#"{"id":7,"action":1,"shopper":false}"#,
        expect![[r#"
        -
        type: id: is the number 7; send a text, in quotes
        type: action: is the number 1; send scan, visit, follow, join, claim, redeem, order or refund
        type: shopper: is false; send a text, in quotes"#]],
    );
    check(
        r#"{"id":"e1","action":"Scan","shopper":"u1"}"#,
        expect![[r#"
        e1
        value: action: is "Scan"; send scan, visit, follow, join, claim, redeem, order or refund"#]],
    );
    check_visit(
        r#""part":"whole""#,
        expect![[r#"
        e1
        value: part: is "whole"; send sale, deposit or balance"#]],
    );
    check_visit(
        r#""part":1,"amount":"1""#,
        expect![[r#"
        e1
        type: amount: is the text "1"; send an integer of minor units, without quotes
        type: part: is the number 1; send sale, deposit or balance"#]],
    );
}

#[test]
fn amounts_are_integers() {
    check_amount(
        "1000000000000000",
        expect![[r#"order e1 of u1 at acme, Payment { number: "o1", amount: 1000000000000000, part: Sale }"#]],
    );
    check_amount("-0", expect![[r#"order e1 of u1 at acme, Payment { number: "o1", amount: 0, part: Sale }"#]]);
    check_amount(
        "1000000000000001",
        expect![[r#"
        e1
        range: amount: is 1000000000000001; send 0 to 1000000000000000"#]],
    );
    check_amount(
        "-1",
        expect![[r#"
        e1
        range: amount: is -1; send 0 to 1000000000000000"#]],
    );
    check_amount(
        "25900.0",
        expect![[r#"
        e1
        type: amount: is 25900.0; send an integer of minor units, without point or exponent"#]],
    );
    check_amount(
        "1e3",
        expect![[r#"
        e1
        type: amount: is 1e3; send an integer of minor units, without point or exponent"#]],
    );
    check_amount(
        "1e999",
        expect![[r#"
        e1
        type: amount: is 1e999; send an integer of minor units, without point or exponent"#]],
    );
    check_amount(
        "9223372036854775808",
        expect![[r#"
        e1
        range: amount: is 9223372036854775808; send 0 to 1000000000000000"#]],
    );
    check_amount(
        &"9".repeat(400),
        expect![[r#"
        e1
        range: amount: is 999999999999999999999999999999…; send 0 to 1000000000000000"#]],
    );
    check_amount(
        "\"12\"",
        expect![[r#"
        e1
        type: amount: is the text "12"; send an integer of minor units, without quotes"#]],
    );
    check_amount(
        "[12]",
        expect![[r#"
        e1
        type: amount: is a list; send an integer of minor units"#]],
    );
    check_amount(
        "012",
        expect![[r#"
        -
        json: the event is not JSON: invalid number at byte 67"#]],
    );
    check_amount(
        "+12",
        expect![[r#"
        -
        json: the event is not JSON: expected value at byte 66"#]],
    );
    check_amount(
        "NaN",
        expect![[r#"
        -
        json: the event is not JSON: expected value at byte 66"#]],
    );
}

#[test]
fn times() {
    check_time("0", expect!["visit e1 of u1 at acme, time 0"]);
    check_time("253402300799999", expect!["visit e1 of u1 at acme, time 253402300799999"]);
    check_time("\"9999-12-31T23:59:59.9999999Z\"", expect!["visit e1 of u1 at acme, time 253402300799999"]);
    check_time("\"2026-11-11t00:00:00z\"", expect!["visit e1 of u1 at acme, time 1794355200000"]);
    check_time(
        "-1",
        expect![[r#"
        e1
        range: time: is outside 1970-01-01T00:00:00Z … 9999-12-31T23:59:59.999Z: -1"#]],
    );
    check_time(
        "253402300800000",
        expect![[r#"
        e1
        range: time: is outside 1970-01-01T00:00:00Z … 9999-12-31T23:59:59.999Z: 253402300800000"#]],
    );
    check_time(
        "99999999999999999999",
        expect![[r#"
        e1
        range: time: is 99999999999999999999; send RFC 3339 with an offset, in quotes, or integer milliseconds within 1970 to 9999"#]],
    );
    check_time(
        "1.5",
        expect![[r#"
        e1
        type: time: is the number 1.5; send RFC 3339 with an offset, in quotes, or integer milliseconds"#]],
    );
    check_time(
        "true",
        expect![[r#"
        e1
        type: time: is true; send RFC 3339 with an offset, in quotes, or integer milliseconds"#]],
    );
    check_time(
        "\"\"",
        expect![[r#"
        e1
        value: time: not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00: """#]],
    );
    check_time(
        "\"2026-11-11T00:00:00\"",
        expect![[r#"
        e1
        value: time: has no offset: end it with Z or, for example, +08:00: "2026-11-11T00:00:00""#]],
    );
    check_time(
        "\"2026-11-11T00:00:60Z\"",
        expect![[r#"
        e1
        value: time: has second 60: leap seconds are not taken, send 59: "2026-11-11T00:00:60Z""#]],
    );
    check_time(
        "\"2026-02-30T00:00:00Z\"",
        expect![[r#"
        e1
        value: time: is a date or time that does not exist: "2026-02-30T00:00:00Z""#]],
    );
    check_time(
        "\"1969-12-31T23:59:59Z\"",
        expect![[r#"
        e1
        value: time: is outside 1970-01-01T00:00:00Z … 9999-12-31T23:59:59.999Z: "1969-12-31T23:59:59Z""#]],
    );
    check_time(
        "\"1794326403120\"",
        expect![[r#"
        e1
        value: time: not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00: "1794326403120""#]],
    );
}

#[test]
fn merchants_and_currencies() {
    let visit = |more: &str| format!(r#"{{"id":"e1","action":"visit","shopper":"u1"{more}}}"#);
    check_of(
        &two(),
        visit(""),
        expect![[r#"
            e1
            missing: merchant: is missing; it may be left out only where one merchant is known (here are 2)"#]],
    );
    check_of(&two(), visit(r#","merchant":"zeta","currency":"JPY""#), expect!["visit e1 of u1 at zeta"]);
    check_of(
        &two(),
        visit(r#","merchant":"zeta","currency":"CNY""#),
        expect![[r#"
        e1
        currency: currency: is "CNY"; "zeta" has JPY: send that or leave it out"#]],
    );
    check_of(
        &two(),
        visit(r#","merchant":"nobody""#),
        expect![[r#"
        e1
        merchant: merchant: is "nobody", which is not known here; send the name in its rules"#]],
    );
    check_of(
        &two(),
        visit(r#","merchant":"nobody","currency":"yen""#),
        expect![[r#"
        e1
        merchant: merchant: is "nobody", which is not known here; send the name in its rules
        currency: currency: is "yen"; send a code of ISO 4217 or leave it out"#]],
    );
    check_of(
        &two(),
        visit(r#","merchant":1"#),
        expect![[r#"
        e1
        type: merchant: is the number 1; send a text, in quotes"#]],
    );
    check(
        visit(r#","currency":"USD""#),
        expect![[r#"
        e1
        currency: currency: is "USD"; "acme" has CNY: send that or leave it out"#]],
    );
    check(
        visit(r#","currency":"cny""#),
        expect![[r#"
        e1
        currency: currency: is "cny"; "acme" has CNY: send that or leave it out"#]],
    );
    check_of(
        &Merchants::default(),
        visit(""),
        expect![[r#"
            e1
            missing: merchant: is missing; it may be left out only where one merchant is known (here are 0)"#]],
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
        r#"{"id":"e1","action":"order","merchant":"nobody","time":"now","code":"","store":1,"order":[],"amount":"12","currency":"???","part":"half"}"#,
        expect![[r#"
            e1
            value: time: not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00: "now"
            length: code: is empty; send 1 to 512 bytes
            type: store: is the number 1; send a text, in quotes
            type: order: is a list; send a text, in quotes
            type: amount: is the text "12"; send an integer of minor units, without quotes
            value: part: is "half"; send sale, deposit or balance
            missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)
            merchant: merchant: is "nobody", which is not known here; send the name in its rules
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
        json: the event is not JSON: expected value at byte 1"#]],
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
        value: received: not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00: "then"
        range: partition: is -1; send 0 to 9223372036854775807
        type: offset: is the text "12"; send an integer, without quotes"#]],
    );
}

#[test]
fn reasons_are_few_and_differ() {
    let names: std::collections::BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}

fn check_lines(body: &[u8], expect: Expect) {
    let mut out = String::new();
    for line in batch::lines(body) {
        let object = line.object.map(|object| String::from_utf8_lossy(object).into_owned());
        let object = object.map_err(|refused| told(&Err(refused)));
        writeln!(out, "{} {object:?}", line.number).expect("a text");
    }
    expect.assert_eq(&out);
}

#[test]
fn lines() {
    check_lines(b"", expect![[""]]);
    check_lines(
        b"{}\r\n\n \t\r\n{\"a\":1}\n",
        expect![[r#"
        1 Ok("{}")
        4 Ok("{\"a\":1}")
    "#]],
    );
    check_lines(
        b"\xef\xbb\xbf{}\n{}",
        expect![[r#"
        1 Ok("{}")
        2 Ok("{}")
    "#]],
    );
    check_lines(
        b"a\rb\n\r\r\n",
        expect![[r#"
        1 Ok("a\rb")
    "#]],
    );
    let long = " ".repeat(batch::LINE_BYTES_MAX - 2);
    assert!(batch::lines(format!("{{{long}}}\r\n").as_bytes()).all(|line| line.object.is_ok()));
    check_lines(
        format!("{{{long} }}\n{{}}").as_bytes(),
        expect![[r#"
        1 Err("-\nsize: the line has 65537 bytes; send at most 65536 an event")
        2 Ok("{}")
    "#]],
    );
}

fn check_json(body: impl AsRef<[u8]>, expect: Expect) {
    let cut = batch::json(body.as_ref());
    let told = match cut {
        Ok(events) => format!("{:?}", events.iter().map(|event| String::from_utf8_lossy(event)).collect::<Vec<_>>()),
        Err(broken) => broken.to_string(),
    };
    expect.assert_eq(&told);
}

#[test]
fn arrays_and_objects() {
    check_json("", expect!["[]"]);
    check_json(" \n", expect!["[]"]);
    check_json(" {\"id\": 1 } ", expect![[r#"["{\"id\": 1 }"]"#]]);
    check_json("not json", expect![[r#"["not json"]"#]]);
    check_json("[]", expect!["[]"]);
    check_json(
        "[ {\"a\": [1, 2]} , 3,\n\"x\",[],null ] ",
        expect![[r#"["{\"a\": [1, 2]}", "3", "\"x\"", "[]", "null"]"#]],
    );
    check_json("[{},]", expect!["the body is not JSON: trailing comma at byte 5"]);
    check_json("[{}", expect!["the body is not JSON: the text ends inside a list at byte 3"]);
    check_json("[{}] {}", expect!["the body is not JSON: trailing characters at byte 6"]);
    check_json("[{},\n\n {]", expect!["the body is not JSON: key must be a string at byte 9"]);
    check_json(b"[\"\xff\"]", expect!["the body is not JSON: invalid unicode code point at byte 3"]);
    let many = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
    assert_eq!(batch::elements(many(batch::ELEMENTS_MAX).as_bytes()).map(|events| events.len()), Ok(10_000));
    check_json(
        many(batch::ELEMENTS_MAX + 1),
        expect!["the array has more than 10000 events; send them in several requests"],
    );
    check_json(
        many(batch::ELEMENTS_MAX + 2).replace("1]", "x]"),
        expect!["the body is not JSON: expected value at byte 20004"],
    );
}
