//! The result of a scan, for its sender (contract, section 9; its reasons are those of section 6).
use super::super::event::Event;
use super::super::export::rfc3339;
use super::super::minted::State;
use super::{Attempt, Entry};
use serde_json::{Value, json};

/// The result of a scan.
pub struct ScanResult {
    /// Its merchant.
    pub merchant: String,
    /// Its shopper.
    pub shopper: String,
    /// The event's id.
    pub id: String,
    /// Whether a browser made it: then its id alone names it.
    pub keyless: bool,
    /// When it was received, ms.
    pub received: i64,
    /// The JSON that its sender reads, without the id.
    pub told: Value,
}

/// `entries`: all of the merchant so far.
pub(crate) fn told(e: &Event, attempt: &Attempt, entries: &[Entry]) -> Value {
    let code = e.code.as_ref().unwrap();
    let dark = code.minted.as_ref().is_some_and(|m| m.item.state == State::Dark);
    match attempt {
        // in section 9's words, the next one within the debounce too, where an unknown code is a repeat
        _ if e.forged_scan() => json!({"state": "counted"}),
        _ if e.repeat => json!({"state": "repeat"}),
        // as an unknown code
        _ if dark => json!({"state": "counted"}),
        Attempt::None => json!({"state": "counted"}),
        Attempt::Refused(why) => json!({"state": "counted", "draw": {"campaign": code.campaign, "result": why}}),
        Attempt::Entry(this) => json!({"state": "entered", "draw": draw(&entries[*this])}),
        Attempt::Again(earlier) => {
            let mut draw = draw(&entries[*earlier]);
            draw["again"] = true.into();
            json!({"state": "counted", "draw": draw})
        }
    }
}

fn draw(entry: &Entry) -> Value {
    let campaign = &entry.campaign;
    match (&entry.claimed, &entry.prize) {
        (Some((time, region)), _) => {
            let claimed = json!({"time": rfc3339(*time), "region": region});
            json!({"campaign": campaign, "result": "already-claimed", "claimed": claimed})
        }
        (None, Some((prize, kind, Some(amount)))) => {
            json!({"campaign": campaign, "result": "prize", "prize": prize, "kind": kind, "amount": amount})
        }
        (None, Some((prize, kind, None))) => {
            json!({"campaign": campaign, "result": "prize", "prize": prize, "kind": kind})
        }
        (None, None) => json!({"campaign": campaign, "result": "thanks"}),
    }
}
