//! `mashang serve`: ingest service, log, desks, ledger and console in one process.
//!
//! - `health`: health and metrics

mod health;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::ledger::schema::may_serve;
use ::ledger::url::LedgerUrl;
use ::ledger::writer::Writer;
use anyhow::{Context, Result, anyhow};
use console::pending_results::{Failed, PendingResults};
use console::results::Console;
use domain::model::address::{Partitions, Topic, TopicPartition};
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::time::Millis;
use domain::protocol::publish;
use edge::ingest::batcher::{BatchPolicy, Batcher, Busy};
use edge::ingest::clock::Stamps;
use edge::ingest::service::IngestService;
use edge::metrics::Metrics;
use edge::spool::append_target::AppendTarget;
use edge::transport::browser;
use edge::transport::browser::region::Regions;
use edge::transport::http::EdgeHandler;
use eventlog::api::{Appender, Consumer, Health, now_ms};
use eventlog::error::LogError;
use eventlog::files::Files;
use eventlog::local::consumer::LocalConsumer;
use eventlog::local::log::{Log, Readers};
use eventlog::local::meta::{Clock, Meta};
use eventlog::local::store::Sizes;
use prometheus::Registry;
use tracing::{error, info, warn};
use web::merchants::MerchantCatalog;
use web::public::public;
use web::server::handler::Routes;
use wire::rules::Checked;
use worker::archiver::Archiver;
use worker::context::{Published, RunMode, SnapshotPolicy, WorkerContext};
use worker::desks::{DESKS, open_task};
use worker::lane::{Lane, LaneCommand, LaneError, Owned, Tools};
use worker::rules_cache::RulesCache;
use worker::snapshot::Snapshots;
use worker::task::{Task, TaskError};

use crate::config::options::ClockArg;
use crate::config::serve::Settings;
use crate::process::data_dir::lock;
use crate::process::logging::log_as;
use crate::process::signals::{Signals, limit_stop};
use crate::process::sockets::{Receivers, Sockets};
use crate::process::thread::{Failures, failures, thread};
use crate::roles::http::{HttpServer, HttpSockets, open_keys};
use crate::roles::serve::health::RoleHealth;
use crate::rules::files::read_all;
use crate::rules::publish::{Needed, RulesPublisher, SecretPlaces, books};
use crate::rules::store::RulesStore;
use crate::store::visitor_key;
use crate::usage;
use worker::ledger_consumer::{self, LedgerConsumer, LedgerStop, Owner};

/// Maximum time that a stop waits until all of the log is in the ledger; the next start does the rest.
const SETTLE: Duration = Duration::from_secs(3);
/// The same at the end of a run of limited time, which no signal has ended.
const SETTLE_AT_END: Duration = Duration::from_secs(60);
/// Batch policy of the service: one round is written while the next one collects events, so the disk sets the pace.
const BATCH_POLICY: BatchPolicy = BatchPolicy {
    rounds_max: 2,
    linger: Duration::ZERO..=Duration::ZERO,
    busy: Busy { rate: 0, linger: Duration::ZERO },
};
/// Interval of the checks whether the log has failed.
const HEALTH_EVERY: Duration = Duration::from_millis(100);
/// Maximum time that a stop waits as [`SETTLE`] does, while the disk of the log is full.
const SETTLE_FULL: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
pub(crate) fn serve(settings: Settings, files: Arc<dyn Files>) -> Result<()> {
    log_as(settings.process.log_format, "info");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let service = Service::start(settings, files).await?;
        service.run(None).await
    })
}

/// A running service.
pub(crate) struct Service {
    pub(crate) http: HttpServer,
    pub(crate) ledger: PathBuf,
    health: Arc<RoleHealth>,
    settings: Settings,
    log: Arc<Log>,
    context: Arc<WorkerContext>,
    pending_results: Arc<PendingResults>,
    batcher: Arc<Batcher>,
    receivers: Receivers,
    ledger_progress: Arc<ledger_consumer::Progress>,
    threads: Vec<JoinHandle<()>>,
    failures: Failures,
    signals: Signals,
    /// The data directory is locked as long as this is open.
    _lock: std::fs::File,
}

