//! The campaign desk: it claims moments, and grants drawn prizes within stock, budget and limit of wins (contract section 6).

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Kind, decode, encode};
use crate::model::address::Topic;
use crate::model::fact::{Answer, Award, Fact, Metric, OTHER_TEXT, ScanResult, Scope, What, Win};
use crate::model::rules::draw::{Input, granted_amount};
use crate::model::rules::rulebook::{Library, Rulebook};
use crate::model::rules::{Campaign, RulesSeq};
use crate::model::time::{Day, Millis};
use crate::protocol::behaviour::Behaviour;
use crate::protocol::error::{DeskError, RestoreError};
use crate::protocol::stage::segments::Segments;
use crate::protocol::stage::{Desk, Outbox};
use crate::table::uniform::UniformMap;

/// What a campaign has granted so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Grants {
    /// By prize id.
    prizes: HashMap<String, u64>,
    /// Cash over all prizes, minor units.
    cash: i64,
    /// Wins by shopper.
    wins: UniformMap<u32>,
}

/// What a campaign has granted by the day, and the moments that were claimed. It begins with behaviour 3.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Days {
    /// By prize id and day.
    prizes: HashMap<String, BTreeMap<Day, u64>>,
    /// Cash over all prizes, minor units.
    cash: BTreeMap<Day, i64>,
    /// Claimed moments by prize id: the bit of a moment's number is 1.
    moments: HashMap<String, Vec<u64>>,
    /// By version of the rules, the number of moments that are claimed from the earliest on: others need not be looked at.
    claimed: BTreeMap<RulesSeq, usize>,
}

/// State: what each campaign of each merchant has granted.
#[derive(Clone, Debug, Default)]
pub struct CampaignDesk {
    merchants: Campaigns<Grants>,
    days: Campaigns<Days>,
    /// Whether the behaviour has bounds of a day and moments.
    has_days: bool,
}

/// By merchant and campaign id.
type Campaigns<T> = HashMap<String, HashMap<String, T>>;

impl Segments for CampaignDesk {}

impl Desk for CampaignDesk {
    const TOPIC: Topic = Topic::Awards;

    fn save(&self) -> Vec<u8> {
        if !self.has_days {
            // Workers of the previous build read it too.
            return encode(&self.merchants);
        }
        encode(&(&self.merchants, &self.days))
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let given = self.merchants.values().flat_map(HashMap::values);
        let moments = self.days.values().flat_map(HashMap::values).flat_map(|days| days.moments.values());
        vec![
            ("wins", given.map(|given| given.wins.allocation_size()).sum()),
            ("moments", moments.map(|bits| bits.capacity() * size_of::<u64>()).sum()),
        ]
    }

    fn load(state: &[u8], _library: &Library, behaviour: Option<Behaviour>) -> Result<Self, RestoreError> {
        let has_days = behaviour.is_some_and(|behaviour| behaviour.has_batches);
        let (merchants, days) = if has_days { decode(state)? } else { (decode(state)?, HashMap::new()) };
        Ok(Self { merchants, days, has_days })
    }

    fn behave(&mut self, behaviour: Behaviour) {
        self.has_days = behaviour.has_batches;
    }

    fn apply(
        &mut self,
        frame: &Frame<'_>,
        _append: Millis,
        library: &Library,
        out: &mut Outbox,
    ) -> Result<Millis, DeskError> {
        if frame.kind != Kind::Wins {
            return Err(DeskError::Kind { kind: frame.kind, topic: Self::TOPIC });
        }
        for win in frame.items::<Win<'_>>() {
            let win = win?;
            let book = library.get(&win.rules).ok_or(DeskError::Rules(win.rules))?;
            self.win(&win, book, out)?;
        }
        Ok(frame.received)
    }
}

/// A prize that is granted.
struct Granted {
    /// Its index in the campaign.
    prize: u32,
    amount: Option<i64>,
    /// What it takes from the budget, minor units.
    cash: i64,
}

