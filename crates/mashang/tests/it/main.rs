//! The binary, from outside, and the whole road held against a naive model of the contract.

mod architecture;
mod by_hand;
mod cli;
mod differential;
mod fleet;
mod journey;
mod kept_log;
mod program;
mod protocol;
mod serve;
mod udp;
