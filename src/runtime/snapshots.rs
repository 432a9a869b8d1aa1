//! Snapshots are written off the commands' path, gathered, and nobody waits for them.
//!
//! A snapshot that is not written costs time at the next recovery and nothing else, so a full
//! queue or a failing store is a warning.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot,
};
use tracing::warn;

use super::meters::NodeMeter;
use crate::{
    domain::error_chain,
    metrics::count_of,
    store::{EventStore, SnapshotRetention, StoredSnapshot},
};

/// Snapshots that may wait to be written.
const QUEUE: usize = 1024;
/// Snapshots written in one call.
const MAX_BATCH: usize = 32;

enum Message {
    Save {
        snapshot: StoredSnapshot,
        keep: SnapshotRetention,
    },
    Flush(oneshot::Sender<()>),
}

/// Where actors leave their snapshots.
#[derive(Debug, Clone)]
pub(super) struct Snapshots {
    queue: Sender<Message>,
    meter: Arc<NodeMeter>,
}

impl Snapshots {
    /// Leaves a snapshot to be written; drops it where too many wait.
    pub(super) fn save(&self, snapshot: StoredSnapshot, keep: SnapshotRetention) {
        let stream = snapshot.stream.clone();
        if self
            .queue
            .try_send(Message::Save { snapshot, keep })
            .is_err()
        {
            self.meter.snapshots_dropped.increment();
            warn!(%stream, "a snapshot is dropped: too many wait to be written");
        }
    }

    /// Waits until all that was left before is written.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            // An error means that the writer has ended, with nothing left to write.
            let _ = written.await;
        }
    }
}

/// The snapshots' queue, and the task that writes them until every sender is gone.
pub(super) fn snapshots(
    store: Arc<dyn EventStore>,
    meter: &Arc<NodeMeter>,
) -> (Snapshots, impl Future<Output = ()> + use<>) {
    let (queue, waiting) = channel(QUEUE);
    let snapshots = Snapshots {
        queue,
        meter: Arc::clone(meter),
    };
    (snapshots, run(store, waiting, Arc::clone(meter)))
}

async fn run(store: Arc<dyn EventStore>, mut waiting: Receiver<Message>, meter: Arc<NodeMeter>) {
    let mut messages = Vec::with_capacity(MAX_BATCH);
    while waiting.recv_many(&mut messages, MAX_BATCH).await > 0 {
        let mut by_keep: BTreeMap<SnapshotRetention, Vec<StoredSnapshot>> = BTreeMap::new();
        let mut flushed = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Save { snapshot, keep } => {
                    by_keep.entry(keep).or_default().push(snapshot);
                }
                Message::Flush(done) => flushed.push(done),
            }
        }
        for (keep, snapshots) in by_keep {
            let count = snapshots.len();
            match store.save_snapshots(snapshots, keep).await {
                Ok(()) => meter.snapshots_written.add(count_of(count)),
                Err(error) => {
                    meter.snapshots_refused.add(count_of(count));
                    warn!(
                        error = error_chain(&error),
                        count, "snapshots were not written"
                    );
                }
            }
        }
        for done in flushed {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }
}
