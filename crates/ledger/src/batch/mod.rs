//! Sums facts in memory between two transactions.

mod tables;
pub(crate) mod write;

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use domain::frame::encode_into;
use domain::model::fact::{self, Award, Fact, Metric, OrderState, Outcome, Posting, Scope, What};
use domain::model::rules::{PrizeKind, RulesSeq, Step};
use domain::model::time::{Day, HOUR_MS, Millis};
use hashbrown::HashMap;

use crate::segments::buffer::Buffer;
use crate::segments::values::{
    FactPosition, StoredAnswer, StoredClaim, StoredCode, StoredScan, put_code_key, put_scan_key,
};

/// A merchant's name as a small number, within one batch.
type MerchantNumber = u32;

/// The rows and sums that facts of one facts partition add up to. Its owner commits it at a maximum number of
/// facts: `FACTS_MAX` of the ledger consumer, `COMMIT_FACTS` of `mashang run`.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    merchants: Vec<String>,
    /// By version number.
    rules: BTreeMap<RulesSeq, Rules>,
    /// By merchant and scope, then by key.
    counters: BTreeMap<(MerchantNumber, Scope), HashMap<String, Sums>>,
    funnels: BTreeMap<(MerchantNumber, String, u8, Step, String, Day), i64>,
    /// Answers, by the hour of their `received`.
    answers: BTreeMap<i64, Buffer>,
    /// The states of item codes, the claims of codes, the scans of codes.
    codes: Buffer,
    claims: Buffer,
    scans: Buffer,
    /// Rows of current states: the latest of each.
    orders: BTreeMap<(MerchantNumber, String, String), Cells>,
    members: BTreeMap<(MerchantNumber, String), Cells>,
    alarms: BTreeMap<(MerchantNumber, String), Cells>,
    /// Rows that are added, in the order of their arrival.
    postings: Vec<Row>,
    awards: Vec<Row>,
    unlocking: Vec<Row>,
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
    /// Adds a fact at its position in the facts partition.
    pub(crate) fn add(&mut self, fact: &Fact<'_>, position: FactPosition) {
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
                let state = StoredCode { kind, first_time, first_region };
                self.codes.push(|key| put_code_key(fact.merchant, code, key), |value| state.put(scans, value));
            }
            What::Seen { key: event, code, time, shopper, region, outcome, campaign, entry } => {
                let scan = StoredScan { event, time, region, outcome, campaign, entry };
                let whose = (fact.merchant, code, shopper);
                self.scans.push(|key| put_scan_key(whose, position, key), |value| encode_into(value, &scan));
                if outcome == Outcome::Entered {
                    let claim = StoredClaim { time, region };
                    self.claims.push(|key| put_code_key(fact.merchant, code, key), |value| claim.put(position, value));
                }
            }
            What::CodeAlarm { code, time, shoppers } => {
                self.alarms.insert((merchant, code.to_owned()), cells![time, i64::from(shoppers)]);
            }
            What::Answer(answer) => self.answer(fact.merchant, &answer, None, position),
            What::Granted { answer, kind, amount } => {
                self.answer(fact.merchant, &answer, Some((kind, amount)), position);
            }
            What::Unlocking { shopper, action, time } => {
                self.unlocking.push(Row { merchant, cells: cells![shopper, Cell::Word(action.as_str()), time] });
            }
        }
    }

    /// The number of facts added since the last write.
    pub(crate) fn facts(&self) -> usize {
        self.facts
    }

    /// The number of duplicates among the facts added since the last write.
    pub(crate) fn duplicates(&self) -> i64 {
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
        let sums = keys.entry_ref(key).or_default();
        *sums.entry((day, metric)).or_default() += i128::from(delta);
    }

    /// Adds an answer. Of the answers to one event that to its latest delivery counts, and of these that of the latest desk.
    fn answer(
        &mut self,
        merchant: &str,
        a: &fact::Answer<'_>,
        granted: Option<(PrizeKind, Option<i64>)>,
        position: FactPosition,
    ) {
        let answer = StoredAnswer {
            result: a.result,
            code: a.code,
            campaign: a.campaign,
            prize: a.prize,
            granted,
            claim: a.claim,
            whose: a.shopper.map(|shopper| (merchant, shopper)),
        };
        let answers = self.answers.entry(a.received.div_euclid(HOUR_MS)).or_default();
        answers.push(
            |key| key.extend_from_slice(&a.key.to_be_bytes()),
            |value| answer.put((a.received, a.desk), position, value),
        );
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
