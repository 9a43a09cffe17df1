//! Bodies: what is accepted satisfies the contract, what is refused says why in few words.
#![no_main]

use bumpalo::Bump;
use domain::model::event::{Action, Event};
use domain::model::money::AMOUNT_MAX;
use domain::model::time::TIME_MAX;
use libfuzzer_sys::fuzz_target;
use wire::batch::{self, Broken};
use wire::event::cloud::{Headers, read_binary, read_structured};
use wire::event::{Accepted, Merchants, Refused, read};

fuzz_target!(|body: &[u8]| {
    let one = Merchants::new([("acme", "CNY")]);
    let two = Merchants::new([("acme", "CNY"), ("zeta", "JPY")]).with_dump_lines();
    let told = |object: &[u8], read: Result<Accepted<'_>, Refused>| match read {
        Ok(accepted) => {
            assert!(is_json(object));
            check(&accepted.event);
            assert!(accepted.received.is_none_or(|at| (0..=TIME_MAX).contains(&at)));
        }
        Err(refused) => check_refused(&refused),
    };
    let take = |object: &[u8]| {
        for merchants in [&one, &two] {
            told(object, read(object, merchants, &Bump::new()));
            told(object, read_structured(object, merchants, &Bump::new()));
        }
    };
    // The first line as a header's value, the rest as data.
    let (value, data) = body.split_at(body.iter().position(|&b| b == b'\n').unwrap_or(0));
    let value = Some(value);
    let headers = Headers { specversion: Some(b"1.0"), id: value, source: value, kind: Some(b"t"), time: None };
    told(data, read_binary(&headers, data, &one, &Bump::new()));
    take(body);
    let mut last = 0;
    for line in batch::lines(body) {
        assert!(line.number > last);
        last = line.number;
        match line.object {
            Ok(object) => take(object),
            Err(refused) => check_refused(&refused),
        }
    }
    match batch::elements(body) {
        Ok(elements) => {
            assert!(is_json(body) && elements.len() <= batch::ELEMENTS_MAX);
            for element in elements {
                assert!(is_json(element));
                take(element);
            }
        }
        Err(Broken::Json { byte, .. }) => assert!((1..=body.len().max(1)).contains(&byte)),
        Err(Broken::NoArray) => assert!(!body.trim_ascii_start().starts_with(b"[")),
        Err(Broken::TooMany) => assert!(body.len() > batch::ELEMENTS_MAX),
    }
});

/// A byte order mark before it is passed over.
fn is_json(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

fn check(event: &Event<'_>) {
    let is_text = |text: &str, max: usize| (1..=max).contains(&text.len()) && !text.chars().any(char::is_control);
    assert!(is_text(event.id, 64) && is_text(event.merchant, 64));
    let given = if event.shopper.starts_with("device:") { 71 } else { 64 };
    assert!(is_text(event.shopper, given));
    let others = [event.store, event.guide, event.region, event.channel, event.device, event.ticket];
    assert!(others.into_iter().flatten().all(|text| is_text(text, 64)));
    let without = |text: &str| text.replace(['\r', '\n', '\u{1D}'], "");
    let is_code = |text: &str| (1..=512).contains(&text.len()) && !without(text).chars().any(char::is_control);
    assert!(event.code.is_none_or(|code| is_code(code.text) && (code.link.is_some() || !code.text.contains("://"))));
    assert!(event.time.is_none_or(|at| (0..=TIME_MAX).contains(&at)));
    assert!(event.order.is_none_or(|order| is_text(order.number, 64) && (0..=AMOUNT_MAX).contains(&order.amount)));
    match event.action {
        Action::Scan => assert!(event.code.is_some()),
        Action::Claim | Action::Redeem => assert!(event.ticket.is_some()),
        Action::Order | Action::Refund => assert!(event.order.is_some()),
        Action::Visit | Action::Follow | Action::Join => {}
    }
    let is_payment = matches!(event.action, Action::Order | Action::Refund);
    assert_eq!(event.order.is_some(), is_payment);
}

fn check_refused(refused: &Refused) {
    const ERRORS_MAX: usize = 50;
    const ERROR_BYTES_MAX: usize = 1_000;
    assert!((1..=ERRORS_MAX).contains(&refused.errors.len()));
    for error in &refused.errors {
        assert!(error.error.starts_with(&error.field));
        assert!(error.error.len() <= ERROR_BYTES_MAX && !error.error.chars().any(char::is_control));
    }
}
