//! Minted codes: batches, their ranges, and campaigns that draw them. All of it has dice of its own, so that what else a seed gives
//! stays as it was, with these parts and without them ([`super::MINTED`]).
pub(super) mod batch;
mod campaigns;
mod later;
pub(super) mod texts;

pub(super) use later::later;

use super::plan::{GTIN_BODY, Plan, Scale, quoted, with_check_digit};
use super::rng::Rng;
use batch::{Batch, RANGE_KEYS, Range, secret_file};
use data_encoding::HEXLOWER;
use std::fmt::Write;

/// What is written between these lines is written anew in each version.
const BEGIN: &str = "\n# minted codes\n";
const END: &str = "# end of minted codes\n";

/// Adds minted codes to the only version of a merchant's rules so far. `at`: the merchant's place among all.
pub(super) fn add(rng: &mut Rng, s: &Scale, p: &mut Plan, at: usize) {
    exclude_guides(rng, p);
    p.minted.csv = rng.percent(30);
    for i in 0..rng.range(1, 4) {
        let id = match rng.below(20) {
            0..6 => Some(campaigns::sealed_id(i)),
            6..11 => Some("moments".to_string()),
            11..17 => Some("minted-odds".to_string()),
            17..19 => Some("camp-1".to_string()),
            _ => None,
        };
        let batch = random_batch(rng, p, at, id.clone());
        if let Some(id) = id {
            campaigns::add(rng, s, p, &id, batch.count);
        }
        p.minted.batches.push(batch);
    }
    if rng.percent(75) {
        campaigns::add(rng, s, p, "moments", 0);
    }
    let shared = p.minted.shared.clone();
    for id in shared {
        if rng.percent(90) {
            let code = format!("LIVE-{id}");
            let table = format!(
                "\n[[code]]\nid = \"{code}\"\nkind = \"media\"\nchannel = \"livestream\"\ncampaign = \"{id}\"\n"
            );
            p.minted.campaigns.push_str(&table);
            p.minted.others.push(code);
        }
    }
    write_into(p, &format!("{}.toml", p.merchant), &format!("{}-ranges.csv", p.merchant));
}

/// Says of the campaigns that are there whether guides are excluded, or leaves it out.
fn exclude_guides(rng: &mut Rng, p: &mut Plan) {
    let rules = p.files.iter_mut().rfind(|(name, _)| name.ends_with(".toml")).unwrap();
    let line = |line: &str| {
        let key = if line.starts_with("mode = ") { campaigns::exclude_guides(rng) } else { "" };
        format!("{line}\n{key}")
    };
    rules.1 = rules.1.lines().map(line).collect();
}

fn random_batch(rng: &mut Rng, p: &mut Plan, at: usize, campaign: Option<String>) -> Batch {
    // unique among all merchants, and now and then the least or the greatest of all
    let number = loop {
        let number = match rng.below(8) {
            0 => at as u64,
            1 => (1 << 20) - 2 + at as u64,
            _ => 2 * rng.below(1 << 19) as u64 + at as u64,
        };
        if p.minted.batches.iter().all(|b| b.number != number) {
            break number;
        }
    };
    let is_sealed = campaign.as_deref().is_some_and(campaigns::is_sealed);
    let count = if is_sealed { 700_000 + rng.range(0, 300_000) } else { rng.range(1, 41) };
    let secret: Vec<u8> = (0..32).map(|_| rng.draw() as u8).collect();
    p.files.push((secret_file(&p.merchant, number), HEXLOWER.encode(&secret)));
    let mut keys = String::new();
    let mut maybe = |rng: &mut Rng, percent: u64, key: &str, value: String| {
        if rng.percent(percent) {
            writeln!(keys, "{key} = {value}").unwrap();
        }
    };
    let (guide, store) = (quoted(rng.pick(&p.guides).as_str()), quoted(rng.pick(&p.stores).as_str()));
    maybe(rng, 25, "guide", guide);
    maybe(rng, 25, "store", store);
    maybe(rng, 25, "channel", quoted("bottle"));
    let shoppers = rng.range(1, 6).to_string();
    maybe(rng, 30, "alarm_shoppers", shoppers);
    maybe(rng, 30, "url", quoted("https://m.example/c/"));
    let gtin = rng.percent(75).then(|| with_check_digit(&format!("{}{GTIN_BODY}", rng.below(3))));
    let kind = *rng.pick(&["interactive", "sales", "unlock", "repair"]);
    let hot = (0..rng.range(1, 4)).map(|_| rng.range(0, count)).chain([0, count - 1]).collect();
    let only_ranges = rng.percent(25);
    let mut batch = Batch { number, kind, count, campaign, secret, gtin, keys, only_ranges, ranges: vec![], hot };
    ranges(rng, p, &mut batch);
    batch
}

