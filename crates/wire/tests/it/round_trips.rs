//! What is written is read back, field by field.

use std::collections::BTreeMap;

use bumpalo::Bump;
use domain::model::code::Kind;
use domain::model::event::{Action, Part};
use domain::model::ids;
use domain::model::money::{AMOUNT_MAX, Ratio};
use domain::model::rules::{
    Activate, Attribution, Batch, Campaign, Commission, Dedup, Funnel, Guide, Members, Mode, Model, PayeeKind, Phase,
    Prize, PrizeKind, Range, RangeState, Rules, StaticCode, Step, Store, Successor, Unlock,
};
use domain::model::time::{INTEGER_TIME_MIN, TIME_MAX, time_text};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use wire::code::parse_link;
use wire::event::{Merchants, read};
use wire::rules::{from_object, object};

/// A text of 1 to 64 bytes without control characters, with what JSON must or may escape.
fn text() -> impl Strategy<Value = String> {
    "[a-z0-9\"\\\\/ :码é😀-]{1,16}"
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![0..=TIME_MAX, Just(0), Just(INTEGER_TIME_MIN), Just(TIME_MAX)]
}

/// How a valid event is written.
#[derive(Clone, Debug)]
struct Written {
    id: String,
    action: Action,
    shopper: Option<String>,
    merchant: Option<String>,
    /// And whether as text.
    time: Option<(i64, bool)>,
    code: Option<String>,
    /// Store, guide, region, channel, device.
    where_and_how: [Option<String>; 5],
    order: Option<(String, i64)>,
    has_currency: bool,
    part: Option<Part>,
    ticket: Option<String>,
    unknown: u32,
    /// Nulls for what is left out; all texts escaped; another order of the fields.
    nulls: bool,
    escapes: bool,
    backwards: bool,
}

const PLACES: [&str; 5] = ["store", "guide", "region", "channel", "device"];

fn written() -> impl Strategy<Value = Written> {
    let url = "https://m\\.example/(01/06901234567892/21/)?[A-Z0-9%+]{1,12}(\\?c=[a-z%]{0,4})?";
    let who = (text(), select(Action::ALL), option::of(text()), option::of(Just("acme".to_owned())));
    let what = (option::of((time(), any::<bool>())), option::of(prop_oneof![text(), url]));
    let order =
        (option::of((text(), 0..=AMOUNT_MAX)), any::<bool>(), option::of(select(Part::ALL)), option::of(text()));
    let style = (0..4_u32, any::<bool>(), any::<bool>(), any::<bool>());
    let places = prop::array::uniform5(option::of(text()));
    (who, what, places, order, style, text()).prop_map(|(who, what, places, order, style, spare)| {
        let (id, action, shopper, merchant) = who;
        let mut event = Written {
            id,
            action,
            shopper,
            merchant,
            time: what.0,
            code: what.1,
            where_and_how: places,
            order: order.0,
            has_currency: order.1,
            part: order.2,
            ticket: order.3,
            unknown: style.0,
            nulls: style.1,
            escapes: style.2,
            backwards: style.3,
        };
        let may_lack_shopper = matches!(action, Action::Scan | Action::Visit) && event.where_and_how[4].is_some();
        if !may_lack_shopper {
            event.shopper.get_or_insert(spare.clone());
        }
        match action {
            Action::Scan => drop(event.code.get_or_insert(spare).len()),
            Action::Claim | Action::Redeem => drop(event.ticket.get_or_insert(spare).len()),
            Action::Order | Action::Refund => drop(event.order.get_or_insert((spare, 5)).1),
            Action::Visit | Action::Follow | Action::Join => {}
        }
        event
    })
}

impl Written {
    fn json(&self) -> String {
        let quote = |text: &str| {
            if self.escapes {
                let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<String>();
                format!("\"{units}\"")
            } else {
                serde_json::to_string(text).expect("a text")
            }
        };
        let texts = |text: &Option<String>| text.as_deref().map(quote);
        let mut fields =
            vec![
                ("id", Some(quote(&self.id))),
                ("action", Some(quote(self.action.as_str()))),
                ("shopper", texts(&self.shopper)),
                ("merchant", texts(&self.merchant)),
                (
                    "time",
                    self.time.map(|(at, as_text)| {
                        if as_text || at < INTEGER_TIME_MIN { quote(&time_text(at)) } else { at.to_string() }
                    }),
                ),
                ("code", texts(&self.code)),
                ("order", self.order.as_ref().map(|order| quote(&order.0))),
                ("amount", self.order.as_ref().map(|order| order.1.to_string())),
                ("currency", self.has_currency.then(|| quote("CNY"))),
                ("part", self.part.map(|part| quote(part.as_str()))),
                ("ticket", texts(&self.ticket)),
            ];
        fields.extend(PLACES.into_iter().zip(self.where_and_how.iter().map(texts)));
        fields.extend((0..self.unknown).map(|i| (["x", "y", "z"][i as usize], Some("[{\"id\": 1e999}]".to_owned()))));
        if self.backwards {
            fields.reverse();
        }
        let all = fields.into_iter().filter_map(|(name, value)| {
            let value = value.or_else(|| self.nulls.then(|| "null".to_owned()))?;
            Some(format!("{} : {value}", quote(name)))
        });
        format!(" {{ {}\n}}\t", all.collect::<Vec<_>>().join(" ,\r\n"))
    }
}

