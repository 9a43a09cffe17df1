//! `mashang edge`: the ingest service, which writes events to Kafka.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use domain::model::rules::rulebook::Rulebook;
use domain::protocol::publish::Registry as Published;
use edge::ingest::batcher::{BatchPolicy, Batcher, Busy};
use edge::ingest::clock::Stamps;
use edge::ingest::limits::Shedding;
use edge::ingest::service::IngestService;
use edge::metrics::Metrics;
use edge::spool::append_target::AppendTarget;
use edge::spool::{self, DeferredAppender, OpenedSpool, Spooled};
use edge::transport::browser;
use edge::transport::browser::cookie::VisitorKey;
use edge::transport::browser::region::Regions;
use edge::transport::http::EdgeHandler;
use eventlog::api::{Appender, Consumer, Health, now_ms};
use eventlog::files::disk::Disk;
use eventlog::kafka::appender::{KafkaAppender, Metrics as AppenderMetrics, Options};
use eventlog::kafka::settings::Settings as Kafka;
use eventlog::local::meta::{Clock, Meta};
use eventlog::objects::Objects;
use eventlog::spool::Sizes;
use prometheus::{Gauge, Registry, TextEncoder};
use tracing::{info, warn};
use web::merchants::{MerchantCatalog, Rulebooks};
use web::public::public;
use web::server::handler::Routes;

use super::base::{Base, ask, is_away, on_runtime, until_drained, until_store_answers};
use crate::config::groups::Spool;
use crate::config::roles::{Edge, EdgeArgs};
use crate::process::data_dir::lock;
use crate::process::health::HealthCheck;
use crate::process::signals::Signals;
use crate::process::sockets::Sockets;
use crate::process::thread::{Failed, thread};
use crate::roles::edge_cache;
use crate::roles::http::{HttpSockets, open_keys};
use crate::rules::follow::RulesFollower;
use crate::rules::publish::{Needed, SecretPlaces, read_on, served};
use crate::rules::store::RulesStore;
use crate::store::{RULES, pressure};
use crate::usage;

/// Batch policy of an edge. A record costs an edge, a broker and a desk about as much as some dozens of events, so a round
/// collects events for 2 ms, for 10 ms where 20,000 events a second and more come, and up to 20 ms while brokers are busy; not longer,
/// as a slow broker delays only its own partitions.
const BATCH_POLICY: BatchPolicy = BatchPolicy {
    rounds_max: 8,
    linger: Duration::from_millis(2)..=Duration::from_millis(20),
    busy: Busy { rate: 20_000, linger: Duration::from_millis(20) },
};
/// Number of processors per shard.
const PROCESSORS_A_SHARD: usize = 4;
/// Interval at which a Kafka that was unavailable at the start is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Takes events until SIGTERM or SIGINT.
pub(crate) fn edge(args: EdgeArgs) -> Result<()> {
    let settings = args.check()?;
    let objects = settings.store.open(Arc::new(Disk))?;
    let (base, cached_rules) = match Base::begin(&settings.role) {
        Ok(base) => (base, None),
        Err(error) => {
            let Some((meta, books)) = cached(&settings, &error)? else { return Err(error) };
            warn!(error = %format_args!("{error:#}"), "Kafka does not answer: the edge begins with what it knew before");
            (Base::of(&settings.role, meta), Some(books))
        }
    };
    let spooled = settings.spool.as_ref().map(|spool| LockedSpool::open(spool, &base.meta)).transpose()?;
    let last = spooled.as_ref().and_then(|locked| locked.spool.last);
    let mut consumer = base.consumer("rules")?;
    let stamps = |consumer: &mut dyn Consumer| Stamps::of(&base.meta, consumer, last);
    // Under the event clock there is one running maximum, and so one shard.
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shards = if base.meta.clock == Clock::Event { 1 } else { processors.div_ceil(PROCESSORS_A_SHARD) };
    let stamps: Vec<Stamps> = (0..shards).map(|_| stamps(&mut *consumer)).collect::<Result<_, _>>()?;
    let mut rules = Rules {
        consumer,
        published: Published::default(),
        store: RulesStore::of_store(Arc::clone(&objects), RULES),
        secrets: secret_places(&settings),
        catalog: Arc::new(MerchantCatalog::default()),
        cache: settings.spool.as_ref().map(|spool| (spool.dir.clone(), base.meta.clone())),
    };
    let is_away = cached_rules.is_some();
    match cached_rules {
        Some(books) => rules.catalog.set_rulebooks(books),
        None => until_store_answers(|| rules.read())?,
    }
    let visitor_key = until_store_answers(|| settings.store.visitor_key())?;
    on_runtime(run(settings, base, is_away, spooled, stamps, (rules, objects), visitor_key))
}

