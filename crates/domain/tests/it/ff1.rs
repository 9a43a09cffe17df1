//! FF1 by the text of NIST SP 800-38G, for any radix and length: it gives NIST's samples, and ours equals it for binary digits.

use aes::Aes256Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use domain::model::rules::ff1::Ff1;
use num_bigint::BigUint;
use proptest::prelude::*;

fn encrypt_block(cipher: &Aes256Enc, block: [u8; 16]) -> [u8; 16] {
    let mut block = block.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

fn xor(a: [u8; 16], b: &[u8]) -> [u8; 16] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

fn number(digits: &[u32], radix: u32) -> BigUint {
    digits.iter().fold(BigUint::ZERO, |sum, &digit| sum * radix + digit)
}

fn digits_of(number: &BigUint, radix: u32, length: usize) -> Vec<u32> {
    let mut rest = number.clone();
    let mut digits: Vec<u32> = (0..length)
        .map(|_| {
            let digit = &rest % radix;
            rest /= radix;
            u32::try_from(digit).expect("a digit")
        })
        .collect();
    digits.reverse();
    digits
}

fn ff1(key: &[u8; 32], radix: u32, tweak: &[u8], digits: &[u32]) -> Vec<u32> {
    let cipher = Aes256Enc::new(key.into());
    let (n, u) = (digits.len(), digits.len() / 2);
    let v = n - u;
    let (mut a, mut b) = (digits[..u].to_vec(), digits[u..].to_vec());
    // b: the bytes of the largest number of v digits.
    let largest = BigUint::from(radix).pow(u32::try_from(v).expect("short")) - 1_u32;
    let bytes = usize::try_from(largest.bits().div_ceil(8)).expect("short");
    let d = 4 * bytes.div_ceil(4) + 4;
    let mut p = vec![1, 2, 1];
    p.extend(&radix.to_be_bytes()[1..]);
    p.extend([10, u8::try_from(u % 256).expect("a byte")]);
    p.extend(u32::try_from(n).expect("short").to_be_bytes());
    p.extend(u32::try_from(tweak.len()).expect("short").to_be_bytes());
    for round in 0..10_u8 {
        let mut q = tweak.to_vec();
        while !(q.len() + bytes + 1).is_multiple_of(16) {
            q.push(0);
        }
        q.push(round);
        let half = number(&b, radix).to_bytes_be();
        q.extend(std::iter::repeat_n(0, bytes - half.len().min(bytes)));
        q.extend(half.iter().skip(half.len().saturating_sub(bytes)));
        let r = p.iter().chain(&q).copied().collect::<Vec<u8>>();
        let r = r.chunks(16).fold([0; 16], |chain, block| encrypt_block(&cipher, xor(chain, block)));
        let mut s = r.to_vec();
        for j in 1.. {
            if s.len() >= d {
                break;
            }
            s.extend(encrypt_block(&cipher, xor(r, &u128::to_be_bytes(j))));
        }
        let y = BigUint::from_bytes_be(&s[..d]);
        let m = if round % 2 == 0 { u } else { v };
        let c = (number(&a, radix) + y) % BigUint::from(radix).pow(u32::try_from(m).expect("short"));
        (a, b) = (b, digits_of(&c, radix, m));
    }
    a.extend(b);
    a
}

/// The samples 7, 8 and 9 that NIST publishes for FF1 with AES-256.
#[test]
fn samples_of_nist_are_met() {
    let key = data_encoding::HEXUPPER.decode(b"2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94");
    let key: [u8; 32] = key.expect("hex").try_into().expect("32 bytes");
    let cases = [
        (10, "", "0123456789", "6657667009"),
        (10, "39383736353433323130", "0123456789", "1001623463"),
        (36, "3737373770717273373737", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
    ];
    for (radix, tweak, plain, wanted) in cases {
        let tweak = data_encoding::HEXUPPER.decode(tweak.as_bytes()).expect("hex");
        let digits: Vec<u32> = plain.chars().map(|c| c.to_digit(radix).expect("a digit")).collect();
        let found = ff1(&key, radix, &tweak, &digits);
        let found: String = found.iter().map(|&d| char::from_digit(d, radix).expect("a digit")).collect();
        assert_eq!(found, wanted);
    }
}

proptest! {
    #[test]
    fn binary_digits_of_every_length_agree(
        key: [u8; 32],
        tweak in prop::collection::vec(any::<u8>(), 0..70),
        length in 20..=32_u32,
        number: u32,
    ) {
        let plain = u64::from(number) & ((1 << length) - 1);
        let digits = digits_of(&BigUint::from(plain), 2, length as usize);
        let wanted = self::number(&ff1(&key, 2, &tweak, &digits), 2);
        prop_assert_eq!(BigUint::from(Ff1::new(&key, &tweak, length).encrypt(plain)), wanted);
    }
}
