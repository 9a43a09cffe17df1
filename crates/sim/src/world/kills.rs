//! Kills of a process between a draw and its grant.

use std::collections::BTreeSet;

use domain::model::address::{Topic, TopicPartition};

use super::World;
use super::plan::Plan;
use super::task::SimTask;
use crate::alarm::Alarm;
use crate::generate::Case;
use crate::generate::rng::Rng;
use crate::kills::bounds::tight_case;
use crate::kills::{FrameTracker, KILL_PERCENT, KILLS_MAX, Place, SNAPSHOTS_PERCENT};
use crate::safeguards::Without;

impl World {
    /// The world of a seed with tight bounds, which is killed between draws and grants and has no other faults.
    ///
    /// # Errors
    /// As [`World::new`].
    pub(crate) fn with_kills(seed: u64, without: Without, keeps_lines: bool) -> Result<(Self, Case), Alarm> {
        let mut rng = Rng::new(seed ^ 0x4B11);
        let plan = Plan::draw(&mut rng).with_kills();
        let case = tight_case(seed, plan.events);
        let mut world = Self::of(seed, &case, (plan, rng), without, keeps_lines)?;
        world.kills_left = KILLS_MAX;
        Ok((world, case))
    }

    /// Kills the process now and then, if a draw is pending.
    pub(super) fn kill(&mut self) -> Result<(), Alarm> {
        if self.kills_left == 0 || !self.rng.percent(KILL_PERCENT) {
            return Ok(());
        }
        let mut places: Vec<Place> = self.places()?.into_iter().collect();
        places.retain(|place| place.is_due(&Place::ALL, &self.trace.counts));
        if places.is_empty() {
            return Ok(());
        }
        self.kills_left -= 1;
        let place = *self.rng.pick(&places);
        self.trace.note(place.as_str(), format_args!(""));
        if self.rng.percent(SNAPSHOTS_PERCENT) {
            self.tasks.iter_mut().for_each(SimTask::take_snapshot);
            while let Some(snapshot) = self.some_snapshot() {
                self.write_snapshot(&snapshot)?;
            }
        }
        if matches!(place, Place::DrawWritten | Place::GrantWritten) {
            return self.crash_in_round(usize::MAX);
        }
        let loss = self.some_loss();
        self.crash(loss)
    }

    /// The places at which a draw is.
    fn places(&self) -> Result<BTreeSet<Place>, Alarm> {
        let (mut tracker, mut places) = (FrameTracker::default(), BTreeSet::new());
        let (now, stored) = self.ledgers.now_and_stored()?;
        for facts in stored.partitions() {
            let of = TopicPartition::new(Topic::Facts, facts);
            tracker.applied(of, stored.positions(facts));
            for (offset, record) in self.logs.records(of, stored.next_offset(facts))? {
                if tracker.is_pending(of, offset, &record) {
                    let is_read = offset < now.next_offset(facts);
                    places.insert(if is_read { Place::GrantRead } else { Place::GrantDurable });
                }
            }
        }
        self.in_flight(Topic::Facts, [Place::GrantSent, Place::GrantWritten], &tracker, &mut places);
        for task in self.tasks.iter().filter(|task| task.topic == Topic::Awards) {
            let of = TopicPartition::new(task.topic, task.partition);
            tracker.applied(of, task.positions());
            for (offset, record) in self.logs.records(of, task.next_offset())? {
                if tracker.is_pending(of, offset, &record) {
                    places.insert(Place::DrawDurable);
                }
            }
        }
        self.in_flight(Topic::Awards, [Place::DrawSent, Place::DrawWritten], &tracker, &mut places);
        Ok(places)
    }

    fn in_flight(&self, topic: Topic, at: [Place; 2], tracker: &FrameTracker, places: &mut BTreeSet<Place>) {
        for append in self.queues.iter().filter(|append| append.topic == topic) {
            if tracker.is_pending_in_flight(TopicPartition::new(topic, append.partition), &append.record) {
                places.extend(at);
            }
        }
    }
}
