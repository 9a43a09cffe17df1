//! Sums facts in memory between two transactions.

pub mod answer;
mod tables;
pub(crate) mod write;

use std::collections::{BTreeMap, HashMap};

use data_encoding::HEXLOWER;
use domain::model::fact::{self, Award, Fact, Metric, OrderState, Posting, Scope, What};
use domain::model::rules::{PrizeKind, RulesSeq, Step};
use domain::model::time::{Day, HOUR_MS, Millis};

use self::answer::Answer;

/// A merchant's name as a small number, within one batch.
type MerchantNumber = u32;

/// The rows and sums that facts of one facts partition add up to. Its owner commits it at a maximum number of
/// facts: `FACTS_MAX` of the ledger consumer, `COMMIT_FACTS` of `mashang run`.
#[derive(Debug, Default)]
pub struct Batch {
    merchants: Vec<String>,
    /// By version number.
    rules: BTreeMap<RulesSeq, Rules>,
    /// By merchant and scope, then by key.
    counters: BTreeMap<(MerchantNumber, Scope), HashMap<String, Sums>>,
    funnels: BTreeMap<(MerchantNumber, String, u8, Step, String, Day), i64>,
    /// The latest answer of each event.
    answers: BTreeMap<(i64, u128), Answer>,
    /// Rows of current states: the latest of each.
    orders: BTreeMap<(MerchantNumber, String, String), Cells>,
    members: BTreeMap<(MerchantNumber, String), Cells>,
    codes: BTreeMap<(MerchantNumber, String), Cells>,
    alarms: BTreeMap<(MerchantNumber, String), Cells>,
    /// Rows that are added, in the order of their arrival.
    postings: Vec<Row>,
    awards: Vec<Row>,
    unlocking: Vec<Row>,
    seen: Vec<Row>,
    facts: usize,
    /// Duplicates among them.
    duplicates: i64,
}

/// A counter's values.
type Sums = HashMap<(Day, Metric), i128>;

/// The rules of one version.
#[derive(Debug)]
struct Rules {
    merchant: MerchantNumber,
    sha256: String,
    currency: String,
}

/// A value, owned.
#[derive(Debug)]
enum Cell {
    Null,
    Int(i64),
    Text(Box<str>),
    /// A word of the domain's.
    Word(&'static str),
    Event([u8; 16]),
}

/// The values of a row after its merchant, or after its key.
type Cells = Box<[Cell]>;

#[derive(Debug)]
struct Row {
    merchant: MerchantNumber,
    cells: Cells,
}

impl From<i64> for Cell {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! cells {
    ($($value:expr),* $(,)?) => { Box::new([$(Cell::from($value)),*]) };
}

impl Batch {
    /// Adds a fact: `offset` is its record's in the facts partition, `item` its index in the record.
    pub fn add(&mut self, fact: &Fact<'_>, (offset, item): (u64, i64)) {
        let merchant = self.merchant(fact.merchant);
        self.facts += 1;
        match fact.what {
            What::Rules { seq, sha256, currency } => {
                let sha256 = HEXLOWER.encode(&sha256);
                self.rules.insert(seq, Rules { merchant, sha256, currency: currency.to_owned() });
            }
            What::Count { scope, key, day, metric, delta } => {
                self.count(merchant, scope, key, (day, metric), delta);
            }
            What::Funnel { funnel, step, action, channel, day } => {
                let channel = channel.unwrap_or("").to_owned();
                *self.funnels.entry((merchant, funnel.to_owned(), step, action, channel, day)).or_default() += 1;
            }
            What::Posting(posting) => self.postings.push(Row { merchant, cells: posting_cells(&posting) }),
            What::Order(o) => {
                self.orders.insert((merchant, o.order.to_owned(), o.shopper.to_owned()), order_cells(&o));
            }
            What::Member { shopper, time, guide, store } => {
                self.members.insert((merchant, shopper.to_owned()), cells![time, guide, store]);
            }
            What::Award(award) => self.awards.push(Row { merchant, cells: award_cells(&award) }),
            What::Code { code, kind, scans, first_time, first_region } => {
                let cells = cells![Cell::Word(kind.as_str()), scans.cast_signed(), first_time, first_region];
                self.codes.insert((merchant, code.to_owned()), cells);
            }
            What::Seen { key, code, time, shopper, region, outcome, campaign, entry } => {
                let (outcome, entry) = (Cell::Word(outcome.as_str()), entry.map(u64::cast_signed));
                let at = offset.cast_signed();
                let cells = cells![
                    code,
                    time,
                    shopper,
                    region,
                    outcome,
                    campaign,
                    entry,
                    Cell::Event(key.to_be_bytes()),
                    at,
                    item
                ];
                self.seen.push(Row { merchant, cells });
            }
            What::CodeAlarm { code, time, shoppers } => {
                self.alarms.insert((merchant, code.to_owned()), cells![time, i64::from(shoppers)]);
            }
            What::Answer(answer) => self.answer(fact.merchant, &answer, None),
            What::Granted { answer, kind, amount } => self.answer(fact.merchant, &answer, Some((kind, amount))),
            What::Unlocking { shopper, action, time } => {
                self.unlocking.push(Row { merchant, cells: cells![shopper, Cell::Word(action.as_str()), time] });
            }
        }
    }