/// Some ranges that do not overlap, with ends at serials that are scanned.
fn ranges(rng: &mut Rng, p: &Plan, batch: &mut Batch) {
    batch.ranges.clear();
    let mut cuts: Vec<i64> =
        (0..rng.range(1, 7)).map(|_| (*rng.pick(&batch.hot) + rng.range(0, 2)).min(batch.count)).collect();
    cuts.sort();
    cuts.dedup();
    for ends in cuts.windows(2) {
        if rng.percent(25) {
            continue;
        }
        let state = [None, None, Some("active"), Some("frozen"), Some("void")][rng.below(5)];
        let mut maybe = |percent: u64, from: &[String]| rng.percent(percent).then(|| rng.pick(from).clone());
        let guide = maybe(25, &p.guides);
        let store = maybe(25, &p.stores);
        let region = maybe(75, &["33".into(), "3301".into(), "310000".into(), "44".into()]);
        let channel = maybe(25, &["bottle".into(), "outlet".into()]);
        batch.ranges.push(Range { from: ends[0], to: ends[1], state, cells: [guide, store, region, channel] });
    }
}

/// Writes the minted codes into a rules file, instead of those that are there.
fn write_into(p: &mut Plan, name: &str, csv_name: &str) {
    let minted = &p.minted;
    let (_, text) = p.files.iter_mut().rfind(|(file, _)| file == name).unwrap();
    if let Some(begin) = text.find(BEGIN) {
        let end = text.find(END).unwrap() + END.len();
        text.replace_range(begin..end, "");
    }
    let kept = |line: &&str| !line.starts_with("ranges = ");
    *text = text.lines().filter(kept).map(|line| format!("{line}\n")).collect();
    let mut section = BEGIN.to_string();
    if minted.csv {
        let register = format!("\n[registers]\nranges = \"{csv_name}\"\n");
        if text.contains("\n[registers]\n") {
            *text = text.replace("\n[registers]\n", &register);
        } else {
            section.push_str(&register);
        }
    }
    section.push_str(&minted.campaigns);
    let mut csv = format!("batch,from,to,state,{}\n", RANGE_KEYS.join(","));
    for batch in &minted.batches {
        batch.write(&p.merchant, &mut section);
        for range in &batch.ranges {
            let (number, from, to) = (batch.number, range.from, range.to);
            let cells = range.cells.each_ref().map(|cell| cell.clone().unwrap_or_default());
            writeln!(csv, "{number},{from},{to},{},{}", range.state.unwrap_or(""), cells.join(",")).unwrap();
            if minted.csv {
                continue;
            }
            write!(section, "\n[[range]]\nbatch = {number}\nfrom = {from}\nto = {to}\n").unwrap();
            let state = range.state.map(String::from);
            let pairs = [("state", &state)].into_iter().chain(RANGE_KEYS.into_iter().zip(&range.cells));
            for (key, value) in pairs.filter_map(|(key, value)| Some((key, value.as_ref()?))) {
                writeln!(section, "{key} = \"{value}\"").unwrap();
            }
        }
    }
    section.push_str(END);
    text.push_str(&section);
    if minted.csv {
        p.files.push((csv_name.to_string(), csv));
    }
}
