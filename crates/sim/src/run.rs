//! One run of one seed, and the search for a seed that shows what a safeguard is for.

use std::collections::BTreeMap;

use crate::oracle;
use crate::plan::Switches;
use crate::trace::Trace;
use crate::world::World;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    pub trace_hash: u64,
    pub steps: u64,
    /// What is wrong; `None` if the run is clean.
    pub wrong: Option<String>,
    /// How often each thing happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// The trace, where it was asked for.
    pub lines: Option<Vec<String>>,
}

/// Runs a seed, with everything that protects it unless `switches` says otherwise.
#[must_use]
pub fn run(seed: u64, switches: Switches, keeps_lines: bool) -> Report {
    let mut trace = Trace::new(keeps_lines);
    let result = World::new(seed, switches, keeps_lines).and_then(|(mut world, case)| {
        let result = world.run().and_then(|()| oracle::check(&mut world, &case));
        let kind = if world.plan.is_one_road() { "world of one road" } else { "world of several roads" };
        world.trace.note(kind, format_args!("{} segments retired", world.retired));
        trace = std::mem::take(&mut world.trace);
        result
    });
    let wrong = result.err().map(|alarm| alarm.to_string());
    if let Some(wrong) = &wrong {
        trace.note("wrong", format_args!("{wrong}"));
    }
    Report { seed, trace_hash: trace.hash, steps: trace.steps, wrong, counts: trace.counts, lines: trace.lines }
}

/// The first of so many seeds at which a run goes wrong with `switches`, and is clean with everything on.
#[must_use]
pub fn first_wrong(seeds: u64, switches: Switches) -> Option<Report> {
    let wrong = |seed| Some(run(seed, switches, false)).filter(|report| report.wrong.is_some());
    let found = (0..seeds).find_map(wrong)?;
    run(found.seed, Switches::default(), false).wrong.is_none().then_some(found)
}
