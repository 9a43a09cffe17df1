//! The arithmetic of draws, from rules, secret and entry alone (contract section 6; docs/proofs.md has it with examples).

use domain::model::ids::SEPARATOR;
use domain::model::rules::draw::winner;
use domain::model::rules::ff1::Ff1;
use domain::model::rules::rulebook::Rulebook;
use domain::model::rules::secrets::Secret;
use domain::model::rules::{Campaign, Mode, Phase, Prize};
use domain::model::time::Millis;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Least number of binary digits that are permuted: FF1 needs a million numbers at least.
const DIGITS_MIN: u32 = 20;

/// A secret, ready to draw with.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    pub(super) fn new(secret: &Secret) -> Self {
        Self(Hmac::new_from_slice(secret.as_slice()).expect("HMAC takes a key of any length"))
    }

    /// HMAC-SHA256 of the parts, joined by [`SEPARATOR`].
    pub(super) fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                mac.update(&[SEPARATOR]);
            }
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The first 8 bytes of the digest, big-endian.
    fn number(&self, parts: &[&[u8]]) -> u64 {
        self.digest(parts).iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

/// What a code is in a campaign's draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrawCode {
    /// A one-item code that is minted: its serial.
    Token(u64),
    /// A one-item code of the rules.
    Item,
    /// A code that draws once for each entry.
    Shared,
}

impl DrawCode {
    /// Whether it draws once.
    pub(super) fn is_item(self) -> bool {
        self != Self::Shared
    }
}

/// What is known of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) code: &'a str,
    pub(super) shopper: Option<&'a str>,
    /// The number of the shopper's entry in the campaign.
    pub(super) n: Option<u64>,
    /// Its `received`.
    pub(super) time: Option<Millis>,
}

/// Why a draw cannot be recomputed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    /// The input of the draw lacks something.
    #[error("the code draws for each entry: give --shopper S --entry N")]
    Entry,
    /// The phase depends on the number.
    #[error("phase {0} is for some entries alone: give --entry N")]
    Number(usize),
    /// The phase depends on the time.
    #[error("phase {0} is for some time alone: give --time T")]
    Time(usize),
    /// A moment goes to whom the campaign desk comes to first.
    #[error("moments go to entries in the order of the log: give --awards CSV and --log FILE")]
    Moments,
}

/// The draws of one campaign.
pub(super) struct Draws<'r> {
    book: &'r Rulebook,
    pub(super) campaign: &'r Campaign,
    /// Per phase, what [`winner`] compares with.
    thresholds: &'r [Vec<u128>],
    key: Key,
    sealed: Option<Sealed>,
}

/// A sealed draw: a permutation of the serials of its batch.
struct Sealed {
    ff1: Ff1,
    count: u64,
    /// The end of each prize's range of positions.
    ends: Vec<u64>,
}

impl Sealed {
    fn new(campaign: &Campaign, key: &Key, count: u64) -> Self {
        let digits = (u64::BITS - (count - 1).leading_zeros()).max(DIGITS_MIN);
        let ends = campaign.prizes.iter().scan(0, |end, prize| {
            *end += prize.count.unwrap_or(0);
            Some(*end)
        });
        Self { ff1: Ff1::new(&key.digest(&[b"seal"]), campaign.id.as_bytes(), digits), count, ends: ends.collect() }
    }

    /// The index of the prize of a serial.
    fn prize(&self, serial: u64) -> Option<usize> {
        let mut position = self.ff1.encrypt(serial);
        while position >= self.count {
            position = self.ff1.encrypt(position);
        }
        self.ends.iter().position(|&end| position < end)
    }
}

impl<'r> Draws<'r> {
    /// The draws of the campaign of this index. `None` if it is sealed and no batch enters it.
    pub(super) fn new(book: &'r Rulebook, index: usize, secret: &Secret) -> Option<Self> {
        let campaign = &book.rules.campaigns[index];
        let key = Key::new(secret);
        let sealed = if campaign.mode == Mode::Sealed {
            let batch = book.rules.batches.iter().find(|batch| batch.campaign.as_ref() == Some(&campaign.id))?;
            Some(Sealed::new(campaign, &key, batch.count))
        } else {
            None
        };
        Some(Self { book, campaign, thresholds: &book.campaigns[index].thresholds, key, sealed })
    }

