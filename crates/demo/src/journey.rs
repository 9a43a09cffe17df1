//! The journey of a shopper, step by step: scans a poster, follows the brand, buys from a guide, returns the goods.

use domain::model::event::Part;
use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::brand::{Brand, CUPS, SERVICES, SHOPPERS};
use super::event::{Event, Order, Scanned, What, Who};

/// Prices of a cup of tea, minor units.
const CUP_PRICES: [i64; 10] = [900, 1_200, 1_400, 1_500, 1_600, 1_800, 1_900, 2_200, 2_500, 2_800];
/// Prices of a tin of leaves, minor units.
const TIN_PRICES: [i64; 4] = [6_800, 8_800, 12_800, 16_800];
/// Deposit and balance of a box in the pre-sale, minor units.
const BOX_PARTS: [i64; 2] = [2_000, 10_800];
/// Channels of visitors who scan no code.
const VISIT_CHANNELS: [&str; 3] = ["mini-program", "livestream", "search"];
/// Offset in Zipf's law: the activity of shopper `i` is proportional to 1 / (i + this), which bounds the most active one.
const HEAD: u32 = 4_000;
/// Numerator of the weights: large enough that they differ, small enough that their sum is below `u32::MAX`.
const HEAD_WEIGHT: u32 = 1_000_000_000;

/// The shoppers of all journeys, the lids that are left, and the number of orders.
pub(super) struct Crowd {
    activity: WeightedIndex<u32>,
    footfall: WeightedIndex<u32>,
    /// The usual store of each shopper.
    homes: Vec<usize>,
    /// Lids that are not opened yet.
    cups: Vec<u32>,
    orders: u32,
}

/// The steps of one journey: time after its start in ms, and the event.
pub(super) type Steps = Vec<(i64, Event)>;

impl Crowd {
    pub(super) fn new(brand: &Brand, rng: &mut SmallRng) -> Self {
        let shoppers = u32::try_from(SHOPPERS).unwrap_or(u32::MAX);
        let activity = WeightedIndex::new((0..shoppers).map(|i| HEAD_WEIGHT / (i + HEAD)));
        let footfall = WeightedIndex::new(brand.stores.iter().map(|store| store.footfall));
        let activity = activity.expect("the sum of the weights is above 0 and below u32::MAX");
        let footfall = footfall.expect("there are stores, and each has footfall");
        let homes = (0..SHOPPERS).map(|_| footfall.sample(rng)).collect();
        let mut cups: Vec<u32> = (0..CUPS).collect();
        cups.shuffle(rng);
        Self { activity, footfall, homes, cups, orders: 0 }
    }

    /// Plans one journey into `steps`, which must be empty. The first step is at 0 ms, the others at least a second later.
    pub(super) fn journey(&mut self, brand: &Brand, is_rush: bool, rng: &mut SmallRng, steps: &mut Steps) {
        debug_assert!(steps.is_empty());
        let shopper = self.activity.sample(rng);
        let store = if rng.random_ratio(4, 5) { self.homes[shopper] } else { self.footfall.sample(rng) };
        let guides = brand.stores[store].guides.clone();
        // The first guide of a store serves the most.
        let guide = rng.random_range(guides.clone()).min(rng.random_range(guides));
        let who = Who::Shopper(shopper);
        let mut journey = Journey { crowd: self, brand, rng, steps, who, store, guide, at: 0 };
        if is_rush { journey.rush() } else { journey.usual() }
    }
}

struct Journey<'j> {
    crowd: &'j mut Crowd,
    brand: &'j Brand,
    rng: &'j mut SmallRng,
    steps: &'j mut Steps,
    who: Who,
    store: usize,
    guide: usize,
    at: i64,
}