    /// The number of facts added since the last write.
    #[must_use]
    pub fn facts(&self) -> usize {
        self.facts
    }

    /// The number of duplicates among the facts added since the last write.
    #[must_use]
    pub fn duplicates(&self) -> i64 {
        self.duplicates
    }

    fn merchant(&mut self, name: &str) -> MerchantNumber {
        let at = self.merchants.iter().position(|m| m == name).unwrap_or_else(|| {
            self.merchants.push(name.to_owned());
            self.merchants.len() - 1
        });
        MerchantNumber::try_from(at).expect("few merchants")
    }

    fn count(&mut self, merchant: MerchantNumber, scope: Scope, key: &str, (day, metric): (Day, Metric), delta: i64) {
        if metric == Metric::Duplicates && scope == Scope::Merchant {
            self.duplicates += delta;
        }
        let keys = self.counters.entry((merchant, scope)).or_default();
        let sums = match keys.get_mut(key) {
            Some(sums) => sums,
            None => keys.entry(key.to_owned()).or_default(),
        };
        *sums.entry((day, metric)).or_default() += i128::from(delta);
    }

    /// Adds an answer. The answer to a later delivery replaces an earlier one, and then the answer of a later desk.
    fn answer(&mut self, merchant: &str, a: &fact::Answer<'_>, granted: Option<(PrizeKind, Option<i64>)>) {
        let answer = self.answers.entry((a.received.div_euclid(HOUR_MS), a.key));
        if let std::collections::btree_map::Entry::Occupied(answer) = &answer
            && (answer.get().received, answer.get().desk) >= (a.received, a.desk)
        {
            return;
        }
        answer.insert_entry(Answer::of_fact(merchant, a, granted));
    }
}

fn posting_cells(p: &Posting<'_>) -> Cells {
    cells![p.order, p.shopper, Cell::Word(p.payee_kind.as_str()), p.payee, p.amount, p.approve_at, p.cause]
}

fn order_cells(o: &OrderState<'_>) -> Cells {
    let kind = o.kind.map(|k| Cell::Word(k.as_str()));
    cells![o.time, o.base, o.refunded, kind, o.guide, o.store]
}

fn award_cells(a: &Award<'_>) -> Cells {
    let until: Option<Millis> = a.unlock.and_then(|(_, until)| until);
    cells![
        a.campaign,
        i64::from(a.rules.0),
        a.code,
        a.shopper,
        a.entry.cast_signed(),
        a.time,
        a.drawn,
        a.awarded,
        a.prize_kind.map(|k| Cell::Word(k.as_str())),
        a.amount,
        a.unlock.map(|(action, _)| Cell::Word(action.as_str())),
        until,
    ]
}