/// The cached log and rules of an edge with a spool, used if the only failure is that Kafka does not answer. Not under the
/// event clock: only the log has its last time.
///
/// # Errors
/// What was known cannot be read.
fn cached(settings: &Edge, error: &anyhow::Error) -> Result<Option<(Meta, Rulebooks)>> {
    let Some(spool) = settings.spool.as_ref().filter(|_| is_away(error)) else { return Ok(None) };
    Ok(edge_cache::read(&spool.dir, &secret_places(settings))?.filter(|(meta, _)| meta.clock == Clock::Wall))
}

/// An edge verifies codes: at its door, an unknown code and a forged one must look alike.
fn secret_places(settings: &Edge) -> SecretPlaces {
    SecretPlaces { dirs: vec![settings.role.secrets.clone()], needed: Needed::All, draws: false, verifies: true }
}

/// A spool that is this process's alone.
struct LockedSpool {
    spool: OpenedSpool,
    /// The directory is locked as long as this is open.
    _lock: std::fs::File,
}

impl LockedSpool {
    /// # Errors
    /// It is another process's, another log's, damaged, or cannot be written: usage.
    fn open(settings: &Spool, log: &Meta) -> Result<Self> {
        let dir = &settings.dir;
        let refused = |e: &dyn std::fmt::Display| usage(format!("--spool {}: {e}", dir.display()));
        std::fs::create_dir_all(dir)
            .map_err(|e| refused(&format!("cannot be written: {e}: choose a directory that can be")))?;
        let lock = lock(dir).map_err(|e| refused(&e))?;
        let spool = OpenedSpool::open(Arc::new(Disk), dir, log, Sizes::of(settings.bytes)).map_err(|e| refused(&e))?;
        Ok(Self { spool, _lock: lock })
    }
}

/// The append target of each shard. With a spool all shards share one target: only one appender keeps the order of its input.
fn targets(
    spool: Option<(&Spool, OpenedSpool)>,
    base: &Base,
    away: Option<&Failed>,
    shards: usize,
) -> Result<Vec<AppendTarget>> {
    let metrics = AppenderMetrics::new(&base.registry);
    let (kafka, instance) = (base.kafka.clone(), base.instance.clone());
    let appender = move |shard: usize, options: Options| -> Result<Arc<dyn Appender>> {
        Ok(Arc::new(KafkaAppender::start(&kafka, &format!("{instance}-{shard}"), options, &metrics)?))
    };
    let Some((spool, found)) = spool else {
        return (0..shards).map(|shard| Ok(AppendTarget::Log(appender(shard, Options::edge())?))).collect();
    };
    let own = Options::edge();
    let queue_bytes_max = own.queue_bytes_max * shards;
    let options = Options { ack_timeout: spool.after, queue_bytes_max, ..own };
    let log: Arc<dyn Appender> = match away {
        None => appender(0, options)?,
        Some(failed) => {
            let later = Arc::new(DeferredAppender::default());
            let (own, kafka, meta) = (Arc::clone(&later), base.kafka.clone(), base.meta.clone());
            thread("log", failed, move || {
                until_back(&kafka, &meta)?;
                own.set(appender(0, options)?);
                Ok(())
            });
            later
        }
    };
    let metrics = spool::Metrics::new(&base.registry).context("metrics are registered once")?;
    let target = AppendTarget::Spooled(Arc::new(Spooled::start(found, log, metrics)));
    Ok(vec![target; shards])
}

