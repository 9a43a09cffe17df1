//! Valid rules files and their CSV registers, read without checks.
use super::fields::{
    duration, list, must, number, parse_duration, parse_ratio, register, secret, section, strings, text, time,
};
use super::minted::{self, Batch};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Table;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Model {
    Last,
    First,
    Linear,
    Position,
}

pub(crate) struct Commission {
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
    pub(crate) store: Option<String>,
    pub(crate) guide: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) payee_store: bool,
    pub(crate) ppm: i128,
    pub(crate) hold: i64,
}

pub(crate) struct Store {
    pub(crate) region: Option<String>,
    pub(crate) gln: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Successor {
    Guide(String),
    Store,
    Keep,
}

pub(crate) struct Guide {
    pub(crate) store: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) shopper: Option<String>,
    pub(crate) gsrn: Option<String>,
    pub(crate) left: Option<i64>,
    pub(crate) successor: Successor,
}

pub(crate) struct StaticCode {
    pub(crate) kind: String,
    pub(crate) guide: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) campaign: Option<String>,
    pub(crate) channel: Option<String>,
}

pub(crate) struct Prize {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) amount: Option<i64>,
    pub(crate) amount_max: Option<i64>,
    /// in sealed draws and moments: the exact number
    pub(crate) count: u64,
    /// with its default
    pub(crate) stock: Option<i64>,
    pub(crate) stock_day: Option<i64>,
    pub(crate) ticket: Option<String>,
    pub(crate) otherwise: String,
    pub(crate) unlock: Option<String>,
    pub(crate) unlock_within: Option<i64>,
}

pub(crate) struct Phase {
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
    pub(crate) first: u64,
    pub(crate) last: Option<u64>,
    /// prize id -> exact ratio
    pub(crate) odds: BTreeMap<String, (u128, u128)>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Mode {
    Odds,
    Sealed,
    Moments,
}

pub(crate) struct Campaign {
    pub(crate) mode: Mode,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) areas: Vec<String>,
    pub(crate) limit_total: Option<u64>,
    pub(crate) limit_day: Option<u64>,
    pub(crate) limit_wins: Option<u64>,
    pub(crate) budget: Option<i64>,
    pub(crate) budget_day: Option<i64>,
    pub(crate) exclude_guides: bool,
    pub(crate) secret: Vec<u8>,
    pub(crate) prizes: Vec<Prize>,
    pub(crate) phases: Vec<Phase>,
}

pub(crate) struct Funnel {
    pub(crate) name: String,
    pub(crate) steps: Vec<String>,
    pub(crate) within: i64,
    pub(crate) ticket: Option<String>,
    pub(crate) kind: Option<String>,
}

pub(crate) struct Rules {
    pub(crate) merchant: String,
    pub(crate) currency: String,
    pub(crate) zone: TimeZone,
    pub(crate) late: i64,
    pub(crate) horizon_minutes: i64,
    pub(crate) debounce: i64,
    pub(crate) window: i64,
    pub(crate) model: Model,
    pub(crate) protect: i64,
    pub(crate) members_new: bool,
    pub(crate) refund_within: i64,
    pub(crate) touches_max: usize,
    pub(crate) orders_max: usize,
    pub(crate) names_max: usize,
    pub(crate) commissions: Vec<Commission>,
    pub(crate) stores: BTreeMap<String, Store>,
    pub(crate) guides: BTreeMap<String, Guide>,
    pub(crate) codes: BTreeMap<String, StaticCode>,
    pub(crate) batches: BTreeMap<u64, Batch>,
    pub(crate) campaigns: BTreeMap<String, Campaign>,
    pub(crate) funnels: Vec<Funnel>,
}

