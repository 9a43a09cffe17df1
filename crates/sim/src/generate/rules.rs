//! Random valid rules.
use super::gtins;
use super::plan::{GTIN_BODY, Plan, RATES, Scale, moment, optional, quoted, rfc3339, with_check_digit};
use super::rng::Rng;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

fn urls(rng: &mut Rng, id: &str) -> String {
    let gtin = with_check_digit(&format!("0{GTIN_BODY}"));
    let encoded = id.replace('~', "%7E").replace(' ', "%20");
    match rng.below(9) {
        0 => format!("https://m.example/x/y?a=1&c={encoded}"),
        1 => format!("https://m.example/c/{encoded}"),
        2 => format!("https://id.example/01/{gtin}/21/{encoded}"),
        3 => format!("https://id.example/a/01/{gtin}/10/L1/21/{encoded}?x=2"),
        4 => format!("https://id.example/01/{gtin}/22/2A/21/{encoded}#top"),
        _ => id.to_string(),
    }
}

pub(crate) fn plan(rng: &mut Rng, merchant: &str, s: &Scale) -> Plan {
    let mut p =
        Plan { merchant: merchant.into(), currency: rng.pick(&["CNY", "USD", "JPY"]).to_string(), ..Plan::default() };
    let mut t = format!("merchant = \"{merchant}\"\ncurrency = \"{}\"\n", p.currency);
    let zones = ["Asia/Shanghai", "UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"];
    t += &format!("time_zone = \"{}\"\n", rng.pick(&zones));
    let duration = |rng: &mut Rng, t: &mut String, key: &str, from: i64, to: i64, default: Option<i64>| match default {
        Some(ms) if rng.percent(15) => ms,
        _ => {
            let (text, ms) = s.duration(rng, from, to);
            t.push_str(&format!("{key} = \"{text}\"\n"));
            ms
        }
    };
    const DAY: i64 = 86_400_000;
    p.late = duration(rng, &mut t, "late", 1, 8, Some(2 * DAY));
    t += "\n[dedup]\n";
    let minutes = (rng.range(1, 12) * s.unit / 60_000).clamp(1, 45 * 1440);
    p.horizon = minutes * 60_000;
    t += &format!("horizon = \"{minutes}m\"\n");
    p.debounce = duration(rng, &mut t, "debounce", 1, 6, Some(0));
    t += "\n[attribution]\n";
    p.window = duration(rng, &mut t, "window", 2, 25, None);
    t += &format!("model = \"{}\"\n", rng.pick(&["last", "last", "first", "linear", "position", "position"]));
    p.protect = duration(rng, &mut t, "protect", 1, 5, Some(0));
    optional(rng, 40, &mut t, "members", quoted("new"));
    p.refund_within = duration(rng, &mut t, "refund_within", 5, 60, Some(90 * DAY));
    let most = rng.range(1, 12);
    optional(rng, 60, &mut t, "touches_max", most.to_string());

    let buyers = rng.range(3, 9);
    p.shoppers = (1..=buyers).map(|i| format!("u{i}")).collect();
    stores_and_guides(rng, s, &mut p, &mut t);
    let campaigns: Vec<String> = (1..=rng.range(1, 4)).map(|i| format!("camp-{i}")).collect();
    codes(rng, &mut p, &mut t, &campaigns);
    for (i, id) in campaigns.iter().enumerate() {
        campaign(rng, s, &mut p, &mut t, id, i);
    }
    funnels(rng, s, &mut p, &mut t);
    p.files.push((format!("{merchant}.toml"), t));
    p
}

/// Tables in the rules file, or a register.
fn table(
    p: &mut Plan,
    t: &mut String,
    registers: &mut String,
    kind: &str,
    csv: bool,
    keys: &[&str],
    rows: &[Vec<Option<String>>],
) {
    if csv {
        let mut text = keys.join(",") + "\n";
        for row in rows {
            let cells: Vec<String> = row.iter().map(|c| c.clone().unwrap_or_default()).collect();
            text += &(cells.join(",") + "\n");
        }
        let name = format!("{}-{kind}s.csv", p.merchant);
        registers.push_str(&format!("{kind}s = \"{name}\"\n"));
        p.files.push((name, text));
        return;
    }
    for row in rows {
        t.push_str(&format!("\n[[{kind}]]\n"));
        for (key, cell) in keys.iter().zip(row) {
            if let Some(cell) = cell {
                // a time is a TOML time, all else a string
                let value = if *key == "left" { cell.clone() } else { quoted(cell) };
                t.push_str(&format!("{key} = {value}\n"));
            }
        }
    }
}

