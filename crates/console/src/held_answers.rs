//! Answers as the log has them, in generations that are dropped whole: a single answer needs no memory of its own, and no removal.

use std::collections::{BTreeMap, VecDeque};

use domain::frame::{Frame, item};
use domain::model::fact::{self, Fact, What};
use domain::model::ids::digest128;
use domain::model::rules::PrizeKind;
use domain::model::time::Millis;
use domain::table::uniform::UniformMap;
use ledger::answers::Answer;

/// Maximum number of answers held; beyond it the oldest generations are dropped, and their answers are found in the ledger later.
const ANSWERS_MAX: usize = 1_000_000;
/// A generation of this many bytes ends.
const GENERATION_BYTES: usize = 64 * 1024 * 1024;
/// A generation ends only once it has a sixteenth of all answers: a look-up asks all generations.
const PART_MIN: usize = 16;

/// Where an answer is.
#[derive(Clone, Copy, Debug)]
struct Place {
    received: Millis,
    desk: u8,
    /// Where its fact begins in the bytes of the generation.
    at: u32,
}

/// What came in some time.
#[derive(Debug, Default)]
struct Generation {
    answers: UniformMap<Place>,
    /// Entries of one-item codes, by merchant, code and shopper: the event of each.
    entries: UniformMap<u128>,
    /// The facts of the answers, as in their frames.
    bytes: Vec<u8>,
    /// For each facts partition, the offset after its last record here.
    next: BTreeMap<u16, u64>,
}

impl Generation {
    /// Makes it empty; it keeps its memory.
    fn clear(&mut self) {
        self.answers.clear();
        self.entries.clear();
        self.bytes.clear();
        self.next.clear();
    }
}

/// The answers that are held.
#[derive(Debug)]
pub(crate) struct HeldAnswers {
    /// The oldest first; never empty.
    generations: VecDeque<Generation>,
    /// An empty generation with the memory of an earlier one.
    spare: Generation,
}

impl Default for HeldAnswers {
    fn default() -> Self {
        Self { generations: VecDeque::from([Generation::default()]), spare: Generation::default() }
    }
}

impl HeldAnswers {
    /// Number of answers held.
    pub(crate) fn len(&self) -> usize {
        self.generations.iter().map(|generation| generation.answers.len()).sum()
    }

    /// The latest answer to an event.
    pub(crate) fn answer(&self, event: u128) -> Option<Answer> {
        let places =
            self.generations.iter().filter_map(|generation| Some((generation, generation.answers.get(&event)?)));
        let (generation, place) = places.max_by_key(|(_, place)| (place.received, place.desk))?;
        let fact = item::<Fact<'_>>(generation.bytes.get(place.at as usize..)?).ok()?;
        let (answer, granted) = answer_of(&fact.what)?;
        Some(Answer::of_fact(fact.merchant, answer, granted))
    }

    /// The event with which a shopper first entered by a one-item code.
    pub(crate) fn entry(&self, merchant: &str, code: &str, shopper: &str) -> Option<u128> {
        let entry = digest128(&[merchant, code, shopper]);
        self.generations.iter().find_map(|generation| generation.entries.get(&entry)).copied()
    }

