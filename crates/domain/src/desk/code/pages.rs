//! The states of the minted codes of one batch, in pages without keys: a page has only the codes that were scanned.
//!
//! Serials are dense, so a code's place is worked out from its serial: the shard is the serial mod 1,024, and the codes of a shard
//! are cut into pages of [`PAGE_CODES`]. A page that has no scanned code does not exist. A code takes [`size_of::<Slot>`] bytes and
//! the room that its page keeps for growing, an eighth at most. What few codes have is kept beside: see [`Story`].

use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::model::ids::SHARDS;
use crate::model::time::Millis;

/// Number of codes of a page.
const PAGE_CODES: u32 = 1_024;
/// Number of pages of a shard, if every serial of 32 bits is used.
const SHARD_PAGES: u32 = 1 << 12;

const IS_CLAIMED: u8 = 1;
/// The first scan claimed it, so that time and region of the claim are those of the first scan.
const IS_CLAIMED_AT_FIRST: u8 = 2;
const IS_IN_ALARM: u8 = 4;

/// The state of a scanned code.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[repr(C, packed)]
pub(super) struct Slot {
    /// Number of scans, up to the largest; the rest is in the story.
    scans: u32,
    /// The `received` of the first scan: the low 32 bits, and 16 above them.
    first_low: u32,
    first_high: u16,
    /// The place in the page.
    at: u16,
    /// The number of the region of the first scan.
    region: u32,
    /// The fingerprint of the first shopper.
    shopper: u32,
    flags: u8,
}

impl Slot {
    fn first_time(self) -> Millis {
        i64::from(self.first_high) << 32 | i64::from(self.first_low)
    }

    fn set(&mut self, flag: u8) {
        self.flags |= flag;
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What few codes have: a claim that is not the first scan, several shoppers, more scans than a slot counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Story {
    /// When it was claimed, and the number of the region.
    claim: Option<(Millis, u32)>,
    /// Fingerprints of shoppers other than the first; one fewer than `alarm_shoppers` at most.
    shoppers: Vec<u32>,
    /// Scans beyond those that a slot counts.
    more_scans: u64,
}

/// Texts of regions, each once, by number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Arc<str>>", into = "Vec<Arc<str>>")]
struct Regions {
    by_text: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

/// The number that stands for no region.
const NO_REGION: u32 = u32::MAX;

impl From<Vec<Arc<str>>> for Regions {
    fn from(texts: Vec<Arc<str>>) -> Self {
        Self { by_text: texts.iter().cloned().zip(0..).collect(), texts }
    }
}

impl From<Regions> for Vec<Arc<str>> {
    fn from(regions: Regions) -> Self {
        regions.texts
    }
}

impl Regions {
    fn number(&mut self, text: Option<&str>) -> u32 {
        let Some(text) = text else { return NO_REGION };
        if let Some(&number) = self.by_text.get(text) {
            return number;
        }
        let number = u32::try_from(self.texts.len()).expect("at most one new region for each of 2^32 codes");
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.by_text.insert(text, number);
        number
    }

    fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number as usize).map(AsRef::as_ref)
    }
}

/// The scanned codes of a batch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct BatchCodes {
    /// By shard and page; the codes of a page in the order of their places.
    pages: HashMap<u32, Vec<Slot>>,
    /// By serial.
    stories: HashMap<u32, Story>,
    regions: Regions,
    in_alarm: u64,
}

/// One delivery of a code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery<'a> {
    pub(super) serial: u32,
    pub(super) received: Millis,
    pub(super) region: Option<&'a str>,
    pub(super) shopper_key: u128,
    /// Whether it claims the code if nothing has claimed it before.
    pub(super) is_entry: bool,
    /// Number of distinct shoppers from which on the code is in alarm.
    pub(super) alarm_shoppers: Option<u32>,
}

