//! Datagrams. Messages of CoAP: what is read stands in the datagram, byte for byte, and is written again the same or shorter.
//! JSON: its text is a part of the datagram, is the same when it is looked for again, and is never a message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::coap::{Kind, Message, Writer};
use wire::datagram;

fuzz_target!(|datagram: &[u8]| {
    let parsed = Message::parse(datagram);
    if let Some(text) = datagram::json(datagram) {
        assert!(parsed.is_err() && Message::confirmable_id(datagram).is_none(), "no message is taken for JSON");
        assert_eq!(datagram::json(text), Some(text));
    }
    let Ok(message) = parsed else { return };
    let confirmable = (message.kind == Kind::Confirmable).then_some(message.id);
    assert_eq!(Message::confirmable_id(datagram), confirmable);
    assert!(message.payload.len() >= datagram::text(message.payload).len());
    assert!(message.token.len() <= 8 && datagram.ends_with(message.payload));
    let mut before = 0;
    let mut buffer = vec![0; datagram.len()];
    let mut writer = Writer::new(&mut buffer, message.kind, message.code, message.id, message.token);
    for option in message.options() {
        assert!(option.number >= before, "options are in order");
        before = option.number;
        writer = writer.option(option.number, option.value);
    }
    let written = writer.payload(message.payload).expect("no longer than it was");
    assert_eq!(Message::parse(written), Ok(message));
    if let Some(critical) = message.critical_unknown() {
        assert!(critical & 1 == 1 && message.values(critical).next().is_some());
    }
    let _ = (message.path_is(&["v1", "events"]), message.query("k"), message.content_format(), message.accept());
});
