//! How a task stores its state in segments, bit by bit: each snapshot is a cut, which stores what changed since the cut before. Now
//! and then a new base is written beside, which replaces the segments that have become many.

use std::collections::VecDeque;

use domain::model::address::PartitionId;
use domain::protocol::stage::segments::Segments;
use domain::protocol::stage::{Desk, Stage};

use crate::snapshot::segment::{Chain, Fate, NewSegment, Segment, SegmentKind};
use crate::snapshot::{Snapshot, Snapshots};

/// A new base is due when the changes are this part of the base.
const BASE_PART: u64 = 2;

/// Changes of this size make a snapshot due, bytes: beyond a bound they are given up.
pub(crate) const CHANGED_MAX: usize = 16 * 1024 * 1024;

/// The segments of a task's state: those that are written, and those that are on their way.
#[derive(Debug)]
pub(crate) struct Saver {
    snapshots: Snapshots,
    /// What the last cut left in the store, or leaves once it is written; `None` if a base is needed first.
    chain: Option<Chain>,
    /// Number of segments and manifests of the chain that were handed out.
    handed_out: u64,
    base: Option<Base>,
    cut: Option<Cut>,
    /// Segments that wait to be taken.
    ready: VecDeque<NewSegment>,
}

/// A base that is being written.
#[derive(Debug)]
struct Base {
    chain: Chain,
    handed_out: u64,
    buffer: Vec<u8>,
    /// The segments of the cuts since it began.
    cuts: Vec<Segment>,
    is_written: bool,
    /// Whether a cut waits for it, because there is no other.
    is_awaited: bool,
}

/// A cut that is being written.
#[derive(Debug)]
struct Cut {
    offset: u64,
    behaviour: u32,
    head: Vec<u8>,
    buffer: Vec<u8>,
    segments: Vec<Segment>,
    is_written: bool,
}

/// Room for a whole segment: a buffer that grows is copied each time.
fn reserve(buffer: &mut Vec<u8>, segment: usize) {
    if buffer.capacity() < segment {
        buffer.reserve_exact(segment + segment / 8);
    }
}

/// What became of what was handed out.
enum Outcome {
    Written,
    /// A writer still has some of it.
    Unknown,
    Failed,
}

fn outcome(fate: &Fate, handed_out: u64) -> Outcome {
    match fate.is_known(1) {
        false => Outcome::Unknown,
        true if fate.written() == handed_out => Outcome::Written,
        true => Outcome::Failed,
    }
}

impl Saver {
    /// For a stage that was restored from a snapshot's chain, or for a new one.
    pub(crate) fn new(snapshots: &Snapshots, chain: Option<Chain>) -> Self {
        Self { snapshots: snapshots.clone(), chain, handed_out: 0, base: None, cut: None, ready: VecDeque::new() }
    }

    /// Begins a snapshot of a stage. Returns whether it is begun: not while an earlier one is on its way.
    pub(crate) fn begin<D: Desk>(&mut self, stage: &mut Stage<D>) -> bool {
        if self.cut.is_some() {
            return false;
        }
        match self.chain.as_ref().map(|chain| outcome(&chain.fate, self.handed_out)) {
            Some(Outcome::Unknown) => return false,
            Some(Outcome::Failed) => self.chain = None,
            Some(Outcome::Written) | None => {}
        }
        let is_lost = stage.segments().changed_bytes().is_none();
        if is_lost {
            self.chain = None;
        }
        if is_lost || (self.chain.is_none() && self.base.as_ref().is_some_and(|base| !base.is_awaited)) {
            // Not all that changed since it began is in cuts.
            self.give_up_base();
        }
        match self.base.as_ref().map(|base| (self.outcome_of_base(base), base.is_written)) {
            Some((Outcome::Failed, _)) => self.give_up_base(),
            Some((Outcome::Written, true)) => self.use_base(),
            Some((Outcome::Unknown, _) | (Outcome::Written, false)) | None => {}
        }
        if self.chain.is_some() {
            self.cut(stage);
            let (base, changed) = self.lengths();
            if self.base.is_none() && changed > self.snapshots.sizes().base_after.max(base / BASE_PART) {
                self.begin_base(stage, false);
            }
        } else if self.base.is_none() {
            self.ready.clear();
            stage.segments().track();
            self.begin_base(stage, true);
        }
        true
    }

    /// Whether a part is to be written; for the last snapshot a base only if there is no other.
    pub(crate) fn is_busy(&self, is_last: bool) -> bool {
        self.cut.as_ref().is_some_and(|cut| !cut.is_written)
            || self.base.as_ref().is_some_and(|base| !base.is_written && (base.is_awaited || !is_last))
    }

