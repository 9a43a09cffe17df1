//! Acceptable events that aim at the limits: windows, horizons, ties, retries, lateness.
use super::codes::written;
use super::minted::texts;
use super::plan::{Plan, Scale};
use super::rng::Rng;
use domain::model::money::AMOUNT_MAX;
use serde_json::{Map, Value, json};

struct Past {
    plan: usize,
    line: Map<String, Value>,
    time: i64,
    received: i64,
}

struct Maker<'a> {
    rng: &'a mut Rng,
    minted: &'a mut Rng,
    plans: &'a [Plan],
    unit: i64,
    /// lines carry `received`
    stamped: bool,
    now: i64,
    /// what `received` was last; without stamps always `now` when a line is made
    received: i64,
    past: Vec<Past>,
    lines: Vec<String>,
    next_id: u64,
    next_order: u64,
}

const ACTIONS: [&str; 20] = [
    "scan", "scan", "scan", "scan", "scan", "scan", "scan", "visit", "visit", "follow", "follow", "join", "claim",
    "redeem", "order", "order", "order", "order", "refund", "refund",
];

/// `minted`: the dice of minted codes.
pub(crate) fn events(rng: &mut Rng, minted: &mut Rng, plans: &[Plan], scale: &Scale, count: usize) -> Vec<String> {
    let stamped = rng.percent(30);
    let mut m = Maker {
        rng,
        minted,
        plans,
        unit: scale.unit,
        stamped,
        now: scale.start,
        received: i64::MIN,
        past: vec![],
        lines: vec![],
        next_id: 0,
        next_order: 0,
    };
    while m.lines.len() < count {
        m.step();
    }
    m.lines
}

/// Time as a text with some offset, or as a number.
fn time_value(rng: &mut Rng, ms: i64) -> Value {
    if rng.percent(40) {
        return json!(ms);
    }
    let minutes = *rng.pick(&[0i64, 480, -300, 60, 345, -210, 630]);
    let sign = if minutes < 0 { '-' } else { '+' };
    let local = jiff::Timestamp::from_millisecond(ms + minutes * 60_000).unwrap();
    let mut text = local.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    match (ms.rem_euclid(1000), rng.below(3)) {
        (0, 0) => {}
        (part, 1) => text += &format!(".{part:03}{:03}", rng.range(0, 1000)), // finer than ms is cut off
        (part, _) => text += &format!(".{part:03}"),
    }
    if minutes == 0 && rng.percent(80) {
        text.push('Z');
    } else {
        text += &format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
    }
    json!(text)
}

