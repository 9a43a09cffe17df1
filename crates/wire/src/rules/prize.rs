//! The prizes of a campaign.

use domain::model::event::Action;
use domain::model::rules::{Prize, PrizeKind, Unlock};

use super::ids::{Arrow, Ids, check_cycles};
use super::register::named;
use super::table::Table;
use super::values::{amount, id, integer, positive_ms, word};

/// The id that is granted where there is no prize; no prize may have it.
const THANKS: &str = "thanks";
/// What may unlock an award.
const UNLOCKING: &[Action] = &[Action::Order, Action::Join, Action::Follow];

/// The limits of the cash prizes of a draw.
#[derive(Clone, Copy)]
pub(super) struct Cash {
    /// Whether a budget bounds it.
    pub(super) has_budget: bool,
    /// The largest usual amount of a prize, minor units; a larger one is a warning.
    pub(super) usual_max: Option<i64>,
}

impl Cash {
    /// Maximum prize of a draw in China, in fen; a larger one is a warning.
    const CNY_USUAL_MAX: i64 = 5_000_000;

    pub(super) fn of(currency: Option<&str>, has_budget: bool) -> Self {
        Self { has_budget, usual_max: (currency == Some("CNY")).then_some(Self::CNY_USUAL_MAX) }
    }
}

/// Reads the prizes of a campaign.
pub(super) fn prizes(campaign: &mut Table<'_>, ids: &mut Ids<String>, cash: Cash) -> Vec<Prize> {
    let notes = campaign.notes;
    let mut arrows = Vec::new();
    let tables = campaign.tables("prize", "prize");
    let prizes = tables.into_iter().filter_map(|table| prize(table, ids, &mut arrows, cash)).collect();
    for Arrow { to, at, .. } in &arrows {
        ids.check(notes, Some(to), at);
    }
    check_cycles(notes, &arrows);
    prizes
}

fn prize(mut table: Table<'_>, ids: &mut Ids<String>, arrows: &mut Vec<Arrow>, cash: Cash) -> Option<Prize> {
    let id = named(&mut table, "id", ids, |value| match id(value)?.as_str() {
        THANKS => Err("is \"thanks\", which means no prize; choose another id".to_owned()),
        id => Ok(id.to_owned()),
    });
    let kind = table.need("kind", word(PrizeKind::ALL, PrizeKind::as_str));
    let amount = table.get("amount", amount);
    let ticket = table.get("ticket", self::id);
    if let Some(kind) = kind {
        check_value(&table, kind);
    }
    let stock = table.get("stock", integer(0, i64::MAX)).and_then(|stock| u64::try_from(stock).ok());
    if kind == Some(PrizeKind::Cash) && !cash.has_budget && !table.has("stock") {
        table.notes.warning(table.at(), "is cash with neither stock nor budget: nothing bounds what it costs");
    }
    if let (Some(PrizeKind::Cash), Some(amount), Some(max)) = (kind, amount, cash.usual_max)
        && amount > max
    {
        let what = format!("is {amount}, above {max} (50,000 yuan), which prize draws in China may not pass");
        table.notes.warning(&table.place("amount"), what);
    }
    let unlock = unlock(&mut table);
    let otherwise = table.get("else", self::id).filter(|other| other != THANKS);
    if let (Some(from), Some(to)) = (id.clone(), otherwise.clone()) {
        arrows.push(Arrow { from, to, at: table.place("else") });
    }
    if table.get("count", |_| Ok(())).is_some() {
        table.mistake("count", "is of sealed draws and moments, which are not in this build; write stock");
    }
    table.refuse_unbuilt(&[
        ("amount_max", "a range of amounts is"),
        ("stock_day", "a stock of a day is"),
        ("value", "the public notice is"),
    ]);
    table.end();
    Some(Prize {
        id: id?,
        kind: kind?,
        amount,
        ticket,
        stock,
        unlock,
        otherwise,
        count: None,
        amount_max: None,
        stock_day: None,
        value: None,
    })
}

/// Cash and points have an amount, a coupon a ticket, and no other kind has these.
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
}

fn unlock(table: &mut Table<'_>) -> Option<Unlock> {
    let action = table.get("unlock", word(UNLOCKING, Action::as_str));
    let within_ms = table.get("unlock_within", positive_ms);
    if table.has("unlock_within") && !table.has("unlock") {
        table.notes.lack(&table.place("unlock_within"), "needs `unlock`; say what unlocks the prize or take it out");
    }
    action.map(|action| Unlock { action, within_ms })
}
