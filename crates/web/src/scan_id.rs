//! Random ids of 128 bits, as 32 hex digits: only those who were given one know it.

use data_encoding::HEXLOWER;

/// Number of bytes of an id.
const BYTES: usize = 16;

/// A new id.
///
/// # Panics
/// If the system has no random numbers.
#[must_use]
pub fn new() -> String {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    HEXLOWER.encode(&bytes)
}

/// Whether a text has the form of an id.
#[must_use]
pub fn is_one(text: &str) -> bool {
    text.len() == 2 * BYTES && HEXLOWER.decode_mut(text.as_bytes(), &mut [0; BYTES]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{is_one, new};

    #[test]
    fn only_32_lower_case_hex_digits_are_an_id() {
        assert!(is_one(&new()) && is_one("0123456789abcdef0123456789abcdef"));
        for text in [
            "",
            "0123456789ABCDEF0123456789abcdef",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdeg",
        ] {
            assert!(!is_one(text), "{text}");
        }
        assert_ne!(new(), new());
    }
}
