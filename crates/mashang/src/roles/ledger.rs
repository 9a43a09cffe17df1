//! `mashang ledger`: facts into the ledger, as many of their partitions as the group gives to this process.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use domain::model::address::{Topic, TopicPartition};
use eventlog::api::Consumer;
use eventlog::error::LogError;
use eventlog::kafka::consumer::KafkaConsumer;
use eventlog::kafka::membership::{Change, Membership};
use ledger::writer::Writer;
use parking_lot::Mutex;
use prometheus::{IntGauge, IntGaugeVec, Registry, TextEncoder};
use tracing::{info, warn};

use super::base::{Base, gauge, list, on_runtime, until_stopped};
use super::stage_metrics::{lag_gauges, set_lag, stopped_gauges};
use crate::config::roles::{Ledger, LedgerArgs};
use crate::process::health::{Admin, HealthCheck};
use crate::process::signals::Signals;
use crate::process::sockets;
use crate::process::thread::thread;
use worker::ledger_consumer::{LedgerCommand, LedgerConsumer, Owner, Progress};

/// Maximum number of commands that wait for the consumer; then changes of the group wait too.
const COMMANDS_MAX: usize = 4096;
/// Size of what a fetch waits for, bytes; it waits for `fetch.wait.max.ms` at most, half of the least time between two commits.
const FETCH_BYTES: &str = "65536";

/// Writes until SIGTERM or SIGINT.
pub(crate) fn ledger(args: LedgerArgs) -> Result<()> {
    let settings = args.check()?;
    let base = Base::begin(&settings.role)?;
    let writer = Writer::open(&settings.ledger, [])?;
    let (command_tx, command_rx) = sync_channel(COMMANDS_MAX);
    let membership = Arc::<OnceLock<Membership>>::default();
    let joined = Arc::clone(&membership);
    let (mut kafka, meta, instance) = (base.kafka.clone(), base.meta.clone(), base.instance.clone());
    kafka.consumer.entry("fetch.min.bytes".to_owned()).or_insert_with(|| FETCH_BYTES.to_owned());
    let connect = move || Ok::<Box<dyn Consumer>, LogError>(Box::new(KafkaConsumer::new(&kafka, &meta, &instance)?));
    let committed = move |facts, next| {
        // Offsets in a group only show its lag: one that is not committed before the join is committed with the next round.
        joined.get().into_iter().for_each(|member| member.commit(TopicPartition::new(Topic::Facts, facts), next));
    };
    let consumer = LedgerConsumer::open(
        &base.meta,
        (writer, settings.ledger.to_string()),
        Box::new(connect),
        Owner::Group(command_rx),
        Box::new(committed),
        &base.registry,
    )?;
    let health = Arc::new(RoleHealth::new(&base, consumer.progress(), settings.group.stuck_after)?);
    on_runtime(run(settings, base, consumer, health, command_tx, membership))
}

async fn run(
    settings: Ledger,
    base: Base,
    consumer: LedgerConsumer,
    health: Arc<RoleHealth>,
    commands: SyncSender<LedgerCommand>,
    membership: Arc<OnceLock<Membership>>,
) -> Result<()> {
    let admin = sockets::admin(settings.role.process.admin.get()).await?;
    let (failed, mut failures) = base.failures();
    let progress = consumer.progress();
    let writes = thread("ledger", &failed, move || Ok(consumer.run()?));
    let group = format!("{}.ledger", base.kafka.prefix);
    let member =
        Membership::join(&base.kafka, &group, &base.instance, &[Topic::Facts], settings.group.session_timeout)?;
    let (changes, own) = (member.changes(), Arc::clone(&health));
    thread("ledger-member", &failed, move || follow(&changes, &commands, &own));
    membership.set(member).expect("the group is joined once");
    let admin = Admin::start(admin, Arc::<RoleHealth>::clone(&health))?;
    let signals = Signals::listen()?;
    info!(admin = %admin.address, instance = base.instance, ledger = %settings.ledger, "ready");

    let ended = until_stopped(signals, &mut failures).await;
    progress.stop();
    let _ = tokio::task::spawn_blocking(move || {
        let _ = writes.join();
        // The member first commits the consumer's last offsets, then it leaves the group.
        membership.get().into_iter().for_each(Membership::leave);
    })
    .await;
    admin.end().await;
    info!("stopped");
    ended.and_then(|()| failures.try_recv().map_or(Ok(()), Err))
}

