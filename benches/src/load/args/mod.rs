//! The options of `load`, read into valid values.

mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

use values::skew;
pub(super) use values::{Burst, Mix, Process, Share};

use super::server::place::{Key, Place};

/// Maximum of every duration, s: one day; a longer one is refused.
const SECONDS_MAX: u64 = 86_400;
/// Maximum number of events in one request that the edge accepts; a larger one is refused.
const BATCH_MAX: u64 = 10_000;
/// Maximum number of connections; a larger one is refused.
const CONNECTIONS_MAX: u64 = 10_000;

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The HTTP port of the edge, or of `serve`
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(super) url: Place,
    /// The HTTP port that answers requests for results (default: --url, as with `serve`); of a fleet, the console's
    #[arg(long, value_name = "URL")]
    pub(super) results_url: Option<Place>,
    /// The edge's port for datagrams, for --transport udp and coap
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5683")]
    pub(super) udp: SocketAddr,
    /// Transport of the events
    #[arg(long, value_enum, default_value_t = Transport::Http)]
    pub(super) transport: Transport,
    /// Format of the events
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    pub(super) format: Format,
    /// The admin port, for /metrics; used only with --ledger and for --transport udp
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464")]
    pub(super) admin: Place,
    /// Over UDP, do not read from the metrics what arrived: for servers without such metrics
    #[arg(long, conflicts_with = "ledger")]
    pub(super) blind: bool,
    /// Merchant of the events; no other client may send for it while the ledger is checked
    #[arg(long)]
    pub(super) merchant: String,
    /// API key, which also signs CoAP requests; give it in the environment, where `ps` does not show it
    #[arg(long, value_name = "ID.SECRET", env = "MASHANG_KEY", hide_env_values = true)]
    pub(super) key: Option<Key>,

    /// Events a second
    #[arg(long, default_value_t = 5_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    pub(super) rate: u64,
    /// Seconds to measure
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) seconds: u64,
    /// Seconds of warm-up before, in which events are sent and checked but not measured
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u64).range(0..=SECONDS_MAX))]
    pub(super) warmup: u64,
    /// Number of connections, or of sockets, that send
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(super) connections: u64,
    /// Requests in flight on each HTTP connection (pipelining)
    #[arg(long, value_name = "DEPTH", default_value_t = 1, value_parser = value_parser!(u64).range(1..=1_000))]
    pub(super) pipeline: u64,
    /// Requests in flight from each CoAP socket (NSTART)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..=1_000))]
    pub(super) nstart: u64,
    /// Time without an acknowledgement after which a CoAP message is sent again, with up to half as much random extra (ACK_TIMEOUT)
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = value_parser!(u64).range(1..=60_000))]
    pub(super) ack_timeout: u64,
    /// Events in a request or a datagram
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=BATCH_MAX))]
    pub(super) batch: u64,
    /// Distribution of requests over time
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    pub(super) arrivals: Arrivals,
    /// Multiple of the rate, from a second after the warm-up on, for some seconds: 5x@10s+3s
    #[arg(long, value_name = "Kx@Ns+Ms", conflicts_with = "closed")]
    pub(super) burst: Option<Burst>,
    /// Send on each connection as soon as it is answered: for the greatest throughput, not for latencies; over UDP, without a limit
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
    /// Zipf exponent of the shoppers; 0 makes all equally frequent
    #[arg(long, default_value = "0.8", value_parser = skew)]
    pub(super) shopper_skew: f64,
    /// Codes c0, c1, …
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) codes: u64,
    /// File of codes to use instead, one a line, the most frequent first
    #[arg(long, value_name = "FILE", conflicts_with = "codes")]
    pub(super) code_file: Option<PathBuf>,
    /// Zipf exponent of the codes
    #[arg(long, default_value = "0.8", value_parser = skew)]
    pub(super) code_skew: f64,
    /// Seed of the events and their ids; each seed can be used only once on a server (default: from the clock)
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// The server's --clock; with `event`, events have a time
    #[arg(long, value_enum, default_value_t = Clock::Wall)]
    pub(super) clock: Clock,
    /// The time of the first event with --clock event, ms since the epoch (default: now)
    #[arg(long, value_name = "MS", value_parser = value_parser!(u64).range(0..=253_402_300_799_999))]
    pub(super) first_time: Option<u64>,

    /// Share of accepted scans whose result is requested
    #[arg(long, value_name = "SHARE", default_value = "0")]
    pub(super) results: Share,
    /// Requests for results in flight; further ones are skipped and counted
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(super) result_connections: u64,

    /// Seconds after which a request without an answer is sent again
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) timeout: u64,
    /// Seconds for which one request is retried after it was shed or had no answer
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) retry_for: u64,
    /// Seconds that the backlog, and then the desks, may take after the last arrival
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) drain: u64,
    /// Threads of this client
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=64))]
    pub(super) threads: u64,

    /// The server's ledger.sqlite: check at the end that every accepted event is counted exactly once
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
    /// Options that conflict in a way that the parser does not check.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match (self.transport, self.format) {
            (Transport::Udp | Transport::Coap, Format::Cloud | Format::CloudBinary) => {
                Err("CloudEvents need HTTP: use --transport http, or --format ndjson or array")
            }
            (_, Format::CloudBinary) if self.batch > 1 => {
                Err("a request holds only one CloudEvent in binary mode: use --batch 1, or --format cloud")
            }
            (Transport::Udp, _) if self.results.ppm > 0 => {
                Err("a datagram has no answer, so its results cannot be requested: leave --results out")
            }
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Transport {
    Http,
    /// Datagrams without answers; the counts of /metrics show what became of them
    Udp,
    /// Confirmable requests of CoAP (RFC 7252)
    Coap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines; a single event is an object
    Ndjson,
    /// An array of JSON
    Array,
    /// CloudEvents: a single one structured, several as a batch
    Cloud,
    /// CloudEvents in binary mode: attributes are headers
    CloudBinary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Arrivals {
    /// One request every batch/rate seconds
    Constant,
    /// Independent of each other, as from many phones
    Poisson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Clock {
    Wall,
    Event,
}
