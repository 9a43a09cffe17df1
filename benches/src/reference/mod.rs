//! Bare servers to compare the edge with in the same run: what the machine achieves with almost no work. They have one thread for
//! each processor, each with a socket of its own at the same address (SO_REUSEPORT). They store nothing; SIGTERM ends them.
//!
//! - [`http`]: receives a body and answers; or reads its events first
//! - [`udp`]: receives datagrams and counts them

mod http;
mod udp;

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread;

use anyhow::Result;
use clap::{Args, Subcommand, value_parser};

#[derive(Debug, Subcommand)]
pub(crate) enum Reference {
    /// Read a body and answer 202 with a fixed body
    Hello {
        #[command(flatten)]
        at: HttpArgs,
        /// Number of events that each answer names as accepted
        #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=10_000))]
        events: u64,
    },
    /// Read and check every event of a body (JSON, NDJSON), and answer how many are valid
    Parse {
        #[command(flatten)]
        at: HttpArgs,
        /// Merchant of the events
        #[arg(long)]
        merchant: String,
        /// The merchant's currency
        #[arg(long, default_value = "CNY")]
        currency: String,
    },
    /// Receive datagrams and count them
    Udp {
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
        udp: SocketAddr,
        /// Address of /metrics
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
        admin: SocketAddr,
        /// Number of events that each datagram counts as
        #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=10_000))]
        events: u64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HttpArgs {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    http: SocketAddr,
}

/// Prints its address and serves until the process ends.
///
/// # Errors
/// An address cannot be bound.
pub(crate) fn run(reference: Reference) -> Result<()> {
    match reference {
        Reference::Hello { at, events } => http::serve(at.http, &http::Job::hello(events)),
        Reference::Parse { at, merchant, currency } => http::serve(at.http, &http::Job::parse(merchant, currency)),
        Reference::Udp { udp, admin, events } => udp::serve(udp, admin, events),
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Prints the address of a server.
fn print(what: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{what}")?;
    stdout.flush()?;
    Ok(())
}
