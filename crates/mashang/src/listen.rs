//! Where a process listens, and for datagrams the threads that do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;
use edge::events::Door;
use edge::http;
use edge::udp::network::Trust;
use edge::udp::receiver::Receiver;
use edge::udp::socket::{Socket, bind_all};
use tokio::net::TcpListener;

use crate::usage;

/// Listens for connections at the address of an option.
///
/// # Errors
/// It cannot: usage.
pub(crate) async fn listen(name: &str, address: SocketAddr) -> Result<TcpListener> {
    http::listen(address).await.map_err(|e| refused(name, address, &e))
}

fn refused(name: &str, address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let mend = match error.kind() {
        io::ErrorKind::AddrInUse => "stop the other process, or choose another port",
        io::ErrorKind::PermissionDenied => "choose a port above 1023",
        _ => "choose an address of this machine",
    };
    usage(format!("--{name} {address}: cannot listen: {error}: {mend}"))
}

/// Sockets for datagrams: none without `--udp`, else one per processor.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<Socket>);

impl Sockets {
    /// # Errors
    /// They cannot be bound: usage.
    pub(crate) fn bind(address: Option<SocketAddr>) -> Result<Self> {
        let Some(address) = address else { return Ok(Self::default()) };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        bind_all(address, processors).map(Self).map_err(|e| refused("udp", address, &e))
    }

    /// Where they are.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.0.first().and_then(|socket| socket.address().ok())
    }

    /// Receives from each on a thread of its own, which `start` makes.
    pub(crate) fn receive(
        self,
        door: &Arc<Door>,
        trust: Trust,
        start: impl Fn(&str, Box<dyn FnOnce() -> Result<()> + Send>) -> JoinHandle<()>,
    ) -> Receivers {
        let (stop, trust) = (Arc::new(AtomicBool::new(false)), Arc::new(trust));
        let receive = |(number, socket)| {
            let receiver = Receiver::new(number, socket, Arc::clone(door), Arc::clone(&trust));
            let stop = Arc::clone(&stop);
            let run = move || {
                receiver.run(&stop);
                Ok(())
            };
            start(&format!("udp-{number}"), Box::new(run))
        };
        let threads = self.0.into_iter().enumerate().map(receive).collect();
        Receivers { stop, threads }
    }
}

/// Threads that receive datagrams.
#[derive(Debug, Default)]
pub(crate) struct Receivers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Receivers {
    /// From now on only what the sockets hold already is taken.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Waits for the threads.
    pub(crate) fn join(self) {
        for thread in self.threads {
            // A thread that stopped at a broken invariant has said so.
            let _ = thread.join();
        }
    }
}
