//! The options of `load`, read into values that cannot be wrong.

mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

use values::skew;
pub(super) use values::{Burst, Mix, Process, Share};

use super::server::place::{Key, Place};

/// Maximum length of a run, in seconds: a day; a longer one is refused.
const SECONDS_MAX: u64 = 86_400;
/// Maximum number of events that the edge takes in one request; a larger batch is refused.
const BATCH_MAX: u64 = 10_000;
const CONNECTIONS_MAX: u64 = 10_000;

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The edge: its HTTP port, which also returns results
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(super) url: Place,
    /// The edge's port for datagrams, for --transport udp and coap
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5683")]
    pub(super) udp: SocketAddr,
    /// How events travel
    #[arg(long, value_enum, default_value_t = Transport::Http)]
    pub(super) transport: Transport,
    /// How events are written
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    pub(super) format: Format,
    /// The admin port, for /metrics; asked only with --ledger, and for --transport udp
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464")]
    pub(super) admin: Place,
    /// Over UDP, do not ask what arrived: for servers without such metrics
    #[arg(long, conflicts_with = "ledger")]
    pub(super) blind: bool,
    /// Whose events; no other client may send for it while the ledger is checked
    #[arg(long)]
    pub(super) merchant: String,
    /// API key, with which CoAP requests are signed; better given in the environment, where `ps` does not show it
    #[arg(long, value_name = "ID.SECRET", env = "MASHANG_KEY", hide_env_values = true)]
    pub(super) key: Option<Key>,

    /// Events a second
    #[arg(long, default_value_t = 5_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    pub(super) rate: u64,
    /// How long to measure
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) seconds: u64,
    /// Seconds before, which are sent and checked but not measured
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u64).range(0..=SECONDS_MAX))]
    pub(super) warmup: u64,
    /// Connections that send, or sockets
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(super) connections: u64,
    /// Requests in flight on each connection of HTTP (pipelining)
    #[arg(long, value_name = "DEPTH", default_value_t = 1, value_parser = value_parser!(u64).range(1..=1_000))]
    pub(super) pipeline: u64,
    /// Requests in flight from each socket of CoAP (NSTART)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..=1_000))]
    pub(super) nstart: u64,
    /// Time without an acknowledgement, and up to half as much again, after which a CoAP message is resent (ACK_TIMEOUT)
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = value_parser!(u64).range(1..=60_000))]
    pub(super) ack_timeout: u64,
    /// Events a request, or a datagram
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=BATCH_MAX))]
    pub(super) batch: u64,
    /// How requests are spread over time
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    pub(super) arrivals: Arrivals,
    /// K times the rate, from N seconds after the warm-up, for M seconds: 5x@10s+3s
    #[arg(long, value_name = "Kx@Ns+Ms", conflicts_with = "closed")]
    pub(super) burst: Option<Burst>,
    /// Each connection sends as soon as it is answered: the greatest throughput, no honest latency; over UDP, a flood
    #[arg(long, conflicts_with_all = ["arrivals"])]
    pub(super) closed: bool,

    /// Share of events that are sent a second time: 5%, 1/20
    #[arg(long, value_name = "SHARE", default_value = "0")]
    pub(super) duplicates: Share,
    /// Weights of the actions
    #[arg(long, value_name = "ACTION=N,…", default_value = "scan=90,visit=8,order=2")]
    pub(super) action_mix: Mix,
    /// Shoppers u0, u1, …
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) shoppers: u64,
    /// Zipf exponent of the shoppers; 0: all alike
    #[arg(long, default_value = "0.8", value_parser = skew)]
    pub(super) shopper_skew: f64,
    /// Codes c0, c1, …
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) codes: u64,
    /// Codes from a file instead, one a line, the most popular first
    #[arg(long, value_name = "FILE", conflicts_with = "codes")]
    pub(super) code_file: Option<PathBuf>,
    /// Zipf exponent of the codes
    #[arg(long, default_value = "0.8", value_parser = skew)]
    pub(super) code_skew: f64,
    /// The same seed gives the same events, ids too: on one server each seed is new once (default: from the clock)
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// As the server's --clock: with `event`, events carry a time
    #[arg(long, value_enum, default_value_t = Clock::Wall)]
    pub(super) clock: Clock,
    /// The time of the first event with --clock event, ms since the epoch (default: now)
    #[arg(long, value_name = "MS", value_parser = value_parser!(u64).range(0..=253_402_300_799_999))]
    pub(super) first_time: Option<u64>,

    /// Share of accepted scans whose result is asked for
    #[arg(long, value_name = "SHARE", default_value = "0")]
    pub(super) results: Share,
    /// Results that are waited for at once; further ones are skipped and counted
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(super) result_connections: u64,

    /// Seconds after which a request without an answer is sent again
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) timeout: u64,
    /// Seconds for which one request is tried, however often it is shed or broken off
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) retry_for: u64,
    /// Seconds that the backlog, and then the desks, have after the last request is due
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) drain: u64,
    /// Threads of this client
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=64))]
    pub(super) threads: u64,

    /// The server's ledger.sqlite: check in the end that everything accepted is counted exactly once
    #[arg(long, value_name = "FILE")]
    pub(super) ledger: Option<PathBuf>,
    /// Processes whose processor time and memory are measured, such as server=4711 broker=4712
    #[arg(long, value_name = "[NAME=]PID", num_args = 1..)]
    pub(super) server_pid: Vec<Process>,
    /// Write the report as JSON too
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Write the report as a page with pictures too
    #[arg(long, value_name = "FILE.html")]
    pub(super) page: Option<PathBuf>,
}

impl LoadArgs {
    /// Requests in flight on each connection.
    pub(super) fn depth(&self) -> u64 {
        match self.transport {
            Transport::Http => self.pipeline,
            Transport::Coap => self.nstart,
            Transport::Udp => 1,
        }
    }

    /// # Errors
    /// Options that do not go together, which the parser cannot know.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match (self.transport, self.format) {
            (Transport::Udp | Transport::Coap, Format::Cloud | Format::CloudBinary) => {
                Err("CloudEvents travel over HTTP only: take --transport http, or --format ndjson or array")
            }
            (_, Format::CloudBinary) if self.batch > 1 => {
                Err("a CloudEvent in binary mode is alone in its request: take --batch 1, or --format cloud")
            }
            (Transport::Udp, _) if self.results.ppm > 0 => Err(
                "nobody is told whether a datagram was accepted, so results cannot be asked for: leave --results out",
            ),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Transport {
    Http,
    /// Datagrams without answers; what became of them is read from /metrics
    Udp,
    /// Confirmable requests of CoAP (RFC 7252)
    Coap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines; one event alone is an object
    Ndjson,
    /// An array of JSON
    Array,
    /// CloudEvents: one alone structured, several as a batch
    Cloud,
    /// CloudEvents in binary mode: attributes are headers
    CloudBinary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Arrivals {
    /// One every batch/rate seconds
    Constant,
    /// Independent of each other, as from many phones
    Poisson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Clock {
    Wall,
    Event,
}