impl Rules {
    pub(crate) fn candidates_max(&self) -> usize {
        (2 * self.touches_max).max(512)
    }
    /// Does a text appear in the rules, as one of that scope?
    pub(crate) fn lists(&self, scope: &str, text: &str) -> bool {
        match scope {
            "store" => self.stores.contains_key(text),
            "guide" => self.guides.contains_key(text),
            "region" => {
                self.stores.values().any(|s| s.region.as_deref() == Some(text))
                    || self.campaigns.values().any(|c| c.areas.iter().any(|a| a == text))
                    || self.batches.values().flat_map(|b| &b.ranges).any(|r| r.region.as_deref() == Some(text))
            }
            "channel" | "cohort" => {
                self.codes.values().any(|c| c.channel.as_deref() == Some(text))
                    || self.batches.values().any(|b| b.lists_channel(text))
            }
            "ticket" => {
                self.funnels.iter().any(|f| f.ticket.as_deref() == Some(text))
                    || self.campaigns.values().flat_map(|c| &c.prizes).any(|p| p.ticket.as_deref() == Some(text))
            }
            other => panic!("scope {other}"),
        }
    }
    pub(crate) fn day(&self, ms: i64) -> String {
        let at = jiff::Timestamp::from_millisecond(ms).unwrap();
        self.zone.to_datetime(at).date().to_string()
    }
}

fn entries_range(text: Option<String>) -> (u64, Option<u64>) {
    let Some(text) = text else { return (1, None) };
    match text.split_once("..") {
        None => (text.parse().unwrap(), Some(text.parse().unwrap())),
        Some((a, "")) => (a.parse().unwrap(), None),
        Some((a, b)) => (a.parse().unwrap(), Some(b.parse().unwrap())),
    }
}

fn prizes(mode: Mode, prizes: &[Table]) -> Vec<Prize> {
    let is_an_else = |id: &str| prizes.iter().any(|p| text(p, "else").as_deref() == Some(id));
    let prize = |p: &Table| {
        let id = must(p, "id");
        let count = number(p, "count").map(|n| n as u64);
        let all = if mode == Mode::Odds || is_an_else(&id) { None } else { count.map(|n| n as i64) };
        Prize {
            kind: must(p, "kind"),
            amount: number(p, "amount"),
            amount_max: number(p, "amount_max"),
            count: count.unwrap_or(0),
            stock: number(p, "stock").or(all),
            stock_day: number(p, "stock_day"),
            ticket: text(p, "ticket"),
            otherwise: text(p, "else").unwrap_or("thanks".into()),
            unlock: text(p, "unlock"),
            unlock_within: text(p, "unlock_within").map(|d| parse_duration(&d)),
            id,
        }
    };
    prizes.iter().map(prize).collect()
}

fn campaign(dir: &Path, t: &Table) -> Campaign {
    let mode = match must(t, "mode").as_str() {
        "odds" => Mode::Odds,
        "sealed" => Mode::Sealed,
        "moments" => Mode::Moments,
        other => panic!("mode {other}"),
    };
    Campaign {
        mode,
        from: time(t, "from").unwrap(),
        to: time(t, "to").unwrap(),
        areas: strings(t, "areas"),
        limit_total: number(t, "limit_total").map(|n| n as u64),
        limit_day: number(t, "limit_day").map(|n| n as u64),
        limit_wins: number(t, "limit_wins").map(|n| n as u64),
        budget: number(t, "budget"),
        budget_day: number(t, "budget_day"),
        exclude_guides: text(t, "exclude_guides").as_deref() != Some("false"),
        secret: secret(dir, &must(t, "secret")),
        prizes: prizes(mode, &list(t, "prize")),
        phases: list(t, "phase")
            .iter()
            .map(|p| {
                let (first, last) = entries_range(text(p, "entries"));
                let odds =
                    section(p, "odds").iter().map(|(k, v)| (k.clone(), parse_ratio(v.as_str().unwrap()))).collect();
                Phase { from: time(p, "from"), to: time(p, "to"), first, last, odds }
            })
            .collect(),
    }
}

