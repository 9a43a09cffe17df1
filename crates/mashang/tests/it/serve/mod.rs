//! The service from outside: what it answers, what it keeps when it is killed, how it ends.

mod attacked;
mod door;
mod fire;
mod held;
mod journey;
mod races;
mod server;
mod start;
mod steady;
