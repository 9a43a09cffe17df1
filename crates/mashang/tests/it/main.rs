//! The binary, from outside, and the whole road held against a naive model of the contract.

mod differential;
mod generate;
mod naive;
mod program;
mod protocol;
