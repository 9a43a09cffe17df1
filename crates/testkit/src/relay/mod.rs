//! A relay between clients and a broker that injects planned faults into Produce requests, and cuts connections. It distinguishes
//! clients by their client id. All other requests pass unchanged.

mod connection;
pub mod plan;
mod produce;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use self::connection::Connection;
use self::plan::{Plan, is};

/// Timeout of a connection to the broker, whose backlog may be full while it is paused; after it, the client's connection closes.
const CONNECT: Duration = Duration::from_secs(1);

/// A relay, which listens until it is dropped.
#[derive(Debug)]
pub struct Relay {
    listens: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    down: AtomicBool,
    ended: AtomicBool,
    connections: Mutex<Vec<Arc<Connection>>>,
}

impl Relay {
    /// Listens on a port of the loopback for the broker on another.
    ///
    /// # Panics
    /// If the port is taken.
    #[must_use]
    pub fn start(listens: u16, broker: u16, plan: Plan) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", listens)).expect("a free port");
        let broker = SocketAddr::from(([127, 0, 0, 1], broker));
        let shared = Arc::<Shared>::default();
        let relay = Self { listens, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                // The lock is held so that either `down` finds this connection, or this thread sees `down`.
                let mut connections = shared.connections.lock();
                connections.retain(|connection| !connection.closed());
                if shared.down.load(Ordering::SeqCst) {
                    continue;
                }
                // If the broker is down, the client's connection closes.
                let through = TcpStream::connect_timeout(&broker, CONNECT);
                connections.extend(through.and_then(|broker| Connection::start(client, broker, &plan)));
            }
        });
        relay
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.listens)
    }

    /// Cuts all connections; new ones close as soon as they are accepted.
    pub fn down(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
        self.cut("*");
    }

    /// Accepts connections again.
    pub fn up(&self) {
        self.shared.down.store(false, Ordering::SeqCst);
    }

    /// Cuts the connections of a client, or of all whose id has a prefix (`lane-*`); returns their number.
    pub fn cut(&self, client: &str) -> usize {
        let connections = self.shared.connections.lock();
        let open = connections.iter().filter(|connection| !connection.closed());
        open.filter(|connection| is(client, &connection.name().unwrap_or_default())).map(|c| c.close()).count()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut("*");
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(("127.0.0.1", self.listens));
    }
}