/// What a delivery found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scanned<'a> {
    /// Number of scans, this one too.
    pub(super) scans: u64,
    pub(super) first_time: Millis,
    pub(super) first_region: Option<&'a str>,
    /// For an entry of a claimed code: when and where it was claimed.
    pub(super) claim: Option<(Millis, Option<&'a str>)>,
    /// If this delivery sets the alarm off: the number of distinct shoppers.
    pub(super) alarm: Option<u32>,
}

impl BatchCodes {
    /// Counts a delivery. `note` gets what the code is afterwards.
    pub(super) fn scan(&mut self, delivery: Delivery<'_>, note: impl FnOnce(Slot, Option<&Story>)) -> Scanned<'_> {
        let Self { pages, stories, regions, in_alarm } = self;
        let (page, at) = place(delivery.serial);
        let page = pages.entry(page).or_default();
        let fingerprint = u32::try_from(delivery.shopper_key >> 96).unwrap_or(0);
        let index = find(page, at).unwrap_or_else(|index| {
            if page.len() == page.capacity() {
                page.reserve_exact(page.len() / 8 + 1);
            }
            let slot = Slot {
                scans: 0,
                first_low: u32::try_from(delivery.received & 0xFFFF_FFFF).unwrap_or(0),
                first_high: u16::try_from(delivery.received >> 32).unwrap_or(u16::MAX),
                at,
                region: regions.number(delivery.region),
                shopper: fingerprint,
                flags: 0,
            };
            page.insert(index, slot);
            index
        });
        let slot = &mut page[index];
        let (mut claim, mut alarm) = (None, None);
        if slot.scans < u32::MAX {
            slot.scans += 1;
        } else {
            stories.entry(delivery.serial).or_default().more_scans += 1;
        }
        if delivery.is_entry && slot.has(IS_CLAIMED) {
            let other = || stories.get(&delivery.serial).and_then(|story| story.claim);
            claim = if slot.has(IS_CLAIMED_AT_FIRST) { Some((slot.first_time(), slot.region)) } else { other() };
        } else if delivery.is_entry {
            slot.set(IS_CLAIMED);
            if slot.scans == 1 {
                slot.set(IS_CLAIMED_AT_FIRST);
            } else {
                let claim = (delivery.received, regions.number(delivery.region));
                stories.entry(delivery.serial).or_default().claim = Some(claim);
            }
        }
        if let Some(limit) = delivery.alarm_shoppers.filter(|_| !slot.has(IS_IN_ALARM)) {
            let shoppers = distinct(stories, delivery.serial, slot.shopper, fingerprint);
            if shoppers >= limit {
                slot.set(IS_IN_ALARM);
                *in_alarm += 1;
                alarm = Some(shoppers);
            }
        }
        let slot = *slot;
        note(slot, stories.get(&delivery.serial));
        let more_scans =
            if slot.scans == u32::MAX { stories.get(&delivery.serial).map_or(0, |s| s.more_scans) } else { 0 };
        Scanned {
            scans: u64::from(slot.scans) + more_scans,
            first_time: slot.first_time(),
            first_region: regions.text(slot.region),
            claim: claim.map(|(time, region)| (time, regions.text(region))),
            alarm,
        }
    }

    /// What is not in segments: the texts of regions, and the number of codes in alarm.
    pub(super) fn head(&self) -> Self {
        Self { regions: self.regions.clone(), in_alarm: self.in_alarm, ..Self::default() }
    }

    /// The numbers of its pages.
    pub(super) fn pages(&self) -> impl Iterator<Item = u32> {
        self.pages.keys().copied()
    }

    /// The codes of a page.
    pub(super) fn page(&self, number: u32) -> &[Slot] {
        self.pages.get(&number).map_or(&[], Vec::as_slice)
    }

    /// What few codes have, by serial.
    pub(super) fn stories(&self) -> impl Iterator<Item = (u32, &Story)> {
        self.stories.iter().map(|(serial, story)| (*serial, story))
    }

    /// Restores a page.
    pub(super) fn load_page(&mut self, number: u32, slots: Vec<Slot>) {
        self.pages.insert(number, slots);
    }

    /// Restores what few codes have.
    pub(super) fn load_story(&mut self, serial: u32, story: Story) {
        self.stories.insert(serial, story);
    }

    /// Restores a code.
    pub(super) fn load(&mut self, serial: u32, slot: Slot) {
        let (page, at) = place(serial);
        let page = self.pages.entry(page).or_default();
        match find(page, at) {
            Ok(index) => page[index] = slot,
            Err(index) => page.insert(index, slot),
        }
    }

    /// Number of codes in alarm.
    pub(super) fn in_alarm(&self) -> u64 {
        self.in_alarm
    }

    /// Approximate size in memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        let slots: usize = self.pages.values().map(|page| page.capacity() * size_of::<Slot>()).sum();
        let shoppers: usize = self.stories.values().map(|story| story.shoppers.capacity() * size_of::<u32>()).sum();
        let regions: usize = self.regions.texts.iter().map(|text| text.len() + 2 * size_of::<Arc<str>>()).sum();
        let tables = self.pages.allocation_size() + self.stories.allocation_size();
        slots + shoppers + regions + tables + self.regions.by_text.allocation_size()
    }
}

