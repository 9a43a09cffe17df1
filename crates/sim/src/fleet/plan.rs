//! What a seed chooses for a fleet: how large it is, and which faults happen in it.

use domain::model::address::Partitions;
use domain::model::time::Millis;
use domain::protocol::behaviour::{Behaviour, Build};
use eventlog::local::meta::Clock;

use crate::generate::rng::Rng;

/// Two builds that differ in where answers are cut into parts.
const FIRST: Behaviour = Behaviour { number: 1, part_bytes_max: 1_200 };
const SECOND: Behaviour = Behaviour { number: 2, part_bytes_max: 150 };
const OLD: Build = Build::new(&[FIRST]);
const NEW: Build = Build::new(&[FIRST, SECOND]);

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
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
    // From here on: faults.
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

const MISFORTUNES: [(u64, Op); 18] = [
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

/// Factors by which something happens more often in a world.
const RHYTHMS: [u64; 4] = [1, 1, 2, 5];

/// What no fleet outlives by itself: it must be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecoverable {
    /// All topics are another log's, and store and ledger remain.
    Recreated,
    /// A broker lost acknowledged records, and goes on from there.
    Truncated,
    /// The log retired what a task or the ledger still needs.
    Overtaken,
}

/// The choices of a seed.
#[derive(Debug)]
pub struct Plan {
    pub partitions: Partitions,
    pub clock: Clock,
    pub edges: usize,
    pub workers: usize,
    pub ledgers: usize,
    pub events: usize,
    /// Number of versions of rules that are published while events come.
    pub later: usize,
    /// How far edges' clocks may be off, ms.
    pub skew_ms: Millis,
    /// Percentage of acknowledgements that do not reach their client.
    pub acks_lost: u64,
    pub loss: Option<Unrecoverable>,
    ops: Vec<(u64, Op)>,
}

impl Plan {
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        let mut upto = |n: usize| u16::try_from(1 + rng.below(n)).expect("a few");
        let (several, facts) = (upto(2) == 2, upto(3));
        let partitions = if several {
            Partitions { scans: upto(3), draws: upto(3), awards: upto(2), facts }
        } else {
            Partitions { facts, ..Partitions::all(1) }
        };
        // No two worlds have one rhythm: what is seldom in most of them is common in some.
        let mut ops = WORK.map(|(weight, op)| (weight * rng.pick(&RHYTHMS), op)).to_vec();
        // Not every fault in every world: a failure that another fault hides shows in a world without that fault.
        for (weight, op) in MISFORTUNES {
            if rng.percent(50) {
                ops.push((weight * rng.pick(&RHYTHMS), op));
            }
        }
        if rng.percent(40) {
            ops.push((4, Op::Upgrade));
        }
        let loss = match rng.below(100) {
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
            loss,
            ops,
        }
    }

    /// The build of a worker that is upgraded, or not.
    #[must_use]
    pub fn build(is_new: bool) -> Build {
        if is_new { NEW } else { OLD }
    }

    /// Whether shoppers' races for codes and prizes are decided by the order of `scans` alone.
    #[must_use]
    pub fn is_one_road(&self) -> bool {
        let Partitions { scans, draws, awards, .. } = self.partitions;
        (scans, draws, awards) == (1, 1, 1)
    }

    /// What happens next.
    pub fn next(&self, rng: &mut Rng) -> Op {
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
