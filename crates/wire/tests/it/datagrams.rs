//! JSON among datagrams.

use wire::coap::Message;
use wire::datagram::{json, text};

#[test]
fn json_is_found_behind_bom_and_blanks() {
    let check = |datagram: &[u8], wanted: Option<&[u8]>| assert_eq!(json(datagram), wanted, "{datagram:?}");
    check(b"{}", Some(b"{}"));
    check(b"[1]", Some(b"[1]"));
    check(b" \t\r\n{}", Some(b" \t\r\n{}"));
    check(b"\xEF\xBB\xBF{}", Some(b"{}"));
    check(b"\xEF\xBB\xBF\n[]", Some(b"\n[]"));
    check(b"", None);
    check(b" ", None);
    check(b"\xEF\xBB\xBF", None);
    check(b"\0{}", None);
    check(b"1", None);
    check(b"\xEF\xBB{}", None);
    check(b"\x40\x01\x00\x01\xbbtemperature", None);
}

#[test]
fn json_ends_before_nul_and_white_space() {
    let check = |payload: &[u8], wanted: &[u8]| assert_eq!(text(payload), wanted, "{payload:?}");
    check(b"{}\0", b"{}");
    check(b"{}\0\0\0", b"{}");
    check(b"{}\n\0", b"{}");
    check(b"{}\0\r\n", b"{}");
    check(b"{\0}", b"{\0}");
    check(b"\0", b"");
    check(b"", b"");
}

#[test]
fn json_is_never_a_message() {
    for before in [&b""[..], b" ", b"\t", b"\n", b"\r", b"\x0C", b"\xEF\xBB\xBF"] {
        for begin in [&b"{\"id\":1}"[..], b"[{\"id\":1}]"] {
            let datagram = [before, begin].concat();
            assert!(json(&datagram).is_some() && Message::parse(&datagram).is_err(), "{datagram:?}");
            assert_eq!(Message::confirmable_id(&datagram), None, "{datagram:?}");
        }
    }
}
