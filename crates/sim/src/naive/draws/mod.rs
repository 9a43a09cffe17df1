//! Entry and award (contract, section 6).
mod drawn;
mod grant;
pub(crate) mod results;

use super::event::Event;
use super::rules::{Campaign, Mode, Prize, Rules};
use super::{Seen, saw};
use grant::Winner;
use std::collections::BTreeSet;

pub(crate) struct Entry {
    pub(crate) campaign: String,
    pub(crate) code: String,
    pub(crate) shopper: String,
    pub(crate) day: String,
    pub(crate) time: i64,
    pub(crate) region: Option<String>,
    /// the code's first entry, of another shopper: its time and region
    pub(crate) claimed: Option<(i64, Option<String>)>,
    /// what is granted: its id, kind and amount; with neither it is thanks
    pub(crate) prize: Option<(String, String, Option<i64>)>,
}

/// What a counted scan is to draws.
pub(crate) enum Attempt {
    /// its code draws nothing
    None,
    /// no entry, by this
    Refused(&'static str),
    /// no entry: this one is the shopper's earlier, by the same code
    Again(usize),
    /// this one
    Entry(usize),
}

pub(crate) struct Award {
    /// the version that admitted it
    pub(crate) book: usize,
    pub(crate) campaign: String,
    pub(crate) code: String,
    pub(crate) shopper: String,
    pub(crate) entry: u64,
    pub(crate) time: i64,
    /// the merchant's day of the entry
    pub(crate) day: String,
    pub(crate) region: Option<String>,
    pub(crate) drawn: String,
    /// None: thanks
    pub(crate) awarded: Option<String>,
    /// as granted; of cash and points
    pub(crate) amount: Option<i64>,
    pub(crate) cash: bool,
}

#[derive(Default)]
pub(crate) struct Draws {
    pub(crate) entries: Vec<Entry>,
    pub(crate) awards: Vec<Award>,
    /// (campaign, prize, i): the moments that are used up
    claimed: BTreeSet<(String, String, u64)>,
}

pub(crate) fn prize<'a>(campaign: &'a Campaign, id: &str) -> Option<&'a Prize> {
    campaign.prizes.iter().find(|p| p.id == id)
}

