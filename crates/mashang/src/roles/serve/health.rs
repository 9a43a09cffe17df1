//! The health of a service: the progress of every stage, and whether it can accept events now.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::model::address::{Topic, TopicPartition};
use eventlog::api::Health;
use eventlog::local::log::Log;
use nix::sys::statvfs::statvfs;
use prometheus::{Registry, TextEncoder};
use wire::compression::BODY_BYTES_MAX;
use worker::context::WorkerContext;
use worker::desks::{DESKS, DeskEntry, desk_of};

use worker::ledger_consumer::Progress as LedgerProgress;

use crate::process::health::HealthCheck;
use crate::roles::base::report_build;
use crate::roles::stage_metrics::StageMetrics;

/// Bytes that a request of the largest size may need: its events in the log, and what the desks make of them.
const ROOM_BYTES_MIN: u64 = 2 * BODY_BYTES_MAX as u64;

/// The health of the service and its metrics.
pub(crate) struct RoleHealth {
    log: Arc<Log>,
    /// The directory of the log.
    dir: PathBuf,
    context: Arc<WorkerContext>,
    ledger: Arc<LedgerProgress>,
    registry: Registry,
    stages: StageMetrics,
    /// Set once the end was asked for.
    pub(super) draining: AtomicBool,
}

impl RoleHealth {
    pub(super) fn new(
        log: Arc<Log>,
        dir: PathBuf,
        context: Arc<WorkerContext>,
        ledger: Arc<LedgerProgress>,
        registry: Registry,
    ) -> Self {
        report_build(&registry);
        let stages = StageMetrics::new(&registry);
        Self { log, dir, context, ledger, registry, stages, draining: AtomicBool::new(false) }
    }

    /// Frames that wait, by stage and partition, read in the order of the pipeline: where all are 0, everything that was
    /// durable when this began is in the ledger.
    pub(crate) fn lags(&self) -> Vec<(&'static str, u16, u64)> {
        let mut lags = Vec::new();
        let desks = self.context.progress();
        for DeskEntry { name, topic, .. } in DESKS {
            for desk in desks.iter().filter(|desk| desk.topic == topic) {
                let end = self.log.partition(TopicPartition::new(topic, desk.partition)).end();
                lags.push((name, desk.partition, end.saturating_sub(desk.settled.load(Ordering::Acquire))));
            }
        }
        for (partition, committed) in self.ledger.committed() {
            let end = self.log.partition(TopicPartition::new(Topic::Facts, partition)).end();
            lags.push(("ledger", partition, end.saturating_sub(committed)));
        }
        lags
    }

    /// Whether the disk has room for a request of the largest size. Smaller ones may still be accepted.
    fn has_room(&self) -> Result<(), String> {
        // A disk that cannot be asked will fail by itself.
        let Ok(disk) = statvfs(&self.dir) else { return Ok(()) };
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        if free >= ROOM_BYTES_MIN {
            return Ok(());
        }
        Err(format!(
            "the disk of the log has {free} bytes left; it needs {ROOM_BYTES_MIN} for a request of the largest size"
        ))
    }

    /// Whether no frame waits, except for partitions that stopped.
    pub(super) fn is_settled(&self) -> bool {
        let stopped = self.stopped();
        let is_stopped = |stage, partition| stopped.iter().any(|&(s, p, _)| (s, p) == (stage, partition));
        self.lags().into_iter().all(|(stage, partition, lag)| lag == 0 || is_stopped(stage, partition))
    }

    /// The partitions that stopped at an error, by stage, and why.
    fn stopped(&self) -> Vec<(&'static str, u16, String)> {
        let desks = self.context.progress();
        let desks =
            desks.iter().filter_map(|desk| Some((desk_of(desk.topic).name, desk.partition, desk.why_stopped()?)));
        desks.chain(self.ledger.stopped().into_iter().map(|(facts, why)| ("ledger", facts, why))).collect()
    }

    /// Sets the gauges that are not updated as events happen.
    fn measure(&self) {
        for (stage, partition, lag) in self.lags() {
            self.stages.set_lag(stage, partition, lag);
        }
        self.stages.set_states(&self.context.progress());
        self.ledger.stopped().keys().for_each(|&facts| self.stages.set_stopped("ledger", facts, true));
    }

    /// A few lines for the status page.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        let mut lines = vec![("ready".to_owned(), self.readiness().err().unwrap_or_else(|| "yes".to_owned()))];
        for stage in ["shopper", "code", "campaign", "ledger"] {
            let lag: u64 = self.lags().iter().filter(|(s, ..)| *s == stage).map(|(.., lag)| lag).sum();
            lines.push((format!("frames that wait: {stage}"), lag.to_string()));
        }
        let stopped = self.stopped().into_iter();
        lines.extend(stopped.map(|(stage, partition, why)| (format!("{stage} {partition} stopped"), why)));
        lines.push(("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        lines
    }
}

impl HealthCheck for RoleHealth {
    fn liveness(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether the service would answer 202 now.
    fn readiness(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Acquire) {
            return Err("draining".to_owned());
        }
        match self.log.health() {
            Health::Good => self.has_room(),
            Health::Full => Err("the disk of the log is full".to_owned()),
            Health::Failed => Err("the disk of the log failed".to_owned()),
        }
    }

    fn metrics(&self) -> String {
        self.measure();
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
