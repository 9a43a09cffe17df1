//! What a seed chooses before the run: the size of the world, and its kinds of faults.

use std::time::Duration;

use domain::model::address::Partitions;
use domain::model::time::Millis;
use eventlog::local::meta::Clock;
use eventlog::local::store::Sizes;

use crate::generate::rng::Rng;

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Send,
    Retry,
    Flush,
    Round,
    Step,
    TakeSnapshot,
    WriteSnapshot,
    Read,
    Commit,
    Maintain,
    // Faults.
    Crash,
    CrashInRound,
    CrashInSnapshot,
    FullRound,
    FullSnapshot,
    TaskCrash,
    TaskZombie,
    TaskHole,
    OldSnapshot,
    Twice,
    MarkerAgain,
    EdgeCrash,
    EdgeClock,
    LogClock,
    LedgerCrash,
    LedgerZombie,
}

const WORK: [(u64, Op); 10] = [
    (22, Op::Send),
    (4, Op::Retry),
    (22, Op::Flush),
    (36, Op::Round),
    (40, Op::Step),
    (8, Op::TakeSnapshot),
    (10, Op::WriteSnapshot),
    (14, Op::Read),
    (8, Op::Commit),
    (6, Op::Maintain),
];

const FAULTS: [(u64, Op); 16] = [
    (2, Op::Crash),
    (2, Op::CrashInRound),
    (2, Op::CrashInSnapshot),
    (2, Op::FullRound),
    (1, Op::FullSnapshot),
    (4, Op::TaskCrash),
    (4, Op::TaskZombie),
    (2, Op::TaskHole),
    (2, Op::OldSnapshot),
    (3, Op::Twice),
    (1, Op::MarkerAgain),
    (2, Op::EdgeCrash),
    (3, Op::EdgeClock),
    (1, Op::LogClock),
    (3, Op::LedgerCrash),
    (3, Op::LedgerZombie),
];

/// The choices of a seed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub partitions: Partitions,
    pub clock: Clock,
    pub sizes: Sizes,
    pub edges: usize,
    pub events: usize,
    /// Maximum error of an edge's clock, ms.
    pub skew_ms: Millis,
    /// Percentage of acknowledgements that do not reach their client.
    pub acks_lost: u64,
    /// Whether frames in flight survive a crash of the process that sent them.
    pub frames_outlive: bool,
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
        let hours = |h: u64| Millis::try_from(Duration::from_secs(h * 3600).as_millis()).expect("small");
        let mut ops = WORK.to_vec();
        // Not every fault in every world: one fault may hide the effect of another.
        ops.extend(FAULTS.iter().filter(|_| rng.percent(60)));
        Self {
            partitions,
            clock: if rng.percent(65) { Clock::Wall } else { Clock::Event },
            sizes: Sizes {
                segment_bytes: *rng.pick(&[600, 2_000, 20_000]),
                journal_bytes: *rng.pick(&[1_500, 6_000, 40_000]),
            },
            edges: 2 + rng.below(2),
            events: 60 + rng.below(80),
            skew_ms: *rng.pick(&[0, 5, 2_000, 90_000, hours(1), hours(30)]),
            acks_lost: *rng.pick(&[0, 5, 25]),
            frames_outlive: rng.percent(50),
            ops,
        }
    }

    /// The choices of a world whose faults are kills alone. One path, so that the model can tell every award.
    #[must_use]
    pub(super) fn with_kills(self) -> Self {
        let partitions = Partitions { facts: self.partitions.facts, ..Partitions::all(1) };
        Self { partitions, ops: WORK.to_vec(), ..self }
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
