//! The time of each event: a slow wave of new journeys, a rush at the opening that decays within minutes, and the later steps
//! of the journeys that began.

use std::collections::BTreeMap;

use domain::model::time::{HOUR_MS, MINUTE_MS, Millis, SECOND_MS};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::brand::Brand;
use super::event::Event;
use super::journey::{Crowd, Steps};

/// Length of a slice, ms. Traffic is generated slice by slice, so that the lines do not depend on the times of the calls.
const SLICE_MS: i64 = 100;
/// Events per second in the trough of the wave, and the difference between crest and trough.
const TROUGH_RATE: i64 = 240;
const CREST_RATE: i64 = 120;
const WAVE_MS: i64 = 10 * MINUTE_MS;
/// Events per second that the opening adds, and the time in which they halve, ms.
const RUSH_RATE: i64 = 3_700;
const RUSH_HALVES_MS: i64 = MINUTE_MS;
/// Maximum time between two calls that is caught up, ms; earlier events are left out.
const CATCH_UP_MAX_MS: i64 = 2 * MINUTE_MS;
/// Maximum number of events that wait for their time; further events are dropped.
const WAITING_MAX: usize = 1_000_000;
/// Share of lines that are sent twice, as one in this number: the sender saw no answer.
const RETRY_ONE_IN: u32 = 100;
/// Share of events that arrive late, as one in this number: the phone had no network.
const LATE_ONE_IN: u32 = 250;
/// Share of late events that are too late to earn anything, as one in this number.
const STALE_ONE_IN: u32 = 20;
const STALE_MS: i64 = 50 * HOUR_MS;

/// A line that waits for its time.
enum Send {
    New(Event),
    /// A line that was sent before.
    Retry(String),
}

/// The events of a brand's shoppers, in real time.
pub struct Traffic {
    brand: Brand,
    crowd: Crowd,
    rng: SmallRng,
    /// The time of the first call, which names this run in ids.
    run: Millis,
    /// All events before this time are sent; `None` before the first call.
    clock: Option<Millis>,
    /// Events that are due and not begun yet, in thousandths.
    due: i64,
    serial: u64,
    /// By time, then in the order in which they were planned.
    waiting: BTreeMap<(Millis, u64), Send>,
    steps: Steps,
}

impl Traffic {
    /// The traffic of a seed. The rush begins when the brand's campaign opens.
    pub fn new(brand: Brand, seed: u64) -> Self {
        // A different sequence from that of the brand.
        let mut rng = SmallRng::seed_from_u64(seed ^ u64::from_be_bytes(*b"journeys"));
        let crowd = Crowd::new(&brand, &mut rng);
        let (waiting, steps) = (BTreeMap::new(), Steps::new());
        Self { brand, crowd, rng, run: 0, clock: None, due: 0, serial: 0, waiting, steps }
    }

    /// Appends a line for each event since the last call; the first call only sets the clock.
    ///
    /// The same seed, first call and last call give the same lines, however many calls are between them, if no two of them
    /// are more than two minutes apart. Of a longer interval, only the last two minutes are generated.
    pub fn until(&mut self, now: Millis, out: &mut Vec<String>) {
        let Some(clock) = self.clock else {
            self.run = now;
            self.clock = Some(now);
            return;
        };
        let mut from = clock.max(now - CATCH_UP_MAX_MS);
        while from + SLICE_MS <= now {
            self.slice(from, out);
            from += SLICE_MS;
        }
        self.clock = Some(from);
    }

    /// The intended events per second at a time.
    pub(crate) fn rate(&self, at: Millis) -> i64 {
        let since = at - self.brand.opens_ms;
        let in_wave = since.rem_euclid(WAVE_MS);
        let up = in_wave.min(WAVE_MS - in_wave);
        TROUGH_RATE + CREST_RATE * up / (WAVE_MS / 2) + rush_rate(since)
    }

    fn slice(&mut self, from: Millis, out: &mut Vec<String>) {
        let (rate, rush) = (self.rate(from), rush_rate(from - self.brand.opens_ms));
        let before = out.len();
        self.send_due(from + SLICE_MS, out);
        let followed = i64::try_from(out.len() - before).unwrap_or(i64::MAX);
        // Steps of earlier journeys count first; new journeys fill up the rest.
        self.due = (self.due + rate * SLICE_MS - followed * SECOND_MS).max(0);
        while self.due >= SECOND_MS {
            self.due -= SECOND_MS;
            let at = from + self.rng.random_range(0..SLICE_MS);
            let is_rush = self.rng.random_range(0..rate) < rush;
            self.begin(at, is_rush);
        }
        self.send_due(from + SLICE_MS, out);
    }

    fn begin(&mut self, at: Millis, is_rush: bool) {
        let mut steps = std::mem::take(&mut self.steps);
        self.crowd.journey(&self.brand, is_rush, &mut self.rng, &mut steps);
        for (after, event) in steps.drain(..) {
            self.wait(at + after, Send::New(event));
        }
        self.steps = steps;
    }

    fn wait(&mut self, at: Millis, send: Send) {
        if self.waiting.len() < WAITING_MAX {
            self.serial += 1;
            self.waiting.insert((at, self.serial), send);
        }
    }

    /// Sends what is due before a time.
    fn send_due(&mut self, end: Millis, out: &mut Vec<String>) {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 < end
        {
            let ((at, serial), send) = first.remove_entry();
            match send {
                Send::New(event) => out.push(self.line(event, at, serial)),
                Send::Retry(line) => out.push(line),
            }
        }
    }

