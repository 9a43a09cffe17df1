//! Sealed campaigns: each draws for the codes of exactly one batch, and for no other code.

use std::collections::BTreeMap;

use domain::model::rules::SEALED_COUNT_MIN;

use super::table::{Notes, SourceLocation, Table};
use crate::json::quoted;

/// What a sealed campaign needs of its batch.
pub(super) struct SealedDraw {
    mode_at: SourceLocation,
    prizes_at: SourceLocation,
    /// Sum of its prizes' counts.
    count_sum: u64,
    batch: Option<SealedBatch>,
}

/// The batch of a sealed campaign.
struct SealedBatch {
    count: Option<u64>,
    at: SourceLocation,
}

impl SealedDraw {
    pub(super) fn new(campaign: &Table<'_>, count_sum: u64) -> Self {
        Self { mode_at: campaign.place("mode"), prizes_at: campaign.place("prize"), count_sum, batch: None }
    }
}

/// The sealed campaigns by id.
#[derive(Default)]
pub(super) struct SealedDraws(BTreeMap<String, SealedDraw>);

impl SealedDraws {
    /// Adds a campaign; of two with one id, which is a mistake, the first counts.
    pub(super) fn add(&mut self, id: &str, draw: SealedDraw) {
        self.0.entry(id.to_owned()).or_insert(draw);
    }

    /// Notes a static code that names a sealed campaign.
    pub(super) fn check_code(&self, code: &Table<'_>, campaign: Option<&String>) {
        if let Some(id) = campaign.filter(|id| self.0.contains_key(*id)) {
            let what = format!(
                "is {}, a sealed campaign, which draws for the codes of its batch alone; name another or none",
                quoted(id)
            );
            code.mistake("campaign", what);
        }
    }

    /// Gives a batch to the campaign that it names, if that is sealed; notes a second one, and one that is too small.
    pub(super) fn add_batch(&mut self, batch: &Table<'_>, campaign: Option<&String>, count: Option<u64>) {
        let Some((id, draw)) = campaign.and_then(|id| Some((id, self.0.get_mut(id)?))) else { return };
        if let Some(count) = count.filter(|&count| count < SEALED_COUNT_MIN) {
            let what = format!("is {count}, and its campaign is sealed; write {SEALED_COUNT_MIN} or more");
            batch.mistake("count", what);
        }
        if let Some(SealedBatch { at, .. }) = &draw.batch {
            let (id, file, line) = (quoted(id), &at.file, at.line);
            let what =
                format!("is {id}, a sealed campaign that the batch at {file}:{line} names as well; only one may");
            batch.mistake("campaign", what);
        } else {
            draw.batch = Some(SealedBatch { count, at: batch.place("campaign") });
        }
    }

    /// Notes campaigns without a batch, and those that draw more than their batch has.
    pub(super) fn check(&self, notes: &Notes) {
        for SealedDraw { mode_at, prizes_at, count_sum, batch } in self.0.values() {
            match batch {
                None => notes.lack(mode_at, "is \"sealed\", and no batch names the campaign; exactly one must"),
                Some(SealedBatch { count: Some(count), at }) if count_sum > count => {
                    let (file, line) = (&at.file, at.line);
                    let what = format!(
                        "have counts that add up to {count_sum}, above the {count} codes of the batch at {file}:{line}; \
                         lower them"
                    );
                    notes.mistake(prizes_at, what);
                }
                Some(_) => {}
            }
        }
    }
}
