//! Messages of CoAP (RFC 7252).

use expect_test::{Expect, expect};
use proptest::collection::vec;
use proptest::prelude::*;
use wire::coap::{Code, Kind, Malformed, Message, Opt, Writer, number};

fn check(datagram: &[u8], expect: Expect) {
    let told = match Message::parse(datagram) {
        Ok(message) => {
            let Message { kind, code, id, token, payload, .. } = message;
            let options: Vec<_> = message
                .options()
                .map(|Opt { number, value }| format!("{number}={}", String::from_utf8_lossy(value)))
                .collect();
            let payload = String::from_utf8_lossy(payload);
            format!("{kind:?} {code} {id} {token:?} {options:?} {payload:?}")
        }
        Err(malformed) => malformed.to_string(),
    };
    expect.assert_eq(&told);
}

#[test]
fn messages_are_read() {
    check(&[0x40, 0, 0, 7], expect!["Confirmable 0.00 7 [] [] \"\""]);
    check(&[0x70, 0, 1, 2], expect!["Reset 0.00 258 [] [] \"\""]);
    // The example of RFC 7252, figure 16, with a token.
    check(b"\x41\x01\x7d\x34\x20\xbbtemperature", expect![[r#"Confirmable 0.01 32052 [32] ["11=temperature"] """#]]);
    check(
        b"\x52\x02\x00\x01ab\xb2v1\x06events\x11\x32\x36k=till\xff{}",
        expect![[r#"NonConfirmable 0.02 1 [97, 98] ["11=v1", "11=events", "12=2", "15=k=till"] "{}""#]],
    );
    // A delta of one byte more; a length of two bytes more.
    check(b"\x60\x44\x00\x01\xd1\x2f1", expect![[r#"Acknowledgement 2.04 1 [] ["60=1"] """#]]);
    let long = [&b"\x60\x44\x00\x01\xde\x2f\x00\x1f"[..], &[b'x'; 300]].concat();
    let values = Message::parse(&long).expect("a message");
    assert!(values.values(60).eq([&[b'x'; 300][..]]));
}

#[test]
fn a_text_that_is_no_message_is_refused() {
    check(b"", expect!["the datagram has 0 bytes; send a whole message, 4 bytes or more"]);
    check(b"\x40\x01\x00", expect!["the datagram has 3 bytes; send a whole message, 4 bytes or more"]);
    check(b"\x80\x01\x00\x01", expect!["the version is 2; send version 1"]);
    check(b"\x49\x01\x00\x01123456789", expect!["the token has 9 bytes; send at most 8"]);
    check(b"\x42\x01\x00\x011", expect!["the message ends inside its token"]);
    check(b"\x40\x00\x00\x01\xff1", expect!["an empty message has more than its header"]);
    check(b"\x40\x01\x00\x01\xb2v", expect!["the option at byte 4 is longer than the message"]);
    check(
        b"\x40\x01\x00\x01\xb1v\xf1v",
        expect!["the option at byte 6 has a delta or length of 15, which is reserved"],
    );
    check(b"\x40\x01\x00\x01\x1f", expect!["the option at byte 4 has a delta or length of 15, which is reserved"]);
    check(b"\x40\x01\x00\x01\xd1", expect!["the option at byte 4 ends inside its head"]);
    check(b"\x40\x01\x00\x01\xe0\x00", expect!["the option at byte 4 ends inside its head"]);
    check(b"\x40\x01\x00\x01\xe0\xff\xff", expect!["the option at byte 4 has a number above 65535"]);
    check(b"\x40\x01\x00\x01\xff", expect!["there is no payload behind its marker"]);
    // What begins as JSON does can be no message: the length of its token is reserved.
    for json in [b"{\"id\"", b"[{\"id"] {
        assert_eq!(Message::parse(json), Err(Malformed::TokenLength(11)));
    }
}

/// Writes a request for a path with more options before and after it.
fn request<'b>(buffer: &'b mut [u8], before: &[Opt<'_>], path: &[&str], after: &[Opt<'_>]) -> &'b [u8] {
    let mut writer = Writer::new(buffer, Kind::Confirmable, Code::POST, 1, b"");
    for option in before {
        writer = writer.option(option.number, option.value);
    }
    for segment in path {
        writer = writer.option(number::URI_PATH, segment.as_bytes());
    }
    for option in after {
        writer = writer.option(option.number, option.value);
    }
    writer.payload(b"{}").expect("room")
}

#[test]
fn a_request_is_asked_by_name() {
    let mut buffer = [0; 1024];
    let query = |value: &'static [u8]| Opt { number: number::URI_QUERY, value };
    let after = [Opt { number: number::CONTENT_FORMAT, value: &[50] }, query(b"kk=1"), query(b"k=2"), query(b"k=3")];
    let message = request(&mut buffer, &[], &["v1", "events"], &after);
    let message = Message::parse(message).expect("a message");
    assert!(message.path_is(&["v1", "events"]));
    assert!(!message.path_is(&["v1"]) && !message.path_is(&["v1", "events", ""]));
    assert_eq!(message.query("k"), Some(&b"2"[..]));
    assert_eq!(message.query("t"), None);
    assert_eq!(message.content_format(), Some(50));
    assert_eq!((message.critical_unknown(), message.accept()), (None, None));
}

#[test]
fn unknown_critical_options_are_named() {
    let first = |before: &[(u16, &[u8])], after: &[(u16, &[u8])]| {
        let mut buffer = [0; 2048];
        let options = |pairs: &[(u16, &'static [u8])]| -> Vec<Opt<'static>> {
            pairs.iter().map(|&(number, value)| Opt { number, value }).collect()
        };
        let leak = |pairs: &[(u16, &[u8])]| -> Vec<(u16, &'static [u8])> {
            pairs.iter().map(|(number, value)| (*number, &*value.to_vec().leak())).collect()
        };
        let message = request(&mut buffer, &options(&leak(before)), &["v1"], &options(&leak(after)));
        Message::parse(message).expect("a message").critical_unknown()
    };
    assert_eq!(first(&[(3, b"host"), (4, b"etag"), (7, &[1, 2])], &[(14, &[1]), (258, b"")]), None);
    assert_eq!(first(&[(1, b"")], &[]), Some(1));
    assert_eq!(first(&[(3, b"one"), (3, b"two")], &[]), Some(3));
    assert_eq!(first(&[(3, b"")], &[]), Some(3));
    assert_eq!(first(&[(7, &[1, 2, 3])], &[]), Some(7));
    assert_eq!(first(&[], &[(15, &[b'x'; 256])]), Some(15));
    assert_eq!(first(&[], &[(17, &[50])]), None);
    assert_eq!(first(&[], &[(17, &[50]), (17, &[50])]), Some(17));
    assert_eq!(first(&[], &[(17, &[0, 0, 50])]), Some(17));
    assert_eq!(first(&[], &[(27, &[6]), (35, b"coap://x")]), Some(27));
}

#[test]
fn accept_is_read_as_a_number() {
    let accept = |value: &[u8]| {
        let mut buffer = [0; 64];
        let message = request(&mut buffer, &[], &["v1"], &[Opt { number: number::ACCEPT, value }]);
        Message::parse(message).expect("a message").accept()
    };
    assert_eq!(accept(&[50]), Some(50));
    assert_eq!(accept(&[0, 60]), Some(60));
    assert_eq!(accept(&[]), Some(0));
    assert_eq!(accept(&[1, 0]), Some(256));
}

/// Section 4.2: only a confirmable message of this version is worth a reset.
#[test]
fn only_confirmables_of_version_1_are_reset() {
    let check = |datagram: &[u8], wanted: Option<u16>| {
        assert!(Message::parse(datagram).is_err(), "{datagram:?}");
        assert_eq!(Message::confirmable_id(datagram), wanted, "{datagram:?}");
    };
    check(b"\x40\x02\x12\x34\xff", Some(0x1234));
    check(b"\x49\x02\x00\x01123456789", Some(1));
    check(b"\x4f\x02\x00\x01", Some(1));
    check(b"\x42\x02\x00\x011", Some(1));
    check(b"\x40\x02\x00\x01\xf0", Some(1));
    // Code 0.00 with a token, an option or a payload.
    check(b"\x41\x00\x00\x01t", Some(1));
    check(b"\x41\x00\x00\x01", Some(1));
    check(b"\x40\x00\x00\x01\xb1v", Some(1));
    check(b"\x40\x00\x00\x01\xff1", Some(1));
    // No header; other versions; other types.
    check(b"", None);
    check(b"\x40\x02\x00", None);
    check(b"\x00\x02\x00\x01", None);
    check(b"\x80\x02\x00\x01", None);
    check(b"\xc0\x02\x00\x01", None);
    check(b"\x50\x02\x00\x01\xff", None);
    check(b"\x60\x44\x00\x01\xff", None);
    check(b"\x70\x00\x00\x01\xff", None);
}

#[test]
fn a_message_that_does_not_fit_is_none() {
    for bytes in 0..=12 {
        let mut buffer = vec![0; bytes];
        let writer =
            Writer::new(&mut buffer, Kind::Acknowledgement, Code::CHANGED, 1, b"t").uint(number::MAX_AGE, 1000);
        let room = writer.room();
        let written = writer.payload(b"ab");
        assert_eq!(written.is_some(), bytes == 12, "{bytes} bytes");
        assert_eq!(room, bytes.saturating_sub(10));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        kind in prop::sample::select(vec![Kind::Confirmable, Kind::NonConfirmable, Kind::Acknowledgement, Kind::Reset]),
        code in 1_u8..,
        id: u16,
        token in vec(any::<u8>(), 0..=8),
        mut options in vec((any::<u16>(), prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 260..300)]), 0..6),
        payload in vec(any::<u8>(), 0..40),
    ) {
        options.sort_by_key(|(number, _)| *number);
        let mut buffer = vec![0; 4096];
        let mut writer = Writer::new(&mut buffer, kind, Code(code), id, &token);
        for (number, value) in &options {
            writer = writer.option(*number, value);
        }
        let message = Message::parse(writer.payload(&payload).expect("room")).expect("a message");
        prop_assert_eq!((message.kind, message.code, message.id), (kind, Code(code), id));
        prop_assert_eq!((message.token, message.payload), (&token[..], &payload[..]));
        let read: Vec<_> = message.options().map(|option| (option.number, option.value.to_vec())).collect();
        prop_assert_eq!(read, options);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), head in 0x40_u8..0x80) {
        let bytes = [&[head][..], &bytes].concat();
        if let Ok(message) = Message::parse(&bytes) {
            let mut buffer = vec![0; bytes.len()];
            let mut writer = Writer::new(&mut buffer, message.kind, message.code, message.id, message.token);
            for option in message.options() {
                writer = writer.option(option.number, option.value);
            }
            // It must not be written in more bytes than the shortest form.
            prop_assert_eq!(writer.payload(message.payload), Some(&bytes[..]));
        }
    }
}
