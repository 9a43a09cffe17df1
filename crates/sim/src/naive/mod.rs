//! The pipeline as one loop: every event passes everything before the next one comes.
mod codes;
mod counters;
mod credit;
mod draws;
mod event;
mod export;
mod fields;
mod funnels;
pub(crate) mod minted;
mod rules;
mod shopper;

use draws::results::told;
use draws::{Attempt, Draws};
use event::{Event, event, field, time_of};
use minted::State;
use rules::Rules;
use serde_json::{Map, Value};
use shopper::{Posting, Shopper};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

pub use draws::results::ScanResult;

/// How often each special case occurred, by its name.
pub type Seen = BTreeMap<&'static str, u64>;

/// What only minted codes, modes, random amounts and bounds of a day lead to: cases that do not reach all of it test too little.
pub const MINTED_KINDS: [&str; 36] = [
    "amount: drawn",
    "amount: drawn, of an else",
    "draw: a first moment",
    "draw: a guide's entry",
    "draw: a later moment",
    "draw: a moment used up by another prize",
    "draw: all moments claimed",
    "draw: excluded",
    "draw: inactive",
    "draw: no moment yet",
    "draw: sealed, a prize",
    "draw: sealed, none",
    "draw: token already-claimed",
    "forged: a batch without gtin in a link",
    "forged: as unknown",
    "forged: beyond the count",
    "forged: wrong gtin",
    "forged: wrong tag",
    "grant: budget of another day",
    "grant: no budget today",
    "grant: no stock today",
    "grant: stock of another day",
    "scan: active",
    "scan: dark",
    "scan: diverted",
    "scan: diverted and inactive",
    "scan: forged",
    "scan: frozen",
    "scan: repeat, diverted",
    "scan: repeat, inactive",
    "scan: void",
    "token: by itself",
    "token: in a link",
    "token: of another action",
    "token: of no batch",
    "touch: none by an inactive code",
];

pub(crate) fn saw(seen: &mut Seen, what: &'static str) {
    *seen.entry(what).or_insert(0) += 1;
}

/// What the events come to.
pub struct Outcome {
    /// table -> the CSV that `export TABLE` prints
    pub tables: BTreeMap<&'static str, String>,
    /// Number of accepted events.
    pub accepted: u64,
    /// Number of duplicates.
    pub duplicates: u64,
    /// Number of late events.
    pub late: u64,
    /// what became of every scan that is no duplicate
    pub results: Vec<ScanResult>,
    /// how often each interesting thing happened
    pub seen: Seen,
}

struct CountedScan {
    time: i64,
    received: i64,
}

/// Deliveries of one item code.
struct ItemCode {
    kind: String,
    scans: u64,
    first_time: i64,
    first_region: Option<String>,
}

/// A version of a merchant's rules.
struct Book {
    rules: Rules,
    version: String,
}

struct Merchant {
    rulebooks: Vec<Book>,
    /// which of them is in force
    now: usize,
    delivered: HashMap<[u8; 16], i64>,
    /// (scope, day) -> the texts that the rules do not list and that are counted by name
    named: BTreeMap<(&'static str, String), BTreeSet<String>>,
    /// all events that are no duplicates, in log order
    events: Vec<Event>,
    /// (time, day's event) of every duplicate
    duplicates: Vec<i64>,
    /// (shopper, code) -> every counted scan, in log order; a code that becomes known is the same code
    scans: HashMap<(String, String), Vec<CountedScan>>,
    items: BTreeMap<String, ItemCode>,
    /// codes that were inactive when they were scanned: only to count how often that ends
    inactive: BTreeSet<String>,
    shoppers: BTreeMap<String, Shopper>,
    postings: Vec<Posting>,
    draws: Draws,
    results: Vec<ScanResult>,
}

impl Merchant {
    fn new() -> Merchant {
        Merchant {
            rulebooks: vec![],
            now: 0,
            delivered: HashMap::new(),
            named: BTreeMap::new(),
            events: vec![],
            duplicates: vec![],
            scans: HashMap::new(),
            items: BTreeMap::new(),
            inactive: BTreeSet::new(),
            shoppers: BTreeMap::new(),
            postings: vec![],
            draws: Draws::default(),
            results: vec![],
        }
    }

    fn rules(&self) -> &Rules {
        &self.rulebooks[self.now].rules
    }

