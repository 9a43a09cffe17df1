//! A load client for the HTTP edge: sends at a given rate whether or not the server keeps up, and holds the ledger to what
//! was accepted.
//!
//! - [`args`]: the options; [`events`]: what is sent; [`schedule`]: when
//! - [`send`], [`results`]: the connections that send, and those that ask for results
//! - [`tally`], [`watch`], [`report`]: what is counted, what is told meanwhile and in the end
//! - [`server`]: the server from outside: HTTP, metrics, ledger, process

pub(crate) mod args;
mod events;
mod report;
mod results;
mod schedule;
mod send;
mod server;
mod tally;
mod watch;

use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use args::{Arrivals, LoadArgs};
use events::{Made, Traffic};
use report::{Ledger, Report, Server, Setting, per};
use results::Probes;
use schedule::{Schedule, Stopwatch};
use send::Run;
use server::admin;
use server::http::Connection;
use server::ledger::{Owed, Sums, differences};
use server::process::{self, Usage};
use tally::Board;

const SECOND_NS: u64 = 1_000_000_000;

/// Runs, prints the report, writes it to a file if asked to.
///
/// # Errors
/// The run could not be made, was refused, or the ledger does not show what was accepted.
pub(crate) fn run(args: &LoadArgs) -> Result<()> {
    let threads = usize::try_from(args.threads)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let report = runtime.block_on(load(args))?;
    // A reader that has gone away is no failure of the run.
    let _ = write!(std::io::stdout(), "{report}");
    if let Some(file) = &args.report {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, json + "\n").with_context(|| format!("--report {}: cannot be written", file.display()))?;
    }
    ensure!(report.failures.is_empty(), "the run failed: {}", report.failures.join("; "));
    Ok(())
}

async fn load(args: &LoadArgs) -> Result<Report> {
    let before = match &args.ledger {
        Some(file) => baseline(args, file).await?,
        None => Sums::default(),
    };
    let pid = args.server_pid.map(|pid| pid.to_string());
    let used = pid.as_deref().map(process::usage).transpose()?;
    let run = Arc::new(prepare(args)?);
    let (done, until_done) = oneshot::channel();
    let watcher = tokio::spawn(watch::watch(Arc::clone(&run), pid.clone(), until_done));
    let unsent = drive(args, &run).await;
    run.probes.settle().await;

    let mut report = report(args, &run, unsent);
    if let Some(file) = &args.ledger {
        report.ledger = check_ledger(args, file, &run, &before, &mut report.failures).await;
    }
    drop(done);
    let rss = watcher.await?;
    if let (Some(pid), Some(used)) = (pid, used) {
        match process::usage(&pid) {
            Ok(now) => report.server = Some(server_usage(used, now, rss, report.accepted)),
            Err(error) => report.failures.push(format!("{error:#}")),
        }
    }
    Ok(report)
}

fn prepare(args: &LoadArgs) -> Result<Run> {
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let traffic = Traffic::new(args, args.seed.unwrap_or(now_ms), now_ms)?;
    let board = Arc::new(Board::new(args.warmup * SECOND_NS));
    let watch = Arc::new(Stopwatch::start());
    // A result is answered only after the server's own wait.
    let timeout = Duration::from_secs(args.timeout) + Duration::from_millis(results::WAIT_MS);
    let askers = (0..args.result_connections).map(|_| Connection::new(&args.url, args.key.as_ref(), timeout));
    let probes = Probes::new(askers.collect(), &args.merchant, Arc::clone(&watch), Arc::clone(&board));
    let seconds = args.warmup + args.seconds;
    Ok(Run {
        traffic,
        schedule: if args.closed { Schedule::closed(seconds) } else { Schedule::open() },
        watch,
        board,
        probes: Arc::new(probes),
        retry_for_ns: args.retry_for * SECOND_NS,
    })
}

