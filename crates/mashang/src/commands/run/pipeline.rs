//! The pipeline on one thread: three desks and the ledger, one partition each, with the same frames and the same protocol as
//! in the service. The next desk takes the answers of a desk before anything else happens.

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::model::address::{Partitions, Topic};
use domain::model::ids::digest128;
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::time::Millis;
use domain::protocol::kept::Kept;
use domain::protocol::stage::{BEHAVIOUR, Desk, Marker, Output, Stage, StageOptions, marker_record};
use ledger::error::LedgerError;
use ledger::writer::Writer;

/// Number of waiting facts at which the ledger commits them.
const COMMIT_FACTS: usize = 500_000;

/// The desks and the ledger in a row.
pub(crate) struct InlinePipeline {
    library: Library,
    shopper: Stage<ShopperDesk>,
    code: Stage<CodeDesk>,
    campaign: Stage<CampaignDesk>,
    ledger: Writer,
}

impl InlinePipeline {
    /// A pipeline at its start, with these rules published: markers go downstream first.
    pub(crate) fn open(library: Library, ledger: Writer) -> Result<Self, LedgerError> {
        let mut pipeline = Self { library, shopper: stage(), code: stage(), campaign: stage(), ledger };
        let markers: Vec<Vec<u8>> = pipeline.library.values().map(|book| marker_record(&marker(book))).collect();
        for record in &markers {
            for topic in [Topic::Awards, Topic::Draws, Topic::Scans] {
                pipeline.take(topic, record)?;
            }
        }
        Ok(pipeline)
    }

    /// Takes a frame of events through all desks into the ledger.
    pub(crate) fn events(&mut self, record: &[u8]) -> Result<(), LedgerError> {
        self.take(Topic::Scans, record)?;
        if self.ledger.pending() >= COMMIT_FACTS {
            self.ledger.commit()?;
        }
        Ok(())
    }

    fn take(&mut self, topic: Topic, record: &[u8]) -> Result<(), LedgerError> {
        let answers = match topic {
            Topic::Scans => step(&mut self.shopper, record, &self.library)?,
            Topic::Draws => step(&mut self.code, record, &self.library)?,
            Topic::Awards => step(&mut self.campaign, record, &self.library)?,
            Topic::Facts => {
                self.ledger.apply(0, self.ledger.next_offset(0), record)?;
                return Ok(());
            }
            Topic::Rules | Topic::Rejects => unreachable!("no desk answers into {topic} here: every record is a frame"),
        };
        for answer in answers {
            self.take(answer.topic, &answer.record)?;
        }
        Ok(())
    }

    /// What only the shopper desk knows.
    pub(crate) fn kept(&self) -> Kept {
        self.shopper.desk().kept()
    }

    /// Writes the rest and hands back the ledger.
    pub(crate) fn finish(mut self) -> Result<Writer, LedgerError> {
        self.ledger.commit()?;
        Ok(self.ledger)
    }
}

/// The log of a run has no random id: the same input gives the same bytes.
fn stage<D: Desk + Default>() -> Stage<D> {
    Stage::new(StageOptions::default(), D::default(), digest128(&["run", D::TOPIC.as_str()]), 0, Partitions::all(1))
}

fn step<D: Desk>(stage: &mut Stage<D>, record: &[u8], library: &Library) -> Result<Vec<Output>, LedgerError> {
    let mut answers = Vec::new();
    // The append time plays no part in a run.
    stage.step(stage.next_offset(), Millis::MAX, record, library, &mut answers)?;
    Ok(answers)
}

fn marker(book: &Rulebook) -> Marker<'_> {
    Marker { merchant: &book.rules.merchant, seq: book.seq, sha256: book.sha256, behaviour: BEHAVIOUR }
}
