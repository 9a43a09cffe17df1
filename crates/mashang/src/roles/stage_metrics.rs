//! The gauges of the stages that a process runs: lag, memory, age of the snapshots.

use std::sync::atomic::Ordering;

use eventlog::api::now_ms;
use prometheus::{IntGauge, IntGaugeVec, Registry};
use worker::context::Progress;
use worker::desks::desk_of;

use super::base::{gauge, gauges};

pub(crate) struct StageMetrics {
    lag: IntGaugeVec,
    state_bytes: IntGaugeVec,
    bounds_reached: IntGaugeVec,
    waiting_refunds: IntGauge,
    lookups: IntGauge,
    inactive_scans: IntGauge,
    diverted_scans: IntGauge,
    codes_in_alarm: IntGauge,
    snapshot_age: IntGauge,
    stopped: IntGaugeVec,
    began_ms: i64,
}

impl StageMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            lag: lag_gauges(registry),
            state_bytes: gauges(
                registry,
                "mashang_state_bytes",
                "About how much memory states take",
                &["desk", "kind"],
            ),
            bounds_reached: gauges(
                registry,
                "mashang_bounds_reached",
                "How often each bound on what is kept was reached, in the states of the desks",
                &["bound"],
            ),
            waiting_refunds: gauge(registry, "mashang_waiting_refunds", "Refunds that wait for their order"),
            lookups: gauge(
                registry,
                "mashang_desk_lookups",
                "Kept touches, orders, refunds and attempts that desks looked at for events since their states were loaded",
            ),
            inactive_scans: gauge(
                registry,
                "mashang_inactive_scans",
                "Scans of minted codes that are dark, frozen or void, since the states of the desks were loaded",
            ),
            diverted_scans: gauge(
                registry,
                "mashang_diverted_scans",
                "Scans of minted codes in another region than the one meant, since the states of the desks were loaded",
            ),
            codes_in_alarm: gauge(
                registry,
                "mashang_codes_in_alarm",
                "Minted codes that as many distinct shoppers as alarm_shoppers says have scanned",
            ),
            snapshot_age: gauge(
                registry,
                "mashang_snapshot_age_seconds",
                "Since the oldest last snapshot of a partition that has moved on since, or since the start",
            ),
            stopped: stopped_gauges(registry),
            began_ms: now_ms(),
        }
    }

    /// Forgets the lags of partitions that may have gone.
    pub(crate) fn reset_lags(&self) {
        self.lag.reset();
    }

    pub(crate) fn set_lag(&self, stage: &str, partition: u16, lag: u64) {
        set_lag(&self.lag, stage, partition, lag);
    }

    /// Says whether a partition stopped at an error.
    pub(crate) fn set_stopped(&self, stage: &str, partition: u16, is_stopped: bool) {
        self.stopped.with_label_values(&[stage, &partition.to_string()]).set(i64::from(is_stopped));
    }

    /// Sets the gauges of memory, snapshots and stopped partitions from the progress of all desks.
    pub(crate) fn set_states(&self, desks: &[Progress]) {
        self.state_bytes.reset();
        self.bounds_reached.reset();
        self.stopped.reset();
        let mut oldest = None;
        let (mut waiting, mut lookups) = (0, 0);
        let [mut inactive, mut diverted, mut in_alarm] = [0; 3];
        for progress in desks {
            let desk = desk_of(progress.topic).name;
            self.set_stopped(desk, progress.partition, progress.why_stopped().is_some());
            for (kind, bytes) in &*progress.sizes.lock() {
                self.state_bytes.with_label_values(&[desk, kind]).add(i64::try_from(*bytes).unwrap_or(i64::MAX));
            }
            let kept = progress.kept.lock();
            waiting += kept.waiting_refunds;
            lookups += kept.looked_at;
            inactive += kept.inactive_scans;
            diverted += kept.diverted_scans;
            in_alarm += kept.codes_in_alarm;
            for (bound, times) in &kept.bounds_reached {
                self.bounds_reached.with_label_values(&[bound]).add(i64::try_from(*times).unwrap_or(i64::MAX));
            }
            // Without a record since the last snapshot, that snapshot is current.
            if progress.settled.load(Ordering::Acquire) > progress.snapshot_offset.load(Ordering::Acquire) {
                let at = progress.snapshot_ms.load(Ordering::Acquire).cast_signed().max(self.began_ms);
                oldest = oldest.map_or(Some(at), |oldest: i64| Some(oldest.min(at)));
            }
        }
        self.waiting_refunds.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.lookups.set(i64::try_from(lookups).unwrap_or(i64::MAX));
        let codes =
            [(&self.inactive_scans, inactive), (&self.diverted_scans, diverted), (&self.codes_in_alarm, in_alarm)];
        for (gauge, number) in codes {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
        self.snapshot_age.set(oldest.map_or(0, |oldest| (now_ms() - oldest).max(0) / 1000));
    }
}

pub(crate) fn stopped_gauges(registry: &Registry) -> IntGaugeVec {
    let help = "Partitions that stopped at an error";
    gauges(registry, "mashang_partition_stopped", help, &["stage", "partition"])
}

pub(crate) fn lag_gauges(registry: &Registry) -> IntGaugeVec {
    gauges(registry, "mashang_lag_frames", "Frames that a stage has not settled yet", &["stage", "partition"])
}

pub(crate) fn set_lag(gauges: &IntGaugeVec, stage: &str, partition: u16, lag: u64) {
    gauges.with_label_values(&[stage, &partition.to_string()]).set(i64::try_from(lag).unwrap_or(i64::MAX));
}
