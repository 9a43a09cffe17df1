//! One run of one seed, and the search for a seed that shows what a safeguard is for.

use std::collections::BTreeMap;

use crate::fleet;
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

/// How the system is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// One process on its own log, whose disk is hurt.
    Process,
    /// Processes of every role on a log that they share.
    Fleet,
}

/// Runs a seed, with everything that protects it unless `switches` says otherwise.
#[must_use]
pub fn run(family: Family, seed: u64, switches: Switches, keeps_lines: bool) -> Report {
    let mut trace = Trace::new(keeps_lines);
    let result = match family {
        Family::Process => World::new(seed, switches, keeps_lines).and_then(|(mut world, case)| {
            let result = world.run().and_then(|()| world.check(&case));
            let kind = if world.plan.is_one_road() { "world of one road" } else { "world of several roads" };
            world.trace.note(kind, format_args!("{} segments retired", world.retired));
            trace = std::mem::take(&mut world.trace);
            result
        }),
        Family::Fleet => fleet::World::new(seed, switches, keeps_lines).and_then(|mut world| {
            let result = world.run();
            let kind = if world.plan.is_one_road() { "fleet of one road" } else { "fleet of several roads" };
            world.trace.note(kind, format_args!(""));
            trace = std::mem::take(&mut world.trace);
            result
        }),
    };
    let wrong = result.err().map(|alarm| alarm.to_string());
    if let Some(wrong) = &wrong {
        trace.note("wrong", format_args!("{wrong}"));
    }
    Report { seed, trace_hash: trace.hash, steps: trace.steps, wrong, counts: trace.counts, lines: trace.lines }
}

/// The first of `seeds` seeds at which a run goes wrong with `switches`, and is clean with everything on.
#[must_use]
pub fn first_wrong(family: Family, seeds: u64, switches: Switches) -> Option<Report> {
    let wrong = |seed| Some(run(family, seed, switches, false)).filter(|report| report.wrong.is_some());
    let found = (0..seeds).find_map(wrong)?;
    run(family, found.seed, Switches::default(), false).wrong.is_none().then_some(found)
}
