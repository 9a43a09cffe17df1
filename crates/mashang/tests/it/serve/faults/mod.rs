//! What the service keeps when it is killed or attacked.
//!
//! - `chaos`: kills under load
//! - `races`: shoppers who race, and kills
//! - `power_loss`: files that lose unsynced bytes
//! - `attacked`: what attacks found
//! - `rejects`: records that were set aside

mod attacked;
pub(crate) mod chaos;
mod power_loss;
mod races;
mod rejects;
