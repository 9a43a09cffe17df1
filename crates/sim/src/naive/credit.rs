//! Touches, and what an order's state says is due to whom (contract, section 5). No state of its own.
use super::codes::item;
use super::event::Event;
use super::rules::{Model, Rules, Successor};
use super::{Seen, saw};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub(crate) struct Touch {
    pub(crate) time: i64,
    pub(crate) key: [u8; 16],
    pub(crate) received: i64,
    pub(crate) rank: u8,
    pub(crate) guide: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) kind: String,
}

fn rank(kind: &str) -> u8 {
    match kind {
        "guide" => 5,
        "store" => 4,
        "service" => 3,
        "media" => 2,
        "product" => 1,
        k if item(k) => 0,
        k => panic!("rank of {k}"),
    }
}

pub(crate) fn touch_of(rules: &Rules, e: &Event, seen: &mut Seen) -> Option<Touch> {
    if e.late || e.forged_scan() {
        return None;
    }
    if e.inactive() {
        saw(seen, "touch: none by an inactive code");
        return None;
    }
    if e.action != "scan" && e.code.as_ref().is_some_and(|c| c.minted.is_some()) {
        saw(seen, "token: of another action");
    }
    let own_guide = e.own_guide.clone().filter(|g| rules.guides.contains_key(g));
    let own_store = e.own_store.clone().filter(|s| rules.stores.contains_key(s));
    if own_guide != e.own_guide {
        saw(seen, "touch: unlisted guide");
    }
    if own_store != e.own_store {
        saw(seen, "touch: unlisted store");
    }
    let code = e.code.as_ref().filter(|c| c.known());
    // an unlisted one is as if the event had none, except that it hides its code's
    let guide = if e.own_guide.is_some() { own_guide.clone() } else { code.and_then(|c| c.guide.clone()) };
    let guides_store = guide.as_ref().and_then(|g| rules.guides[g].store.clone());
    let codes_store = if e.own_store.is_some() { None } else { code.and_then(|c| c.store.clone()) };
    let store = own_store.clone().or(codes_store).or(guides_store);
    let (rank, kind) = match e.action.as_str() {
        "scan" | "follow" | "join" | "visit" => match code {
            Some(c) if own_guide.is_some() => (rank(&c.kind).max(rank("guide")), c.kind.clone()),
            Some(c) => (rank(&c.kind), c.kind.clone()),
            None if own_guide.is_some() => (rank("guide"), "guide".into()),
            None if own_store.is_some() && e.action != "scan" => (rank("store"), "store".into()),
            None => return None,
        },
        "order" => {
            guide.as_ref()?;
            saw(seen, "touch: order");
            match code {
                Some(c) if own_guide.is_some() => (rank(&c.kind).max(rank("guide")), c.kind.clone()),
                Some(c) => (rank(&c.kind), c.kind.clone()),
                None => (rank("guide"), "guide".into()),
            }
        }
        _ => return None,
    };
    Some(Touch { time: e.time, key: e.key, received: e.received, rank, guide, store, kind })
}

fn same(a: &Touch, b: &Touch) -> bool {
    match (&a.guide, &b.guide) {
        (Some(x), Some(y)) => x == y,
        (None, None) => a.store == b.store,
        _ => false,
    }
}

/// Credited touches in (time, key) order with their weights; `kept` may hold more than the candidates.
pub(crate) fn shares(rules: &Rules, kept: &[Touch], c: i64, model: Model, seen: &mut Seen) -> Vec<(Touch, i128)> {
    let mut touches: Vec<&Touch> = kept.iter().filter(|t| c - rules.window < t.time && t.time <= c).collect();
    let Some(top) = touches.iter().map(|t| t.rank).max() else { return vec![] };
    touches.retain(|t| t.rank == top);
    touches.sort_by_key(|t| (t.time, t.key));
    let n = touches.len() as i128;
    let only = |i: usize| vec![(touches[i].clone(), 1)];
    match model {
        Model::First => only(0),
        Model::Last => {
            let mut hold = 0;
            for i in 1..touches.len() {
                if same(touches[hold], touches[i]) {
                    hold = i;
                } else if touches[i].time >= touches[hold].time + rules.protect {
                    saw(seen, "credit: holder taken over");
                    hold = i;
                } else {
                    saw(seen, "credit: protect kept the holder");
                }
            }
            only(hold)
        }
        Model::Linear => touches.iter().map(|t| ((*t).clone(), 1)).collect(),
        Model::Position if n <= 2 => touches.iter().map(|t| ((*t).clone(), 1)).collect(),
        Model::Position => {
            saw(seen, "credit: position with a middle");
            let end = 2 * (n - 2);
            let weight = |i: usize| if i == 0 || i + 1 == touches.len() { end } else { 1 };
            touches.iter().enumerate().map(|(i, t)| ((*t).clone(), weight(i))).collect()
        }
    }
}

