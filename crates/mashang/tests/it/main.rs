//! The binary, from outside, and the whole road held against a naive model of the contract.

mod by_hand;
mod cli;
mod differential;
mod fleet;
mod house;
mod journey;
mod program;
mod protocol;
mod serve;
mod udp;