/// Waits until Kafka answers.
///
/// # Errors
/// Its topics cannot keep what is promised, or are not those of this log.
fn until_back(kafka: &Kafka, meta: &Meta) -> Result<()> {
    loop {
        match ask(kafka) {
            Ok(found) if found == *meta => return Ok(()),
            Ok(_) => {
                return Err(anyhow!(
                    "the topics are those of another log than the spool's: give it back to an edge of its log, or give this edge another directory"
                ));
            }
            Err(error) if is_away(&error) => std::thread::sleep(ASK_AGAIN),
            Err(error) => return Err(error),
        }
    }
}

async fn run(
    settings: Edge,
    base: Base,
    is_away: bool,
    spooled: Option<LockedSpool>,
    stamps: Vec<Stamps>,
    (mut rules, objects): (Rules, Arc<dyn Objects>),
    visitor_key: VisitorKey,
) -> Result<()> {
    let keys = open_keys(&settings.http)?;
    let regions = settings.ingest.open_regions()?;
    let sockets = HttpSockets::bind(&settings.http, &settings.role.process).await?;
    let udp = Sockets::bind(settings.ingest.udp())?;
    let metrics = Metrics::new(&base.registry).context("metrics are registered once")?;
    let regions = Arc::new(Regions::new(regions, &base.registry).context("metrics are registered once")?);
    let (spool, _lock) = spooled.map(|LockedSpool { spool, _lock }| (spool, _lock)).unzip();
    let (failed, mut failures) = base.failures();
    let targets = targets(settings.spool.as_ref().zip(spool), &base, is_away.then_some(&failed), stamps.len())?;
    let partitions = base.meta.partitions.scans;
    let start = |(target, stamps): (&AppendTarget, Stamps)| {
        Batcher::start(target.clone(), partitions, stamps, BATCH_POLICY, metrics.clone())
    };
    let batchers: Vec<Arc<Batcher>> = targets.iter().zip(stamps).map(start).collect();
    let catalog = Arc::clone(&rules.catalog);
    let health = Arc::new(RoleHealth {
        targets: targets.clone(),
        catalog: Arc::clone(&catalog),
        registry: base.registry.clone(),
        draining: AtomicBool::new(false),
    });
    let follower = RulesFollower::start(&failed, "what was served goes on", move || rules.read());

    let limits = settings.ingest.limits(sockets.client_limits());
    let (own, shedding) = (Arc::clone(&regions), Arc::clone(&limits.shedding));
    let ratio =
        Gauge::new("mashang_shed_ratio", "Share of requests that is refused because the workers' memory is short")?;
    base.registry.register(Box::new(ratio.clone()))?;
    thread("pressure", &failed, move || follow_pressure(&*objects, &shedding, &ratio));
    let ingest = IngestService::new(batchers.clone(), catalog, keys.clone(), metrics, limits, visitor_key, own);
    let ingest = Arc::new(ingest);
    let router = public(IngestService::routes().merge(browser::routes(&ingest)), browser::links(&ingest));
    let client_limits = sockets.client_limits();
    let routes = Routes { router, local_only: keys.is_none(), keys: keys.clone(), client_limits };
    let handler = EdgeHandler { ingest: Arc::clone(&ingest), routes };
    let udp_address = udp.address().map(tracing::field::display);
    let receivers = udp.receive(&ingest, settings.ingest.udp_trust(), |name, work| thread(name, &failed, work));
    let own = Arc::<RoleHealth>::clone(&health);
    let mut http = sockets.serve(handler, keys, own, (&base.registry, &failed))?;
    // It ends with the runtime.
    tokio::spawn(regions.reload());
    let signals = Signals::listen()?;
    info!(http = %http.address, udp = udp_address, admin = %http.admin.address, instance = base.instance, "ready");

    let ended = until_drained(signals, &mut failures, &health.draining, settings.http.drain_wait).await;
    receivers.stop();
    http.end_requests().await;
    tokio::task::spawn_blocking(move || receivers.join()).await?;
    batchers.iter().for_each(|batcher| batcher.close());
    tokio::task::spawn_blocking(move || {
        targets.iter().for_each(AppendTarget::close);
        follower.end();
    })
    .await?;
    http.end().await;
    info!("stopped");
    ended
}

