//! Cases with tight bounds: nearly every entry draws, stock is 1, a budget is one unit short of the next amount.

use toml::{Table, Value};

use crate::generate::rng::Rng;
use crate::generate::{Case, generate};

/// Added to a seed for the bounds, so that the other choices of the seed stay the same.
const BOUNDS: u64 = 0x7169_4743;
/// Bounds that end a shopper's entries before those of the prizes.
const OTHER_BOUNDS: [&str; 3] = ["areas", "limit_total", "limit_day"];
/// Percentage of the events other than scans that remain; they unlock awards.
const OTHER_EVENTS_PERCENT: u64 = 20;

/// The case of a seed with tight bounds.
///
/// # Panics
/// If the generator makes invalid rules.
#[must_use]
pub fn tight_case(seed: u64, events: usize) -> Case {
    let mut rng = Rng::new(seed ^ BOUNDS);
    let mut case = generate(seed, 4 * events);
    for (_, text) in case.files.iter_mut().filter(|(name, _)| case.rules_files.contains(name)) {
        let mut rules: Table = text.parse().expect("the generator makes valid rules");
        let campaigns = rules["campaign"].as_array_mut().expect("an array of tables");
        campaigns.iter_mut().for_each(|campaign| tighten(&mut rng, campaign.as_table_mut().expect("a table")));
        *text = rules.to_string();
    }
    let mut at = 0;
    case.lines.retain(|line| {
        at += 1;
        // The first line has a time, which the others may leave out.
        at == 1 || line.contains(r#""action":"scan""#) || rng.percent(OTHER_EVENTS_PERCENT)
    });
    case.lines.truncate(events);
    case
}

fn tighten(rng: &mut Rng, campaign: &mut Table) {
    OTHER_BOUNDS.iter().for_each(|key| drop(campaign.remove(*key)));
    let mut amounts = Vec::new();
    let mut ids = Vec::new();
    for prize in tables(campaign, "prize") {
        bound(rng, prize, ["stock", "stock_day"], 1);
        if rng.percent(60) {
            prize.remove("amount_max");
        }
        let amount = prize.get("amount").and_then(Value::as_integer);
        amounts.extend(amount.filter(|&amount| amount > 0 && prize["kind"].as_str() == Some("cash")));
        ids.push(prize["id"].as_str().expect("an id").to_owned());
    }
    let short = if amounts.is_empty() { 1 } else { *rng.pick(&amounts) * rng.range(1, 4) - 1 };
    bound(rng, campaign, ["budget", "budget_day"], short.max(1));
    for phase in tables(campaign, "phase") {
        let odds: Table = if rng.percent(50) {
            // All of them, and nothing else.
            ids.iter().map(|id| (id.clone(), format!("1/{}", ids.len()).into())).collect()
        } else {
            [(rng.pick(&ids).clone(), "999/1000".into())].into_iter().collect()
        };
        phase.insert("odds".to_owned(), odds.into());
    }
}

/// Sets one of two bounds, or both, or removes them.
fn bound(rng: &mut Rng, table: &mut Table, keys: [&str; 2], value: i64) {
    let which = rng.below(4);
    for (at, key) in keys.into_iter().enumerate() {
        table.remove(key);
        if which == at || which == 2 {
            table.insert(key.to_owned(), value.into());
        }
    }
}

fn tables<'a>(of: &'a mut Table, key: &str) -> impl Iterator<Item = &'a mut Table> {
    of.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_table_mut)
}
