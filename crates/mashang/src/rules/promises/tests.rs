//! Pairs of rules: what may follow, and what breaks a promise.

use std::collections::BTreeMap;

use domain::model::event::Action;
use domain::model::rules::{Activate, BATCH_COUNT_MAX, Campaign, Mode, PrizeKind, RangeState, Rules, Unlock};
use domain::model::time::{DAY_MS, Millis};
use expect_test::{Expect, expect};
use wire::rules::{Checked, Reference, read};

use super::breach::NewFile;
use super::breaches;
use crate::rules::sample::{ON, at, prize, range, ratio, rules};

const SEALED: usize = 0;
const ODDS: usize = 1;
const MOMENTS: usize = 2;

/// Keys that stand in the new file: line 10 × the campaign's number for what is within it.
fn place(key: &str) -> Option<(String, usize)> {
    if let Some(row) = key.strip_prefix("ranges.csv:") {
        return Some(("ranges.csv".to_owned(), row.strip_suffix(".state")?.parse().ok()?));
    }
    let number = key.strip_prefix("campaign[")?.split(']').next()?.parse::<usize>().ok()?;
    Some(("acme.toml".to_owned(), 10 * (number + 1)))
}

fn compare(old: &Rules, new: &Rules, now: Millis) -> Vec<String> {
    let found = breaches(old, new, now, NewFile { name: "acme.toml", place: &place, range_key: &range_key });
    found.iter().map(ToString::to_string).collect()
}

/// The second range, and those after it, are rows of a register.
fn range_key(index: usize) -> Option<String> {
    Some(if index == 0 { "range[3]".to_owned() } else { format!("ranges.csv:{}", index + 5) })
}

/// The breaches of a change, while the draws are on; and none of them in the other direction, nor before and after the draw.
fn check(change: impl Fn(&mut Rules), expect: &Expect) {
    let old = rules();
    let mut new = old.clone();
    change(&mut new);
    expect.assert_eq(&compare(&old, &new, at(ON)).join("\n"));
    assert_eq!(compare(&new, &old, at(ON)), [] as [&str; 0], "the better is allowed");
    assert_eq!(compare(&old, &new, at("2026-10-31T23:59:59+08:00")), [] as [&str; 0], "it has not begun");
    assert_eq!(compare(&old, &new, at("2027-01-01T00:00:00+08:00")), [] as [&str; 0], "it is over");
}

/// As [`check`], for a change that is a breach in both directions.
fn check_both(change: impl Fn(&mut Rules), there: &Expect, back: &Expect) {
    let old = rules();
    let mut new = old.clone();
    change(&mut new);
    there.assert_eq(&compare(&old, &new, at(ON)).join("\n"));
    back.assert_eq(&compare(&new, &old, at(ON)).join("\n"));
}

#[test]
fn bounds_of_a_campaign_do_not_sink() {
    let wheel = |change: fn(&mut Campaign)| move |rules: &mut Rules| change(&mut rules.campaigns[ODDS]);
    check(
        wheel(|c| c.budget = Some(4_999_999)),
        &expect!["acme.toml:20: campaign[1].budget: was 5000000, is 4999999: keep it, or publish with --because TEXT"],
    );
    check(
        wheel(|c| c.budget_day = Some(1)),
        &expect!["acme.toml:20: campaign[1].budget_day: was 200000, is 1: keep it, or publish with --because TEXT"],
    );
    check(
        wheel(|c| c.limit_total = Some(1_000)),
        &expect!["acme.toml:20: campaign[1].limit_total: was none, is 1000: keep it, or publish with --because TEXT"],
    );
    let bottle = |change: fn(&mut Campaign)| move |rules: &mut Rules| change(&mut rules.campaigns[SEALED]);
    check(
        bottle(|c| c.limit_total = Some(19)),
        &expect!["acme.toml:10: campaign[0].limit_total: was 20, is 19: keep it, or publish with --because TEXT"],
    );
    check(
        bottle(|c| c.limit_day = Some(4)),
        &expect!["acme.toml:10: campaign[0].limit_day: was 5, is 4: keep it, or publish with --because TEXT"],
    );
    check(
        bottle(|c| c.limit_wins = Some(2)),
        &expect!["acme.toml:10: campaign[0].limit_wins: was 3, is 2: keep it, or publish with --because TEXT"],
    );
}

