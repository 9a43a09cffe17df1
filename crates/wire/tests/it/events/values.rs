//! Values of single fields.

use expect_test::{Expect, expect};
use wire::event::Merchants;

use super::{check, check_of, check_visit, two};

/// An order with an amount as it is written.
fn check_amount(amount: &str, expect: Expect) {
    check(format!(r#"{{"id":"e1","action":"order","shopper":"u1","order":"o1","amount":{amount}}}"#), expect);
}

fn check_time(time: &str, expect: Expect) {
    check_visit(&format!(r#""time":{time}"#), expect);
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
fn values_of_wrong_type_are_reported() {
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
fn integers_that_are_seconds_are_refused() {
    check_time(
        "0",
        expect![[r#"
        e1
        range: time: is 0; seconds? milliseconds are wanted: send RFC 3339 with an offset, in quotes, or integer milliseconds"#]],
    );
    check_time(
        "1794326403",
        expect![[r#"
        e1
        range: time: is 1794326403; seconds? milliseconds are wanted: send RFC 3339 with an offset, in quotes, or integer milliseconds"#]],
    );
    check_time(
        "99999999999",
        expect![[r#"
        e1
        range: time: is 99999999999; seconds? milliseconds are wanted: send RFC 3339 with an offset, in quotes, or integer milliseconds"#]],
    );
}

#[test]
fn times() {
    check_time("\"1970-01-01T00:00:00Z\"", expect!["visit e1 of u1 at acme, time 0"]);
    check_time("100000000000", expect!["visit e1 of u1 at acme, time 100000000000"]);
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
        visit(r#","merchant":"stranger""#),
        expect![[r#"
        e1
        merchant: merchant: is "stranger", which is not known here; send the name in its rules"#]],
    );
    check_of(
        &two(),
        visit(r#","merchant":"stranger","currency":"yen""#),
        expect![[r#"
        e1
        merchant: merchant: is "stranger", which is not known here; send the name in its rules
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
