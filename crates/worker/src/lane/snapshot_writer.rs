//! The thread that writes the snapshots of a lane, and its queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use domain::model::address::PartitionId;
use eventlog::api::now_ms;
use tracing::{debug, info, warn};

use crate::context::{Progress, WorkerContext};
use crate::snapshot::segment::NewSegment;
use crate::snapshot::{Snapshot, SnapshotError};

/// Maximum number of a lane's snapshots and segments that are handed over and not written; further ones are put off.
const UNWRITTEN_MAX: usize = 2;

/// A snapshot to write, and where its success is reported; or a segment that is written ahead of its snapshot.
pub(crate) struct Unwritten {
    what: What,
    /// Counts it until it is written.
    count: Arc<()>,
}

enum What {
    Snapshot(Snapshot, Progress),
    Segment(PartitionId, NewSegment),
}

/// The lane's side of the queue.
pub(crate) struct SnapshotQueue {
    to_writer: SyncSender<Unwritten>,
    count: Arc<()>,
}

/// A queue, and the receiver for [`write_snapshots`].
pub(crate) fn snapshot_queue() -> (SnapshotQueue, Receiver<Unwritten>) {
    let (to_writer, unwritten) = sync_channel(UNWRITTEN_MAX);
    (SnapshotQueue { to_writer, count: Arc::default() }, unwritten)
}

impl SnapshotQueue {
    /// Whether a snapshot can be handed over without a wait.
    pub(crate) fn has_room(&self) -> bool {
        // The queue itself holds one count.
        Arc::strong_count(&self.count) - 1 < UNWRITTEN_MAX
    }

    /// Hands a snapshot to the writer. It waits if there is no room, and the writer never waits for the lane.
    pub(crate) fn send(&self, snapshot: Snapshot, progress: Progress) {
        self.hand_over(What::Snapshot(snapshot, progress));
    }

    /// Hands over a segment, as [`SnapshotQueue::send`] does.
    pub(crate) fn send_segment(&self, source: PartitionId, segment: NewSegment) {
        self.hand_over(What::Segment(source, segment));
    }

    fn hand_over(&self, what: What) {
        let _ = self.to_writer.send(Unwritten { what, count: Arc::clone(&self.count) });
    }
}

/// Writes snapshots until the lane has dropped its side of the queue.
pub(crate) fn write_snapshots(context: &WorkerContext, unwritten: &Receiver<Unwritten>) {
    for Unwritten { what, count } in unwritten {
        let result = match &what {
            What::Snapshot(snapshot, progress) => write_snapshot(context, snapshot, progress),
            What::Segment(source, segment) => context.snapshots.write_segment(*source, segment),
        };
        if let Err(error) = result {
            context.metrics.snapshot_failures.inc();
            warn!(%error, "a snapshot was not written; the earlier ones remain");
        }
        drop((what, count));
    }
    info!("snapshots are written");
}

fn write_snapshot(context: &WorkerContext, snapshot: &Snapshot, progress: &Progress) -> Result<(), SnapshotError> {
    let timer = context.metrics.snapshot_seconds.start_timer();
    let (source, offset, bytes) = (snapshot.source, snapshot.offset, snapshot.state.len());
    let needed = match context.snapshots.write(snapshot) {
        Ok(needed) => needed,
        Err(error) => {
            timer.stop_and_discard();
            return Err(error);
        }
    };
    timer.observe_duration();
    debug!(%source, offset, bytes, "snapshot");
    progress.snapshot_ms.store(now_ms().cast_unsigned(), Ordering::Release);
    progress.snapshot_offset.store(offset, Ordering::Release);
    (context.published)(source, offset, needed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::model::address::Topic;

    use super::*;

    #[test]
    fn full_queue_has_room_once_a_snapshot_is_written() {
        let (queue, unwritten) = snapshot_queue();
        let source = PartitionId { log: 1, topic: Topic::Scans, partition: 0 };
        let snapshot =
            Snapshot { source, offset: 1, behaviour: 1, state: Vec::new(), chain: None, new: Vec::new(), memory: 0 };
        for _ in 0..UNWRITTEN_MAX {
            assert!(queue.has_room());
            queue.send(snapshot.clone(), Progress::new(source.topic_partition(), 0));
        }
        assert!(!queue.has_room());
        let taken = unwritten.recv().expect("a snapshot");
        assert!(!queue.has_room(), "it is not written yet");
        drop(taken);
        assert!(queue.has_room());
    }
}
