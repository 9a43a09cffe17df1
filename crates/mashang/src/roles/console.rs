//! `mashang console`: the result of a scan, from the log as soon as it is there, later from the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use console::pending_results::PendingResults;
use console::results::Console as Results;
use domain::protocol::publish::Registry as Published;
use eventlog::api::Consumer;
use eventlog::error::LogError;
use eventlog::kafka::consumer::KafkaConsumer;
use prometheus::{Registry, TextEncoder};
use tracing::info;
use web::merchants::MerchantCatalog;
use web::public::{nothing, public};
use web::server::handler::Routes;

use super::base::{Base, on_runtime, until_drained};
use crate::config::roles::{Console, ConsoleArgs};
use crate::process::health::HealthCheck;
use crate::process::signals::Signals;
use crate::roles::http::{HttpSockets, open_keys};
use crate::rules::follow::RulesFollower;
use crate::rules::publish::read_on;

/// Answers requests until SIGTERM or SIGINT.
pub(crate) fn console(args: ConsoleArgs) -> Result<()> {
    let settings = args.check()?;
    let base = Base::begin(&settings.role)?;
    let (kafka, meta, instance) = (base.kafka.clone(), base.meta.clone(), base.instance.clone());
    let connect = move || Ok::<Box<dyn Consumer>, LogError>(Box::new(KafkaConsumer::new(&kafka, &meta, &instance)?));
    let pending = PendingResults::follow(&base.meta, Box::new(connect), &settings.ledger, &base.registry, None)?;
    let mut merchants =
        Merchants { consumer: base.consumer("rules")?, published: Published::default(), catalog: Arc::default() };
    merchants.read()?;
    on_runtime(run(settings, base, pending, merchants))
}

async fn run(settings: Console, base: Base, pending: Arc<PendingResults>, mut merchants: Merchants) -> Result<()> {
    let keys = open_keys(&settings.http)?;
    let sockets = HttpSockets::bind(&settings.http, &settings.role.process).await?;
    let health = Arc::new(RoleHealth { registry: base.registry.clone(), draining: AtomicBool::new(false) });
    let catalog = Arc::clone(&merchants.catalog);
    let (failed, mut failures) = base.failures();
    let follower = RulesFollower::start(&failed, "merchants that are known are answered", move || merchants.read());
    let results = Arc::new(Results::new(Arc::clone(&pending), settings.ledger.clone(), catalog, keys.clone()));
    let version = vec![("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    let page = console::page::routes(&results, Arc::new(move || version.clone()));
    let routes = Routes {
        router: public(results.routes().merge(page), nothing()),
        local_only: keys.is_none(),
        keys: keys.clone(),
        client_limits: sockets.client_limits(),
    };
    let own = Arc::<RoleHealth>::clone(&health);
    let mut http = sockets.serve(routes, keys, own, (&base.registry, &failed))?;
    let signals = Signals::listen()?;
    info!(http = %http.address, admin = %http.admin.address, instance = base.instance, "ready");

    let ended = until_drained(signals, &mut failures, &health.draining, settings.http.drain_wait).await;
    pending.release();
    http.end_requests().await;
    pending.stop();
    // Its thread ends after its next read: a stop does not wait for Kafka.
    drop(follower);
    http.end().await;
    info!("stopped");
    ended
}

/// All merchants that were ever published.
struct Merchants {
    consumer: Box<dyn Consumer>,
    published: Published,
    catalog: Arc<MerchantCatalog>,
}

impl Merchants {
    fn read(&mut self) -> Result<()> {
        let before = self.published.next_offset();
        read_on(&mut *self.consumer, &mut self.published)?;
        if self.published.next_offset() != before {
            // A console never uses a currency.
            let all = self.published.published().iter().map(|version| (version.merchant.clone(), String::new()));
            self.catalog.set(all.collect());
        }
        Ok(())
    }
}

/// The health of a console.
struct RoleHealth {
    registry: Registry,
    draining: AtomicBool,
}

impl HealthCheck for RoleHealth {
    fn liveness(&self) -> Result<(), String> {
        Ok(())
    }

    fn readiness(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Acquire) { Err("draining".to_owned()) } else { Ok(()) }
    }

    fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
