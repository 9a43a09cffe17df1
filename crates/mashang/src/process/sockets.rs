//! The sockets of a process, and the threads that serve them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;
use edge::ingest::service::IngestService;
use edge::transport::udp::receiver::Receiver;
use edge::transport::udp::signatures::Signatures;
use edge::transport::udp::socket::{self, Socket};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;
use web::networks::Trust;
use web::server::handler::Handler;
use web::server::listen::bind_all;
use web::server::port::Port;

use crate::config::options::Udp;
use crate::usage;

/// The work of a thread; if it fails, the process ends.
pub(crate) type Work = Box<dyn FnOnce() -> Result<()> + Send>;

/// Listens at the address of the admin port.
///
/// # Errors
/// It cannot: usage.
pub(crate) async fn admin(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| refused("admin", address, &e))
}

/// Listeners for HTTP, one per processor.
#[derive(Debug)]
pub(crate) struct Listeners(Vec<std::net::TcpListener>);

impl Listeners {
    /// # Errors
    /// They cannot be bound: usage.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self> {
        bind_all(address, processors()).map(Self).map_err(|e| refused("http", address, &e))
    }

    /// Where they are.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.0[0].local_addr()
    }

    /// Serves a port from each on a thread of its own, which `start` makes.
    pub(crate) fn serve<H: Handler>(
        self,
        port: &Arc<Port<H>>,
        start: impl Fn(&str, Work) -> JoinHandle<()>,
    ) -> Servers {
        let stop = watch::Sender::new(false);
        let serve = |(number, listener)| {
            let (port, stopped) = (Arc::clone(port), stop.subscribe());
            start(&format!("http-{number}"), Box::new(move || Ok(port.run(listener, stopped)?)))
        };
        let threads = self.0.into_iter().enumerate().map(serve).collect();
        let own = Arc::clone(port);
        tokio::spawn(async move { own.reload().await });
        Servers { stop, threads }
    }
}

/// Threads that serve HTTP.
#[derive(Debug)]
pub(crate) struct Servers {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Servers {
    /// Stops taking requests, and waits until the requests in flight have ended.
    pub(crate) async fn end(&mut self) {
        self.stop.send_replace(true);
        let threads = std::mem::take(&mut self.threads);
        let join = || threads.into_iter().for_each(|thread| drop(thread.join()));
        // A thread that panicked has said so.
        let _ = tokio::task::spawn_blocking(join).await;
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn refused(name: &str, address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let mend = match error.kind() {
        io::ErrorKind::AddrInUse => "stop the other process, or choose another port",
        io::ErrorKind::PermissionDenied => "choose a port above 1023",
        _ => "choose an address of this machine",
    };
    usage(format!("--{name} {address}: cannot listen: {error}: {mend}"))
}

/// Sockets for datagrams, one per processor, or none.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<Socket>);

impl Sockets {
    /// # Errors
    /// They cannot be bound: usage.
    pub(crate) fn bind(udp: Udp) -> Result<Self> {
        let Some(address) = udp.address() else { return Ok(Self::default()) };
        match socket::bind_all(address, processors()) {
            Ok(sockets) => Ok(Self(sockets)),
            // Several processes on one machine run without an option that switches datagrams off.
            Err(error) if udp == Udp::Unsaid && error.kind() == io::ErrorKind::AddrInUse => {
                warn!(%address, "another process takes datagrams there, this one takes none; --udp gives it a port of its own");
                Ok(Self::default())
            }
            Err(error) => Err(refused("udp", address, &error)),
        }
    }

    /// Where they are.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.0.first().and_then(|socket| socket.address().ok())
    }

    /// Receives from each on a thread of its own, which `start` makes.
    pub(crate) fn receive(
        self,
        ingest: &Arc<IngestService>,
        trust: Trust,
        start: impl Fn(&str, Work) -> JoinHandle<()>,
    ) -> Receivers {
        let (stop, trust) = (Arc::new(AtomicBool::new(false)), Arc::new(trust));
        let signatures = Arc::new(Signatures::default());
        let receive = |(number, socket)| {
            let receiver =
                Receiver::new(number, socket, Arc::clone(ingest), Arc::clone(&trust), Arc::clone(&signatures));
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
    /// From now on the threads take only the datagrams that the sockets hold already.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Waits for the threads.
    pub(crate) fn join(self) {
        for thread in self.threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
