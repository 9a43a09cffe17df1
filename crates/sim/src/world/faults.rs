//! The faults of a world.

use std::path::Path;

use eventlog::files::Files;
use eventlog::files::memory::Loss;

use super::World;
use super::plan::Op;
use super::queues::{Item, Owner};
use super::start::SNAPSHOTS;
use crate::alarm::Alarm;

const MANIFEST: &str = ".manifest.json";

impl World {
    pub(super) fn inject(&mut self, fault: Op) -> Result<(), Alarm> {
        match fault {
            Op::Crash => {
                let loss = self.some_loss();
                self.crash(loss)
            }
            Op::CrashInRound => {
                let most = 1 + self.rng.below(12);
                self.crash_in_round(most)
            }
            Op::CrashInSnapshot => self.failed_snapshot(true),
            Op::FullRound => self.full_round(),
            Op::FullSnapshot => self.failed_snapshot(false),
            Op::TaskCrash | Op::TaskZombie | Op::TaskHole => {
                let at = self.rng.below(self.tasks.len());
                self.replace(at, fault)
            }
            Op::OldSnapshot => self.old_snapshot(),
            Op::Twice => self.twice(),
            Op::MarkerAgain => {
                let markers = self.markers();
                let append = self.rng.pick(&markers).clone();
                self.trace.note("marker again", format_args!("{} {}", append.topic, append.partition));
                let producer = self.queues.producer();
                self.queues.push(producer, Item { append, owner: Owner::Untracked });
                Ok(())
            }
            Op::EdgeCrash => {
                let (at, last) = (self.rng.below(self.edges.len()), self.event_clock());
                self.trace.note("edge crash", format_args!("{at}"));
                if !self.plan.frames_outlive {
                    self.queues.truncate(self.edges[at].producer, 0);
                }
                let producer = self.queues.producer();
                self.edges[at].restart(producer, last);
                // No client gets an answer that it waits for, from any edge: clients may always retry.
                self.clients.forget(None);
                Ok(())
            }
            Op::EdgeClock => {
                let (at, skew) = (self.rng.below(self.edges.len()), self.some_skew());
                self.trace.note("edge clock", format_args!("{at}: {skew}"));
                self.edges[at].skew = skew;
                Ok(())
            }
            Op::LogClock => {
                let most = self.plan.skew_ms.min(2_000);
                self.log_skew = self.rng.range(-most, most + 1);
                self.trace.note("log clock", format_args!("{}", self.log_skew));
                Ok(())
            }
            Op::LedgerCrash => {
                self.trace.note("ledger crash", format_args!(""));
                self.ledgers.reopen(&self.logs)
            }
            Op::LedgerZombie => {
                let records = 1 + self.rng.below(30);
                let outcome = self.ledgers.zombie(&self.logs, records)?;
                self.trace.note("ledger zombie", format_args!("{outcome}"));
                Ok(())
            }
            _ => unreachable!("{fault:?} is not a fault"),
        }
    }

    pub(super) fn some_loss(&mut self) -> Loss {
        match self.rng.below(4) {
            0 => Loss::Nothing,
            1 => Loss::Everything,
            _ => Loss::Torn(self.rng.draw()),
        }
    }

    fn some_space(&mut self, most: u64) -> u64 {
        self.rng.draw() % (most + 1)
    }

    /// The process crashes after some or all bytes of a round, before it acknowledges any of it.
    pub(super) fn crash_in_round(&mut self, most: usize) -> Result<(), Alarm> {
        let round = self.queues.take(&mut self.rng, most);
        let bytes: usize = round.iter().map(|(_, item)| item.append.record.len() + 200).sum();
        let space = self.some_space(2 * bytes as u64);
        self.trace.note("crash in a round", format_args!("of {}, space {space}", round.len()));
        self.logs.disk.set_room(Some(space));
        let _ = self.append(&round);
        // Senders that survive send it again; the log may have it already.
        if self.plan.frames_outlive && self.rng.percent(50) {
            self.queues.give_back(round);
        }
        let loss = self.some_loss();
        self.crash(loss)
    }

