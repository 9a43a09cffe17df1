//! The results of scans, compared with the model: first the desks' answers to each delivery, from the facts; then what a reader
//! finds in the ledger, which keeps answers for a day. [`told`] looks where the console looks.

use std::collections::{BTreeMap, BTreeSet};

use domain::frame::{Frames, Kind};
use domain::model::event::Action;
use domain::model::fact::{self, Fact, Outcome, ScanResult, What};
use domain::model::ids::{event_key, keyless_answer_key};
use domain::model::rules::PrizeKind;
use domain::model::time::{DAY_MS, Millis, time_text};
use ledger::answers::Answer;
use ledger::reader::Ledger;
use serde_json::{Value, json};

use super::Evidence;
use crate::alarm::{Alarm, hold};
use crate::naive;

/// The count of results that the ledger still had.
const OF_LEDGER: &str = "results of the ledger";

/// Where a reader looks.
trait Source {
    /// The answer to an event that was received then.
    fn one(&mut self, event: u128, received: Millis) -> Result<Option<Answer>, Alarm>;
    /// The answer to a shopper's entry by a one-item code.
    fn entry(&mut self, merchant: &str, code: &str, shopper: &str) -> Result<Option<Answer>, Alarm>;
}

/// (merchant, code, shopper)
type EntryId = (String, String, String);

/// The answers of the log.
#[derive(Clone, Default)]
pub(super) struct Facts {
    /// By event and `received`: an event that is delivered again after the horizon has two.
    answers: BTreeMap<(u128, Millis), Answer>,
    entries: BTreeMap<EntryId, (u128, Millis)>,
    /// Merchant, code and `received` of the entries that had their code to themselves, or claimed it.
    first: BTreeSet<(String, String, Millis)>,
}

impl Facts {
    /// # Errors
    /// A record is not a frame.
    pub(super) fn of(records: &[&[u8]]) -> Result<Self, Alarm> {
        let mut facts = Self::default();
        for record in records {
            let frames = Frames::open(record).map_err(|e| Alarm::Broken(e.to_string()))?;
            let frames = frames.filter(|frame| frame.kind == Kind::Facts);
            for fact in frames.flat_map(|frame| frame.items::<Fact<'_>>()) {
                facts.take(&fact.map_err(|e| Alarm::Broken(e.to_string()))?);
            }
        }
        Ok(facts)
    }

    fn take(&mut self, Fact { merchant, what }: &Fact<'_>) {
        match what {
            What::Answer(answer) => self.answer(merchant, answer, None),
            What::Granted { answer, kind, amount } => self.answer(merchant, answer, Some((*kind, *amount))),
            What::Seen { key, code, shopper, time, outcome, entry: Some(_), .. } => {
                let [merchant, code, shopper] = [merchant, code, shopper].map(|text| (*text).to_owned());
                if *outcome == Outcome::Entered {
                    self.first.insert((merchant.clone(), code.clone(), *time));
                }
                self.entries.entry((merchant, code, shopper)).or_insert((*key, *time));
            }
            _ => {}
        }
    }

    /// The answer of a later desk replaces an earlier one.
    fn answer(&mut self, merchant: &str, a: &fact::Answer<'_>, granted: Option<(PrizeKind, Option<i64>)>) {
        if self.answers.get(&(a.key, a.received)).is_some_and(|known| known.desk >= a.desk) {
            return;
        }
        self.answers.insert((a.key, a.received), Answer::of_fact(merchant, a, granted));
    }

    /// When an event was received, each time that it was no duplicate.
    fn deliveries(&self, event: u128) -> impl DoubleEndedIterator<Item = Millis> {
        self.answers.range((event, Millis::MIN)..=(event, Millis::MAX)).map(|((_, received), _)| *received)
    }
}

impl Source for &Facts {
    fn one(&mut self, event: u128, received: Millis) -> Result<Option<Answer>, Alarm> {
        Ok(self.answers.get(&(event, received)).cloned())
    }

    fn entry(&mut self, merchant: &str, code: &str, shopper: &str) -> Result<Option<Answer>, Alarm> {
        let entry = self.entries.get(&(merchant.to_owned(), code.to_owned(), shopper.to_owned()));
        Ok(entry.and_then(|entry| self.answers.get(entry)).cloned())
    }
}

impl Source for Ledger {
    fn one(&mut self, event: u128, received: Millis) -> Result<Option<Answer>, Alarm> {
        Ok(self.answer(event)?.filter(|answer| answer.received == received))
    }

