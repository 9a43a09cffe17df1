//! `mashang demo`: the service with a sample brand, whose rules and registers are files, and with traffic as long as it runs.
//! A table shows the results.
//!
//! The crate `demo` has the brand, its traffic and the table; this file connects them to the service.

use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use domain::model::fact::Metric;
use domain::model::time::{Millis, SECOND_MS};
use eventlog::api::now_ms;
use eventlog::files::Files;
use ledger::reader::Ledger;
use ledger::totals::Totals as Sums;
use ledger::url::LedgerUrl;
use serde::{Deserialize, Serialize};

use crate::config::demo::DemoArgs;
use crate::config::options::LogFormat;
use crate::process::logging::log_as;
use crate::roles::serve::Service;
use crate::usage;
use demo::brand::{self, Brand, MERCHANT};
use demo::client::Client;
use demo::table::{Ranked, Screen, Speed, Totals, View};
use demo::traffic::Traffic;

/// Time between the start and the opening of the promotion: little traffic before it, much after it.
const OPENS_AFTER_MS: Millis = 12 * SECOND_MS;
/// Interval at which events are sent.
const TICK: Duration = Duration::from_millis(100);
/// Number of ticks between two drawings of the table.
const TICKS_PER_TABLE: u32 = 10;

/// The identity of the brand. It is kept beside the brand's files, so that a second demo on the same data continues with it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct BrandIdentity {
    opens_ms: Millis,
    seed: u64,
}

/// Runs the demo until it is stopped.
pub(crate) fn demo(args: &DemoArgs, files: Arc<dyn Files>) -> Result<()> {
    log_as(LogFormat::Text, "warn");
    let own = match args.data {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("no directory for the demo's data")?),
    };
    let dir = args.data.clone().or(own.as_ref().map(|dir| dir.path().to_owned())).unwrap_or_default();
    let (facts, rules) = brand_in(&dir.join("brand"))?;
    let settings = args.settings(dir.join("data"), rules)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let service = Service::start(settings, files).await?;
        let page = format!("http://{}/", service.http.address);
        let text = format!(
            "a tea brand with {} stores; its promotion opens {}\npage: {page}   metrics: http://{}/metrics\nexport: mashang export counters --ledger {}\n",
            brand::STORES,
            if facts.opens_ms > now_ms() { "in a few seconds" } else { "is open" },
            service.http.admin.address,
            service.ledger.display(),
        );
        writeln!(stdout(), "{text}")?;
        let live = tokio::spawn(live(facts, service.http.address.to_string(), service.ledger.clone(), page));
        let result = service.run(args.duration).await;
        live.abort();
        result
    })
}

/// The brand that is there, or a new one.
fn brand_in(dir: &Path) -> Result<(BrandIdentity, PathBuf)> {
    let kept = dir.join("facts.json");
    if let Ok(bytes) = std::fs::read(&kept) {
        let facts = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is torn: remove {}", kept.display(), dir.display()))?;
        return Ok((facts, dir.join("rules.toml")));
    }
    let unwritten = || format!("{} cannot be written", dir.display());
    let facts = BrandIdentity { opens_ms: now_ms() + OPENS_AFTER_MS, seed: 11 };
    std::fs::create_dir_all(dir).map_err(|e| usage(format!("--data: {}: {e}: choose another", unwritten())))?;
    let rules = brand::write(dir, facts.opens_ms, facts.seed).with_context(unwritten)?;
    std::fs::write(&kept, serde_json::to_vec(&facts)?).with_context(unwritten)?;
    Ok((facts, rules))
}

/// Sends the traffic and shows the results, for ever.
async fn live(facts: BrandIdentity, address: String, ledger: PathBuf, page: String) {
    // Each demo has other shoppers: a second demo with the same ones would only send duplicates.
    let mut traffic = Traffic::new(Brand::new(facts.opens_ms, facts.seed), now_ms().unsigned_abs());
    let mut client = Client::new(address);
    let mut screen = Screen::new(stdout().is_terminal());
    let mut lines = Vec::new();
    let mut tick = tokio::time::interval(TICK);
    let (mut ticks, mut before) = (0_u32, 0);
    loop {
        tick.tick().await;
        lines.clear();
        traffic.until(now_ms(), &mut lines);
        client.send(&lines).await;
        ticks += 1;
        if ticks.is_multiple_of(TICKS_PER_TABLE) {
            let Ok(sums) = Ledger::open(&LedgerUrl::file(&ledger)).and_then(|mut db| db.totals(MERCHANT)) else {
                continue;
            };
            let speed = client.speed(before);
            before = client.accepted();
            show(&mut screen, &sums, client.accepted(), speed, &page);
        }
    }
}

fn show(screen: &mut Screen, sums: &Sums, accepted: i64, speed: Speed, page: &str) {
    let sum = |metric| sums.sum(metric);
    let totals = Totals {
        accepted: accepted.into(),
        scans: sum(Metric::Scans),
        shoppers: sum(Metric::Shoppers),
        orders: sum(Metric::Orders),
        gmv: sum(Metric::Gmv),
        commission: sum(Metric::Commission),
        wins: sum(Metric::Wins),
        prize_cash: sum(Metric::PrizeCash),
        duplicates: sum(Metric::Duplicates),
    };
    let ranked = |rows: &[(String, i128)]| -> Vec<Ranked> {
        rows.iter().map(|(name, amount)| Ranked { name: name.clone(), amount: *amount }).collect()
    };
    let (stores, guides) = (ranked(&sums.stores), ranked(&sums.guides));
    let view = View { totals, speed, stores: &stores, guides: &guides, page };
    if let Some(text) = screen.show(&view, now_ms()) {
        let mut out = stdout();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
