//! Where a field stands in an object that was refused. It is computed for refused events only, so it does not slow down reading.

use std::ops::ControlFlow;

/// The byte, from 0, where the name of a field begins in an object, its opening quote; none if the field is not there.
#[must_use]
pub fn byte_of(object: &[u8], field: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = object.get(at) {
        match byte {
            b'"' => {
                let length = string_length(&object[at + 1..])?;
                let after = at + 1 + length + 1;
                let is_name = depth == 1 && object[after..].trim_ascii_start().starts_with(b":");
                if is_name && &object[at + 1..after - 1] == field.as_bytes() {
                    return Some(at);
                }
                at = after;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The bytes of a string before its closing quote; none if there is none.
fn string_length(text: &[u8]) -> Option<usize> {
    let length = text.iter().try_fold((0, false), |(at, is_escaped), &byte| match byte {
        b'"' if !is_escaped => ControlFlow::Break(at),
        _ => ControlFlow::Continue((at + 1, byte == b'\\' && !is_escaped)),
    });
    length.break_value()
}

#[cfg(test)]
mod tests {
    use super::byte_of;

    #[test]
    fn names_are_found_and_texts_are_not() {
        let object = br#" {"x":{"id":1,"y":["id"]},"a\"":"id","id" : "e1","amount":-1}"#;
        assert_eq!(byte_of(object, "id").map(|at| &object[at..at + 6]), Some(&br#""id" :"#[..]));
        assert_eq!(byte_of(object, "amount").map(|at| &object[at..]), Some(&br#""amount":-1}"#[..]));
        for missing in ["y", "order", "e1", ""] {
            assert_eq!(byte_of(object, missing), None, "{missing}");
        }
        assert_eq!(byte_of(br#"{"id"#, "id"), None);
    }
}
