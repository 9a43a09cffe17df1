//! The health of a service: the progress of every stage, and whether it can accept events now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::model::address::{Topic, TopicPartition};
use eventlog::api::{Health, now_ms};
use eventlog::local::log::Log;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use worker::context::WorkerContext;
use worker::desks::{DESKS, DeskEntry, desk_of};

use crate::process::health::HealthCheck;

use worker::ledger_consumer::Progress as LedgerProgress;

/// The health of the service and its metrics.
pub(crate) struct RoleHealth {
    log: Arc<Log>,
    works: Arc<WorkerContext>,
    ledger: Arc<LedgerProgress>,
    registry: Registry,
    lag: IntGaugeVec,
    state_bytes: IntGaugeVec,
    snapshot_age: IntGauge,
    began_ms: i64,
    /// Set once the end was asked for.
    pub(super) draining: AtomicBool,
}

impl RoleHealth {
    pub(super) fn new(
        log: Arc<Log>,
        works: Arc<WorkerContext>,
        ledger: Arc<LedgerProgress>,
        registry: Registry,
    ) -> Self {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect("a name");
            registry.register(Box::new(gauges.clone())).expect("registered once");
            gauges
        };
        let lag = gauges("mashang_lag_frames", "Frames that a stage has not settled yet", &["stage", "partition"]);
        let state_bytes = gauges("mashang_state_bytes", "About how much memory states take", &["desk", "kind"]);
        let build = gauges("mashang_build_info", "The build that runs", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let help = "Since the oldest last snapshot of a partition that has moved on since, or since the start";
        let snapshot_age = IntGauge::new("mashang_snapshot_age_seconds", help).expect("a name");
        registry.register(Box::new(snapshot_age.clone())).expect("registered once");
        Self {
            log,
            works,
            ledger,
            registry,
            lag,
            state_bytes,
            snapshot_age,
            began_ms: now_ms(),
            draining: AtomicBool::new(false),
        }
    }

    /// Frames that wait, by stage and partition, read in the order of the pipeline: where all are 0, everything that was
    /// durable when this began is in the ledger.
    pub(crate) fn lags(&self) -> Vec<(&'static str, u16, u64)> {
        let mut lags = Vec::new();
        let stations = self.works.progress();
        for DeskEntry { name, topic, .. } in DESKS {
            for station in stations.iter().filter(|s| s.topic == topic) {
                let end = self.log.partition(TopicPartition::new(topic, station.partition)).end();
                lags.push((name, station.partition, end.saturating_sub(station.settled.load(Ordering::Acquire))));
            }
        }
        for (partition, committed) in self.ledger.committed() {
            let end = self.log.partition(TopicPartition::new(Topic::Facts, partition)).end();
            lags.push(("ledger", partition, end.saturating_sub(committed)));
        }
        lags
    }

    pub(super) fn is_settled(&self) -> bool {
        self.lags().iter().all(|(.., lag)| *lag == 0)
    }

    /// Sets the gauges that are not updated as events happen.
    fn measure(&self) {
        for (stage, partition, lag) in self.lags() {
            let labels = [stage, &partition.to_string()];
            self.lag.with_label_values(&labels).set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
        self.state_bytes.reset();
        let mut oldest = None;
        for station in &self.works.progress() {
            let desk = desk_of(station.topic).name;
            for (kind, bytes) in &*station.sizes.lock() {
                self.state_bytes.with_label_values(&[desk, kind]).add(i64::try_from(*bytes).unwrap_or(i64::MAX));
            }
            // Where nothing came since, the last one is as good as new.
            if station.settled.load(Ordering::Acquire) > station.snapshot_offset.load(Ordering::Acquire) {
                let at = station.snapshot_ms.load(Ordering::Acquire).cast_signed().max(self.began_ms);
                oldest = oldest.map_or(Some(at), |oldest: i64| Some(oldest.min(at)));
            }
        }
        self.snapshot_age.set(oldest.map_or(0, |oldest| (now_ms() - oldest).max(0) / 1000));
    }

    /// A few lines for the status page.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        let mut lines = vec![("ready".to_owned(), self.readiness().err().unwrap_or_else(|| "yes".to_owned()))];
        for stage in ["shopper", "code", "campaign", "ledger"] {
            let lag: u64 = self.lags().iter().filter(|(s, ..)| *s == stage).map(|(.., lag)| lag).sum();
            lines.push((format!("frames that wait: {stage}"), lag.to_string()));
        }
        lines.push(("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        lines
    }
}

impl HealthCheck for RoleHealth {
    fn life(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether the service would answer 202 now.
    fn readiness(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Acquire) {
            return Err("draining".to_owned());
        }
        match self.log.health() {
            Health::Good => Ok(()),
            Health::Full => Err("the disk of the log is full".to_owned()),
            Health::Failed => Err("the disk of the log failed".to_owned()),
        }
    }

    fn metrics(&self) -> String {
        self.measure();
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
