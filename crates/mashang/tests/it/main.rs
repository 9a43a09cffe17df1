//! The binary, from outside, and the whole road held against a naive model of the contract.

mod by_hand;
mod cli;
mod differential;
#[expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::needless_pass_by_value,
    reason = "a generator of cases, plain on purpose"
)]
mod generate;
mod house;
mod journey;
#[expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::redundant_clone,
    clippy::collapsible_match,
    reason = "a model that is plain on purpose"
)]
mod naive;
mod program;
mod protocol;
mod serve;
