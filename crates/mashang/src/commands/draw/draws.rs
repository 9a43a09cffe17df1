//! The arithmetic of draws, from rules, secret and entry alone (contract section 6; docs/proofs.md has it with examples).
//!
//! It is written apart from the desks' own (`domain::model::rules::draw`): what verifies must not repeat their mistakes.

use std::collections::{BTreeMap, HashMap};

use domain::model::ids::SEPARATOR;
use domain::model::rules::draw::winner;
use domain::model::rules::ff1::Ff1;
use domain::model::rules::rulebook::Rulebook;
use domain::model::rules::secrets::Secret;
use domain::model::rules::{Batch, Campaign, Mode, Phase, Prize};
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
    pub(super) campaign: &'r Campaign,
    /// Per phase, what [`winner`] compares with.
    thresholds: &'r [Vec<u128>],
    key: Key,
    sealed: Option<Sealed>,
    /// The codes of the rules, by id: `None` for one that does not enter the campaign.
    codes: HashMap<&'r str, Option<DrawCode>>,
    /// The batches that enter the campaign, by number.
    batches: BTreeMap<u32, &'r Batch>,
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

    /// The position of a serial in the permutation.
    fn position(&self, serial: u64) -> u64 {
        let mut position = self.ff1.encrypt(serial);
        while position >= self.count {
            position = self.ff1.encrypt(position);
        }
        position
    }

    /// The index of the prize of a serial.
    fn prize(&self, serial: u64) -> Option<usize> {
        let position = self.position(serial);
        self.ends.iter().position(|&end| position < end)
    }
}

impl<'r> Draws<'r> {
    /// The draws of the campaign of this index. `None` if it is sealed and no batch enters it.
    pub(super) fn new(book: &'r Rulebook, index: usize, secret: &Secret) -> Option<Self> {
        let campaign = &book.rules.campaigns[index];
        let key = Key::new(secret);
        let is_own = |of: &Option<String>| of.as_ref() == Some(&campaign.id);
        let codes = book.rules.codes.iter().map(|code| {
            let kind = if code.kind.is_item() { DrawCode::Item } else { DrawCode::Shared };
            (code.id.as_str(), is_own(&code.campaign).then_some(kind))
        });
        let batches = book.rules.batches.iter().filter(|batch| is_own(&batch.campaign));
        let batches: BTreeMap<u32, &Batch> = batches.map(|batch| (batch.number, batch)).collect();
        let sealed = match campaign.mode {
            Mode::Sealed => Some(Sealed::new(campaign, &key, batches.values().next()?.count)),
            Mode::Odds | Mode::Moments => None,
        };
        let thresholds = &book.campaigns[index].thresholds;
        Some(Self { campaign, thresholds, key, sealed, codes: codes.collect(), batches })
    }

