//! `mashang worker`: the desks, as many of their partitions as the group gives to this process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, anyhow};
use domain::model::address::{PartitionId, Topic, TopicPartition};
use domain::model::rules::rulebook::Library;
use domain::protocol::publish::Registry as Published;
use eventlog::api::{Appender, Consumer, now_ms};
use eventlog::error::LogError;
use eventlog::files::Files;
use eventlog::kafka::appender::{KafkaAppender, Metrics as AppenderMetrics, Options};
use eventlog::kafka::consumer::KafkaConsumer;
use eventlog::kafka::membership::{Change, Membership};
use eventlog::kafka::settings::Settings as Kafka;
use eventlog::local::meta::Meta;
use eventlog::objects::Objects;
use parking_lot::Mutex;
use prometheus::{IntGaugeVec, Registry, TextEncoder};
use tracing::{info, warn};
use worker::archiver::Archiver;
use worker::context::{RunMode, SnapshotPolicy, WorkerContext};
use worker::desks::desk_of;
use worker::rules_cache::RulesCache;
use worker::snapshot::Snapshots;
use worker::supervisor::{Connect, LaneSupervisor};

use super::base::{Base, gauges, list, on_runtime, until_stopped, until_store_answers};
use super::stage_metrics::StageMetrics;
use crate::config::roles::{DeskArg, Worker, WorkerArgs};
use crate::process::health::{Admin, HealthCheck};
use crate::process::signals::Signals;
use crate::process::sockets;
use crate::process::thread::thread;
use crate::rules::publish::{Needed, SecretPlaces, books, read_on};
use crate::rules::store::RulesStore;
use crate::store::{RULES, SNAPSHOTS, pressure};
use crate::usage;

/// The memberships of the desks' groups, once they are joined.
type Memberships = Arc<OnceLock<BTreeMap<Topic, Membership>>>;

/// Works until SIGTERM or SIGINT.
pub(crate) fn worker(args: WorkerArgs, files: Arc<dyn Files>) -> Result<()> {
    let settings = args.check()?;
    let objects = settings.store.open(Arc::clone(&files))?;
    let base = Base::begin(&settings.role)?;
    let has = |desk| settings.desks.contains(&desk);
    let reader = Reader {
        published: Mutex::new((base.consumer("rules")?, Published::default())),
        store: RulesStore::of_store(Arc::clone(&objects), RULES),
        secrets: SecretPlaces {
            dirs: vec![settings.role.secrets.clone()],
            needed: Needed::All,
            draws: has(DeskArg::Code) || has(DeskArg::Campaign),
            verifies: has(DeskArg::Shopper),
        },
    };
    let library = until_store_answers(|| reader.read(&Library::new()))?;
    let more = Box::new(move |known: &Library| reader.read(known).map_err(|e| format!("{e:#}")));
    let mut writer = [0; 4];
    getrandom::fill(&mut writer).map_err(|e| anyhow!("the system gives no random numbers: {e}; check /dev/urandom"))?;
    let writer = u32::from_le_bytes(writer);
    let snapshot_policy = SnapshotPolicy { interval: settings.snapshot_every, ..SnapshotPolicy::default() };
    let memberships = Memberships::default();
    let joined = Arc::clone(&memberships);
    let published = Box::new(move |source: PartitionId, offset, _| {
        // Offsets in a group only show its lag: one that is not committed before the join is committed with the next snapshot.
        if let Some(member) = joined.get().and_then(|members| members.get(&source.topic)) {
            member.commit(source.topic_partition(), offset);
        }
    });
    let context = WorkerContext::new(
        base.meta.clone(),
        RulesCache::growing(library, more),
        Snapshots::of_store(Arc::clone(&objects), SNAPSHOTS, writer),
        snapshot_policy,
        RunMode::Fleet,
        published,
        &base.registry,
    );
    let context = context.with_memory(settings.memory);
    let archiver =
        settings.archive.as_ref().map(|archive| archive.archiver(files, &base.meta, &base.registry)).transpose()?;
    on_runtime(run(settings, base, (Arc::new(context), archiver, objects), memberships))
}

