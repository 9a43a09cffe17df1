//! The whole system on one thread, driven by a seed, and a model to compare it with.
//!
//! - [`run`]: one run of one seed, and the search for a seed that shows what a safeguard prevents
//! - [`oracle`]: the checks at the end of a run
//! - [`world`]: one process with everything in it, step by step, and its faults
//! - [`fleet`]: the same as a fleet of processes on a shared log
//! - [`clients`], [`edge`], [`database`]: what both kinds of deployment have
//! - [`kills`]: kills between a draw and its grant
//! - [`safeguards`]: what a run does without one of them
//! - [`cost`]: how much of what they keep desks look at, for each event
//! - [`floods`]: events that reach a bound and go on, with the bound and without it
//! - [`trace`], [`alarm`]: what happened, and why a run stopped
//! - [`generate`]: random rules, and events that try their limits
//! - [`naive`]: the contract as a plain model; it shares no code with the other crates

mod alarm;
mod bundles;
pub mod clients;
mod cost;
mod database;
pub mod edge;
mod fleet;
pub mod floods;
#[expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::needless_pass_by_value,
    reason = "a generator of cases, plain on purpose"
)]
pub mod generate;
pub mod kills;
#[expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::redundant_clone,
    clippy::collapsible_match,
    reason = "a model that is plain on purpose"
)]
pub mod naive;
mod oracle;
pub mod run;
pub mod safeguards;
mod trace;
mod world;

use worker::snapshot::segment::SegmentSizes;

pub use fleet::publishers::RulesStore;

/// Segments so short that a run has many, and new bases.
const SEGMENT_SIZES: SegmentSizes = SegmentSizes { segment: 300, base_after: 1_000 };
/// Length of the parts in which a task goes on with a snapshot, bytes: most need several steps.
const SAVE_BYTES: usize = 200;
