//! What a draw is: who runs it, when, where, and who may take part.

use std::slice::from_ref;

use domain::model::rules::{Campaign, Mode, PrizeKind, Rules};

use super::html::Html;
use super::numbers::{grouped, money};
use super::texts::{Drawing, Texts, fill};
use crate::rules::local_time::for_people;

/// Writes the draw's heading and what holds for all of its prizes.
pub(super) fn about(html: &mut Html, texts: &Texts, rules: &Rules, campaign: &Campaign) {
    html.element("h2", &fill(texts.campaign, &[("campaign", &campaign.id)]));
    html.around("dl", |html| {
        own_words(html, texts, texts.organiser, campaign.organiser.as_ref());
        own_words(html, texts, texts.contact, campaign.contact.as_ref());
        own_words(html, texts, texts.redeem, campaign.redeem.as_ref());
        let at = |moment| for_people(moment, &rules.time_zone);
        let period = [("from", &*at(campaign.from)), ("to", &*at(campaign.to))];
        html.pair(texts.period, &[fill(texts.period_value, &period)]);
        let areas = fill(texts.areas_some, &[("areas", &campaign.areas.join(", "))]);
        html.pair(texts.areas, &[if campaign.areas.is_empty() { texts.areas_all.to_owned() } else { areas }]);
        html.pair(texts.codes, &codes(texts, rules, campaign));
        html.pair(texts.limits, &limits(texts, campaign));
        let guides = if campaign.exclude_guides { texts.guides_excluded } else { texts.guides_included };
        html.pair(texts.guides, &[guides.to_owned()]);
        let budget = budget(texts, rules, campaign);
        if !budget.is_empty() {
            html.pair(texts.budget, &budget);
        }
        html.pair(texts.drawn, &[drawing(texts, campaign.mode).name.to_owned()]);
    });
}

/// The texts of a mode.
pub(super) fn drawing(texts: &Texts, mode: Mode) -> &Drawing {
    match mode {
        Mode::Odds => &texts.how_odds,
        Mode::Sealed => &texts.how_sealed,
        Mode::Moments => &texts.how_moments,
    }
}

/// Whether a campaign has one-item codes, and whether it has others.
pub(super) fn code_kinds(rules: &Rules, campaign: &Campaign) -> (bool, bool) {
    let own = |name: &Option<String>| name.as_ref() == Some(&campaign.id);
    let mut codes = rules.codes.iter().filter(|code| own(&code.campaign));
    let has_item = rules.batches.iter().any(|batch| own(&batch.campaign)) || codes.clone().any(|c| c.kind.is_item());
    (has_item, codes.any(|code| !code.kind.is_item()))
}

/// What the organiser says, or that nothing is said.
fn own_words(html: &mut Html, texts: &Texts, label: &str, words: Option<&String>) {
    match words {
        Some(words) => html.pair(label, from_ref(words)),
        None => {
            html.element("dt", label);
            html.element("dd class=\"missing\"", texts.missing_value);
        }
    }
}

fn codes(texts: &Texts, rules: &Rules, campaign: &Campaign) -> Vec<String> {
    let own = |name: &Option<String>| name.as_ref() == Some(&campaign.id);
    let batches = rules.batches.iter().filter(|batch| own(&batch.campaign));
    let mut lines: Vec<String> = batches
        .map(|batch| {
            let count = grouped(batch.count.into());
            fill(texts.codes_batch, &[("batch", &batch.number.to_string()), ("count", &count)])
        })
        .collect();
    let (items, others): (Vec<_>, Vec<_>) =
        rules.codes.iter().filter(|code| own(&code.campaign)).partition(|code| code.kind.is_item());
    for (text, count) in [(texts.codes_item, items.len()), (texts.codes_other, others.len())] {
        if count > 0 {
            lines.push(fill(text, &[("count", &grouped(count as u128))]));
        }
    }
    if code_kinds(rules, campaign).0 {
        lines.push(texts.codes_once.to_owned());
    }
    if lines.is_empty() { vec![texts.codes_none.to_owned()] } else { lines }
}

fn limits(texts: &Texts, campaign: &Campaign) -> Vec<String> {
    let limits = [
        (texts.limit_total, campaign.limit_total),
        (texts.limit_day, campaign.limit_day),
        (texts.limit_wins, campaign.limit_wins),
    ];
    let lines = limits.iter().filter_map(|(text, n)| Some(fill(text, &[("n", &grouped((*n)?.into()))])));
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { vec![texts.limits_none.to_owned()] } else { lines }
}

/// The bounds of cash; nothing where no prize is cash.
fn budget(texts: &Texts, rules: &Rules, campaign: &Campaign) -> Vec<String> {
    let bounds = [(texts.budget_total, campaign.budget), (texts.budget_day, campaign.budget_day)];
    let line = |text: &str, sum| fill(text, &[("amount", &money(sum, &rules.currency, texts))]);
    let lines: Vec<String> = bounds.iter().filter_map(|(text, sum)| Some(line(text, (*sum)?))).collect();
    if lines.is_empty() && campaign.prizes.iter().any(|prize| prize.kind == PrizeKind::Cash) {
        return vec![texts.unlimited.to_owned()];
    }
    lines
}
