//! What a seed chooses for a fleet: its size, and its kinds of faults.

use domain::model::address::Partitions;
use domain::model::time::Millis;
use domain::protocol::behaviour::{Behaviour, Build};
use eventlog::local::meta::Clock;

use crate::generate::rng::Rng;

/// Two behaviours that differ in the maximum size of parts, and in the tables of keys.
const FIRST: Behaviour = Behaviour {
    number: 1,
    part_bytes_max: 1_200,
    is_bounded: true,
    has_batches: true,
    has_bundles: true,
    has_compact_tables: false,
    has_segments: false,
};
const SECOND: Behaviour =
    Behaviour { number: 2, part_bytes_max: 150, has_compact_tables: true, has_segments: true, ..FIRST };
const OLD: Build = Build::new(&[FIRST]);
const NEW: Build = Build::new(&[FIRST, SECOND]);

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Send,
    Retry,
    Flush,
    Hear,
    Deliver,
    Work,
    TakeSnapshot,
    WriteSnapshot,
    CommitOffsets,
    ReadFacts,
    CommitFacts,
    Publish,
    Retain,
    // Faults.
    Lose,
    Doubt,
    Slow,
    Rebalance,
    Freeze,
    WorkerCrash,
    SnapshotCrash,
    StoreFull,
    OldSnapshot,
    EdgeCrash,
    EdgeClock,
    LogClock,
    LedgerCrash,
    LedgerFreeze,
    LedgerRebalance,
    PublisherCrash,
    MarkerAgain,
    Foreign,
    Upgrade,
}

const WORK: [(u64, Op); 13] = [
    (20, Op::Send),
    (4, Op::Retry),
    (20, Op::Flush),
    (20, Op::Hear),
    (70, Op::Deliver),
    (60, Op::Work),
    (8, Op::TakeSnapshot),
    (8, Op::WriteSnapshot),
    (6, Op::CommitOffsets),
    (16, Op::ReadFacts),
    (8, Op::CommitFacts),
    (10, Op::Publish),
    (4, Op::Retain),
];

const FAULTS: [(u64, Op); 18] = [
    (3, Op::Lose),
    (3, Op::Doubt),
    (3, Op::Slow),
    (4, Op::Rebalance),
    (2, Op::Freeze),
    (2, Op::WorkerCrash),
    (1, Op::SnapshotCrash),
    (1, Op::StoreFull),
    (1, Op::OldSnapshot),
    (2, Op::EdgeCrash),
    (3, Op::EdgeClock),
    (1, Op::LogClock),
    (3, Op::LedgerCrash),
    (2, Op::LedgerFreeze),
    (2, Op::LedgerRebalance),
    (3, Op::PublisherCrash),
    (1, Op::MarkerAgain),
    (2, Op::Foreign),
];

/// Factors for the weights of operations; each world draws one per operation.
const WEIGHT_FACTORS: [u64; 4] = [1, 1, 2, 5];

/// Faults that a fleet cannot survive by itself, and must detect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unrecoverable {
    /// All topics are recreated, while store and ledger remain.
    Recreated,
    /// A broker lost acknowledged records, and continues from there.
    Truncated,
    /// The log removed records that a task or the ledger still needs.
    Overtaken,
}

/// The choices of a seed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub partitions: Partitions,
    pub clock: Clock,
    pub edges: usize,
    pub workers: usize,
    pub ledgers: usize,
    pub events: usize,
    /// Number of versions of rules that are published while events come.
    pub later: usize,
    /// Maximum error of an edge's clock, ms.
    pub skew_ms: Millis,
    /// Percentage of acknowledgements that do not reach their client.
    pub acks_lost: u64,
    pub unrecoverable: Option<Unrecoverable>,
    ops: Vec<(u64, Op)>,
}

impl Plan {
    #[must_use]
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut upto = |n: usize| u16::try_from(1 + rng.below(n)).expect("a few");
        let (several, facts) = (upto(2) == 2, upto(3));
        let partitions = if several {
            Partitions { scans: upto(3), draws: upto(3), awards: upto(2), facts }
        } else {
            Partitions { facts, ..Partitions::all(1) }
        };
        // Each world has its own weights: an operation that is rare in most worlds is frequent in some.
        let mut ops = WORK.map(|(weight, op)| (weight * rng.pick(&WEIGHT_FACTORS), op)).to_vec();
        // Not every fault in every world: one fault may hide the effect of another.
        for (weight, op) in FAULTS {
            if rng.percent(50) {
                ops.push((weight * rng.pick(&WEIGHT_FACTORS), op));
            }
        }
        if rng.percent(40) {
            ops.push((4, Op::Upgrade));
        }
        let unrecoverable = match rng.below(100) {
            0..8 => Some(Unrecoverable::Recreated),
            8..18 => Some(Unrecoverable::Truncated),
            18..25 => Some(Unrecoverable::Overtaken),
            _ => None,
        };
        Self {
            partitions,
            clock: if rng.percent(65) { Clock::Wall } else { Clock::Event },
            edges: 2 + rng.below(2),
            workers: 2 + rng.below(2),
            ledgers: 1 + rng.below(2),
            events: 50 + rng.below(60),
            later: rng.below(4),
            skew_ms: *rng.pick(&[0, 5, 2_000, 90_000, 3_600_000, 30 * 3_600_000]),
            acks_lost: *rng.pick(&[0, 5, 25]),
            unrecoverable,
            ops,
        }
    }

    /// The choices of a fleet whose faults are kills alone. One path, so that the model can tell every award.
    #[must_use]
    pub(super) fn with_kills(self) -> Self {
        let partitions = Partitions { facts: self.partitions.facts, ..Partitions::all(1) };
        Self { partitions, later: 0, unrecoverable: None, ops: WORK.to_vec(), ..self }
    }

    /// The new or the old build of a worker.
    #[must_use]
    pub(crate) fn build(is_new: bool) -> Build {
        if is_new { NEW } else { OLD }
    }

    /// Whether the order of `scans` alone decides races of shoppers for codes and prizes.
    #[must_use]
    pub(crate) fn is_one_path(&self) -> bool {
        let Partitions { scans, draws, awards, .. } = self.partitions;
        (scans, draws, awards) == (1, 1, 1)
    }

    /// The next operation.
    pub(crate) fn next(&self, rng: &mut Rng) -> Op {
        let total: u64 = self.ops.iter().map(|(weight, _)| weight).sum();
        let mut left = rng.draw() % total;
        for &(weight, op) in &self.ops {
            if left < weight {
                return op;
            }
            left -= weight;
        }
        unreachable!("the weights add up")
    }
}