async fn run(
    settings: Worker,
    base: Base,
    (context, archiver, objects): (Arc<WorkerContext>, Option<Arc<Archiver>>, Arc<dyn Objects>),
    memberships: Memberships,
) -> Result<()> {
    let admin = sockets::admin(settings.role.process.admin.get()).await?;
    let connect = KafkaConnect {
        kafka: base.kafka.clone(),
        meta: base.meta.clone(),
        instance: base.instance.clone(),
        metrics: AppenderMetrics::new(&base.registry),
    };
    let connect_archiver = connect.for_archiver();
    let connect: Arc<dyn Connect> = Arc::new(connect);
    let supervisor = Arc::new(Mutex::new(Some(LaneSupervisor::start(&context, &connect, settings.lanes))));
    let health = Arc::new(RoleHealth::new(&base, &context, settings.group.stuck_after)?);
    let (failed, mut failures) = base.failures();
    let mut members = BTreeMap::new();
    for desk in [DeskArg::Shopper, DeskArg::Code, DeskArg::Campaign] {
        if !settings.desks.contains(&desk) {
            continue;
        }
        let (name, topic) = of(desk);
        let group = format!("{}.{name}", base.kafka.prefix);
        let member = Membership::join(&base.kafka, &group, &base.instance, &[topic], settings.group.session_timeout)?;
        let (changes, supervisor, health) = (member.changes(), Arc::clone(&supervisor), Arc::clone(&health));
        thread(&format!("{name}-member"), &failed, move || follow(&changes, &supervisor, &health));
        members.insert(topic, member);
    }
    memberships.set(members).expect("the groups are joined once");
    if let Some(archiver) = archiver {
        let (connect, health, context) = (connect_archiver, Arc::clone(&health), Arc::clone(&context));
        // A stop does not wait for it: the next process goes on behind the last segment.
        thread("archiver", &failed, move || {
            let done = archiver.run(&connect, &|| health.owned_scans(), &|| context.is_stopping());
            // Only an archive of another log ends it.
            done.map_err(usage)
        });
    }
    if settings.memory.is_some() {
        let (context, instance) = (Arc::clone(&context), base.instance.clone());
        thread("pressure", &failed, move || tell_pressure(&context, &*objects, &instance));
    }
    let admin = Admin::start(admin, Arc::<RoleHealth>::clone(&health))?;
    let signals = Signals::listen()?;
    let desks: Vec<&str> = settings.desks.iter().map(|&desk| of(desk).0).collect();
    info!(admin = %admin.address, instance = base.instance, desks = desks.join(","), "ready");

    let ended = until_stopped(signals, &mut failures).await;
    context.stop();
    tokio::task::spawn_blocking(move || {
        let supervisor = supervisor.lock().take();
        supervisor.into_iter().for_each(LaneSupervisor::stop);
    })
    .await?;
    admin.end().await;
    let _ = tokio::task::spawn_blocking(move || {
        memberships.get().into_iter().flat_map(BTreeMap::values).for_each(Membership::leave);
    })
    .await;
    info!("stopped");
    ended
}

fn of(desk: DeskArg) -> (&'static str, Topic) {
    match desk {
        DeskArg::Shopper => ("shopper", Topic::Scans),
        DeskArg::Code => ("code", Topic::Draws),
        DeskArg::Campaign => ("campaign", Topic::Awards),
    }
}

/// Tells the edges again and again how much memory is left, until the worker stops.
fn tell_pressure(context: &WorkerContext, objects: &dyn Objects, instance: &str) -> Result<()> {
    // Unknown at first: the process before this one may have told something.
    let mut told = None;
    while !context.is_stopping() {
        let share = context.memory().map_or(0, |(used, max)| pressure::share_ppm(used, max));
        if share > 0 || told != Some(0) {
            match pressure::tell(objects, instance, share, now_ms()) {
                Ok(()) => told = Some(share),
                Err(error) => warn!(%error, "edges cannot be told how much memory is left; it is tried again"),
            }
        }
        std::thread::sleep(pressure::EVERY);
    }
    Ok(())
}

