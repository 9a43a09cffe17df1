//! Batches of minted codes: which token is whose, and where its item went (contract section 3, "Token" and "Ranges").

use hashbrown::HashMap;

use super::secrets::Secrets;
use super::{Activate, RangeState, Rules};
use crate::model::token::{BatchKeys, Token};

/// The batches of one version of a merchant's rules.
#[derive(Debug, Default)]
pub struct Batches {
    /// By index in the rules.
    pub terms: Vec<BatchTerms>,
    /// By index in the rules.
    pub ranges: Vec<RangeTerms>,
    by_number: HashMap<u32, u32>,
    /// The index of the first batch whose secret this role lacks.
    pub without_secret: Option<u32>,
}

/// What the rules say of a batch.
#[derive(Debug)]
pub struct BatchTerms {
    /// `None` where a role does not have the secret.
    pub keys: Option<BatchKeys>,
    /// The index of the campaign that its scans enter.
    pub campaign: Option<u32>,
    /// The index of the guide that its scans touch.
    pub guide: Option<u32>,
    /// The index of the store that its scans touch.
    pub store: Option<u32>,
    /// Its ranges, by index in the rules, in the order of their serials.
    ranges: std::ops::Range<usize>,
}

/// What a range of a batch says of its items, before the batch; indices into the rules.
#[derive(Debug)]
pub struct RangeTerms {
    /// The guide that its scans touch.
    pub guide: Option<u32>,
    /// The store that its scans touch.
    pub store: Option<u32>,
}

/// One minted code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The index of its batch in the rules.
    pub batch: u32,
    /// Its serial in the batch.
    pub serial: u64,
    /// The index of its range in the rules.
    pub range: Option<u32>,
    /// Whether it lives.
    pub state: ItemState,
}

/// Whether a minted code lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemState {
    /// It enters draws.
    Active,
    /// It does not enter draws now.
    Frozen,
    /// It does not enter draws any more.
    Void,
    /// No range of its batch has it, and only ranges activate codes: to its shopper it looks like an unknown code.
    Dark,
}

/// What a text in the shape of a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundToken {
    /// A minted code.
    Item(Item),
    /// It names a batch of this merchant, and was not minted.
    Forged,
}

impl Batches {
    /// The batches of rules. `find` gives the index of a `campaign`, `guide` or `store`, if one is named.
    pub(super) fn new<E>(
        rules: &Rules,
        secrets: &Secrets,
        find: impl Fn(&'static str, &Option<String>) -> Result<Option<u32>, E>,
    ) -> Result<Self, E> {
        let terms = rules.batches.iter().map(|batch| {
            let secret = secrets.batches.get(&batch.number);
            let begin = rules.ranges.partition_point(|range| range.batch < batch.number);
            let end = rules.ranges.partition_point(|range| range.batch <= batch.number);
            Ok(BatchTerms {
                keys: secret.map(|secret| BatchKeys::new(batch.number, batch.count, secret)),
                campaign: find("campaign", &batch.campaign)?,
                guide: find("guide", &batch.guide)?,
                store: find("store", &batch.store)?,
                ranges: begin..end,
            })
        });
        let by_number = (0..).zip(&rules.batches).map(|(index, batch)| (batch.number, index)).collect();
        let ranges = rules
            .ranges
            .iter()
            .map(|range| Ok(RangeTerms { guide: find("guide", &range.guide)?, store: find("store", &range.store)? }));
        let ranges = ranges.collect::<Result<_, E>>()?;
        let terms: Vec<BatchTerms> = terms.collect::<Result<_, E>>()?;
        let without_secret = terms.iter().position(|terms| terms.keys.is_none()).and_then(|at| u32::try_from(at).ok());
        Ok(Self { terms, ranges, by_number, without_secret })
    }

    /// What a text is that may be a token; `None` if it has not the shape of one, or names no batch of these rules. `gtin` is the
    /// product of the link in which it stands.
    pub(super) fn find(&self, rules: &Rules, text: &str, gtin: Option<u64>) -> Option<FoundToken> {
        if self.terms.is_empty() {
            return None;
        }
        let token = Token::parse(text)?;
        let index = *self.by_number.get(&token.batch)?;
        let (terms, batch) = (&self.terms[index as usize], &rules.batches[index as usize]);
        let is_of_product = gtin.is_none() || gtin == batch.gtin;
        let serial = terms.keys.as_ref().filter(|_| is_of_product).and_then(|keys| keys.serial(&token));
        Some(serial.map_or(FoundToken::Forged, |serial| FoundToken::Item(self.item(rules, index, serial))))
    }

    /// A code of a batch.
    fn item(&self, rules: &Rules, batch: u32, serial: u64) -> Item {
        let terms = &self.terms[batch as usize];
        let of_batch = &rules.ranges[terms.ranges.clone()];
        let after = of_batch.partition_point(|range| range.from <= serial);
        let range = after.checked_sub(1).filter(|&at| serial < of_batch[at].to).map(|at| terms.ranges.start + at);
        let state = match range.map(|at| rules.ranges[at].state) {
            Some(RangeState::Active) => ItemState::Active,
            Some(RangeState::Frozen) => ItemState::Frozen,
            Some(RangeState::Void) => ItemState::Void,
            None if rules.batches[batch as usize].activate == Activate::Ranges => ItemState::Dark,
            None => ItemState::Active,
        };
        Item { batch, serial, range: range.and_then(|at| u32::try_from(at).ok()), state }
    }

    /// The batch and serial of a minted code's name, `batch:serial`: the batch's index in the rules.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<(u32, u64)> {
        if self.terms.is_empty() {
            return None;
        }
        let (batch, serial) = name.split_once(':')?;
        let index = *self.by_number.get(&number::<u32>(batch)?)?;
        Some((index, number(serial)?))
    }
}

/// A number as names write it: digits without a sign or a zero in front.
fn number<N: std::str::FromStr>(digits: &str) -> Option<N> {
    let is_plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    is_plain.then(|| digits.parse().ok()).flatten()
}
