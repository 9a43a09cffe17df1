//! The code desk: it counts the scans of each item code, records who claimed it, and draws for entries (contract sections 2
//! and 6).

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Kind, decode, encode};
use crate::model::address::Topic;
use crate::model::fact::{Answer, CodeScan, Fact, Outcome, ScanResult, What, Win};
use crate::model::ids::text_key;
use crate::model::rules::Phase;
use crate::model::rules::draw::{Input, winner};
use crate::model::rules::rulebook::{Library, Rulebook};
use crate::model::time::Millis;
use crate::protocol::behaviour::Behaviour;
use crate::protocol::error::{DeskError, RestoreError};
use crate::protocol::stage::{Desk, Outbox};

/// The state of one item code.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item {
    scans: u64,
    first_time: Millis,
    first_region: Option<Box<str>>,
    /// When and where it was claimed.
    claim: Option<(Millis, Option<Box<str>>)>,
}

/// State: all item codes that were scanned, by merchant and name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CodeDesk {
    merchants: HashMap<String, HashMap<String, Item>>,
}

impl Desk for CodeDesk {
    const TOPIC: Topic = Topic::Draws;

    fn save(&self) -> Vec<u8> {
        encode(self)
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("codes", self.merchants.values().map(HashMap::allocation_size).sum())]
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
        if frame.kind != Kind::CodeScans {
            return Err(DeskError::Kind { kind: frame.kind, topic: Self::TOPIC });
        }
        for scan in frame.items::<CodeScan<'_>>() {
            let scan = scan?;
            let book = library.get(&scan.rules).ok_or(DeskError::Rules(scan.rules))?;
            self.scan(&scan, book, out)?;
        }
        Ok(frame.received)
    }
}

impl CodeDesk {
    fn scan(&mut self, scan: &CodeScan<'_>, book: &Rulebook, out: &mut Outbox) -> Result<(), DeskError> {
        let fact = |what| Fact { merchant: scan.merchant, what };
        let mut outcome = scan.outcome;
        let mut claim = None;
        if scan.kind.is_item() {
            let item = self.item(scan);
            item.scans += 1;
            if outcome == Outcome::Entered {
                if item.claim.is_none() {
                    item.claim = Some((scan.received, scan.region.map(|region| region.text.into())));
                } else {
                    outcome = Outcome::AlreadyClaimed;
                    claim = item.claim.as_ref().map(|(time, region)| (*time, region.as_deref()));
                }
            }
            out.fact(&fact(What::Code {
                code: scan.code,
                kind: scan.kind,
                scans: item.scans,
                first_time: item.first_time,
                first_region: item.first_region.as_deref(),
            }));
        }
        let campaign = scan.entry.map(|(index, n)| (&book.rules.campaigns[index as usize], index, n));
        out.fact(&fact(What::Seen {
            key: scan.key,
            code: scan.code,
            time: scan.received,
            shopper: scan.shopper,
            region: scan.region.map(|region| region.text),
            outcome,
            campaign: campaign.map(|(c, ..)| c.id.as_str()),
            entry: campaign.map(|(.., n)| n),
        }));
        let Some((campaign, index, n)) = campaign else { return Ok(()) };
        let prize = if outcome == Outcome::Entered { draw(book, index, n, scan)? } else { None };
        let result = match (outcome, prize) {
            (Outcome::Entered, Some(_)) => ScanResult::Pending,
            (Outcome::Entered, None) => ScanResult::Thanks,
            (other, _) => other.into(),
        };
        out.fact(&fact(What::Answer(Answer {
            key: scan.key,
            received: scan.received,
            desk: 2,
            result,
            code: Some(scan.code),
            campaign: Some(&campaign.id),
            prize: None,
            claim,
            shopper: None,
        })));
        if let Some(prize) = prize {
            let win = Win {
                merchant: scan.merchant,
                key: scan.key,
                rules: scan.rules,
                campaign: index,
                prize,
                code: scan.code,
                shopper: scan.shopper,
                shopper_key: scan.shopper_key,
                entry: n,
                received: scan.received,
                region: scan.region,
            };
            out.send(Topic::Awards, text_key(&campaign.id), &win);
        }
        Ok(())
    }

    fn item(&mut self, scan: &CodeScan<'_>) -> &mut Item {
        let items = self.merchants.entry_ref(scan.merchant).or_default();
        items.entry_ref(scan.code).or_insert_with(|| Item {
            scans: 0,
            first_time: scan.received,
            first_region: scan.region.map(|region| region.text.into()),
            claim: None,
        })
    }
}

/// The prize that an entry draws; `None` if it draws none.
fn draw(book: &Rulebook, index: u32, n: u64, scan: &CodeScan<'_>) -> Result<Option<u32>, DeskError> {
    let campaign = &book.rules.campaigns[index as usize];
    let terms = &book.campaigns[index as usize];
    let matches = |phase: &Phase| {
        let (first, last) = phase.entries;
        phase.from.is_none_or(|from| from <= scan.received)
            && phase.to.is_none_or(|to| scan.received < to)
            && first <= n
            && last.is_none_or(|last| n <= last)
    };
    let Some(phase) = campaign.phases.iter().position(matches) else { return Ok(None) };
    let key = terms.key.as_ref().ok_or_else(|| DeskError::Secret {
        campaign: campaign.id.clone(),
        merchant: book.rules.merchant.clone(),
        version: book.version(),
        secret: campaign.secret.clone(),
    })?;
    let entry = (!scan.kind.is_item()).then_some((scan.shopper, n));
    let u = key.odds(Input { campaign: &campaign.id, code: scan.code, entry });
    Ok(winner(u, &terms.thresholds[phase]).and_then(|prize| u32::try_from(prize).ok()))
}
