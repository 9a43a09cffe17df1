//! FF1-AES-256 over binary digits (NIST SP 800-38G): the permutation of a sealed draw.
//!
//! Only what a sealed draw needs: radix 2, 20 to 32 digits. A half then has at most 16 digits, so every round encrypts the same
//! blocks but for the last one, and all before it are encrypted once.

use aes::Aes256Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

const ROUNDS: u8 = 10;
/// Number of bytes of a half as a number: `b` of the standard, for at most 16 binary digits.
const HALF_BYTES: usize = 2;

/// A permutation of the numbers of `digits` binary digits. Never printed, and wiped when it is dropped.
#[derive(Clone)]
pub struct Ff1 {
    cipher: Aes256Enc,
    digits: u32,
    /// The chain of encrypted blocks before the last, xored with what the last block has of the tweak.
    chained: u128,
}

impl std::fmt::Debug for Ff1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ff1({})", self.digits)
    }
}

impl Ff1 {
    /// # Panics
    /// If `digits` is below 20 or above 32.
    #[must_use]
    pub fn new(key: &[u8; 32], tweak: &[u8], digits: u32) -> Self {
        assert!((20..=32).contains(&digits), "20 to 32 digits");
        let cipher = Aes256Enc::new(key.into());
        let (digits_byte, half) = (u8::try_from(digits).unwrap_or(0), u8::try_from(digits / 2).unwrap_or(0));
        let tweak_bytes = u32::try_from(tweak.len()).unwrap_or(u32::MAX).to_be_bytes();
        // P = 1 ‖ 2 ‖ 1 ‖ radix:3 ‖ 10 ‖ u mod 256 ‖ n:4 ‖ t:4
        let mut first = [1, 2, 1, 0, 0, 2, ROUNDS, half, 0, 0, 0, digits_byte, 0, 0, 0, 0];
        first[12..].copy_from_slice(&tweak_bytes);
        let mut chained = encrypt(&cipher, u128::from_be_bytes(first));
        // Q = tweak ‖ zeros ‖ round:1 ‖ the half:b, to whole blocks.
        let mut blocks = tweak.to_vec();
        let last_bytes = 1 + HALF_BYTES;
        blocks.resize((tweak.len() + last_bytes).next_multiple_of(16), 0);
        let (before, last) = blocks.split_at(blocks.len() - 16);
        for block in before.as_chunks::<16>().0 {
            chained = encrypt(&cipher, chained ^ u128::from_be_bytes(*block));
        }
        chained ^= last.iter().fold(0, |number, &byte| number << 8 | u128::from(byte));
        Self { cipher, digits, chained }
    }

    /// Number of binary digits.
    #[must_use]
    pub fn digits(&self) -> u32 {
        self.digits
    }

    /// Encrypts a number; its binary digits are taken most significant first.
    #[must_use]
    pub fn encrypt(&self, number: u64) -> u64 {
        let left_digits = self.digits / 2;
        let right_digits = self.digits - left_digits;
        let (mut a, mut b) = (number >> right_digits, number & ones(right_digits));
        for round in 0..ROUNDS {
            let last = u128::from(round) << (8 * HALF_BYTES) | u128::from(b);
            // The first 8 bytes of R: d is 8 for halves of at most 16 digits.
            let y = encrypt(&self.cipher, self.chained ^ last) >> 64;
            let digits = if round % 2 == 0 { left_digits } else { right_digits };
            let c = (u128::from(a) + y) & u128::from(ones(digits));
            (a, b) = (b, u64::try_from(c).unwrap_or(0));
        }
        a << right_digits | b
    }
}

const fn ones(digits: u32) -> u64 {
    (1 << digits) - 1
}

fn encrypt(cipher: &Aes256Enc, block: u128) -> u128 {
    let mut block = block.to_be_bytes().into();
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

#[cfg(test)]
mod tests {
    use fpe::ff1::{BinaryNumeralString, FF1};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The crate `fpe` reads binary strings byte by byte, the least significant bit first.
        #[test]
        fn agrees_with_another_implementation(
            key: [u8; 32],
            tweak in prop::collection::vec(any::<u8>(), 0..70),
            whole_bytes in 3..=4_u32,
            number: u32,
        ) {
            let digits = whole_bytes * 8;
            let number = u64::from(number) & ones(digits);
            let reversed = |number: u64| number.reverse_bits() >> (64 - digits);
            let bytes = reversed(number).to_le_bytes()[..whole_bytes as usize].to_vec();
            let other = FF1::<aes::Aes256>::new(&key, 2).expect("radix 2");
            let encrypted = other.encrypt(&tweak, &BinaryNumeralString::from_bytes_le(&bytes)).expect("valid");
            let mut padded = [0; 8];
            padded[..whole_bytes as usize].copy_from_slice(&encrypted.to_bytes_le());
            prop_assert_eq!(Ff1::new(&key, &tweak, digits).encrypt(number), reversed(u64::from_le_bytes(padded)));
        }
    }

    #[test]
    fn is_a_permutation() {
        let ff1 = Ff1::new(&[9; 32], b"one-more-bottle", 20);
        let mut seen = vec![false; 1 << 20];
        for number in 0..1 << 20 {
            let found = usize::try_from(ff1.encrypt(number)).expect("20 digits");
            assert!(!std::mem::replace(&mut seen[found], true));
        }
    }
}
