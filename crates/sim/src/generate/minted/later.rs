//! Minted codes in versions that follow: ranges change their state, batches grow and appear.
use super::super::plan::Plan;
use super::super::rng::Rng;
use super::{random_batch, ranges, write_into};

/// Changes the version that was added last. `at`: the merchant's place among all.
pub(crate) fn later(rng: &mut Rng, p: &mut Plan, at: usize, name: &str) {
    let mut batches = std::mem::take(&mut p.minted.batches);
    for batch in &mut batches {
        if rng.percent(40) {
            // what was beyond the count is forged no longer
            let more = rng.range(1, 10);
            batch.hot.extend([batch.count, batch.count + more - 1]);
            batch.count += more;
        }
        if rng.percent(30) {
            batch.only_ranges = !batch.only_ranges;
        }
        if rng.percent(25) {
            ranges(rng, p, batch);
        }
        for range in &mut batch.ranges {
            if rng.percent(40) {
                range.state = match range.state {
                    None | Some("active") => Some(["frozen", "void"][rng.below(2)]),
                    _ => None,
                };
            }
        }
        batch.ranges.retain(|_| rng.percent(85));
    }
    p.minted.batches = batches;
    if rng.percent(40) {
        // its tokens are unknown before this version
        let shared = &p.minted.shared;
        let campaign = if shared.is_empty() { None } else { Some(rng.pick(shared).clone()) };
        let new = random_batch(rng, p, at, campaign);
        p.minted.batches.push(new);
    }
    write_into(p, name, &name.replace(".toml", "-ranges.csv"));
}