/// Sends everything that becomes due. Returns how many events were due and never sent.
async fn drive(args: &LoadArgs, run: &Arc<Run>) -> u64 {
    let seconds = args.warmup + args.seconds;
    let arrivals = match args.arrivals {
        Arrivals::Constant => schedule::Arrivals::constant(args.rate, args.batch, seconds),
        Arrivals::Poisson => schedule::Arrivals::poisson(args.rate, args.batch, seconds, run.traffic.seed()),
    };
    let pacing = Arc::clone(run);
    let pacer = tokio::task::spawn_blocking(move || {
        pacing.schedule.pace(arrivals, &pacing.watch, || pacing.board.stopped());
    });
    let timeout = Duration::from_secs(args.timeout);
    let mut senders = JoinSet::new();
    for _ in 0..args.connections {
        let connection = Connection::new(&args.url, args.key.as_ref(), timeout);
        senders.spawn(send::sender(Arc::clone(run), connection));
    }
    let mut all = pin!(senders.join_all());
    let bound = Duration::from_secs(seconds + args.drain);
    let in_time = tokio::time::timeout(bound, all.as_mut()).await.is_ok();
    let unsent = run.schedule.abandon() * args.batch;
    if !in_time {
        // What was sent is seen through to its answer; --retry-for bounds that.
        all.await;
    }
    pacer.await.expect("the pacer has no way to break");
    unsent
}

fn report(args: &LoadArgs, run: &Run, unsent: u64) -> Report {
    let arrivals = match (args.closed, args.arrivals) {
        (true, _) => "closed",
        (false, Arrivals::Constant) => "constant",
        (false, Arrivals::Poisson) => "poisson",
    };
    let setting = Setting {
        arrivals,
        rate_per_s: args.rate,
        seconds: args.seconds,
        warmup_s: args.warmup,
        connections: args.connections,
        batch: args.batch,
    };
    Report {
        seed: run.traffic.seed(),
        setting,
        unsent,
        client_cpu_ms: process::usage("self").ok().map(|usage| usage.cpu_ms),
        failures: run.board.failure().into_iter().collect(),
        ..Report::new(&run.board.tally(), args.warmup * SECOND_NS)
    }
}

fn server_usage(before: Usage, now: Usage, rss: Vec<(u64, u64)>, accepted: u64) -> Server {
    let cpu_ms = now.cpu_ms.saturating_sub(before.cpu_ms);
    let cpu_ms_per_million_events = per(cpu_ms, 1_000_000, accepted);
    Server { cpu_ms, cpu_ms_per_million_events, peak_rss_kib: now.peak_kib, rss }
}

/// What the ledger shows before the run; earlier runs may have left much in it.
async fn baseline(args: &LoadArgs, file: &Path) -> Result<Sums> {
    wait_for_ledger(args).await?;
    if file.exists() { Sums::read(file, &args.merchant) } else { Ok(Sums::default()) }
}

async fn wait_for_ledger(args: &LoadArgs) -> Result<()> {
    let mut admin = Connection::new(&args.admin, None, Duration::from_secs(args.timeout));
    admin::wait_for_no_lag(&mut admin, Duration::from_secs(args.drain)).await
}

async fn check_ledger(args: &LoadArgs, file: &Path, run: &Run, before: &Sums, failures: &mut Vec<String>) -> Ledger {
    if !failures.is_empty() {
        return Ledger::NotChecked;
    }
    let owed = {
        let tally = run.board.tally();
        let Made { scans, visits, orders, duplicates } = tally.made;
        Owed { scans, visits, orders, duplicates, resent: tally.resent }
    };
    let after = match wait_for_ledger(args).await {
        Ok(()) => Sums::read(file, &args.merchant),
        Err(error) => Err(error),
    };
    let found = match after {
        Ok(after) => differences(before, &after, &owed),
        Err(error) => vec![format!("{error:#}")],
    };
    let ledger = if found.is_empty() { Ledger::Right } else { Ledger::Wrong };
    failures.extend(found);
    ledger
}

#[cfg(test)]
mod loopback;