    /// What a code's name is in this campaign; `None` if the code enters another one or none.
    pub(super) fn code(&self, name: &str) -> Option<DrawCode> {
        if let Some(code) = self.codes.get(name) {
            return *code;
        }
        let (number, digits) = name.split_once(':')?;
        let batch = self.batches.get(&number.parse().ok()?)?;
        let serial: u64 = digits.parse().ok().filter(|&serial| serial < batch.count)?;
        (format!("{}:{serial}", batch.number) == name).then_some(DrawCode::Token(serial))
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
        let (Some(sealed), Some(batch)) = (&self.sealed, self.batches.values().next()) else { return Ok(()) };
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

#[cfg(test)]
mod tests {
    use domain::model::rules::RulesSeq;
    use domain::model::rules::secrets::Secrets;
    use serde_json::{Value, json};

    use super::*;

    /// The numbers of these tests are those of docs/proofs.md, which `docs/verify/verify.py vectors` computes without this code.
    fn secret() -> Secret {
        Secret::new(std::array::from_fn(|i| u8::try_from(i).expect("small")))
    }

    fn book(batches: &Value, campaign: &Value) -> Rulebook {
        let own = &campaign["id"];
        let rules = json!({
            "merchant": "acme", "currency": "CNY", "time_zone": "UTC", "late_ms": 0,
            "dedup": {"horizon_minutes": 1, "debounce_ms": 0},
            "attribution": {"window_ms": 0, "model": "last", "protect_ms": 0, "members": "all", "refund_within_ms": 0, "touches_max": 1},
            "commissions": [], "stores": [], "guides": [], "funnels": [], "batches": batches, "campaigns": [campaign],
            "codes": [
                {"id": "MAG-7", "kind": "media", "guide": null, "store": null, "campaign": own, "channel": null},
                {"id": "X-1", "kind": "interactive", "guide": null, "store": null, "campaign": own, "channel": null},
            ],
        });
        let rules = wire::rules::from_object(rules.to_string().as_bytes()).expect("rules");
        Rulebook::new(rules, RulesSeq::FIRST, [0; 32], &Secrets::default()).expect("rules that hold together")
    }

    fn campaign(id: &str, mode: &str, prizes: &Value, phases: &Value) -> Value {
        json!({
            "id": id, "mode": mode, "from": 0, "to": 1000, "areas": [], "limit_total": null, "limit_day": null,
            "limit_wins": null, "budget": null, "landing": null, "secret": "file:x", "commit": "", "prizes": prizes,
            "phases": phases,
        })
    }

    fn prize(id: &str, more: &Value) -> Value {
        let mut prize = json!({
            "id": id, "kind": "cash", "amount": 100, "ticket": null, "stock": null, "unlock": null, "otherwise": null,
        });
        let fields = prize.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        prize
    }

    const MAG: Entry<'_> = Entry { code: "MAG-7", shopper: Some("u1"), n: Some(2), time: Some(500) };
    const X: Entry<'_> = Entry { code: "X-1", shopper: None, n: None, time: None };

    #[test]
    fn odds_and_amounts_are_those_of_the_page() {
        // u is 0xd0717bcc77a95730 for MAG-7 and 0x801b2ef53bc3b081 for X-1: between 13/16 and 14/16 of 2⁶⁴, and between 8/16 and 9/16.
        let phase = |numerator: u64| {
            json!([{"from": null, "to": null, "entries": [1, null],
                "odds": {"a": {"numerator": numerator, "denominator": 16}, "b": {"numerator": 1, "denominator": 16}}}])
        };
        let prizes = json!([prize("a", &json!({})), prize("b", &json!({}))]);
        for (numerator, of_mag, of_x) in [
            (7, None, None),
            (8, None, Some("b")),
            (9, None, Some("a")),
            (13, Some("b"), Some("a")),
            (14, Some("a"), Some("a")),
        ] {
            let book = book(&json!([]), &campaign("wheel", "odds", &prizes, &phase(numerator)));
            let draws = Draws::new(&book, 0, &secret()).expect("odds");
            let drawn = |entry: &Entry<'_>| {
                let kind = draws.code(entry.code).expect("a code of the campaign");
                draws.drawn(kind, entry).expect("all is known").map(|prize| prize.id.as_str())
            };
            assert_eq!((drawn(&MAG), drawn(&X)), (of_mag, of_x), "{numerator}/16");
        }
        let red = prize("red-1", &json!({"amount_max": 188}));
        let book = book(&json!([]), &campaign("wheel", "odds", &json!([red]), &json!([])));
        let draws = Draws::new(&book, 0, &secret()).expect("odds");
        let red = &draws.campaign.prizes[0];
        assert_eq!(draws.amount(red, DrawCode::Shared, &MAG), Ok(Some(133)));
        assert_eq!(draws.amount(red, DrawCode::Item, &X), Ok(Some(163)));
    }

    #[test]
    fn a_draw_asks_only_for_what_it_depends_on() {
        let phases = json!([
            {"from": null, "to": null, "entries": [1, 1], "odds": {}},
            {"from": 100, "to": 200, "entries": [1, null], "odds": {}},
        ]);
        let book = book(&json!([]), &campaign("wheel", "odds", &json!([]), &phases));
        let draws = Draws::new(&book, 0, &secret()).expect("odds");
        assert_eq!(draws.code("MAG-8"), None);
        let drawn = |kind, entry: Entry<'_>| draws.drawn(kind, &entry).map(|prize| prize.is_some());
        assert_eq!(drawn(DrawCode::Shared, Entry { n: None, ..MAG }), Err(Unknown::Entry));
        assert_eq!(drawn(DrawCode::Item, X), Err(Unknown::Number(1)));
        assert_eq!(drawn(DrawCode::Item, Entry { n: Some(1), ..X }), Ok(false));
        assert_eq!(drawn(DrawCode::Item, Entry { n: Some(2), ..X }), Err(Unknown::Time(2)));
        assert_eq!(drawn(DrawCode::Item, Entry { n: Some(2), time: Some(200), ..X }), Ok(false));
    }

    #[test]
    fn sealed_draw_gives_exactly_the_counts() {
        let batch = json!({
            "number": 7, "kind": "interactive", "count": 1000, "campaign": "bottle", "gtin": null, "url": null,
            "secret": "file:x", "commit": "", "alarm_shoppers": null, "activate": "all", "guide": null, "store": null, "channel": null,
        });
        let prizes = |a: u64, b: u64| json!([prize("a", &json!({"count": a})), prize("b", &json!({"count": b}))]);
        // The positions of the serials 0, 1 and 999 are 227, 808 and 454.
        for (a, b, wanted) in [
            (227, 1, [Some("b"), None, None]),
            (228, 226, [Some("a"), None, None]),
            (228, 227, [Some("a"), None, Some("b")]),
            (100, 900, [Some("b"), Some("b"), Some("b")]),
        ] {
            let book = book(&json!([batch]), &campaign("bottle", "sealed", &prizes(a, b), &json!([])));
            let draws = Draws::new(&book, 0, &secret()).expect("a batch enters it");
            let found = ["7:0", "7:1", "7:999"].map(|code| {
                let kind = draws.code(code).expect("a code of the batch");
                draws.drawn(kind, &Entry { code, ..X }).expect("all is known").map(|prize| prize.id.clone())
            });
            assert_eq!(found.each_ref().map(|id| id.as_deref()), wanted, "{a}, {b}");
            let mut counts = [0, 0];
            let Ok(()) = draws.winning_codes::<std::convert::Infallible>(
                |_, prize| {
                    counts[usize::from(prize.id == "b")] += 1;
                    Ok(())
                },
                |_, _| {},
            );
            assert_eq!(counts, [a, b]);
            assert_eq!(["7:1000", "8:0", "07:0", "7:+1", "7"].map(|name| draws.code(name)), [None; 5]);
        }
    }

    #[test]
    fn larger_batches_are_permuted_as_the_page_says() {
        for (count, wanted) in
            [(1_000_000, [470_269, 449_024, 473_893]), (1 << 32, [420_115_201, 3_529_936_747, 62_522_358])]
        {
            let book = book(&json!([]), &campaign("bottle", "odds", &json!([]), &json!([])));
            let sealed = Sealed::new(&book.rules.campaigns[0], &Key::new(&secret()), count);
            assert_eq!([0, 1, count - 1].map(|serial| sealed.position(serial)), wanted);
        }
    }
}