    fn entry(&mut self, merchant: &str, code: &str, shopper: &str) -> Result<Option<Answer>, Alarm> {
        let Some((event, permanent)) = Self::entry(self, merchant, code, shopper)? else { return Ok(None) };
        Ok(Some(self.answer(event)?.filter(Answer::is_of_entry).unwrap_or(permanent)))
    }
}

/// What a reader gets.
struct Told {
    /// The result of the scan itself.
    own: ScanResult,
    /// The answer that the reader gets: that of an earlier entry, where the scan repeats one.
    answer: Answer,
    json: Value,
}

/// The key of a scan's answer.
fn key_of(scan: &naive::ScanResult) -> u128 {
    if scan.keyless {
        return keyless_answer_key(&scan.id);
    }
    event_key(&scan.merchant, &scan.shopper, Action::Scan.as_str(), &scan.id)
}

fn name(scan: &naive::ScanResult) -> String {
    format!("{} {} {} at {}", scan.merchant, scan.shopper, scan.id, time_text(scan.received))
}

/// What a reader of the console gets; `None` if the source does not have the scan.
fn told(source: &mut impl Source, scan: &naive::ScanResult) -> Result<Option<Told>, Alarm> {
    let key = key_of(scan);
    let Some(own) = source.one(key, scan.received)? else { return Ok(None) };
    let result = own.result;
    let answer = match (&own.code, result) {
        (Some(code), ScanResult::Yours) => {
            // Who asks for a keyless scan does not know its shopper: its answer says it.
            let known = if scan.keyless { ("", "") } else { (scan.merchant.as_str(), scan.shopper.as_str()) };
            let (merchant, shopper) = own.whose.as_ref().map_or(known, |(m, s)| (m, s));
            source.entry(merchant, code, shopper)?.unwrap_or_else(|| own.clone())
        }
        _ => own,
    };
    let json = answer.json(result == ScanResult::Yours);
    Ok(Some(Told { own: result, answer, json }))
}

impl Evidence<'_> {
    /// Compares the result of every scan with the model. Returns how many of each kind there were.
    ///
    /// # Errors
    /// The first result that differs.
    pub(super) fn results(
        &self,
        facts: &Facts,
        wanted: &[naive::ScanResult],
    ) -> Result<BTreeMap<&'static str, u64>, Alarm> {
        let (mut counts, mut prizes) = (BTreeMap::new(), BTreeMap::new());
        // Every answer is compared below, since the model has no scan twice.
        hold(facts.answers.len() == wanted.len(), || {
            format!("{} scans have results, of {} in the model", facts.answers.len(), wanted.len())
        })?;
        for scan in wanted {
            let Some(found) = told(&mut &*facts, scan)? else {
                return Err(Alarm::Broken(format!("the facts lack the result of {}", name(scan))));
            };
            self.equal(&found.json, &scan.told, || format!("in the facts, the result of {}", name(scan)))?;
            facts.is_claimed(scan, &found.answer)?;
            *counts.entry(found.own.as_str()).or_default() += 1;
            if found.own == ScanResult::Prize {
                *prizes.entry(prize_of(scan, &found.answer)).or_default() += 1;
            }
        }
        // In any order of the desks' logs, senders read exactly the prizes that were granted.
        let granted = self.granted()?;
        hold(prizes == granted, || {
            format!("the prizes in results differ from those granted: {prizes:?}, {granted:?}")
        })?;
        self.results_of_ledger(facts, wanted, &mut counts)?;
        Ok(counts)
    }

    /// Compares what the ledger still has with the model.
    fn results_of_ledger(
        &self,
        facts: &Facts,
        wanted: &[naive::ScanResult],
        counts: &mut BTreeMap<&'static str, u64>,
    ) -> Result<(), Alarm> {
        let mut ledger = self.database.reader()?;
        let latest = self.events.iter().map(|(event, _)| event.received).max().unwrap_or(0);
        // A reader gets the result of the last delivery.
        let is_last = |scan: &&naive::ScanResult| facts.deliveries(key_of(scan)).next_back() == Some(scan.received);
        for scan in wanted.iter().filter(is_last) {
            let Some(kept) = told(&mut ledger, scan)? else {
                let is_old = latest - scan.received >= DAY_MS;
                hold(is_old, || format!("the ledger lacks the result of {}", name(scan)))?;
                continue;
            };
            self.equal(&kept.json, &scan.told, || format!("in the ledger, the result of {}", name(scan)))?;
            *counts.entry(OF_LEDGER).or_default() += 1;
        }
        Ok(())
    }

    fn equal(&self, found: &Value, wanted: &Value, name: impl Fn() -> String) -> Result<(), Alarm> {
        let (found, wanted) = (self.comparable_result(found), self.comparable_result(wanted));
        hold(found == wanted, || format!("{} differs from the model: {found}, wanted {wanted}", name()))
    }

    /// The part of a result that the order of `scans` alone decides, as with the tables.
    fn comparable_result(&self, told: &Value) -> Value {
        let mut told = told.clone();
        let is_race = matches!(told["draw"]["result"].as_str(), Some("prize" | "thanks" | "already-claimed"));
        if is_race && !self.is_one_path() {
            let draw = &told["draw"];
            told["draw"] = json!({"campaign": draw["campaign"], "result": "entered", "again": draw["again"]});
        }
        told
    }

    /// How often each prize was granted, as in [`prize_of`].
    fn granted(&self) -> Result<BTreeMap<String, u64>, Alarm> {
        let mut granted = BTreeMap::new();
        for row in csv::Reader::from_reader(self.tables["awards"].as_bytes()).records() {
            let row = row.map_err(|e| Alarm::Broken(e.to_string()))?;
            if &row[8] != "thanks" {
                let prize = [0, 1, 3, 4, 6, 8, 9, 10].map(|column| &row[column]).join(",");
                *granted.entry(prize).or_default() += 1;
            }
        }
        Ok(granted)
    }
}

