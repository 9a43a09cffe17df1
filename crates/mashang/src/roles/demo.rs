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

use crate::cli::options::LogFormat;
use crate::config::demo::DemoArgs;
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
struct Facts {
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
        let told = format!(
            "a tea brand with {} stores; its promotion opens {}\npage: {page}   metrics: http://{}/metrics\nexport: mashang export counters --ledger {}\n",
            brand::STORES,
            if facts.opens_ms > now_ms() { "in a few seconds" } else { "is open" },
            service.http.admin.address,
            service.ledger.display(),
        );
        writeln!(stdout(), "{told}")?;
        let live = tokio::spawn(live(facts, service.http.address.to_string(), service.ledger.clone(), page));
        let result = service.run(args.duration).await;
        live.abort();
        result
    })
}

/// The brand that is there, or a new one.
fn brand_in(dir: &Path) -> Result<(Facts, PathBuf)> {
    let kept = dir.join("facts.json");
    if let Ok(bytes) = std::fs::read(&kept) {
        let facts = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is torn: remove {}", kept.display(), dir.display()))?;
        return Ok((facts, dir.join("rules.toml")));
    }
    let unwritten = || format!("{} cannot be written", dir.display());
    let facts = Facts { opens_ms: now_ms() + OPENS_AFTER_MS, seed: 11 };
    std::fs::create_dir_all(dir).map_err(|e| usage(format!("--data: {}: {e}: choose another", unwritten())))?;
    let rules = brand::write(dir, facts.opens_ms, facts.seed).with_context(unwritten)?;
    std::fs::write(&kept, serde_json::to_vec(&facts)?).with_context(unwritten)?;
    Ok((facts, rules))
}

/// Sends the traffic and shows the results, for ever.
async fn live(facts: Facts, address: String, ledger: PathBuf, page: String) {
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
        accepted,
        scans: sum(Metric::Scans),
        shoppers: sum(Metric::Shoppers),
        orders: sum(Metric::Orders),
        gmv: sum(Metric::Gmv),
        commission: sum(Metric::Commission),
        wins: sum(Metric::Wins),
        prize_cash: sum(Metric::PrizeCash),
        duplicates: sum(Metric::Duplicates),
    };
    let ranked = |rows: &[(String, i64)]| -> Vec<Ranked> {
        rows.iter().map(|(name, amount)| Ranked { name: name.clone(), amount: *amount }).collect()
    };
    let (stores, guides) = (ranked(&sums.stores), ranked(&sums.guides));
    let view = View { totals, speed, stores: &stores, guides: &guides, page };
    if let Some(text) = screen.show(&view, now_ms()) {
        let mut out = stdout();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use domain::model::fact::Metric;
    use ledger::writer::Writer;
    use wire::event::Merchants;

    use crate::commands::rules_check::{publish, read_all};
    use crate::commands::run::event_files::{EventFileReader, Line, Rejects};
    use crate::commands::run::pipeline::InlinePipeline;
    use demo::brand::{Brand, MERCHANT, STORES, write};
    use demo::traffic::Traffic;

    const OPENS: i64 = 1_794_326_400_000;

    #[test]
    fn its_rules_have_neither_mistakes_nor_warnings() {
        let dir = tempfile::tempdir().expect("a folder");
        let rules = write(&dir.path().join("new"), OPENS, 7).expect("files");
        let checked = read_all(&[rules], None).expect("rules without a mistake").remove(0);
        assert_eq!(checked.warnings, []);
        let rules = checked.rules;
        assert_eq!((rules.merchant.as_str(), rules.stores.len()), (MERCHANT, STORES));
        assert!((2_500..3_600).contains(&rules.guides.len()), "{} guides", rules.guides.len());
        assert_eq!(rules.campaigns[0].from, OPENS);
        assert!(rules.campaigns[0].prizes.iter().any(|prize| prize.unlock.is_some()));
        let left = rules.guides.iter().filter(|guide| guide.left.is_some()).count();
        assert!((10..100).contains(&left), "{left} guides have left");
        for level in ["gold", "silver"] {
            assert!(rules.guides.iter().any(|guide| guide.level.as_deref() == Some(level)), "{level}");
        }
    }

    /// The results of the desks: each number of the table grows, and all are in proportion.
    #[test]
    fn the_first_minutes_come_to_something() {
        let dir = tempfile::tempdir().expect("a folder");
        let rules = write(dir.path(), OPENS, 3).expect("files");
        let (library, _) = publish(read_all(&[rules], None).expect("rules")).expect("a library");
        let path = dir.path().join("ledger.sqlite");
        let writer = Writer::create(&path, [0]).expect("a ledger");
        let mut target = InlinePipeline::open(library, writer).expect("a target");

        let mut lines = Vec::new();
        let mut traffic = Traffic::new(Brand::new(OPENS, 3), 3);
        for second in -90..60 {
            traffic.until(OPENS + second * 1_000, &mut lines);
        }
        let mut batcher = EventFileReader::new("demo".to_owned(), Merchants::new([(MERCHANT, "CNY")]), Rejects::Told);
        let mut send = |record: Vec<u8>| Ok(target.events(&record)?);
        for (number, line) in (1..).zip(&lines) {
            batcher.line(Line::new(number, line.as_bytes()), &mut send).expect("a line");
        }
        batcher.flush(&mut send).expect("a frame");
        let mut ledger = target.finish().expect("a ledger");

        let sums: Vec<i64> = Metric::ALL.iter().map(|&metric| ledger.sum(metric).expect("a sum")).collect();
        let sum = |metric| sums[metric as usize];
        let accepted = i64::try_from(batcher.tally.accepted).expect("a count");
        assert_eq!(usize::try_from(accepted), Ok(lines.len()), "{:?}", batcher.tally.rejected);
        let per_mille = |metric| sum(metric) * 1_000 / accepted;
        assert!((6..14).contains(&per_mille(Metric::Duplicates)), "{} ‰ duplicates", per_mille(Metric::Duplicates));
        assert!((400..900).contains(&per_mille(Metric::Scans)), "{} ‰ scans", per_mille(Metric::Scans));
        assert!(sum(Metric::Late) > 0 && per_mille(Metric::Late) < 2, "{} late", sum(Metric::Late));
        assert!(sum(Metric::Entries) > accepted / 3, "{} entries of {accepted}", sum(Metric::Entries));
        let (wins, entries) = (sum(Metric::Wins), sum(Metric::Entries));
        assert!((entries / 3..entries * 2 / 3).contains(&wins), "{wins} wins of {entries} entries");
        let (orders, gmv) = (sum(Metric::Orders), sum(Metric::Gmv));
        assert!(orders > 1_000 && (1_500..6_000).contains(&(gmv / orders)), "{gmv} over {orders} orders");
        assert!(sum(Metric::PrizeCash) > 0 && sum(Metric::Joins) > 0 && sum(Metric::Follows) > 0);
    }
}
