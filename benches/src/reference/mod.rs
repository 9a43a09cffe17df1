//! Bare servers to compare the edge with in the same run: what the machine gives if hardly anything is done. A thread a
//! processor, each with a socket of its own at the same address (SO_REUSEPORT). They keep nothing; SIGTERM ends them.
//!
//! - [`http`]: takes a body and says thanks; or reads its events first
//! - [`udp`]: takes datagrams and counts them

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
    /// Reads a body and answers 202 with a fixed one
    Hello {
        #[command(flatten)]
        at: HttpArgs,
        /// How many events each answer says were accepted
        #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=10_000))]
        events: u64,
    },
    /// Reads and checks every event of a body (JSON, NDJSON), and answers how many are right
    Parse {
        #[command(flatten)]
        at: HttpArgs,
        /// Whose events
        #[arg(long)]
        merchant: String,
        /// The merchant's currency
        #[arg(long, default_value = "CNY")]
        currency: String,
    },
    /// Receives datagrams and counts them
    Udp {
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
        udp: SocketAddr,
        /// For /metrics
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
        admin: SocketAddr,
        /// How many events a datagram counts as
        #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=10_000))]
        events: u64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HttpArgs {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    http: SocketAddr,
}

/// Serves until the process is ended. Prints where.
///
/// # Errors
/// An address is not to be had.
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

/// Tells where something listens.
fn tell(what: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{what}")?;
    stdout.flush()?;
    Ok(())
}
