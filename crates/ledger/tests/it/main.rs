//! The ledger on SQLite and on a real Postgres: the same tables, whatever happens to the connection and whoever writes.

mod cuts;
mod moving;
mod opening;
mod relay;
mod same;
mod speed;
mod traffic;
mod writers;
