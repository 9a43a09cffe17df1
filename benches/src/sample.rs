//! Four days of a tea shop as events, for the tour. A seed generates them, so that they can be generated again.

use serde_json::{Value, json};

/// 2026-11-09T09:00:00+08:00.
const OPENING: i64 = 1_794_186_000_000;
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    fn minutes(&mut self, most: u64) -> i64 {
        self.below(most * 60_000).cast_signed()
    }
}

/// The events of a number of shoppers as NDJSON, ordered by time.
pub(crate) fn events(seed: u64, shoppers: u64) -> String {
    let mut dice = Dice(seed);
    let mut events: Vec<(i64, Value)> = Vec::new();
    for n in 0..shoppers {
        visit(&mut dice, n, &mut events);
    }
    // Some senders send an event again.
    for _ in 0..shoppers / 15 {
        let again = events[usize::try_from(dice.below(events.len() as u64)).unwrap_or(0)].clone();
        events.push((again.0 + 1, again.1));
    }
    events.sort_by_key(|(sent, _)| *sent);
    events.into_iter().map(|(_, event)| format!("{event}\n")).collect()
}

/// The events of one shopper: from a poster or a parcel to the shop, a guide, a purchase, and sometimes a refund.
fn visit(dice: &mut Dice, n: u64, events: &mut Vec<(i64, Value)>) {
    let shopper = format!("u{n:03}");
    let mut time = OPENING + DAY * dice.below(4).cast_signed() + dice.minutes(600);
    let store = 1 + dice.below(3);
    let mut id = 0;
    let mut send = |time: i64, mut event: Value| {
        id += 1;
        event["id"] = format!("{shopper}-{id}").into();
        event["shopper"] = shopper.clone().into();
        event["time"] = time.into();
        events.push((time, event));
    };
    match dice.below(4) {
        0 => send(time, json!({"action": "scan", "code": "POSTER-METRO"})),
        1 => send(time, json!({"action": "scan", "code": "https://tea.example/01/06901234567892", "region": "310000"})),
        2 => send(time, json!({"action": "visit", "channel": "livestream"})),
        _ => send(time, json!({"action": "scan", "code": "PARCEL"})),
    }
    time += dice.minutes(90);
    if dice.below(3) > 0 {
        send(time, json!({"action": "scan", "code": format!("SHOP-{store}")}));
        time += dice.minutes(20);
    }
    if dice.below(2) == 0 {
        let guide = format!("GUIDE-{store}{}", if dice.below(2) == 0 { "a" } else { "b" });
        send(time, json!({"action": "scan", "code": guide}));
        time += dice.minutes(10);
        if dice.below(2) == 0 {
            send(time, json!({"action": "join", "store": format!("s-{store}")}));
        }
    }
    if dice.below(3) == 0 {
        send(time, json!({"action": "claim", "ticket": "tea-20"}));
    }
    for _ in 0..dice.below(3) {
        time += dice.minutes(15);
        send(
            time,
            json!({"action": "scan", "code": format!("TIN-{:02}", 1 + dice.below(30)), "store": format!("s-{store}")}),
        );
    }
    if dice.below(5) > 1 {
        time += dice.minutes(60);
        let amount = 1_990 + 100 * dice.below(300).cast_signed();
        let order = format!("o-{n:03}");
        send(time, json!({"action": "order", "order": order, "amount": amount, "store": format!("s-{store}")}));
        if dice.below(6) == 0 {
            time += dice.minutes(1_000);
            send(
                time,
                json!({"action": "refund", "order": order, "amount": amount / 2, "store": format!("s-{store}")}),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_the_tour_are_those_of_seed_1() {
        let tour = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tour/events.ndjson");
        let kept = std::fs::read_to_string(tour).expect("the tour's events");
        assert!(
            kept == events(1, 90),
            "generate them again: cargo run -p mashang-bench -- sample --out docs/tour/events.ndjson"
        );
    }
}
