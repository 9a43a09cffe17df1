//! Frames and the protocol by themselves; the desks are held to the contract from the `mashang` crate.

mod frame;
mod publish;
mod stage;
mod tables;
