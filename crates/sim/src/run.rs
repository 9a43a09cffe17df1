//! One run of one seed, and the search for a seed that shows what a safeguard prevents.

use std::collections::BTreeMap;

use crate::fleet;
use crate::safeguards::Without;
use crate::trace::Trace;
use crate::world::World;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed of the run.
    pub seed: u64,
    /// A hash of everything that happened: two runs of one seed have the same.
    pub trace_hash: u64,
    /// Number of steps.
    pub steps: u64,
    /// What is wrong; `None` if the run is clean.
    pub wrong: Option<String>,
    /// How often each thing happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// The trace, if it was requested.
    pub lines: Option<Vec<String>>,
}

/// The kind of deployment that a run simulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// One process on its own log, whose disk fails.
    Process,
    /// Processes of every role on a shared log.
    Fleet,
    /// One process that is killed between draws and grants, without other faults.
    ProcessKills,
    /// Processes of a fleet that are killed there.
    FleetKills,
}

/// Runs a seed without some safeguards.
#[must_use]
pub fn run(family: Family, seed: u64, without: Without, keeps_lines: bool) -> Report {
    let mut trace = Trace::new(keeps_lines);
    let result = match family {
        Family::Process | Family::ProcessKills => {
            let new = if family == Family::Process { World::new } else { World::with_kills };
            new(seed, without, keeps_lines).and_then(|(mut world, case)| {
                let result = world.run().and_then(|()| world.check(&case));
                let kind = if world.plan.is_one_path() { "world of one path" } else { "world of several paths" };
                world.trace.note(kind, format_args!("{} segments retired", world.retired));
                trace = std::mem::take(&mut world.trace);
                result
            })
        }
        Family::Fleet | Family::FleetKills => {
            let new = if family == Family::Fleet { fleet::World::new } else { fleet::World::with_kills };
            new(seed, without, keeps_lines).and_then(|mut world| {
                let result = world.run();
                let kind = if world.plan.is_one_path() { "fleet of one path" } else { "fleet of several paths" };
                world.trace.note(kind, format_args!(""));
                trace = std::mem::take(&mut world.trace);
                result
            })
        }
    };
    let wrong = result.err().map(|alarm| alarm.to_string());
    if let Some(wrong) = &wrong {
        trace.note("wrong", format_args!("{wrong}"));
    }
    Report { seed, trace_hash: trace.hash, steps: trace.steps, wrong, counts: trace.counts, lines: trace.lines }
}

/// The first seed below `seeds` whose run fails without some safeguards and says `says`, if it is clean with all safeguards.
#[must_use]
pub fn first_wrong(family: Family, seeds: u64, without: Without, says: &str) -> Option<Report> {
    let is_it = |report: &Report| report.wrong.as_ref().is_some_and(|wrong| wrong.contains(says));
    let wrong = |seed| Some(run(family, seed, without, false)).filter(is_it);
    let found = (0..seeds).find_map(wrong)?;
    run(family, found.seed, &[], false).wrong.is_none().then_some(found)
}
