//! A stream in which shoppers do not race: each has codes of its own, prizes have no end.

use std::fmt::Write;
use std::path::Path;

use data_encoding::HEXLOWER;

pub(crate) const SHOPPERS: u64 = 60;
const GUIDES: u64 = 8;
/// Number of one-item codes per shopper.
const ITEMS: u64 = 6;
const START: u64 = 1_794_326_400_000;

/// Writes the rules and their secret into a directory.
pub(crate) fn write_rules(dir: &Path) {
    let mut rules = String::from(
        r#"
merchant = "steady"
currency = "CNY"
time_zone = "Asia/Shanghai"
late = "1h"
[dedup]
horizon = "6h"
debounce = "10s"
[attribution]
protect = "1m"
refund_within = "2d"
[[commission]]
rate = "5%"
hold = "7d"
[[campaign]]
id = "wheel"
mode = "odds"
from = 2026-11-01T00:00:00+08:00
to   = 2027-01-01T00:00:00+08:00
limit_day = 5
secret = "file:wheel.key"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
[[campaign.prize]]
id = "red-1"
kind = "cash"
amount = 100
unlock = "order"
unlock_within = "1h"
[[campaign.phase]]
odds = { "red-1" = "1/3" }
[[funnel]]
name = "road"
steps = ["scan", "join", "order"]
within = "2h"
[[store]]
id = "s-1"
region = "330100"
[[code]]
id = "POSTER"
kind = "media"
channel = "metro"
campaign = "wheel"
"#,
    );
    for guide in 0..GUIDES {
        let _ = write!(
            rules,
            "[[guide]]\nid = \"g-{guide}\"\nstore = \"s-1\"\n[[code]]\nid = \"G-{guide}\"\nkind = \"guide\"\nguide = \"g-{guide}\"\n"
        );
    }
    for item in 0..SHOPPERS * ITEMS {
        let _ = write!(rules, "[[code]]\nid = \"ITEM-{item}\"\nkind = \"interactive\"\ncampaign = \"wheel\"\n");
    }
    std::fs::write(dir.join("rules.toml"), rules).expect("a file");
    let secret = HEXLOWER.encode(&(0..32).collect::<Vec<u8>>());
    std::fs::write(dir.join("wheel.key"), secret).expect("a file");
}

/// Makes `count` events in time order, the same ones for the same count.
pub(crate) fn events(count: u64) -> Vec<String> {
    let mut state = 0x5EED_u64;
    let mut dice = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut time = START;
    let mut orders: Vec<(u64, u64)> = Vec::new();
    (0..count)
        .map(|i| {
            time += dice(4_000);
            let u = dice(SHOPPERS);
            let (head, tail) = (format!("{{\"id\":\"e{i}\",\"shopper\":\"u{u}\""), format!("\"time\":{time}}}"));
            match dice(20) {
                0..=4 => format!("{head},\"action\":\"scan\",\"code\":\"G-{}\",{tail}", dice(GUIDES)),
                5..=8 => format!("{head},\"action\":\"scan\",\"code\":\"POSTER\",{tail}"),
                9..=11 => {
                    format!("{head},\"action\":\"scan\",\"code\":\"ITEM-{}\",\"region\":\"330102\",{tail}", u * ITEMS + dice(ITEMS))
                }
                12..=13 => format!("{head},\"action\":\"visit\",\"channel\":\"app\",{tail}"),
                14 => format!("{head},\"action\":\"join\",{tail}"),
                15 => {
                    let late = time - 2 * 3_600_000;
                    format!("{head},\"action\":\"visit\",\"time\":{late}}}")
                }
                16 if !orders.is_empty() => {
                    let (order, shopper) = orders[usize::try_from(dice(orders.len() as u64)).expect("small")];
                    format!(
                        "{{\"id\":\"e{i}\",\"shopper\":\"u{shopper}\",\"action\":\"refund\",\"order\":\"o{order}\",\"amount\":{},{tail}",
                        100 + dice(4_000)
                    )
                }
                _ => {
                    orders.push((i, u));
                    format!("{head},\"action\":\"order\",\"order\":\"o{i}\",\"amount\":{},{tail}", 500 + dice(20_000))
                }
            }
        })
        .collect()
}