/// Asks the store again and again what share of requests to refuse. While it does not answer, what it said last counts for as long as it
/// would be valid.
#[expect(clippy::float_arithmetic, reason = "a gauge of a share")]
fn follow_pressure(objects: &dyn Objects, shedding: &Shedding, ratio: &Gauge) -> Result<()> {
    let (mut share, mut asked) = (0, Instant::now());
    loop {
        let now = match pressure::told(objects, now_ms()) {
            Ok(now) => {
                asked = Instant::now();
                now
            }
            Err(_) if asked.elapsed() < pressure::VALID => share,
            Err(_) => 0,
        };
        match (share, now) {
            (0, 1..) => {
                warn!("workers have little memory left: some requests are refused; give workers more, or add some");
            }
            (1.., 0) => info!("workers have memory again"),
            _ => {}
        }
        share = now;
        shedding.set(share);
        ratio.set(f64::from(share) / 1e6);
        std::thread::sleep(pressure::EVERY);
    }
}

/// Reads the published rules: the merchants whose events are accepted.
struct Rules {
    consumer: Box<dyn Consumer>,
    published: Published,
    store: RulesStore,
    secrets: SecretPlaces,
    catalog: Arc<MerchantCatalog>,
    /// The directory of the cache, and the log it is for.
    cache: Option<(PathBuf, Meta)>,
}

impl Rules {
    fn read(&mut self) -> Result<()> {
        read_on(&mut *self.consumer, &mut self.published)?;
        let known = self.catalog.rulebooks();
        let (now, outcome) = served(&self.published, &self.store, &known, &self.secrets);
        let seq = |(merchant, book): (&String, &Arc<Rulebook>)| (merchant.clone(), book.seq);
        if !now.iter().map(seq).eq(known.iter().map(seq)) {
            info!(merchants = now.len(), "rules are served");
            if let Some((dir, meta)) = &self.cache
                && let Err(error) = edge_cache::keep(dir, meta, &now)
            {
                warn!(error = %format_args!("{error:#}"), "a start while Kafka is away would not know these rules");
            }
            self.catalog.set_rulebooks(now);
        }
        outcome
    }
}

/// The health of an edge.
struct RoleHealth {
    targets: Vec<AppendTarget>,
    catalog: Arc<MerchantCatalog>,
    registry: Registry,
    draining: AtomicBool,
}

impl HealthCheck for RoleHealth {
    fn liveness(&self) -> Result<(), String> {
        match self.targets.iter().any(|target| target.health() == Health::Failed) {
            true => Err("an appender or the spool failed".to_owned()),
            false => Ok(()),
        }
    }

    /// Whether the edge would answer 202 now.
    fn readiness(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Acquire) {
            return Err("draining".to_owned());
        }
        if self.catalog.now().is_empty() {
            return Err("no rules are published: see `mashang rules publish`".to_owned());
        }
        match self.targets.iter().map(AppendTarget::health).find(|&health| health != Health::Good) {
            None => Ok(()),
            Some(Health::Failed) => Err("an appender or the spool failed".to_owned()),
            Some(_) => Err("the log does not answer, or too slowly, and no spool has room".to_owned()),
        }
    }

    fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
