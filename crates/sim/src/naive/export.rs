//! The tables as CSV (contract, section 8).
use super::draws::prize;
use super::{Merchant, Seen, counters, funnels, saw};
use std::collections::BTreeMap;

const HEADERS: [(&str, &str); 7] = [
    ("postings", "merchant,order,shopper,payee_kind,payee,amount,currency,approve_at,cause"),
    ("orders", "merchant,order,shopper,time,base,refunded,currency,kind,guide,store"),
    ("members", "merchant,shopper,time,guide,store"),
    ("awards", "merchant,campaign,rules,code,shopper,entry,time,drawn,awarded,prize_kind,amount,state"),
    ("counters", "merchant,scope,key,day,metric,value"),
    ("funnels", "merchant,funnel,step,action,channel,day,shoppers"),
    ("codes", "merchant,code,kind,scans,first_time,first_region"),
];

pub(crate) struct Tables(BTreeMap<&'static str, Vec<Vec<String>>>);

impl Tables {
    pub(crate) fn new() -> Tables {
        Tables(HEADERS.iter().map(|(name, _)| (*name, vec![])).collect())
    }
    fn row(&mut self, table: &'static str, cells: &[&str]) {
        self.0.get_mut(table).unwrap().push(cells.iter().map(|c| c.to_string()).collect());
    }
    pub(crate) fn csv(self) -> BTreeMap<&'static str, String> {
        let mut out = BTreeMap::new();
        for (name, header) in HEADERS {
            let mut rows = self.0[name].clone();
            rows.sort();
            let mut text = format!("{header}\n");
            for row in rows {
                assert_eq!(row.len(), header.split(',').count());
                let cells: Vec<String> = row.iter().map(|c| cell(c)).collect();
                text += &cells.join(",");
                text += "\n";
            }
            out.insert(name, text);
        }
        out
    }
}

fn cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

pub(crate) fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

pub(crate) fn merchant(out: &mut Tables, m: &Merchant, latest: i64, seen: &mut Seen) {
    let who = m.rules().merchant.as_str();
    let currency = m.rules().currency.as_str();
    for p in &m.postings {
        let (amount, approve_at) = (p.amount.to_string(), rfc3339(p.approve_at));
        out.row(
            "postings",
            &[who, &p.order, &p.shopper, p.payee.0, &p.payee.1, &amount, currency, &approve_at, &p.cause],
        );
    }
    for (shopper, s) in &m.shoppers {
        for (number, order) in &s.orders {
            let Some(first) = order.earliest() else { continue };
            let mut best = None;
            for c in &order.credited {
                if best.is_none_or(|(weight, _)| c.weight > weight) {
                    best = Some((c.weight, &c.touch));
                }
            }
            let touch = best.map(|(_, t)| t);
            let kind = touch.map(|t| t.kind.as_str()).unwrap_or("");
            let guide = touch.and_then(|t| t.guide.as_deref()).unwrap_or("");
            let store = touch.and_then(|t| t.store.as_deref()).unwrap_or("");
            let (time, base, refunded) = (rfc3339(first.time), order.base().to_string(), order.refunded().to_string());
            out.row("orders", &[who, number, shopper, &time, &base, &refunded, currency, kind, guide, store]);
        }
        if let Some(join) = &s.join {
            let guide = s.join_credit.as_ref().and_then(|t| t.guide.as_deref()).unwrap_or("");
            let store = s.join_credit.as_ref().and_then(|t| t.store.as_deref()).unwrap_or("");
            out.row("members", &[who, shopper, &rfc3339(join.time), guide, store]);
        }
    }
    awards(out, m, latest, seen);
    for ((scope, key, day, metric), value) in counters::counters(m) {
        out.row("counters", &[who, &scope, &key, &day, metric, &value.to_string()]);
    }
    for f in &m.rules().funnels {
        for ((step, channel, day), shoppers) in funnels::funnel(m.rules(), f, &m.events, seen) {
            let (n, count) = (step.to_string(), shoppers.len().to_string());
            out.row("funnels", &[who, &f.name, &n, &f.steps[step - 1], &channel, &day, &count]);
        }
    }
    for (name, c) in &m.items {
        let region = c.first_region.as_deref().unwrap_or("");
        out.row("codes", &[who, name, &c.kind, &c.scans.to_string(), &rfc3339(c.first_time), region]);
    }
}

fn awards(out: &mut Tables, m: &Merchant, latest: i64, seen: &mut Seen) {
    let who = m.rules().merchant.as_str();
    for a in &m.draws.awards {
        let campaign = &m.rulebooks[a.book].rules.campaigns[&a.campaign];
        let p = a.awarded.as_ref().map(|id| prize(campaign, id).unwrap());
        let state = match p {
            None => "thanks",
            Some(p) => match &p.unlock {
                None => "granted",
                Some(action) => {
                    let end = p.unlock_within.map(|w| a.time + w);
                    let unlocked = m.events.iter().any(|e| {
                        !e.only_late
                            && &e.action == action
                            && e.shopper == a.shopper
                            && e.time >= a.time
                            && end.is_none_or(|end| e.time < end)
                    });
                    if unlocked {
                        "unlocked"
                    } else if end.is_some_and(|end| latest >= end) {
                        "expired"
                    } else {
                        "locked"
                    }
                }
            },
        };
        saw(
            seen,
            match state {
                "thanks" => "award: thanks",
                "granted" => "award: granted",
                "unlocked" => "award: unlocked",
                "expired" => "award: expired",
                _ => "award: locked",
            },
        );
        let amount = a.amount.map(|a| a.to_string()).unwrap_or_default();
        let kind = p.map(|p| p.kind.as_str()).unwrap_or("");
        let awarded = a.awarded.as_deref().unwrap_or("thanks");
        let (n, time) = (a.entry.to_string(), rfc3339(a.time));
        out.row(
            "awards",
            &[
                who,
                &a.campaign,
                &m.rulebooks[a.book].version,
                &a.code,
                &a.shopper,
                &n,
                &time,
                &a.drawn,
                awarded,
                kind,
                &amount,
                state,
            ],
        );
    }
}
