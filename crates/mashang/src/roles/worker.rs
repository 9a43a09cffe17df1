//! `mashang worker`: the desks, as many of their partitions as the group gives to this process.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use domain::model::address::{PartitionId, Topic, TopicPartition};
use domain::model::rulebook::Library;
use domain::protocol::publish::Registry as Published;
use eventlog::api::now_ms;
use eventlog::api::{Appender, Consumer};
use eventlog::error::LogError;
use eventlog::files::Files;
use eventlog::kafka::appender::{KafkaAppender, Metrics as AppenderMetrics, Options};
use eventlog::kafka::consumer::KafkaConsumer;
use eventlog::kafka::membership::{Change, Membership};
use eventlog::kafka::settings::Settings as Kafka;
use eventlog::local::meta::Meta;
use prometheus::{IntGauge, IntGaugeVec, Registry, TextEncoder};
use tracing::{info, warn};
use worker::context::{RunMode, SnapshotPolicy, WorkerContext};
use worker::desks::desk_of;
use worker::rules_cache::RulesCache;
use worker::snapshot::Snapshots;
use worker::supervisor::{Connect, LaneSupervisor};

use super::base::{Base, gauge, gauges, on_runtime, until_stopped};
use crate::config::roles::{DeskArg, Worker, WorkerArgs};
use crate::process::health::{Admin, HealthCheck};
use crate::process::signals::Signals;
use crate::process::sockets;
use crate::process::thread::thread;
use crate::rules::publish::{Needed, Secrets, books, read_on};
use crate::rules::store::RulesStore;

/// The offsets that snapshots have reached, by partition; `None` after the last.
type Commits = (Sender<Option<(TopicPartition, u64)>>, Receiver<Option<(TopicPartition, u64)>>);

/// Works until SIGTERM or SIGINT.
pub(crate) fn worker(args: WorkerArgs, files: Arc<dyn Files>) -> Result<()> {
    let settings = args.check()?;
    let base = Base::begin(&settings.role)?;
    let draws = settings.desks.contains(&DeskArg::Code);
    let reader = Reader {
        published: Mutex::new((base.feed("rules")?, Published::default())),
        shelf: settings.store.shelf(Arc::clone(&files)),
        secrets: Secrets {
            dirs: vec![settings.role.secrets.clone()],
            needed: if draws { Needed::All } else { Needed::None },
        },
    };
    let library = reader.read(&Library::new())?;
    let more = Box::new(move |known: &Library| reader.read(known).map_err(|e| format!("{e:#}")));
    let mut writer = [0; 4];
    getrandom::fill(&mut writer).map_err(|e| anyhow!("the system gives no random numbers: {e}"))?;
    let writer = u32::from_le_bytes(writer);
    let rhythm = SnapshotPolicy { interval: settings.snapshot_every, ..SnapshotPolicy::default() };
    let (to_commit, commits) = channel();
    let (commit, end) = (to_commit.clone(), to_commit);
    let published = Box::new(move |source: PartitionId, offset, _| {
        let _ = commit.send(Some((source.topic_partition(), offset)));
    });
    let works = WorkerContext::new(
        base.meta.clone(),
        RulesCache::growing(library, more),
        Snapshots::new(files, &settings.store.snapshots()).written_by(writer),
        rhythm,
        RunMode::Fleet,
        published,
        &base.registry,
    );
    on_runtime(run(settings, base, Arc::new(works), (end, commits)))
}

