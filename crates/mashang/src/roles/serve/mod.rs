//! `mashang serve`: ingest service, log, desks, ledger and console in one process.
//!
//! - `health`: health and metrics

mod health;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::ledger::schema::may_serve;
use ::ledger::url::LedgerUrl;
use ::ledger::writer::Writer;
use anyhow::{Context, Result, anyhow};
use console::pending_results::{Failed, PendingResults};
use console::results::Console;
use domain::model::address::{Partitions, Topic, TopicPartition};
use domain::model::rulebook::{Library, Rulebook};
use domain::model::time::Millis;
use domain::protocol::publish;
use edge::ingest::batcher::{BatchPolicy, Batcher};
use edge::ingest::clock::Stamps;
use edge::ingest::service::{IngestService, Limits};
use edge::metrics::Metrics;
use edge::spool::append_target::AppendTarget;
use edge::transport::browser;
use edge::transport::http::EdgeHandler;
use eventlog::api::{Appender, Consumer};
use eventlog::api::{Health, now_ms};
use eventlog::error::LogError;
use eventlog::files::Files;
use eventlog::local::consumer::LocalConsumer;
use eventlog::local::log::{Log, Readers};
use eventlog::local::meta::{Clock, Meta};
use eventlog::local::store::Sizes;
use prometheus::Registry;
use tracing::{error, info, warn};
use web::auth::Keys;
use web::merchants::MerchantCatalog;
use web::public::public;
use web::server::handler::Routes;
use web::server::metrics::Http;
use web::server::port::Port;
use wire::rules::Checked;
use worker::context::{Published, RunMode, SnapshotPolicy, WorkerContext};
use worker::desks::{DESKS, open_task};
use worker::lane::{Lane, LaneCommand, LaneError, Owned, Tools};
use worker::rules_cache::RulesCache;
use worker::snapshot::Snapshots;
use worker::task::{Task, TaskError};

use crate::cli::options::ClockArg;
use crate::commands::rules_check::read_all;
use crate::config::serve::Settings;
use crate::process::data_dir::lock;
use crate::process::health::Admin;
use crate::process::logging::log_as;
use crate::process::signals::Signals;
use crate::process::sockets::{Listeners, Receivers, Servers, Sockets};
use crate::process::thread::{Failures, failures, thread};
use crate::roles::serve::health::RoleHealth;
use crate::rules::publish::{Needed, RulesPublisher, Secrets, books};
use crate::rules::store::RulesStore;
use crate::usage;
use worker::ledger_consumer::{self, LedgerConsumer, LedgerStop, Owner};

