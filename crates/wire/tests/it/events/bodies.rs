//! Bodies and files cut into events.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use wire::batch;

use super::told;

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

#[test]
fn bom_before_json_is_passed_over() {
    let bom = |text: &str| format!("\u{FEFF}{text}");
    check_json(bom(""), expect!["[]"]);
    check_json(bom("[{}, {\"a\":1}]"), expect![[r#"["{}", "{\"a\":1}"]"#]]);
    check_json(bom("[{},]"), expect!["the body is not JSON: trailing comma at byte 8"]);
    assert!(batch::is_json(bom("{\n}").as_bytes()));
    let body = bom(r#"{"id":"b1","action":"visit","shopper":"u1"}"#);
    let objects = batch::json(body.as_bytes()).expect("an object");
    super::check(objects[0], expect!["visit b1 of u1 at acme"]);
    super::check(
        bom("{]"),
        expect![[r#"
            -
            json: the event is not JSON: key must be a string at byte 5"#]],
    );
    super::check(
        b"\xef\xbb\xbf{\xff}",
        expect![[r#"
            -
            utf8: the event is not UTF-8 at byte 5"#]],
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
    check_json(" {\"id\": 1 } ", expect![[r#"[" {\"id\": 1 } "]"#]]);
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