proptest! {
    #[test]
    fn events(written in written()) {
        let json = written.json();
        let arena = Bump::new();
        let accepted = read(json.as_bytes(), &Merchants::new([("acme", "CNY")]), &arena).expect(&json);
        let event = accepted.event;
        prop_assert_eq!((accepted.received, accepted.unknown_fields), (None, written.unknown));
        prop_assert_eq!((event.stamp, event.id, event.merchant), (0, written.id.as_str(), "acme"));
        prop_assert_eq!((event.action, event.time), (written.action, written.time.map(|time| time.0)));
        let device = written.where_and_how[4].as_deref();
        let shopper = written.shopper.clone().unwrap_or_else(|| format!("device:{}", device.unwrap_or_default()));
        prop_assert_eq!(event.shopper, &shopper);
        prop_assert_eq!(event.key, ids::event_key("acme", &shopper, written.action.as_str(), &written.id));
        prop_assert_eq!(event.shopper_key, ids::shopper_key("acme", &shopper));
        prop_assert_eq!(event.code.map(|code| code.text), written.code.as_deref());
        prop_assert_eq!(event.code.and_then(|code| code.link), event.code.and_then(|code| parse_link(code.text, &arena)));
        let places = [event.store, event.guide, event.region, event.channel, event.device];
        prop_assert_eq!(places, written.where_and_how.each_ref().map(|place| place.as_deref()));
        prop_assert_eq!(event.ticket, written.ticket.as_deref());
        match (written.action, &written.order, event.order) {
            (Action::Order | Action::Refund, Some((number, amount)), Some(payment)) => {
                prop_assert_eq!((payment.number, payment.amount), (number.as_str(), *amount));
                let part = if written.action == Action::Order { written.part } else { None };
                prop_assert_eq!(payment.part, part.unwrap_or(Part::Sale));
            }
            (_, _, payment) => prop_assert_eq!(payment, None),
        }
    }

    /// Whatever comes is accepted or refused with a reason, and no text of it breaks anything.
    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Err(refused) = read(&bytes, &Merchants::default(), &Bump::new()) {
            prop_assert!(!refused.errors.is_empty());
        }
    }

    #[test]
    fn objects(rules in rules()) {
        let written = object(&rules);
        let read = from_object(&written).expect("an object");
        prop_assert_eq!(object(&read), written);
        prop_assert_eq!(read, rules);
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    let settings = (text(), text(), text(), any::<i64>(), dedup(), attribution(), any::<u32>());
    let paid = (prop::collection::vec(commission(), 0..3), prop::collection::vec(store(), 0..3));
    let known = (prop::collection::vec(guide(), 0..3), prop::collection::vec(code(), 0..3));
    let drawn = (prop::collection::vec(campaign(), 0..3), prop::collection::vec(funnel(), 0..3));
    let minted = (prop::collection::vec(batch(), 0..3), prop::collection::vec(range(), 0..3));
    (settings, paid, known, drawn, minted).prop_map(|(settings, paid, known, drawn, minted)| Rules {
        merchant: settings.0,
        currency: settings.1,
        time_zone: settings.2,
        late_ms: settings.3,
        dedup: settings.4,
        attribution: settings.5,
        commissions: paid.0,
        stores: paid.1,
        guides: known.0,
        codes: known.1,
        campaigns: drawn.0,
        funnels: drawn.1,
        names_max: settings.6,
        batches: minted.0,
        ranges: minted.1,
    })
}

prop_compose! {
    fn dedup()(horizon_minutes: u32, debounce_ms: i64) -> Dedup {
        Dedup { horizon_minutes, debounce_ms }
    }
}

prop_compose! {
    fn attribution()(
        window_ms: i64, model in select(Model::ALL), protect_ms: i64, members in select(Members::ALL),
        refund_within_ms: i64, touches_max: u32, orders_max: u32,
    ) -> Attribution {
        Attribution { window_ms, model, protect_ms, members, refund_within_ms, touches_max, orders_max }
    }
}

