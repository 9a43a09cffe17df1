//! Rules of a brand with a draw of each mode, for tests.

use std::collections::BTreeMap;

use domain::model::code::Kind;
use domain::model::event::Action;
use domain::model::money::Ratio;
use domain::model::rules::{
    Activate, Attribution, Batch, Campaign, Dedup, LATE_DEFAULT_MS, Mode, NAMES_MAX_DEFAULT, Phase, Prize, PrizeKind,
    Range, RangeState, Rules, StaticCode, Unlock,
};
use domain::model::time::{DAY_MS, Millis, parse_rfc3339};

/// A moment of the draws.
pub(crate) const ON: &str = "2026-11-20T00:00:00+08:00";

pub(crate) fn at(text: &str) -> Millis {
    parse_rfc3339(text).expect("a time")
}

pub(crate) fn ratio(text: &str) -> Ratio {
    Ratio::parse(text).expect("a ratio")
}

pub(crate) fn prize(id: &str, kind: PrizeKind) -> Prize {
    Prize {
        id: id.to_owned(),
        kind,
        amount: None,
        ticket: None,
        stock: None,
        unlock: None,
        otherwise: None,
        count: None,
        amount_max: None,
        stock_day: None,
        value: None,
    }
}

pub(crate) fn range(from: u64, to: u64, state: RangeState) -> Range {
    Range { batch: 7, from, to, state, guide: None, store: None, region: None, channel: None }
}

fn campaign(id: &str, mode: Mode, prizes: Vec<Prize>) -> Campaign {
    Campaign {
        id: id.to_owned(),
        from: at("2026-11-01T00:00:00+08:00"),
        to: at("2027-01-01T00:00:00+08:00"),
        areas: Vec::new(),
        limit_total: None,
        limit_day: None,
        limit_wins: None,
        budget: None,
        landing: None,
        secret: format!("file:{id}.key"),
        commit: "56e5e70525104970dd33cba2e815dd823caa904b202e6ca96f8a0495242c66e7".to_owned(),
        prizes,
        phases: Vec::new(),
        mode,
        budget_day: None,
        exclude_guides: false,
        organiser: None,
        contact: None,
        redeem: None,
    }
}

fn phase(entries: (u64, Option<u64>), times: Option<(&str, &str)>, odds: &[(&str, &str)]) -> Phase {
    let odds: BTreeMap<_, _> = odds.iter().map(|(id, odds)| ((*id).to_owned(), ratio(odds))).collect();
    Phase { from: times.map(|(from, _)| at(from)), to: times.map(|(_, to)| at(to)), entries, odds }
}

/// A sealed draw over a batch.
fn one_more_bottle() -> Campaign {
    let bottle = Prize {
        value: Some(500),
        count: Some(50_000),
        otherwise: Some("points-5".to_owned()),
        ..prize("bottle", PrizeKind::Goods)
    };
    let points =
        Prize { amount: Some(5), count: Some(200_000), stock: Some(250_000), ..prize("points-5", PrizeKind::Points) };
    Campaign {
        areas: vec!["33".to_owned(), "31".to_owned()],
        limit_total: Some(20),
        limit_day: Some(5),
        limit_wins: Some(3),
        exclude_guides: true,
        organiser: Some("杭州顶点饮料有限公司".to_owned()),
        contact: Some("400-000-0000".to_owned()),
        redeem: Some("凭瓶盖在任一门店领取，2027-03-01 截止".to_owned()),
        ..campaign("one-more-bottle", Mode::Sealed, vec![bottle, points])
    }
}

/// A draw by odds.
fn lucky_wheel() -> Campaign {
    let unlock = Unlock { action: Action::Order, within_ms: Some(7 * DAY_MS) };
    let red =
        Prize { amount: Some(100), amount_max: Some(188), unlock: Some(unlock), ..prize("red-1", PrizeKind::Cash) };
    let large = Prize {
        amount: Some(2000),
        stock: Some(100),
        stock_day: Some(10),
        otherwise: Some("red-1".to_owned()),
        ..prize("red-20", PrizeKind::Cash)
    };
    Campaign {
        budget: Some(5_000_000),
        budget_day: Some(200_000),
        phases: vec![
            phase((1, Some(1)), None, &[("red-20", "1/50"), ("red-1", "49/50")]),
            phase(
                (1, None),
                Some(("2026-11-11T00:00:00+08:00", "2026-11-12T00:00:00+08:00")),
                &[("red-20", "1/100"), ("red-1", "1/4")],
            ),
            phase((1, None), None, &[("red-1", "1/10")]),
        ],
        ..campaign("lucky-wheel", Mode::Odds, vec![red, large])
    }
}

/// A draw at moments, an hour long.
fn golden_hour() -> Campaign {
    let half = Prize { ticket: Some("half".to_owned()), count: Some(60), ..prize("half-price", PrizeKind::Coupon) };
    Campaign {
        from: at("2026-11-11T20:00:00+08:00"),
        to: at("2026-11-11T21:00:00+08:00"),
        ..campaign("golden-hour", Mode::Moments, vec![half])
    }
}

/// The rules: campaign 0 is sealed, 1 has odds, 2 moments.
pub(crate) fn rules() -> Rules {
    let code = |id: &str, kind, campaign: &str| StaticCode {
        id: id.to_owned(),
        kind,
        guide: None,
        store: None,
        campaign: Some(campaign.to_owned()),
        channel: Some("media".to_owned()),
    };
    let batch = Batch {
        number: 7,
        kind: Kind::Interactive,
        count: 1_000_000,
        campaign: Some("one-more-bottle".to_owned()),
        gtin: None,
        url: None,
        secret: "file:batch-7.key".to_owned(),
        commit: "05748912528e38c5284405e157ac13ff45067429d9e8ef51b3b9f77d921fe84b".to_owned(),
        alarm_shoppers: None,
        activate: Activate::Ranges,
        guide: None,
        store: None,
        channel: None,
    };
    Rules {
        merchant: "acme".to_owned(),
        currency: "CNY".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
        late_ms: LATE_DEFAULT_MS,
        dedup: Dedup::default(),
        attribution: Attribution::default(),
        commissions: Vec::new(),
        stores: Vec::new(),
        guides: Vec::new(),
        codes: vec![code("MAG-7", Kind::Media, "lucky-wheel"), code("LIVE-1", Kind::Media, "golden-hour")],
        campaigns: vec![one_more_bottle(), lucky_wheel(), golden_hour()],
        funnels: Vec::new(),
        names_max: NAMES_MAX_DEFAULT,
        batches: vec![batch],
        ranges: vec![range(0, 400_000, RangeState::Active), range(400_000, 400_500, RangeState::Frozen)],
    }
}
