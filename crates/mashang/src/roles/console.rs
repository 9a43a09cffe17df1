//! `mashang console`: the result of a scan, from the log as soon as it is there, later from the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use console::pending_results::PendingResults;
use console::results::Console as Answers;
use domain::protocol::publish::Registry as Published;
use eventlog::api::Consumer;
use eventlog::error::LogError;
use eventlog::kafka::consumer::KafkaConsumer;
use prometheus::{Registry, TextEncoder};
use tracing::{info, warn};
use web::auth::Keys;
use web::merchants::MerchantCatalog;
use web::public::{nothing, public};
use web::server::handler::Routes;
use web::server::metrics::Http;
use web::server::port::Port;

use super::base::{Base, on_runtime, until_stopped};
use crate::config::roles::{Console, ConsoleArgs};
use crate::process::health::{Admin, HealthCheck};
use crate::process::signals::Signals;
use crate::process::sockets::{self, Listeners};
use crate::process::thread::thread;
use crate::rules::publish::read_on;
use crate::usage;

/// Interval at which new merchants are read from the log.
const RULES_EVERY: Duration = Duration::from_millis(500);

/// Answers requests until SIGTERM or SIGINT.
pub(crate) fn console(args: ConsoleArgs) -> Result<()> {
    let settings = args.check()?;
    let base = Base::begin(&settings.role)?;
    let (kafka, meta, instance) = (base.kafka.clone(), base.meta.clone(), base.instance.clone());
    let connect = move || Ok::<Box<dyn Consumer>, LogError>(Box::new(KafkaConsumer::new(&kafka, &meta, &instance)?));
    let recent = PendingResults::follow(&base.meta, Box::new(connect), &settings.ledger, &base.registry, None)?;
    let mut merchants =
        Merchants { feed: base.feed("rules")?, published: Published::default(), served: Arc::default() };
    merchants.read()?;
    on_runtime(run(settings, base, recent, merchants))
}

async fn run(settings: Console, base: Base, recent: Arc<PendingResults>, merchants: Merchants) -> Result<()> {
    let keys = settings.http.keys.as_deref().map(Keys::open).transpose().map_err(usage)?.map(Arc::new);
    let listeners = Listeners::bind(settings.http.http.get())?;
    let admin = sockets::admin(settings.role.process.admin.get()).await?;
    let standing = Arc::new(RoleHealth { registry: base.registry.clone(), draining: AtomicBool::new(false) });
    let served = Arc::clone(&merchants.served);
    let (failed, mut failures) = base.failures();
    let stopping = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stopping);
    thread("rules", &failed, move || {
        merchants.follow(&asked);
        Ok(())
    });
    let answers = Arc::new(Answers::new(Arc::clone(&recent), settings.ledger.clone(), served, keys.clone()));
    let version = vec![("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    let page = console::page::routes(&answers, Arc::new(move || version.clone()));
    let routes = public(answers.routes().merge(page), nothing());
    let connections = Http::new(&base.registry).context("metrics are registered once")?;
    let service = Routes { router: routes, local_only: keys.is_none() };
    let port = Port::new(service, settings.http.port()?, connections);
    let http = listeners.address()?;
    let mut servers = listeners.serve(&port, |name, work| thread(name, &failed, work));
    if let Some(keys) = keys {
        tokio::spawn(async move { keys.reload().await });
    }
    let admin = Admin::start(admin, Arc::<RoleHealth>::clone(&standing))?;
    let signals = Signals::listen()?;
    info!(%http, admin = %admin.address, instance = base.instance, "ready");

    let ended = until_stopped(signals, &mut failures).await;
    standing.draining.store(true, Ordering::Release);
    if ended.is_ok() {
        tokio::time::sleep(settings.http.drain_wait).await;
    }
    recent.release();
    servers.end().await;
    recent.stop();
    stopping.store(true, Ordering::Release);
    admin.end().await;
    info!("stopped");
    ended
}

/// All merchants that were ever published.
struct Merchants {
    feed: Box<dyn Consumer>,
    published: Published,
    served: Arc<MerchantCatalog>,
}

impl Merchants {
    fn read(&mut self) -> Result<()> {
        let before = self.published.next_offset();
        read_on(&mut *self.feed, &mut self.published)?;
        if self.published.next_offset() != before {
            // A console never uses a currency.
            let all = self.published.published().iter().map(|version| (version.merchant.clone(), String::new()));
            self.served.set(all.collect());
        }
        Ok(())
    }

    fn follow(mut self, stopping: &AtomicBool) {
        let mut is_told = false;
        while !stopping.load(Ordering::Acquire) {
            std::thread::sleep(RULES_EVERY);
            match self.read() {
                Ok(()) => is_told = false,
                Err(error) if !std::mem::replace(&mut is_told, true) => {
                    warn!(error = %format_args!("{error:#}"), "new rules cannot be read; merchants that are known are answered");
                }
                Err(_) => {}
            }
        }
    }
}

/// The health of a console.
struct RoleHealth {
    registry: Registry,
    draining: AtomicBool,
}

impl HealthCheck for RoleHealth {
    fn life(&self) -> Result<(), String> {
        Ok(())
    }

    fn readiness(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Acquire) { Err("draining".to_owned()) } else { Ok(()) }
    }

    fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
