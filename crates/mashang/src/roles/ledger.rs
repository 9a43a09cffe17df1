//! `mashang ledger`: facts into the ledger, as many of their partitions as the group gives to this process.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use domain::model::address::{Topic, TopicPartition};
use eventlog::api::Consumer;
use eventlog::error::LogError;
use eventlog::kafka::consumer::KafkaConsumer;
use eventlog::kafka::membership::{Change, Membership};
use ledger::writer::Writer;
use prometheus::{IntGauge, IntGaugeVec, Registry, TextEncoder};
use tracing::{info, warn};

use super::base::{Base, gauge, gauges, on_runtime, until_stopped};
use crate::config::roles::{Ledger, LedgerArgs};
use crate::process::health::{Admin, HealthCheck};
use crate::process::signals::Signals;
use crate::process::sockets;
use crate::process::thread::thread;
use worker::ledger_consumer::{LedgerCommand, LedgerConsumer, Owner, Progress};

/// Writes until SIGTERM or SIGINT.
pub(crate) fn ledger(args: LedgerArgs) -> Result<()> {
    let settings = args.check()?;
    let base = Base::begin(&settings.role)?;
    let writer = Writer::open(&settings.ledger, [])?;
    let (orders, ordered) = channel();
    let (to_commit, commits) = channel();
    let (kafka, meta, instance) = (base.kafka.clone(), base.meta.clone(), base.instance.clone());
    let connect = move || Ok::<Box<dyn Consumer>, LogError>(Box::new(KafkaConsumer::new(&kafka, &meta, &instance)?));
    let committed = move |facts, next| {
        let _ = to_commit.send((facts, next));
    };
    let scribe = LedgerConsumer::open(
        &base.meta,
        (writer, settings.ledger.to_string()),
        Box::new(connect),
        Owner::Group(ordered),
        Box::new(committed),
        &base.registry,
    )?;
    let standing = Arc::new(RoleHealth::new(&base, scribe.progress(), settings.group.stuck_after)?);
    on_runtime(run(settings, base, scribe, standing, orders, commits))
}

async fn run(
    settings: Ledger,
    base: Base,
    scribe: LedgerConsumer,
    standing: Arc<RoleHealth>,
    orders: Sender<LedgerCommand>,
    commits: Receiver<(u16, u64)>,
) -> Result<()> {
    let admin = sockets::admin(settings.role.process.admin.get()).await?;
    let (failed, mut failures) = base.failures();
    let progress = scribe.progress();
    let writes = thread("ledger", &failed, move || Ok(scribe.run()?));
    let group = format!("{}.ledger", base.kafka.prefix);
    let member =
        Membership::join(&base.kafka, &group, &base.instance, &[Topic::Facts], settings.group.session_timeout)?;
    let (changes, own) = (member.changes(), Arc::clone(&standing));
    thread("ledger-member", &failed, move || follow(&changes, &orders, &own));
    let committer = std::thread::spawn(move || {
        commits.into_iter().for_each(|(facts, next)| member.commit(TopicPartition::new(Topic::Facts, facts), next));
        member
    });
    let admin = Admin::start(admin, Arc::<RoleHealth>::clone(&standing))?;
    let signals = Signals::listen()?;
    info!(admin = %admin.address, instance = base.instance, ledger = %settings.ledger, "ready");

    let ended = until_stopped(signals, &mut failures).await;
    progress.stop();
    let _ = tokio::task::spawn_blocking(move || {
        let _ = writes.join();
        // The committer first commits the offsets that the consumer has sent; then the member leaves the group.
        committer.join().into_iter().for_each(|member| member.leave());
    })
    .await;
    admin.end().await;
    info!("stopped");
    ended.and_then(|()| failures.try_recv().map_or(Ok(()), Err))
}

/// Applies the changes of the group, until the membership is over.
fn follow(changes: &Receiver<Change>, orders: &Sender<LedgerCommand>, standing: &RoleHealth) -> Result<()> {
    for change in changes {
        let mut owned = standing.owned.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Assigned(places) => {
                info!(?places, "partitions come");
                for TopicPartition { partition: facts, .. } in places {
                    owned.insert(facts);
                    let _ = orders.send(LedgerCommand::Own(facts));
                }
            }
            Change::Revoked(places) | Change::Lost(places) => {
                info!(?places, "partitions go");
                for TopicPartition { partition: facts, .. } in places {
                    owned.remove(&facts);
                    let _ = orders.send(LedgerCommand::Leave(facts));
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
    feed: Mutex<Box<dyn Consumer>>,
    stuck_after: Duration,
    registry: Registry,
    lag: IntGaugeVec,
    stopped: IntGaugeVec,
    missing: IntGauge,
}

impl RoleHealth {
    fn new(base: &Base, progress: Arc<Progress>, stuck_after: Duration) -> Result<Self> {
        let registry = &base.registry;
        let by_place = ["stage", "partition"];
        Ok(Self {
            progress,
            owned: Mutex::default(),
            feed: Mutex::new(base.feed("lag")?),
            stuck_after,
            lag: gauges(registry, "mashang_lag_frames", "Frames that a stage has not settled yet", &by_place),
            stopped: gauges(registry, "mashang_partition_stopped", "Partitions that stopped at an error", &by_place),
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
    fn life(&self) -> Result<(), String> {
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
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        match owned.iter().filter(|facts| !committed.contains_key(facts)).count() {
            0 => Ok(()),
            left => Err(format!("{left} partitions are being taken up")),
        }
    }

    fn metrics(&self) -> String {
        self.lag.reset();
        self.stopped.reset();
        self.missing.set(i64::try_from(self.progress.missing()).unwrap_or(i64::MAX));
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        let committed = self.progress.committed();
        for (facts, next) in &committed {
            match feed.bounds(TopicPartition::new(Topic::Facts, *facts)) {
                Ok(bounds) => {
                    let lag = i64::try_from(bounds.end.saturating_sub(*next)).unwrap_or(i64::MAX);
                    self.lag.with_label_values(&["ledger", &facts.to_string()]).set(lag);
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