    /// What a code's name is in this campaign; `None` if the code enters another one or none.
    pub(super) fn code(&self, name: &str) -> Option<DrawCode> {
        let rules = &self.book.rules;
        let is_own = |campaign: &Option<String>| campaign.as_ref() == Some(&self.campaign.id);
        if let Some(code) = rules.codes.iter().find(|code| code.id == name) {
            let kind = if code.kind.is_item() { DrawCode::Item } else { DrawCode::Shared };
            return is_own(&code.campaign).then_some(kind);
        }
        let (number, serial) = name.split_once(':')?;
        let batch = rules.batches.iter().find(|batch| batch.number.to_string() == number)?;
        let digits = serial;
        let serial: u64 = serial.parse().ok().filter(|&serial| serial < batch.count)?;
        (is_own(&batch.campaign) && serial.to_string() == digits).then_some(DrawCode::Token(serial))
    }

    /// The prize that an entry draws.
    ///
    /// # Errors
    /// Something that the draw depends on is not known.
    pub(super) fn drawn(&self, kind: DrawCode, entry: &Entry<'_>) -> Result<Option<&'r Prize>, Unknown> {
        let index = match (self.campaign.mode, kind, &self.sealed) {
            (Mode::Moments, ..) => return Err(Unknown::Moments),
            (Mode::Sealed, DrawCode::Token(serial), Some(sealed)) => sealed.prize(serial),
            (Mode::Sealed, ..) => None,
            (Mode::Odds, ..) => {
                let input = input(&self.campaign.id, kind, entry)?;
                let u = self.key.number(&[b"draw", &input]);
                self.phase(entry)?.and_then(|phase| winner(u, &self.thresholds[phase]))
            }
        };
        Ok(index.map(|index| &self.campaign.prizes[index]))
    }

    /// The first phase that matches.
    fn phase(&self, entry: &Entry<'_>) -> Result<Option<usize>, Unknown> {
        for (at, phase) in self.campaign.phases.iter().enumerate() {
            let Phase { from, to, entries: (first, last), .. } = phase;
            let takes_all = *first <= 1 && last.is_none();
            let of_number = entry.n.map(|n| *first <= n && last.is_none_or(|last| n <= last));
            let of_number = if takes_all { Some(true) } else { of_number };
            let of_time = entry.time.map(|time| from.is_none_or(|from| from <= time) && to.is_none_or(|to| time < to));
            let of_time = if from.is_none() && to.is_none() { Some(true) } else { of_time };
            match (of_number, of_time) {
                (Some(true), Some(true)) => return Ok(Some(at)),
                (Some(false), _) | (_, Some(false)) => {}
                (None, _) => return Err(Unknown::Number(at + 1)),
                (_, None) => return Err(Unknown::Time(at + 1)),
            }
        }
        Ok(None)
    }

    /// The amount that a prize grants to an entry; `None` if it has none.
    ///
    /// # Errors
    /// Something that the amount depends on is not known.
    pub(super) fn amount(&self, prize: &Prize, kind: DrawCode, entry: &Entry<'_>) -> Result<Option<i64>, Unknown> {
        let (Some(least), Some(most)) = (prize.amount, prize.amount_max) else { return Ok(prize.amount) };
        let input = input(&self.campaign.id, kind, entry)?;
        let w = self.key.number(&[b"amount", self.campaign.id.as_bytes(), prize.id.as_bytes(), &input]);
        let above = (i128::from(w) * (i128::from(most) - i128::from(least) + 1)) >> u64::BITS;
        Ok(Some(least + i64::try_from(above).unwrap_or(0)))
    }

    /// Passes every winning code of a sealed campaign to `each`, by serial: name and prize.
    ///
    /// # Errors
    /// As `each`.
    pub(super) fn winning_codes<E>(
        &self,
        mut each: impl FnMut(&str, &'r Prize) -> Result<(), E>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(), E> {
        let Some(sealed) = &self.sealed else { return Ok(()) };
        let batches = &self.book.rules.batches;
        let Some(batch) = batches.iter().find(|batch| batch.campaign.as_ref() == Some(&self.campaign.id)) else {
            return Ok(());
        };
        for serial in 0..sealed.count {
            progress(serial, sealed.count);
            if let Some(index) = sealed.prize(serial) {
                each(&format!("{}:{serial}", batch.number), &self.campaign.prizes[index])?;
            }
        }
        Ok(())
    }
}

/// campaign ‖ 0x1F ‖ code; for codes that are not one-item also ‖ 0x1F ‖ shopper ‖ 0x1F ‖ n.
fn input(campaign: &str, kind: DrawCode, entry: &Entry<'_>) -> Result<Vec<u8>, Unknown> {
    let mut input = [campaign.as_bytes(), entry.code.as_bytes()].join(&SEPARATOR);
    if !kind.is_item() {
        let (Some(shopper), Some(n)) = (entry.shopper, entry.n) else { return Err(Unknown::Entry) };
        for part in [shopper, &n.to_string()] {
            input.push(SEPARATOR);
            input.extend_from_slice(part.as_bytes());
        }
    }
    Ok(input)
}