/// The prize of a result, as columns of `awards`.
fn prize_of(scan: &naive::ScanResult, answer: &Answer) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (kind, amount) = answer.granted.map_or(("", None), |(kind, amount)| (kind.as_str(), amount));
    let (campaign, code, prize) = (text(&answer.campaign), text(&answer.code), text(&answer.prize));
    let (time, amount) = (time_text(answer.received), amount.map(|n| n.to_string()).unwrap_or_default());
    [&scan.merchant, &campaign, &code, &scan.shopper, &time, &prize, kind, &amount].join(",")
}

impl Facts {
    /// The claim in an answer was made by an entry.
    fn is_claimed(&self, scan: &naive::ScanResult, answer: &Answer) -> Result<(), Alarm> {
        let (Some(code), Some((time, _))) = (&answer.code, &answer.claim) else { return Ok(()) };
        let claim = (scan.merchant.clone(), code.clone(), *time);
        hold(self.first.contains(&claim), || format!("no entry made the claim of an answer: {claim:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    /// An answer with something changed, in every way that makes it another answer.
    fn changed(answer: &Answer) -> Vec<Answer> {
        let results = ScanResult::ALL.iter().filter(|result| **result != answer.result);
        let mut all: Vec<Answer> = results.map(|&result| Answer { result, ..answer.clone() }).collect();
        let campaign = Some("another".to_owned());
        if !matches!(answer.result, ScanResult::Counted | ScanResult::Repeat | ScanResult::Yours) {
            all.push(Answer { campaign, ..answer.clone() });
        }
        if let Some((kind, amount)) = answer.granted {
            all.push(Answer { prize: Some("another".to_owned()), ..answer.clone() });
            all.push(Answer { granted: Some((kind, Some(amount.unwrap_or(0) + 1))), ..answer.clone() });
        }
        if let Some((time, region)) = &answer.claim {
            all.push(Answer { claim: Some((time + 1, region.clone())), ..answer.clone() });
            all.push(Answer { claim: Some((*time, Some("another".to_owned()))), ..answer.clone() });
        }
        all
    }

    #[test]
    fn any_changed_answer_is_found() {
        let mut found = BTreeMap::new();
        for seed in 0..12 {
            let (mut world, case) = World::new(seed, &[], false).expect("a world");
            world.run().expect("a clean seed");
            if !world.plan.is_one_path() {
                continue;
            }
            let evidence = world.evidence(&case).expect("evidence");
            let model = evidence.compare(&[]).expect("a model");
            let facts = Facts::of(&evidence.facts).expect("facts");
            evidence.results(&facts, &model.results).expect("a clean seed");
            for (key, answer) in &facts.answers {
                for wrong in changed(answer) {
                    let mut facts = facts.clone();
                    facts.answers.insert(*key, wrong.clone());
                    let compared = evidence.results(&facts, &model.results);
                    assert!(compared.is_err(), "seed {seed}: {wrong:?} instead of {answer:?} is not found");
                    *found.entry(answer.result.as_str()).or_insert(0) += 1;
                }
            }
        }
        assert!(found.len() > 10, "{found:?}");
    }
}
