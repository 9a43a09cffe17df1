//! The whole system on one thread under a seed, and a model to compare it with.
//!
//! - [`run`]: one run of one seed, and the search for the seed that shows what a safeguard is for
//! - [`oracle`]: what must be true at the end
//! - [`world`]: everything together, step by step, and its faults
//! - [`fleet`]: the same as a fleet of processes on a log that they share
//! - [`plan`]: what a seed chooses before anything happens
//! - [`clients`], [`edge`], [`queues`]: events on their way to the log
//! - [`logs`], [`task`], [`ledgers`]: the real log, tasks and ledger, ready to crash
//! - [`trace`], [`alarm`]: what happened, and why it stopped
//! - [`generate`]: random rules, and events that aim at their limits
//! - [`naive`]: the contract, written down plainly; shares no code of ours

pub mod alarm;
pub mod clients;
pub mod edge;
pub mod fleet;
#[expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::needless_pass_by_value,
    reason = "a generator of cases, plain on purpose"
)]
pub mod generate;
pub mod ledgers;
pub mod logs;
#[expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::redundant_clone,
    clippy::collapsible_match,
    reason = "a model that is plain on purpose"
)]
pub mod naive;
pub mod oracle;
pub mod plan;
pub mod queues;
pub mod run;
pub mod task;
pub mod trace;
pub mod world;
