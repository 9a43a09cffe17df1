//! The campaign desk: grants drawn prizes within stock, budget and limit of wins (contract section 6).

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Kind, decode, encode};
use crate::model::address::Topic;
use crate::model::fact::{Answer, Award, Fact, Metric, OTHER_TEXT, ScanResult, Scope, What, Win};
use crate::model::rules::rulebook::{Library, Rulebook};
use crate::model::time::Millis;
use crate::protocol::behaviour::Behaviour;
use crate::protocol::error::{DeskError, RestoreError};
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

/// State: what each campaign of each merchant has granted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CampaignDesk {
    merchants: HashMap<String, HashMap<String, Grants>>,
}

impl Desk for CampaignDesk {
    const TOPIC: Topic = Topic::Awards;

    fn save(&self) -> Vec<u8> {
        encode(self)
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let given = self.merchants.values().flat_map(HashMap::values);
        vec![("wins", given.map(|given| given.wins.allocation_size()).sum())]
    }

    fn load(state: &[u8], _library: &Library, _behaviour: Option<Behaviour>) -> Result<Self, RestoreError> {
        Ok(decode(state)?)
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
            self.win(&win, book, out);
        }
        Ok(frame.received)
    }
}

impl CampaignDesk {
    fn win(&mut self, win: &Win<'_>, book: &Rulebook, out: &mut Outbox) {
        let campaign = &book.rules.campaigns[win.campaign as usize];
        let campaigns = self.merchants.entry_ref(win.merchant).or_default();
        let given = campaigns.entry_ref(campaign.id.as_str()).or_default();
        let granted = given.grant(win, book);
        let prize = granted.map(|index| &campaign.prizes[index as usize]);
        let fact = |what| Fact { merchant: win.merchant, what };
        out.fact(&fact(What::Award(Award {
            campaign: &campaign.id,
            rules: win.rules,
            code: win.code,
            shopper: win.shopper,
            entry: win.entry,
            time: win.received,
            drawn: &campaign.prizes[win.prize as usize].id,
            awarded: prize.map(|p| p.id.as_str()),
            prize_kind: prize.map(|p| p.kind),
            amount: prize.and_then(|p| p.amount),
            unlock: prize.and_then(|p| p.unlock.as_ref()).map(|u| (u.action, u.within_ms.map(|w| win.received + w))),
        })));
        out.fact(&fact(What::Answer(Answer {
            key: win.key,
            received: win.received,
            desk: 3,
            result: if prize.is_some() { ScanResult::Prize } else { ScanResult::Thanks },
            code: Some(win.code),
            campaign: Some(&campaign.id),
            prize: prize.map(|p| p.id.as_str()),
            claim: None,
            shopper: None,
        })));
        let Some(granted) = granted else { return };
        let day = book.zone.day(win.received);
        let cash = book.campaigns[win.campaign as usize].prizes[granted as usize].cash;
        let region = win.region.map(|region| if region.is_named { region.text } else { OTHER_TEXT });
        let scopes =
            [(Scope::Merchant, Some("*")), (Scope::Campaign, Some(campaign.id.as_str())), (Scope::Region, region)];
        for (scope, key) in scopes.into_iter().filter_map(|(scope, key)| Some((scope, key?))) {
            out.fact(&fact(What::Count { scope, key, day, metric: Metric::Wins, delta: 1 }));
            if cash != 0 {
                out.fact(&fact(What::Count { scope, key, day, metric: Metric::PrizeCash, delta: cash }));
            }
        }
    }
}

impl Grants {
    /// Follows `else` from the drawn prize to the first prize with stock and budget left; `None` means thanks.
    fn grant(&mut self, win: &Win<'_>, book: &Rulebook) -> Option<u32> {
        let campaign = &book.rules.campaigns[win.campaign as usize];
        let terms = &book.campaigns[win.campaign as usize];
        let wins = self.wins.get(&win.shopper_key).copied().unwrap_or(0);
        if campaign.limit_wins.is_some_and(|limit| wins >= limit) {
            return None;
        }
        let mut next = Some(win.prize);
        while let Some(index) = next {
            let (prize, prize_terms) = (&campaign.prizes[index as usize], &terms.prizes[index as usize]);
            let granted = self.prizes.get(prize.id.as_str()).copied().unwrap_or(0);
            let in_stock = prize.stock.is_none_or(|stock| granted < stock);
            let in_budget = prize_terms.cash == 0 || campaign.budget.is_none_or(|b| prize_terms.cash <= b - self.cash);
            if in_stock && in_budget {
                *self.prizes.entry_ref(prize.id.as_str()).or_insert(0) += 1;
                // It saturates only in campaigns without a budget, which never read it.
                self.cash = self.cash.saturating_add(prize_terms.cash);
                *self.wins.entry(win.shopper_key).or_insert(0) += 1;
                return Some(index);
            }
            next = prize_terms.otherwise;
        }
        None
    }
}
