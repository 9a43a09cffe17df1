//! Messages of CoAP: what is read stands in the datagram, byte for byte, and is written again the same or shorter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::coap::{Message, Writer};

fuzz_target!(|datagram: &[u8]| {
    let Ok(message) = Message::parse(datagram) else { return };
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
    let _ = (message.path_is(&["v1", "events"]), message.query("k"), message.content_format());
});
