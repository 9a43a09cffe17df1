//! One line as an event, with all that is derived from it (contract, section 1).
use super::codes::{Code, resolve};
use super::fields::parse_time;
use super::minted::State;
use super::rules::Rules;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) action: String,
    pub(crate) shopper: String,
    pub(crate) key: [u8; 16],
    pub(crate) time: i64,
    pub(crate) received: i64,
    /// received - time > late
    pub(crate) late: bool,
    /// an order or refund that is too old: counted `late` and nothing else
    pub(crate) only_late: bool,
    pub(crate) repeat: bool,
    /// made by a browser, without a key
    pub(crate) keyless: bool,
    pub(crate) entry: bool,
    pub(crate) code: Option<Code>,
    pub(crate) own_guide: Option<String>,
    pub(crate) own_store: Option<String>,
    pub(crate) own_region: Option<String>,
    pub(crate) guide: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) channel: Option<String>,
    pub(crate) campaign: Option<String>,
    pub(crate) order: String,
    pub(crate) amount: i64,
    pub(crate) part: String,
    pub(crate) ticket: Option<String>,
    /// scope -> the key under which it is counted: its own, or `*other*`
    pub(crate) counted: BTreeMap<&'static str, String>,
    /// the same of its channel as a funnel's, on the day of `received`
    pub(crate) cohort_channel: Option<String>,
}

impl Event {
    pub(crate) fn counted_scan(&self) -> bool {
        self.action == "scan" && !self.repeat && self.code.as_ref().is_some_and(|c| c.kind != "forged")
    }
    pub(crate) fn forged_scan(&self) -> bool {
        self.action == "scan" && self.code.as_ref().is_some_and(|c| c.kind == "forged")
    }
    /// A scan of a code that is frozen, void or dark.
    pub(crate) fn inactive(&self) -> bool {
        let inactive = |c: &Code| c.minted.as_ref().is_some_and(|m| m.item.state != State::Active);
        self.action == "scan" && self.code.as_ref().is_some_and(inactive)
    }
    /// A scan in a region of its own, away from where the item went.
    pub(crate) fn diverted(&self) -> bool {
        let went = self.code.as_ref().and_then(|c| c.minted.as_ref()).and_then(|m| m.item.region.as_ref());
        let away = |own: &String| went.is_some_and(|went| !own.starts_with(went.as_str()));
        self.action == "scan" && self.own_region.as_ref().is_some_and(away)
    }
    pub(crate) fn kind(&self) -> Option<&str> {
        self.code.as_ref().map(|c| c.kind.as_str())
    }
    pub(crate) fn at(&self) -> (i64, [u8; 16]) {
        (self.time, self.key)
    }
}

pub(crate) fn field(line: &Map<String, Value>, key: &str) -> Option<String> {
    line.get(key).and_then(Value::as_str).map(String::from)
}

pub(crate) fn time_of(line: &Map<String, Value>, key: &str) -> Option<i64> {
    match line.get(key)? {
        Value::Null => None,
        Value::Number(n) => n.as_i64(),
        Value::String(s) => Some(parse_time(s)),
        other => panic!("{key}: {other}"),
    }
}

pub(crate) fn event(rules: &Rules, line: &Map<String, Value>, received: i64) -> Event {
    let id = field(line, "id").unwrap();
    let action = field(line, "action").unwrap();
    let shopper = field(line, "shopper")
        .unwrap_or_else(|| format!("device:{}", field(line, "device").expect("shopper or device")));
    let mut time = time_of(line, "time").unwrap_or(received);
    if time - received > 300_000 {
        time = received;
    }
    let mut hash = Sha256::new();
    hash.update(rules.merchant.as_bytes());
    hash.update([0x1f]);
    hash.update(shopper.as_bytes());
    hash.update([0x1f]);
    hash.update(action.as_bytes());
    hash.update([0x1f]);
    hash.update(id.as_bytes());
    let mut code = field(line, "code").map(|text| resolve(rules, &text));
    if let Some(c) = code.as_mut().filter(|c| action != "scan" && c.kind == "forged") {
        c.kind = "unknown".into();
    }
    let own_guide = field(line, "guide");
    let own_store = field(line, "store");
    let own_region = field(line, "region");
    let from_code = |f: fn(&Code) -> &Option<String>| code.as_ref().and_then(|c| f(c).clone());
    let guide = own_guide.clone().or(from_code(|c| &c.guide));
    let guides_store = guide.as_ref().and_then(|g| rules.guides.get(g)).and_then(|g| g.store.clone());
    let store = own_store.clone().or(from_code(|c| &c.store)).or(guides_store);
    let codes_region = code.as_ref().and_then(|c| c.minted.as_ref()).and_then(|m| m.item.region.clone());
    let stores_region = store.as_ref().and_then(|s| rules.stores.get(s)).and_then(|s| s.region.clone());
    Event {
        key: hash.finalize()[..16].try_into().unwrap(),
        late: received - time > rules.late,
        only_late: false,
        repeat: false,
        keyless: line.get("keyless") == Some(&Value::Bool(true)),
        entry: false,
        region: own_region.clone().or(codes_region).or(stores_region),
        channel: field(line, "channel").or(from_code(|c| &c.channel)),
        campaign: from_code(|c| &c.campaign),
        order: field(line, "order").unwrap_or_default(),
        amount: line.get("amount").and_then(Value::as_i64).unwrap_or(0),
        part: field(line, "part").unwrap_or("sale".into()),
        ticket: field(line, "ticket"),
        counted: BTreeMap::new(),
        cohort_channel: None,
        id,
        action,
        shopper,
        time,
        received,
        code,
        own_guide,
        own_store,
        own_region,
        guide,
        store,
    }
}
