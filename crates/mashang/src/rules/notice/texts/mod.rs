//! The texts of a notice: what there is to translate. Each language has a file with all of them.
//!
//! A name in braces stands for a value that [`fill`] puts there.

pub(super) mod en;
pub(super) mod zh;

/// A way to check something: what it shows, and the command.
pub(super) struct Step {
    pub(super) text: &'static str,
    /// A command as it is typed; `{campaign}` is the campaign's id.
    pub(super) command: &'static str,
}

/// How a mode draws, in words and as arithmetic.
pub(super) struct Drawing {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) formula: &'static str,
}

/// All texts of a notice in one language.
pub(super) struct Texts {
    pub(super) title: &'static str,
    pub(super) merchant: &'static str,
    pub(super) currency: &'static str,
    pub(super) time_zone: &'static str,
    pub(super) version: &'static str,

    // What is missing.
    pub(super) missing: &'static str,
    pub(super) missing_item: &'static str,
    pub(super) missing_value: &'static str,

    // A campaign.
    pub(super) campaign: &'static str,
    pub(super) organiser: &'static str,
    pub(super) contact: &'static str,
    pub(super) redeem: &'static str,
    pub(super) period: &'static str,
    pub(super) period_value: &'static str,
    pub(super) areas: &'static str,
    pub(super) areas_all: &'static str,
    pub(super) areas_some: &'static str,
    pub(super) codes: &'static str,
    pub(super) codes_batch: &'static str,
    pub(super) codes_item: &'static str,
    pub(super) codes_once: &'static str,
    pub(super) codes_other: &'static str,
    pub(super) codes_none: &'static str,
    pub(super) limits: &'static str,
    pub(super) limit_total: &'static str,
    pub(super) limit_day: &'static str,
    pub(super) limit_wins: &'static str,
    pub(super) limits_none: &'static str,
    pub(super) guides: &'static str,
    pub(super) guides_excluded: &'static str,
    pub(super) guides_included: &'static str,
    pub(super) budget: &'static str,
    pub(super) budget_total: &'static str,
    pub(super) budget_day: &'static str,
    pub(super) drawn: &'static str,

    // Prizes.
    pub(super) prizes: &'static str,
    pub(super) prize: &'static str,
    pub(super) kind: &'static str,
    pub(super) worth: &'static str,
    pub(super) count: &'static str,
    pub(super) stock: &'static str,
    pub(super) stock_day: &'static str,
    pub(super) condition: &'static str,
    pub(super) otherwise: &'static str,
    pub(super) cash: &'static str,
    pub(super) points: &'static str,
    pub(super) coupon: &'static str,
    pub(super) goods: &'static str,
    /// An amount of the yuan, and one of another currency.
    pub(super) money_cny: &'static str,
    pub(super) money: &'static str,
    pub(super) points_value: &'static str,
    pub(super) range: &'static str,
    pub(super) ticket: &'static str,
    pub(super) value: &'static str,
    pub(super) value_missing: &'static str,
    pub(super) unlimited: &'static str,
    pub(super) none: &'static str,
    pub(super) unlock_order: &'static str,
    pub(super) unlock_join: &'static str,
    pub(super) unlock_follow: &'static str,
    pub(super) unlock_within: &'static str,
    pub(super) thanks: &'static str,
    pub(super) prizes_note: &'static str,

    // Numbers and odds.
    pub(super) odds: &'static str,
    pub(super) odds_note: &'static str,
    pub(super) odds_none: &'static str,
    pub(super) phase: &'static str,
    pub(super) entries: &'static str,
    pub(super) entries_all: &'static str,
    pub(super) entries_one: &'static str,
    pub(super) entries_from: &'static str,
    pub(super) entries_range: &'static str,
    pub(super) times: &'static str,
    pub(super) times_all: &'static str,
    pub(super) times_from: &'static str,
    pub(super) times_to: &'static str,
    pub(super) times_both: &'static str,
    pub(super) odds_exact: &'static str,
    pub(super) percent: &'static str,
    pub(super) about: &'static str,
    pub(super) no_prize: &'static str,
    pub(super) rest: &'static str,
    pub(super) sealed: &'static str,
    pub(super) sealed_note: &'static str,
    pub(super) sealed_codes: &'static str,
    pub(super) moments: &'static str,
    pub(super) moments_note: &'static str,
    pub(super) moments_count: &'static str,

    // Durations.
    pub(super) days: &'static str,
    pub(super) hours: &'static str,
    pub(super) minutes: &'static str,
    pub(super) seconds: &'static str,
    pub(super) milliseconds: &'static str,

    // How it is drawn, and how that is checked.
    pub(super) how: &'static str,
    pub(super) how_odds: Drawing,
    pub(super) how_sealed: Drawing,
    pub(super) how_moments: Drawing,
    pub(super) how_amount: &'static str,
    pub(super) formula_amount: &'static str,
    pub(super) verify: &'static str,
    pub(super) verify_note: &'static str,
    pub(super) verify_rules: Step,
    pub(super) verify_secret: Step,
    pub(super) verify_awards: Step,
    pub(super) verify_moments: Step,
    pub(super) verify_item: Step,
    pub(super) verify_entry: Step,
    pub(super) promise: &'static str,
    pub(super) promise_text: &'static str,
    pub(super) commits: &'static str,
    pub(super) commit_sha256: &'static str,
    pub(super) commit_campaign: &'static str,
    pub(super) commit_batch: &'static str,
}

/// Puts values where their names stand in braces.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, after) = after.split_once('}').expect("a brace in a text is closed");
        let value = values.iter().find(|(known, _)| *known == name);
        filled.push_str(value.unwrap_or_else(|| panic!("no value for {name} in {text:?}")).1);
        rest = after;
    }
    filled.push_str(rest);
    filled
}
