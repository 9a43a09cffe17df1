//! What `wire` promises, room by room.

mod codes;
mod events;
mod round_trips;
mod rules;