/// Applies the changes of the group, until the membership is over.
fn follow(changes: &Receiver<Change>, commands: &SyncSender<LedgerCommand>, health: &RoleHealth) -> Result<()> {
    for change in changes {
        match change {
            Change::Assigned(partitions) => {
                info!(partitions = list(&partitions), "partitions come");
                for TopicPartition { partition: facts, .. } in partitions {
                    health.owned.lock().insert(facts);
                    let _ = commands.send(LedgerCommand::Own(facts));
                }
            }
            Change::Revoked(partitions) | Change::Lost(partitions) => {
                info!(partitions = list(&partitions), "partitions go");
                for TopicPartition { partition: facts, .. } in partitions {
                    health.owned.lock().remove(&facts);
                    let _ = commands.send(LedgerCommand::Leave(facts));
                }
            }
            Change::Over(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The health of a ledger process.
struct RoleHealth {
    progress: Arc<Progress>,
    owned: Mutex<BTreeSet<u16>>,
    consumer: Mutex<Box<dyn Consumer>>,
    stuck_after: Duration,
    registry: Registry,
    lag: IntGaugeVec,
    stopped: IntGaugeVec,
    missing: IntGauge,
}

impl RoleHealth {
    fn new(base: &Base, progress: Arc<Progress>, stuck_after: Duration) -> Result<Self> {
        let registry = &base.registry;
        Ok(Self {
            progress,
            owned: Mutex::default(),
            consumer: Mutex::new(base.consumer("lag")?),
            stuck_after,
            lag: lag_gauges(registry),
            stopped: stopped_gauges(registry),
            missing: gauge(
                registry,
                "mashang_ledger_frames_missing",
                "Source partitions of which a frame is missing: its writer must replay",
            ),
            registry: registry.clone(),
        })
    }
}

impl HealthCheck for RoleHealth {
    fn liveness(&self) -> Result<(), String> {
        let stuck = self.progress.stuck();
        if stuck < self.stuck_after {
            return Ok(());
        }
        Err(format!("nothing was written for {} s although there is something", stuck.as_secs()))
    }

    /// Whether every partition that it owns is at work.
    fn readiness(&self) -> Result<(), String> {
        if let Some((facts, why)) = self.progress.stopped().into_iter().next() {
            return Err(format!("facts partition {facts} stopped: {why}"));
        }
        let committed = self.progress.committed();
        let owned = self.owned.lock();
        match owned.iter().filter(|facts| !committed.contains_key(facts)).count() {
            0 => Ok(()),
            left => Err(format!("{left} partitions are being taken up")),
        }
    }

    fn metrics(&self) -> String {
        // Held until the gauges are read: another scrape would reset them.
        let mut consumer = self.consumer.lock();
        self.lag.reset();
        self.stopped.reset();
        self.missing.set(i64::try_from(self.progress.missing()).unwrap_or(i64::MAX));
        let committed = self.progress.committed();
        for (facts, next) in &committed {
            match consumer.bounds(TopicPartition::new(Topic::Facts, *facts)) {
                Ok(bounds) => {
                    set_lag(&self.lag, "ledger", *facts, bounds.end.saturating_sub(*next));
                }
                Err(error) => {
                    // Brokers that do not answer are asked once.
                    warn!(%error, "the lag is not known");
                    break;
                }
            }
        }
        for facts in self.progress.stopped().keys() {
            self.stopped.with_label_values(&["ledger", &facts.to_string()]).set(1);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