    /// The event as a line; some are late, and some are sent again.
    fn line(&mut self, event: Event, at: Millis, serial: u64) -> String {
        let lag = if event.may_be_late() && self.one_in(LATE_ONE_IN) { self.lag() } else { 0 };
        let line = event.line(&self.brand, self.run, serial, (at - lag).max(0));
        if self.one_in(RETRY_ONE_IN) {
            let retry_at = at + self.rng.random_range(2 * SLICE_MS..50 * SLICE_MS);
            self.wait(retry_at, Send::Retry(line.clone()));
        }
        line
    }

    fn lag(&mut self) -> i64 {
        if self.one_in(STALE_ONE_IN) { STALE_MS } else { self.rng.random_range(MINUTE_MS..40 * MINUTE_MS) }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }
}

/// The events per second that the opening adds, `since` ms after it. They halve at each interval, linearly in between.
fn rush_rate(since: i64) -> i64 {
    if since < 0 {
        return 0;
    }
    let halvings = u32::try_from(since / RUSH_HALVES_MS).unwrap_or(u32::MAX);
    let now = RUSH_RATE.checked_shr(halvings).unwrap_or(0);
    now - (now - now / 2) * (since % RUSH_HALVES_MS) / RUSH_HALVES_MS
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use bumpalo::Bump;
    use domain::model::event::Action;
    use wire::event::{Merchants, read};

    use super::*;
    use crate::brand::MERCHANT;

    const OPENS: Millis = 1_794_326_400_000;

    /// The lines of each second, from `before` seconds before the opening to `after` seconds after it.
    fn seconds(seed: u64, before: i64, after: i64) -> Vec<Vec<String>> {
        let mut traffic = Traffic::new(Brand::new(OPENS, seed), seed);
        traffic.until(OPENS - before * SECOND_MS, &mut Vec::new());
        let second = |end: i64| {
            let mut out = Vec::new();
            traffic.until(OPENS + end * SECOND_MS, &mut out);
            out
        };
        (1 - before..=after).map(second).collect()
    }

    fn lines(seed: u64, before: i64, after: i64) -> Vec<String> {
        seconds(seed, before, after).concat()
    }

    #[test]
    fn every_line_is_a_valid_event() {
        let merchants = Merchants::new([(MERCHANT, "CNY")]);
        let lines = lines(1, 10, 50);
        assert!(lines.len() > 50_000, "only {} lines", lines.len());
        let mut arena = Bump::new();
        for line in &lines {
            let read = read(line.as_bytes(), &merchants, &arena);
            assert!(read.as_ref().is_ok_and(|accepted| accepted.unknown_fields == 0), "{line}: {read:?}");
            arena.reset();
        }
    }

    #[test]
    fn lines_depend_on_seed_not_on_call_times() {
        let often = lines(1, 5, 5);
        assert_eq!(often, lines(1, 5, 5));
        assert_ne!(often, lines(2, 5, 5));
        let mut traffic = Traffic::new(Brand::new(OPENS, 1), 1);
        let mut once = Vec::new();
        traffic.until(OPENS - 5 * SECOND_MS, &mut once);
        traffic.until(OPENS + 5 * SECOND_MS, &mut once);
        assert_eq!(often, once);
    }

    #[test]
    fn rush_at_the_opening_decays() {
        let seconds = seconds(1, 20, 600);
        let counts: Vec<usize> = seconds.iter().map(Vec::len).collect();
        let mean = |counts: &[usize]| counts.iter().sum::<usize>() / counts.len();
        let (before, opening, end) = (mean(&counts[..20]), mean(&counts[20..30]), mean(&counts[600..]));
        assert!((200..400).contains(&before), "{before} events a second before the opening");
        assert!((3_500..4_200).contains(&opening), "{opening} events a second at the opening");
        assert!((200..500).contains(&end), "{end} events a second after ten minutes");
    }

    #[test]
    fn ids_are_unique_and_one_percent_are_retries() {
        let lines = lines(1, 10, 50);
        let mut by_id: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for line in &lines {
            by_id.entry(line.split('"').nth(3).expect("an id")).or_default().insert(line);
        }
        let clash = by_id.values().find(|same| same.len() > 1);
        assert!(clash.is_none(), "one id, two events: {clash:?}");
        let again = lines.len() - by_id.len();
        assert!((lines.len() / 150..lines.len() / 60).contains(&again), "{again} of {} are retries", lines.len());
    }

    #[test]
    fn all_actions_occur_and_few_codes_are_unknown() {
        let lines = lines(1, 1_500, 0);
        let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
        for action in Action::ALL {
            assert!(count(&format!(r#""action":"{action}""#)) > 100, "{action}");
        }
        let per_mille = |part: &str| count(part) * 1_000 / lines.len();
        assert!((1..4).contains(&per_mille("/OLD-")), "{} ‰ of unknown codes", per_mille("/OLD-"));
        assert!((80..400).contains(&per_mille(r#""action":"order""#)), "{} ‰ orders", per_mille(r#""action":"order""#));
    }

    #[test]
    fn long_break_is_not_caught_up() {
        let mut traffic = Traffic::new(Brand::new(OPENS, 1), 1);
        let mut out = Vec::new();
        traffic.until(OPENS + HOUR_MS, &mut out);
        traffic.until(OPENS + 9 * HOUR_MS, &mut out);
        let most = (TROUGH_RATE + CREST_RATE) * CATCH_UP_MAX_MS / SECOND_MS;
        assert!(!out.is_empty() && i64::try_from(out.len()).expect("few") <= most, "{} lines", out.len());
    }
}
