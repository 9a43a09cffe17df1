//! FF1, encryption that keeps a numeral string's radix and length: NIST SP 800-38G, algorithms 6 and 7, with AES-256.
use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

/// Halves of the string are numbers below this.
const HALF_MAX: u128 = 1 << 96;

fn encrypted(cipher: &Aes256, block: [u8; 16]) -> [u8; 16] {
    let mut block = block.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

/// PRF: CBC-MAC from a block of zeros.
fn prf(cipher: &Aes256, data: &[u8]) -> [u8; 16] {
    assert!(data.len().is_multiple_of(16));
    data.chunks(16).fold([0; 16], |y, block| encrypted(cipher, std::array::from_fn(|i| y[i] ^ block[i])))
}

/// NUM_radix: the number that the numerals stand for, most significant first.
fn number(radix: u32, numerals: &[u32]) -> u128 {
    numerals.iter().fold(0, |n, x| n * radix as u128 + *x as u128)
}

/// STR^m_radix: m numerals.
fn numerals(radix: u32, m: usize, mut n: u128) -> Vec<u32> {
    let mut out = vec![0; m];
    for x in out.iter_mut().rev() {
        *x = (n % radix as u128) as u32;
        n /= radix as u128;
    }
    out
}

pub(crate) struct Ff1(Aes256);

impl Ff1 {
    pub(crate) fn new(key: [u8; 32]) -> Ff1 {
        Ff1(Aes256::new(&key.into()))
    }

    pub(crate) fn encrypt(&self, radix: u32, tweak: &[u8], x: &[u32]) -> Vec<u32> {
        let (n, t) = (x.len(), tweak.len());
        let (u, v) = (n / 2, n - n / 2);
        let power =
            |m: usize| (radix as u128).checked_pow(m as u32).filter(|p| *p <= HALF_MAX).expect("a short string");
        let (mut a, mut b) = (x[..u].to_vec(), x[u..].to_vec());
        // the bytes of v numerals, and of y
        let bits = (u128::BITS - (power(v) - 1).leading_zeros()) as usize;
        let bytes = bits.div_ceil(8);
        let d = 4 * bytes.div_ceil(4) + 4;
        let mut p = vec![1, 2, 1];
        p.extend(&radix.to_be_bytes()[1..]);
        p.extend([10, u as u8]);
        p.extend((n as u32).to_be_bytes());
        p.extend((t as u32).to_be_bytes());
        for i in 0..10u8 {
            let mut data = p.clone();
            data.extend(tweak);
            data.extend(vec![0; (16 - (t + bytes + 1) % 16) % 16]);
            data.push(i);
            data.extend(&number(radix, &b).to_be_bytes()[16 - bytes..]);
            let r = prf(&self.0, &data);
            let mut s = r.to_vec();
            let mut j = 0u128;
            while s.len() < d {
                j += 1;
                s.extend(encrypted(&self.0, (u128::from_be_bytes(r) ^ j).to_be_bytes()));
            }
            let m = if i % 2 == 0 { u } else { v };
            let modulus = power(m);
            let y = s[..d].chunks(4).fold(0, |y, word| {
                let word = u32::from_be_bytes(word.try_into().unwrap());
                ((y << 32) + word as u128) % modulus
            });
            let c = (number(radix, &a) + y) % modulus;
            a = std::mem::replace(&mut b, numerals(radix, m, c));
        }
        a.extend(b);
        a
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(radix: u32, tweak: &str, plain: &str, wanted: &str) {
        let key = "2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94";
        let key = data_encoding::HEXLOWER.decode(key.as_bytes()).unwrap().try_into().unwrap();
        let tweak = data_encoding::HEXLOWER.decode(tweak.as_bytes()).unwrap();
        let numerals: Vec<u32> = plain.chars().map(|c| c.to_digit(radix).unwrap()).collect();
        let found = Ff1::new(key).encrypt(radix, &tweak, &numerals);
        let found: String = found.into_iter().map(|x| char::from_digit(x, radix).unwrap()).collect();
        assert_eq!(found, wanted);
    }

    /// NIST, examples with intermediate values: FF1-AES256, samples 7, 8 and 9.
    #[test]
    fn samples_of_nist_are_met() {
        check(10, "", "0123456789", "6657667009");
        check(10, "39383736353433323130", "0123456789", "1001623463");
        check(36, "3737373770717273373737", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd");
    }

    #[test]
    fn binary_strings_are_permuted() {
        let ff1 = Ff1::new([7; 32]);
        for n in [2, 5, 10] {
            let all = 0..1u128 << n;
            let mut images: Vec<u128> =
                all.clone().map(|x| number(2, &ff1.encrypt(2, b"camp", &numerals(2, n, x)))).collect();
            assert_ne!(images, all.clone().collect::<Vec<_>>());
            images.sort();
            assert_eq!(images, all.collect::<Vec<_>>());
        }
    }
}
