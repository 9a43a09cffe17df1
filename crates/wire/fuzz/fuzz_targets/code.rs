//! Texts of codes: a link that is found obeys its check digit, its texts are part of the text or were percent-encoded in it, and
//! what scanners add changes nothing.
#![no_main]

use bumpalo::Bump;
use domain::model::code::{Link, checked_digits, gtin};
use libfuzzer_sys::fuzz_target;
use wire::code::parse_link;

fuzz_target!(|text: &str| {
    let arena = Bump::new();
    let link = parse_link(text, &arena);
    check(text, link);
    // A text with an identifier of its own keeps it behind another one; one of nothing but additions stands for itself.
    let bare = text.trim_matches([' ', '\r', '\n']);
    if !bare.starts_with(']') && !bare.is_empty() {
        let scanned = format!(" \r]C1{text}\r\n");
        assert_eq!(parse_link(&scanned, &arena), Some(link.unwrap_or(Link::Text(text))));
    }
});

fn check(text: &str, link: Option<Link<'_>>) {
    let found = match link {
        None => return assert!(!text.contains("://")),
        Some(Link::Text(found)) => found,
        Some(Link::Gtin(number, serial)) => {
            assert_eq!(gtin(&format!("{number:014}")), Some(number));
            serial.unwrap_or("-")
        }
        Some(Link::Gln(number)) => return assert_eq!(checked_digits(&format!("{number:013}")), Some(number)),
        Some(Link::Gsrn(number)) => return assert_eq!(checked_digits(&format!("{number:018}")), Some(number)),
    };
    assert!(!found.is_empty() && found.len() <= text.len());
    assert!(text.contains(found) || !found.chars().any(char::is_control), "control characters are not decoded");
}