fn stores_and_guides(rng: &mut Rng, s: &Scale, p: &mut Plan, t: &mut String) {
    let mut registers = String::new();
    let mut stores = vec![];
    for i in 1..=rng.range(2, 5) {
        let gln = with_check_digit(&format!("69012340000{i}"));
        let has_gln = rng.percent(60);
        if has_gln {
            p.codes.push(format!("https://id.example/414/{gln}{}", if rng.percent(50) { "/254/9" } else { "" }));
        }
        let region = rng.percent(80).then(|| rng.pick(&["330100", "310000", "440300"]).to_string());
        stores.push(vec![Some(format!("s{i}")), region, has_gln.then_some(gln)]);
        p.stores.push(format!("s{i}"));
    }
    let many = rng.range(2, 7);
    let mut guides = vec![];
    let mut levels = vec![];
    for i in 1..=many {
        let store = rng.pick(&p.stores).clone();
        let level = rng.percent(60).then(|| rng.pick(&["gold", "silver"]).to_string());
        levels.extend(level.clone());
        let shopper = (rng.percent(50) && i <= p.shoppers.len() as i64).then(|| p.shoppers[i as usize - 1].clone());
        let gsrn = with_check_digit(&format!("6901234000000000{i}"));
        let has_gsrn = rng.percent(50);
        if has_gsrn {
            p.codes.push(format!("https://id.example/x/8017/{gsrn}"));
        }
        let left = rng.percent(60).then(|| {
            let at = moment(rng, s);
            p.moments.push(at);
            rfc3339(at)
        });
        let successor = match rng.below(6) {
            _ if left.is_none() => None,
            0 => None,
            1 => Some("store".into()),
            2 => Some("keep".into()),
            3..=5 if i < many => Some(format!("g{}", rng.range(i + 1, many + 1))),
            _ => None,
        };
        // Of three and more the last is of the head office. No dice: what else a seed gives stays as it was.
        let has_store = i < 3 || i + 1 < many;
        guides.push(vec![
            Some(format!("g{i}")),
            has_store.then_some(store),
            level,
            shopper,
            has_gsrn.then_some(gsrn),
            left,
            successor.filter(|to| has_store || to != "store"),
        ]);
        p.guides.push(format!("g{i}"));
    }
    let csv = rng.percent(30);
    table(p, t, &mut registers, "store", csv, &["id", "region", "gln"], &stores);
    let csv = rng.percent(30);
    table(
        p,
        t,
        &mut registers,
        "guide",
        csv,
        &["id", "store", "level", "shopper", "gsrn", "left", "successor"],
        &guides,
    );
    if !registers.is_empty() {
        t.push_str(&format!("\n[registers]\n{registers}"));
    }
    // one hold for all commissions, mostly: of a payee under several the contract does not say which counts
    let one_hold = rng.percent(80).then(|| s.duration(rng, 0, 20).0);
    for i in 0..rng.range(1, 6) {
        t.push_str("\n[[commission]]\n");
        if rng.percent(40) && i < 4 {
            let (a, b) = (moment(rng, s), moment(rng, s));
            p.moments.extend([a, b]);
            if rng.percent(70) {
                t.push_str(&format!("from = {}\n", rfc3339(a.min(b))));
            }
            t.push_str(&format!("to = {}\n", rfc3339(a.max(b) + 1)));
        }
        let payee_store = rng.percent(35);
        if payee_store {
            t.push_str("payee = \"store\"\n");
        }
        if !levels.is_empty() && !payee_store {
            let level = quoted(rng.pick(&levels).as_str());
            optional(rng, 25, t, "level", level);
        }
        let (store, guide) = (quoted(rng.pick(&p.stores).as_str()), quoted(rng.pick(&p.guides).as_str()));
        optional(rng, 25, t, "store", store);
        if !payee_store {
            optional(rng, 20, t, "guide", guide);
        }
        t.push_str(&format!("rate = \"{}\"\n", rng.pick(&RATES)));
        let hold = one_hold.clone().unwrap_or_else(|| s.duration(rng, 0, 20).0);
        t.push_str(&format!("hold = \"{hold}\"\n"));
    }
    if rng.percent(75) {
        let hold = one_hold.unwrap_or_else(|| s.duration(rng, 0, 20).0);
        t.push_str(&format!("\n[[commission]]\nrate = \"6%\"\nhold = \"{hold}\"\n"));
        if rng.percent(50) {
            t.push_str(&format!("\n[[commission]]\npayee = \"store\"\nrate = \"1.5%\"\nhold = \"{hold}\"\n"));
        }
    }
}