impl Service {
    /// Opens everything, restores every desk, and listens.
    ///
    /// # Errors
    /// What cannot be opened, and why. Exit status 2 where the settings are at fault.
    pub(crate) async fn start(settings: Settings, files: Arc<dyn Files>) -> Result<Self> {
        let given = read_all(&settings.rules, settings.secrets.as_deref())?;
        let keys = open_keys(&settings.http)?;
        let regions = settings.ingest.open_regions()?;
        let data = &settings.data;
        let refused = |e: &dyn std::fmt::Display| usage(format!("--data {}: {e}", data.display()));
        std::fs::create_dir_all(data)
            .map_err(|e| refused(&format!("cannot be written: {e}: choose a directory that can be")))?;
        let lock = lock(data).map_err(|e| refused(&e))?;
        let visitor_key = visitor_key::open(data).map_err(|e| refused(&e))?;
        let sockets = HttpSockets::bind(&settings.http, &settings.process).await?;
        let udp = Sockets::bind(settings.ingest.udp())?;

        let file = data.join("ledger.sqlite");
        may_serve(&file).map_err(|e| refused(&e))?;
        let rules_dir = data.join("rules");
        let is_new = !data.join("log").join("meta.json").exists();
        if is_new && std::fs::read_dir(&rules_dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(refused(
                &"rules were published here, and the log is gone: put it back, or choose another directory",
            ));
        }
        let registry = Registry::new();
        let log = Arc::new(open_log(&settings, &files, &registry)?);
        let mut consumer = LocalConsumer::new(Arc::clone(&log), Readers::Desks);
        let library =
            publish_all(&settings, &log, &mut consumer, &RulesStore::new(Arc::clone(&files), &rules_dir), &given)?;
        // In the order of their publishing: the last of each merchant stays.
        let is_given = |book: &&Arc<Rulebook>| given.iter().any(|c| c.rules.merchant == book.rules.merchant);
        let served = library.values().filter(is_given);
        let served = served.map(|book| (book.rules.merchant.clone(), Arc::clone(book))).collect();
        let served = Arc::new(MerchantCatalog::new(served));
        let snapshot_policy = SnapshotPolicy { interval: settings.snapshot_every, ..SnapshotPolicy::default() };
        let retain_ms = i64::try_from(settings.retain.as_millis()).unwrap_or(i64::MAX);
        let archived = settings.archive.clone().check()?;
        let archiver = archived.map(|to| to.archiver(Arc::clone(&files), log.meta(), &registry)).transpose()?;
        let context = WorkerContext::new(
            log.meta().clone(),
            RulesCache::fixed(library),
            Snapshots::new(Arc::clone(&files), &data.join("snapshots")),
            snapshot_policy,
            RunMode::Embedded,
            retire_below(&log, archiver.clone(), retain_ms),
            &registry,
        );
        let context = Arc::new(context);
        let began = Instant::now();
        let lanes = open_lanes(&context)?;
        let url = LedgerUrl::file(&file);
        let ledger = open_ledger(&log, &file, &registry)?;
        info!(ms = began.elapsed().as_millis(), "desks restored");
        let ledger_progress = ledger.progress();
        let (stages, dir) = (Arc::clone(&context), data.join("log"));
        let health = RoleHealth::new(Arc::clone(&log), dir, stages, Arc::clone(&ledger_progress), registry.clone());
        let health = Arc::new(health);
        let (failed, failures) = failures();
        let tell_failure = failed.clone();
        let own = Arc::clone(&log);
        let connect =
            move || Ok::<Box<dyn Consumer>, LogError>(Box::new(LocalConsumer::new(Arc::clone(&own), Readers::Facts)));
        let failed_too: Failed = Box::new(move |error| tell_failure.send(error.into()));
        let pending_results = PendingResults::follow(log.meta(), Box::new(connect), &url, &registry, Some(failed_too))?;

        let metrics = Metrics::new(&registry).context("metrics are registered once")?;
        let regions = Arc::new(Regions::new(regions, &registry).context("metrics are registered once")?);
        let stamps = Stamps::of(log.meta(), &mut consumer, None)?;
        let appender: Arc<dyn Appender> = Arc::<Log>::clone(&log);
        let target = AppendTarget::Log(appender);
        let batcher = Batcher::start(target, log.meta().partitions.scans, stamps, BATCH_POLICY, metrics.clone());
        let ingest = IngestService::new(
            vec![Arc::clone(&batcher)],
            Arc::clone(&served),
            keys.clone(),
            metrics,
            settings.ingest.limits(sockets.client_limits()),
            visitor_key,
            Arc::clone(&regions),
        );
        let console = Arc::new(Console::new(Arc::clone(&pending_results), url, served, keys.clone()));
        let own = Arc::clone(&health);
        let page = console::page::routes(&console, Arc::new(move || own.lines()));
        let ingest = Arc::new(ingest);
        let routes = public(
            IngestService::routes().merge(browser::routes(&ingest)).merge(console.routes()).merge(page),
            browser::links(&ingest),
        );
        let client_limits = sockets.client_limits();
        let routes = Routes { router: routes, local_only: keys.is_none(), keys: keys.clone(), client_limits };
        let handler = EdgeHandler { ingest: Arc::clone(&ingest), routes };

        if let Some(archiver) = archiver {
            let (log, context) = (Arc::clone(&log), Arc::clone(&context));
            // A stop does not wait for it: the next start goes on behind the last segment.
            thread("archiver", &failed, move || run_archiver(&archiver, &log, &context));
        }
        let mut threads = vec![thread("ledger", &failed, move || ledger.run().map_err(Into::into))];
        for (number, tasks) in lanes.into_iter().enumerate() {
            let (context, log) = (Arc::clone(&context), Arc::clone(&log));
            threads.push(thread(&format!("lane-{number}"), &failed, move || run_lane(&context, log, tasks)));
        }
        let udp_address = udp.address();
        let receivers = udp.receive(&ingest, settings.ingest.udp_trust(), |name, work| thread(name, &failed, work));
        let own = Arc::<RoleHealth>::clone(&health);
        let http = sockets.serve(handler, keys, own, (&registry, &failed))?;
        let udp = udp_address.map(tracing::field::display);
        // It ends with the runtime.
        tokio::spawn(regions.reload());
        let signals = Signals::listen()?;
        info!(http = %http.address, udp, admin = %http.admin.address, data = %settings.data.display(), "ready");
        Ok(Self {
            http,
            ledger: file,
            health,
            settings,
            log,
            context,
            pending_results,
            batcher,
            receivers,
            ledger_progress,
            threads,
            failures,
            signals,
            _lock: lock,
        })
    }