/// Maximum time that a stop waits until all of the log is in the ledger; the next start does the rest.
const SETTLE: Duration = Duration::from_secs(60);
/// Batch policy of the service: one round is written while the next one collects events, so the disk sets the pace.
const PACE: BatchPolicy = BatchPolicy { rounds_max: 2, linger: Duration::ZERO..=Duration::ZERO };
/// Interval of the checks whether the log has failed.
const HEALTH_EVERY: Duration = Duration::from_millis(100);
/// Maximum time that a stop waits as [`SETTLE`] does, while the disk of the log is full.
const SETTLE_FULL: Duration = Duration::from_secs(5);

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
    /// Where it listens.
    pub(crate) http: SocketAddr,
    pub(crate) admin: Admin,
    pub(crate) ledger: PathBuf,
    pub(crate) standing: Arc<RoleHealth>,
    settings: Settings,
    log: Arc<Log>,
    works: Arc<WorkerContext>,
    recent: Arc<PendingResults>,
    intake: Arc<Batcher>,
    receivers: Receivers,
    ledger_progress: Arc<ledger_consumer::Progress>,
    threads: Vec<JoinHandle<()>>,
    failures: Failures,
    servers: Servers,
    /// The task that reads the keys again.
    reload: Option<tokio::task::JoinHandle<()>>,
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
        let keys = settings.http.keys.as_deref().map(Keys::open).transpose().map_err(usage)?.map(Arc::new);
        let data = &settings.data;
        let refused = |e: &dyn std::fmt::Display| usage(format!("--data {}: {e}", data.display()));
        std::fs::create_dir_all(data)
            .map_err(|e| refused(&format!("cannot be written: {e}: choose a directory that can be")))?;
        let lock = lock(data).map_err(|e| refused(&e))?;
        let http = Listeners::bind(settings.http.http.get())?;
        let udp = Sockets::bind(settings.ingest.udp())?;
        let admin = crate::process::sockets::admin(settings.process.admin.get()).await?;

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
        let mut feed = LocalConsumer::new(Arc::clone(&log), Readers::Desks);
        let library =
            publish_all(&settings, &log, &mut feed, &RulesStore::new(Arc::clone(&files), &rules_dir), &given)?;
        // In the order of their publishing: the last of each merchant stays.
        let is_given = |book: &&Arc<Rulebook>| given.iter().any(|c| c.rules.merchant == book.rules.merchant);
        let served = library.values().filter(is_given);
        let served = served.map(|book| (book.rules.merchant.clone(), Arc::clone(book))).collect();
        let served = Arc::new(MerchantCatalog::new(served));
        let rhythm = SnapshotPolicy { interval: settings.snapshot_every, ..SnapshotPolicy::default() };
        let retain_ms = i64::try_from(settings.retain.as_millis()).unwrap_or(i64::MAX);
        let works = WorkerContext::new(
            log.meta().clone(),
            RulesCache::fixed(library),
            Snapshots::new(Arc::clone(&files), &data.join("snapshots")),
            rhythm,
            RunMode::Embedded,
            let_go(&log, retain_ms),
            &registry,
        );
        let works = Arc::new(works);
        let began = Instant::now();
        let lanes = open_lanes(&works)?;
        let url = LedgerUrl::file(&file);
        let ledger = open_ledger(&log, &file, &registry)?;
        info!(ms = began.elapsed().as_millis(), "desks restored");
        let ledger_progress = ledger.progress();
        let standing =
            RoleHealth::new(Arc::clone(&log), Arc::clone(&works), Arc::clone(&ledger_progress), registry.clone());
        let standing = Arc::new(standing);
        let (failed, failures) = failures();
        let tell_failure = failed.clone();
        let own = Arc::clone(&log);
        let connect =
            move || Ok::<Box<dyn Consumer>, LogError>(Box::new(LocalConsumer::new(Arc::clone(&own), Readers::Facts)));
        let failed_too: Failed = Box::new(move |error| tell_failure.send(error.into()));
        let recent = PendingResults::follow(log.meta(), Box::new(connect), &url, &registry, Some(failed_too))?;

        let metrics = Metrics::new(&registry).context("metrics are registered once")?;
        let stamps = Stamps::of(log.meta(), &mut feed, None)?;
        let appender: Arc<dyn Appender> = Arc::<Log>::clone(&log);
        let road = AppendTarget::Log(appender);
        let limits = Limits {
            inflight_bytes_max: settings.ingest.inflight_bytes as usize,
            shopper_events_per_s: settings.ingest.shopper_limit.get(),
        };
        let intake = Batcher::start(road, log.meta().partitions.scans, stamps, PACE, metrics.clone());
        let door = IngestService::new(vec![Arc::clone(&intake)], Arc::clone(&served), keys.clone(), metrics, limits);
        let console = Arc::new(Console::new(Arc::clone(&recent), url, served, keys.clone()));
        let own = Arc::clone(&standing);
        let page = console::page::routes(&console, Arc::new(move || own.lines()));
        let door = Arc::new(door);
        let routes = public(
            IngestService::routes().merge(browser::routes(&door)).merge(console.routes()).merge(page),
            browser::links(&door),
        );
        let connections = Http::new(&registry).context("metrics are registered once")?;
        let routes = Routes { router: routes, local_only: settings.http.keys.is_none() };
        let service = EdgeHandler { ingest: Arc::clone(&door), routes };
        let port = Port::new(service, settings.http.port()?, connections);

        let mut threads = vec![thread("ledger", &failed, move || ledger.run().map_err(Into::into))];
        for (number, stations) in lanes.into_iter().enumerate() {
            let (works, log) = (Arc::clone(&works), Arc::clone(&log));
            threads.push(thread(&format!("lane-{number}"), &failed, move || run_lane(&works, log, stations)));
        }
        let udp_address = udp.address();
        let receivers = udp.receive(&door, settings.ingest.udp_trust(), |name, work| thread(name, &failed, work));
        let address = http.address()?;
        let servers = http.serve(&port, |name, work| thread(name, &failed, work));
        let reload = keys.map(|keys| tokio::spawn(async move { keys.reload().await }));
        let admin = Admin::start(admin, Arc::<RoleHealth>::clone(&standing))?;
        let udp = udp_address.map(tracing::field::display);
        let signals = Signals::listen()?;
        info!(http = %address, udp, admin = %admin.address, data = %settings.data.display(), "ready");
        Ok(Self {
            http: address,
            admin,
            ledger: file,
            standing,
            settings,
            log,
            works,
            recent,
            intake,
            receivers,
            ledger_progress,
            threads,
            failures,
            servers,
            reload,
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
        let failure = tokio::select! {
            () = self.signals.received() => None,
            () = over => None,
            failure = self.failures.recv() => failure,
            failure = log_fails(&self.log) => Some(failure),
        };
        self.standing.draining.store(true, Ordering::Release);
        if let Some(failure) = failure {
            // Nothing more is accepted; what was is in the log, and the next start goes on from there.
            error!(error = %format_args!("{failure:#}"), "stopping");
            self.intake.close();
            return Err(failure);
        }
        info!("draining");
        tokio::time::sleep(self.settings.http.drain_wait).await;
        self.recent.release();
        self.receivers.stop();
        self.servers.end().await;
        let receivers = std::mem::take(&mut self.receivers);
        tokio::task::spawn_blocking(move || receivers.join()).await?;
        if let Some(reload) = &self.reload {
            reload.abort();
        }
        self.intake.close();
        if !self.settle().await {
            warn!("not everything is in the ledger yet; the next start goes on from there");
            // Lanes that wait for free space in the log would wait for ever.
            let log = Arc::clone(&self.log);
            tokio::task::spawn_blocking(move || log.close()).await?;
        }
        self.recent.stop();
        self.works.stop();
        self.ledger_progress.stop();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join));
        joined.await?.map_err(|_| anyhow!("a thread stopped at a broken invariant"))?;
        self.log.close();
        self.admin.end().await;
        match self.failures.try_recv() {
            Ok(failure) => Err(failure),
            Err(_) => {
                info!("stopped");
                Ok(())
            }
        }
    }

    /// Waits until everything in the log is in the ledger; `false` if that takes too long.
    async fn settle(&self) -> bool {
        let began = Instant::now();
        while !self.standing.is_settled() {
            let patience = if self.log.health() == Health::Good { SETTLE } else { SETTLE_FULL };
            if began.elapsed() > patience {
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
    let (own, let_go) = (Arc::clone(log), Arc::clone(log));
    let connect =
        move || Ok::<Box<dyn Consumer>, LogError>(Box::new(LocalConsumer::new(Arc::clone(&own), Readers::Facts)));
    let committed = move |facts, next| let_go.retire(TopicPartition::new(Topic::Facts, facts), next, Millis::MAX);
    LedgerConsumer::open(log.meta(), writer, Box::new(connect), Owner::Itself, Box::new(committed), registry)
}

/// Publishes the new ones of these rules and returns all rulebooks that desks may need.
fn publish_all(
    settings: &Settings,
    log: &Log,
    feed: &mut dyn Consumer,
    shelf: &RulesStore,
    given: &[Checked],
) -> Result<Library> {
    let mut registry = publish::Registry::default();
    let mut press = RulesPublisher { meta: log.meta(), feed, appender: log, shelf, registry: &mut registry };
    for checked in given {
        press.publish(&checked.rules)?;
    }
    let own = given.iter().map(|checked| checked.rules.merchant.clone()).collect();
    let secrets = Secrets { dirs: secret_dirs(settings), needed: Needed::Some(own) };
    books(&registry, shelf, &Library::new(), &secrets)
}

/// Where secrets may lie: in `--secrets`, or beside any of the rules.
fn secret_dirs(settings: &Settings) -> Vec<PathBuf> {
    let beside = || settings.rules.iter().map(|file| file.parent().map(PathBuf::from).unwrap_or_default()).collect();
    settings.secrets.clone().map_or_else(beside, |dir| vec![dir])
}

/// Truncates the log below the snapshots; events stay for `log dump` until they are older than `retain_ms`.
fn let_go(log: &Arc<Log>, retain_ms: i64) -> Published {
    let log = Arc::clone(log);
    Box::new(move |source, _, needed| {
        let before = match source.topic {
            Topic::Scans => now_ms().saturating_sub(retain_ms),
            _ => Millis::MAX,
        };
        log.retire(source.topic_partition(), needed, before);
    })
}

/// The tasks of each lane: a lane per processor, but no more than partitions; each has the same partitions of every desk.
fn open_lanes(works: &WorkerContext) -> Result<Vec<Vec<Box<dyn Task>>>, TaskError> {
    let partitions = works.meta.partitions.scans;
    let processors = std::thread::available_parallelism().map_or(1, |n| u16::try_from(n.get()).unwrap_or(u16::MAX));
    let lanes = partitions.min(processors);
    let library = works.rules_cache.now();
    let lane = |number: u16| {
        let own = (0..partitions).filter(|p| p % lanes == number);
        let places = own.flat_map(|p| DESKS.map(|desk| TopicPartition::new(desk.topic, p)));
        let open = |place| open_task(&works.meta, place, &works.snapshots, &library);
        places.map(|place| open(place).inspect(|station| works.expect(&**station))).collect()
    };
    (0..lanes).map(lane).collect()
}

/// A lane that has its tasks from the start to its end.
fn run_lane(works: &Arc<WorkerContext>, log: Arc<Log>, stations: Vec<Box<dyn Task>>) -> Result<()> {
    const ONLY: u64 = 1;
    let (orders, ordered) = channel();
    let place = |station: &dyn Task| station.source().topic_partition();
    let mut owned: Owned = stations.iter().map(|station| (place(&**station), None)).collect();
    for station in stations {
        let _ = orders.send(LaneCommand::Restored(ONLY, station));
    }
    let feed = Box::new(LocalConsumer::new(Arc::clone(&log), Readers::Desks));
    let tools = Tools { consumer: feed, appender: log, heartbeat: works.heartbeat() };
    match Lane::new(works, ONLY, tools, &mut owned, &ordered, &|_, _| true).run() {
        // The log has said why.
        Err(LaneError::AppendError(refused)) => {
            warn!(%refused, "a lane stops");
            Ok(())
        }
        done => Ok(done?),
    }
}