impl Journey<'_> {
    /// A journey of the rush at the opening: it begins with an entry into the draw.
    fn rush(&mut self) {
        if self.chance(5) { self.cup() } else { self.poster(true) }
    }

    fn usual(&mut self) {
        match self.rng.random_range(0..1000) {
            0..300 => self.poster(false),
            300..540 => self.guide(),
            540..700 => self.counter(),
            700..850 => self.visit(),
            850..940 => self.order(),
            940..970 => self.service_code(),
            970..985 => self.cup(),
            985..996 => self.passer_by(),
            _ => self.stray(),
        }
    }

    fn poster(&mut self, draws: bool) {
        let count = if draws { self.brand.posters_that_draw } else { self.brand.posters.len() };
        let poster = Scanned::Poster(self.rng.random_range(0..count));
        self.push(What::Scan(poster, Some(self.store)));
        if self.chance(300) {
            self.later(3, 40);
            self.push(What::Follow(None));
        }
        if self.chance(120) {
            self.later(10, 90);
            self.push(What::Join(None));
        }
        if self.chance(120) {
            self.later(180, 2_400);
            if self.chance(700) { self.guide() } else { self.counter() }
        }
    }

    fn guide(&mut self) {
        self.push(What::Scan(Scanned::Guide(self.guide), None));
        if self.chance(350) {
            self.later(3, 40);
            self.push(What::Follow(Some(self.guide)));
        }
        if self.chance(200) {
            self.later(10, 90);
            self.push(What::Join(Some(self.guide)));
        }
        if self.chance(450) {
            self.later(60, 1_200);
            self.order();
        }
    }

    fn counter(&mut self) {
        self.push(What::Scan(Scanned::Store(self.store), None));
        if self.chance(400) {
            self.later(60, 600);
            self.order();
        }
    }

    fn visit(&mut self) {
        let channel = VISIT_CHANNELS[self.rng.random_range(0..VISIT_CHANNELS.len())];
        self.push(What::Visit(channel));
        if !self.chance(300) {
            return;
        }
        self.later(5, 60);
        self.push(What::Claim);
        if self.chance(600) {
            self.later(120, 1_800);
            self.push(What::Visit(channel));
            self.later(20, 300);
            self.push(What::Redeem(self.store));
            self.later(5, 30);
            self.order();
        }
    }

    fn service_code(&mut self) {
        let service = self.rng.random_range(0..SERVICES.len());
        self.push(What::Scan(Scanned::Service(service), Some(self.store)));
        if self.chance(150) {
            self.later(5, 60);
            self.push(What::Follow(None));
        }
    }

    /// A shopper opens a lid and scans its code. Some scan it again, and some lids are scanned by a second shopper.
    fn cup(&mut self) {
        let Some(cup) = self.crowd.cups.pop() else { return self.poster(true) };
        self.push(What::Scan(Scanned::Cup(cup), Some(self.store)));
        if self.chance(200) {
            self.later(2, 30);
            self.push(What::Scan(Scanned::Cup(cup), Some(self.store)));
        }
        if self.chance(40) {
            self.later(60, 600);
            self.who = Who::Shopper(self.crowd.activity.sample(self.rng));
            self.push(What::Scan(Scanned::Cup(cup), Some(self.store)));
        }
    }

    fn passer_by(&mut self) {
        self.who = Who::Device(self.rng.random_range(0..SHOPPERS));
        self.push(What::Visit("search"));
    }

    fn stray(&mut self) {
        let number = self.rng.random_range(0..500);
        self.push(What::Scan(Scanned::Stray(number), None));
    }

    /// An order and what may follow it: the balance of a pre-sale, the scan of a parcel's code, a refund.
    fn order(&mut self) {
        let is_presale = self.chance(10);
        let is_tin = self.chance(40);
        let amount = match (is_presale, is_tin) {
            (true, _) => BOX_PARTS[0],
            (_, true) => TIN_PRICES[self.rng.random_range(0..TIN_PRICES.len())],
            _ => self.cups_of_tea(),
        };
        let number = self.crowd.orders;
        self.crowd.orders = self.crowd.orders.wrapping_add(1);
        let guide = self.chance(300).then_some(self.guide);
        let part = if is_presale { Part::Deposit } else { Part::Sale };
        let order = Order { number, amount, store: self.store, guide, part };
        self.push(What::Order(order));
        if is_presale {
            self.later(300, 2_400);
            self.push(What::Order(Order { amount: BOX_PARTS[1], part: Part::Balance, ..order }));
        } else if is_tin && self.chance(500) {
            self.later(600, 2_400);
            self.service_code();
        }
        if self.chance(30) {
            self.later(120, 2_400);
            let back = if self.chance(700) { amount } else { amount / 2 };
            self.push(What::Refund(number, back));
        }
    }

    fn cups_of_tea(&mut self) -> i64 {
        let cups = match self.rng.random_range(0..100) {
            0..62 => 1,
            62..88 => 2,
            88..96 => 3,
            _ => self.rng.random_range(4..9),
        };
        let price: i64 = (0..cups).map(|_| CUP_PRICES[self.rng.random_range(0..CUP_PRICES.len())]).sum();
        if self.chance(150) { price - 300 } else { price }
    }

    fn push(&mut self, what: What) {
        self.steps.push((self.at, Event { who: self.who, what }));
    }

    /// Waits for a random time of at least `from_s` and less than `to_s` seconds.
    fn later(&mut self, from_s: i64, to_s: i64) {
        debug_assert!(from_s >= 1);
        self.at += self.rng.random_range(from_s * 1000..to_s * 1000);
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        self.rng.random_ratio(per_mille, 1000)
    }
}
