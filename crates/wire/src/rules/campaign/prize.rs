//! The prizes of a campaign.

use std::collections::BTreeSet;

use domain::model::event::Action;
use domain::model::rules::{BATCH_COUNT_MAX, Mode, Prize, PrizeKind, Unlock};
use toml::de::DeValue;

use super::super::ids::{Arrow, Ids, check_cycles};
use super::super::register::named;
use super::super::table::Table;
use super::super::values::{amount, id, natural, positive_ms, word};

/// The id that is granted where there is no prize; no prize may have it.
const THANKS: &str = "thanks";
/// What may unlock an award.
const UNLOCKING: &[Action] = &[Action::Order, Action::Join, Action::Follow];
/// Maximum stock of a prize; a larger one is a mistake.
const STOCK_MAX: u64 = i64::MAX.unsigned_abs();

/// What the prizes of a campaign must know of it.
#[derive(Clone, Copy)]
pub(super) struct Draw {
    mode: Option<Mode>,
    /// Whether a budget bounds the cash.
    has_budget: bool,
    /// The largest usual worth of a prize, minor units; a larger one is a warning.
    usual_max: Option<i64>,
}

impl Draw {
    /// Maximum prize of a draw in China, in fen; a larger one is a warning.
    const CNY_USUAL_MAX: i64 = 5_000_000;

    pub(super) fn new(mode: Option<Mode>, currency: Option<&str>, has_budget: bool) -> Self {
        Self { mode, has_budget, usual_max: (currency == Some("CNY")).then_some(Self::CNY_USUAL_MAX) }
    }
}

/// The prizes of a campaign.
pub(super) struct Prizes {
    pub(super) list: Vec<Prize>,
    /// Sum of the counts.
    pub(super) count_sum: u64,
}

/// Reads the prizes of a campaign.
pub(super) fn prizes(campaign: &mut Table<'_>, ids: &mut Ids<String>, draw: Draw) -> Prizes {
    let notes = campaign.notes;
    let mut arrows = Vec::new();
    let tables = campaign.tables("prize", "prize");
    let substitutes: BTreeSet<String> =
        tables.iter().filter_map(|table| table.peek("else")).map(str::to_owned).collect();
    let mut prizes = Prizes { list: Vec::new(), count_sum: 0 };
    for mut table in tables {
        let id = named(&mut table, "id", ids, prize_id);
        // A prize without an id may be the `else` of another.
        let is_substitute = id.as_ref().is_none_or(|id| substitutes.contains(id));
        let count = count(&mut table, draw.mode, is_substitute);
        prizes.count_sum = prizes.count_sum.saturating_add(count.unwrap_or(0));
        let prize = prize(&mut table, id, count, count.filter(|_| !is_substitute), &mut arrows, draw);
        prizes.list.extend(prize);
        table.end();
    }
    for Arrow { to, at, .. } in &arrows {
        ids.check(notes, Some(to), at);
    }
    check_cycles(notes, &arrows);
    prizes
}

fn prize_id(value: &DeValue<'_>) -> Result<String, String> {
    match id(value)?.as_str() {
        THANKS => Err("is \"thanks\", which means no prize; choose another id".to_owned()),
        id => Ok(id.to_owned()),
    }
}

/// How many there are exactly: in sealed draws and moments only, and there for each prize that is not just another's `else`.
fn count(table: &mut Table<'_>, mode: Option<Mode>, is_substitute: bool) -> Option<u64> {
    if mode == Some(Mode::Odds) {
        if table.get("count", |_| Ok(())).is_some() {
            table.mistake("count", "is of sealed draws and moments; write stock");
        }
        return None;
    }
    if let Some(mode) = mode.filter(|_| !is_substitute && !table.has("count")) {
        let what = format!("is missing; a prize in the mode {mode} needs it, unless it is the `else` of another");
        table.notes.lack(&table.place("count"), what);
    }
    table.get("count", natural(0, BATCH_COUNT_MAX))
}

fn prize(
    table: &mut Table<'_>,
    id: Option<String>,
    count: Option<u64>,
    stock_default: Option<u64>,
    arrows: &mut Vec<Arrow>,
    draw: Draw,
) -> Option<Prize> {
    let kind = table.need("kind", word(PrizeKind::ALL, PrizeKind::as_str));
    let amount = table.get("amount", amount);
    let amount_max = table.get("amount_max", self::amount);
    let ticket = table.get("ticket", self::id);
    let value = table.get("value", self::amount);
    if let Some(kind) = kind {
        check_value(table, kind);
    }
    if let Some((amount, _)) = amount.zip(amount_max).filter(|(amount, max)| max < amount) {
        table.mistake("amount_max", format!("is below `amount`, which is {amount}; write that or more"));
    }
    let stock = table.get("stock", natural(0, STOCK_MAX)).or(stock_default);
    let stock_day = table.get("stock_day", natural(0, STOCK_MAX));
    if kind == Some(PrizeKind::Cash) && !draw.has_budget && !table.has("stock") && stock.is_none() {
        table.notes.warning(table.at(), "is cash with neither stock nor budget: nothing bounds what it costs");
    }
    // The default is left out: it stands in no object.
    let amount_max = amount_max.filter(|&max| amount.is_none_or(|amount| max > amount));
    if let Some(usual_max) = draw.usual_max {
        let largest = if amount_max.is_some() { ("amount_max", amount_max) } else { ("amount", amount) };
        let of_cash = Some(largest).filter(|_| kind == Some(PrizeKind::Cash));
        for (key, worth) in of_cash.into_iter().chain([("value", value)]) {
            if let Some(worth) = worth.filter(|&worth| worth > usual_max) {
                let what =
                    format!("is {worth}, above {usual_max} (50,000 yuan), which prize draws in China may not pass");
                table.notes.warning(&table.place(key), what);
            }
        }
    }
    let unlock = unlock(table);
    let otherwise = table.get("else", self::id).filter(|other| other != THANKS);
    if let (Some(from), Some(to)) = (id.clone(), otherwise.clone()) {
        arrows.push(Arrow { from, to, at: table.place("else") });
    }
    Some(Prize { id: id?, kind: kind?, amount, ticket, stock, unlock, otherwise, count, amount_max, stock_day, value })
}

/// Cash and points have an amount and may have a largest one, a coupon has a ticket, and no other kind has these.
fn check_value(table: &Table<'_>, kind: PrizeKind) {
    let has_amount = matches!(kind, PrizeKind::Cash | PrizeKind::Points);
    for (key, wanted) in [("amount", has_amount), ("ticket", kind == PrizeKind::Coupon)] {
        match (wanted, table.has(key)) {
            (true, false) => {
                table.notes.lack(&table.place(key), format!("is missing; a prize of the kind {kind} needs it"));
            }
            (false, true) => table.mistake(key, format!("means nothing for a prize of the kind {kind}; take it out")),
            _ => {}
        }
    }
    if !has_amount && table.has("amount_max") {
        table.mistake("amount_max", format!("means nothing for a prize of the kind {kind}; take it out"));
    }
}

fn unlock(table: &mut Table<'_>) -> Option<Unlock> {
    let action = table.get("unlock", word(UNLOCKING, Action::as_str));
    let within_ms = table.get("unlock_within", positive_ms);
    if table.has("unlock_within") && !table.has("unlock") {
        table.notes.lack(&table.place("unlock_within"), "needs `unlock`; say what unlocks the prize or take it out");
    }
    action.map(|action| Unlock { action, within_ms })
}