impl Maker<'_> {
    fn jitter(&mut self) -> i64 {
        self.rng.range(-1, 2)
    }

    /// Let some time go by.
    fn advance(&mut self, plan: usize) {
        let p = &self.plans[plan];
        match self.rng.below(1000) {
            0..200 => {}
            200..300 => self.now += self.rng.range(0, 5),
            300..600 => self.now += self.rng.range(0, self.unit / 8 + 1),
            600..860 => self.now += self.rng.range(0, self.unit),
            860..900 => self.now += self.rng.range(0, 4 * self.unit),
            900..995 if !p.moments.is_empty() => {
                let target = *self.rng.pick(&p.moments) + self.jitter();
                // a day's end somewhere, or a moment of the rules
                let half_hour = 1_800_000;
                let target =
                    if self.rng.percent(30) { (self.now / half_hour + 1) * half_hour + self.jitter() } else { target };
                if target > self.now && target - self.now < 12 * self.unit {
                    self.now = target;
                }
            }
            995..998 => self.now += self.rng.range(1, 6) * 86_400_000,
            998 => self.now += 46 * 86_400_000,
            _ => self.now += self.rng.range(0, 20 * self.unit),
        }
    }

    fn step(&mut self) {
        let plan = self.rng.below(self.plans.len());
        if self.past.len() > 3 && self.rng.percent(30) && self.script(plan) {
            return;
        }
        let action = *self.rng.pick(&ACTIONS);
        let shopper = self.shopper(plan);
        let line = self.line(plan, action, &shopper);
        // without stamps `received` moves by times alone, so time goes by only with an event in time
        let in_time = self.rng.percent(55);
        if in_time || self.stamped {
            self.advance(plan);
        }
        let in_time = in_time || self.past.is_empty();
        let time = if in_time { Some(self.now) } else { self.time(plan, &shopper) };
        self.send(plan, line, time);
    }

    fn shopper(&mut self, plan: usize) -> String {
        self.rng.pick(&self.plans[plan].shoppers).clone()
    }

    /// None: leave it out.
    fn time(&mut self, plan: usize, shopper: &str) -> Option<i64> {
        let p = &self.plans[plan];
        let ahead = self.stamped && self.rng.percent(8);
        if ahead {
            return Some(self.now + *self.rng.pick(&[1, 1000, 299_999, 300_000, 300_001, 4_000_000]));
        }
        let time = match self.rng.below(100) {
            0..10 => self.now,
            10..40 => self.now - self.rng.range(0, self.unit),
            40..53 => self.now - p.late + self.jitter(),
            53..64 => self.now - p.late - self.rng.range(0, 3 * self.unit),
            64..75 if !self.past.is_empty() => return None,
            75..86 if !self.past.is_empty() => {
                self.past[self.past.len() - 1 - self.rng.below(self.past.len().min(20))].time
            }
            _ => {
                // at some edge after, or before, another event of the shopper
                let edges = [p.debounce, p.window, p.protect, p.late, p.window + p.late, 0];
                let edge = *self.rng.pick(&edges) * if self.rng.percent(70) { 1 } else { -1 };
                let jitter = self.jitter();
                match self.recent(plan, |x| x.line.get("shopper").and_then(Value::as_str) == Some(shopper)) {
                    Some(i) => self.past[i].time + edge + jitter,
                    None => self.now,
                }
            }
        };
        Some(if time > self.now || time < 0 { self.now } else { time })
    }

    /// Some recent event of the merchant.
    fn recent(&mut self, plan: usize, fits: impl Fn(&Past) -> bool) -> Option<usize> {
        if self.past.is_empty() {
            return None;
        }
        for _ in 0..8 {
            let i = self.past.len() - 1 - self.rng.below(self.past.len().min(80));
            if self.past[i].plan == plan && fits(&self.past[i]) {
                return Some(i);
            }
        }
        None
    }

    fn line(&mut self, plan: usize, action: &str, shopper: &str) -> Map<String, Value> {
        let p = &self.plans[plan];
        let rng = &mut *self.rng;
        let mut line = Map::new();
        self.next_id += 1;
        line.insert("id".into(), json!(format!("e{}", self.next_id)));
        line.insert("action".into(), json!(action));
        line.insert("shopper".into(), json!(shopper));
        // No dice: what else a seed gives stays as it was.
        if action == "scan" && self.next_id.is_multiple_of(9) {
            line.insert("keyless".into(), json!(true));
        }
        if self.plans.len() > 1 || rng.percent(30) {
            line.insert("merchant".into(), json!(p.merchant));
        }
        if matches!(action, "scan" | "visit") && rng.percent(6) {
            line.remove("shopper");
            line.insert("device".into(), json!(format!("d{}", rng.below(2))));
        } else if rng.percent(4) {
            line.insert("device".into(), json!("d9"));
        }
        let codes = match rng.below(100) {
            0..42 => &p.items,
            42..90 => &p.codes,
            _ => &p.unknown,
        };
        // few codes are scanned often, so that they are repeated, and claimed by others
        let few = codes.len().min(if rng.percent(60) { 6 } else { usize::MAX });
        if action == "scan" || rng.percent(30) {
            line.insert("code".into(), json!(written(&codes[rng.below(few)], self.next_id)));
        }
        let minted = line.contains_key("code").then(|| texts::code(self.minted, self.plans, plan)).flatten();
        let is_minted = minted.is_some();
        if let Some(text) = minted {
            line.insert("code".into(), json!(text));
        }
        let mut maybe = |percent: u64, key: &str, from: &[String]| {
            if rng.percent(percent) {
                line.insert(key.into(), json!(rng.pick(from)));
            }
        };
        let busy = matches!(action, "order" | "join" | "follow" | "visit");
        maybe(if busy { 22 } else { 10 }, "guide", &p.guides);
        maybe(18, "store", &p.stores);
        maybe(3, "guide", &["gx".into()]);
        maybe(3, "store", &["sx".into()]);
        maybe(10, "region", &["330106".into(), "310000".into(), "44".into()]);
        maybe(12, "channel", &["app".into(), "magazine".into(), "a, \"b\"".into()]);
        maybe(15, "currency", std::slice::from_ref(&p.currency));
        if matches!(action, "claim" | "redeem") {
            line.insert("ticket".into(), json!(rng.pick(&["1111", "half"])));
        }
        let region = if is_minted { texts::region(self.minted) } else { None };
        if let Some(region) = region {
            line.entry("region").or_insert(json!(region));
        }
        if rng.percent(3) {
            line.insert("region".into(), Value::Null);
        }
        if rng.percent(2) {
            line.insert("colour".into(), json!("red"));
        }
        if matches!(action, "order" | "refund") {
            let mine = |x: &&Past| x.plan == plan && x.line["shopper"] == shopper && x.line.contains_key("order");
            let old: Vec<&Past> = self
                .past
                .iter()
                .rev()
                .take(200)
                .filter(|x| x.line.contains_key("shopper"))
                .filter(mine)
                .take(4)
                .collect();
            let number = match rng.below(100) {
                // an order of the same shopper, or the number of some other's
                0..45 if !old.is_empty() => rng.pick(&old).line["order"].as_str().unwrap().to_string(),
                45..55 if self.next_order > 0 => {
                    format!("o{}", rng.range((self.next_order as i64 - 8).max(1), self.next_order as i64 + 1))
                }
                _ => {
                    self.next_order += 1;
                    format!("o{}", self.next_order)
                }
            };
            line.insert("order".into(), json!(number));
            let amount = match rng.below(8) {
                0 => rng.range(0, 3),
                1 => rng.range(100_000, 100_000_000),
                _ => rng.range(1, 40_000),
            };
            // Without dice, too: sums beyond 64 bits after some thousand events.
            let amount = if self.next_id.is_multiple_of(5) { AMOUNT_MAX - amount } else { amount };
            line.insert("amount".into(), json!(amount));
            if action == "order" && rng.percent(45) {
                line.insert("part".into(), json!(rng.pick(&["sale", "deposit", "balance"])));
            }
        }
        line
    }

    /// Gives an event now and then the id of the same shopper's earlier one with another action: they are two events.
    /// Without dice, so that what else a seed gives stays as it was.
    fn bear_the_id_of(&self, old: &Map<String, Value>, action: &str, line: &mut Map<String, Value>) {
        let is_keyless = |line: &Map<String, Value>| line.contains_key("keyless");
        // One key with two contents is no event that a sender sends.
        let is_taken = self.past.iter().any(|x| x.line["id"] == old["id"] && x.line["action"] == action);
        if !is_taken && self.next_id.is_multiple_of(2) && !is_keyless(old) && !is_keyless(line) {
            line.insert("id".into(), old["id"].clone());
        }
    }

    fn send(&mut self, plan: usize, mut line: Map<String, Value>, time: Option<i64>) {
        match time {
            Some(ms) => {
                let value = time_value(self.rng, ms);
                line.insert("time".into(), value);
            }
            None if self.rng.percent(20) => {
                line.insert("time".into(), Value::Null);
            }
            None => {}
        }
        self.deliver(plan, line, time);
    }

    /// The line as it is, at what is now `received`.
    fn deliver(&mut self, plan: usize, mut line: Map<String, Value>, time: Option<i64>) {
        line.remove("received");
        if self.stamped {
            let behind = if self.rng.percent(4) { self.rng.range(0, self.unit) } else { 0 };
            line.insert("received".into(), json!(self.now - behind));
            self.received = self.received.max(self.now - behind);
        } else if let Some(t) = time {
            self.received = self.received.max(t);
        }
        self.now = self.now.max(self.received);
        let time = match time {
            Some(t) if t <= self.received + 300_000 => t,
            _ => self.received,
        };
        self.lines.push(Value::Object(line.clone()).to_string());
        self.past.push(Past { plan, line, time, received: self.received });
    }

    /// Makes it `to`. Without stamps `received` moves by times alone: an event that is to come late at a certain
    /// moment needs one in time before it.
    fn clock(&mut self, plan: usize, to: i64) -> bool {
        let far = to - self.now > 8 * self.unit;
        if to < self.now || to - self.now > 100 * self.unit.max(60_000) || far && self.rng.percent(65) {
            return false;
        }
        self.now = to;
        if !self.stamped {
            let action = *self.rng.pick(&["visit", "claim", "scan"]);
            let shopper = self.shopper(plan);
            let line = self.line(plan, action, &shopper);
            self.send(plan, line, Some(to));
        }
        true
    }

    /// A second event at some edge of an earlier one. False: nothing fitted.
    fn script(&mut self, plan: usize) -> bool {
        let p = &self.plans[plan];
        let which = self.rng.below(14);
        let jitter = self.jitter();
        let is = |x: &Past, action: &str| x.line["action"] == action;
        match which {
            // a retry at once, or around the horizon
            0 | 1 => {
                let Some(i) = self.recent(plan, |_| true) else { return false };
                let (line, time, received) = (self.past[i].line.clone(), self.past[i].time, self.past[i].received);
                let given = line.get("time").is_some_and(|t| !t.is_null()).then_some(time);
                if which == 1 {
                    let target = match self.rng.below(3) {
                        0 => received + p.horizon + jitter,
                        1 => received / 60_000 * 60_000 + p.horizon + jitter,
                        _ => received + p.horizon + self.rng.range(0, 3 * self.unit),
                    };
                    if !self.clock(plan, target) {
                        return false;
                    }
                }
                self.deliver(plan, line, given);
            }
            // parts and refunds of an order, some when it is just about no longer kept
            2..=5 => {
                let Some(i) = self.recent(plan, |x| is(x, "order") || is(x, "refund")) else { return false };
                let (old, time) = (self.past[i].line.clone(), self.past[i].time);
                let shopper = old["shopper"].as_str().unwrap().to_string();
                let action = if self.rng.percent(55) { "order" } else { "refund" };
                if which == 2 && !self.clock(plan, time + p.refund_within + jitter) {
                    return false;
                }
                let mut line = self.line(plan, action, &shopper);
                line.insert("order".into(), old["order"].clone());
                self.bear_the_id_of(&old, action, &mut line);
                let at = match self.rng.below(4) {
                    0 => Some(time - self.rng.range(0, self.unit)),
                    1 if which == 2 => Some(time + self.rng.range(0, 2)),
                    1 => Some(time + jitter),
                    _ => Some(self.now),
                };
                self.send(plan, line, at.map(|t| t.clamp(0, self.now)));
            }
            // something of the same shopper at an edge after an earlier event, in time or by `received`
            6..=9 => {
                let Some(i) = self.recent(plan, |x| x.line.contains_key("shopper")) else { return false };
                let (old, time, received) = (self.past[i].line.clone(), self.past[i].time, self.past[i].received);
                let shopper = old["shopper"].as_str().unwrap().to_string();
                let mut edges = vec![
                    (p.window, "order"),
                    (p.window, "join"),
                    (p.protect, "scan"),
                    (p.protect, "follow"),
                    (p.window + p.late, "order"),
                    (p.debounce.max(p.late), "scan"),
                    (p.debounce, "scan"),
                    (p.debounce, "scan"),
                ];
                edges.extend(p.unlock_within.iter().flat_map(|&w| [(w, "order"), (w, "join"), (w, "follow")]));
                edges.extend(
                    p.funnel_within.iter().flat_map(|&w| [(w, "visit"), (w, "redeem"), (w, "order"), (w, "scan")]),
                );
                let (edge, action) = *self.rng.pick(&edges);
                let from = if self.rng.percent(50) { time } else { received };
                if !self.clock(plan, from + edge + jitter) {
                    return false;
                }
                let mut line = self.line(plan, action, &shopper);
                self.bear_the_id_of(&old, action, &mut line);
                if action == "scan" && self.rng.percent(60) && old.contains_key("code") {
                    line.insert("code".into(), old["code"].clone());
                }
                let at = match self.rng.below(4) {
                    0 => time + p.window - 1,
                    1 => time,
                    _ => self.now,
                };
                self.send(plan, line, Some(at.clamp(0, self.now)));
            }
            // the same code by another shopper, or again by the same
            10 | 11 => {
                let Some(i) = self.recent(plan, |x| is(x, "scan")) else { return false };
                let (old, time) = (self.past[i].line.clone(), self.past[i].time);
                let shopper = if self.rng.percent(50) {
                    old.get("shopper").and_then(Value::as_str).unwrap_or("u1").to_string()
                } else {
                    self.shopper(plan)
                };
                let mut line = self.line(plan, "scan", &shopper);
                line.insert("code".into(), old["code"].clone());
                let edge = *self.rng.pick(&[0, p.debounce, p.debounce / 2, -p.debounce, p.late]);
                self.send(plan, line, Some((time + edge + jitter).clamp(0, self.now.max(time + edge))));
            }
            // an earlier join, or a touch just before or at an order or a join
            12 => {
                let Some(i) = self.recent(plan, |x| is(x, "join")) else { return false };
                let (shopper, time) = (self.past[i].line["shopper"].as_str().unwrap().to_string(), self.past[i].time);
                let line = self.line(plan, "join", &shopper);
                let at = time - if self.rng.percent(50) { self.rng.range(0, self.unit) } else { 0 };
                self.send(plan, line, Some(at.clamp(0, self.now)));
            }
            _ => {
                let Some(i) = self.recent(plan, |x| is(x, "order") || is(x, "join")) else { return false };
                let (shopper, time) = (self.past[i].line["shopper"].as_str().unwrap().to_string(), self.past[i].time);
                let action = *self.rng.pick(&["scan", "follow", "visit"]);
                let mut line = self.line(plan, action, &shopper);
                line.insert("shopper".into(), json!(shopper));
                let at = time - *self.rng.pick(&[0, 1, self.unit / 10, self.unit / 2]);
                self.send(plan, line, Some(at.clamp(0, self.now)));
            }
        }
        true
    }
}
