//! Campaigns of all modes, with random amounts and bounds of a day.
use super::super::plan::{Plan, Scale, optional, quoted, rfc3339};
use super::super::rng::Rng;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

const DAY: i64 = 86_400_000;

/// The campaign of one batch alone.
pub(super) fn sealed_id(n: i64) -> String {
    format!("sealed-{n}")
}

pub(super) fn is_sealed(id: &str) -> bool {
    id.starts_with("sealed-")
}

pub(super) fn exclude_guides(rng: &mut Rng) -> &'static str {
    ["", "", "exclude_guides = false\n", "exclude_guides = false\n", "exclude_guides = true\n"][rng.below(5)]
}

/// Adds the campaign, unless it is there. `codes`: how many codes a sealed one has.
pub(super) fn add(rng: &mut Rng, s: &Scale, p: &mut Plan, id: &str, codes: i64) {
    if id == "camp-1" || p.minted.shared.iter().any(|shared| shared == id) {
        return;
    }
    let mode = if is_sealed(id) { "sealed" } else { id.trim_start_matches("minted-") };
    let secret: Vec<u8> = (0..32).map(|_| rng.draw() as u8).collect();
    let file = format!("secrets/{}-{id}.key", p.merchant);
    p.files.push((file.clone(), HEXLOWER.encode(&secret)));
    let (from, to) = span(rng, s, p, mode);
    let mut t = format!("\n[[campaign]]\nid = \"{id}\"\nmode = \"{mode}\"\n");
    t.push_str(&format!("from = {}\nto = {}\n{}", rfc3339(from), rfc3339(to), exclude_guides(rng)));
    optional(rng, 10, &mut t, "areas", "[\"33\", \"3100\"]".into());
    for (percent, key, least, end) in [
        (20, "limit_total", 2, 14),
        (20, "limit_day", 1, 5),
        (30, "limit_wins", 1, 4),
        (35, "budget", 100, 4_000),
        (50, "budget_day", 50, 800),
    ] {
        let n = rng.range(least, end);
        optional(rng, percent, &mut t, key, n.to_string());
    }
    for (key, value) in [
        ("landing", "https://m.example/wheel"),
        ("organiser", "Acme Drinks, Hangzhou"),
        ("contact", "400-000-0000"),
        ("redeem", "At any store, with the bottle's cap"),
    ] {
        optional(rng, 25, &mut t, key, quoted(value));
    }
    t.push_str(&format!("secret = \"file:{file}\"\ncommit = \"{}\"\n", HEXLOWER.encode(&Sha256::digest(&secret))));
    let prizes = rng.range(1, 5);
    for j in 0..prizes {
        prize(rng, p, &mut t, mode, j, prizes, codes);
    }
    if mode == "odds" {
        phases(rng, &mut t, prizes);
    }
    p.minted.campaigns.push_str(&t);
    if mode != "sealed" {
        p.minted.shared.push(id.to_string());
    }
}

/// Moments lie close enough together that some come within the case.
fn span(rng: &mut Rng, s: &Scale, p: &Plan, mode: &str) -> (i64, i64) {
    let begins_within = rng.percent(20) && !p.moments.is_empty();
    let from = if begins_within { *rng.pick(&p.moments) } else { s.start - s.unit };
    let is_short = begins_within && rng.percent(50);
    let to = match mode {
        "moments" => from + rng.range(2, 40) * s.unit.max(if rng.percent(50) { DAY } else { 0 }),
        _ if is_short => from + rng.range(20, 200) * s.unit,
        _ => from + 400 * DAY,
    };
    (from, to)
}

fn prize(rng: &mut Rng, p: &Plan, t: &mut String, mode: &str, j: i64, prizes: i64, codes: i64) {
    t.push_str(&format!("\n[[campaign.prize]]\nid = \"p{j}\"\n"));
    let kind = *rng.pick(&["goods", "coupon", "points", "points", "cash", "cash", "cash"]);
    t.push_str(&format!("kind = \"{kind}\"\n"));
    match kind {
        "goods" => optional(rng, 50, t, "value", "500".into()),
        "coupon" => t.push_str("ticket = \"half\"\n"),
        _ => {
            let amount = rng.range(0, 600);
            t.push_str(&format!("amount = {amount}\n"));
            let most = amount + rng.range(0, 300);
            optional(rng, 65, t, "amount_max", most.to_string());
        }
    }
    match mode {
        "sealed" => t.push_str(&format!("count = {}\n", rng.range(codes / 10, codes / prizes + 1))),
        "moments" => t.push_str(&format!("count = {}\n", [1, 2, 5, 16][rng.below(4)])),
        _ => {}
    }
    let n = rng.range(1, 6);
    optional(rng, 40, t, "stock", n.to_string());
    let n = rng.range(1, 3);
    optional(rng, 50, t, "stock_day", n.to_string());
    if j + 1 < prizes && rng.percent(70) {
        t.push_str(&format!("else = \"p{}\"\n", rng.range(j + 1, prizes)));
    }
    if rng.percent(30) {
        t.push_str(&format!("unlock = \"{}\"\n", rng.pick(&["order", "join", "follow"])));
        // only what events aim at anyway
        if let (Some(ms), true) = (p.unlock_within.first(), rng.percent(60)) {
            t.push_str(&format!("unlock_within = \"{ms}ms\"\n"));
        }
    }
}

fn phases(rng: &mut Rng, t: &mut String, prizes: i64) {
    let firsts = ["entries = \"1\"\n", "entries = \"2..4\"\n", ""];
    for first in [*rng.pick(&firsts), ""].into_iter().skip(rng.below(2)) {
        t.push_str(&format!("\n[[campaign.phase]]\n{first}"));
        let odds = (0..prizes).map(|j| format!("\"p{j}\" = \"{}\"", rng.pick(&["1/4", "25%", "0.2", "3/13"])));
        let odds: Vec<String> = odds.collect();
        t.push_str(&format!("odds = {{ {} }}\n", odds.join(", ")));
    }
}
