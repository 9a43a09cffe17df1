//! Random ids of 128 bits, as 32 hex digits: only those who were given one know it.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A new id.
///
/// # Panics
/// If the system has no random numbers.
#[must_use]
pub fn new() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(HEX[usize::from(half)])).collect()
}

/// Whether a text has the form of an id.
#[must_use]
pub fn is_one(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| HEX.contains(&byte))
}