impl CampaignDesk {
    fn win(&mut self, win: &Win<'_>, book: &Rulebook, out: &mut Outbox) -> Result<(), DeskError> {
        let campaign = &book.rules.campaigns[win.campaign as usize];
        let given = entry(&mut self.merchants, win.merchant, &campaign.id);
        let days = self.has_days.then(|| entry(&mut self.days, win.merchant, &campaign.id));
        let mut granting = Granting { given, days, win, book, campaign, day: book.zone.day(win.received) };
        let drawn = match win.prize {
            Some(prize) => Some(prize),
            None => granting.claim_moment()?,
        };
        let granted = drawn.map(|drawn| granting.grant(drawn)).transpose()?.flatten();
        let day = granting.day;
        let prize = granted.as_ref().map(|granted| &campaign.prizes[granted.prize as usize]);
        let fact = |what| Fact { merchant: win.merchant, what };
        if let Some(drawn) = drawn {
            out.fact(&fact(What::Award(Award {
                campaign: &campaign.id,
                rules: win.rules,
                code: win.code,
                shopper: win.shopper,
                entry: win.entry,
                time: win.received,
                drawn: &campaign.prizes[drawn as usize].id,
                awarded: prize.map(|p| p.id.as_str()),
                prize_kind: prize.map(|p| p.kind),
                amount: granted.as_ref().and_then(|granted| granted.amount),
                unlock: prize
                    .and_then(|p| p.unlock.as_ref())
                    .map(|u| (u.action, u.within_ms.map(|w| win.received + w))),
            })));
        }
        let answer = Answer {
            key: win.key,
            received: win.received,
            desk: 3,
            result: if prize.is_some() { ScanResult::Prize } else { ScanResult::Thanks },
            code: Some(win.code),
            campaign: Some(&campaign.id),
            prize: prize.map(|p| p.id.as_str()),
            claim: None,
            shopper: None,
        };
        out.fact(&fact(match (prize, &granted) {
            (Some(prize), Some(granted)) if self.has_days => {
                What::Granted { answer, kind: prize.kind, amount: granted.amount }
            }
            _ => What::Answer(answer),
        }));
        let Some(Granted { cash, .. }) = granted else { return Ok(()) };
        let region = win.region.map(|region| if region.is_named { region.text } else { OTHER_TEXT });
        let scopes =
            [(Scope::Merchant, Some("*")), (Scope::Campaign, Some(campaign.id.as_str())), (Scope::Region, region)];
        for (scope, key) in scopes.into_iter().filter_map(|(scope, key)| Some((scope, key?))) {
            out.fact(&fact(What::Count { scope, key, day, metric: Metric::Wins, delta: 1 }));
            if cash != 0 {
                out.fact(&fact(What::Count { scope, key, day, metric: Metric::PrizeCash, delta: cash }));
            }
        }
        Ok(())
    }
}

fn entry<'a, T: Default>(all: &'a mut Campaigns<T>, merchant: &str, campaign: &str) -> &'a mut T {
    all.entry_ref(merchant).or_default().entry_ref(campaign).or_default()
}

/// One entry at the desk.
struct Granting<'a> {
    given: &'a mut Grants,
    days: Option<&'a mut Days>,
    win: &'a Win<'a>,
    book: &'a Rulebook,
    campaign: &'a Campaign,
    /// The merchant's day of the entry.
    day: Day,
}

