//! Facts added up in memory between two transactions.

use std::collections::{BTreeMap, HashMap};

use domain::model::fact::{Answer, Award, Fact, Metric, OrderState, Posting, Scope, Told, What};
use domain::model::rules::Step;
use domain::model::time::{Day, HOUR_MS, Millis, day_text};
use rusqlite::{Transaction, params};

use crate::schema::LedgerError;

/// A merchant's name as a small number, within one batch.
type MerchantNumber = u32;

/// What facts of one facts partition come to.
#[derive(Debug, Default)]
pub struct Batch {
    merchants: Vec<String>,
    rules: Vec<(u32, MerchantNumber, String, String)>,
    /// By merchant and scope, then by key.
    counters: BTreeMap<(MerchantNumber, Scope), HashMap<String, Sums>>,
    funnels: BTreeMap<(MerchantNumber, String, u8, Step, String, Day), i64>,
    /// By event; the last word of each.
    answers: BTreeMap<(i64, u128), Kept>,
    /// Rows that are added, and rows that stand for something as it is now, in the order in which they came.
    rows: Vec<Row>,
    facts: usize,
    /// Duplicates among them.
    duplicates: i64,
}

/// A counter's values.
type Sums = HashMap<(Day, Metric), i64>;

/// An answer, owned.
#[derive(Debug)]
struct Kept {
    received: Millis,
    desk: u8,
    told: Told,
    code: Option<String>,
    campaign: Option<String>,
    prize: Option<String>,
    claim: Option<(Millis, Option<String>)>,
}

/// An owned row: the statement that writes it and its values.
#[derive(Debug)]
struct Row {
    sql: &'static str,
    merchant: MerchantNumber,
    values: Vec<rusqlite::types::Value>,
}

const POSTING: &str = "INSERT INTO postings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const ORDER: &str = "INSERT OR REPLACE INTO orders VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const MEMBER: &str = "INSERT OR REPLACE INTO members VALUES (?1, ?2, ?3, ?4, ?5)";
const AWARD: &str = "INSERT INTO awards VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
const CODE: &str = "INSERT OR REPLACE INTO codes VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const SEEN: &str = "INSERT INTO seen VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const ANSWER: &str = "INSERT INTO answers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
  ON CONFLICT(hour, event) DO UPDATE SET received = excluded.received, desk = excluded.desk, told = excluded.told,
    code = excluded.code, campaign = excluded.campaign, prize = excluded.prize, claim_time = excluded.claim_time,
    claim_region = excluded.claim_region WHERE (excluded.received, excluded.desk) > (received, desk)";
const UNLOCKING: &str = "INSERT INTO unlocking VALUES (?1, ?2, ?3, ?4)";
const RULES: &str = "INSERT OR REPLACE INTO rules VALUES (?1, ?2, ?3, ?4)";
const COUNTER: &str = "INSERT INTO counters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
  ON CONFLICT(merchant, scope, key, day, metric, facts) DO UPDATE SET value = value + excluded.value";
const FUNNEL: &str = "INSERT INTO funnels VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
  ON CONFLICT(merchant, funnel, step, action, channel, day, facts) DO UPDATE SET shoppers = shoppers + excluded.shoppers";

macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$(rusqlite::types::Value::from($value)),*] };
}

fn owned(text: &str) -> String {
    text.to_owned()
}

impl Batch {
    /// Adds a fact.
    ///
    /// # Errors
    /// [`LedgerError::Sum`] where a counter would not fit any more.
    pub fn add(&mut self, fact: &Fact<'_>) -> Result<(), LedgerError> {
        let merchant = self.merchant(fact.merchant);
        self.facts += 1;
        match fact.what {
            What::Rules { order, sha256, currency } => {
                let hex = sha256.iter().map(|b| format!("{b:02x}")).collect();
                self.rules.push((order, merchant, hex, owned(currency)));
            }
            What::Count { scope, key, day, metric, delta } => {
                return self.count(merchant, scope, key, (day, metric), delta);
            }
            What::Funnel { funnel, step, action, channel, day } => {
                let channel = owned(channel.unwrap_or(""));
                *self.funnels.entry((merchant, owned(funnel), step, action, channel, day)).or_default() += 1;
            }
            What::Posting(posting) => self.row(POSTING, merchant, posting_values(&posting)),
            What::Order(order) => self.row(ORDER, merchant, order_values(&order)),
            What::Member { shopper, time, guide, store } => {
                self.row(MEMBER, merchant, values![owned(shopper), time, guide.map(owned), store.map(owned)]);
            }
            What::Award(award) => self.row(AWARD, merchant, award_values(&award)),
            What::Code { code, kind, scans, first_time, first_region } => {
                let scans = scans.cast_signed();
                self.row(
                    CODE,
                    merchant,
                    values![owned(code), owned(kind.as_str()), scans, first_time, first_region.map(owned)],
                );
            }
            What::Seen { key, code, time, shopper, region, outcome, campaign, entry } => {
                let (region, campaign, entry) = (region.map(owned), campaign.map(owned), entry.map(u64::cast_signed));
                let (key, outcome) = (key.to_be_bytes().to_vec(), owned(outcome.as_str()));
                self.row(
                    SEEN,
                    merchant,
                    values![owned(code), time, owned(shopper), region, outcome, campaign, entry, key],
                );
            }
            What::Answer(answer) => self.answer(&answer),
            What::Unlocking { shopper, action, time } => {
                self.row(UNLOCKING, merchant, values![owned(shopper), owned(action.as_str()), time]);
            }
        }
        Ok(())
    }

