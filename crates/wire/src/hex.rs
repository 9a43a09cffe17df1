//! Hashes and secrets as hex digits.

use data_encoding::HEXLOWER_PERMISSIVE;

/// 32 bytes as 64 hex digits, in either case.
pub(crate) fn hex32(text: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let is_hex = text.len() == 2 * bytes.len() && HEXLOWER_PERMISSIVE.decode_mut(text, &mut bytes).is_ok();
    is_hex.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::hex32;

    #[test]
    fn sixty_four_digits_of_either_case_are_32_bytes() {
        let check =
            |text: &str, wanted: Option<u8>| assert_eq!(hex32(text.as_bytes()), wanted.map(|b| [b; 32]), "{text}");
        check(&"a7".repeat(32), Some(0xA7));
        check(&"A7".repeat(32), Some(0xA7));
        check(&"aE".repeat(32), Some(0xAE));
        for bad in ["", "a7", &"a7".repeat(31), &"a7".repeat(33), &"g7".repeat(32), &"+7".repeat(32), &" 7".repeat(32)]
        {
            check(bad, None);
        }
        check(&format!("{}\n", "a7".repeat(32)), None);
        check(&format!("{}é", "a7".repeat(31)), None);
    }
}