prop_compose! {
    fn commission()(
        from: Option<i64>, to: Option<i64>, store in option::of(text()), guide in option::of(text()),
        level in option::of(text()), payee in select(PayeeKind::ALL), rate_ppm: u32, hold_ms: i64,
    ) -> Commission {
        Commission { from, to, store, guide, level, payee, rate_ppm, hold_ms }
    }
}

prop_compose! {
    fn store()(
        id in text(), region in option::of(text()), name in option::of(text()), gln: Option<u64>,
    ) -> Store {
        Store { id, region, name, gln }
    }
}

fn successor() -> impl Strategy<Value = Successor> {
    prop_oneof![Just(Successor::Store), Just(Successor::Keep), text().prop_map(Successor::Guide)]
}

prop_compose! {
    fn guide()(
        id in text(), store in option::of(text()), level in option::of(text()), shopper in option::of(text()),
        gsrn: Option<u64>, left: Option<i64>, successor in successor(),
    ) -> Guide {
        Guide { id, store, level, shopper, gsrn, left, successor }
    }
}

prop_compose! {
    fn code()(
        id in text(), kind in select(Kind::ALL), guide in option::of(text()), store in option::of(text()),
        campaign in option::of(text()), channel in option::of(text()),
    ) -> StaticCode {
        StaticCode { id, kind, guide, store, campaign, channel }
    }
}

prop_compose! {
    fn prize()(
        id in text(), kind in select(PrizeKind::ALL), amount: Option<i64>, ticket in option::of(text()),
        stock: Option<u64>, unlock in option::of((select(Action::ALL), any::<Option<i64>>())),
        otherwise in option::of(text()), count: Option<u64>, amount_max: Option<i64>,
        (stock_day, value) in any::<(Option<u64>, Option<i64>)>(),
    ) -> Prize {
        let unlock = unlock.map(|(action, within_ms)| Unlock { action, within_ms });
        Prize { id, kind, amount, ticket, stock, unlock, otherwise, count, amount_max, stock_day, value }
    }
}

prop_compose! {
    fn phase()(
        from: Option<i64>, to: Option<i64>, entries: (u64, Option<u64>),
        odds in prop::collection::btree_map(text(), any::<(u64, u64)>(), 0..3),
    ) -> Phase {
        let ratio = |(numerator, denominator)| Ratio { numerator, denominator };
        let odds: BTreeMap<String, Ratio> = odds.into_iter().map(|(prize, odds)| (prize, ratio(odds))).collect();
        Phase { from, to, entries, odds }
    }
}

prop_compose! {
    fn campaign()(
        (id, from, to) in (text(), any::<i64>(), any::<i64>()),
        areas in prop::collection::vec(text(), 0..3), limits: [Option<u32>; 3], budgets: [Option<i64>; 2],
        landing in option::of(text()), (secret, commit) in (text(), text()),
        (mode, exclude_guides) in (select(Mode::ALL), any::<bool>()),
        notice in prop::array::uniform3(option::of(text())),
        prizes in prop::collection::vec(prize(), 0..3), phases in prop::collection::vec(phase(), 0..3),
    ) -> Campaign {
        let [limit_total, limit_day, limit_wins] = limits;
        let [budget, budget_day] = budgets;
        let [organiser, contact, redeem] = notice;
        Campaign {
            id, from, to, areas, limit_total, limit_day, limit_wins, budget, landing, secret, commit, prizes, phases,
            mode, budget_day, exclude_guides, organiser, contact, redeem,
        }
    }
}

prop_compose! {
    fn batch()(
        (number, count, gtin) in any::<(u32, u64, Option<u64>)>(), kind in select(Kind::ALL),
        campaign in option::of(text()), url in option::of(text()), (secret, commit) in (text(), text()),
        alarm_shoppers: Option<u32>, activate in select(Activate::ALL),
        owners in prop::array::uniform3(option::of(text())),
    ) -> Batch {
        let [guide, store, channel] = owners;
        Batch { number, kind, count, campaign, gtin, url, secret, commit, alarm_shoppers, activate, guide, store, channel }
    }
}

prop_compose! {
    fn range()(
        (batch, from, to) in any::<(u32, u64, u64)>(), state in select(RangeState::ALL),
        places in prop::array::uniform4(option::of(text())),
    ) -> Range {
        let [guide, store, region, channel] = places;
        Range { batch, from, to, state, guide, store, region, channel }
    }
}

prop_compose! {
    fn funnel()(
        name in text(), steps in prop::collection::vec(select(Step::ALL), 0..4), within_ms: i64,
        ticket in option::of(text()), kind in option::of(select(Kind::ALL)),
    ) -> Funnel {
        Funnel { name, steps, within_ms, ticket, kind }
    }
}