    /// Takes the facts of one frame, up to the first that cannot be read. Calls `answered` with each answer.
    pub(crate) fn take(
        &mut self,
        facts: u16,
        offset: u64,
        frame: &Frame<'_>,
        mut answered: impl FnMut(&fact::Answer<'_>),
    ) {
        let generation = self.generations.back_mut().expect("never empty");
        let (mut items, mut is_held) = (frame.items::<Fact<'_>>(), false);
        loop {
            let before = items.unread();
            let Some(Ok(Fact { merchant, what })) = items.next() else { break };
            if let Some((answer, _)) = answer_of(&what) {
                let (received, desk) = (answer.received, answer.desk);
                let at = u32::try_from(generation.bytes.len()).expect("a generation is much smaller");
                let place = Place { received, desk, at };
                let known = generation.answers.entry(answer.key).or_insert(place);
                if known.at == at || (known.received, known.desk) < (received, desk) {
                    *known = place;
                    generation.bytes.extend_from_slice(&before[..before.len() - items.unread().len()]);
                }
                is_held = true;
                answered(answer);
            } else if let What::Seen { key, code, shopper, entry: Some(_), .. } = what {
                generation.entries.entry(digest128(&[merchant, code, shopper])).or_insert(key);
                is_held = true;
            }
        }
        if is_held {
            generation.next.insert(facts, offset + 1);
        }
        if generation.bytes.len() >= GENERATION_BYTES {
            self.end_generation();
            self.limit();
        }
    }

    /// Forgets generations that the ledger has, whose `progress` is the next offset of each facts partition, and the oldest beyond
    /// the limit.
    pub(crate) fn forget(&mut self, progress: &[(u16, u64)]) {
        let newest = self.generations.back().expect("never empty");
        if !newest.next.is_empty() && newest.answers.len() * PART_MIN >= self.len() {
            self.end_generation();
        }
        let is_stored = |(facts, next): (&u16, &u64)| progress.iter().any(|(f, done)| f == facts && done >= next);
        while self.generations.len() > 1 && self.generations[0].next.iter().all(is_stored) {
            self.drop_oldest();
        }
        self.limit();
    }

    fn limit(&mut self) {
        while self.generations.len() > 1 && self.len() > ANSWERS_MAX {
            self.drop_oldest();
        }
    }

    fn end_generation(&mut self) {
        self.generations.push_back(std::mem::take(&mut self.spare));
    }

    fn drop_oldest(&mut self) {
        if let Some(mut oldest) = self.generations.pop_front()
            && oldest.answers.capacity() <= ANSWERS_MAX / PART_MIN
        {
            oldest.clear();
            self.spare = oldest;
        }
    }
}

/// The kind of a prize and its amount: minor units of cash, or points.
type Granted = (PrizeKind, Option<i64>);

/// The answer of a fact, with the prize that it says.
fn answer_of<'f, 'a>(what: &'f What<'a>) -> Option<(&'f fact::Answer<'a>, Option<Granted>)> {
    match what {
        What::Answer(answer) => Some((answer, None)),
        What::Granted { answer, kind, amount } => Some((answer, Some((*kind, *amount)))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::frame::{Body, Kind, seal};
    use domain::model::fact::ScanResult;
    use sim::generate::rng::Rng;

    use super::*;

    fn frame(facts: &[Fact<'_>]) -> Vec<u8> {
        let mut body = Body::default();
        facts.iter().for_each(|fact| body.push(fact));
        let mut records = Vec::new();
        body.drain(|bytes, items| records.push(seal(Kind::Facts, 0, None, items, bytes)));
        records.remove(0)
    }

    fn answer(key: u128, received: Millis, desk: u8) -> fact::Answer<'static> {
        let (result, claim, shopper) = (ScanResult::Thanks, None, None);
        fact::Answer { key, received, desk, result, code: Some("c"), campaign: None, prize: None, claim, shopper }
    }

    fn take(held: &mut HeldAnswers, facts: u16, offset: u64, items: &[Fact<'_>]) {
        let mut answers = 0;
        held.take(facts, offset, &Frame::open(&frame(items)).expect("whole"), |_| answers += 1);
        assert_eq!(answers, items.iter().filter(|fact| fact.what.is_result()).count());
    }

    /// What the ledger lacks is found, in the version of the latest desk; what it has is dropped in the end.
    #[test]
    fn answers_are_found_until_the_ledger_has_them() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let (mut held, mut model) = (HeldAnswers::default(), BTreeMap::<u128, Vec<(Millis, u8, u16, u64)>>::new());
            let (mut next, mut stored) = ([0_u64; 3], [0_u64; 3]);
            for _ in 0..300 {
                let facts = rng.below(3);
                let mut items = Vec::new();
                for _ in 0..rng.below(9) {
                    let (key, received, desk) = (rng.below(50) as u128, rng.range(0, 5), 1 + rng.below(3) as u8);
                    let found = answer(key, received, desk);
                    let what = match rng.below(2) {
                        0 => What::Answer(found),
                        _ => What::Granted { answer: found, kind: PrizeKind::Points, amount: Some(desk.into()) },
                    };
                    items.push(Fact { merchant: "acme", what });
                    model.entry(key).or_default().push((received, desk, facts as u16, next[facts]));
                }
                take(&mut held, facts as u16, next[facts], &items);
                next[facts] += 1;
                if rng.below(10) == 0 {
                    stored
                        .iter_mut()
                        .zip(next)
                        .for_each(|(stored, next)| *stored += rng.below(3) as u64 * (next - *stored) / 2);
                    held.forget(&[(0, stored[0]), (1, stored[1]), (2, stored[2])]);
                }
                for key in 0..50 {
                    let lacking = model.get(&key).into_iter().flatten().filter(|a| a.3 >= stored[usize::from(a.2)]);
                    let wanted = lacking.map(|&(received, desk, ..)| (received, desk)).max();
                    let found = held.answer(key).map(|a| (a.received, a.desk));
                    assert!(found >= wanted, "seed {seed}, key {key}: {found:?} and not {wanted:?}");
                    let known = model.get(&key).into_iter().flatten().map(|&(received, desk, ..)| (received, desk));
                    assert!(found.is_none_or(|found| known.clone().any(|known| known == found)), "an answer that came");
                }
            }
            for _ in 0..2 {
                held.forget(&[(0, next[0]), (1, next[1]), (2, next[2])]);
            }
            assert_eq!(held.len(), 0, "seed {seed}");
        }
    }

    #[test]
    fn shopper_keeps_the_first_entry_by_a_code() {
        let mut held = HeldAnswers::default();
        let seen = |key| What::Seen {
            key,
            code: "c",
            shopper: "u",
            time: 5,
            region: None,
            campaign: Some("wheel"),
            entry: Some(1),
            outcome: fact::Outcome::Entered,
        };
        for (offset, key) in [(0, 7), (1, 8)] {
            take(&mut held, 0, offset, &[Fact { merchant: "acme", what: seen(key) }]);
            held.forget(&[(0, 0)]);
        }
        assert_eq!(held.entry("acme", "c", "u"), Some(7));
        assert_eq!(held.entry("acme", "c", "v"), None);
        held.forget(&[(0, 1)]);
        assert_eq!(held.entry("acme", "c", "u"), Some(8), "the ledger has the first");
    }

    #[test]
    fn the_oldest_are_dropped_beyond_the_limit() {
        let mut held = HeldAnswers::default();
        let per_frame = 10_000;
        for offset in 0..120_u64 {
            let answers: Vec<_> = (0..per_frame).map(|n| answer(u128::from(offset * per_frame + n), 1, 1)).collect();
            let facts: Vec<_> = answers.into_iter().map(|a| Fact { merchant: "m", what: What::Answer(a) }).collect();
            take(&mut held, 0, offset, &facts);
            held.forget(&[(0, 0)]);
            assert!(held.len() <= ANSWERS_MAX && held.generations.len() < 100, "{}", held.generations.len());
        }
        assert!(held.len() > ANSWERS_MAX * 8 / 10);
        assert!(held.answer(0).is_none() && held.answer(1_199_999).is_some());
    }
}
