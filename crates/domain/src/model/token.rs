//! Tokens: the texts of minted one-item codes, which cannot be guessed (contract section 3).
//!
//! A token has 100 bits: the batch (20), a tag (48) that only the holder of the batch's secret can compute, and the serial (32),
//! sealed so that neighbours on a shelf do not look alike. They are written as 20 characters of Crockford's base 32.

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Number of characters of a token.
pub const TOKEN_CHARS: usize = 20;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Not a digit of the alphabet.
const NONE: u8 = 0xFF;
/// The value of each byte as a digit: lower case, O as 0, I and L as 1.
const DIGITS: [u8; 256] = digits();

const TAG_BITS: u32 = 48;
const SERIAL_BITS: u32 = 32;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;

const fn digits() -> [u8; 256] {
    let mut digits = [NONE; 256];
    let mut value = 0_u8;
    while value < 32 {
        let upper = ALPHABET[value as usize];
        digits[upper as usize] = value;
        digits[upper.to_ascii_lowercase() as usize] = value;
        value += 1;
    }
    digits[b'O' as usize] = 0;
    digits[b'o' as usize] = 0;
    digits[b'I' as usize] = 1;
    digits[b'i' as usize] = 1;
    digits[b'L' as usize] = 1;
    digits[b'l' as usize] = 1;
    digits
}

/// A text that has the shape of a token. Whether its tag is right only [`BatchKeys::serial`] can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The number of the batch.
    pub batch: u32,
    tag: u64,
    sealed: u32,
}

impl Token {
    /// Reads a token: 20 digits, with any number of `-` between them.
    ///
    /// ```
    /// use domain::model::token::Token;
    ///
    /// let token = Token::parse("0007-0000-0000-0000-0001").expect("a token");
    /// assert_eq!(token.batch, 7);
    /// assert_eq!(Token::parse("oO0700000000000000-0i"), Some(token));
    /// assert_eq!(Token::parse("0007000000000000000U"), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bits = 0_u128;
        let mut count = 0;
        for &byte in text.as_bytes() {
            if byte == b'-' {
                continue;
            }
            let digit = DIGITS[usize::from(byte)];
            if digit == NONE || count == TOKEN_CHARS {
                return None;
            }
            bits = bits << 5 | u128::from(digit);
            count += 1;
        }
        (count == TOKEN_CHARS).then(|| Self {
            batch: low_u32(bits >> (TAG_BITS + SERIAL_BITS)),
            tag: low_u64(bits >> SERIAL_BITS) & TAG_MASK,
            sealed: low_u32(bits),
        })
    }

    /// The token as text.
    #[must_use]
    pub fn text(&self) -> [u8; TOKEN_CHARS] {
        let bits = u128::from(self.batch) << (TAG_BITS + SERIAL_BITS)
            | u128::from(self.tag) << SERIAL_BITS
            | u128::from(self.sealed);
        std::array::from_fn(|i| ALPHABET[(low_u32(bits >> (5 * (TOKEN_CHARS - 1 - i))) & 31) as usize])
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
const fn low_u32(bits: u128) -> u32 {
    bits as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
const fn low_u64(bits: u128) -> u64 {
    bits as u64
}

/// The keys of a batch: they mint and verify its tokens. Never printed, and wiped when they are dropped.
#[derive(Clone)]
pub struct BatchKeys {
    batch: u32,
    count: u64,
    tag: Aes128Enc,
    pad: Aes128Enc,
}

impl std::fmt::Debug for BatchKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BatchKeys({})", self.batch)
    }
}

impl BatchKeys {
    /// The keys of the batch with this number, count and secret.
    #[must_use]
    pub fn new(batch: u32, count: u64, secret: &[u8; 32]) -> Self {
        Self { batch, count, tag: key(secret, b"mashang code tag"), pad: key(secret, b"mashang code pad") }
    }

    /// The token of a serial; `None` for a serial that the batch does not have.
    #[must_use]
    pub fn mint(&self, serial: u64) -> Option<Token> {
        if serial >= self.count {
            return None;
        }
        let serial = u32::try_from(serial).ok()?;
        let tag = self.tag_of(serial);
        Some(Token { batch: self.batch, tag, sealed: serial ^ self.pad_of(tag) })
    }

    /// The serial of a token of this batch; `None` for one that was not minted with these keys.
    #[must_use]
    pub fn serial(&self, token: &Token) -> Option<u64> {
        let serial = token.sealed ^ self.pad_of(token.tag);
        let is_right = token.batch == self.batch && u64::from(serial) < self.count && self.tag_of(serial) == token.tag;
        is_right.then(|| u64::from(serial))
    }

    /// First 48 bits of AES-128(K₁, b:u32 ‖ serial:u64 ‖ 0:u32).
    fn tag_of(&self, serial: u32) -> u64 {
        let plain = u128::from(self.batch) << 96 | u128::from(serial) << 32;
        low_u64(encrypt(&self.tag, plain) >> (128 - TAG_BITS))
    }

    /// First 32 bits of AES-128(K₂, tag:6 bytes ‖ b:u32 ‖ 6 zero bytes).
    fn pad_of(&self, tag: u64) -> u32 {
        let plain = u128::from(tag) << 80 | u128::from(self.batch) << 48;
        low_u32(encrypt(&self.pad, plain) >> (128 - SERIAL_BITS))
    }
}

/// First 16 bytes of HMAC-SHA256(secret, name), as an AES-128 key.
fn key(secret: &[u8; 32], name: &[u8]) -> Aes128Enc {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(name);
    let mut key = Zeroizing::new([0; 16]);
    key.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    Aes128Enc::new(&(*key).into())
}

fn encrypt(cipher: &Aes128Enc, block: u128) -> u128 {
    let mut block = block.to_be_bytes().into();
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret() -> [u8; 32] {
        std::array::from_fn(|i| u8::try_from(i).expect("small"))
    }

    fn text(token: Token) -> String {
        String::from_utf8(token.text().to_vec()).expect("ASCII")
    }

    proptest! {
        #[test]
        fn minted_token_gives_its_serial(batch in 0..1_u32 << 20, serial in 0..1_u64 << 32) {
            let keys = BatchKeys::new(batch, 1 << 32, &secret());
            let token = keys.mint(serial).expect("a serial of the batch");
            prop_assert_eq!(keys.serial(&token), Some(serial));
            prop_assert_eq!(Token::parse(&text(token)), Some(token));
            prop_assert_eq!(BatchKeys::new(batch, serial, &secret()).serial(&token), None);
            prop_assert_eq!(BatchKeys::new(batch, 1 << 32, &[7; 32]).serial(&token), None);
        }

        #[test]
        fn changed_character_is_refused(serial in 0..1_u64 << 32, at in 0..TOKEN_CHARS, other in 0..32_usize) {
            let keys = BatchKeys::new(7, 1 << 32, &secret());
            let mut changed = keys.mint(serial).expect("a serial of the batch").text();
            prop_assume!(changed[at] != ALPHABET[other]);
            changed[at] = ALPHABET[other];
            let token = Token::parse(std::str::from_utf8(&changed).expect("ASCII")).expect("the shape of a token");
            prop_assert_eq!(keys.serial(&token), None);
        }
    }
}
