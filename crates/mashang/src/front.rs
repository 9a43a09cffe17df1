//! What a port for HTTP is told beside its address.

use anyhow::Result;
use clap::Args;
use edge::http::port::Manner;
use edge::network::Trust;

use crate::usage;

/// So many connections may be open unless it is said otherwise.
const CONNECTIONS: u32 = 20_000;
const CONNECTIONS_MOST: u32 = 1_000_000;

/// The same on the command line and in a file.
#[derive(Debug, Default, Args)]
pub(crate) struct FrontArgs {
    /// Connections that may be open; more wait to be accepted [default: 20000]
    #[arg(long, env = "MASHANG_CONNECTIONS", value_name = "N")]
    pub(crate) connections: Option<u32>,
}

impl FrontArgs {
    /// Puts together what was said, the file last.
    ///
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn check(self, file: Self) -> Result<Manner> {
        let connections = self.connections.or(file.connections).unwrap_or(CONNECTIONS);
        if !(1..=CONNECTIONS_MOST).contains(&connections) {
            return Err(usage(format!("connections is {connections}: give 1 to {CONNECTIONS_MOST}")));
        }
        Ok(Manner { connections_max: connections as usize, proxies: Trust::nobody() })
    }
}
