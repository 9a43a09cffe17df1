//! Tests of frames and the protocol; the tests of the `mashang` crate compare the desks with the contract.

mod bundles;
mod ff1;
mod frame;
mod publish;
mod stage;
mod tables;
mod tokens;
