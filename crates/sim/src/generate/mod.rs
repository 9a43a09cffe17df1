//! Random but valid rules, and streams of acceptable events that aim at the limits of the rules.
mod codes;
mod events;
mod gtins;
mod later;
mod minted;
mod plan;
pub mod rng;
mod rules;

use plan::{Plan, Scale};
use rng::Rng;

/// Rules and events.
#[derive(Clone, Debug)]
pub struct Case {
    /// (name relative to the rules directory, content)
    pub files: Vec<(String, String)>,
    /// Names of the rules files.
    pub rules_files: Vec<String>,
    /// The events, one JSON object a line.
    pub lines: Vec<String>,
}

/// The case of a seed.
pub fn generate(seed: u64, events: usize) -> Case {
    generate_with_later(seed, events, 0).0
}

/// The case of a seed with `names_max`, a bound of each partition: for a pipeline with one partition only.
pub fn generate_for_one_partition(seed: u64, events: usize) -> Case {
    let mut case = generate(seed, events);
    let mut rng = Rng::new(seed ^ BOUNDS);
    for (_, rules) in case.files.iter_mut().filter(|(name, _)| case.rules_files.contains(name)) {
        if rng.percent(50) {
            *rules = format!("names_max = {}\n{rules}", rng.range(0, 6));
        }
    }
    case
}

/// Added to a seed for the bounds, so that the other choices of the seed stay the same.
const BOUNDS: u64 = 0x000B_0B5D;
const ONE_SHOPPER: u64 = 0x0054_0994;

/// Bounds how many orders the shoppers of some merchants have; some merchants have one shopper, who does everything.
fn bound_orders(seed: u64, plans: &mut [Plan]) {
    let mut rng = Rng::new(seed ^ BOUNDS);
    for plan in &mut *plans {
        if Rng::new(seed ^ ONE_SHOPPER).percent(10) {
            plan.shoppers.truncate(1);
        }
    }
    for (name, rules) in plans.iter_mut().flat_map(|plan| &mut plan.files) {
        if name.ends_with(".toml") && rng.percent(30) {
            let bound = format!("[attribution]\norders_max = {}\n", rng.range(1, 6));
            *rules = rules.replacen("[attribution]\n", &bound, 1);
        }
    }
}

/// Whether cases have minted codes, sealed draws, moments and excluded guides. Without them a seed gives what it gave before there
/// were any, line by line; with them the rules have more, and some events bear another code.
pub const MINTED: bool = true;

/// Added to a seed for minted codes, and for the events that bear them.
const MINTED_RULES: u64 = 0x0031_47ED;
const MINTED_EVENTS: u64 = 0x00C0_DE5C;

/// A case, and the rules files of `later` versions that follow its own, of random merchants, in their order.
pub fn generate_with_later(seed: u64, events: usize, later: usize) -> (Case, Vec<String>) {
    generate_with(seed, events, later, MINTED)
}

/// The same, with or without what [`MINTED`] names.
pub fn generate_with(seed: u64, events: usize, later: usize, minted: bool) -> (Case, Vec<String>) {
    let mut rng = Rng::new(seed);
    let merchants = if rng.percent(20) { 2 } else { 1 };
    let scale = Scale::new(&mut rng);
    let mut plans: Vec<Plan> = ["acme", "bolt"][..merchants].iter().map(|m| rules::plan(&mut rng, m, &scale)).collect();
    let mut minted_rng = Rng::new(seed ^ MINTED_RULES);
    if minted {
        plans.iter_mut().enumerate().for_each(|(at, plan)| minted::add(&mut minted_rng, &scale, plan, at));
    }
    let later = (1..=later).map(|n| {
        let at = rng.below(plans.len());
        let name = later::later(&mut rng, &scale, &mut plans[at], n);
        if minted {
            minted::later(&mut minted_rng, &mut plans[at], at, &name);
        }
        name
    });
    let later = later.collect();
    bound_orders(seed, &mut plans);
    let lines = events::events(&mut rng, &mut Rng::new(seed ^ MINTED_EVENTS), &plans, &scale, events);
    let case = Case {
        files: plans.iter().flat_map(|p| p.files.clone()).collect(),
        rules_files: plans.iter().map(|p| format!("{}.toml", p.merchant)).collect(),
        lines,
    };
    (case, later)
}