    /// The disk is full: the log has nothing of the round. Edges report it, tasks wait.
    fn full_round(&mut self) -> Result<(), Alarm> {
        let most = 1 + self.rng.below(12);
        let round = self.queues.take(&mut self.rng, most);
        if round.is_empty() {
            return Ok(());
        }
        let space = self.some_space(2_000);
        self.trace.note("full disk", format_args!("round of {}, space {space}", round.len()));
        self.logs.disk.set_room(Some(space));
        let result = self.append(&round);
        self.logs.disk.set_room(None);
        match result {
            Ok(()) => round.into_iter().for_each(|(_, item)| self.durable(&item)),
            Err(Alarm::Log(error)) if error.is_full() && !self.logs.is_broken() => {
                let (refused, waiting): (Vec<_>, Vec<_>) =
                    round.into_iter().partition(|(_, item)| matches!(item.owner, Owner::Attempts(_)));
                for (_, item) in refused {
                    let Owner::Attempts(attempts) = item.owner else { continue };
                    attempts.into_iter().for_each(|attempt| self.clients.forget(Some(attempt)));
                }
                self.queues.give_back(waiting);
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// The disk is full in the middle of a snapshot; the process may crash, too.
    fn failed_snapshot(&mut self, crashes: bool) -> Result<(), Alarm> {
        let at = self.rng.below(self.tasks.len());
        self.tasks[at].take_snapshot();
        let Some(snapshot) = self.some_snapshot() else { return Ok(()) };
        let space = self.some_space(snapshot.state.len() as u64 + 400);
        self.trace.note("failed snapshot", format_args!("{:?} space {space} crashes {crashes}", snapshot.source.topic));
        self.logs.disk.set_room(Some(space));
        let _ = self.snapshots.write(&snapshot);
        self.logs.disk.set_room(None);
        if crashes {
            let loss = self.some_loss();
            return self.crash(loss);
        }
        Ok(())
    }

    /// A task crashes, or is believed to have crashed, and another one replaces it from the latest snapshot.
    fn replace(&mut self, at: usize, how: Op) -> Result<(), Alarm> {
        let (topic, partition, producer) = (self.tasks[at].topic, self.tasks[at].partition, self.tasks[at].producer);
        let waiting = self.queues.waiting(producer);
        let has_lost_frames = match how {
            // The last answers that are not yet in the log never arrive.
            Op::TaskCrash => {
                let kept = self.rng.below(waiting + 1);
                self.queues.truncate(producer, kept);
                true
            }
            // One answer never arrives, but those after it do.
            Op::TaskHole => self.queues.lose(producer, &mut self.rng),
            _ => false,
        };
        self.trace.note("replace", format_args!("{topic} {partition}: {how:?}, {waiting} frames in flight"));
        let next = self.open_task(topic, partition)?;
        let mut old = std::mem::replace(&mut self.tasks[at], next);
        if how == Op::TaskZombie || self.rng.percent(20) {
            (old.ignores_acks, old.left) = (has_lost_frames, 1 + self.rng.below(20));
            self.zombies.push(old);
        }
        Ok(())
    }

    /// A zombie continues; if it stops, there is no alarm.
    pub(super) fn step_zombie(&mut self, at: usize, most: usize) -> Result<(), Alarm> {
        let zombie = &mut self.zombies[at];
        let most = most.min(zombie.left);
        zombie.left -= most;
        let producer = zombie.producer;
        let done = zombie.step(&self.library, most);
        let is_over = zombie.left == 0 || done.is_err();
        if let Ok((taken, answers)) = done {
            self.trace.note("zombie", format_args!("{} {} takes {taken}", zombie.topic, zombie.partition));
            self.post(producer, answers);
        }
        if is_over {
            self.zombies.remove(at);
        }
        Ok(())
    }

    /// The newest snapshots of a partition are lost, and a task must start from an older one.
    fn old_snapshot(&mut self) -> Result<(), Alarm> {
        let at = self.rng.below(self.tasks.len());
        let dir = Path::new(SNAPSHOTS).join(format!("{}-{}", self.tasks[at].topic, self.tasks[at].partition));
        let disk = self.logs.disk.clone();
        let names = disk.list(&dir).unwrap_or_default();
        let manifests: Vec<&String> = names.iter().filter(|name| name.ends_with(MANIFEST)).collect();
        if manifests.len() < 2 {
            return Ok(());
        }
        let kept = 1 + self.rng.below(manifests.len() - 1);
        for name in &manifests[kept..] {
            disk.remove(&dir.join(name)).expect("it was listed");
        }
        disk.sync_dir(&dir).expect("a disk in memory");
        self.trace.note("old snapshot", format_args!("{}: {kept} kept", dir.display()));
        self.replace(at, Op::TaskCrash)
    }

    /// The frames of a round arrive a second time, now or later.
    fn twice(&mut self) -> Result<(), Alarm> {
        let most = 1 + self.rng.below(6);
        let round = self.queues.take(&mut self.rng, most);
        if round.is_empty() {
            return Ok(());
        }
        self.append(&round)?;
        self.trace.note("twice", format_args!("{}", round.len()));
        let producer = self.queues.producer();
        for (_, item) in round {
            self.durable(&item);
            self.queues.push(producer, Item { owner: Owner::Untracked, ..item });
        }
        Ok(())
    }
}