impl Granting<'_> {
    /// The prize of the earliest moment that nothing has claimed and that is not after the entry, if there is one; it is claimed.
    fn claim_moment(&mut self) -> Result<Option<u32>, DeskError> {
        let terms = &self.book.campaigns[self.win.campaign as usize];
        if terms.key.is_none() {
            return Err(self.secret());
        }
        let Some(days) = &mut self.days else { return Ok(None) };
        let moments = terms.moments(self.campaign);
        let claimed = days.claimed.entry(self.book.seq).or_default();
        while let Some(moment) = moments.get(*claimed).filter(|moment| moment.time <= self.win.received) {
            *claimed += 1;
            let bits = days.moments.entry_ref(self.campaign.prizes[moment.prize as usize].id.as_str()).or_default();
            let (word, bit) = (moment.i as usize / 64, 1 << (moment.i % 64));
            if bits.len() <= word {
                bits.resize(word + 1, 0);
            }
            if bits[word] & bit == 0 {
                bits[word] |= bit;
                return Ok(Some(moment.prize));
            }
        }
        Ok(None)
    }

    /// Follows `else` from the drawn prize to the first prize with stock and budget left; `None` means thanks.
    fn grant(&mut self, drawn: u32) -> Result<Option<Granted>, DeskError> {
        let (win, campaign) = (self.win, self.campaign);
        let terms = &self.book.campaigns[win.campaign as usize];
        let wins = self.given.wins.get(&win.shopper_key).copied().unwrap_or(0);
        if campaign.limit_wins.is_some_and(|limit| wins >= limit) {
            return Ok(None);
        }
        let mut next = Some(drawn);
        while let Some(index) = next {
            let (prize, prize_terms) = (&campaign.prizes[index as usize], &terms.prizes[index as usize]);
            let amount = self.amount(index)?;
            let cash = amount.filter(|_| prize_terms.is_cash).unwrap_or(0);
            if self.is_in_stock(index) && self.is_in_budget(cash) {
                let day = self.day;
                *self.given.prizes.entry_ref(prize.id.as_str()).or_insert(0) += 1;
                // It saturates only in campaigns without a budget, which never read it.
                self.given.cash = self.given.cash.saturating_add(cash);
                *self.given.wins.entry(self.win.shopper_key).or_insert(0) += 1;
                if let Some(days) = &mut self.days {
                    *days.prizes.entry_ref(prize.id.as_str()).or_default().entry(day).or_default() += 1;
                    let spent = days.cash.entry(day).or_default();
                    *spent = spent.saturating_add(cash);
                }
                return Ok(Some(Granted { prize: index, amount, cash }));
            }
            next = prize_terms.otherwise;
        }
        Ok(None)
    }

    /// The amount that a prize grants to this entry.
    fn amount(&self, prize: u32) -> Result<Option<i64>, DeskError> {
        let (campaign, win) = (self.campaign, self.win);
        let prize = &campaign.prizes[prize as usize];
        let key = self.book.campaigns[win.campaign as usize].key.as_ref();
        if key.is_none() && prize.amount_max.is_some() {
            return Err(self.secret());
        }
        let is_item = self.book.is_item_code(win.code);
        let input =
            Input { campaign: &campaign.id, code: win.code, entry: (!is_item).then_some((win.shopper, win.entry)) };
        Ok(granted_amount(prize, || key.map_or(0, |key| key.amount(&prize.id, input))))
    }

    fn is_in_stock(&self, prize: u32) -> bool {
        let prize = &self.campaign.prizes[prize as usize];
        let granted = self.given.prizes.get(prize.id.as_str()).copied().unwrap_or(0);
        let of_day = self.days.as_ref().and_then(|days| days.prizes.get(prize.id.as_str())?.get(&self.day).copied());
        prize.stock.is_none_or(|stock| granted < stock)
            && prize.stock_day.is_none_or(|stock| of_day.unwrap_or(0) < stock)
    }

    fn is_in_budget(&self, cash: i64) -> bool {
        let of_day = self.days.as_ref().and_then(|days| days.cash.get(&self.day).copied()).unwrap_or(0);
        let fits = |budget: Option<i64>, spent: i64| budget.is_none_or(|budget| cash <= budget.saturating_sub(spent));
        cash == 0 || fits(self.campaign.budget, self.given.cash) && fits(self.campaign.budget_day, of_day)
    }

    fn secret(&self) -> DeskError {
        DeskError::missing_secret(self.book, self.campaign)
    }
}
