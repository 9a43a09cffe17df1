//! The thread that writes the snapshots of a lane, and its queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use eventlog::api::now_ms;
use tracing::{debug, info, warn};

use crate::context::{Progress, WorkerContext};
use crate::snapshot::Snapshot;

/// Maximum number of a lane's snapshots that are taken and not written; a further one is taken when there is room again. Each
/// holds a whole state.
const UNWRITTEN_MAX: usize = 2;

/// A snapshot to write, and where its success is reported.
pub(crate) struct Unwritten {
    snapshot: Snapshot,
    progress: Progress,
    _permit: Option<Permit>,
}

/// The right to hold one snapshot until it is written.
#[derive(Debug)]
pub(crate) struct Permit(#[expect(dead_code, reason = "it is counted, not read")] Arc<()>);

/// The lane's side of the queue.
#[derive(Debug)]
pub(crate) struct SnapshotQueue {
    to_writer: SyncSender<Unwritten>,
    permits: Arc<()>,
}

/// A queue, and the receiver for [`write_snapshots`].
pub(crate) fn snapshot_queue() -> (SnapshotQueue, Receiver<Unwritten>) {
    let (to_writer, unwritten) = sync_channel(UNWRITTEN_MAX);
    (SnapshotQueue { to_writer, permits: Arc::default() }, unwritten)
}

impl SnapshotQueue {
    /// The right to take a snapshot; `None` while too many are not written.
    pub(crate) fn permit(&self) -> Option<Permit> {
        // The queue holds one count itself.
        (Arc::strong_count(&self.permits) <= UNWRITTEN_MAX).then(|| self.permit_anyway())
    }

    /// The right to take a last snapshot: the lane then waits for room in [`SnapshotQueue::send`].
    pub(crate) fn permit_anyway(&self) -> Permit {
        Permit(Arc::clone(&self.permits))
    }

    /// Hands a snapshot to the writer. Only a last snapshot waits for room, and the writer never waits for the lane.
    pub(crate) fn send(&self, snapshot: Snapshot, progress: Progress, permit: Option<Permit>) {
        let _ = self.to_writer.send(Unwritten { snapshot, progress, _permit: permit });
    }
}

/// Writes snapshots until the lane has dropped its side of the queue.
pub(crate) fn write_snapshots(context: &WorkerContext, unwritten: &Receiver<Unwritten>) {
    for Unwritten { snapshot, progress, _permit } in unwritten {
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
    }
    info!("snapshots are written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_end_while_snapshots_are_unwritten() {
        let (queue, _unwritten) = snapshot_queue();
        let held: Vec<Permit> = std::iter::from_fn(|| queue.permit()).collect();
        assert_eq!(held.len(), UNWRITTEN_MAX);
        drop(held);
        assert!(queue.permit().is_some(), "a snapshot that is written makes room");
    }
}