#[test]
fn times_and_areas_do_not_shrink() {
    check(
        |rules| rules.campaigns[ODDS].to -= 1,
        &expect![
            "acme.toml:20: campaign[1].to: was 2027-01-01T00:00:00+08:00, is 2026-12-31T23:59:59.999+08:00: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.campaigns[ODDS].from += 1_000,
        &expect![
            "acme.toml:20: campaign[1].from: was 2026-11-01T00:00:00+08:00, is 2026-11-01T00:00:01+08:00: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.campaigns[ODDS].areas = vec!["33".to_owned()],
        &expect!["acme.toml:20: campaign[1].areas: was everywhere, is 1 area: keep it, or publish with --because TEXT"],
    );
    check(
        |rules| rules.campaigns[SEALED].areas.truncate(1),
        &expect![[
            r#"acme.toml:10: campaign[0].areas: was with "31", is without: keep it, or publish with --because TEXT"#
        ]],
    );
    check(
        |rules| rules.campaigns[SEALED].areas = vec!["330".to_owned(), "310".to_owned()],
        &expect![[
            r#"acme.toml:10: campaign[0].areas: was with "33" and 1 more, is without: keep it, or publish with --because TEXT"#
        ]],
    );
    // The wider prefix covers both, in any order.
    let (old, mut new) = (rules(), rules());
    new.campaigns[SEALED].areas = vec!["4".to_owned(), "3".to_owned()];
    assert_eq!(compare(&old, &new, at(ON)), [] as [&str; 0]);
}

#[test]
fn guides_are_not_excluded_later() {
    check(
        |rules| rules.campaigns[ODDS].exclude_guides = true,
        &expect![
            "acme.toml:20: campaign[1].exclude_guides: was false, is true: write exclude_guides = false, or publish with --because TEXT"
        ],
    );
}

#[test]
fn nothing_else_decides_another_draw() {
    check_both(
        |rules| rules.campaigns[ODDS].commit = "ab".repeat(32),
        &expect![
            "acme.toml:20: campaign[1].commit: was 56e5e70525104970dd33cba2e815dd823caa904b202e6ca96f8a0495242c66e7, is abababababababababababababababababababababababababababababababab: keep it, or publish with --because TEXT"
        ],
        &expect![
            "acme.toml:20: campaign[1].commit: was abababababababababababababababababababababababababababababababab, is 56e5e70525104970dd33cba2e815dd823caa904b202e6ca96f8a0495242c66e7: keep it, or publish with --because TEXT"
        ],
    );
    check_both(
        |rules| rules.campaigns[ODDS].secret = "env:WHEEL".to_owned(),
        &expect![
            "acme.toml:20: campaign[1].secret: was file:lucky-wheel.key, is env:WHEEL: keep it, or publish with --because TEXT"
        ],
        &expect![
            "acme.toml:20: campaign[1].secret: was env:WHEEL, is file:lucky-wheel.key: keep it, or publish with --because TEXT"
        ],
    );
    check_both(
        |rules| {
            rules.campaigns[ODDS].mode = Mode::Moments;
            rules.campaigns[ODDS].phases.clear();
        },
        &expect!["acme.toml:20: campaign[1].mode: was odds, is moments: keep it, or publish with --because TEXT"],
        &expect!["acme.toml:20: campaign[1].mode: was moments, is odds: keep it, or publish with --because TEXT"],
    );
}

#[test]
fn prizes_and_campaigns_stay() {
    check(
        |rules| drop(rules.campaigns.remove(ODDS)),
        &expect![
            "acme.toml:1: campaign: was lucky-wheel (on until 2027-01-01T00:00:00+08:00), is removed: keep it, or publish with --because TEXT"
        ],
    );
    // The odds of the prize that is gone are no second breach.
    check(
        |rules| {
            rules.campaigns[ODDS].prizes.remove(1);
            rules.campaigns[ODDS].phases.iter_mut().for_each(|phase| phase.odds.retain(|id, _| id != "red-20"));
        },
        &expect!["acme.toml:20: campaign[1].prize: was red-20, is removed: keep it, or publish with --because TEXT"],
    );
}

#[test]
fn what_a_prize_gives_does_not_sink() {
    check(
        |rules| rules.campaigns[ODDS].prizes[0].amount = Some(99),
        &expect!["acme.toml:20: campaign[1].prize[0].amount: was 100, is 99: keep it, or publish with --because TEXT"],
    );
    check(
        |rules| rules.campaigns[ODDS].prizes[0].amount_max = Some(187),
        &expect![
            "acme.toml:20: campaign[1].prize[0].amount_max: was 188, is 187: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.campaigns[ODDS].prizes[0].amount_max = None,
        &expect![
            "acme.toml:20: campaign[1].prize[0].amount_max: was 188, is 100: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.campaigns[ODDS].prizes[1].stock = Some(99),
        &expect!["acme.toml:20: campaign[1].prize[1].stock: was 100, is 99: keep it, or publish with --because TEXT"],
    );
    check(
        |rules| rules.campaigns[ODDS].prizes[0].stock = Some(1_000_000),
        &expect![
            "acme.toml:20: campaign[1].prize[0].stock: was none, is 1000000: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.campaigns[ODDS].prizes[1].stock_day = Some(9),
        &expect!["acme.toml:20: campaign[1].prize[1].stock_day: was 10, is 9: keep it, or publish with --because TEXT"],
    );
    // The default stock of a sealed draw sinks with the count.
    check(
        |rules| rules.campaigns[SEALED].prizes[0].count = Some(49_999),
        &expect![[r#"
        acme.toml:10: campaign[0].prize[0].count: was 50000, is 49999: keep it, or publish with --because TEXT
        acme.toml:10: campaign[0].prize[0].stock: was 50000, is 49999: keep it, or publish with --because TEXT"#]],
    );
    // A higher least amount without a range is no lower largest one.
    let (old, mut new) = (rules(), rules());
    (new.campaigns[ODDS].prizes[0].amount, new.campaigns[ODDS].prizes[0].amount_max) = (Some(188), None);
    assert_eq!(compare(&old, &new, at(ON)), [] as [&str; 0]);
}

#[test]
fn prizes_are_not_locked_later() {
    let unlock = |action, days: Option<i64>| Some(Unlock { action, within_ms: days.map(|days| days * DAY_MS) });
    check(
        |rules| rules.campaigns[ODDS].prizes[1].unlock = unlock(Action::Join, None),
        &expect![
            "acme.toml:20: campaign[1].prize[1].unlock: was none, is join: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.campaigns[ODDS].prizes[0].unlock = unlock(Action::Order, Some(6)),
        &expect![
            "acme.toml:20: campaign[1].prize[0].unlock_within: was 7d, is 6d: keep it, or publish with --because TEXT"
        ],
    );
    check_both(
        |rules| rules.campaigns[ODDS].prizes[0].unlock = unlock(Action::Follow, None),
        &expect![
            "acme.toml:20: campaign[1].prize[0].unlock: was order, is follow: keep it, or publish with --because TEXT"
        ],
        &expect![
            "acme.toml:20: campaign[1].prize[0].unlock: was follow, is order: keep it, or publish with --because TEXT"
        ],
    );
    let (mut old, new) = (rules(), rules());
    old.campaigns[ODDS].prizes[0].unlock = unlock(Action::Order, None);
    expect![
        "acme.toml:20: campaign[1].prize[0].unlock_within: was none, is 7d: keep it, or publish with --because TEXT"
    ]
    .assert_eq(&compare(&old, &new, at(ON)).join("\n"));
}

#[test]
fn odds_are_compared_exactly_and_by_phase() {
    let odds = |phase: usize, prize: &'static str, odds: &'static str| {
        move |rules: &mut Rules| {
            rules.campaigns[ODDS].phases[phase].odds.insert(prize.to_owned(), ratio(odds));
        }
    };
    check(
        odds(2, "red-1", "9999999999999999/100000000000000000"),
        &expect![
            "acme.toml:20: campaign[1].phase[2].odds.red-1: was 1/10, is 9999999999999999/100000000000000000: keep it, or publish with --because TEXT"
        ],
    );
    check(
        odds(1, "red-1", "249999999999999999/999999999999999999"),
        &expect![
            "acme.toml:20: campaign[1].phase[1].odds.red-1: was 1/4, is 83333333333333333/333333333333333333: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.campaigns[ODDS].phases[1].odds.retain(|id, _| id != "red-20"),
        &expect![
            "acme.toml:20: campaign[1].phase[1].odds.red-20: was 1/100, is none: keep it, or publish with --because TEXT"
        ],
    );
    check_both(
        |rules| {
            rules.campaigns[ODDS].phases[1].odds =
                BTreeMap::from([("red-20".to_owned(), ratio("1/50")), ("red-1".to_owned(), ratio("1/5"))]);
        },
        &expect![
            "acme.toml:20: campaign[1].phase[1].odds.red-1: was 1/4, is 1/5: keep it, or publish with --because TEXT"
        ],
        &expect![
            "acme.toml:20: campaign[1].phase[1].odds.red-20: was 1/50, is 1/100: keep it, or publish with --because TEXT"
        ],
    );
}

#[test]
fn phases_are_not_removed_or_narrowed() {
    check(
        |rules| drop(rules.campaigns[ODDS].phases.pop()),
        &expect!["acme.toml:20: campaign[1].phase[2]: was there, is removed: keep it, or publish with --because TEXT"],
    );
    check(
        |rules| rules.campaigns[ODDS].phases[2].entries = (2, None),
        &expect![
            "acme.toml:20: campaign[1].phase[2].entries: was 1.., is 2..: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.campaigns[ODDS].phases[2].entries = (1, Some(9)),
        &expect![
            "acme.toml:20: campaign[1].phase[2].entries: was 1.., is 1..9: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.campaigns[ODDS].phases[1].to = Some(at("2026-11-11T23:00:00+08:00")),
        &expect![
            "acme.toml:20: campaign[1].phase[1].to: was 2026-11-12T00:00:00+08:00, is 2026-11-11T23:00:00+08:00: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.campaigns[ODDS].phases[0].from = Some(at("2026-11-02T00:00:00+08:00")),
        &expect![
            "acme.toml:20: campaign[1].phase[0].from: was none, is 2026-11-02T00:00:00+08:00: keep it, or publish with --because TEXT"
        ],
    );
    // What a phase has outside of its campaign was never promised.
    let (old, mut new) = (rules(), rules());
    let wheel = &mut new.campaigns[ODDS];
    (wheel.phases[0].from, wheel.phases[0].to) = (Some(wheel.from), Some(wheel.to));
    wheel.to += DAY_MS;
    assert_eq!(compare(&old, &new, at(ON)), [] as [&str; 0]);
}

#[test]
fn active_codes_stay_active() {
    let states =
        |ranges: &[(u64, u64, RangeState)]| ranges.iter().map(|&(from, to, state)| range(from, to, state)).collect();
    use RangeState::{Active, Frozen, Void};
    // Frozen codes may become void, and active ones may be cut differently.
    let (old, mut new) = (rules(), rules());
    new.ranges =
        states(&[(0, 1_000, Active), (1_000, 400_000, Active), (400_000, 400_500, Void), (400_500, 400_501, Frozen)]);
    assert_eq!(compare(&old, &new, at(ON)), [] as [&str; 0]);
    check(
        move |rules| rules.ranges = states(&[(0, 399_999, Active), (399_999, 400_500, Frozen)]),
        &expect![
            "ranges.csv:6: state: was active, is frozen: 1 code of batch 7, the first is 7:399999: keep it, or publish with --because TEXT"
        ],
    );
    check(
        move |rules| rules.ranges = states(&[(0, 10, Void), (20, 30, Active), (30, 50, Void)]),
        &expect![[r#"
        acme.toml:1: range[3].state: was active, is void: 10 codes of batch 7, the first is 7:0: keep it, or publish with --because TEXT
        ranges.csv:7: state: was active, is void: 20 codes of batch 7, the first is 7:30: keep it, or publish with --because TEXT
        acme.toml:1: batch[0]: was active, is in no range: 399960 codes of batch 7, the first is 7:10: keep it, or publish with --because TEXT"#]],
    );
    check(
        |rules| drop(rules.ranges.remove(0)),
        &expect![
            "acme.toml:1: batch[0]: was active, is in no range: 400000 codes of batch 7, the first is 7:0: keep it, or publish with --because TEXT"
        ],
    );
}

#[test]
fn batches_stay_whole() {
    check(
        |rules| rules.batches.clear(),
        &expect![
            "acme.toml:1: batch: was 7, is removed, and its codes are forged: keep it, or publish with --because TEXT"
        ],
    );
    check(
        |rules| rules.batches[0].count = 999_999,
        &expect!["acme.toml:1: batch[0].count: was 1000000, is 999999: keep it, or publish with --because TEXT"],
    );
    let (mut old, mut new) = (rules(), rules());
    old.batches[0].activate = Activate::All;
    expect!["acme.toml:1: batch[0].activate: was all, is ranges: keep it, or publish with --because TEXT"]
        .assert_eq(&compare(&old, &new, at(ON)).join("\n"));
    assert_eq!(compare(&new, &old, at(ON)), [] as [&str; 0]);
    // A batch of another campaign, or of none, was not promised.
    old.batches[0].campaign = None;
    new.ranges[0].state = RangeState::Void;
    assert_eq!(compare(&old, &new, at(ON)), [] as [&str; 0]);
}

/// A batch of 2³² codes is compared as quickly as a small one, and its messages have a bound.
#[test]
fn large_batches_are_compared_by_intervals() {
    let (mut old, mut new) = (rules(), rules());
    for rules in [&mut old, &mut new] {
        (rules.batches[0].count, rules.batches[0].activate) = (BATCH_COUNT_MAX, Activate::All);
        rules.ranges.clear();
    }
    new.ranges = (0..100_000).map(|i| range(40_000 * i, 40_000 * i + 20_000, RangeState::Void)).collect();
    let found = compare(&old, &new, at(ON));
    assert_eq!(found.len(), 21);
    expect!["acme.toml:1: range: was active, is not in 99980 more ranges: 1999600000 codes: keep it, or publish with --because TEXT"].assert_eq(&found[20]);
    old.ranges.clone_from(&new.ranges);
    assert_eq!(compare(&old, &new, at(ON)), [] as [&str; 0]);
    let mut small = rules();
    small.batches[0].activate = Activate::All;
    expect!["acme.toml:1: batch[0].count: was 4294967296, is 1000000: keep it, or publish with --because TEXT"]
        .assert_eq(&compare(&new, &small, at(ON)).join("\n"));
}

#[test]
fn what_is_not_promised_may_change() {
    let (old, mut new) = (rules(), rules());
    for campaign in &mut new.campaigns {
        (campaign.organiser, campaign.contact, campaign.landing) =
            (None, Some("x".to_owned()), Some("https://x".to_owned()));
        campaign.prizes.iter_mut().for_each(|prize| (prize.otherwise, prize.value) = (None, Some(1)));
        campaign.prizes.push(prize("cap", PrizeKind::Goods));
    }
    new.campaigns.reverse();
    // Without an `else` the points have their own stock, as before.
    assert_eq!(compare(&old, &new, at(ON)), [] as [&str; 0]);
    // A draw that is over may go, and one that has not begun may be anything.
    let mut new = rules();
    new.campaigns.remove(MOMENTS);
    assert_eq!(compare(&old, &new, at(ON)), [] as [&str; 0]);
    assert_eq!(compare(&old, &new, at("2026-11-11T20:00:00+08:00")).len(), 1);
    assert_eq!(compare(&old, &new, at("2026-11-11T19:59:59.999+08:00")).len(), 0);
}

/// Rules as they are read from files, with a register of ranges.
fn read_rules(toml: &str, ranges: &str) -> Checked {
    let mut open = |reference: Reference<'_>| match reference {
        Reference::Register(_) => Ok(ranges.as_bytes().to_vec()),
        Reference::Secret(_) => Ok("00".repeat(32).into_bytes()),
    };
    read("acme.toml", toml, &mut open).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

#[test]
fn breaches_have_lines_and_keys_of_the_file() {
    let toml = r#"merchant = "acme"
currency = "CNY"
time_zone = "Asia/Shanghai"
[registers]
ranges = "ranges.csv"
[[range]]
batch = 7
from = 900
to = 1000
[[batch]]
number = 7
kind = "interactive"
campaign = "wheel"
count = 1000
url = "https://m.example/c/"
secret = "file:key"
commit = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
[[campaign]]
id = "wheel"
mode = "odds"
from = 2026-11-01T00:00:00+08:00
to = 2027-01-01T00:00:00+08:00
exclude_guides = false
secret = "file:key"
commit = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
[[campaign.prize]]
id = "red"
kind = "cash"
amount = 100
stock = 10
[[campaign.phase]]
odds = { red = "1/2" }
"#;
    let old = read_rules(toml, "batch,from,to,state\n7,0,10,frozen\n");
    let new = toml
        .replace("to = 1000", "to = 1000\nstate = \"void\"")
        .replace("exclude_guides = false\n", "")
        .replace("stock = 10", "stock = 9")
        .replace("red = \"1/2\"", "red = \"1/3\"")
        .replace("count = 1000", "activate = \"ranges\"\ncount = 1000");
    let new = read_rules(&new, "batch,from,to,state\n7,0,10,frozen\n\n7,20,30,void\n");
    let file = NewFile { name: "acme.toml", place: &|key| new.place(key), range_key: &|i| new.range_key(i) };
    let found = breaches(&old.rules, &new.rules, at(ON), file);
    expect![[r#"
        acme.toml:20: campaign[0].exclude_guides: was false, is true: write exclude_guides = false, or publish with --because TEXT
        acme.toml:31: campaign[0].prize[0].stock: was 10, is 9: keep it, or publish with --because TEXT
        acme.toml:33: campaign[0].phase[0].odds.red: was 1/2, is 1/3: keep it, or publish with --because TEXT
        acme.toml:15: batch[0].activate: was all, is ranges: keep it, or publish with --because TEXT
        ranges.csv:4: state: was active, is void: 10 codes of batch 7, the first is 7:20: keep it, or publish with --because TEXT
        acme.toml:10: range[0].state: was active, is void: 100 codes of batch 7, the first is 7:900: keep it, or publish with --because TEXT"#]].assert_eq(&found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}