    fn take(&mut self, mut e: Event, seen: &mut Seen) {
        // delivery
        let minute = |ms: i64| ms.div_euclid(60_000);
        if let Some(first) = self.delivered.get(&e.key) {
            if minute(e.received) - minute(*first) < self.rules().horizon_minutes {
                saw(seen, "duplicate");
                self.duplicates.push(e.time);
                return;
            }
            saw(seen, "delivered again after the horizon");
        }
        self.delivered.insert(e.key, e.received);
        saw(seen, action(&e));
        self.name(&mut e, seen);

        let shopper = self.shoppers.entry(e.shopper.clone()).or_default();
        if matches!(e.action.as_str(), "order" | "refund") && shopper.too_old(&self.rulebooks, self.now, &e, seen) {
            saw(seen, if e.action == "order" { "order: only late" } else { "refund: only late" });
            e.only_late = true;
            self.events.push(e);
            return;
        }
        if e.late {
            saw(seen, "late");
        }
        if let Some(shape) = e.code.as_ref().and_then(|c| c.shape) {
            saw(seen, if e.action != "scan" && shape.starts_with("forged") { "forged: as unknown" } else { shape });
        }
        if e.action == "scan" {
            let attempt = self.scan(&mut e, seen);
            let result = ScanResult {
                merchant: self.rules().merchant.clone(),
                shopper: e.shopper.clone(),
                id: e.id.clone(),
                keyless: e.keyless,
                received: e.received,
                told: told(&e, &attempt, &self.draws.entries),
            };
            self.results.push(result);
        }
        let rules = self.rules();
        if rules.funnels.iter().any(|f| funnels::fits(f, &f.steps[0], &e)) {
            let today = rules.day(e.received);
            e.cohort_channel = e.channel.clone().map(|c| self.key("cohort", &today, c, seen));
        }
        let shopper = self.shoppers.get_mut(&e.shopper).unwrap();
        shopper.take(&self.rulebooks, self.now, &e, &mut self.postings, seen);
        self.events.push(e);
    }

    /// Under which keys the event is counted.
    fn name(&mut self, e: &mut Event, seen: &mut Seen) {
        let day = self.rules().day(e.time);
        let texts = [
            ("store", e.store.clone()),
            ("guide", e.guide.clone()),
            ("region", e.region.clone()),
            ("channel", e.channel.clone()),
            ("ticket", e.ticket.clone()),
        ];
        for (scope, text) in texts {
            if let Some(text) = text {
                let key = self.key(scope, &day, text, seen);
                e.counted.insert(scope, key);
            }
        }
    }

    fn key(&mut self, scope: &'static str, day: &str, text: String, seen: &mut Seen) -> String {
        let rules = &self.rulebooks[self.now].rules;
        if rules.lists(scope, &text) {
            return text;
        }
        let max = rules.names_max;
        let named = self.named.entry((scope, day.into())).or_default();
        if named.contains(&text) {
            return text;
        }
        if named.len() >= max {
            saw(seen, "text: other");
            return "*other*".into();
        }
        named.insert(text.clone());
        text
    }

    fn scan(&mut self, e: &mut Event, seen: &mut Seen) -> Attempt {
        let code = e.code.clone().unwrap();
        if code.kind == "unknown" {
            saw(seen, "scan: unknown");
        }
        if e.diverted() {
            saw(seen, if e.inactive() { "scan: diverted and inactive" } else { "scan: diverted" });
        }
        if e.forged_scan() {
            saw(seen, "scan: forged");
            return Attempt::None;
        }
        if let Some(minted) = &code.minted {
            saw(
                seen,
                match minted.item.state {
                    State::Active => "scan: active",
                    State::Frozen => "scan: frozen",
                    State::Void => "scan: void",
                    State::Dark => "scan: dark",
                },
            );
        }
        if code.item() {
            let item = self.items.entry(code.name.clone()).or_insert(ItemCode {
                kind: code.kind.clone(),
                scans: 0,
                first_time: e.received,
                first_region: e.region.clone(),
            });
            item.scans += 1;
        }
        let same = self.scans.entry((e.shopper.clone(), code.name.clone())).or_default();
        if let Some(last) = same.last() {
            let rules = &self.rulebooks[self.now].rules;
            let recent = e.received - last.received < rules.debounce.max(rules.late);
            let near = (e.time - last.time).abs() < rules.debounce;
            e.repeat = recent && near;
            if e.repeat {
                saw(seen, "scan: repeat");
                if e.inactive() {
                    saw(seen, "scan: repeat, inactive");
                }
                if e.diverted() {
                    saw(seen, "scan: repeat, diverted");
                }
            } else if near {
                saw(seen, "scan: near, but forgotten");
            }
        }
        if e.repeat {
            return Attempt::None;
        }
        same.push(CountedScan { time: e.time, received: e.received });
        saw(seen, "scan: counted");
        let awards = self.draws.awards.len();
        if e.inactive() {
            self.inactive.insert(code.name.clone());
        } else if self.inactive.contains(&code.name) {
            saw(seen, "scan: active again");
        }
        let attempt = self.draws.scan(&self.rulebooks[self.now].rules, self.now, e, seen);
        e.entry = matches!(attempt, Attempt::Entry(_));
        if let (true, Some(region)) = (e.entry, e.region.clone()) {
            let today = self.rules().day(e.received);
            let key = self.key("region", &today, region, seen);
            self.draws.awards[awards..].iter_mut().for_each(|a| a.region = Some(key.clone()));
        }
        attempt
    }
}

fn action(e: &Event) -> &'static str {
    match e.action.as_str() {
        "scan" => "action: scan",
        "visit" => "action: visit",
        "follow" => "action: follow",
        "join" => "action: join",
        "claim" => "action: claim",
        "redeem" => "action: redeem",
        "order" => "action: order",
        "refund" => "action: refund",
        other => panic!("action {other}"),
    }
}

