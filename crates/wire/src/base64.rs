//! Base64 with the alphabet for URLs, without padding (RFC 4648, section 5).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// 16 bytes as 22 characters.
#[must_use]
pub fn url16(bytes: &[u8; 16]) -> [u8; 22] {
    let all = u128::from_be_bytes(*bytes);
    // Six bits a character from the left; the last one has two bits, and four that are zero.
    let bits = |i: usize| if i < 21 { all >> (122 - 6 * i) } else { all << 4 };
    std::array::from_fn(|i| ALPHABET[(bits(i) & 63) as usize])
}

#[cfg(test)]
mod tests {
    use super::url16;

    #[test]
    fn as_others_write_it() {
        // Python: base64.urlsafe_b64encode(b).rstrip(b"=")
        let check = |bytes: [u8; 16], text: &[u8; 22]| assert_eq!(&url16(&bytes), text);
        check([0; 16], b"AAAAAAAAAAAAAAAAAAAAAA");
        check([0xFF; 16], b"_____________________w");
        check(std::array::from_fn(|i| i as u8), b"AAECAwQFBgcICQoLDA0ODw");
        check(*b"\xfb\xef\xbe mashang udp\x01", b"----IG1hc2hhbmcgdWRwAQ");
    }
}
