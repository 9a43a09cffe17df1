//! Entry, draw and grant of odds campaigns (contract, section 6).
use super::event::Event;
use super::rules::{Campaign, Prize, Rules, gcd};
use super::{Seen, saw};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub(crate) struct Entry {
    pub(crate) campaign: String,
    pub(crate) code: String,
    pub(crate) shopper: String,
    pub(crate) day: String,
}

pub(crate) struct Award {
    /// the version that admitted it
    pub(crate) book: usize,
    pub(crate) campaign: String,
    pub(crate) code: String,
    pub(crate) shopper: String,
    pub(crate) entry: u64,
    pub(crate) time: i64,
    pub(crate) region: Option<String>,
    pub(crate) drawn: String,
    /// None: thanks
    pub(crate) awarded: Option<String>,
}

#[derive(Default)]
pub(crate) struct Draws {
    pub(crate) entries: Vec<Entry>,
    pub(crate) awards: Vec<Award>,
}

pub(crate) fn prize<'a>(campaign: &'a Campaign, id: &str) -> Option<&'a Prize> {
    campaign.prizes.iter().find(|p| p.id == id)
}

fn uniform(secret: &[u8], input: &str) -> u64 {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(b"draw\x1f");
    mac.update(input.as_bytes());
    u64::from_be_bytes(mac.finalize().into_bytes()[..8].try_into().unwrap())
}

fn draw(c: &Campaign, input: &str, n: u64, now: i64, seen: &mut Seen) -> Option<String> {
    let phase = c.phases.iter().position(|p| {
        p.from.is_none_or(|f| f <= now) && p.to.is_none_or(|t| now < t) && p.first <= n && p.last.is_none_or(|l| n <= l)
    });
    let Some(phase) = phase else {
        saw(seen, "draw: no phase");
        return None;
    };
    if phase > 0 {
        saw(seen, "draw: a later phase");
    }
    let u = uniform(&c.secret, input) as u128;
    let mut sum = (0u128, 1u128);
    for p in &c.prizes {
        let Some(&(n, d)) = c.phases[phase].odds.get(&p.id) else { continue };
        sum = (sum.0 * d + n * sum.1, sum.1 * d);
        let g = gcd(sum.0, sum.1);
        sum = (sum.0 / g, sum.1 / g);
        assert!(sum.0 <= u64::MAX as u128);
        if u < (sum.0 << 64) / sum.1 || sum.0 == sum.1 {
            return Some(p.id.clone());
        }
    }
    None
}

impl Draws {
    /// Returns whether the scan was an entry.
    pub(crate) fn scan(&mut self, rules: &Rules, book: usize, e: &Event, seen: &mut Seen) -> bool {
        let code = e.code.as_ref().unwrap();
        if !code.item() && code.campaign.is_none() {
            return false;
        }
        if !code.item() && e.keyless {
            saw(seen, "draw: keyless");
            return false;
        }
        let now = e.received;
        let day = rules.day(now);
        let Some(id) = &code.campaign else {
            saw(seen, "draw: no-campaign");
            return false;
        };
        let c = &rules.campaigns[id];
        if now < c.from {
            saw(seen, "draw: not-started");
            return false;
        }
        if now >= c.to {
            saw(seen, "draw: ended");
            return false;
        }
        if !c.areas.is_empty() && !e.region.as_ref().is_some_and(|r| c.areas.iter().any(|a| r.starts_with(a))) {
            saw(seen, "draw: out-of-area");
            return false;
        }
        if code.item() && self.entries.iter().any(|x| x.code == code.name && x.shopper == e.shopper) {
            saw(seen, "draw: yours");
            return false;
        }
        let mine: Vec<&Entry> = self.entries.iter().filter(|x| &x.campaign == id && x.shopper == e.shopper).collect();
        let today = mine.iter().filter(|x| x.day == day).count() as u64;
        if c.limit_total.is_some_and(|l| mine.len() as u64 >= l) || c.limit_day.is_some_and(|l| today >= l) {
            saw(seen, "draw: limit");
            return false;
        }
        let n = mine.len() as u64 + 1;
        let taken = code.item() && self.entries.iter().any(|x| x.code == code.name);
        self.entries.push(Entry { campaign: id.clone(), code: code.name.clone(), shopper: e.shopper.clone(), day });
        saw(seen, "draw: entry");
        if taken {
            saw(seen, "draw: already-claimed");
            return true;
        }
        let mut input = format!("{id}\x1f{}", code.name);
        if !code.item() {
            input += &format!("\x1f{}\x1f{n}", e.shopper);
        }
        let Some(drawn) = draw(c, &input, n, now, seen) else {
            saw(seen, "draw: nothing drawn");
            return true;
        };
        let awarded = self.grant(c, id, &e.shopper, &drawn, seen);
        saw(
            seen,
            match &awarded {
                Some(a) if *a == drawn => "draw: prize",
                Some(_) => "draw: else granted",
                None => "draw: thanks",
            },
        );
        self.awards.push(Award {
            book,
            campaign: id.clone(),
            code: code.name.clone(),
            shopper: e.shopper.clone(),
            entry: n,
            time: now,
            region: e.region.clone(),
            drawn,
            awarded,
        });
        true
    }

    fn grant(&self, c: &Campaign, id: &str, shopper: &str, drawn: &str, seen: &mut Seen) -> Option<String> {
        let granted: Vec<&Award> = self.awards.iter().filter(|a| a.campaign == id && a.awarded.is_some()).collect();
        let mut wanted = drawn.to_string();
        let mut steps = 0;
        while wanted != "thanks" {
            let p = prize(c, &wanted).unwrap();
            let used = granted.iter().filter(|a| a.awarded.as_deref() == Some(&wanted)).count() as i64;
            let cash = |p: &Prize| if p.kind == "cash" { p.amount.unwrap() as i128 } else { 0 };
            let spent: i128 = granted.iter().map(|a| cash(prize(c, a.awarded.as_ref().unwrap()).unwrap())).sum();
            let wins = granted.iter().filter(|a| a.shopper == shopper).count() as u64;
            if p.stock.is_some_and(|s| used >= s) {
                saw(seen, "grant: no stock");
            } else if p.kind == "cash" && c.budget.is_some_and(|b| spent + cash(p) > b as i128) {
                saw(seen, "grant: no budget");
            } else if c.limit_wins.is_some_and(|l| wins >= l) {
                saw(seen, "grant: limit_wins");
            } else {
                return Some(wanted);
            }
            wanted = p.otherwise.clone();
            steps += 1;
            if steps == 2 {
                saw(seen, "grant: else of an else");
            }
        }
        None
    }
}