    /// Number of segments that wait to be taken.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Writes about `bytes` bytes.
    pub(crate) fn advance<D: Desk>(&mut self, stage: &mut Stage<D>, bytes: usize) {
        let max = self.snapshots.sizes().segment;
        let full = |buffer: &Vec<u8>, is_written: bool| buffer.len() >= max || (is_written && !buffer.is_empty());
        if let (Some(cut), Some(chain)) = (self.cut.as_mut().filter(|cut| !cut.is_written), &self.chain) {
            reserve(&mut cut.buffer, max);
            cut.is_written = stage.segments().write_cut((cut.buffer.len() + bytes).min(max), &mut cut.buffer);
            if full(&cut.buffer, cut.is_written) {
                let bytes = std::mem::take(&mut cut.buffer);
                let new = self.snapshots.segment(SegmentKind::Cut, cut.offset, bytes, chain.fate.clone());
                cut.segments.push(new.segment.clone());
                self.ready.push_back(new);
            }
        } else if let Some(base) = self.base.as_mut().filter(|base| !base.is_written) {
            reserve(&mut base.buffer, max);
            base.is_written = stage.segments().write_base((base.buffer.len() + bytes).min(max), &mut base.buffer);
            if full(&base.buffer, base.is_written) {
                let (bytes, chain) = (std::mem::take(&mut base.buffer), &mut base.chain);
                let new = self.snapshots.segment(SegmentKind::Base, chain.since, bytes, chain.fate.clone());
                chain.segments.push(new.segment.clone());
                self.ready.push_back(new);
            }
        }
    }

    /// What became of a base. Of segments that wait to be taken it is not known.
    fn outcome_of_base(&self, base: &Base) -> Outcome {
        if self.ready.is_empty() { outcome(&base.chain.fate, base.handed_out) } else { Outcome::Unknown }
    }

    /// Drops a base that cannot be used. Only it has segments that wait to be taken, because no cut is being written.
    fn give_up_base(&mut self) {
        self.base = None;
        self.ready.clear();
    }

    /// The next segment for a writer.
    pub(crate) fn take(&mut self) -> Option<NewSegment> {
        let segment = self.ready.pop_front()?;
        match &mut self.base {
            Some(base) if segment.segment.is_base() => base.handed_out += 1,
            // A base that is in use already is a part of the chain.
            _ => self.handed_out += 1,
        }
        Some(segment)
    }

    /// Whether a cut waits for a base that is written.
    pub(crate) fn is_cut_due(&self) -> bool {
        self.cut.is_none() && self.base.as_ref().is_some_and(|base| base.is_awaited && base.is_written)
    }

    /// Begins the cut that waited for a base. Its segments may still be on their way.
    pub(crate) fn cut_after_base<D: Desk>(&mut self, stage: &mut Stage<D>) {
        self.use_base();
        self.cut(stage);
    }

    /// Whether a cut is written to its end.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.is_written)
    }

    /// The snapshot of a cut that is written to its end, with the segments that were not taken.
    pub(crate) fn finish(&mut self, source: PartitionId, memory: u64) -> Option<Snapshot> {
        let cut = self.cut.take_if(|cut| cut.is_written)?;
        let chain = self.chain.as_mut()?;
        chain.segments.extend(cut.segments.iter().cloned());
        if let Some(base) = self.base.as_mut().filter(|base| base.chain.since < cut.offset) {
            base.cuts.extend(cut.segments);
        }
        let mut new = Vec::new();
        while let Some(segment) = self.take() {
            new.push(segment);
        }
        let chain = self.chain.clone().map(|chain| Chain { handed_out: self.handed_out, ..chain });
        // The manifest.
        self.handed_out += 1;
        Some(Snapshot { source, offset: cut.offset, behaviour: cut.behaviour, state: cut.head, chain, new, memory })
    }

    fn cut<D: Desk>(&mut self, stage: &mut Stage<D>) {
        stage.segments().cut();
        let (offset, behaviour, head) = (stage.next_offset(), stage.behaviour(), stage.save_head());
        let (buffer, segments) = (Vec::new(), Vec::new());
        self.cut = Some(Cut { offset, behaviour, head, buffer, segments, is_written: false });
    }

    fn begin_base<D: Desk>(&mut self, stage: &mut Stage<D>, is_awaited: bool) {
        stage.segments().begin_base();
        let chain = Chain { since: stage.next_offset(), ..Chain::default() };
        let (handed_out, buffer, cuts) = (0, Vec::new(), Vec::new());
        self.base = Some(Base { chain, handed_out, buffer, cuts, is_written: false, is_awaited });
    }

    /// The base and the cuts since it began take the place of the chain.
    fn use_base(&mut self) {
        let Some(Base { mut chain, handed_out, cuts, .. }) = self.base.take() else { return };
        chain.segments.extend(cuts);
        (self.chain, self.handed_out) = (Some(chain), handed_out);
    }

    /// Lengths of the base and of what changed since, bytes.
    fn lengths(&self) -> (u64, u64) {
        let segments = self.chain.iter().flat_map(|chain| &chain.segments);
        segments.fold((0, 0), |(base, changed), segment| {
            if segment.is_base() { (base + segment.bytes, changed) } else { (base, changed + segment.bytes) }
        })
    }
}