    /// Facts added since the last write.
    #[must_use]
    pub fn facts(&self) -> usize {
        self.facts
    }

    /// Duplicates among the facts added since the last write.
    #[must_use]
    pub fn duplicates(&self) -> i64 {
        self.duplicates
    }

    fn merchant(&mut self, name: &str) -> MerchantNumber {
        let at = self.merchants.iter().position(|m| m == name).unwrap_or_else(|| {
            self.merchants.push(owned(name));
            self.merchants.len() - 1
        });
        MerchantNumber::try_from(at).expect("few merchants")
    }

    fn count(
        &mut self,
        merchant: MerchantNumber,
        scope: Scope,
        key: &str,
        (day, metric): (Day, Metric),
        delta: i64,
    ) -> Result<(), LedgerError> {
        if metric == Metric::Duplicates && scope == Scope::Merchant {
            self.duplicates += delta;
        }
        let keys = self.counters.entry((merchant, scope)).or_default();
        let sums = match keys.get_mut(key) {
            Some(sums) => sums,
            None => keys.entry(owned(key)).or_default(),
        };
        let sum = sums.entry((day, metric)).or_default();
        *sum = sum.checked_add(delta).ok_or_else(|| LedgerError::Sum {
            merchant: self.merchants[merchant as usize].clone(),
            scope,
            key: owned(key),
            day: day_text(day),
            metric,
        })?;
        Ok(())
    }

    /// What a later desk says stands, and what is said of a later delivery.
    fn answer(&mut self, a: &Answer<'_>) {
        let kept = self.answers.entry((a.received.div_euclid(HOUR_MS), a.key));
        if let std::collections::btree_map::Entry::Occupied(kept) = &kept
            && (kept.get().received, kept.get().desk) >= (a.received, a.desk)
        {
            return;
        }
        kept.insert_entry(Kept {
            received: a.received,
            desk: a.desk,
            told: a.told,
            code: a.code.map(owned),
            campaign: a.campaign.map(owned),
            prize: a.prize.map(owned),
            claim: a.claim.map(|(time, region)| (time, region.map(owned))),
        });
    }

    fn row(&mut self, sql: &'static str, merchant: MerchantNumber, values: Vec<rusqlite::types::Value>) {
        self.rows.push(Row { sql, merchant, values });
    }

    /// Writes everything within a transaction. Only its commit may be followed by a new batch.
    ///
    /// # Errors
    /// The database refuses.
    pub fn write(&self, facts: u16, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        let merchant = |number: &MerchantNumber| self.merchants[*number as usize].as_str();
        for (order, name, sha256, currency) in &self.rules {
            tx.prepare_cached(RULES)?.execute(params![order, merchant(name), sha256, currency])?;
        }
        for ((name, scope), keys) in &self.counters {
            // In order, so that the same facts write the same pages, one beside the other.
            let mut keys: Vec<_> = keys.iter().collect();
            keys.sort_unstable_by_key(|(key, _)| *key);
            for (key, sums) in keys {
                let mut sums: Vec<_> = sums.iter().filter(|(_, value)| **value != 0).collect();
                sums.sort_unstable_by_key(|(what, _)| **what);
                for ((day, metric), value) in sums {
                    let row = params![merchant(name), scope.as_str(), key, day, metric.as_str(), facts, value];
                    tx.prepare_cached(COUNTER)?.execute(row)?;
                }
            }
        }
        for ((name, funnel, step, action, channel, day), shoppers) in &self.funnels {
            let row = params![merchant(name), funnel, step, action.as_str(), channel, day, facts, shoppers];
            tx.prepare_cached(FUNNEL)?.execute(row)?;
        }
        for ((hour, key), a) in &self.answers {
            let (time, region) = a.claim.as_ref().map_or((None, None), |(time, region)| (Some(time), region.as_ref()));
            tx.prepare_cached(ANSWER)?.execute(params![
                hour,
                key.to_be_bytes(),
                a.received,
                a.desk,
                a.told.as_str(),
                a.code,
                a.campaign,
                a.prize,
                time,
                region
            ])?;
        }
        for row in &self.rows {
            let mut insert = tx.prepare_cached(row.sql)?;
            insert.raw_bind_parameter(1, merchant(&row.merchant))?;
            for (at, value) in (2..).zip(&row.values) {
                insert.raw_bind_parameter(at, value)?;
            }
            insert.raw_execute()?;
        }
        Ok(())
    }
}

fn posting_values(p: &Posting<'_>) -> Vec<rusqlite::types::Value> {
    let kind = owned(p.payee_kind.as_str());
    values![owned(p.order), owned(p.shopper), kind, owned(p.payee), p.amount, p.approve_at, owned(p.cause)]
}

fn order_values(o: &OrderState<'_>) -> Vec<rusqlite::types::Value> {
    let kind = o.kind.map(|k| owned(k.as_str()));
    let (guide, store) = (o.guide.map(owned), o.store.map(owned));
    values![owned(o.order), owned(o.shopper), o.time, o.base, o.refunded, kind, guide, store]
}

fn award_values(a: &Award<'_>) -> Vec<rusqlite::types::Value> {
    let until: Option<Millis> = a.unlock.and_then(|(_, until)| until);
    values![
        owned(a.campaign),
        i64::from(a.rules),
        owned(a.code),
        owned(a.shopper),
        a.entry.cast_signed(),
        a.time,
        owned(a.drawn),
        a.awarded.map(owned),
        a.prize_kind.map(|k| owned(k.as_str())),
        a.amount,
        a.unlock.map(|(action, _)| owned(action.as_str())),
        until,
    ]
}
