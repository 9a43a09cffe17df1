//! Floods: one shopper, or one merchant, sends until a bound is reached, and goes on. From then on an event may neither make the
//! desk keep more, apart from the key by which it is known, nor look at more. Without the bound it does.

use domain::desk::shopper::ShopperDesk;
use domain::model::address::Partitions;
use domain::model::rules::rulebook::Library;
use domain::protocol::stage::{BEHAVIOUR, Marker, Stage, StageOptions, marker_record};
use eventlog::local::meta::Clock;
use wire::event::Merchants;

use crate::clients::Line;
use crate::edge::Edge;
use crate::generate::Case;
use crate::world::start::library;

/// Maximum number of bytes by which the state may grow for each event once the bound is reached: its key is remembered, and that of
/// an order that is no longer kept.
const KEPT_MAX: usize = 72;
/// The behaviour without bounds.
const UNBOUNDED: u32 = 1;
/// Number of events of a frame.
const FRAME: usize = 100;
const NOW: i64 = 1_794_400_000_000;
const MINUTE: i64 = 60_000;

/// A bound that a flood reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the bounds")]
pub enum Bound {
    Orders,
    Touches,
    Refunds,
    Attempts,
    Candidates,
    Names,
}

/// A flood.
struct Flood {
    /// `touches_max` and `orders_max`.
    touches: u32,
    orders: u32,
    names: u32,
    behaviour: u32,
    /// Number of events until the bound is reached.
    fills: i64,
    /// Maximum number of kept things that a further event may make the desk look at.
    looks_max: u64,
    /// The members of the event with a number, and its time, ms after the first.
    event: fn(i64) -> (String, i64),
}

impl Bound {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Orders, Self::Touches, Self::Refunds, Self::Attempts, Self::Candidates, Self::Names];

    fn flood(self, is_bounded: bool) -> Flood {
        const MANY: u32 = 50_000;
        let limit = |bounds: &[Self], max| if bounds.contains(&self) && is_bounded { max } else { MANY };
        let base = Flood {
            touches: if self == Self::Touches { limit(&[self], 20) } else { 20 },
            orders: limit(&[Self::Orders], 500),
            names: limit(&[Self::Names, Self::Attempts], 200),
            behaviour: BEHAVIOUR,
            fills: 1_000,
            looks_max: 300,
            event: |_| unreachable!(),
        };
        let unbounded = if is_bounded { BEHAVIOUR } else { UNBOUNDED };
        match self {
            Self::Orders => Flood { event: |n| (format!(r#""action":"order","order":"o{n}","amount":5"#), n), ..base },
            Self::Touches => Flood { event: |n| (r#""action":"scan","code":"SHOP""#.to_owned(), n), ..base },
            Self::Refunds => Flood {
                behaviour: unbounded,
                fills: 10_000,
                event: |n| (r#""action":"refund","order":"o","amount":1"#.to_owned(), n),
                ..base
            },
            Self::Attempts => {
                Flood { behaviour: unbounded, event: |n| (format!(r#""action":"visit","channel":"c{n}""#), n), ..base }
            }
            Self::Candidates => Flood {
                behaviour: unbounded,
                event: |n| match n {
                    0 => (r#""action":"order","order":"o","amount":5"#.to_owned(), 0),
                    _ => (r#""action":"scan","code":"SHOP""#.to_owned(), n - 60 * MINUTE),
                },
                ..base
            },
            Self::Names => Flood { event: |n| (format!(r#""action":"follow","guide":"g{n:0>60}""#), n), ..base },
        }
    }
}

/// Floods a desk, with the bound or without it, and then sends as much again.
///
/// # Errors
/// What the second half costs, if that is too much.
///
/// # Panics
/// If the desk refuses an event.
pub fn run(bound: Bound, is_bounded: bool) -> Result<(), String> {
    let flood = bound.flood(is_bounded);
    let Flood { touches, orders, names, .. } = flood;
    let rules = format!(
        "merchant = \"acme\"\ncurrency = \"CNY\"\ntime_zone = \"UTC\"\nnames_max = {names}\n[attribution]\n\
         touches_max = {touches}\norders_max = {orders}\n[[store]]\nid = \"s\"\n\
         [[commission]]\npayee = \"store\"\nrate = \"1%\"\n[[code]]\nid = \"SHOP\"\nkind = \"store\"\nstore = \"s\"\n\
         [[funnel]]\nname = \"f\"\nsteps = [\"visit\", \"order\"]\nwithin = \"30d\"\n"
    );
    let name = "acme.toml".to_owned();
    let library = library(&Case { files: vec![(name.clone(), rules)], rules_files: vec![name], lines: Vec::new() });
    let mut pipeline = Pipeline::new(library, flood.behaviour);
    pipeline.send(0..flood.fills, flood.event);
    let (kept, looked_at) = (pipeline.stage.save().len(), pipeline.looked_at());
    pipeline.send(flood.fills..2 * flood.fills, flood.event);
    let grown = (pipeline.stage.save().len() - kept) / usize::try_from(flood.fills).expect("a number of events");
    let looks = (pipeline.looked_at() - looked_at) / flood.fills.cast_unsigned();
    if grown > KEPT_MAX || looks > flood.looks_max {
        return Err(format!("{bound:?}: each further event is {grown} bytes more of state and {looks} looks at it"));
    }
    Ok(())
}

/// A desk and the edge before it.
struct Pipeline {
    stage: Stage<ShopperDesk>,
    library: Library,
    merchants: Merchants,
    edge: Edge,
}

impl Pipeline {
    fn new(library: Library, behaviour: u32) -> Self {
        let merchants = Merchants::new(library.values().map(|b| (b.rules.merchant.clone(), b.rules.currency.clone())));
        let stage = Stage::new(StageOptions::default(), ShopperDesk::default(), 1, 0, Partitions::all(1));
        let mut pipeline = Self { stage, library, merchants, edge: Edge::new(1, NOW) };
        let books: Vec<_> = pipeline.library.values().cloned().collect();
        for book in books {
            let merchant = &book.rules.merchant;
            pipeline.take(&marker_record(&Marker { merchant, seq: book.seq, sha256: book.sha256, behaviour }));
        }
        pipeline
    }

    fn take(&mut self, record: &[u8]) {
        let (offset, library) = (self.stage.next_offset(), &self.library);
        self.stage.step(offset, i64::MAX, record, library, &mut Vec::new()).expect("a valid record");
    }

    fn send(&mut self, numbers: std::ops::Range<i64>, event: fn(i64) -> (String, i64)) {
        let lines: Vec<Line> = numbers
            .map(|n| {
                let (members, time) = event(n);
                let text = format!(r#"{{"id":"e{n}","shopper":"u","time":{},{members}}}"#, NOW + time);
                Line { text, at: NOW, key: None }
            })
            .collect();
        for lines in lines.chunks(FRAME) {
            self.edge.take(lines, 1, &self.merchants, Clock::Event, NOW, 1);
            let (append, _) = self.edge.flush(0).expect("it has accepted events");
            self.take(&append.record);
        }
        assert_eq!(self.edge.refused, 0, "all events are valid");
    }

    fn looked_at(&self) -> u64 {
        use domain::protocol::stage::Desk;
        self.stage.desk().kept().looked_at
    }
}
