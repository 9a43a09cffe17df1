//! The code desk: it counts the scans of each item code, records who claimed it, and draws for entries (contract sections 2
//! and 6).

mod pages;
mod saving;

use std::borrow::Cow;
use std::collections::VecDeque;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Kind, decode, encode, encode_into};
use crate::model::address::Topic;
use crate::model::fact::{Answer, CodeScan, Fact, Outcome, ScanResult, What, Win};
use crate::model::ids::text_key;
use crate::model::rules::Mode;
use crate::model::rules::draw::{Input, phase, winner};
use crate::model::rules::rulebook::{Library, Rulebook};
use crate::model::time::Millis;
use crate::protocol::behaviour::Behaviour;
use crate::protocol::error::{DeskError, RestoreError};
use crate::protocol::kept::Kept;
use crate::protocol::stage::segments::Noted;
use crate::protocol::stage::{Desk, Outbox};

use pages::{BatchCodes, Delivery, Scanned};
use saving::Stored;

/// The state of one item code that the rules list.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item {
    scans: u64,
    first_time: Millis,
    first_region: Option<Box<str>>,
    /// When and where it was claimed.
    claim: Option<(Millis, Option<Box<str>>)>,
}

/// State: all item codes that were scanned, by merchant.
#[derive(Clone, Debug, Default)]
pub struct CodeDesk {
    /// The codes that rules list, by name.
    listed: HashMap<String, HashMap<String, Item>>,
    /// The minted codes, by the number of their batch. They begin with behaviour 3.
    minted: HashMap<String, HashMap<u32, BatchCodes>>,
    /// Whether the behaviour has batches.
    has_batches: bool,
    /// What changed since the last cut; `None` unless changes are noted.
    changes: Option<Noted>,
    /// The changes of a cut that is not written yet.
    cut: VecDeque<Vec<u8>>,
    /// What a base has still to write.
    base: VecDeque<saving::Unwritten>,
}

impl Desk for CodeDesk {
    const TOPIC: Topic = Topic::Draws;

    fn save(&self) -> Vec<u8> {
        if !self.has_batches {
            // Workers of the previous build read it too.
            return encode(&self.listed);
        }
        encode(&(&self.listed, &self.minted))
    }

    fn save_head(&self) -> Vec<u8> {
        self.head()
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let minted = self.minted.values().flat_map(HashMap::values);
        vec![
            ("codes", self.listed.values().map(HashMap::allocation_size).sum()),
            ("minted_codes", minted.map(BatchCodes::bytes).sum()),
        ]
    }

    fn kept(&self) -> Kept {
        let minted = self.minted.values().flat_map(HashMap::values);
        Kept { codes_in_alarm: minted.map(BatchCodes::in_alarm).sum(), ..Kept::default() }
    }

    fn load(state: &[u8], _library: &Library, behaviour: Option<Behaviour>) -> Result<Self, RestoreError> {
        let has_batches = behaviour.is_some_and(|behaviour| behaviour.has_batches);
        let (listed, minted) = if has_batches { decode(state)? } else { (decode(state)?, HashMap::new()) };
        Ok(Self { listed, minted, has_batches, ..Self::default() })
    }