/// Applies the changes of the group, until the membership is over.
fn follow(changes: &Receiver<Change>, supervisor: &Mutex<Option<LaneSupervisor>>, health: &RoleHealth) -> Result<()> {
    for change in changes {
        let supervisor = supervisor.lock();
        let Some(supervisor) = supervisor.as_ref() else { return Ok(()) };
        match change {
            Change::Assigned(partitions) => {
                info!(partitions = list(&partitions), "partitions come");
                health.owned.lock().extend(partitions.iter().copied());
                partitions.iter().for_each(|&partition| supervisor.own(partition));
            }
            Change::Revoked(partitions) | Change::Lost(partitions) => {
                info!(partitions = list(&partitions), "partitions go");
                health.owned.lock().retain(|owned| !partitions.contains(owned));
                partitions.iter().for_each(|&partition| supervisor.leave(partition));
            }
            Change::Over(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads rules as they are published.
struct Reader {
    published: Mutex<(Box<dyn Consumer>, Published)>,
    store: RulesStore,
    secrets: SecretPlaces,
}

impl Reader {
    fn read(&self, known: &Library) -> Result<Library> {
        let mut published = self.published.lock();
        let (consumer, published) = &mut *published;
        read_on(&mut **consumer, published)?;
        books(published, &self.store, known, &self.secrets)
    }
}

/// Connects lanes to Kafka.
struct KafkaConnect {
    kafka: Kafka,
    meta: Meta,
    instance: String,
    metrics: AppenderMetrics,
}

impl KafkaConnect {
    /// Connects the archiver: it reads much at once.
    fn for_archiver(&self) -> impl Fn() -> Result<Box<dyn Consumer>, LogError> + use<> {
        let (kafka, meta, client_id) = (self.kafka.clone(), self.meta.clone(), format!("{}-archiver", self.instance));
        move || Ok(Box::new(KafkaConsumer::new(&kafka, &meta, &client_id)?))
    }
}

impl Connect for KafkaConnect {
    fn consumer(&self) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(KafkaConsumer::pausing(&self.kafka, &self.meta, &self.instance)?))
    }

    fn appender(&self) -> Result<Arc<dyn Appender>, LogError> {
        Ok(Arc::new(KafkaAppender::start(&self.kafka, &self.instance, Options::lane(), &self.metrics)?))
    }
}

/// The health of a worker.
struct RoleHealth {
    context: Arc<WorkerContext>,
    owned: Mutex<BTreeSet<TopicPartition>>,
    consumer: Mutex<Box<dyn Consumer>>,
    stuck_after: Duration,
    registry: Registry,
    stages: StageMetrics,
    missing: IntGaugeVec,
}

impl RoleHealth {
    fn new(base: &Base, context: &Arc<WorkerContext>, stuck_after: Duration) -> Result<Self> {
        let registry = &base.registry;
        let labels = ["stage", "partition"];
        Ok(Self {
            context: Arc::clone(context),
            owned: Mutex::default(),
            consumer: Mutex::new(base.consumer("lag")?),
            stuck_after,
            stages: StageMetrics::new(registry),
            missing: gauges(
                registry,
                "mashang_frames_missing",
                "Source partitions of which a frame is missing: its writer must replay",
                &labels,
            ),
            registry: registry.clone(),
        })
    }

    /// The partitions of `scans` that this process owns.
    fn owned_scans(&self) -> Vec<u16> {
        self.owned.lock().iter().filter(|of| of.topic == Topic::Scans).map(|of| of.partition).collect()
    }

    /// Sets the gauges. They are reset before, so the caller holds the consumer until it has read them.
    fn measure(&self, consumer: &mut dyn Consumer) {
        self.stages.reset_lags();
        self.missing.reset();
        let desks = self.context.progress();
        let mut is_answering = true;
        for progress in &desks {
            let desk = desk_of(progress.topic).name;
            let labels = [desk, &progress.partition.to_string()];
            // Brokers that do not answer are asked once.
            if is_answering {
                match consumer.bounds(TopicPartition::new(progress.topic, progress.partition)) {
                    Ok(bounds) => {
                        let settled = progress.settled.load(Ordering::Acquire);
                        self.stages.set_lag(desk, progress.partition, bounds.end.saturating_sub(settled));
                    }
                    Err(error) => {
                        is_answering = false;
                        warn!(%error, "the lag is not known");
                    }
                }
            }
            let missing = progress.missing.load(Ordering::Acquire);
            self.missing.with_label_values(&labels).set(i64::try_from(missing).unwrap_or(i64::MAX));
        }
        self.stages.set_states(&desks);
    }
}

impl HealthCheck for RoleHealth {
    fn liveness(&self) -> Result<(), String> {
        let stuck = Duration::from_millis(self.context.stuck_ms());
        if stuck < self.stuck_after {
            return Ok(());
        }
        Err(format!("a lane has made no progress for {} s", stuck.as_secs()))
    }

    /// Whether every partition that it owns is at work.
    fn readiness(&self) -> Result<(), String> {
        if self.context.is_stopping() {
            return Err("draining".to_owned());
        }
        let progress = self.context.progress();
        if let Some((stopped, why)) = progress.iter().find_map(|p| Some((p, p.why_stopped()?))) {
            return Err(format!("{} partition {} stopped: {why}", stopped.topic, stopped.partition));
        }
        let restored: BTreeSet<_> = progress.iter().map(|p| TopicPartition::new(p.topic, p.partition)).collect();
        let left = self.owned.lock().difference(&restored).count();
        match left {
            0 => Ok(()),
            left => Err(format!("{left} partitions are being restored")),
        }
    }

    fn metrics(&self) -> String {
        let mut consumer = self.consumer.lock();
        self.measure(&mut **consumer);
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
