//! Versions that follow a merchant's rules: other rates, more codes, another campaign. Horizon, window and debounce do not change,
//! so that the model can follow event by event.
use super::plan::{Plan, RATES, Scale, quoted};
use super::rng::Rng;
use super::rules::campaign;

/// The next version, as a file of the plan; its name.
pub(crate) fn later(rng: &mut Rng, s: &Scale, p: &mut Plan, n: usize) -> String {
    let last = p.files.iter().rfind(|(name, _)| name.starts_with(&p.merchant) && name.ends_with(".toml"));
    let mut t = other_rates(rng, &last.unwrap().1);
    let mut campaigns = vec![];
    if rng.percent(60) {
        let id = format!("later-{n}");
        campaign(rng, s, p, &mut t, &id, 10 * n);
        campaigns.push(id);
    }
    for k in 0..rng.range(1, 4) {
        more_codes(rng, p, &mut t, &campaigns, &format!("LATER-{n}-{k}"));
    }
    if n == 1 && rng.percent(50) {
        // What was an unknown code so far becomes a known one.
        let known = p.unknown[0].clone();
        t.push_str(&format!("\n[[code]]\nid = {}\nkind = \"media\"\nchannel = \"late\"\n", quoted(&known)));
    }
    let name = format!("{}-v{n}.toml", p.merchant);
    p.files.push((name.clone(), t));
    name
}

fn other_rates(rng: &mut Rng, text: &str) -> String {
    let line = |line: &str| {
        let changes = line.starts_with("rate = ") && rng.percent(60);
        if changes { format!("rate = {}\n", quoted(rng.pick::<&str>(&RATES))) } else { format!("{line}\n") }
    };
    text.lines().map(line).collect()
}

fn more_codes(rng: &mut Rng, p: &mut Plan, t: &mut String, campaigns: &[String], id: &str) {
    let kind = *rng.pick(&["product", "service", "media", "interactive", "sales", "unlock"]);
    let is_item = matches!(kind, "interactive" | "sales" | "unlock");
    t.push_str(&format!("\n[[code]]\nid = {}\nkind = {}\n", quoted(id), quoted(kind)));
    let mut maybe = |percent: u64, key: &str, from: &[String]| {
        if rng.percent(percent) && !from.is_empty() {
            t.push_str(&format!("{key} = {}\n", quoted(rng.pick(from).as_str())));
        }
    };
    maybe(25, "guide", &p.guides);
    maybe(25, "store", &p.stores);
    maybe(80, "campaign", campaigns);
    // In front, where few codes are scanned often; before its version comes it is unknown.
    let texts = if is_item { &mut p.items } else { &mut p.codes };
    texts.insert(0, id.to_owned());
}
