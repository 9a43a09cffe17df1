//! Tokens in numbers: all that are minted verify and differ, and none is guessed.
//!
//! `MASHANG_TOKENS` says how many are tried; the default keeps a run short.

use domain::model::token::{BatchKeys, TOKEN_CHARS, Token};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BATCH: u32 = 7;
const TOKENS_DEFAULT: u64 = 200_000;
/// The largest batch: the most tokens that a guess can hit.
const COUNT_MAX: u64 = 1 << 32;

fn tokens() -> u64 {
    match std::env::var("MASHANG_TOKENS") {
        Ok(number) => number.parse().expect("MASHANG_TOKENS is a number of tokens"),
        Err(_) => TOKENS_DEFAULT,
    }
}

fn keys(count: u64) -> BatchKeys {
    BatchKeys::new(BATCH, count, &std::array::from_fn(|i| u8::try_from(i * 7).expect("small")))
}

fn serial(keys: &BatchKeys, text: [u8; TOKEN_CHARS]) -> Option<u64> {
    let token = Token::parse(std::str::from_utf8(&text).expect("ASCII")).expect("the shape of a token");
    keys.serial(&token)
}

/// SplitMix64: numbers without a pattern, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> usize {
        usize::try_from(self.next() % end).expect("small")
    }
}

#[test]
fn minted_tokens_all_verify_and_differ() {
    let count = tokens();
    let keys = keys(count);
    let mut minted: Vec<[u8; TOKEN_CHARS]> = (0..count)
        .map(|number| {
            let text = keys.mint(number).expect("a serial of the batch").text();
            assert_eq!(serial(&keys, text), Some(number));
            text
        })
        .collect();
    minted.sort_unstable();
    minted.dedup();
    assert_eq!(minted.len() as u64, count);
    assert_eq!(keys.mint(count), None);
}

#[test]
fn random_tokens_of_a_batch_are_refused() {
    let keys = keys(COUNT_MAX);
    let begin = keys.mint(0).expect("a serial").text();
    let mut numbers = Numbers(1);
    for _ in 0..tokens() {
        // The batch is public: a guess begins with it.
        let (mut text, mut bits) = (begin, u128::from(numbers.next()) << 64 | u128::from(numbers.next()));
        for digit in &mut text[4..] {
            *digit = ALPHABET[usize::try_from(bits & 31).expect("small")];
            bits >>= 5;
        }
        assert_eq!(serial(&keys, text), None, "{}", String::from_utf8_lossy(&text));
    }
}

#[test]
fn tokens_with_one_changed_character_are_refused() {
    let keys = keys(COUNT_MAX);
    let mut numbers = Numbers(2);
    for _ in 0..tokens() {
        let minted = keys.mint(numbers.next() % COUNT_MAX).expect("a serial").text();
        let (at, mut changed) = (numbers.below(20), minted);
        let digit = ALPHABET.iter().position(|&digit| digit == minted[at]).expect("a digit");
        changed[at] = ALPHABET[(digit + 1 + numbers.below(31)) % 32];
        assert_ne!(changed, minted);
        assert_eq!(serial(&keys, changed), None, "{}", String::from_utf8_lossy(&changed));
    }
}