async fn run(settings: Worker, base: Base, works: Arc<WorkerContext>, (end, commits): Commits) -> Result<()> {
    let admin = sockets::admin(settings.role.process.admin.get()).await?;
    let connect = Lines {
        kafka: base.kafka.clone(),
        meta: base.meta.clone(),
        instance: base.instance.clone(),
        metrics: AppenderMetrics::new(&base.registry),
    };
    let connect: Arc<dyn Connect> = Arc::new(connect);
    let crew = Arc::new(Mutex::new(Some(LaneSupervisor::start(&works, &connect, settings.lanes))));
    let standing = Arc::new(RoleHealth::new(&base, &works, settings.group.stuck_after)?);
    let (failed, mut failures) = base.failures();
    let mut memberships = Vec::new();
    for desk in [DeskArg::Shopper, DeskArg::Code, DeskArg::Campaign] {
        if !settings.desks.contains(&desk) {
            continue;
        }
        let (name, topic) = of(desk);
        let group = format!("{}.{name}", base.kafka.prefix);
        let member = Membership::join(&base.kafka, &group, &base.instance, &[topic], settings.group.session_timeout)?;
        let (changes, crew, standing) = (member.changes(), Arc::clone(&crew), Arc::clone(&standing));
        thread(&format!("{name}-member"), &failed, move || follow(&changes, &crew, &standing));
        memberships.push((topic, member));
    }
    let committer = std::thread::spawn(move || {
        // Until a message says that no more offsets come.
        while let Ok(Some((partition, offset))) = commits.recv() {
            let member = memberships.iter().find(|(topic, _)| *topic == partition.topic);
            member.into_iter().for_each(|(_, member)| member.commit(partition, offset));
        }
        memberships
    });
    let admin = Admin::start(admin, Arc::<RoleHealth>::clone(&standing))?;
    let signals = Signals::listen()?;
    let desks: Vec<&str> = settings.desks.iter().map(|&desk| of(desk).0).collect();
    info!(admin = %admin.address, instance = base.instance, desks = desks.join(","), "ready");

    let ended = until_stopped(signals, &mut failures).await;
    works.stop();
    tokio::task::spawn_blocking(move || {
        let crew = crew.lock().unwrap_or_else(PoisonError::into_inner).take();
        crew.into_iter().for_each(LaneSupervisor::stop);
    })
    .await?;
    admin.end().await;
    let _ = end.send(None);
    let _ = tokio::task::spawn_blocking(move || {
        committer.join().into_iter().flatten().for_each(|(_, member)| member.leave());
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

/// Applies the changes of the group, until the membership is over.
fn follow(changes: &Receiver<Change>, crew: &Mutex<Option<LaneSupervisor>>, standing: &RoleHealth) -> Result<()> {
    for change in changes {
        let crew = crew.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(crew) = crew.as_ref() else { return Ok(()) };
        match change {
            Change::Assigned(places) => {
                info!(?places, "partitions come");
                standing.owned().extend(places.iter().copied());
                places.iter().for_each(|&place| crew.own(place));
            }
            Change::Revoked(places) | Change::Lost(places) => {
                info!(?places, "partitions go");
                standing.owned().retain(|place| !places.contains(place));
                places.iter().for_each(|&place| crew.leave(place));
            }
            Change::Over(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads rules as they are published.
struct Reader {
    published: Mutex<(Box<dyn Consumer>, Published)>,
    shelf: RulesStore,
    secrets: Secrets,
}

impl Reader {
    fn read(&self, known: &Library) -> Result<Library> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let (feed, published) = &mut *published;
        read_on(&mut **feed, published)?;
        books(published, &self.shelf, known, &self.secrets)
    }
}

/// Connects lanes to Kafka.
struct Lines {
    kafka: Kafka,
    meta: Meta,
    instance: String,
    metrics: AppenderMetrics,
}

impl Connect for Lines {
    fn consumer(&self) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(KafkaConsumer::new(&self.kafka, &self.meta, &self.instance)?))
    }

    fn appender(&self) -> Result<Arc<dyn Appender>, LogError> {
        Ok(Arc::new(KafkaAppender::start(&self.kafka, &self.instance, Options::lane(), &self.metrics)?))
    }
}

/// The health of a worker.
struct RoleHealth {
    works: Arc<WorkerContext>,
    owned: Mutex<BTreeSet<TopicPartition>>,
    feed: Mutex<Box<dyn Consumer>>,
    stuck_after: Duration,
    began_ms: i64,
    registry: Registry,
    lag: IntGaugeVec,
    stopped: IntGaugeVec,
    missing: IntGaugeVec,
    state_bytes: IntGaugeVec,
    snapshot_age: IntGauge,
}

impl RoleHealth {
    fn new(base: &Base, works: &Arc<WorkerContext>, stuck_after: Duration) -> Result<Self> {
        let registry = &base.registry;
        let by_place = ["stage", "partition"];
        Ok(Self {
            works: Arc::clone(works),
            owned: Mutex::default(),
            feed: Mutex::new(base.feed("lag")?),
            stuck_after,
            began_ms: now_ms(),
            lag: gauges(registry, "mashang_lag_frames", "Frames that a stage has not settled yet", &by_place),
            stopped: gauges(registry, "mashang_partition_stopped", "Partitions that stopped at an error", &by_place),
            missing: gauges(
                registry,
                "mashang_frames_missing",
                "Source partitions of which a frame is missing: its writer must replay",
                &by_place,
            ),
            state_bytes: gauges(
                registry,
                "mashang_state_bytes",
                "About how much memory states take",
                &["desk", "kind"],
            ),
            snapshot_age: gauge(
                registry,
                "mashang_snapshot_age_seconds",
                "Since the oldest last snapshot of a partition that has moved on since, or since the start",
            ),
            registry: registry.clone(),
        })
    }

    fn owned(&self) -> MutexGuard<'_, BTreeSet<TopicPartition>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self) {
        for gauges in [&self.lag, &self.stopped, &self.missing, &self.state_bytes] {
            gauges.reset();
        }
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut oldest, mut answers): (Option<i64>, bool) = (None, true);
        for progress in self.works.progress() {
            let desk = desk_of(progress.topic).name;
            let labels = [desk, &progress.partition.to_string()];
            let settled = progress.settled.load(Ordering::Acquire);
            // Brokers that do not answer are asked once.
            if answers {
                match feed.bounds(TopicPartition::new(progress.topic, progress.partition)) {
                    Ok(bounds) => {
                        let lag = bounds.end.saturating_sub(settled);
                        self.lag.with_label_values(&labels).set(i64::try_from(lag).unwrap_or(i64::MAX));
                    }
                    Err(error) => {
                        answers = false;
                        warn!(%error, "the lag is not known");
                    }
                }
            }
            self.stopped.with_label_values(&labels).set(i64::from(progress.why_stopped().is_some()));
            let missing = progress.missing.load(Ordering::Acquire);
            self.missing.with_label_values(&labels).set(i64::try_from(missing).unwrap_or(i64::MAX));
            for (kind, bytes) in &*progress.sizes.lock() {
                self.state_bytes.with_label_values(&[desk, kind]).add(i64::try_from(*bytes).unwrap_or(i64::MAX));
            }
            if settled > progress.snapshot_offset.load(Ordering::Acquire) {
                let at = progress.snapshot_ms.load(Ordering::Acquire).cast_signed().max(self.began_ms);
                oldest = oldest.map_or(Some(at), |oldest| Some(oldest.min(at)));
            }
        }
        self.snapshot_age.set(oldest.map_or(0, |oldest| (now_ms() - oldest).max(0) / 1000));
    }
}

impl HealthCheck for RoleHealth {
    fn life(&self) -> Result<(), String> {
        let stuck = Duration::from_millis(self.works.stuck_ms());
        if stuck < self.stuck_after {
            return Ok(());
        }
        Err(format!("a lane has made no progress for {} s", stuck.as_secs()))
    }

    /// Whether every partition that it owns is at work.
    fn readiness(&self) -> Result<(), String> {
        if self.works.is_stopping() {
            return Err("draining".to_owned());
        }
        let progress = self.works.progress();
        if let Some((stopped, why)) = progress.iter().find_map(|p| Some((p, p.why_stopped()?))) {
            return Err(format!("{} partition {} stopped: {why}", stopped.topic, stopped.partition));
        }
        let restored: BTreeSet<_> = progress.iter().map(|p| TopicPartition::new(p.topic, p.partition)).collect();
        let left = self.owned().difference(&restored).count();
        match left {
            0 => Ok(()),
            left => Err(anyhow!("{left} partitions are being restored").to_string()),
        }
    }

    fn metrics(&self) -> String {
        self.measure();
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
