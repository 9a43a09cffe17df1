//! Tokens: 20 Crockford digits of batch, tag and sealed serial (contract, section 3).
use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What a batch mints with.
pub(crate) struct Keys {
    tag: Aes128,
    pad: Aes128,
}

/// What the digits say, right or wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Token {
    pub(crate) batch: u64,
    pub(crate) tag: [u8; 6],
    pub(crate) sealed: u32,
}

impl Keys {
    pub(crate) fn of(secret: &[u8]) -> Keys {
        let key = |label: &[u8]| {
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).unwrap();
            mac.update(label);
            let first: [u8; 16] = mac.finalize().into_bytes()[..16].try_into().unwrap();
            Aes128::new(&first.into())
        };
        Keys { tag: key(b"mashang code tag"), pad: key(b"mashang code pad") }
    }

    fn tag(&self, batch: u64, serial: u64) -> [u8; 6] {
        let mut block = [0; 16];
        block[..4].copy_from_slice(&(batch as u32).to_be_bytes());
        block[4..12].copy_from_slice(&serial.to_be_bytes());
        encrypted(&self.tag, block)[..6].try_into().unwrap()
    }

    fn pad(&self, tag: [u8; 6], batch: u64) -> u32 {
        let mut block = [0; 16];
        block[..6].copy_from_slice(&tag);
        block[6..10].copy_from_slice(&(batch as u32).to_be_bytes());
        u32::from_be_bytes(encrypted(&self.pad, block)[..4].try_into().unwrap())
    }

    pub(crate) fn mint(&self, batch: u64, serial: u64) -> String {
        let tag = self.tag(batch, serial);
        write(Token { batch, tag, sealed: serial as u32 ^ self.pad(tag, batch) })
    }

    /// The serial, if the tag verifies.
    pub(crate) fn serial(&self, token: &Token) -> Option<u64> {
        let serial = (token.sealed ^ self.pad(token.tag, token.batch)) as u64;
        (self.tag(token.batch, serial) == token.tag).then_some(serial)
    }
}

fn encrypted(cipher: &Aes128, block: [u8; 16]) -> [u8; 16] {
    let mut block = block.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

fn write(token: Token) -> String {
    let mut bits = token.batch as u128;
    for byte in token.tag {
        bits = bits << 8 | byte as u128;
    }
    bits = bits << 32 | token.sealed as u128;
    (0..20).rev().map(|i| DIGITS[(bits >> (5 * i)) as usize & 31] as char).collect()
}

/// None: not of a token's shape.
pub(crate) fn read(text: &str) -> Option<Token> {
    let digits: Vec<char> = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != 20 {
        return None;
    }
    let mut bits = 0u128;
    for c in digits {
        let digit = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        };
        bits = bits << 5 | DIGITS.iter().position(|d| *d as char == digit)? as u128;
    }
    let tag = ((bits >> 32) as u64).to_be_bytes()[2..].try_into().unwrap();
    Some(Token { batch: (bits >> 80) as u64, tag, sealed: bits as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made without code of ours: keys by Python's `hmac`, AES by `openssl enc -aes-128-ecb -nopad`. The secret is bytes(range(32)).
    const VECTORS: [(u64, u64, &str); 4] = [
        (7, 0, "0007HZABB0Y3559BG4KR"),
        (0, 1, "0000TRS44VV2NCXFZFRT"),
        (1048575, 999, "ZZZZH50Z4R1965RWR9GN"),
        (7, 4294967295, "0007QTCTGDFBZDM8TJ92"),
    ];

    fn keys() -> Keys {
        Keys::of(&(0..32).collect::<Vec<u8>>())
    }

    #[test]
    fn tokens_are_those_of_openssl() {
        for (batch, serial, text) in VECTORS {
            assert_eq!(keys().mint(batch, serial), text);
            let token = read(text).unwrap();
            assert_eq!((token.batch, keys().serial(&token)), (batch, Some(serial)));
        }
    }

    #[test]
    fn case_dashes_and_look_alikes_do_not_matter() {
        let text = VECTORS[2].2;
        let token = read(text).unwrap();
        assert_eq!(read(&text.to_lowercase()), Some(token));
        assert_eq!(read(&format!("-{}--{}-", &text[..5], &text[5..])), Some(token));
        assert_eq!(read(&text.replace('0', "O")), Some(token));
        assert_eq!(read(&text.replace('0', "o").replace('1', "l")), Some(token));
        assert_eq!(read(&text.replace('1', "I")), Some(token));
    }

    #[test]
    fn other_texts_have_no_tokens_shape() {
        let text = VECTORS[0].2;
        assert_eq!(read(&text[1..]), None);
        assert_eq!(read(&format!("{text}0")), None);
        assert_eq!(read(&text.replacen(&text[4..5], "U", 1)), None);
        // its upper case is an I, but not in ASCII
        assert_eq!(read(&format!("{}ı", &text[1..])), None);
        assert_eq!(read(&format!("{} {}", &text[..5], &text[5..])), None);
    }

    #[test]
    fn each_changed_digit_is_noticed() {
        let text = VECTORS[2].2;
        for i in 4..20 {
            let other = if text.as_bytes()[i] == b'7' { "8" } else { "7" };
            let token = read(&format!("{}{other}{}", &text[..i], &text[i + 1..])).unwrap();
            assert_eq!((token.batch, keys().serial(&token)), (VECTORS[2].0, None), "digit {i}");
        }
        assert_eq!(Keys::of(&[1; 32]).serial(&read(text).unwrap()), None);
    }
}
