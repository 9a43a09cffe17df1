//! Runs all connections, from the first arrival to the last answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::SECOND_NS;
use super::args::{self, LoadArgs, Transport};
use super::schedule::{Arrivals, Slot};
use super::send::coap::Client;
use super::send::datagrams::Senders;
use super::send::{Run, Way, sender};
use super::server::counts::{Counts, wait_for_quiet};
use super::server::http::Connection;

/// Counts of the run that the board does not hold.
#[derive(Default)]
pub(super) struct Driven {
    /// Events that were due and never sent.
    pub(super) unsent: u64,
    pub(super) retransmissions: u64,
    pub(super) datagrams: Option<Launched>,
}

/// Counts of datagrams, which have no answers.
pub(super) struct Launched {
    /// With the pings.
    pub(super) datagrams: u64,
    /// Events that the server accepted between the end of the warm-up and the last datagram, and the length of that time.
    pub(super) accepted: u64,
    pub(super) ns: u64,
}

fn arrivals(args: &LoadArgs, run: &Run) -> Arrivals {
    let seconds = args.warmup + args.seconds;
    let steady = match args.arrivals {
        args::Arrivals::Constant => Arrivals::constant(args.rate, args.batch, seconds),
        args::Arrivals::Poisson => Arrivals::poisson(args.rate, args.batch, seconds, run.traffic.seed()),
    };
    steady.with_burst(args.burst, args.warmup)
}

/// Sends all due events as requests, until each is answered or given up.
pub(super) async fn requests(args: &LoadArgs, run: &Arc<Run>) -> Driven {
    let arrivals = arrivals(args, run);
    let pacing = Arc::clone(run);
    let pacer = tokio::task::spawn_blocking(move || {
        pacing.schedule.pace(arrivals, &pacing.watch, || pacing.board.stopped());
    });
    let timeout = Duration::from_secs(args.timeout);
    let ways = (0..args.connections).map(|_| match args.transport {
        Transport::Coap => Way::Coap(Client::new(args.udp, args.key.as_ref(), Duration::from_millis(args.ack_timeout))),
        Transport::Http | Transport::Udp => Way::Http(Connection::new(&args.url, args.key.as_ref(), timeout)),
    });
    let ways: Vec<Way> = ways.collect();
    let mut senders = JoinSet::new();
    for way in &ways {
        for _ in 0..args.depth() {
            senders.spawn(sender(Arc::clone(run), way.clone()));
        }
    }
    let mut all = pin!(senders.join_all());
    let bound = Duration::from_secs(args.warmup + args.seconds + args.drain);
    let in_time = tokio::time::timeout(bound, all.as_mut()).await.is_ok();
    let unsent = run.schedule.abandon() * args.batch;
    if !in_time {
        // Requests in flight get their answers; --retry-for bounds the wait.
        all.await;
    }
    pacer.await.expect("the pacer does not panic");
    Driven { unsent, retransmissions: ways.iter().map(Way::retransmissions).sum(), datagrams: None }
}

/// Sends all due events as datagrams, and reads from the server what it accepted, if it has an admin port.
pub(super) async fn datagrams(args: &LoadArgs, run: &Arc<Run>, admin: Option<&Connection>) -> Result<Driven> {
    let senders = Senders::open(args.udp, args.connections).with_context(|| format!("--udp {}", args.udp))?;
    let slots = slots(args, run);
    let sending = {
        let run = Arc::clone(run);
        tokio::task::spawn_blocking(move || {
            senders.send(&run, slots);
            senders
        })
    };
    let Some(admin) = admin else {
        sending.await?;
        return Ok(Driven::default());
    };
    tokio::time::sleep(Duration::from_nanos((args.warmup * SECOND_NS).saturating_sub(run.watch.ns()))).await;
    let (warm_ns, warm) = (run.watch.ns(), Counts::read(admin).await?);
    let senders = sending.await?;
    let (ended_ns, ended) = (run.watch.ns(), Counts::read(admin).await?);
    let mut datagrams = run.board.tally().sent / args.batch;
    if !run.board.stopped() {
        wait_for_quiet(admin, Duration::from_secs(args.drain)).await?;
        datagrams += senders.ping().context("a ping was not sent")?;
    }
    let accepted = ended.since(&warm).accepted_udp;
    let launched = Launched { datagrams, accepted, ns: ended_ns.saturating_sub(warm_ns) };
    Ok(Driven { datagrams: Some(launched), ..Driven::default() })
}

fn slots(args: &LoadArgs, run: &Run) -> Box<dyn Iterator<Item = Slot> + Send> {
    if !args.closed {
        return Box::new(arrivals(args, run));
    }
    let (watch, end_ns) = (Arc::clone(&run.watch), (args.warmup + args.seconds) * SECOND_NS);
    let always = (0..).map(move |index| Slot { index, due_ns: watch.ns() });
    Box::new(always.take_while(move |slot| slot.due_ns < end_ns))
}
