//! The prizes of a draw, and their exact numbers or odds.

use domain::model::event::Action;
use domain::model::rules::{Batch, Campaign, Mode, Phase, Prize, PrizeKind, Rules, Unlock};

use super::html::Html;
use super::numbers::{Fraction, grouped, money};
use super::texts::{Texts, fill};
use crate::rules::local_time::{for_people, units};
use crate::rules::promises::prizes::stock;

/// Writes what can be won.
pub(super) fn prizes(html: &mut Html, texts: &Texts, rules: &Rules, campaign: &Campaign) {
    html.element("h3", texts.prizes);
    let has_count = campaign.mode != Mode::Odds;
    let mut head = vec![texts.prize, texts.kind, texts.worth];
    head.extend(has_count.then_some(texts.count));
    head.extend([texts.stock, texts.stock_day, texts.condition, texts.otherwise]);
    html.table(&head, |html| {
        for prize in &campaign.prizes {
            html.around("tr", |html| {
                html.element("td", &prize.id);
                html.element("td class=\"w\"", kind(texts, prize.kind));
                html.element("td", &worth(texts, rules, prize));
                let number = |n: Option<u64>| n.map_or_else(|| texts.unlimited.to_owned(), |n| grouped(n.into()));
                if has_count {
                    html.element("td class=\"n\"", &grouped(prize.count.unwrap_or_default().into()));
                }
                html.element("td class=\"n\"", &number(stock(campaign, prize)));
                html.element("td class=\"n\"", &number(prize.stock_day));
                html.element("td", &condition(texts, prize.unlock.as_ref()));
                html.element("td", prize.otherwise.as_deref().unwrap_or(texts.thanks));
            });
        }
    });
    html.element("p class=\"note\"", texts.prizes_note);
}

/// Writes how likely a prize is: odds by phase, or exact numbers.
pub(super) fn chances(html: &mut Html, texts: &Texts, rules: &Rules, campaign: &Campaign) {
    match campaign.mode {
        Mode::Odds => odds(html, texts, rules, campaign),
        Mode::Sealed => {
            let own = |batch: &&Batch| batch.campaign.as_ref() == Some(&campaign.id);
            let total: u128 = rules.batches.iter().filter(own).map(|batch| u128::from(batch.count)).sum();
            html.element("h3", texts.sealed);
            html.element("p", &fill(texts.sealed_note, &[("total", &grouped(total))]));
            html.table(&[texts.prize, texts.sealed_codes, texts.odds_exact, texts.percent], |html| {
                let won: u128 = campaign.prizes.iter().map(|prize| u128::from(prize.count.unwrap_or_default())).sum();
                let counts = campaign.prizes.iter().map(|prize| (&*prize.id, prize.count.unwrap_or_default().into()));
                for (name, count) in counts.chain([(texts.no_prize, total.saturating_sub(won))]) {
                    html.around("tr", |html| {
                        html.element("td", name);
                        html.element("td class=\"n\"", &grouped(count));
                        fraction(html, texts, Some(Fraction::new(count, total.max(1))));
                    });
                }
            });
        }
        Mode::Moments => {
            html.element("h3", texts.moments);
            html.element("p", texts.moments_note);
            html.table(&[texts.prize, texts.moments_count], |html| {
                for prize in &campaign.prizes {
                    html.around("tr", |html| {
                        html.element("td", &prize.id);
                        html.element("td class=\"n\"", &grouped(prize.count.unwrap_or_default().into()));
                    });
                }
            });
        }
    }
}

fn odds(html: &mut Html, texts: &Texts, rules: &Rules, campaign: &Campaign) {
    html.element("h3", texts.odds);
    if campaign.phases.is_empty() {
        return html.element("p", texts.odds_none);
    }
    html.element("p", texts.odds_note);
    let head = [texts.phase, texts.entries, texts.times, texts.prize, texts.odds_exact, texts.percent];
    html.around("table", |html| {
        html.head(&head);
        for (number, phase) in (1..).zip(&campaign.phases) {
            html.around("tbody class=\"phase\"", |html| phase_rows(html, texts, (rules, campaign), (number, phase)));
        }
    });
}