    fn behave(&mut self, behaviour: Behaviour) {
        self.has_batches = behaviour.has_batches;
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
        let minted = if scan.kind.is_item() { book.minted(scan.code) } else { None };
        if scan.kind.is_item() {
            let is_entry = outcome == Outcome::Entered;
            let region = scan.region.map(|region| region.text);
            let found = match minted {
                Some((batch, serial)) => {
                    let batch = &book.rules.batches[batch as usize];
                    let codes = self.minted.entry_ref(scan.merchant).or_default().entry(batch.number).or_default();
                    let serial = u32::try_from(serial).unwrap_or(u32::MAX);
                    let delivery = Delivery {
                        serial,
                        received: scan.received,
                        region,
                        shopper_key: scan.shopper_key,
                        is_entry,
                        alarm_shoppers: batch.alarm_shoppers,
                    };
                    codes.scan(delivery, |slot, story| {
                        if let Some(to) = self.changes.as_mut().and_then(Noted::room) {
                            encode_into(
                                to,
                                &Stored::Code(scan.merchant, batch.number, serial, slot, story.map(Cow::Borrowed)),
                            );
                        }
                    })
                }
                None => {
                    let item = listed(&mut self.listed, scan);
                    item.scan(scan.received, region, is_entry, |item| {
                        if let Some(to) = self.changes.as_mut().and_then(Noted::room) {
                            encode_into(to, &Stored::Listed(scan.merchant, scan.code, Cow::Borrowed(item)));
                        }
                    })
                }
            };
            if found.claim.is_some() {
                outcome = Outcome::AlreadyClaimed;
                claim = found.claim;
            }
            out.fact(&fact(What::Code {
                code: scan.code,
                kind: scan.kind,
                scans: found.scans,
                first_time: found.first_time,
                first_region: found.first_region,
            }));
            if let Some(shoppers) = found.alarm {
                out.fact(&fact(What::CodeAlarm { code: scan.code, time: scan.received, shoppers }));
            }
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
        let serial = minted.map(|(_, serial)| serial);
        let drawn = if outcome == Outcome::Entered { draw(book, index, n, serial, scan)? } else { Drawn::Nothing };
        let result = match (outcome, drawn) {
            (Outcome::Entered, Drawn::Prize(_) | Drawn::Moments) => ScanResult::Pending,
            (Outcome::Entered, Drawn::Nothing) => ScanResult::Thanks,
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
        let prize = match drawn {
            Drawn::Nothing => return Ok(()),
            Drawn::Prize(prize) => Some(prize),
            Drawn::Moments => None,
        };
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
        Ok(())
    }
}

fn listed<'a>(listed: &'a mut HashMap<String, HashMap<String, Item>>, scan: &CodeScan<'_>) -> &'a mut Item {
    let items = listed.entry_ref(scan.merchant).or_default();
    items.entry_ref(scan.code).or_insert_with(|| Item {
        scans: 0,
        first_time: scan.received,
        first_region: scan.region.map(|region| region.text.into()),
        claim: None,
    })
}

impl Item {
    /// Counts a delivery. `note` gets what the code is afterwards.
    fn scan(
        &mut self,
        received: Millis,
        region: Option<&str>,
        is_entry: bool,
        note: impl FnOnce(&Self),
    ) -> Scanned<'_> {
        self.scans += 1;
        let is_claimed = self.claim.is_some();
        if is_entry && !is_claimed {
            self.claim = Some((received, region.map(Into::into)));
        }
        note(self);
        let claim = self.claim.as_ref().filter(|_| is_entry && is_claimed);
        Scanned {
            scans: self.scans,
            first_time: self.first_time,
            first_region: self.first_region.as_deref(),
            claim: claim.map(|(time, region)| (*time, region.as_deref())),
            alarm: None,
        }
    }
}

/// What an entry draws here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drawn {
    Nothing,
    /// The prize of this index.
    Prize(u32),
    /// The campaign desk knows which moments are left.
    Moments,
}

/// What an entry draws. `serial` is that of a minted code.
fn draw(book: &Rulebook, index: u32, n: u64, serial: Option<u64>, scan: &CodeScan<'_>) -> Result<Drawn, DeskError> {
    let campaign = &book.rules.campaigns[index as usize];
    let terms = &book.campaigns[index as usize];
    let secret = || DeskError::missing_secret(book, campaign);
    let prize = match campaign.mode {
        Mode::Moments => return Ok(Drawn::Moments),
        Mode::Sealed => {
            let sealed = terms.sealed.as_ref().ok_or_else(secret)?;
            serial.and_then(|serial| sealed.prize(serial))
        }
        Mode::Odds => {
            let Some(phase) = phase(campaign, scan.received, n) else { return Ok(Drawn::Nothing) };
            let key = terms.key.as_ref().ok_or_else(secret)?;
            let entry = (!scan.kind.is_item()).then_some((scan.shopper, n));
            let u = key.odds(Input { campaign: &campaign.id, code: scan.code, entry });
            winner(u, &terms.thresholds[phase])
        }
    };
    Ok(prize.and_then(|prize| u32::try_from(prize).ok()).map_or(Drawn::Nothing, Drawn::Prize))
}
