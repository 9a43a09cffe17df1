//! A load client for the edge. It sends at a given rate even if the server does not keep up, and compares the server's counts and
//! ledger with what was accepted.
//!
//! - [`args`]: the options; [`traffic`]: the events; [`schedule`]: when they are sent
//! - [`drive`]: all connections; [`send`]: one connection; [`results`]: requests for results
//! - [`tally`]: the counts; [`watch`]: the observation during the run; [`report`]: the report at the end
//! - [`server`]: the server from outside, by HTTP, metrics, ledger and processes; [`check`]: whether they are right

pub(crate) mod args;
mod check;
mod drive;
mod report;
mod results;
mod schedule;
mod send;
mod server;
mod tally;
mod traffic;
mod watch;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Error, Result, ensure};
use clap::ValueEnum;
use tokio::sync::oneshot;

use args::{Arrivals, LoadArgs, Transport};
use check::Before;
use report::{Report, Server, Setting, page, per};
use results::Probes;
use schedule::{Schedule, Stopwatch};
use send::Run;
use server::http::Connection;
use server::process::{self, Usage};
use tally::Board;
use traffic::Traffic;

const SECOND_NS: u64 = 1_000_000_000;

/// Runs the load, prints the report, and writes it to files if options name them.
///
/// # Errors
/// The run could not start, was refused, or the ledger differs from what was accepted.
pub(crate) fn run(args: &LoadArgs) -> Result<()> {
    args.check().map_err(Error::msg)?;
    let threads = usize::try_from(args.threads)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let report = runtime.block_on(load(args))?;
    // A closed output is no failure of the run.
    let _ = write!(std::io::stdout(), "{report}");
    let write = |option: &str, file: &Path, text: String| {
        std::fs::write(file, text).with_context(|| format!("{option} {}: cannot be written", file.display()))
    };
    if let Some(file) = &args.report {
        write("--report", file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    if let Some(file) = &args.page {
        write("--page", file, page::html(&report))?;
    }
    ensure!(report.failures.is_empty(), "the run failed: {}", report.failures.join("; "));
    Ok(())
}

async fn load(args: &LoadArgs) -> Result<Report> {
    let before = Before::look(args).await?;
    let pids: Vec<String> = args.server_pid.iter().map(|process| process.pid.to_string()).collect();
    let usages = || pids.iter().map(|pid| process::usage(pid)).collect::<Result<Vec<Usage>>>();
    let used = usages()?;
    let run = Arc::new(prepare(args)?);
    let (done, until_done) = oneshot::channel();
    let watcher = tokio::spawn(watch::watch(Arc::clone(&run), pids.clone(), until_done));
    let driven = match args.transport {
        Transport::Udp => drive::datagrams(args, &run, before.admin()).await?,
        Transport::Http | Transport::Coap => drive::requests(args, &run).await,
    };
    run.probes.settle().await;

    let mut report = Report {
        seed: run.traffic.seed(),
        setting: setting(args),
        unsent: driven.unsent,
        retransmissions: driven.retransmissions,
        client_cpu_ms: process::usage("self").ok().map(|usage| usage.cpu_ms),
        failures: run.board.failure().into_iter().collect(),
        ..Report::new(&run.board.tally(), args.warmup * SECOND_NS)
    };
    before.check(args, &run, driven.datagrams, &mut report).await;
    drop(done);
    report.looks = watcher.await?;
    match usages() {
        Ok(now) => {
            let each = args.server_pid.iter().zip(used.iter().zip(&now));
            report.servers =
                each.map(|(process, (then, now))| usage(&process.name, then, now, report.accepted)).collect();
        }
        Err(error) => report.failures.push(format!("{error:#}")),
    }
    Ok(report)
}

fn prepare(args: &LoadArgs) -> Result<Run> {
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let traffic = Traffic::new(args, args.seed.unwrap_or(now_ms), now_ms)?;
    let board = Arc::new(Board::new(args.warmup * SECOND_NS));
    let watch = Arc::new(Stopwatch::start());
    // The server may wait before it answers a request for a result.
    let timeout = Duration::from_secs(args.timeout) + Duration::from_millis(results::WAIT_MS);
    let results_url = args.results_url.as_ref().unwrap_or(&args.url);
    let askers = (0..args.result_connections).map(|_| Connection::new(results_url, args.key.as_ref(), timeout));
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

fn setting(args: &LoadArgs) -> Setting {
    let name = |value: Option<clap::builder::PossibleValue>| value.map_or(String::new(), |v| v.get_name().to_owned());
    let arrivals = match (args.closed, args.arrivals) {
        (true, _) => "closed",
        (false, Arrivals::Constant) => "constant",
        (false, Arrivals::Poisson) => "poisson",
    };
    Setting {
        transport: name(args.transport.to_possible_value()),
        format: name(args.format.to_possible_value()),
        arrivals,
        rate_per_s: args.rate,
        burst: args.burst.map(|burst| burst.to_string()),
        seconds: args.seconds,
        warmup_s: args.warmup,
        connections: args.connections,
        depth: args.depth(),
        batch: args.batch,
        shopper_skew: args.shopper_skew,
        code_skew: args.code_skew,
    }
}

fn usage(name: &str, then: &Usage, now: &Usage, accepted: u64) -> Server {
    let cpu_ms = now.cpu_ms.saturating_sub(then.cpu_ms);
    Server {
        name: name.to_owned(),
        cpu_ms,
        cpu_ms_per_million_events: per(cpu_ms, 1_000_000, accepted),
        peak_rss_kib: now.peak_kib,
    }
}

#[cfg(test)]
mod loopback;