/// Writes the odds of a phase, in the order in which prizes are drawn.
fn phase_rows(html: &mut Html, texts: &Texts, (rules, campaign): (&Rules, &Campaign), (number, phase): (u128, &Phase)) {
    let prizes = campaign.prizes.iter().filter_map(|prize| Some((&*prize.id, *phase.odds.get(&prize.id)?)));
    let mut rows: Vec<(&str, Option<Fraction>)> = prizes.map(|(id, odds)| (id, Some(odds.into()))).collect();
    let rest = Fraction::rest(rows.iter().filter_map(|(_, odds)| *odds));
    if rest.is_none_or(|rest| !rest.is_zero()) {
        rows.push((texts.no_prize, rest));
    }
    for (i, (name, odds)) in rows.iter().enumerate() {
        html.around("tr", |html| {
            if i == 0 {
                html.tall_cell(rows.len(), &grouped(number));
                html.tall_cell(rows.len(), &entries(texts, phase));
                html.tall_cell(rows.len(), &times(texts, rules, phase));
            }
            html.element("td", name);
            fraction(html, texts, *odds);
        });
    }
}

fn fraction(html: &mut Html, texts: &Texts, fraction: Option<Fraction>) {
    html.element("td class=\"n\"", &fraction.map_or_else(|| texts.rest.to_owned(), Fraction::text));
    html.element("td class=\"p\"", &fraction.map_or_else(String::new, |fraction| fraction.percent(texts)));
}

fn kind(texts: &Texts, kind: PrizeKind) -> &str {
    match kind {
        PrizeKind::Cash => texts.cash,
        PrizeKind::Points => texts.points,
        PrizeKind::Coupon => texts.coupon,
        PrizeKind::Goods => texts.goods,
    }
}

fn worth(texts: &Texts, rules: &Rules, prize: &Prize) -> String {
    let cash = |sum| money(sum, &rules.currency, texts);
    let points = |sum: i64| fill(texts.points_value, &[("n", &grouped(sum.unsigned_abs().into()))]);
    let text = |sum| if prize.kind == PrizeKind::Cash { cash(sum) } else { points(sum) };
    let mut parts = Vec::new();
    if let Some(least) = prize.amount {
        parts.push(match prize.amount_max.filter(|most| *most > least) {
            Some(most) => fill(texts.range, &[("least", &text(least)), ("most", &text(most))]),
            None => text(least),
        });
    }
    parts.extend(prize.ticket.as_ref().map(|ticket| fill(texts.ticket, &[("ticket", ticket)])));
    parts.extend(prize.value.map(|value| fill(texts.value, &[("amount", &cash(value))])));
    if prize.value.is_none() && matches!(prize.kind, PrizeKind::Coupon | PrizeKind::Goods) {
        parts.push(texts.value_missing.to_owned());
    }
    parts.join("; ")
}

fn condition(texts: &Texts, unlock: Option<&Unlock>) -> String {
    let Some(unlock) = unlock else { return texts.none.to_owned() };
    let what = match unlock.action {
        Action::Join => texts.unlock_join,
        Action::Follow => texts.unlock_follow,
        _ => texts.unlock_order,
    };
    let Some(within_ms) = unlock.within_ms else { return what.to_owned() };
    let (number, unit) = units(within_ms);
    let unit = match unit {
        "d" => texts.days,
        "h" => texts.hours,
        "m" => texts.minutes,
        "s" => texts.seconds,
        _ => texts.milliseconds,
    };
    fill(texts.unlock_within, &[("what", what), ("within", &fill(unit, &[("n", &number.to_string())]))])
}

fn entries(texts: &Texts, phase: &Phase) -> String {
    let (first, last) = phase.entries;
    let text = match last {
        None if first <= 1 => texts.entries_all,
        None => texts.entries_from,
        Some(last) if last == first => texts.entries_one,
        Some(_) => texts.entries_range,
    };
    let last = grouped(last.unwrap_or_default().into());
    fill(text, &[("first", &grouped(first.into())), ("last", &last)])
}

fn times(texts: &Texts, rules: &Rules, phase: &Phase) -> String {
    let text = match (phase.from, phase.to) {
        (None, None) => texts.times_all,
        (Some(_), None) => texts.times_from,
        (None, Some(_)) => texts.times_to,
        (Some(_), Some(_)) => texts.times_both,
    };
    let at = |moment: Option<_>| moment.map_or_else(String::new, |at| for_people(at, &rules.time_zone));
    fill(text, &[("from", &at(phase.from)), ("to", &at(phase.to))])
}
