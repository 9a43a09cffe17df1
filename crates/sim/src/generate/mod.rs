//! Random but valid rules, and streams of acceptable events that go for their edges.
mod events;
pub mod rng;
mod rules;

use rng::Rng;

#[derive(Clone, Debug)]
pub struct Case {
    /// (name relative to the rules directory, content)
    pub files: Vec<(String, String)>,
    pub rules_files: Vec<String>,
    pub lines: Vec<String>,
}

pub fn generate(seed: u64, events: usize) -> Case {
    let mut rng = Rng::new(seed);
    let merchants = if rng.percent(20) { 2 } else { 1 };
    let scale = rules::Scale::new(&mut rng);
    let plans: Vec<rules::Plan> =
        ["acme", "bolt"][..merchants].iter().map(|m| rules::plan(&mut rng, m, &scale)).collect();
    let lines = events::events(&mut rng, &plans, &scale, events);
    Case {
        files: plans.iter().flat_map(|p| p.files.clone()).collect(),
        rules_files: plans.iter().map(|p| format!("{}.toml", p.merchant)).collect(),
        lines,
    }
}