    /// Serves until SIGTERM or SIGINT, or until `time` has passed, then drains: it is not ready and takes no more requests,
    /// all of the log goes into the ledger, and the last snapshots are written.
    ///
    /// # Errors
    /// A desk, the ledger or the log stopped by itself.
    pub(crate) async fn run(mut self, time: Option<Duration>) -> Result<()> {
        let over = async {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let mut settle = SETTLE_AT_END;
        let failure = tokio::select! {
            () = self.signals.received() => {
                limit_stop(self.settings.http.drain_wait);
                settle = SETTLE;
                None
            }
            () = over => None,
            failure = self.failures.recv() => failure,
            failure = log_fails(&self.log) => Some(failure),
        };
        self.health.draining.store(true, Ordering::Release);
        if let Some(failure) = failure {
            // Nothing more is accepted; what was is in the log, and the next start goes on from there.
            error!(error = %format_args!("{failure:#}"), "stopping");
            self.batcher.close();
            return Err(failure);
        }
        info!("draining");
        tokio::time::sleep(self.settings.http.drain_wait).await;
        let until = Instant::now() + settle;
        self.pending_results.release();
        self.receivers.stop();
        self.http.end_requests().await;
        let receivers = std::mem::take(&mut self.receivers);
        tokio::task::spawn_blocking(move || receivers.join()).await?;
        self.batcher.close();
        if !self.settle(until).await {
            warn!("not everything is in the ledger yet; the next start goes on from there");
            // Lanes that wait for free space in the log would wait for ever.
            let log = Arc::clone(&self.log);
            tokio::task::spawn_blocking(move || log.close()).await?;
        }
        self.pending_results.stop();
        self.context.stop();
        self.ledger_progress.stop();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join));
        joined
            .await?
            .map_err(|_| anyhow!("a thread stopped because of an internal error: report it with the lines above"))?;
        self.log.close();
        self.http.end().await;
        match self.failures.try_recv() {
            Ok(failure) => Err(failure),
            Err(_) => {
                info!("stopped");
                Ok(())
            }
        }
    }

    /// Waits until everything in the log is in the ledger; `false` if it is not by then.
    async fn settle(&self, until: Instant) -> bool {
        let until_full = until.min(Instant::now() + SETTLE_FULL);
        while !self.health.is_settled() {
            if Instant::now() > if self.log.health() == Health::Good { until } else { until_full } {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

/// Ready once the log has failed.
async fn log_fails(log: &Log) -> anyhow::Error {
    while log.health() != Health::Failed {
        tokio::time::sleep(HEALTH_EVERY).await;
    }
    anyhow!("the log stopped, see above; start again: what was answered 202 is there")
}

fn open_log(settings: &Settings, files: &Arc<dyn Files>, registry: &Registry) -> Result<Log> {
    let clock = match settings.clock {
        ClockArg::Wall => Clock::Wall,
        ClockArg::Event => Clock::Event,
    };
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|e| anyhow!("the system gives no random numbers: {e}"))?;
    let meta = Meta::new(u128::from_le_bytes(id), clock, Partitions::all(settings.partitions));
    let sizes = Sizes { segment_bytes: settings.segment_bytes, ..Sizes::default() };
    let dir = settings.data.join("log");
    Log::open(Arc::clone(files), &dir, &meta, sizes, registry).map_err(|e| match e {
        LogError::Other { .. } => usage(e),
        other => other.into(),
    })
}

/// The ledger consumer, before its thread runs: it has all facts, and the log is truncated below its offsets.
fn open_ledger(log: &Arc<Log>, file: &Path, registry: &Registry) -> Result<LedgerConsumer, LedgerStop> {
    let writer = (Writer::open(&LedgerUrl::file(file), [])?, file.display().to_string());
    let (own, retire_below) = (Arc::clone(log), Arc::clone(log));
    let connect =
        move || Ok::<Box<dyn Consumer>, LogError>(Box::new(LocalConsumer::new(Arc::clone(&own), Readers::Facts)));
    let committed = move |facts, next| retire_below.retire(TopicPartition::new(Topic::Facts, facts), next, Millis::MAX);
    LedgerConsumer::open(log.meta(), writer, Box::new(connect), Owner::Itself, Box::new(committed), registry)
}

/// Publishes the new ones of these rules and returns all rulebooks that desks may need.
fn publish_all(
    settings: &Settings,
    log: &Log,
    consumer: &mut dyn Consumer,
    store: &RulesStore,
    given: &[Checked],
) -> Result<Library> {
    let mut registry = publish::Registry::default();
    let because = settings.because.as_ref();
    let mut publisher =
        RulesPublisher { meta: log.meta(), consumer, appender: log, store, registry: &mut registry, because };
    for (file, checked) in settings.rules.iter().zip(given) {
        publisher.publish(file, checked)?;
    }
    let own = given.iter().map(|checked| checked.rules.merchant.clone()).collect();
    let secrets = SecretPlaces { dirs: secret_dirs(settings), needed: Needed::Some(own), draws: true, verifies: true };
    books(&registry, store, &Library::new(), &secrets)
}

/// Where secrets may lie: in `--secrets`, or beside any of the rules.
fn secret_dirs(settings: &Settings) -> Vec<PathBuf> {
    let beside = || settings.rules.iter().map(|file| file.parent().map(PathBuf::from).unwrap_or_default()).collect();
    settings.secrets.clone().map_or_else(beside, |dir| vec![dir])
}

/// Truncates the log below the snapshots; events stay for `log dump` until they are older than `retain_ms`, and archived where they
/// are to be.
fn retire_below(log: &Arc<Log>, archiver: Option<Arc<Archiver>>, retain_ms: i64) -> Published {
    let log = Arc::clone(log);
    Box::new(move |source, _, needed| {
        let (needed, before) = match source.topic {
            Topic::Scans => {
                // The archiver reads the last archived record again.
                let archived = archiver.as_ref().map(|archiver| archiver.archived(source.partition).saturating_sub(1));
                (needed.min(archived.unwrap_or(u64::MAX)), now_ms().saturating_sub(retain_ms))
            }
            _ => (needed, Millis::MAX),
        };
        log.retire(source.topic_partition(), needed, before);
    })
}

/// Archives the log until the process stops.
fn run_archiver(archiver: &Archiver, log: &Arc<Log>, context: &WorkerContext) -> Result<()> {
    let connect = || Ok::<Box<dyn Consumer>, LogError>(Box::new(LocalConsumer::new(Arc::clone(log), Readers::Desks)));
    let partitions = || (0..log.meta().partitions.scans).collect();
    // Only an archive of another log ends it.
    archiver.run(&connect, &partitions, &|| context.is_stopping()).map_err(usage)
}

/// The tasks of each lane: a lane per processor, but no more than partitions; each has the same partitions of every desk.
fn open_lanes(context: &WorkerContext) -> Result<Vec<Vec<Box<dyn Task>>>, TaskError> {
    let partitions = context.meta.partitions.scans;
    let processors = std::thread::available_parallelism().map_or(1, |n| u16::try_from(n.get()).unwrap_or(u16::MAX));
    let lanes = partitions.min(processors);
    let library = context.rules_cache.now();
    let lane = |number: u16| {
        let own = (0..partitions).filter(|p| p % lanes == number);
        let own = own.flat_map(|p| DESKS.map(|desk| TopicPartition::new(desk.topic, p)));
        let open = |partition| open_task(&context.meta, partition, &context.snapshots, &library);
        own.map(|partition| open(partition).inspect(|task| context.expect(&**task))).collect()
    };
    (0..lanes).map(lane).collect()
}

/// A lane that has its tasks from the start to its end.
fn run_lane(context: &Arc<WorkerContext>, log: Arc<Log>, tasks: Vec<Box<dyn Task>>) -> Result<()> {
    const ONLY: u64 = 1;
    let (command_tx, command_rx) = sync_channel(tasks.len());
    let mut owned: Owned = tasks.iter().map(|task| (task.source().topic_partition(), None)).collect();
    for task in tasks {
        let _ = command_tx.send(LaneCommand::Restored(ONLY, task));
    }
    let consumer = Box::new(LocalConsumer::new(Arc::clone(&log), Readers::Desks));
    let tools = Tools { consumer, appender: log, heartbeat: context.heartbeat() };
    match Lane::new(context, ONLY, tools, &mut owned, &command_rx, &|_, _, _| true).run() {
        // The log has said why.
        Err(LaneError::AppendError(refused)) => {
            warn!(%refused, "a lane stops");
            Ok(())
        }
        done => Ok(done?),
    }
}
