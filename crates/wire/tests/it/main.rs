//! What `wire` promises, module by module.

#![expect(clippy::needless_pass_by_value, reason = "`expect!` makes its value where it is passed")]

mod coap;
mod codes;
mod datagrams;
mod events;
mod keys;
mod round_trips;
mod rules;
