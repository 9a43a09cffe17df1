//! The whole system on one thread under a seed, and a model to hold it against.
//!
//! - [`generate`]: random rules and events that go for the edges
//! - [`naive`]: the contract, written down plainly; shares no code of ours

#[expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::needless_pass_by_value,
    reason = "a generator of cases, plain on purpose"
)]
pub mod generate;
#[expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::redundant_clone,
    clippy::collapsible_match,
    reason = "a model that is plain on purpose"
)]
pub mod naive;