/// The page of a serial, and its place there.
fn place(serial: u32) -> (u32, u16) {
    let (shard, nth) = (serial % SHARDS, serial / SHARDS);
    (shard * SHARD_PAGES + nth / PAGE_CODES, u16::try_from(nth % PAGE_CODES).unwrap_or(u16::MAX))
}

/// The index of a code in its page, or where it belongs. Codes are scanned in no order of their serials, so the places of a page
/// are spread evenly: it is looked for near where it then is, which is in fewer lines of memory than all that halving visits.
fn find(page: &[Slot], at: u16) -> Result<usize, usize> {
    /// Twice the standard deviation of an index in a half-full page.
    const NEAR: usize = 32;
    let guess = usize::from(at) * page.len() / PAGE_CODES as usize;
    let (from, to) = (guess.saturating_sub(NEAR), (guess + NEAR).min(page.len()));
    let is_near = (from == 0 || page[from - 1].at < at) && (to == page.len() || page[to].at > at);
    let (from, to) = if is_near { (from, to) } else { (0, page.len()) };
    let found = page[from..to].binary_search_by_key(&at, |slot| slot.at);
    found.map(|index| from + index).map_err(|index| from + index)
}

/// The number of distinct shoppers of a code that is not in alarm, this one too.
fn distinct(stories: &mut HashMap<u32, Story>, serial: u32, first: u32, fingerprint: u32) -> u32 {
    let shoppers = if first == fingerprint {
        stories.get(&serial).map_or(0, |story| story.shoppers.len())
    } else {
        let shoppers = &mut stories.entry(serial).or_default().shoppers;
        if !shoppers.contains(&fingerprint) {
            shoppers.push(fingerprint);
        }
        shoppers.len()
    };
    u32::try_from(shoppers).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The same, written plainly.
    #[derive(Clone, Debug, Default)]
    struct Plain {
        first: Option<(Millis, Option<String>)>,
        scans: u64,
        claim: Option<(Millis, Option<String>)>,
        shoppers: std::collections::BTreeSet<u128>,
        is_in_alarm: bool,
    }

    fn deliveries() -> impl Strategy<Value = Vec<(u32, u8, Option<u8>, u8, bool)>> {
        let serial = prop_oneof![0..4_u32, (0..5_u32).prop_map(|n| n * 1_024), Just(1 << 20), Just(u32::MAX)];
        prop::collection::vec((serial, any::<u8>(), prop::option::of(0..3_u8), 0..6_u8, any::<bool>()), 1..200)
    }

    proptest! {
        #[test]
        fn pages_equal_a_plain_map(deliveries in deliveries(), limit in prop::option::of(1..5_u32), saved in 0..200_usize) {
            let mut codes = BatchCodes::default();
            let mut plain: BTreeMap<u32, Plain> = BTreeMap::new();
            for (i, (serial, time, region, shopper, is_entry)) in deliveries.into_iter().enumerate() {
                let region = region.map(|r| format!("region-{r}"));
                let time = 1_700_000_000_000 + i64::from(time) * 86_400_000;
                let shopper_key = u128::from(shopper + 1) << 100;
                if i == saved {
                    codes = crate::frame::decode(&crate::frame::encode(&codes)).expect("a state");
                }
                let delivery = Delivery {
                    serial, received: time, region: region.as_deref(), shopper_key, is_entry, alarm_shoppers: limit,
                };
                let found = codes.scan(delivery, |_, _| ());
                let code = plain.entry(serial).or_default();
                code.scans += 1;
                let first = code.first.get_or_insert((time, region.clone()));
                code.shoppers.insert(shopper_key);
                let sets_off = !code.is_in_alarm && limit.is_some_and(|limit| code.shoppers.len() >= limit as usize);
                code.is_in_alarm |= sets_off;
                let claim = code.claim.clone().filter(|_| is_entry);
                if is_entry && code.claim.is_none() {
                    code.claim = Some((time, region.clone()));
                }
                prop_assert_eq!(found, Scanned {
                    scans: code.scans,
                    first_time: first.0,
                    first_region: first.1.as_deref(),
                    claim: claim.as_ref().map(|(time, region)| (*time, region.as_deref())),
                    alarm: sets_off.then(|| u32::try_from(code.shoppers.len()).expect("few")),
                });
            }
            prop_assert_eq!(codes.in_alarm(), plain.values().filter(|code| code.is_in_alarm).count() as u64);
        }
    }

    #[test]
    fn scans_beyond_a_slot_are_counted() {
        let mut codes = BatchCodes::default();
        let delivery =
            Delivery { serial: 5, received: 1, region: None, shopper_key: 1, is_entry: false, alarm_shoppers: None };
        codes.scan(delivery, |_, _| ());
        codes.pages.values_mut().for_each(|page| page[0].scans = u32::MAX - 1);
        let scans: Vec<u64> = (0..3).map(|_| codes.scan(delivery, |_, _| ()).scans).collect();
        assert_eq!(scans, [(1 << 32) - 1, 1 << 32, (1 << 32) + 1]);
    }

    #[test]
    fn scanned_code_takes_24_bytes_at_most() {
        let bytes_of = |serials: &mut dyn Iterator<Item = u32>| {
            let (mut codes, mut count) = (BatchCodes::default(), 0);
            for serial in serials {
                count += 1;
                let is_entry = true;
                let delivery = Delivery {
                    serial,
                    received: 1,
                    region: Some("33"),
                    shopper_key: 1,
                    is_entry,
                    alarm_shoppers: Some(5),
                };
                codes.scan(delivery, |_, _| ());
            }
            codes.bytes() / count
        };
        assert_eq!(BatchCodes::default().bytes(), 0);
        // Whole, whatever the size of the batch: every page is full.
        assert!(bytes_of(&mut (0..2_000_000)) <= 24);
        // 1 % of a batch, as boxes are sold: a thousand serials in a row, then none of the next 99,000. Neighbours are in different
        // shards, so a page has about ten codes here too.
        let boxes = (0..100_000_000_u32).step_by(100_000).flat_map(|first| first..first + 1_000);
        assert!(bytes_of(&mut boxes.into_iter()) <= 32);
        // 1 % of a batch, without a pattern: ten codes of each page. 100,000,007 is a prime.
        let spread = (0..1_000_000_u64).map(|i| u32::try_from(i * 61_803_399 % 100_000_007).expect("small"));
        assert!(bytes_of(&mut spread.into_iter()) <= 32);
    }
}
