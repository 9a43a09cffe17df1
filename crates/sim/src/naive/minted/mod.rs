//! Batches of minted codes, and where their items went (contract, section 3).
pub(crate) mod ff1;
pub(crate) mod token;

use super::fields::{must, secret, text};
use std::collections::BTreeMap;
use std::path::Path;
use token::Keys;
use toml::Table;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum State {
    Active,
    Frozen,
    Void,
    /// in no range of a batch whose ranges alone are active
    Dark,
}

pub(crate) struct Range {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) state: State,
    pub(crate) guide: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) channel: Option<String>,
}

pub(crate) struct Batch {
    pub(crate) kind: String,
    pub(crate) campaign: Option<String>,
    pub(crate) count: u64,
    /// in 14 digits
    pub(crate) gtin: Option<String>,
    pub(crate) only_ranges: bool,
    pub(crate) guide: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) channel: Option<String>,
    pub(crate) ranges: Vec<Range>,
    pub(crate) keys: Keys,
}

/// What the rules say of one serial.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) state: State,
    pub(crate) guide: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) channel: Option<String>,
}

impl Batch {
    pub(crate) fn lists_channel(&self, channel: &str) -> bool {
        let ranges = self.ranges.iter().map(|r| &r.channel);
        ranges.chain([&self.channel]).any(|c| c.as_deref() == Some(channel))
    }

    pub(crate) fn item(&self, serial: u64) -> Item {
        let (guide, store, channel) = (self.guide.clone(), self.store.clone(), self.channel.clone());
        match self.ranges.iter().find(|r| r.from <= serial && serial < r.to) {
            Some(r) => Item {
                state: r.state,
                guide: r.guide.clone().or(guide),
                store: r.store.clone().or(store),
                region: r.region.clone(),
                channel: r.channel.clone().or(channel),
            },
            None => {
                let state = if self.only_ranges { State::Dark } else { State::Active };
                Item { state, guide, store, region: None, channel }
            }
        }
    }
}

fn whole(t: &Table, key: &str) -> u64 {
    must(t, key).parse().unwrap()
}

fn range(t: &Table) -> Range {
    Range {
        from: whole(t, "from"),
        to: whole(t, "to"),
        state: match text(t, "state").as_deref() {
            None | Some("active") => State::Active,
            Some("frozen") => State::Frozen,
            Some("void") => State::Void,
            Some(other) => panic!("state {other}"),
        },
        guide: text(t, "guide"),
        store: text(t, "store"),
        region: text(t, "region"),
        channel: text(t, "channel"),
    }
}

/// number -> batch, with its ranges
pub(crate) fn read(dir: &Path, batches: &[Table], ranges: &[Table]) -> BTreeMap<u64, Batch> {
    let batch = |t: &Table| {
        let number = whole(t, "number");
        let batch = Batch {
            kind: must(t, "kind"),
            campaign: text(t, "campaign"),
            count: whole(t, "count"),
            gtin: text(t, "gtin").map(|gtin| format!("{gtin:0>14}")),
            only_ranges: text(t, "activate").as_deref() == Some("ranges"),
            guide: text(t, "guide"),
            store: text(t, "store"),
            channel: text(t, "channel"),
            ranges: ranges.iter().filter(|r| whole(r, "batch") == number).map(range).collect(),
            keys: Keys::of(&secret(dir, &must(t, "secret"))),
        };
        (number, batch)
    };
    batches.iter().map(batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(only_ranges: bool) -> Batch {
        let range = |from, to, state, guide: Option<&str>, region: Option<&str>| Range {
            from,
            to,
            state,
            guide: guide.map(String::from),
            store: None,
            region: region.map(String::from),
            channel: None,
        };
        Batch {
            kind: "sales".into(),
            campaign: None,
            count: 100,
            gtin: None,
            only_ranges,
            guide: Some("g1".into()),
            store: Some("s1".into()),
            channel: None,
            ranges: vec![
                range(10, 20, State::Active, Some("g2"), Some("33")),
                range(20, 30, State::Frozen, None, None),
                range(30, 31, State::Void, None, None),
            ],
            keys: Keys::of(&[0; 32]),
        }
    }

    #[test]
    fn state_is_the_ranges_and_outside_the_batchs() {
        let states = |b: &Batch| [9, 10, 19, 20, 29, 30, 31].map(|serial| b.item(serial).state);
        let (active, frozen) = (State::Active, State::Frozen);
        assert_eq!(states(&batch(false)), [active, active, active, frozen, frozen, State::Void, active]);
        let dark = State::Dark;
        assert_eq!(states(&batch(true)), [dark, active, active, frozen, frozen, State::Void, dark]);
    }

    #[test]
    fn each_field_is_the_ranges_else_the_batchs() {
        let fields = |serial| {
            let item = batch(false).item(serial);
            (item.guide.unwrap(), item.store.unwrap(), item.region)
        };
        assert_eq!(fields(10), ("g2".into(), "s1".into(), Some("33".into())));
        assert_eq!(fields(20), ("g1".into(), "s1".into(), None));
        assert_eq!(fields(0), ("g1".into(), "s1".into(), None));
    }
}
