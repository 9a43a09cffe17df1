//! The thread that writes the snapshots of a lane, and its queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use eventlog::api::now_ms;
use tracing::{debug, info, warn};

use crate::context::{Progress, WorkerContext};
use crate::snapshot::Snapshot;

/// Maximum number of a lane's snapshots that are handed over and not written; further ones are put off. Each holds a whole state.
const UNWRITTEN_MAX: usize = 2;

/// A snapshot to write, and where its success is reported.
pub(crate) struct Unwritten {
    snapshot: Snapshot,
    progress: Progress,
    /// Counts this snapshot until it is written.
    count: Arc<()>,
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
        let _ = self.to_writer.send(Unwritten { snapshot, progress, count: Arc::clone(&self.count) });
    }
}

/// Writes snapshots until the lane has dropped its side of the queue.
pub(crate) fn write_snapshots(context: &WorkerContext, unwritten: &Receiver<Unwritten>) {
    for Unwritten { snapshot, progress, count } in unwritten {
        let timer = context.metrics.snapshot_seconds.start_timer();
        let (source, offset, bytes) = (snapshot.source, snapshot.offset, snapshot.state.len());
        match context.snapshots.write(&snapshot) {
            Ok(needed) => {
                timer.observe_duration();
                debug!(%source, offset, bytes, "snapshot");
                progress.snapshot_ms.store(now_ms().cast_unsigned(), Ordering::Release);
                progress.snapshot_offset.store(offset, Ordering::Release);
                (context.published)(source, offset, needed);
            }
            Err(error) => {
                timer.stop_and_discard();
                context.metrics.snapshot_failures.inc();
                warn!(%error, "a snapshot was not written; the earlier ones remain");
            }
        }
        drop((snapshot, count));
    }
    info!("snapshots are written");
}

#[cfg(test)]
mod tests {
    use domain::model::address::{PartitionId, Topic};

    use super::*;

    #[test]
    fn full_queue_has_room_once_a_snapshot_is_written() {
        let (queue, unwritten) = snapshot_queue();
        let source = PartitionId { log: 1, topic: Topic::Scans, partition: 0 };
        let snapshot = Snapshot { source, offset: 1, behaviour: 1, state: Vec::new() };
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