fn codes(rng: &mut Rng, p: &mut Plan, t: &mut String, campaigns: &[String]) {
    let kinds = [
        "product",
        "service",
        "media",
        "interactive",
        "store",
        "guide",
        "sales",
        "unlock",
        "repair",
        "interactive",
        "media",
    ];
    let keys = ["id", "kind", "guide", "store", "campaign", "channel"];
    let mut rows = vec![];
    let mut registered = vec![];
    for i in 0..rng.range(12, 26) {
        let kind = if i < 11 { kinds[i as usize] } else { *rng.pick(&kinds) };
        let id = match rng.below(6) {
            0 => format!("K~{i}"),
            _ => format!("{}-{i}", kind.to_uppercase()),
        };
        let item = ["interactive", "sales", "unlock", "repair"].contains(&kind);
        let mut some = |percent: u64, from: &[String]| rng.percent(percent).then(|| rng.pick(from).clone());
        let guide = some(
            if kind == "guide" {
                100
            } else if kind == "store" {
                0
            } else {
                20
            },
            &p.guides,
        );
        let store = some(
            if kind == "store" {
                100
            } else if kind == "guide" {
                10
            } else {
                20
            },
            &p.stores,
        );
        let campaign = some(if item { 80 } else { 45 }, campaigns);
        let channel = some(30, &["magazine".to_string(), "livestream".to_string(), "a, \\\"b".to_string()][..2]);
        let row = vec![Some(id.clone()), Some(kind.to_string()), guide, store, campaign, channel];
        if rng.percent(20) {
            registered.push(row);
        } else {
            rows.push(row);
        }
        let text = urls(rng, &id);
        if item {
            p.items.push(text.clone());
            p.items.push(id);
        } else {
            p.codes.push(text.clone());
            p.codes.push(id);
        }
    }
    rows.extend(gtins::rows(rows.len(), campaigns.first()));
    let mut registers = String::new();
    table(p, t, &mut registers, "code", false, &keys, &rows);
    if !registered.is_empty() {
        table(p, t, &mut registers, "code", true, &keys, &registered);
        if t.contains("\n[registers]\n") {
            *t = t.replace("\n[registers]\n", &format!("\n[registers]\n{registers}"));
        } else {
            t.push_str(&format!("\n[registers]\n{registers}"));
        }
    }
    let gtin13 = with_check_digit(GTIN_BODY);
    let gtin14 = with_check_digit(&format!("1{GTIN_BODY}"));
    p.codes.extend([
        gtin13.clone(),
        with_check_digit("9638507"),
        with_check_digit("03600029145"),
        gtin14.clone(),
        format!("https://id.example/01/{gtin14}/10/LOT9"),
        format!("https://id.example/01/{gtin14}/21/NOT-LISTED"),
        format!("https://id.example/01/{gtin14}/21/"),
        // its serial is a GTIN, which does not count as one
        format!("https://id.example/01/{gtin14}/21/{gtin13}"),
    ]);
    p.unknown = vec![
        "whatever".into(),
        "0123456789ABCDEFGHJK".into(), // the shape of a token
        "6901234567890".into(),        // a wrong check digit
        format!("https://id.example/414/{}", with_check_digit("690123400009")),
        format!("https://id.example/8017/{}", with_check_digit("69012340000000009")),
        "https://m.example/c/none".into(),
        "https://m.example/?c=n%2C1".into(),
        "https://id.example/01/06901234567890".into(), // a wrong check digit
        "扫码, \"x\"".into(),
    ];
}

