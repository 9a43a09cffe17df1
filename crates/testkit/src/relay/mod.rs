//! A relay between clients and a broker that hurts Produce requests as planned, and cuts connections. It tells clients apart by
//! their client id. Everything else passes as it is.

mod connection;
pub mod plan;
mod produce;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::connection::Connection;
use self::plan::{Plan, is};

/// A broker that is stopped may have no room for more connections.
const CONNECT: Duration = Duration::from_secs(1);

/// Listens until it is dropped.
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
                // The lock is held so that `down` finds the connection, or the connection `down`.
                let mut connections = shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
                connections.retain(|connection| !connection.closed());
                if shared.down.load(Ordering::SeqCst) {
                    continue;
                }
                // A broker that is not there: the client's connection closes.
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

    /// Cuts everything; from now on connections close as soon as they are made.
    pub fn down(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
        self.cut("*");
    }

    /// Takes connections again.
    pub fn up(&self) {
        self.shared.down.store(false, Ordering::SeqCst);
    }

    /// Cuts the connections of a client, or of those whose id begins so (`lane-*`); how many there were.
    pub fn cut(&self, client: &str) -> usize {
        let connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let open = connections.iter().filter(|connection| !connection.closed());
        open.filter(|connection| is(client, &connection.name().unwrap_or_default())).map(|c| c.close()).count()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut("*");
        // So that the listener looks.
        let _ = TcpStream::connect(("127.0.0.1", self.listens));
    }
}
