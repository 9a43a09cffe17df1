//! The summary of a run.

use domain::protocol::kept::Kept;
use serde_json::{Map, Value, json};

use crate::commands::run::event_files::Tally;

/// Everything that the summary says.
pub(crate) struct Summary {
    pub(crate) tally: Tally,
    pub(crate) duplicates: u64,
    pub(crate) late: u64,
    pub(crate) kept: Kept,
    /// Merchant and version.
    pub(crate) rules: Vec<(String, String)>,
}

impl Summary {
    pub(crate) fn json(&self) -> Value {
        let rejected: Map<String, Value> =
            self.tally.rejected.iter().map(|(&reason, &n)| (reason.to_owned(), n.into())).collect();
        let rules: Map<String, Value> = self.rules.iter().map(|(m, v)| (m.clone(), v.clone().into())).collect();
        let reached = &self.kept.bounds_reached;
        let bounds_reached: Map<String, Value> = reached.iter().map(|&(b, n)| (b.to_owned(), n.into())).collect();
        json!({
            "received": self.tally.received,
            "accepted": self.tally.accepted,
            "rejected": rejected,
            "duplicates": self.duplicates,
            "late": self.late,
            "unknown_fields": self.tally.unknown_fields,
            "waiting_refunds": self.kept.waiting_refunds,
            "touches_dropped": bounds_reached.get("touches_max"),
            "bounds_reached": bounds_reached,
            "rules": rules,
        })
    }

    pub(crate) fn text(&self) -> String {
        let rejected: u64 = self.tally.rejected.values().sum();
        let mut text = format!(
            "received {} events: accepted {}, rejected {rejected}\namong the accepted: {} duplicates, {} late\n",
            self.tally.received, self.tally.accepted, self.duplicates, self.late
        );
        for (reason, n) in &self.tally.rejected {
            text.push_str(&format!("rejected for {reason}: {n}\n"));
        }
        if self.tally.unknown_fields > 0 {
            text.push_str(&format!("unknown fields, ignored: {}\n", self.tally.unknown_fields));
        }
        if self.kept.waiting_refunds > 0 {
            text.push_str(&format!("refunds that wait for their order: {}\n", self.kept.waiting_refunds));
        }
        for (bound, times) in self.kept.bounds_reached.iter().filter(|(_, times)| *times > 0) {
            text.push_str(&format!("times that the bound {bound} was reached: {times}\n"));
        }
        for (merchant, version) in &self.rules {
            text.push_str(&format!("rules of {merchant}: version {version}\n"));
        }
        text
    }
}
