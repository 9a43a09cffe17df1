//! CloudEvents 1.0, structured and in binary mode.

use bumpalo::Bump;
use expect_test::{Expect, expect};
use wire::event::cloud::{Headers, is_json, read_binary, read_structured};

use super::{one, told};

fn structured(object: &str, expect: Expect) {
    expect.assert_eq(&told(&read_structured(object.as_bytes(), &one(), &Bump::new())));
}

fn binary(headers: Headers<'_>, data: &str, expect: Expect) {
    expect.assert_eq(&told(&read_binary(&headers, data.as_bytes(), &one(), &Bump::new())));
}

const HEADERS: Headers<'_> = Headers {
    specversion: Some(b"1.0"),
    id: Some(b"e1"),
    source: Some(b"/tills/7"),
    kind: Some(b"app.scan"),
    time: Some(b"2026-11-10T12:00:00Z"),
};

#[test]
fn attributes_and_data_make_one_event() {
    structured(
        r#"{"specversion":"1.0","id":"e1","source":"/tills/7","type":"app.scan","time":"2026-11-10T12:00:00Z",
            "subject":"x","traceparent":"00-1-2-01","datacontenttype":"application/json; charset=utf-8",
            "data":{"action":"scan","shopper":"u1","code":"C1","guide":"g7"}}"#,
        expect![[r#"scan e1 of u1 at acme, guide "g7", time 1794312000000, Code { text: "C1", link: None }"#]],
    );
    // As bytes are sent.
    structured(
        r#"{"specversion":"1.0","id":"e1","source":"s","type":"t","data_base64":"eyJhY3Rpb24iOiJ2aXNpdCIsInNob3BwZXIiOiJ1MSJ9"}"#,
        expect!["visit e1 of u1 at acme"],
    );
    binary(HEADERS, r#"{"action":"visit","shopper":"u1"}"#, expect!["visit e1 of u1 at acme, time 1794312000000"]);
    let coded = Headers { id: Some(b"\"caf%C3%A9 \\\"1\\\"\""), ..HEADERS };
    binary(
        coded,
        r#"{"action":"visit","shopper":"u1"}"#,
        expect![[r#"visit café "1" of u1 at acme, time 1794312000000"#]],
    );
}

#[test]
fn bom_before_an_event_is_passed_over() {
    structured(
        "\u{FEFF}{\"specversion\":\"1.0\",\"id\":\"e1\",\"source\":\"s\",\"type\":\"t\",\"data\":{\"action\":\"visit\",\"shopper\":\"u1\"}}",
        expect!["visit e1 of u1 at acme"],
    );
    structured(
        r#"{"specversion":"1.0","id":"e1","source":"s","type":"t","data_base64":"77u/eyJhY3Rpb24iOiJ2aXNpdCIsInNob3BwZXIiOiJ1MSJ9"}"#,
        expect!["visit e1 of u1 at acme"],
    );
    let data = "\u{FEFF}{\"action\":\"visit\",\"shopper\":\"u1\"}";
    binary(HEADERS, data, expect!["visit e1 of u1 at acme, time 1794312000000"]);
}

#[test]
fn attributes_go_before_fields_of_the_data() {
    let data = r#"{"id":"other","time":1794326403120,"action":"visit","shopper":"u1"}"#;
    binary(HEADERS, data, expect!["visit e1 of u1 at acme, time 1794312000000, 2 unknown"]);
    // A time that is no attribute may stand in the data; an id may not.
    binary(Headers { time: None, ..HEADERS }, data, expect!["visit e1 of u1 at acme, time 1794326403120, 1 unknown"]);
    binary(
        Headers { id: None, ..HEADERS },
        data,
        expect![[r#"
        -
        missing: id: is missing; every event needs one"#]],
    );
    structured(
        r#"{"specversion":"1.0","source":"s","type":"t","data":{"id":"e1","action":"visit","shopper":"u1"}}"#,
        expect![[r#"
            -
            missing: id: is missing; every event needs one"#]],
    );
}

#[test]
fn every_mistake_in_a_cloud_event_is_reported() {
    structured(
        r#"{"id":"e1","data":{"action":"dance"}}"#,
        expect![[r#"
        e1
        missing: specversion: is missing; send "1.0"
        missing: source: is missing; every CloudEvent needs one
        missing: type: is missing; every CloudEvent needs one
        value: action: is "dance"; send scan, visit, follow, join, claim, redeem, order or refund
        missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)"#]],
    );
    structured(
        r#"{"specversion":"0.3","id":7,"source":"","type":null,"time":"yesterday","data":{"action":"visit","shopper":"u1"}}"#,
        expect![[r#"
            -
            value: specversion: is "0.3"; send "1.0"
            length: source: is empty; every CloudEvent needs one
            missing: type: is missing; every CloudEvent needs one
            type: id: is the number 7; send a text, in quotes
            value: time: not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00: "yesterday""#]],
    );
    structured(
        r#"{"specversion":1.0,"id":"a","id":"b","source":["s"],"type":"\ud800","data":{}}"#,
        expect![[r#"
        a
        repeated: id: is given twice; send it once
        type: specversion: is the number 1.0; send a text, in quotes
        type: source: is a list; send a text, in quotes
        utf8: type: is no UTF-8 text; send one
        missing: action: is missing; every event needs one
        missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)"#]],
    );
    binary(
        Headers { source: Some(b"%FF"), ..HEADERS },
        r#"{"action":"visit","shopper":"u1"}"#,
        expect![[r#"
        e1
        utf8: source: is no UTF-8 text; send one"#]],
    );
    binary(
        Headers::default(),
        "[]",
        expect![[r#"
        -
        object: the event is a list; send a JSON object"#]],
    );
    binary(
        HEADERS,
        "{",
        expect![[r#"
        -
        json: the event is not JSON: the text ends inside an object at byte 1"#]],
    );
}

#[test]
fn data_must_be_a_json_object() {
    let with = |data: &str| format!(r#"{{"specversion":"1.0","id":"e1","source":"s","type":"t"{data}}}"#);
    structured(
        &with(""),
        expect![[r#"
        e1
        missing: data: is missing; send the event's other fields as a JSON object"#]],
    );
    structured(
        &with(r#","data":null"#),
        expect![[r#"
        e1
        missing: data: is missing; send the event's other fields as a JSON object"#]],
    );
    structured(
        &with(r#","data":"{\"action\":\"visit\"}""#),
        expect![[r#"
        e1
        type: data: is no object; send the event's other fields as a JSON object"#]],
    );
    structured(
        &with(r#","data":[1]"#),
        expect![[r#"
        e1
        type: data: is no object; send the event's other fields as a JSON object"#]],
    );
    structured(
        &with(r#","data":{},"data_base64":"e30=""#),
        expect![[r#"
        e1
        repeated: data: is given twice, as data and as data_base64; send one"#]],
    );
    structured(
        &with(r#","data_base64":"e30""#),
        expect![[r#"
        e1
        value: data_base64: is not JSON in base64; send data as a JSON object"#]],
    );
    structured(
        &with(r#","data_base64":"ew==""#),
        expect![[r#"
        e1
        json: data: is not JSON at its byte 1; send the event's other fields as a JSON object"#]],
    );
    structured(
        &with(r#","data_base64":5"#),
        expect![[r#"
        e1
        value: data_base64: is not JSON in base64; send data as a JSON object"#]],
    );
    structured(
        &with(r#","datacontenttype":"text/xml","data":{}"#),
        expect![[r#"
        e1
        value: datacontenttype: is "text/xml"; send application/json
        missing: action: is missing; every event needs one
        missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)"#]],
    );
    structured(
        &with(r#","datacontenttype":5,"data":{}"#),
        expect![[r#"
        e1
        type: datacontenttype: is the number 5; send a text, in quotes
        missing: action: is missing; every event needs one
        missing: shopper: is missing; every event needs one (a device may stand in on scan and visit only)"#]],
    );
    structured(
        "[]",
        expect![[r#"
        -
        object: the event is a list; send a JSON object"#]],
    );
    structured(
        "",
        expect![[r#"
        -
        json: the event is empty; send a JSON object"#]],
    );
}

#[test]
fn json_has_several_media_types() {
    for media in ["application/json", "Application/JSON", "text/json", "application/vnd.brand+json"] {
        assert!(is_json(media), "{media}");
    }
    for media in ["", "+json", "application/xml", "application/jsonp", "é+json"] {
        assert!(!is_json(media), "{media}");
    }
}

#[test]
fn headers_that_are_no_utf8_are_told_how_to_be() {
    let data = r#"{"action":"visit","shopper":"u1"}"#;
    binary(
        Headers { id: Some(b"caf\xe9"), ..HEADERS },
        data,
        expect![[r#"
            -
            utf8: id: is no UTF-8 text; send it percent-encoded, as %C3%A9"#]],
    );
    binary(
        Headers { time: Some(b"%ff"), ..HEADERS },
        data,
        expect![[r#"
        -
        utf8: time: is no UTF-8 text; send it percent-encoded, as %C3%A9"#]],
    );
}
