//! The desks of a run: one partition of each topic, with the same frames and the same protocol as in the service.

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::model::address::{Partitions, Topic};
use domain::model::ids::digest128;
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::time::Millis;
use domain::protocol::kept::Kept;
use domain::protocol::positions::ProtocolError;
use domain::protocol::stage::{BEHAVIOUR, Desk, Marker, Output, Stage, StageOptions, marker_record};

/// The desk of `scans`.
pub(super) struct Shoppers<'l> {
    library: &'l Library,
    shopper: Stage<ShopperDesk>,
}

/// The desks after it.
pub(super) struct Draws<'l> {
    library: &'l Library,
    code: Stage<CodeDesk>,
    campaign: Stage<CampaignDesk>,
}

/// Records of facts, in the order of the log.
pub(super) type Facts = Vec<Vec<u8>>;

/// The desks at their start, with these rules published (markers go downstream first), and the facts of that.
///
/// # Errors
/// A desk refuses a marker.
pub(super) fn open(library: &Library) -> Result<(Shoppers<'_>, Draws<'_>, Facts), ProtocolError> {
    let mut shoppers = Shoppers { library, shopper: stage() };
    let mut draws = Draws { library, code: stage(), campaign: stage() };
    let mut facts = Vec::new();
    for book in library.values() {
        let record = marker_record(&marker(book));
        let down = [Topic::Awards, Topic::Draws];
        let down = down.map(|topic| Output { topic, partition: 0, record: record.clone() });
        facts.extend(draws.take(down.into())?);
        facts.extend(draws.take(shoppers.take(&record)?)?);
    }
    Ok((shoppers, draws, facts))
}

impl Shoppers<'_> {
    /// The answers to a frame of events.
    ///
    /// # Errors
    /// The desk refuses it.
    pub(super) fn take(&mut self, record: &[u8]) -> Result<Vec<Output>, ProtocolError> {
        step(&mut self.shopper, record, self.library)
    }

    /// What only this desk knows.
    pub(super) fn kept(&self) -> Kept {
        self.shopper.desk().kept()
    }
}

impl Draws<'_> {
    /// Takes answers through the desks that they are for; returns the facts. The next desk takes the answers of a desk before
    /// anything else happens, so facts have the order that one thread would give them.
    ///
    /// # Errors
    /// A desk refuses one.
    pub(super) fn take(&mut self, answers: Vec<Output>) -> Result<Facts, ProtocolError> {
        let mut facts = Vec::new();
        self.take_into(answers, &mut facts)?;
        Ok(facts)
    }

    fn take_into(&mut self, answers: Vec<Output>, facts: &mut Facts) -> Result<(), ProtocolError> {
        for Output { topic, record, .. } in answers {
            let answers = match topic {
                Topic::Draws => step(&mut self.code, &record, self.library)?,
                Topic::Awards => step(&mut self.campaign, &record, self.library)?,
                Topic::Facts => {
                    facts.push(record);
                    continue;
                }
                Topic::Scans | Topic::Rules | Topic::Rejects => {
                    unreachable!("no desk answers into {topic} here: every record is a frame")
                }
            };
            self.take_into(answers, facts)?;
        }
        Ok(())
    }
}

/// The log of a run has no random id: the same input gives the same bytes. The ledger of a run keeps no results of scans.
fn stage<D: Desk>() -> Stage<D> {
    let options = StageOptions { without_results: true, ..StageOptions::default() };
    Stage::new(options, D::default(), digest128(&["run", D::TOPIC.as_str()]), 0, Partitions::all(1))
}

fn step<D: Desk>(stage: &mut Stage<D>, record: &[u8], library: &Library) -> Result<Vec<Output>, ProtocolError> {
    let mut answers = Vec::new();
    // The append time plays no part in a run.
    stage.step(stage.next_offset(), Millis::MAX, record, library, &mut answers)?;
    Ok(answers)
}

fn marker(book: &Rulebook) -> Marker<'_> {
    Marker { merchant: &book.rules.merchant, seq: book.seq, sha256: book.sha256, behaviour: BEHAVIOUR }
}