pub(crate) fn read(base: &Path, file: &PathBuf) -> Rules {
    let path = base.join(file);
    let dir = path.parent().unwrap().to_path_buf();
    let t: Table = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")).parse().unwrap();
    let dedup = section(&t, "dedup");
    let attribution = section(&t, "attribution");
    let registers = section(&t, "registers");
    let mut stores = list(&t, "store");
    stores.extend(register(&dir, &registers, "stores"));
    let mut guides = list(&t, "guide");
    guides.extend(register(&dir, &registers, "guides"));
    let mut codes = list(&t, "code");
    codes.extend(register(&dir, &registers, "codes"));
    let mut ranges = list(&t, "range");
    ranges.extend(register(&dir, &registers, "ranges"));
    Rules {
        merchant: must(&t, "merchant"),
        currency: must(&t, "currency"),
        zone: TimeZone::get(&must(&t, "time_zone")).unwrap(),
        late: duration(&t, "late", "2d"),
        horizon_minutes: duration(&dedup, "horizon", "3d") / 60_000,
        debounce: duration(&dedup, "debounce", "0s"),
        window: duration(&attribution, "window", "15d"),
        model: match text(&attribution, "model").as_deref().unwrap_or("last") {
            "last" => Model::Last,
            "first" => Model::First,
            "linear" => Model::Linear,
            "position" => Model::Position,
            other => panic!("model {other}"),
        },
        protect: duration(&attribution, "protect", "0s"),
        members_new: text(&attribution, "members").as_deref() == Some("new"),
        refund_within: duration(&attribution, "refund_within", "90d"),
        touches_max: number(&attribution, "touches_max").unwrap_or(256) as usize,
        orders_max: number(&attribution, "orders_max").unwrap_or(10_000) as usize,
        names_max: number(&t, "names_max").unwrap_or(100_000) as usize,
        commissions: list(&t, "commission")
            .iter()
            .map(|c| {
                let (n, d) = parse_ratio(&must(c, "rate"));
                assert_eq!(n * 1_000_000 % d, 0);
                Commission {
                    from: time(c, "from"),
                    to: time(c, "to"),
                    store: text(c, "store"),
                    guide: text(c, "guide"),
                    level: text(c, "level"),
                    payee_store: text(c, "payee").as_deref() == Some("store"),
                    ppm: (n * 1_000_000 / d) as i128,
                    hold: duration(c, "hold", "0s"),
                }
            })
            .collect(),
        stores: stores
            .iter()
            .map(|s| (must(s, "id"), Store { region: text(s, "region"), gln: text(s, "gln") }))
            .collect(),
        guides: guides
            .iter()
            .map(|g| {
                let successor = match text(g, "successor").as_deref() {
                    None if text(g, "store").is_none() => Successor::Keep,
                    None | Some("store") => Successor::Store,
                    Some("keep") => Successor::Keep,
                    Some(other) => Successor::Guide(other.to_string()),
                };
                let guide = Guide {
                    store: text(g, "store"),
                    level: text(g, "level"),
                    shopper: text(g, "shopper"),
                    gsrn: text(g, "gsrn"),
                    left: time(g, "left"),
                    successor,
                };
                (must(g, "id"), guide)
            })
            .collect(),
        codes: codes
            .iter()
            .map(|c| {
                let code = StaticCode {
                    kind: must(c, "kind"),
                    guide: text(c, "guide"),
                    store: text(c, "store"),
                    campaign: text(c, "campaign"),
                    channel: text(c, "channel"),
                };
                (must(c, "id"), code)
            })
            .collect(),
        batches: minted::read(&dir, &list(&t, "batch"), &ranges),
        campaigns: list(&t, "campaign").iter().map(|c| (must(c, "id"), campaign(&dir, c))).collect(),
        funnels: list(&t, "funnel")
            .iter()
            .map(|f| Funnel {
                name: must(f, "name"),
                steps: strings(f, "steps"),
                within: parse_duration(&must(f, "within")),
                ticket: text(f, "ticket"),
                kind: text(f, "kind"),
            })
            .collect(),
    }
}
