//! The texts under which minted codes are scanned, right and wrong.
use super::super::plan::{GTIN_BODY, Plan, with_check_digit};
use super::super::rng::Rng;
use super::batch::Batch;

/// Percent of the codes of events that are minted ones.
const MINTED_PERCENT: u64 = 40;
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The code that an event bears instead of its own, now and then.
pub(crate) fn code(rng: &mut Rng, plans: &[Plan], plan: usize) -> Option<String> {
    let minted = &plans[plan].minted;
    if minted.batches.is_empty() || !rng.percent(MINTED_PERCENT) {
        return None;
    }
    // the first batches are scanned more often: they are there from the first version on
    let batch = &minted.batches[rng.below(minted.batches.len())];
    let serial = *rng.pick(&batch.hot);
    let token = batch.token(serial);
    let token = match rng.below(100) {
        0..30 if !minted.others.is_empty() => return Some(rng.pick(&minted.others).clone()),
        0..78 => token,
        // one digit is another
        78..84 => {
            let mut digits = token.into_bytes();
            let i = rng.below(20);
            digits[i] = if digits[i] == b'0' { DIGITS[1 + rng.below(31)] } else { b'0' };
            String::from_utf8(digits).unwrap()
        }
        // no digit at all
        84..86 => token.replacen(&token[7..8], "U", 1),
        // minted with the right keys beyond the count
        86..93 => batch.token(batch.count + rng.range(0, 3)),
        // another merchant's, or of no batch
        _ if plans.len() > 1 => {
            let batches = &plans[1 - plan].minted.batches;
            let other = rng.pick(batches);
            other.token(*rng.pick(&other.hot))
        }
        _ => "0123456789ABCDEFGHJK".into(),
    };
    Some(written(rng, &token, batch))
}

/// A region of an event's own, now and then, that is or is not where ranges lie.
pub(crate) fn region(rng: &mut Rng) -> Option<&'static str> {
    rng.percent(55).then(|| *rng.pick(&["330106", "330106", "330200", "310000", "310000", "44", "3"]))
}

fn written(rng: &mut Rng, token: &str, batch: &Batch) -> String {
    let (a, b) = token.split_at(5);
    let token = match rng.below(10) {
        0..4 => token.to_string(),
        4 | 5 => token.to_lowercase(),
        6 => format!("{a}-{}-{}-{}", &b[..5], &b[5..10], &b[10..]),
        7 => token.replace('0', "O").replace('1', "I"),
        8 => token.replace('0', "o").replace('1', "L"),
        _ => token.to_lowercase().replace('1', "l"),
    };
    let own = batch.gtin.clone().unwrap_or(with_check_digit(&format!("0{GTIN_BODY}")));
    let other = with_check_digit(&format!("5{GTIN_BODY}"));
    let gtin = if rng.percent(75) { own } else { other };
    let is_plain = token.len() == 20;
    match rng.below(13) {
        0..5 => token,
        5 => format!("https://m.example/c/{token}"),
        6 => format!("https://m.example/x/y?a=1&c={token}"),
        7 => format!("]C1{token}\r\n"),
        8 => format!("https://id.example/01/{gtin}/21/{token}"),
        9 => format!("https://id.example/gtin/{}/10/L1/ser/{token}?x=2", gtin.trim_start_matches('0')),
        10 if is_plain => format!("(01){gtin}(21){token}"),
        11 if is_plain => format!("01{gtin}21{token}"),
        _ => format!("https://m.example/01/{gtin}/21/{token}"),
    }
}