impl Draws {
    pub(crate) fn scan(&mut self, rules: &Rules, book: usize, e: &Event, seen: &mut Seen) -> Attempt {
        let code = e.code.as_ref().unwrap();
        if !code.item() && code.campaign.is_none() {
            return Attempt::None;
        }
        if !code.item() && e.keyless {
            saw(seen, "draw: keyless");
            return Attempt::None;
        }
        let now = e.received;
        let day = rules.day(now);
        let Some(id) = &code.campaign else {
            saw(seen, "draw: no-campaign");
            return Attempt::Refused("no-campaign");
        };
        let c = &rules.campaigns[id];
        if now < c.from {
            saw(seen, "draw: not-started");
            return Attempt::Refused("not-started");
        }
        if now >= c.to {
            saw(seen, "draw: ended");
            return Attempt::Refused("ended");
        }
        if !c.areas.is_empty() && !e.region.as_ref().is_some_and(|r| c.areas.iter().any(|a| r.starts_with(a))) {
            saw(seen, "draw: out-of-area");
            return Attempt::Refused("out-of-area");
        }
        let guides_own = rules.guides.values().any(|g| g.shopper.as_ref() == Some(&e.shopper));
        if guides_own && c.exclude_guides {
            saw(seen, "draw: excluded");
            return Attempt::Refused("excluded");
        }
        if e.inactive() {
            saw(seen, "draw: inactive");
            return Attempt::Refused("inactive");
        }
        let earlier = self.entries.iter().position(|x| x.code == code.name && x.shopper == e.shopper);
        if let (true, Some(earlier)) = (code.item(), earlier) {
            saw(seen, "draw: yours");
            return Attempt::Again(earlier);
        }
        let mine: Vec<&Entry> = self.entries.iter().filter(|x| &x.campaign == id && x.shopper == e.shopper).collect();
        let today = mine.iter().filter(|x| x.day == day).count() as u64;
        if c.limit_total.is_some_and(|l| mine.len() as u64 >= l) || c.limit_day.is_some_and(|l| today >= l) {
            saw(seen, "draw: limit");
            return Attempt::Refused("limit");
        }
        let n = mine.len() as u64 + 1;
        let first = self.entries.iter().find(|x| code.item() && x.code == code.name);
        let claimed = first.map(|x| (x.time, x.region.clone()));
        let taken = claimed.is_some();
        let this = self.entries.len();
        self.entries.push(Entry {
            campaign: id.clone(),
            code: code.name.clone(),
            shopper: e.shopper.clone(),
            day: day.clone(),
            time: now,
            region: e.region.clone(),
            claimed,
            prize: None,
        });
        saw(seen, "draw: entry");
        if guides_own {
            saw(seen, "draw: a guide's entry");
        }
        if taken {
            saw(seen, if code.minted.is_some() { "draw: token already-claimed" } else { "draw: already-claimed" });
            return Attempt::Entry(this);
        }
        let mut input = format!("{id}\x1f{}", code.name);
        if !code.item() {
            input += &format!("\x1f{}\x1f{n}", e.shopper);
        }
        let drawn = match c.mode {
            Mode::Odds => drawn::by_odds(c, &input, n, now, seen),
            Mode::Sealed => {
                let minted = code.minted.as_ref().expect("only a batch's codes are in a sealed campaign");
                drawn::sealed(c, id, rules.batches[&minted.batch].count, minted.serial, seen)
            }
            Mode::Moments => {
                let moment = drawn::moment(c, id, now, &self.claimed, seen);
                moment.map(|(prize, i)| {
                    self.claimed.insert((id.clone(), prize.clone(), i));
                    prize
                })
            }
        };
        let Some(drawn) = drawn else {
            saw(seen, "draw: nothing drawn");
            return Attempt::Entry(this);
        };
        let awarded = self.grant(c, id, &Winner { shopper: &e.shopper, day: &day, input: &input, drawn: &drawn }, seen);
        saw(
            seen,
            match &awarded {
                Some((a, _)) if *a == drawn => "draw: prize",
                Some(_) => "draw: else granted",
                None => "draw: thanks",
            },
        );
        if c.mode == Mode::Moments && awarded.as_ref().is_none_or(|(a, _)| *a != drawn) {
            saw(seen, "draw: a moment used up by another prize");
        }
        self.entries[this].prize =
            awarded.clone().map(|(id, amount)| (id.clone(), prize(c, &id).unwrap().kind.clone(), amount));
        let (awarded, amount) = match awarded {
            Some((id, amount)) => (Some(id), amount),
            None => (None, None),
        };
        self.awards.push(Award {
            book,
            campaign: id.clone(),
            code: code.name.clone(),
            shopper: e.shopper.clone(),
            entry: n,
            time: now,
            day,
            region: e.region.clone(),
            drawn,
            cash: awarded.as_ref().is_some_and(|a| prize(c, a).unwrap().kind == "cash"),
            awarded,
            amount,
        });
        Attempt::Entry(this)
    }
}

#[cfg(test)]
mod tests {
    use super::super::minted::token::Keys;
    use super::super::run;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    /// A batch of 1,000 codes, each scanned once: as many of each prize as the rules say, and not one more.
    #[test]
    fn a_sealed_batch_gives_its_counts_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let prizes = [("bottle", 10), ("cap", 250), ("pen", 1)]
            .map(|(id, count)| format!("[[campaign.prize]]\nid = \"{id}\"\nkind = \"goods\"\ncount = {count}\n"))
            .concat();
        write(
            "m.toml",
            &format!(
                "merchant = \"m\"\ncurrency = \"CNY\"\ntime_zone = \"UTC\"\n\
                 [[batch]]\nnumber = 7\nkind = \"sales\"\ncampaign = \"caps\"\ncount = 1000\nsecret = \"file:batch.key\"\n\
                 [[campaign]]\nid = \"caps\"\nmode = \"sealed\"\nfrom = 2026-01-01T00:00:00Z\nto = 2027-01-01T00:00:00Z\n\
                 secret = \"file:campaign.key\"\n{prizes}"
            ),
        );
        write("batch.key", &"02".repeat(32));
        write("campaign.key", &"01".repeat(32));
        let keys = Keys::of(&[2; 32]);
        let lines = (0..1000).map(|serial| {
            let code = keys.mint(7, serial);
            format!(
                r#"{{"id":"{serial}","action":"scan","shopper":"u{}","time":1793000000000,"code":"{code}"}}"#,
                serial % 9
            )
        });
        let lines: Vec<String> = lines.collect();
        let outcome = run(dir.path(), &[PathBuf::from("m.toml")], &BTreeMap::new(), &lines);
        let rows = |prize: &str| outcome.tables["awards"].lines().filter(|row| row.contains(prize)).count();
        let drawn = ["bottle", "cap", "pen"].map(|id| rows(&format!(",{id},{id},goods,,granted")));
        assert_eq!((drawn, outcome.tables["awards"].lines().count()), ([10, 250, 1], 262));
        assert_eq!(outcome.seen["draw: sealed, none"], 739);
    }
}