pub(super) fn campaign(rng: &mut Rng, s: &Scale, p: &mut Plan, t: &mut String, id: &str, i: usize) {
    let secret: Vec<u8> = (0..32).map(|_| rng.draw() as u8).collect();
    let file = format!("secrets/{}-campaign-{i}.key", p.merchant);
    p.files.push((file.clone(), HEXLOWER.encode(&secret) + if rng.percent(50) { "\n" } else { "" }));
    let wide = rng.percent(50);
    let from = s.start + if wide { -5 * s.unit } else { rng.range(-2, 25) * s.unit };
    let to = if wide { from + 400 * 86_400_000 } else { from + rng.range(50, 400) * s.unit };
    p.moments.extend([from, from]);
    if !wide {
        p.moments.extend([to, to]);
    }
    t.push_str(&format!(
        "\n[[campaign]]\nid = \"{id}\"\nmode = \"odds\"\nfrom = {}\nto = {}\n",
        rfc3339(from),
        rfc3339(to)
    ));
    optional(rng, 20, t, "areas", "[\"33\", \"3100\"]".into());
    let n = rng.range(2, 14);
    optional(rng, 30, t, "limit_total", n.to_string());
    let n = rng.range(1, 5);
    optional(rng, 30, t, "limit_day", n.to_string());
    let n = rng.range(1, 4);
    optional(rng, 40, t, "limit_wins", n.to_string());
    let n = rng.range(100, 6000);
    optional(rng, 40, t, "budget", n.to_string());
    t.push_str(&format!("secret = \"file:{file}\"\ncommit = \"{}\"\n", HEXLOWER.encode(&Sha256::digest(&secret))));
    let prizes = rng.range(1, 5);
    let id_of = |j: i64| ["red", "bottle", "points", "half"][(j + i as i64) as usize % 4].to_string() + &j.to_string();
    for j in 0..prizes {
        t.push_str(&format!("\n[[campaign.prize]]\nid = \"{}\"\n", id_of(j)));
        match rng.below(6) {
            0 => t.push_str("kind = \"goods\"\n"),
            1 => t.push_str("kind = \"coupon\"\nticket = \"half\"\n"),
            2 => t.push_str("kind = \"points\"\namount = 5\n"),
            _ => t.push_str(&format!("kind = \"cash\"\namount = {}\n", rng.range(1, 900))),
        }
        let n = rng.range(1, 5);
        optional(rng, 55, t, "stock", n.to_string());
        if j + 1 < prizes && rng.percent(70) {
            let next = id_of(rng.range(j + 1, prizes));
            t.push_str(&format!("else = \"{next}\"\n"));
        } else {
            optional(rng, 20, t, "else", quoted("thanks"));
        }
        if rng.percent(45) {
            t.push_str(&format!("unlock = \"{}\"\n", rng.pick(&["order", "join", "follow"])));
            if rng.percent(75) {
                let (text, ms) = s.duration(rng, 1, 15);
                t.push_str(&format!("unlock_within = \"{text}\"\n"));
                p.unlock_within.push(ms);
            }
        }
    }
    let phases = rng.range(1, 4);
    for k in 0..phases {
        t.push_str("\n[[campaign.phase]]\n");
        let last = k + 1 == phases && rng.percent(60);
        if !last {
            if rng.percent(50) {
                t.push_str(&format!("entries = \"{}\"\n", rng.pick(&["1", "2..", "2..4", "1..3", "3"])));
            }
            if rng.percent(40) {
                let a = rng.range(0, 150) * s.unit;
                let b = a + rng.range(1, 150) * s.unit;
                p.moments.extend([s.start + a, s.start + b]);
                t.push_str(&format!("from = {}\nto = {}\n", rfc3339(s.start + a), rfc3339(s.start + b)));
            }
        }
        // each at most a quarter or a third, so that they never pass 1; or all of it to one
        let mut odds: Vec<String> = vec![];
        if rng.percent(25) {
            odds.push(format!("\"{}\" = \"{}\"", id_of(rng.range(0, prizes)), rng.pick(&["1", "100%", "1.0", "7/7"])));
        } else {
            for j in 0..prizes {
                if rng.percent(85) {
                    odds.push(format!(
                        "\"{}\" = \"{}\"",
                        id_of(j),
                        rng.pick(&["1/4", "25%", "0.25", "1/7", "3/13", "20%", "1/1000"])
                    ));
                }
            }
            if rng.percent(50) {
                odds.reverse();
            }
        }
        if odds.is_empty() {
            odds.push(format!("\"{}\" = \"1/3\"", id_of(0)));
        }
        t.push_str(&format!("odds = {{ {} }}\n", odds.join(", ")));
    }
}

fn funnels(rng: &mut Rng, s: &Scale, p: &mut Plan, t: &mut String) {
    let shapes = [
        "\"visit\", \"claim\", \"return\", \"order\"",
        "\"visit\", \"return\", \"return\"",
        "\"scan\", \"join\", \"order\"",
        "\"claim\", \"redeem\"",
        "\"claim\", \"scan\", \"redeem\"",
        "\"follow\", \"scan\", \"scan\"",
        "\"join\", \"visit\", \"order\", \"order\"",
    ];
    for i in 0..rng.range(1, 4) {
        let (text, ms) = s.duration(rng, 2, 20);
        p.funnel_within.push(ms);
        t.push_str(&format!("\n[[funnel]]\nname = \"f{i}\"\nsteps = [{}]\nwithin = \"{text}\"\n", rng.pick(&shapes)));
        optional(rng, 40, t, "ticket", quoted("1111"));
        let kind: &str = rng.pick::<&str>(&["media", "product", "interactive"]);
        let kind = quoted(kind);
        optional(rng, 40, t, "kind", kind);
    }
}
