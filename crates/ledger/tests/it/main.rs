//! The ledger on SQLite and on a real Postgres: the same tables under any fault of the connection and with any number of writers.

mod cuts;
mod moving;
mod opening;
mod relay;
mod same;
mod speed;
mod traffic;
mod writers;