/// Whole units by weight, largest remainder first, ties in order.
pub(crate) fn split(total: i128, weights: &[i128]) -> Vec<i128> {
    let sum: i128 = weights.iter().sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let mut parts: Vec<i128> = weights.iter().map(|w| total * w / sum).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&i| (-(total * weights[i] % sum), i));
    let missing = total - parts.iter().sum::<i128>();
    for &i in order.iter().take(missing as usize) {
        parts[i] += 1;
    }
    parts
}

/// ("guide" | "store", id)
pub(crate) type Payee = (&'static str, String);

/// Who is paid for a touch at `c`, if anyone.
fn payee(rules: &Rules, touch: &Touch, c: i64, seen: &mut Seen) -> Option<Payee> {
    let Some(first) = &touch.guide else { return touch.store.clone().map(|s| ("store", s)) };
    let mut id = first.clone();
    loop {
        let guide = &rules.guides[&id];
        if guide.left.is_none_or(|left| left > c) {
            if guide.store.is_none() {
                saw(seen, "payee: guide without a store");
            }
            return Some(("guide", id));
        }
        match &guide.successor {
            Successor::Guide(next) => {
                saw(seen, if &id == first { "payee: successor guide" } else { "payee: successor of a successor" });
                id = next.clone();
            }
            Successor::Keep => {
                saw(seen, if guide.store.is_none() { "payee: keep without a store" } else { "payee: successor keep" });
                return Some(("guide", id));
            }
            Successor::Store => {
                saw(seen, "payee: successor store");
                return guide.store.clone().map(|s| ("store", s));
            }
        }
    }
}

fn commission(rules: &Rules, touch: &Touch, c: i64, order_store: Option<&str>) -> Option<usize> {
    let credited = touch.guide.as_ref().map(|g| (g, &rules.guides[g]));
    rules.commissions.iter().position(|t| {
        t.from.is_none_or(|f| f <= c)
            && t.to.is_none_or(|to| c < to)
            && t.store.as_deref().is_none_or(|s| Some(s) == order_store)
            && t.guide.as_ref().is_none_or(|g| credited.is_some_and(|(id, _)| id == g))
            && t.level.as_ref().is_none_or(|l| credited.is_some_and(|(_, g)| g.level.as_ref() == Some(l)))
            && t.payee_store == touch.guide.is_none()
    })
}

pub(crate) struct Credited {
    pub(crate) touch: Touch,
    pub(crate) weight: i128,
    /// its part of base - refunded
    pub(crate) part: i128,
    pub(crate) commission: i128,
}

#[derive(Default)]
pub(crate) struct Due {
    pub(crate) credited: Vec<Credited>,
    /// payee -> (amount, hold)
    pub(crate) payees: BTreeMap<Payee, (i128, i64)>,
}

pub(crate) struct Asked<'a> {
    pub(crate) shopper: &'a str,
    pub(crate) c: i64,
    pub(crate) store: Option<&'a str>,
    pub(crate) net: i128,
    pub(crate) first_order: i64,
}

pub(crate) fn due(rules: &Rules, kept: &[Touch], asked: &Asked, seen: &mut Seen) -> Due {
    let shares = shares(rules, kept, asked.c, rules.model, seen);
    let weights: Vec<i128> = shares.iter().map(|(_, w)| *w).collect();
    let parts = split(asked.net, &weights);
    let mut out = Due::default();
    // (payee, commission) -> indices of credited touches
    let mut sums: BTreeMap<(Payee, usize), Vec<usize>> = BTreeMap::new();
    for (i, ((touch, weight), part)) in shares.into_iter().zip(parts).enumerate() {
        let found = commission(rules, &touch, asked.c, asked.store);
        let who = payee(rules, &touch, asked.c, seen);
        let is_buyer = |guide: &str| rules.guides[guide].shopper.as_deref() == Some(asked.shopper);
        let own = touch.guide.as_deref().is_some_and(is_buyer)
            || who.as_ref().is_some_and(|(kind, id)| *kind == "guide" && is_buyer(id));
        let bought = rules.members_new && asked.first_order < touch.time;
        if own {
            saw(seen, "blocked: self");
        }
        if bought {
            saw(seen, "blocked: members");
        }
        match (found, who) {
            (Some(commission), Some(who)) if !own && !bought => {
                saw(seen, if touch.guide.is_none() { "paid: a store's touch" } else { "paid: a guide's touch" });
                sums.entry((who, commission)).or_default().push(i);
            }
            (None, _) => saw(seen, "no commission"),
            _ => {}
        }
        out.credited.push(Credited { touch, weight, part, commission: 0 });
    }
    for ((who, index), indices) in sums {
        let parts: Vec<i128> = indices.iter().map(|&i| out.credited[i].part).collect();
        let amount = parts.iter().sum::<i128>() * rules.commissions[index].ppm / 1_000_000;
        for (&i, share) in indices.iter().zip(split(amount, &parts)) {
            out.credited[i].commission = share;
        }
        let entry = out.payees.entry(who).or_insert((0, 0));
        if entry.0 != 0 || entry.1 != 0 {
            saw(seen, "payee under two commissions");
        }
        entry.0 += amount;
        entry.1 = entry.1.max(rules.commissions[index].hold);
    }
    out
}