/// `versions`: merchant -> what the `rules` column of `awards` says.
pub fn run(
    rules_dir: &Path,
    rules_files: &[PathBuf],
    versions: &BTreeMap<String, String>,
    lines: &[String],
) -> Outcome {
    let named = |file: &PathBuf| {
        let merchant = rules::read(rules_dir, file).merchant;
        (file.clone(), versions.get(&merchant).cloned().unwrap_or_default())
    };
    let rulebooks: Vec<(PathBuf, String)> = rules_files.iter().map(named).collect();
    run_published(rules_dir, &rulebooks, lines.iter().map(|line| (line.as_str(), None)))
}

/// `rulebooks`: the versions of all merchants, and what the `rules` column says of each; with every line the one that is in force,
/// or its merchant's first.
pub fn run_published<'a>(
    rules_dir: &Path,
    rulebooks: &[(PathBuf, String)],
    lines: impl Iterator<Item = (&'a str, Option<usize>)>,
) -> Outcome {
    let mut merchants: BTreeMap<String, Merchant> = BTreeMap::new();
    let mut index = vec![];
    for (file, version) in rulebooks {
        let rules = rules::read(rules_dir, file);
        let merchant = merchants.entry(rules.merchant.clone()).or_insert_with(Merchant::new);
        index.push(merchant.rulebooks.len());
        merchant.rulebooks.push(Book { rules, version: version.clone() });
    }
    let mut seen = Seen::new();
    let mut received = i64::MIN;
    let mut accepted = 0;
    for (line, book) in lines {
        let Value::Object(mut line) = serde_json::from_str::<Value>(line).unwrap() else {
            panic!("not an object: {line}")
        };
        line.retain(|_, v| !v.is_null());
        let name = field(&line, "merchant").unwrap_or_else(|| {
            assert_eq!(merchants.len(), 1, "no merchant named");
            merchants.keys().next().unwrap().clone()
        });
        let merchant = merchants.get_mut(&name).unwrap();
        merchant.now = book.map_or(0, |book| index[book]);
        received = received.max(stamp(&line).unwrap_or(i64::MIN));
        assert!(received >= 0, "the first event has no time");
        accepted += 1;
        let e = event(merchant.rules(), &line, received);
        if e.time == received && time_of(&line, "time").is_some_and(|t| t != received) {
            saw(&mut seen, "time far ahead");
        }
        merchant.take(e, &mut seen);
    }
    let mut out = export::Tables::new();
    for m in merchants.values() {
        export::merchant(&mut out, m, received, &mut seen);
    }
    let late = merchants.values().flat_map(|m| &m.events).filter(|e| e.late || e.only_late).count() as u64;
    let duplicates = merchants.values().map(|m| m.duplicates.len() as u64).sum();
    let results = merchants.into_values().flat_map(|m| m.results).collect();
    Outcome { tables: out.csv(), accepted, duplicates, late, results, seen }
}

/// What the edge would stamp: the line's own `received`, else its time.
fn stamp(line: &Map<String, Value>) -> Option<i64> {
    time_of(line, "received").or_else(|| time_of(line, "time"))
}
