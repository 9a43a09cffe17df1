//! Texts of codes: a link that is found obeys its check digit, and its texts are never empty.
#![no_main]

use bumpalo::Bump;
use domain::model::code::{Link, checked_digits, gtin};
use libfuzzer_sys::fuzz_target;
use wire::code::parse_link;

fuzz_target!(|text: &str| {
    let arena = Bump::new();
    let found = match parse_link(text, &arena) {
        None => return assert!(!text.contains("://")),
        Some(Link::Text(found)) => found,
        Some(Link::Gtin(number, serial)) => {
            assert_eq!(gtin(&format!("{number:014}")), Some(number));
            serial.unwrap_or("-")
        }
        Some(Link::Gln(number)) => return assert_eq!(checked_digits(&format!("{number:013}")), Some(number)),
        Some(Link::Gsrn(number)) => return assert_eq!(checked_digits(&format!("{number:018}")), Some(number)),
    };
    assert!(text.contains("://") && !found.is_empty() && found.len() <= text.len());
    assert!(text.contains(found) || !found.chars().any(char::is_control), "control characters are not decoded");
});
